"""Look at an output folder without changing it, also while a run works in it: `status` counts, `verify` re-hashes."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from soma_isaac.batch.ledger import LEDGER_NAME, LedgerRecord, latest, read_ledger
from soma_isaac.batch.plan import PLAN_NAME, read_plan
from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import is_staged_name, sha256_of_file


@dataclass(frozen=True)
class FolderStatus:
    """Where a batch stands.

    Attributes:
        total: Size of the plan.
        counts: Entries per state; ``pending`` included, so that they add up to ``total``.
        records: The last record of each planned input that has one.
    """

    total: int
    counts: Counter[str]
    records: dict[str, LedgerRecord]


@dataclass(frozen=True)
class FolderProblems:
    """What re-hashing found.

    Attributes:
        checked: Outputs whose bytes are those recorded.
        missing: Recorded outputs that are not there.
        changed: Recorded outputs with other bytes.
        unrecorded: Files in the output folders that no record lists: of a clip whose run was killed, of an earlier
            plan's vanished ledger, or put there by somebody.
    """

    checked: int
    missing: tuple[str, ...]
    changed: tuple[str, ...]
    unrecorded: tuple[str, ...]


def folder_status(out: Path) -> FolderStatus:
    """Count the states of the plan's entries.

    Raises:
        InputRejected: The folder holds no plan, or no readable one.
        LedgerCorrupt: The ledger was changed by somebody else.
        OSError: A file cannot be read.
    """
    if not (out / PLAN_NAME).is_file():
        raise InputRejected(f"holds no {PLAN_NAME}: nothing was run here", str(out))
    known = latest(read_ledger(out / LEDGER_NAME)[0])
    plan = read_plan(out / PLAN_NAME)
    records = {entry.input: known[entry.input, entry.key] for entry in plan if (entry.input, entry.key) in known}
    counts = Counter(record.state for record in records.values())
    counts["pending"] = len(plan) - len(records)
    return FolderStatus(len(plan), counts, records)


def verify_folder(out: Path) -> FolderProblems:
    """Re-hash every output that a ``done`` record of the current plan lists.

    Raises:
        InputRejected, LedgerCorrupt, OSError: As `folder_status`.
    """
    status = folder_status(out)
    expected: dict[str, str] = {}
    for record in status.records.values():
        if record.state == "done":
            expected.update(record.outputs)
    missing, changed = [], []
    for name, digest in expected.items():
        path = out / name
        if not path.is_file():
            missing.append(name)
        elif sha256_of_file(path) != digest:
            changed.append(name)
    present = _files_below(out, {name.partition("/")[0] for name in expected})
    checked = len(expected) - len(missing) - len(changed)
    return FolderProblems(checked, tuple(missing), tuple(changed), tuple(sorted(present - expected.keys())))


def _files_below(out: Path, folders: set[str]) -> set[str]:
    found = set()
    for top in sorted(folders):
        for folder, _, names in os.walk(out / top):
            prefix = Path(folder).relative_to(out).as_posix()
            found.update(f"{prefix}/{name}" for name in names if not is_staged_name(name))
    return found
