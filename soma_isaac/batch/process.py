"""The parent's handle of one worker process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TextIO

import soma_isaac
from soma_isaac.batch.job import CRASHED, TIMEOUT, ConversionJob, Outcome

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""Set to 1 in every worker: parallel over clips, and sums in one order, so that bytes do not depend on the machine."""


@dataclass(frozen=True)
class WorkerSettings:
    """How workers run.

    Attributes:
        converter: ``module:function`` that the worker imports; see `soma_isaac.batch.worker.Converter`.
        workers: Processes at a time.
        timeout_s: Longest time for one clip [s].
        recycle_after: Clips after which a process is replaced, so that leaks stay bounded.
        memory_bytes: Address space of a worker [bytes]; 0 for no limit.
        startup_s: Longest time from start to ready [s].
    """

    converter: str
    workers: int = 2
    timeout_s: float = 600.0
    recycle_after: int = 100
    memory_bytes: int = 0
    startup_s: float = 120.0


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a worker: one thread per library, fixed hashing, and this very package first on the path."""
    package_root = str(Path(soma_isaac.__file__).resolve().parents[1])
    path = [package_root, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    fixed = dict.fromkeys(THREAD_VARIABLES, "1") | {"PYTHONHASHSEED": "0", "PYTHONPATH": os.pathsep.join(path)}
    return {**environment, **fixed}


@dataclass
class WorkerProcess:
    """One spawned worker and what it is doing.

    Attributes:
        connection: Our end of its socket; readable when it has said something or died.
        process: The process.
        job: The job in its hands, ``None`` when idle.
        since: Start of the process or of the job [s, monotonic].
        ready: Whether it has loaded its converter.
        served: Jobs it has ended.
    """

    connection: Connection
    process: subprocess.Popen[bytes]
    job: ConversionJob | None = None
    since: float = field(default_factory=time.monotonic)
    ready: bool = False
    served: int = 0

    @classmethod
    def start(cls, settings: WorkerSettings, log: TextIO | None = None) -> WorkerProcess:
        """Spawn a worker; what it and its libraries print goes to ``log``.

        Raises:
            OSError: The process cannot be started.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "soma_isaac.batch.worker", str(theirs.fileno())]
            arguments = [settings.converter, str(settings.memory_bytes), str(os.getpid())]
            process = subprocess.Popen(
                command + arguments,
                stdin=subprocess.DEVNULL,
                stdout=log if log is not None else subprocess.DEVNULL,
                stderr=log if log is not None else subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env=worker_environment(os.environ),
            )
        return cls(Connection(ours.detach()), process)

    def give(self, job: ConversionJob) -> None:
        """Hand over a job; a worker that has died meanwhile is noticed by `hear`."""
        self.job = job
        self.since = time.monotonic()
        try:
            self.connection.send_bytes(job.to_json())
        except OSError:
            return

    def hear(self) -> Outcome | str | None:
        """What a readable worker has to say.

        Returns:
            The outcome of its job; a sentence if it cannot be used at all; ``None`` if it has become ready or if it
            died without a job (its connection is closed then).
        """
        try:
            data = self.connection.recv_bytes()
        except (EOFError, OSError):
            return self._died()
        if not self.ready:
            self.ready = True
            return json.loads(data).get("unusable")
        self.job = None
        self.served += 1
        return Outcome.from_json(data)

    def _died(self) -> Outcome | None:
        code = self._last_words()
        job, self.job = self.job, None
        if job is None:
            return None
        how = signal.Signals(-code).name if -code in set(signal.Signals) else f"exit code {code}"
        return Outcome(job.input, CRASHED, how)

    def expired(self, settings: WorkerSettings) -> bool:
        """Whether the clip in hand, or the start, takes longer than allowed."""
        if self.ready and self.job is None:
            return False
        return time.monotonic() - self.since > (settings.timeout_s if self.ready else settings.startup_s)

    def time_out(self, settings: WorkerSettings) -> Outcome | None:
        """Kill a worker that takes too long; the outcome of its clip, if it had one."""
        job, self.job = self.job, None
        self.kill()
        return None if job is None else Outcome(job.input, TIMEOUT, f"longer than {settings.timeout_s:g} s")

    def kill(self) -> None:
        """End the process at once; it holds nothing that the next run cannot make again."""
        self.connection.close()
        self.process.kill()
        self.process.wait()

    def _last_words(self) -> int:
        """Exit code of a process that has closed its socket, negative for a signal; given time to die of its own."""
        self.connection.close()
        try:
            return self.process.wait(timeout=5.0)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
