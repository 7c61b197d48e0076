"""The ledger: one fsynced JSON line per attempt that ended, appended by one writer, never rewritten."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

from soma_isaac.errors import SomaError
from soma_isaac.formats.atomic import fsync_folder, write_all

log = logging.getLogger(__name__)

LEDGER_NAME = "ledger.jsonl"
STATES = ("done", "skipped", "rejected", "crashed", "timeout", "failed")
RETRIED_STATES = ("crashed", "timeout")
"""States that are the worker's end rather than the converter's word: tried once more, alone."""


class LedgerCorrupt(SomaError):
    """A line of the ledger, not the last one, cannot be read: the file was changed by somebody else."""


@dataclass(frozen=True)
class LedgerRecord:
    """One attempt that ended.

    Attributes:
        input: Relative path of the input.
        key: Content key of the plan entry it belongs to.
        state: One of `STATES`.
        attempt: 1 for the first attempt under this key.
        reason: The rule, reason, signal or error; empty for ``done``.
        outputs: sha256 per relative output path, for ``done``.
        details: Figures of the clip.
    """

    input: str
    key: str
    state: str
    attempt: int = 1
    reason: str = ""
    outputs: Mapping[str, str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check the state.

        Raises:
            ValueError: The state is none of `STATES`.
        """
        if self.state not in STATES:
            raise ValueError(f"state {self.state!r} is not one of {', '.join(STATES)}")


def _parse(line: bytes) -> LedgerRecord:
    fields = json.loads(line)
    return LedgerRecord(**fields)


def read_ledger(path: Path) -> tuple[list[LedgerRecord], int]:
    """Read a ledger, also while a run appends to it.

    Returns:
        The records in file order, and the number of bytes they take: what follows is a torn last line.

    Raises:
        LedgerCorrupt: A line before the last cannot be read.
        OSError: The file exists and cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    lines = data.split(b"\n")
    torn = lines.pop()
    records: list[LedgerRecord] = []
    intact = 0
    for number, line in enumerate(lines, start=1):
        try:
            records.append(_parse(line))
        except (ValueError, TypeError) as error:
            if number == len(lines) and not torn:
                break  # a last line whose blocks never reached the disk reads as zeros or garbage: torn as well
            raise LedgerCorrupt(
                f"{str(path)!r}: line {number} is not a ledger line ({error}); move the file away to start over"
            ) from error
        intact += len(line) + 1
    return records, intact


class Ledger:
    """The append side: one object per run, used by the parent only, under the run's lock.

    Args:
        folder: The output folder.

    Attributes:
        records: What earlier runs recorded; what this one appends is not kept in memory.

    Raises:
        LedgerCorrupt: A line before the last cannot be read.
        OSError: The disk refused.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LEDGER_NAME
        self.records, self._size = read_ledger(self._path)
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o644)
        try:
            excess = os.fstat(self._descriptor).st_size - self._size
            if excess:
                log.warning("cut a torn last line of %d bytes from the ledger", excess)
                os.ftruncate(self._descriptor, self._size)
            os.lseek(self._descriptor, self._size, os.SEEK_SET)
            os.fsync(self._descriptor)
            fsync_folder(folder)
        except OSError:
            self.close()
            raise

    def append(self, record: LedgerRecord) -> None:
        """Append one line and fsync it; the record counts only when this returns.

        Raises:
            OSError: The disk refused; what was written of the line is cut again where the disk allows that, here or
                by the next run.
        """
        line = json.dumps(asdict(record), sort_keys=True).encode("ascii") + b"\n"
        try:
            write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError:
            try:
                os.ftruncate(self._descriptor, self._size)
            except OSError:
                log.warning("the ledger's last line is torn; the next run cuts it")
            self.close()
            raise
        self._size += len(line)

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def latest(records: Iterable[LedgerRecord]) -> dict[tuple[str, str], LedgerRecord]:
    """The last record per (input, key): its terminal state."""
    return {(record.input, record.key): record for record in records}


def latest_done(records: Iterable[LedgerRecord]) -> dict[str, LedgerRecord]:
    """The last ``done`` record per output path: whose bytes should stand there."""
    owners: dict[str, LedgerRecord] = {}
    for record in records:
        if record.state == "done":
            owners.update(dict.fromkeys(record.outputs, record))
    return owners
