"""The plan: every input with its digest, outputs and content key, written before any work and never changed.

``plan.jsonl`` holds one JSON object per input, sorted by relative path. When a later run of the same folder plans
something else (clips came or went, other settings), the old file becomes ``plan.<n>.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from soma_isaac.batch.ledger import LedgerRecord, latest_done
from soma_isaac.batch.names import collisions, shown
from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats.atomic import fsync_folder, write_file

PLAN_NAME = "plan.jsonl"
CONFLICTS_SHOWN = 20


@dataclass(frozen=True)
class FoundInput:
    """One file under the source, before planning.

    Attributes:
        input: Path relative to the source, with ``/``.
        size: Bytes; 0 if it is no regular file.
        sha256: Digest, empty where the file is not read (skipped or rejected by its name or kind).
        verdict: ``""`` for an input to convert, or ``skipped`` or ``rejected``.
        reason: The rule or reason behind the verdict.
    """

    input: str
    size: int
    sha256: str
    verdict: str = ""
    reason: str = ""


@dataclass(frozen=True)
class PlanEntry:
    """One line of the plan.

    Attributes:
        input: Relative path of the input, with ``/``.
        size: Bytes.
        sha256: Digest of its bytes.
        outputs: Relative paths of its outputs, with ``/``; none for skipped and rejected inputs.
        key: sha256 over everything that the outputs' bytes depend on; not over which outputs are asked for, so that
            another format can be added to a folder later.
        verdict: ``""``, or ``skipped`` or ``rejected`` where planning settled it.
        reason: The rule or reason behind the verdict.
    """

    input: str
    size: int
    sha256: str
    outputs: tuple[str, ...]
    key: str
    verdict: str = ""
    reason: str = ""


def content_key(*parts: str) -> str:
    """sha256, hex, over text parts; lengths keep ``("ab", "c")`` and ``("a", "bc")`` apart."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


def build_plan(
    found: Sequence[FoundInput],
    outputs_of: Callable[[str], Sequence[str]],
    key_parts: Sequence[str],
) -> tuple[PlanEntry, ...]:
    """Plan every found input.

    Args:
        found: The inputs.
        outputs_of: Relative output paths of an input.
        key_parts: What all outputs depend on besides the input: digests of configuration, robot and code.

    Returns:
        Entries sorted by input.

    Raises:
        OutputConflict: Two inputs claim one output (also up to letter case or Unicode composition); all pairs named.
    """
    entries = []
    for item in sorted(found, key=lambda item: item.input):
        outputs = () if item.verdict else tuple(outputs_of(item.input))
        key = content_key(item.input, item.sha256, *key_parts)
        entries.append(PlanEntry(item.input, item.size, item.sha256, outputs, key, item.verdict, item.reason))
    clashes = collisions((output, entry.input) for entry in entries for output in entry.outputs)
    if clashes:
        pairs = sorted({(first, second) for _, first, second in clashes})
        listed = "; ".join(f"'{shown(first)}' and '{shown(second)}'" for first, second in pairs[:CONFLICTS_SHOWN])
        more = f" and {len(pairs) - CONFLICTS_SHOWN} more pairs" if len(pairs) > CONFLICTS_SHOWN else ""
        raise OutputConflict(f"these inputs claim the same output: {listed}{more}; rename or move one of each")
    return tuple(entries)


def plan_bytes(plan: Sequence[PlanEntry]) -> bytes:
    """The plan as the bytes of ``plan.jsonl``."""
    return b"".join(json.dumps(asdict(entry), sort_keys=True).encode("ascii") + b"\n" for entry in plan)


def read_plan(path: Path) -> tuple[PlanEntry, ...]:
    """Read a plan; none if there is no file.

    Raises:
        InputRejected: The file is not a plan.
        OSError: The file cannot be read.
    """
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    entries = []
    for number, line in enumerate(lines, start=1):
        try:
            fields = json.loads(line)
            entries.append(PlanEntry(**{**fields, "outputs": tuple(fields["outputs"])}))
        except (ValueError, TypeError, KeyError) as error:
            raise InputRejected(f"line {number} is not a plan line ({error})", str(path)) from error
    return tuple(entries)


def conflicting_outputs(
    plan: Sequence[PlanEntry], earlier: Sequence[PlanEntry], records: Sequence[LedgerRecord], out: Path
) -> list[str]:
    """Planned outputs that exist already and belong to something else.

    An existing file belongs to the last ``done`` record that lists it; without one (a run was killed between rename
    and record) to the ``earlier`` plan's entry; otherwise to nobody we know.
    """
    done = latest_done(records)
    planned = {output: entry.key for entry in earlier for output in entry.outputs}
    found = []
    for entry in plan:
        for output in entry.outputs:
            if os.path.lexists(out / output):
                owner = done[output].key if output in done else planned.get(output)
                if owner != entry.key:
                    found.append(output)
    return found


def check_plan(plan: Sequence[PlanEntry], records: Sequence[LedgerRecord], out: Path) -> None:
    """Refuse a plan whose outputs would take the place of others.

    Raises:
        OutputConflict: Outputs of other settings, another version or other inputs stand where this plan's would go.
        OSError: The folder cannot be read.
    """
    kept = kept_plans(out)
    earlier = read_plan(out / PLAN_NAME) or (read_plan(kept[-1]) if kept else ())
    conflicts = conflicting_outputs(plan, earlier, records, out)
    if conflicts:
        raise OutputConflict(
            f"{len(conflicts)} outputs in {str(out)!r} come from other settings, another version or other inputs, e.g. "
            f"'{shown(conflicts[0])}': choose another output.dir, or replace=true to convert them again"
        )


def store_plan(plan: Sequence[PlanEntry], records: Sequence[LedgerRecord], out: Path, replace: bool) -> None:
    """Write ``plan.jsonl``; a different earlier one is kept as ``plan.<n>.jsonl``.

    Raises:
        OutputConflict: As `check_plan`, unless ``replace``; nothing was written.
        OSError: The disk refused.
    """
    path = out / PLAN_NAME
    data = plan_bytes(plan)
    if path.exists() and path.read_bytes() == data:
        return
    if not replace:
        check_plan(plan, records, out)
    if path.exists():
        number = 1 + max((int(old.name.split(".")[1]) for old in kept_plans(out)), default=0)
        os.replace(path, out / f"plan.{number}.jsonl")
        fsync_folder(out)
    write_file(path, data)


def kept_plans(out: Path) -> list[Path]:
    """Earlier plans ``plan.<n>.jsonl``, oldest first."""
    found = [path for path in out.glob("plan.*.jsonl") if path.name.split(".")[1].isdigit()]
    return sorted(found, key=lambda path: int(path.name.split(".")[1]))


def count_verdicts(plan: Sequence[PlanEntry]) -> Mapping[str, int]:
    """How many entries are to convert, skipped and rejected by the plan itself."""
    counts = {"convert": 0, "skipped": 0, "rejected": 0}
    for entry in plan:
        counts[entry.verdict or "convert"] += 1
    return counts
