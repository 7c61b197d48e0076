"""What the recovery tests share: fake clips, runs in and out of process, and what must hold after any of them."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from soma_isaac.batch.audit import folder_status, verify_folder
from soma_isaac.batch.job import ConversionJob, Outcome
from soma_isaac.batch.worker import attempt, load_converter
from soma_isaac.formats.atomic import is_staged_name
from soma_isaac.pipelines import g1_refs
from soma_isaac.pipelines.folder_run import FolderReport
from soma_isaac.pipelines.g1_config import G1RefsConfig
from soma_isaac.pipelines.run_config import OutputConfig, SourceConfig
from tests.recovery.fake_run import FAKE

ROOT = Path(__file__).resolve().parents[2]
BOOKKEEPING = {"log.txt", "ledger.jsonl", ".lock", "config.yaml"}
"""Files of an output folder that tell of the run, not of the clips."""


def make_source(folder: Path, count: int, **order: object) -> Path:
    """``count`` well-behaved fake clips."""
    for index in range(count):
        add_clip(folder, f"{'abc'[index % 3]}/clip{index:02}.npz", n=index, **order)
    return folder


def add_clip(folder: Path, name: str, do: str = "ok", **order: object) -> Path:
    """One fake clip that tells the fake converter what to do."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"do": do, **order}))
    return path


def start(source: Path, out: Path, *keys: str, **options: object) -> subprocess.Popen[str]:
    """Start the command with the fake converter in a process group of its own."""
    command = [sys.executable, "-m", "tests.recovery.fake_run", f"source.path={source}", f"output.dir={out}", *keys]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    keywords = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True, **keywords)  # type: ignore[call-overload]


def run(source: Path, out: Path, *keys: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run the command with the fake converter to its end."""
    process = start(source, out, *keys, **options)
    stdout, stderr = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def wait_until_polite(process: subprocess.Popen[str]) -> None:
    """Wait until a started run answers signals itself; before that they end it as they end any program."""
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        caught = int(status.read_text().partition("SigCgt:")[2].split()[0], 16)
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.005)


class InlineSupervisor:
    """Stands in for the supervisor where a test must see every system call: converts in this process."""

    def __init__(self, settings: object, should_stop: object = None, log_stream: object = None) -> None:
        self.converter = load_converter(FAKE)

    def run(self, jobs: list[ConversionJob], alone: bool = False) -> Iterator[Outcome]:
        """As the real one."""
        for job in jobs:
            yield attempt(job, self.converter)


def run_inline(source: Path, out: Path, **keys: object) -> FolderReport:
    """Run the job in this process; the caller has put `InlineSupervisor` in place."""
    config = G1RefsConfig(source=SourceConfig(str(source)), output=OutputConfig(str(out)), **keys)  # type: ignore[arg-type]
    return g1_refs.run_g1_refs(config, io.StringIO(), FAKE)


def results(out: Path) -> dict[str, bytes]:
    """Every file that is a result: outputs, plan and report."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in BOOKKEEPING and not is_staged_name(path.name)
    }


def staged_files(out: Path) -> list[Path]:
    """Files that a killed run left under staged names."""
    return [path for path in out.rglob(".*") if is_staged_name(path.name)]


def assert_nothing_lost(out: Path, total: int) -> None:
    """Every input has one terminal state, every recorded output its bytes, and nothing else lies about."""
    status = folder_status(out)
    assert status.total == total
    assert status.counts.total() == total
    assert status.counts["pending"] == 0
    problems = verify_folder(out)
    assert (problems.missing, problems.changed, problems.unrecorded) == ((), (), ())
    assert staged_files(out) == []
