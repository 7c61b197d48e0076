"""The main job: a folder of human motions becomes reference clips for a Unitree G1, with nothing lost on the way."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from soma_isaac import __version__
from soma_isaac.batch.audit import FolderProblems, folder_status, verify_folder
from soma_isaac.batch.discovery import InputRules, discover
from soma_isaac.batch.job import ConversionJob
from soma_isaac.batch.ledger import LEDGER_NAME, STATES, Ledger, LedgerRecord, read_ledger
from soma_isaac.batch.lock import RunLock
from soma_isaac.batch.log import log_to_stream, open_log
from soma_isaac.batch.names import escaped, shown
from soma_isaac.batch.plan import PlanEntry, build_plan, check_plan, count_verdicts, store_plan
from soma_isaac.batch.process import WorkerSettings
from soma_isaac.batch.progress import Progress
from soma_isaac.batch.run import FINAL_STATES, Batch, BatchOptions, DiskRefused
from soma_isaac.batch.stop import StopRequest
from soma_isaac.batch.supervisor import Supervisor
from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import sha256_of_file, write_file
from soma_isaac.pipelines.config import config_yaml, settings_digest
from soma_isaac.pipelines.fingerprint import code_digest
from soma_isaac.pipelines.g1_config import (
    MOTION_SUFFIXES,
    REFUSED_SUFFIXES,
    G1RefsConfig,
    check_config,
    conversion_settings,
    output_names,
    skipped_name,
)
from soma_isaac.retarget.pinocchio_model import require_pinocchio
from soma_isaac.rig.skeleton import data_path

log = logging.getLogger(__name__)

CONVERTER = "soma_isaac.pipelines.g1_clip:convert_clip"
DEMO_CLIPS = "demo_clips"
BUNDLED_URDF = "g1/g1_29dof.urdf"
CODE_PARTS = (
    "math",
    "rig",
    "motion",
    "formats",
    "inversion",
    "retarget",
    "pipelines/motion_in.py",
    "pipelines/g1_clip.py",
)
LIBRARIES = ("numpy", "scipy")
DATA_FILES = ("SOMA_skeleton.json", BUNDLED_URDF)  # its collision shapes serve robots whose own file has meshes
EXIT_DONE, EXIT_USAGE, EXIT_SOME_BAD, EXIT_INFRASTRUCTURE, EXIT_SIGNAL = 0, 2, 3, 4, 128


@dataclass(frozen=True)
class G1RefsReport:
    """How a run ended.

    Attributes:
        out: Output folder, absolute.
        total: Inputs in the plan.
        counts: Inputs per state; ``pending`` are left to the next run.
        stop_signal: Number of the signal that ended the run early, or ``None``.
        records: Terminal ledger record per input.
        report_path: The HTML report, or ``None`` where none was written.
    """

    out: Path
    total: int
    counts: Counter[str]
    stop_signal: int | None = None
    records: Mapping[str, LedgerRecord] = field(default_factory=dict)
    report_path: Path | None = None

    @property
    def exit_code(self) -> int:
        """0 all done or skipped, 3 some not, 128 + n ended by signal n."""
        if self.stop_signal is not None:
            return EXIT_SIGNAL + self.stop_signal
        settled = sum(self.counts[state] for state in FINAL_STATES)
        return EXIT_DONE if settled == self.total else EXIT_SOME_BAD


@dataclass(frozen=True)
class G1RefsPlan:
    """Everything settled before any work.

    Attributes:
        entries: One per input.
        source: Folder that inputs are relative to, absolute.
        out: Output folder, absolute.
        robot_urdf: The URDF, absolute.
        robot_digest: sha256 of its bytes.
        digest: Of the settings that the outputs' bytes depend on.
    """

    entries: tuple[PlanEntry, ...]
    source: Path
    out: Path
    robot_urdf: Path
    robot_digest: str
    digest: str


def plan_g1_refs(config: G1RefsConfig) -> G1RefsPlan:
    """Find the inputs and plan them; nothing is written.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: Source or URDF do not exist, or there is no motion in the source.
        OutputConflict: Two inputs claim one output.
    """
    check_config(config)
    source = data_path(DEMO_CLIPS) if config.source.path is None else Path(config.source.path).expanduser()
    out = Path(config.output.dir).expanduser().resolve()
    robot_urdf = (Path(config.robot.urdf).expanduser() if config.robot.urdf else data_path(BUNDLED_URDF)).resolve()
    if not robot_urdf.is_file():
        raise InputRejected("no such file; robot.urdf= takes a URDF of a G1", str(robot_urdf))
    if out.exists() and not out.is_dir():
        raise InputRejected("is a file; output.dir= takes a folder", str(out))
    if out == source.resolve():
        raise InputRejected("is the source as well; results there would be the next run's inputs", str(out))
    found = discover(source, InputRules(MOTION_SUFFIXES, REFUSED_SUFFIXES, skipped_name), out)
    if all(item.verdict == "skipped" for item in found):
        raise InputRejected(f"holds no motion files ({', '.join(MOTION_SUFFIXES)})", str(source))
    digest, robot_digest = settings_digest(conversion_settings(config)), sha256_of_file(robot_urdf)
    code = code_digest(CODE_PARTS, tuple(data_path(name) for name in DATA_FILES), LIBRARIES)
    key_parts = (digest, robot_digest, code)
    entries = build_plan(found, lambda relative: output_names(relative, config.formats), key_parts)
    root = source.parent if source.is_file() else source
    return G1RefsPlan(entries, root.resolve(), out, robot_urdf, robot_digest, digest)


def run_g1_refs(config: G1RefsConfig, stream: TextIO, converter: str = CONVERTER) -> G1RefsReport:
    """Plan, convert, record, report; resumes what an earlier run in the same folder left.

    Args:
        config: The settings.
        stream: Where progress is shown.
        converter: ``module:function`` that the workers call per clip.

    Raises:
        ConfigRefused, InputRejected, OutputConflict: As `plan_g1_refs`, or outputs of other settings are in the way.
        OutputLocked, LedgerCorrupt, DiskRefused, WorkersUnusable: The machine, not a clip; the run can be resumed.
        MissingDependency: Pinocchio is not installed; nothing was written.
    """
    plan = plan_g1_refs(config)
    if config.dry_run:
        if plan.out.is_dir() and not config.replace:
            check_plan(plan.entries, read_ledger(plan.out / LEDGER_NAME)[0], plan.out)
        return _dry_run(plan, stream)
    if converter == CONVERTER:
        require_pinocchio()  # before the first clip fails of it, and all others after it
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with RunLock(plan.out), open_log(plan.out) as log_stream:
            handler = log_to_stream(log_stream)
            try:
                return _run_locked(config, plan, stream, log_stream, converter)
            finally:
                logging.getLogger("soma_isaac").removeHandler(handler)
    except OSError as error:
        raise DiskRefused(f"{error.strerror or error}: {shown(str(error.filename or plan.out))}") from error


def _run_locked(
    config: G1RefsConfig, plan: G1RefsPlan, stream: TextIO, log_stream: TextIO, converter: str
) -> G1RefsReport:
    with Ledger(plan.out) as ledger, StopRequest() as stop:
        store_plan(plan.entries, ledger.records, plan.out, config.replace)
        write_file(plan.out / "config.yaml", config_yaml(config, plan.digest))
        progress = Progress(len(plan.entries), stream, config.quiet)
        options = BatchOptions(config.replace, config.retry, config.strict)
        batch = Batch(plan.entries, _job_maker(config, plan), plan.out, ledger, progress, options)
        log.info("%d inputs, settings %s", len(plan.entries), plan.digest)
        try:
            batch.run(Supervisor(_worker_settings(config, converter), stop.grace_s, log_stream))
        finally:
            progress.close()
    counts = batch.counts()
    log.info("ended: %s", counts_line(counts))
    page = None
    if converter == CONVERTER and stop.received is None and not counts["pending"]:
        page = _write_report(config, plan, batch.states)
    return G1RefsReport(plan.out, len(plan.entries), counts, stop.received, batch.states, page)


def _worker_settings(config: G1RefsConfig, converter: str) -> WorkerSettings:
    return WorkerSettings(
        converter=converter,
        workers=config.workers,
        timeout_s=config.timeout_s,
        recycle_after=config.recycle_after,
        memory_bytes=int(config.memory_gb * 1e9),
    )


def _job_maker(config: G1RefsConfig, plan: G1RefsPlan) -> Callable[[PlanEntry], ConversionJob]:
    settings = {
        **conversion_settings(config),
        "robot_urdf": str(plan.robot_urdf),
        "robot_digest": plan.robot_digest,
    }

    def make(entry: PlanEntry) -> ConversionJob:
        source = str(plan.source / entry.input)
        return ConversionJob(entry.input, source, entry.sha256, entry.outputs, str(plan.out), settings)

    return make


def _write_report(config: G1RefsConfig, plan: G1RefsPlan, records: Mapping[str, LedgerRecord]) -> Path:
    from soma_isaac.pipelines.g1_report import write_g1_report  # it draws with Warp and USD, which workers never need

    facts = {
        "Source": "bundled clips" if config.source.path is None else config.source.path,
        "Robot": f"{plan.robot_urdf.name} ({plan.robot_digest[:12]})",
        "Rate": f"{config.fps:g} Hz",
        "Formats": ", ".join(sorted(config.formats)),
        "Settings": plan.digest[:12],
        "Version": __version__,
    }
    return write_g1_report(plan.out, states_of(plan.entries, records), facts, plan.robot_urdf)


def _dry_run(plan: G1RefsPlan, stream: TextIO) -> G1RefsReport:
    counts = count_verdicts(plan.entries)
    for entry in plan.entries:
        if entry.verdict:
            stream.write(f"{entry.verdict}: {shown(entry.input)}: {escaped(entry.reason)}\n")
    outputs = sum(len(entry.outputs) for entry in plan.entries)
    stream.write(
        f"dry run: {counts['convert']} clips to convert into {outputs} files, {counts['rejected']} rejected, "
        f"{counts['skipped']} skipped; nothing was written\n"
    )
    # An input that would be converted counts as skipped by the dry run; what the plan rejects is bad already.
    return G1RefsReport(
        plan.out,
        len(plan.entries),
        Counter(skipped=counts["convert"] + counts["skipped"], rejected=counts["rejected"]),
    )


def counts_line(counts: Mapping[str, int]) -> str:
    """The counts of all states that occur, ``done`` always."""
    named = [state for state in (*STATES, "pending") if counts.get(state, 0) or state == "done"]
    return ", ".join(f"{counts.get(state, 0)} {state}" for state in named)


def status_lines(out: Path) -> tuple[list[str], int]:
    """What ``mode=status`` says, and its exit code: 0 all settled well, 3 otherwise."""
    status = folder_status(out)
    lines = [
        f"{record.state}: {shown(name)}: {escaped(record.reason)}"
        for name, record in sorted(status.records.items())
        if record.state not in FINAL_STATES
    ]
    good = sum(status.counts[state] for state in FINAL_STATES)
    lines.append(f"{status.total} inputs: {counts_line(status.counts)}")
    return lines, EXIT_DONE if good == status.total else EXIT_SOME_BAD


def verify_lines(out: Path) -> tuple[list[str], int]:
    """What ``mode=verify`` says, and its exit code: 0 if every recorded output has its bytes, 3 otherwise."""
    problems: FolderProblems = verify_folder(out)
    lines = []
    for kind, names in (
        ("missing", problems.missing),
        ("changed", problems.changed),
        ("not recorded", problems.unrecorded),
    ):
        lines.extend(f"{kind}: {shown(name)}" for name in names)
    lines.append(
        f"{problems.checked} outputs verified, {len(problems.missing)} missing, {len(problems.changed)} changed, "
        f"{len(problems.unrecorded)} not recorded"
    )
    return lines, EXIT_SOME_BAD if problems.missing or problems.changed else EXIT_DONE


def states_of(entries: Sequence[PlanEntry], records: Mapping[str, LedgerRecord]) -> list[tuple[str, str, str]]:
    """(input, state, reason) in plan order, for the report."""
    found = ((entry.input, records.get(entry.input)) for entry in entries)
    return [(name, "pending", "") if record is None else (name, record.state, record.reason) for name, record in found]
