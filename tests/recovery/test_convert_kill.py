"""convert.py under kill -9: the same machinery as the main job's, shown on a mirrored tree.

With the real converter, 2,000 clips and memory watched: ``benchmarks/conversion.py``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from soma_isaac.batch.audit import folder_status
from tests.recovery.driver import ROOT, assert_nothing_lost, make_source, results

CLIPS = 60
KILLS = 4


def start(source: Path, out: Path, *keys: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.recovery.fake_convert", "verb=amass", f"source.path={source}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    line = [*command, f"output.dir={out}", *keys]
    return subprocess.Popen(line, cwd=ROOT, env=environment, start_new_session=True, **pipes)


def finish(process: subprocess.Popen[str]) -> int:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return process.returncode


def test_killed_again_and_again_and_resumed_to_the_same_bytes(tmp_path):
    source = make_source(tmp_path / "in", CLIPS, seconds=0.02, size=30_000)
    finish(start(source, tmp_path / "calm"))
    expected = results(tmp_path / "calm")
    assert sum(name.startswith("soma/") for name in expected) == CLIPS
    out, killed, done = tmp_path / "out", 0, []
    for share in range(1, KILLS + 1):
        process = start(source, out)
        ledger, deadline = out / "ledger.jsonl", time.monotonic() + 60.0
        while process.poll() is None and time.monotonic() < deadline:
            if ledger.exists() and ledger.read_bytes().count(b"\n") >= CLIPS * share // (KILLS + 2):
                break
            time.sleep(0.002)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            killed += 1
        process.communicate()
        done.append(folder_status(out).counts["done"])
    assert killed >= KILLS - 1 and done == sorted(done)
    finish(start(source, out))
    assert_nothing_lost(out, CLIPS)
    assert results(out) == expected
    # the tree of the source is mirrored
    inputs = {path.relative_to(source).as_posix() for path in source.rglob("*.npz")}
    assert {name.removeprefix("soma/") for name in expected if name.startswith("soma/")} == inputs
