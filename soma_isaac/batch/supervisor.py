"""The supervisor: keeps workers busy, survives their deaths, and yields one outcome per job.

Not a stdlib pool: those lose the job, or the whole pool, when a process dies.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from time import monotonic
from typing import TextIO

from soma_isaac.batch.job import ConversionJob, Outcome
from soma_isaac.batch.names import shown
from soma_isaac.batch.process import WorkerProcess, WorkerSettings
from soma_isaac.errors import SomaError

log = logging.getLogger(__name__)

TICK_S = 0.2
"""Longest wait [s] before looking at clocks and signals again."""
FAILED_STARTS_MAX = 3


class WorkersUnusable(SomaError):
    """Workers do not come up: the machine or the installation is broken, not a clip."""


class Supervisor:
    """Runs jobs on worker processes.

    Args:
        settings: How workers run.
        should_stop: Asked often; when it gives a grace time [s], no job is handed out any more and those in hand
            have that long to end.
        log_stream: Where workers print.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        should_stop: Callable[[], float | None] = lambda: None,
        log_stream: TextIO | None = None,
    ) -> None:
        self._settings = settings
        self._should_stop = should_stop
        self._log_stream = log_stream
        self._workers: list[WorkerProcess] = []
        self._failed_starts = 0

    def run(self, jobs: Sequence[ConversionJob], alone: bool = False) -> Generator[Outcome, None, None]:
        """Yield the outcome of each job as it ends, in no fixed order; fewer when stopped.

        Args:
            jobs: The jobs.
            alone: One at a time, each in a fresh process: for clips that took a worker down.

        Raises:
            WorkersUnusable: Workers die before they are ready, or cannot load the converter.
            OSError: No process can be started.
        """
        waiting = deque(jobs)
        limit = 1 if alone else self._settings.workers
        recycle_after = 1 if alone else self._settings.recycle_after
        try:
            while waiting or self._busy():
                if self._should_stop() is not None:
                    yield from self._finish()
                    return
                self._fill(waiting, limit)
                yield from self._turn(TICK_S)
                self._retire(recycle_after, keep=len(waiting))
        finally:
            for worker in self._workers:
                worker.kill()
            self._workers.clear()

    def _busy(self) -> bool:
        return any(worker.job is not None for worker in self._workers)

    def _fill(self, waiting: deque[ConversionJob], limit: int) -> None:
        idle = [worker for worker in self._workers if worker.ready and worker.job is None]
        for worker in idle[: len(waiting)]:
            worker.give(waiting.popleft())
        coming = sum(not worker.ready for worker in self._workers)
        while len(self._workers) < limit and coming < len(waiting):
            self._workers.append(WorkerProcess.start(self._settings, self._log_stream))
            coming += 1

    def _turn(self, patience_s: float) -> Iterator[Outcome]:
        """Wait for something to happen and yield the outcomes that came of it."""
        by_connection = {worker.connection: worker for worker in self._workers}
        for connection in wait(list(by_connection), timeout=patience_s):
            assert isinstance(connection, Connection)
            worker = by_connection[connection]
            heard = worker.hear()
            if isinstance(heard, Outcome):
                yield heard
            elif heard is not None:
                raise WorkersUnusable(f"a worker cannot load {self._settings.converter}: {heard}")
            self._mourn(worker)
        for worker in list(self._workers):
            if worker.expired(self._settings):
                log.warning("worker %d takes too long and is ended", worker.process.pid)
                outcome = worker.time_out(self._settings)
                self._mourn(worker)
                if outcome is not None:
                    yield outcome

    def _mourn(self, worker: WorkerProcess) -> None:
        """Take a dead worker off the list."""
        if not worker.connection.closed:
            self._failed_starts = 0
            return
        self._workers.remove(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= FAILED_STARTS_MAX:
                code = worker.process.returncode
                raise WorkersUnusable(
                    f"{FAILED_STARTS_MAX} workers ended before they were ready (last exit code {code}); "
                    "the run's log.txt has their words"
                )

    def _retire(self, recycle_after: int, keep: int) -> None:
        """End idle workers that have served enough, or that nobody needs any more."""
        for worker in list(self._workers):
            if worker.ready and worker.job is None and (worker.served >= recycle_after or keep == 0):
                self._workers.remove(worker)
                worker.kill()

    def _finish(self) -> Iterator[Outcome]:
        """Let the clips in hand end within the grace time; the rest are dropped by the caller's ``finally``."""
        began = monotonic()
        while self._busy():
            grace = self._should_stop() or 0.0
            left = began + grace - monotonic()
            if left <= 0.0:
                for worker in self._workers:
                    if worker.job is not None:
                        log.info("%s: dropped, to be converted by the next run", shown(worker.job.input))
                return
            yield from self._turn(min(left, TICK_S))
