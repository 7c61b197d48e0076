"""Jobs in a child process, never in this one: started, watched through plan and ledger, cancelled politely."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

from soma_isaac.batch.ledger import LEDGER_NAME, RETRIED_STATES, LedgerCorrupt, LedgerRecord, latest, read_ledger
from soma_isaac.batch.plan import PLAN_NAME, PlanEntry, read_plan
from soma_isaac.batch.run import ATTEMPTS_MAX
from soma_isaac.errors import InputRejected
from soma_isaac.ui.plain_words import panel_words, plain_words

PYTHON_VARIABLE = "SOMA_ISAAC_JOBS_PYTHON"
IDLE, RUNNING, CANCELLING, DONE, FAILED, CANCELLED = "idle", "running", "cancelling", "done", "failed", "cancelled"
LIVE = (RUNNING, CANCELLING)
WATCH_PERIOD_S = 0.2
INSIST_S, KILL_S = 15.0, 25.0
"""After a cancel: when the child is asked again, which makes it drop its clips, and when it is killed [s]."""

_ROOT = Path(__file__).resolve().parents[2]
_FOREIGN_VARIABLES = ("PYTHONHOME", "PYTHONPATH", "LD_PRELOAD", "LD_LIBRARY_PATH")
"""Kit sets them for its own Python; another interpreter would load the wrong libraries."""

_EXIT_WORDS: Mapping[int, str] = {
    2: "The settings were refused",
    3: "Some could not be done",
    4: "The run could not go on",
}


@dataclass(frozen=True)
class JobStatus:
    """How a job stands.

    Attributes:
        state: ``idle``, ``running``, ``cancelling``, ``done``, ``failed`` or ``cancelled``.
        fraction: Steps taken over all steps in 0..1: the plan, each clip, the report.
        text: One line for the user.
        ended: Clips that came to their end.
        total: Clips in the plan; 0 while there is none.
        exit_code: Of the child, ``None`` while it runs.
    """

    state: str = IDLE
    fraction: float = 0.0
    text: str = ""
    ended: int = 0
    total: int = 0
    exit_code: int | None = None


def jobs_python(configured: str | None = None) -> str | None:
    """The Python that can run the main job, ``None`` if none was found.

    Args:
        configured: What the user set; taken as it is. Otherwise the variable ``SOMA_ISAAC_JOBS_PYTHON``, the
            checkout's ``.venv``, or this interpreter if it has Pinocchio (which is looked for, not imported).
    """
    named = configured or os.environ.get(PYTHON_VARIABLE)
    if named:
        return shutil.which(os.path.expanduser(named))
    for folder in ("bin/python", "Scripts/python.exe"):
        if os.access(_ROOT / ".venv" / folder, os.X_OK):
            return str(_ROOT / ".venv" / folder)
    own = Path(sys.executable or "").name.startswith("python")
    return sys.executable if own and importlib.util.find_spec("pinocchio") is not None else None


def hydra_value(text: str) -> str:
    """Text as a quoted value of a Hydra override, whatever it holds."""
    # Hydra unescapes backslashes only where they stand before a quote; OmegaConf those before an interpolation.
    quoted = re.sub(r"(\\+)(?='|$)|'", lambda found: found[1] * 2 if found[1] else "\\'", text)
    return "'" + quoted.replace("${", "\\${") + "'"


def g1_refs_command(source: str, out: str, python: str | None, workers: int = 1, overwrite: bool = False) -> list[str]:
    """The command line of the main job.

    Args:
        source: Folder of clips, or one clip.
        out: Output folder.
        python: From :func:`jobs_python`.
        workers: Processes that convert.
        overwrite: Results of other settings or another version may be overwritten.

    Raises:
        InputRejected: There is no Python for it, or the scripts are not part of this installation.
    """
    values = {"source.path": hydra_value(source), "output.dir": hydra_value(out), "workers": str(workers)}
    return _script("prepare_g1_refs.py", values, python, overwrite)


def render_bodies_command(
    motion: str, out: str, count: int, python: str | None, workers: int = 1, overwrite: bool = False
) -> list[str]:
    """The command line of the batch renderer.

    Args:
        motion: Folder of clips, or one clip.
        out: Output folder.
        count: Bodies.
        python: From :func:`jobs_python`.
        workers: Processes that draw.
        overwrite: Results of other settings or another version may be overwritten.

    Raises:
        InputRejected: As :func:`g1_refs_command`.
    """
    values = {"motion": hydra_value(motion), "output.dir": hydra_value(out), "workers": str(workers)}
    return _script("render_bodies.py", {**values, "bodies.count": str(count)}, python, overwrite)


def _script(name: str, values: Mapping[str, str], python: str | None, overwrite: bool) -> list[str]:
    if python is None:
        raise InputRejected(
            f"no Python with Pinocchio was found to run this; make one with 'make refs' in the checkout, or name one "
            f"in the setting jobs_python or the variable {PYTHON_VARIABLE}"
        )
    script = _ROOT / "scripts" / name
    if not script.is_file():
        raise InputRejected("the scripts are not part of this installation; use a checkout of soma_isaac", str(script))
    replacing = ["replace=true"] if overwrite else []
    return [python, "-u", str(script), *(f"{key}={value}" for key, value in values.items()), *replacing]


class FolderJob:
    """A child process that works on a folder with a plan and a ledger, and the thread that watches it.

    Args:
        command: The command line.
        out: Its output folder.
        unit: What its plan is made of, in the singular.
    """

    def __init__(self, command: Sequence[str], out: Path, unit: str = "clip") -> None:
        self._unit = unit
        self._command = list(command)
        self._out = out
        self._status = JobStatus()
        self._cancelled_at: float | None = None
        self._process: subprocess.Popen[str] | None = None
        self._threads: list[threading.Thread] = []
        self._lines: deque[str] = deque(maxlen=50)

    @property
    def status(self) -> JobStatus:
        """How it stands, as of the last look; never waits."""
        return self._status

    def start(self) -> None:
        """Start the child.

        Raises:
            OSError: It cannot be started.
        """
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN_VARIABLES}
        environment.update(PYTHONPATH=str(_ROOT), OMP_NUM_THREADS="1")
        config = self._out / "config.yaml"
        before = config.stat().st_mtime_ns if config.exists() else None
        self._process = subprocess.Popen(
            self._command,
            cwd=_ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # a Ctrl-C meant for the application is not for the job
        )
        self._status = JobStatus(RUNNING, 0.0, "Planning ...")
        for target, arguments in ((self._read, ()), (self._watch, (before,))):
            thread = threading.Thread(target=target, args=arguments, name="soma-job", daemon=True)
            thread.start()
            self._threads.append(thread)

    def cancel(self) -> None:
        """Ask the child to end: clips in hand may finish within its grace time, nothing half-written stays."""
        if self._status.state == RUNNING:
            self._cancelled_at = monotonic()
            self._status = replace(self._status, state=CANCELLING, text="Cancelling ...")
            self._signal(signal.SIGTERM)

    def close(self, timeout_s: float = 3.0) -> None:
        """End the child for good, by force if it takes longer than ``timeout_s`` [s]."""
        process = self._process
        if process is None:
            return
        self.cancel()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._kill()
        for thread in self._threads:
            thread.join(1.0)

    def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.append(line.rstrip())

    def _watch(self, config_before: int | None) -> None:
        assert self._process is not None
        insisted = False
        ledger_size = -1
        period = WATCH_PERIOD_S
        while True:
            try:
                self._process.wait(period)
            except subprocess.TimeoutExpired:
                pass
            else:
                break
            if self._cancelled_at is not None:
                waited = monotonic() - self._cancelled_at
                if waited > KILL_S:
                    self._kill()
                elif waited > INSIST_S and not insisted:
                    insisted = True
                    self._signal(signal.SIGTERM)
                continue
            # The child writes its settings right after its plan; until then both may be those of an earlier run.
            if not self._planned(config_before):
                continue
            size = _size(self._out / LEDGER_NAME)
            if size != ledger_size:
                ledger_size, began = size, monotonic()
                self._progress()
                period = max(WATCH_PERIOD_S, 5.0 * (monotonic() - began))
        self._threads[0].join(2.0)
        self._conclude(self._process.returncode, self._planned(config_before))

    def _planned(self, config_before: int | None) -> bool:
        config = self._out / "config.yaml"
        return config.exists() and config.stat().st_mtime_ns != config_before

    def _progress(self) -> None:
        try:
            plan, records = read_plan(self._out / PLAN_NAME), read_ledger(self._out / LEDGER_NAME)[0]
        except (OSError, InputRejected, LedgerCorrupt) as error:
            self._status = self._worded(plain_words(error))
            return
        ended, total = count_ended(plan, records), len(plan)
        text = f"{ended} of {_counted(total, self._unit)}" if ended < total else "Writing the report ..."
        self._status = replace(self._worded(text), fraction=(1 + ended) / (total + 2), ended=ended, total=total)

    def _worded(self, text: str) -> JobStatus:
        """The status with a text; a cancel in the meantime keeps its own."""
        return replace(self._status, text=text) if self._status.state == RUNNING else self._status

    def _conclude(self, code: int, planned: bool) -> None:
        if planned:
            self._progress()
        said = [line for line in self._lines if line.strip()]
        error = next((line[len("error: ") :] for line in reversed(said) if line.startswith("error: ")), "")
        status = replace(self._status, exit_code=code)
        if code == 0:
            text = f"Done: {_counted(status.total, self._unit)}."
            self._status = replace(status, state=DONE, fraction=1.0, text=text)
        elif self._cancelled_at is not None:
            left = f"{status.ended} of {_counted(status.total, self._unit)} complete; start again to go on."
            text = f"Cancelled: {left}" if status.total else "Cancelled before anything was made."
            self._status = replace(status, state=CANCELLED, text=text)
        else:
            words = _EXIT_WORDS.get(code, f"The job ended with code {code}")
            reason = error or next(iter(reversed(said)), "it said nothing")
            self._status = replace(status, state=FAILED, text=panel_words(f"{words}: {reason}"))

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _kill(self) -> None:
        """End the child and its workers; what they had staged is swept away by the next run."""
        if self._process is None or self._process.poll() is not None:
            return
        if hasattr(os, "killpg"):
            os.killpg(self._process.pid, signal.SIGKILL)  # the child leads a group of its own
        else:
            self._process.kill()


def count_ended(plan: Sequence[PlanEntry], records: Sequence[LedgerRecord]) -> int:
    """Entries of the plan that came to their end; a crash or timeout that is tried again is none.

    Args:
        plan: The plan.
        records: The ledger.
    """
    known = latest(records)
    found = (known.get((entry.input, entry.key)) for entry in plan)
    return sum(
        record is not None and (record.state not in RETRIED_STATES or record.attempt >= ATTEMPTS_MAX)
        for record in found
    )


def _counted(count: int, unit: str) -> str:
    """A number of things in words."""
    return f"{count} {unit}{'s' * (count != 1)}"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
