"""A job over a folder of motions: plan, convert in workers, record, report, resume; what is converted is the verb's."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

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
from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats.atomic import write_file
from soma_isaac.pipelines.config import config_yaml
from soma_isaac.pipelines.run_config import FolderRunConfig

log = logging.getLogger(__name__)

EXIT_DONE, EXIT_SOME_BAD, EXIT_INFRASTRUCTURE, EXIT_SIGNAL = 0, 3, 4, 128


@dataclass(frozen=True)
class FolderReport:
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
class FolderPlan:
    """Everything settled before any work.

    Attributes:
        entries: One per input.
        source: Folder that inputs are relative to, absolute.
        out: Output folder, absolute.
        digest: Of the settings that the outputs' bytes depend on.
        settings: What the converter needs beyond the input; JSON values only.
    """

    entries: tuple[PlanEntry, ...]
    source: Path
    out: Path
    digest: str
    settings: Mapping[str, Any]


WriteReport = Callable[[FolderPlan, Mapping[str, LedgerRecord]], Path]


def plan_folder(
    config: FolderRunConfig,
    *,
    source: Path,
    rules: InputRules,
    outputs_of: Callable[[str], Sequence[str]],
    key_parts: Sequence[str],
    digest: str,
    settings: Mapping[str, Any],
) -> FolderPlan:
    """Find the inputs and plan them; nothing is written.

    Args:
        config: The keys that all jobs have, checked already.
        source: Folder or file.
        rules: What is an input.
        outputs_of: Relative output paths of an input.
        key_parts: What all outputs depend on besides the input.
        digest: Of the settings, for the record.
        settings: What the converter needs.

    Raises:
        InputRejected: The source does not exist, there is no motion in it, or the output is no place for results.
        OutputConflict: Two inputs claim one output, or an output would take the place of an input.
    """
    out = Path(config.output.dir).expanduser().resolve()
    if out.exists() and not out.is_dir():
        raise InputRejected("is a file; output.dir= takes a folder", str(out))
    if out == source.resolve():
        raise InputRejected("is the source as well; results there would be the next run's inputs", str(out))
    found = discover(source, rules, out)
    if all(item.verdict == "skipped" for item in found):
        raise InputRejected(f"holds no motion files ({', '.join(rules.suffixes)})", str(source))
    entries = build_plan(found, outputs_of, key_parts)
    root = (source.parent if source.is_file() else source).resolve()
    _check_apart(entries, root, out)
    return FolderPlan(entries, root, out, digest, settings)


def _check_apart(entries: Sequence[PlanEntry], source: Path, out: Path) -> None:
    """Refuse outputs that would take the place of an input, which ``replace`` must not allow either.

    Raises:
        OutputConflict: The source lies where outputs go.
    """
    if not source.is_relative_to(out):
        return
    inputs = {source / entry.input for entry in entries}
    for entry in entries:
        for output in entry.outputs:
            if out / output in inputs:
                raise OutputConflict(
                    f"the results of '{shown(entry.input)}' would overwrite the input '{shown(str(out / output))}'; "
                    "choose an output.dir that does not hold the source"
                )


def run_folder(
    plan: FolderPlan,
    config: FolderRunConfig,
    stream: TextIO,
    converter: str,
    write_report: WriteReport | None = None,
) -> FolderReport:
    """Convert, record, report; resumes what an earlier run in the same folder left.

    Args:
        plan: What to do.
        config: How to do it.
        stream: Where progress is shown.
        converter: ``module:function`` that the workers call per clip.
        write_report: Writes the report of a run that came to its end; gives its path.

    Raises:
        OutputConflict: Outputs of other settings are in the way.
        OutputLocked, LedgerCorrupt, DiskRefused, WorkersUnusable: The machine, not a clip; the run can be resumed.
    """
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
        with RunLock(plan.out), open_log(plan.out) as log_stream:
            handler = log_to_stream(log_stream)
            try:
                return _run_locked(plan, config, stream, log_stream, converter, write_report)
            finally:
                logging.getLogger("soma_isaac").removeHandler(handler)
    except OSError as error:
        raise DiskRefused(f"{error.strerror or error}: {shown(str(error.filename or plan.out))}") from error


def _run_locked(
    plan: FolderPlan,
    config: FolderRunConfig,
    stream: TextIO,
    log_stream: TextIO,
    converter: str,
    write_report: WriteReport | None,
) -> FolderReport:
    with StopRequest() as stop, Ledger(plan.out) as ledger:
        store_plan(plan.entries, ledger.records, plan.out, config.replace)
        write_file(plan.out / "config.yaml", config_yaml(config, plan.digest))
        progress = Progress(len(plan.entries), stream, config.quiet)
        options = BatchOptions(config.replace, config.retry, config.strict)
        batch = Batch(plan.entries, _job_maker(plan), plan.out, ledger, progress, options)
        log.info("%d inputs, settings %s", len(plan.entries), plan.digest)
        try:
            batch.run(Supervisor(_worker_settings(config, converter), stop.grace_s, log_stream))
        finally:
            progress.close()
    counts = batch.counts()
    log.info("ended: %s", counts_line(counts))
    page = None
    if write_report is not None and stop.received is None and not counts["pending"]:
        page = write_report(plan, batch.states)
    return FolderReport(plan.out, len(plan.entries), counts, stop.received, batch.states, page)


def _worker_settings(config: FolderRunConfig, converter: str) -> WorkerSettings:
    return WorkerSettings(
        converter=converter,
        workers=config.workers,
        timeout_s=config.timeout_s,
        recycle_after=config.recycle_after,
        memory_bytes=int(config.memory_gb * 1e9),
    )


def _job_maker(plan: FolderPlan) -> Callable[[PlanEntry], ConversionJob]:
    def make(entry: PlanEntry) -> ConversionJob:
        source = str(plan.source / entry.input)
        return ConversionJob(entry.input, source, entry.sha256, entry.outputs, str(plan.out), plan.settings)

    return make


def dry_run_folder(plan: FolderPlan, config: FolderRunConfig, stream: TextIO) -> FolderReport:
    """Say what a run would do; nothing is written.

    Raises:
        OutputConflict: Outputs of other settings are in the way.
    """
    if plan.out.is_dir() and not config.replace:
        check_plan(plan.entries, read_ledger(plan.out / LEDGER_NAME)[0], plan.out)
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
    return FolderReport(
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
