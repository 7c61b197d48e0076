"""kill -9 at random moments, then resume: one terminal state per input, bytes as of an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.recovery.driver import add_clip, assert_nothing_lost, make_source, results, run, start

KILLS = int(os.environ.get("SOMA_ISAAC_KILLS", "20"))
CLIPS = 40


def kill_somewhere(process, out: Path, seed: int) -> bool:
    """Kill the group after a random number of ledger lines and a random delay; whether it was still running."""
    chance = random.Random(seed)
    lines = chance.choice([0, *range(0, CLIPS + 4)])
    ledger = out / "ledger.jsonl"
    deadline = time.monotonic() + 60.0
    while process.poll() is None and time.monotonic() < deadline:
        if ledger.exists() and ledger.read_bytes().count(b"\n") >= lines:
            break
        time.sleep(0.002)
    time.sleep(chance.uniform(0.0, 0.06))
    running = process.poll() is None
    if running:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return running


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_source(tmp_path_factory.mktemp("source"), CLIPS - 2, seconds=0.02, size=60_000)
    add_clip(folder, "bad.npz", "reject")
    add_clip(folder, "worse.npz", "error")
    return folder


@pytest.fixture(scope="module")
def undisturbed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("undisturbed")
    assert run(source, out).returncode == 3
    assert_nothing_lost(out, CLIPS)
    found = results(out)
    assert sum(name.startswith("mjlab/") for name in found) == CLIPS - 2
    return found


def test_killed_at_random_moments_and_resumed(source, undisturbed, tmp_path):
    """Shows 6 of the issue, with a converter that is fake and writes 300 KB per clip."""

    def trial(seed: int) -> bool:
        out = tmp_path / f"out{seed}"
        killed = kill_somewhere(start(source, out), out, seed)
        assert run(source, out).returncode == 3
        assert_nothing_lost(out, CLIPS)
        assert results(out) == undisturbed
        return killed

    with ThreadPoolExecutor(4) as pool:
        killed = list(pool.map(trial, range(KILLS)))
    assert sum(killed) >= 0.75 * KILLS, "too few runs were killed before their end for this to show anything"


def test_killed_again_and_again(source, undisturbed, tmp_path):
    """A run that is killed six times on its way still gets there."""
    out = tmp_path / "out"
    for seed in range(6):
        process = start(source, out)
        time.sleep(0.45 + 0.02 * seed)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert run(source, out).returncode == 3
    assert_nothing_lost(out, CLIPS)
    assert results(out) == undisturbed


def test_workers_die_with_their_parent(tmp_path):
    """Killing the parent alone leaves no worker that could write into the next run's folder."""
    out, begun = tmp_path / "out", tmp_path / "begun"
    source = make_source(tmp_path / "source", 4, seconds=120.0, begun=str(begun))
    process = start(source, out)
    while not begun.exists() and process.poll() is None:
        time.sleep(0.01)
    children = _children(process.pid)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 60.0  # half as long as the clips take
    while any(_runs(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert children and not any(_runs(pid) for pid in children)


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
