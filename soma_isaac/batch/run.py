"""One run over a plan: decide what is left to do, have it done, publish and record it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from soma_isaac.batch.job import CONVERTED, DISK, ConversionJob, Outcome
from soma_isaac.batch.ledger import RETRIED_STATES, Ledger, LedgerRecord, latest
from soma_isaac.batch.names import shown
from soma_isaac.batch.plan import PlanEntry
from soma_isaac.batch.progress import Progress
from soma_isaac.batch.supervisor import Supervisor
from soma_isaac.errors import OutputConflict, SomaError
from soma_isaac.formats.atomic import discard, folder_inside, publish, remove_stale, sha256_of_file

log = logging.getLogger(__name__)

ATTEMPTS_MAX = 2
"""Attempts at a clip that takes its worker down: in company, then once alone."""
FINAL_STATES = ("done", "skipped")


class DiskRefused(SomaError):
    """The output disk refused a write (full, read-only, I/O error); what stands is whole and the run can be resumed."""


@dataclass(frozen=True)
class BatchOptions:
    """What a run may do.

    Attributes:
        replace: Outputs may be overwritten with different bytes.
        retry: Inputs that an earlier run rejected, or that crashed or hung twice, are tried again.
        strict: The first input that is neither done nor skipped ends the run.
    """

    replace: bool = False
    retry: bool = False
    strict: bool = False


@dataclass
class Batch:
    """One run over a plan; used once, under the lock of the output folder.

    Attributes:
        plan: The plan, stored already.
        job_of: Makes the job of an entry.
        out: Output folder.
        ledger: Open ledger of the folder.
        progress: What the user sees.
        options: What the run may do.
        states: Terminal record per input, filled as they come; without outputs and details, which the ledger has.
        attempts: Attempts per input under its key, of all runs.
    """

    plan: Sequence[PlanEntry]
    job_of: Callable[[PlanEntry], ConversionJob]
    out: Path
    ledger: Ledger
    progress: Progress
    options: BatchOptions = field(default_factory=BatchOptions)
    states: dict[str, LedgerRecord] = field(default_factory=dict)
    attempts: Counter[str] = field(default_factory=Counter)

    def run(self, supervisor: Supervisor) -> Mapping[str, LedgerRecord]:
        """Bring every entry to a terminal state, or stop early on a signal or by ``strict``.

        Returns:
            The terminal record per input; inputs that are missing are pending and taken up by the next run.

        Raises:
            DiskRefused: The output disk refused a write.
            WorkersUnusable: No worker comes up.
        """
        try:
            remove_stale(self.out)
            jobs, jobs_alone = self._sort_out()
            if not self._strict_end():
                retried = self._work(supervisor, jobs, alone=False)
                if not self._strict_end():
                    self._work(supervisor, [*jobs_alone, *retried], alone=True)
        except OSError as error:
            raise DiskRefused(f"{error.strerror or error}: {shown(str(error.filename or self.out))}") from error
        finally:
            self._sweep()
        return self.states

    def counts(self) -> Counter[str]:
        """Entries per state, ``pending`` included; the sum is the plan's size."""
        counts = Counter(record.state for record in self.states.values())
        counts["pending"] = len(self.plan) - counts.total()
        return counts

    def _sweep(self) -> None:
        """Remove what dropped clips left staged, if the disk lets us; the next run does it otherwise."""
        try:
            remove_stale(self.out)
        except OSError as error:
            log.warning("staged files are left behind: %s", error)

    def _sort_out(self) -> tuple[list[ConversionJob], list[ConversionJob]]:
        """Record what the plan settled, keep what earlier runs settled, and return the jobs left: together, alone."""
        known = latest(self.ledger.records)
        keys = {entry.input: entry.key for entry in self.plan}
        self.attempts.update(r.input for r in self.ledger.records if keys.get(r.input) == r.key)
        jobs, jobs_alone = [], []
        for entry in self.plan:
            record = known.get((entry.input, entry.key))
            if entry.verdict:
                if record is None or record.state != entry.verdict:
                    record = LedgerRecord(entry.input, entry.key, entry.verdict, reason=entry.reason)
                    self._append(record)
                    self.progress.ended(record)
                else:
                    self._keep(record)
            elif record is None:
                jobs.append(self.job_of(entry))
            elif self._settled(entry, record):
                self._keep(record)
            elif record.state in RETRIED_STATES:
                jobs_alone.append(self.job_of(entry))
            else:
                jobs.append(self.job_of(entry))
        return jobs, jobs_alone

    def _settled(self, entry: PlanEntry, record: LedgerRecord) -> bool:
        if record.state == "done":
            return self._intact(entry, record)
        if record.state == "failed" or self.options.retry:
            return False
        return record.state not in RETRIED_STATES or record.attempt >= ATTEMPTS_MAX

    def _intact(self, entry: PlanEntry, record: LedgerRecord) -> bool:
        for name in entry.outputs:
            path = self.out / name
            if name not in record.outputs:
                return False  # a format that was not asked for then
            if path.is_symlink() or not path.is_file() or sha256_of_file(path) != record.outputs[name]:
                log.warning("%s is missing or not what was written; its clip is converted again", shown(name))
                return False
        return True

    def _work(self, supervisor: Supervisor, jobs: Sequence[ConversionJob], alone: bool) -> list[ConversionJob]:
        """Run jobs; returns those to be tried once more, alone."""
        entries = {entry.input: entry for entry in self.plan}
        by_input = {job.input: job for job in jobs}
        retried: list[ConversionJob] = []
        with closing(supervisor.run(jobs, alone)) as outcomes:
            for outcome in outcomes:
                self.attempts[outcome.input] += 1
                record = self._conclude(entries[outcome.input], outcome, self.attempts[outcome.input])
                self._append(record)
                if record.state in RETRIED_STATES and not alone and not self.options.strict:
                    retried.append(by_input[outcome.input])
                    log.warning("%s: %s, tried once more, alone", shown(record.input), record.state)
                    continue
                self.progress.ended(record)
                if self._strict_end():
                    break
        return retried

    def _conclude(self, entry: PlanEntry, outcome: Outcome, attempt: int) -> LedgerRecord:
        """Publish a converted clip; the record of what came of the attempt."""
        if outcome.kind == DISK:
            raise DiskRefused(outcome.reason)
        if outcome.kind != CONVERTED:
            return LedgerRecord(entry.input, entry.key, outcome.kind, attempt, outcome.reason)
        try:
            for output in outcome.outputs:
                self._check_free(output.name, output.sha256)
        except OutputConflict as error:
            for output in outcome.outputs:
                discard(Path(output.staged))
            return LedgerRecord(entry.input, entry.key, "failed", attempt, f"OutputConflict: {error}")
        for output in outcome.outputs:
            publish(Path(output.staged), self.out / output.name)
        digests = {output.name: output.sha256 for output in outcome.outputs}
        return LedgerRecord(entry.input, entry.key, "done", attempt, "", digests, outcome.details)

    def _check_free(self, name: str, digest: str) -> None:
        """Refuse to put other bytes in the place of a file, or to publish through a link."""
        folder_inside(self.out, name.rpartition("/")[0])
        path = self.out / name
        if self.options.replace or not (path.exists() or path.is_symlink()):
            return
        if path.is_symlink() or not path.is_file() or sha256_of_file(path) != digest:
            raise OutputConflict(f"'{shown(name)}' exists with other bytes; move it away, or replace=true")

    def _append(self, record: LedgerRecord) -> None:
        self.ledger.append(record)
        self.states[record.input] = replace(record, outputs={}, details={})

    def _keep(self, record: LedgerRecord) -> None:
        self.states[record.input] = replace(record, outputs={}, details={})
        self.progress.settled(record)

    def _strict_end(self) -> bool:
        return self.options.strict and any(record.state not in FINAL_STATES for record in self.states.values())
