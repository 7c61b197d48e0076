"""What crosses the border between the parent and its workers: plain data, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ConversionJob:
    """One input to convert.

    Attributes:
        input: Relative path of the input, with ``/``; names it in plan, ledger and messages.
        source: Absolute path of the input, opened for reading only.
        sha256: Digest of the input's bytes when the plan was made.
        outputs: Relative paths of all outputs, with ``/``; the converter must give exactly these.
        out_dir: Absolute path of the output folder.
        settings: What the converter needs beyond the input; JSON values only.
    """

    input: str
    source: str
    sha256: str
    outputs: tuple[str, ...]
    out_dir: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The job as JSON."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> ConversionJob:
        """The job that `to_json` wrote."""
        fields = json.loads(data)
        return cls(**{**fields, "outputs": tuple(fields["outputs"])})


@dataclass(frozen=True)
class ConvertedClip:
    """What a converter returns.

    Attributes:
        files: Bytes per relative output path: exactly the job's ``outputs``.
        details: Figures of the clip for the ledger line; JSON values only. The report reads its own output file.
    """

    files: Mapping[str, bytes]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class StagedOutput:
    """An output that a worker wrote and fsynced under a temporary name.

    Attributes:
        name: Relative path it shall have.
        staged: Absolute path it has now.
        sha256: Digest of its bytes.
        size: Bytes.
    """

    name: str
    staged: str
    sha256: str
    size: int


CONVERTED, REJECTED, FAILED, CRASHED, TIMEOUT, DISK = "converted", "rejected", "failed", "crashed", "timeout", "disk"


@dataclass(frozen=True)
class Outcome:
    """How one attempt at a job ended.

    Attributes:
        input: The job's input.
        kind: ``converted``, ``rejected``, ``failed``, ``crashed``, ``timeout`` or ``disk`` (the output disk refused).
        reason: One sentence, empty for ``converted``.
        outputs: The staged files of a converted clip.
        details: The converter's details.
    """

    input: str
    kind: str
    reason: str = ""
    outputs: tuple[StagedOutput, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """The outcome as JSON."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_json(cls, data: bytes) -> Outcome:
        """The outcome that `to_json` wrote."""
        fields = json.loads(data)
        return cls(**{**fields, "outputs": tuple(StagedOutput(**output) for output in fields["outputs"])})
