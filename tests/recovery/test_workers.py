"""Workers that die, hang, eat memory or cannot start: one clip's fate, not the run's."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from soma_isaac.batch.job import ConversionJob
from soma_isaac.batch.process import WorkerSettings, worker_environment
from soma_isaac.batch.supervisor import Supervisor, WorkersUnusable
from soma_isaac.formats.atomic import sha256_of_file
from tests.recovery.driver import (
    add_clip,
    assert_nothing_lost,
    make_source,
    results,
    run,
    staged_files,
    start,
    wait_until_polite,
)
from tests.recovery.fake_run import FAKE


def test_three_bad_of_fifty_one(tmp_path):
    """Segfault, hang and out-of-memory among 48 good clips: 48 results, each bad one tried twice, exit 3."""
    source, out = make_source(tmp_path / "source", 48), tmp_path / "out"
    add_clip(source, "a/segfault.npz", "segfault")
    add_clip(source, "b/hang.npz", "hang")
    add_clip(source, "c/oom.npz", "oom")
    result = run(source, out, "timeout_s=10", "memory_gb=0.5", "formats=[mjlab]")
    assert result.returncode == 3
    assert "51 inputs: 48 done, 1 crashed, 1 timeout, 1 failed" in result.stdout
    assert_nothing_lost(out, 51)
    ledger = (out / "ledger.jsonl").read_text()
    assert ledger.count("SIGSEGV") == 2 and ledger.count("longer than 10 s") == 2
    assert "MemoryError" in ledger
    again = run(source, out, "timeout_s=10", "memory_gb=0.5", "formats=[mjlab]")
    assert again.returncode == 3
    assert (out / "ledger.jsonl").read_text().count("SIGSEGV") == 2, "a quarantined clip was tried again"


def test_crash_of_company_is_forgiven(tmp_path):
    """A worker killed once (by the kernel for memory, say): its clip is done on the second attempt."""
    source, out = make_source(tmp_path / "source", 6), tmp_path / "out"
    add_clip(source, "odd.npz", "kill_once")
    assert run(source, out, "formats=[mjlab]").returncode == 0
    ledger = (out / "ledger.jsonl").read_text()
    assert '"reason": "SIGKILL", "state": "crashed"' in ledger
    assert (out / "mjlab/odd.npz").exists()


def test_strict_ends_at_a_crash(tmp_path):
    source, out = make_source(tmp_path / "source", 20, seconds=0.05), tmp_path / "out"
    add_clip(source, "0.npz", "exit")
    result = run(source, out, "strict=true", "formats=[mjlab]")
    assert result.returncode == 3
    assert "1 crashed" in result.stdout and "pending" in result.stdout
    assert staged_files(out) == []


def jobs(source: Path, out: Path) -> list[ConversionJob]:
    out.mkdir()
    return [
        ConversionJob(path.name, str(path), sha256_of_file(path), (f"x/{path.stem}.bin",), str(out))
        for path in sorted(source.iterdir())
    ]


def test_workers_are_recycled(tmp_path, monkeypatch):
    source = tmp_path / "source"
    for index in range(7):
        add_clip(source, f"{index}.npz")
    started = []
    from soma_isaac.batch import supervisor

    real = supervisor.WorkerProcess.start
    monkeypatch.setattr(supervisor.WorkerProcess, "start", lambda *args: started.append(1) or real(*args))
    settings = WorkerSettings(FAKE, workers=1, recycle_after=3)
    outcomes = list(Supervisor(settings).run(jobs(source, tmp_path / "out")))
    assert [outcome.kind for outcome in outcomes] == ["converted"] * 7
    assert len(started) == 3


def test_handles_stay_flat(tmp_path):
    """Sixty clips, a new worker every four: no descriptor of a past worker stays open in the parent."""
    source = tmp_path / "source"
    for index in range(60):
        add_clip(source, f"{index}.npz", "kill" if index % 20 == 19 else "ok")
    open_files = lambda: len(os.listdir("/proc/self/fd"))
    before = open_files()
    outcomes = list(Supervisor(WorkerSettings(FAKE, recycle_after=4)).run(jobs(source, tmp_path / "out")))
    assert len(outcomes) == 60 and sum(outcome.kind == "crashed" for outcome in outcomes) == 3
    assert open_files() == before


@pytest.mark.parametrize(
    "converter,words",
    [("no_such_module:convert", "No module named"), ("tests.recovery.fake_converter:absent", "absent")],
)
def test_converter_that_cannot_be_loaded_ends_the_run(converter, words, tmp_path):
    add_clip(tmp_path / "source", "a.npz")
    with pytest.raises(WorkersUnusable, match=words):
        list(Supervisor(WorkerSettings(converter)).run(jobs(tmp_path / "source", tmp_path / "out")))


def test_workers_that_die_at_the_start_end_the_run(tmp_path, monkeypatch):
    """Rather than being started for ever."""
    (tmp_path / "dies_on_import.py").write_text("import os\nos._exit(9)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    add_clip(tmp_path / "source", "a.npz")
    with pytest.raises(WorkersUnusable, match="exit code 9"):
        list(Supervisor(WorkerSettings("dies_on_import:convert")).run(jobs(tmp_path / "source", tmp_path / "out")))


def test_worker_environment_fixes_what_bytes_could_depend_on():
    environment = worker_environment({"OMP_NUM_THREADS": "8", "PYTHONPATH": "/x", "HOME": "/h"})
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "1"
    assert environment["PYTHONHASHSEED"] == "0" and environment["HOME"] == "/h"
    assert environment["PYTHONPATH"].endswith(os.pathsep + "/x")


@pytest.mark.parametrize("number,code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("lines", [0, 3])
@pytest.mark.parametrize("whole_group", [False, True], ids=["parent", "group"])
def test_signals_end_the_run_politely(number, code, lines, whole_group, tmp_path):
    """Ctrl-C reaches the whole group, ``kill`` the parent only; either way the ledger is whole and nothing staged."""
    source, out = make_source(tmp_path / "source", 12, seconds=0.3), tmp_path / "out"
    process = start(source, out, "formats=[mjlab]")
    ledger = out / "ledger.jsonl"
    wait_until_polite(process)
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < lines:
        time.sleep(0.005)
    time.sleep(0.03)
    (os.killpg if whole_group else os.kill)(process.pid, number)
    stdout, stderr = process.communicate(timeout=120)
    assert process.returncode == code
    assert "Traceback" not in stderr
    assert ledger.read_bytes().endswith(b"\n") or not ledger.read_bytes()
    assert staged_files(out) == []
    assert " pending" in stdout
    recorded = set(ledger.read_text().splitlines())
    assert run(source, out, "formats=[mjlab]").returncode == 0
    assert recorded <= set(ledger.read_text().splitlines()), "a line of the ledger was changed"
    assert_nothing_lost(out, 12)


def test_second_signal_drops_the_clip_in_hand(tmp_path, monkeypatch):
    """Which the first lets go on for as long as it may: here for longer than the test waits."""
    monkeypatch.setenv("SOMA_ISAAC_GRACE_S", "600")
    source, out, begun = tmp_path / "source", tmp_path / "out", tmp_path / "begun"
    add_clip(source, "slow.npz", seconds=600.0, begun=str(begun))
    process = start(source, out)
    while not begun.exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    time.sleep(1.0)  # two at once would be taken for one
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert results(out).keys() == {"plan.jsonl"}


def test_second_run_in_a_folder_is_refused(tmp_path):
    """Of several runs in one folder one works, and the others name it and leave with 4."""
    source, out = make_source(tmp_path / "source", 2, seconds=0.8), tmp_path / "out"
    runs = [start(source, out, "formats=[mjlab]", "workers=1") for _ in range(4)]
    ended = [(process.communicate(timeout=60), process.returncode) for process in runs]
    assert sorted(code for _, code in ended) == [0, 4, 4, 4]
    winner = next(process.pid for process in runs if process.returncode == 0)
    for (_, stderr), code in ended:
        assert code == 0 or f"process {winner} on host" in stderr or "has not said" in stderr
    assert_nothing_lost(out, 2)
