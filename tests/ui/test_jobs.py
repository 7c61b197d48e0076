"""Jobs in a child process, shown with children that are a few lines of Python."""

import sys
import time

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from soma_isaac.batch.ledger import Ledger, LedgerRecord
from soma_isaac.batch.plan import PLAN_NAME, PlanEntry, plan_bytes
from soma_isaac.errors import InputRejected
from soma_isaac.ui import jobs
from soma_isaac.ui.jobs import FolderJob, count_ended, g1_refs_command, hydra_value

AWKWARD = ("/a b/c.npz", "/it's [x]=1,{y}.npz", "C:\\new\\x", "/a\\", "x${y}z", "a\\'b", "''", "\\\\", "ä;&|(1)")


@pytest.mark.parametrize("text", AWKWARD)
def test_any_path_survives_the_command_line(text):
    value = OverridesParser.create().parse_override(f"source.path={hydra_value(text)}").value()
    assert OmegaConf.create({"path": value}).path == text


def test_the_command_needs_a_python_and_the_scripts(monkeypatch, tmp_path):
    with pytest.raises(InputRejected, match="no Python with Pinocchio"):
        g1_refs_command("clips", "out", None)
    command = g1_refs_command("clips", "out", "/bin/python", workers=2)
    assert command[0] == "/bin/python" and command[-3:] == ["source.path='clips'", "output.dir='out'", "workers=2"]
    assert g1_refs_command("clips", "out", "/bin/python", overwrite=True)[-1] == "replace=true"
    monkeypatch.setattr(jobs, "_ROOT", tmp_path)
    with pytest.raises(InputRejected, match="not part of this installation"):
        g1_refs_command("clips", "out", "/bin/python")


def _run(code, out, until=lambda status: status.state not in jobs.LIVE, timeout_s=120.0):
    job = FolderJob([sys.executable, "-c", code], out)
    job.start()
    _wait(job, until, timeout_s)
    return job


def _wait(job, until, timeout_s=120.0):
    end = time.monotonic() + timeout_s
    while not until(job.status):
        assert time.monotonic() < end, job.status
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("code", "state", "words"),
    [
        ("print('fine')", "done", "Done"),
        ("import sys; print('error: no such folder'); sys.exit(2)", "failed", "settings were refused: no such folder"),
        ("import sys; print('rejected: a.npz: odd'); sys.exit(3)", "failed", "Some could not be done: rejected: a.npz"),
        ("import os; os._exit(9)", "failed", "ended with code 9"),
    ],
)
def test_how_the_child_ends_is_said_in_words(tmp_path, code, state, words):
    status = _run(code, tmp_path).status
    assert status.state == state and words in status.text


def _entries(count):
    return [PlanEntry(f"{i}.npz", 1, "0" * 64, (f"csv/{i}.csv",), f"key{i}") for i in range(count)]


def test_progress_is_that_of_this_run_not_of_an_earlier_one(tmp_path):
    entries = _entries(2)
    (tmp_path / PLAN_NAME).write_bytes(plan_bytes(entries))
    (tmp_path / "config.yaml").write_text("an earlier run's")
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRecord("0.npz", "key0", "done"))
    code = (
        "import pathlib, sys, time\n"
        f"out = pathlib.Path({str(tmp_path)!r})\n"
        "def wait(name):\n"
        "    while not (out / name).exists(): time.sleep(0.01)\n"
        "wait('go1'); (out / 'config.yaml').write_text('mine')\n"
        "wait('go2'); sys.exit(0)\n"
    )
    job = FolderJob([sys.executable, "-c", code], tmp_path)
    job.start()
    time.sleep(3 * jobs.WATCH_PERIOD_S)
    assert job.status.fraction == 0.0 and job.status.total == 0
    time.sleep(0.02)
    (tmp_path / "go1").touch()
    _wait(job, lambda status: status.total == 2)
    assert job.status.ended == 1 and job.status.fraction == pytest.approx(2 / 4)
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRecord("1.npz", "key1", "rejected", reason="odd"))
    _wait(job, lambda status: status.ended == 2)
    assert job.status.fraction == pytest.approx(3 / 4) and "report" in job.status.text
    (tmp_path / "go2").touch()
    _wait(job, lambda status: status.state == "done")
    assert job.status.fraction == 1.0


def test_a_refused_run_shows_nothing_of_the_run_before(tmp_path):
    (tmp_path / PLAN_NAME).write_bytes(plan_bytes(_entries(1)))
    (tmp_path / "config.yaml").write_text("an earlier run's")
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRecord("0.npz", "key0", "done"))
    status = _run("import sys; print('error: outputs of other settings'); sys.exit(2)", tmp_path).status
    assert (status.state, status.fraction, status.total) == ("failed", 0.0, 0)


def test_a_crash_that_is_tried_again_is_not_an_end():
    entries = _entries(3)
    records = [
        LedgerRecord("0.npz", "key0", "crashed", attempt=1),
        LedgerRecord("1.npz", "key1", "crashed", attempt=2),
        LedgerRecord("2.npz", "another key", "done"),
    ]
    assert count_ended(entries, records) == 1


def test_a_polite_child_is_cancelled_and_a_deaf_one_is_killed_with_its_workers(tmp_path, monkeypatch):
    polite = _run("import time; print('up'); time.sleep(60)", tmp_path, lambda status: status.state == "running")
    polite.cancel()
    _wait(polite, lambda status: status.state == "cancelled")
    monkeypatch.setattr(jobs, "INSIST_S", 0.2)
    monkeypatch.setattr(jobs, "KILL_S", 0.6)
    marker = tmp_path / "alive"
    worker = f"import time\nwhile True:\n    open({str(marker)!r}, 'w').write(str(time.time())); time.sleep(0.05)"
    deaf = FolderJob(
        [
            sys.executable,
            "-c",
            "import signal, subprocess, sys, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            f"subprocess.Popen([sys.executable, '-c', {worker!r}])\ntime.sleep(60)",
        ],
        tmp_path,
    )
    deaf.start()
    _wait(deaf, lambda status: marker.exists())
    deaf.cancel()
    _wait(deaf, lambda status: status.state == "cancelled")
    time.sleep(0.3)
    last = marker.read_text()
    time.sleep(0.3)
    assert marker.read_text() == last, "the worker lives on"


def test_a_job_that_is_cancelled_at_once_says_so_and_a_late_one_counts_what_is_complete(tmp_path):
    job = FolderJob([sys.executable, "-c", "import time; time.sleep(60)"], tmp_path)
    job.start()
    job.cancel()
    _wait(job, lambda status: status.state == "cancelled")
    assert job.status.text == "Cancelled before anything was made."
    entries = _entries(2)
    (tmp_path / PLAN_NAME).write_bytes(plan_bytes(entries))
    code = (
        "import pathlib, signal, sys, time\n"
        f"out = pathlib.Path({str(tmp_path)!r})\n"
        "def end(*_):\n"
        "    while not (out / 'done').exists(): time.sleep(0.01)\n"
        "    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "(out / 'config.yaml').write_text('mine')\n"
        "time.sleep(60)\n"
    )
    job = FolderJob([sys.executable, "-c", code], tmp_path)
    job.start()
    _wait(job, lambda status: status.total == 2)
    job.cancel()
    with Ledger(tmp_path) as ledger:  # the clip in hand may end
        ledger.append(LedgerRecord("0.npz", "key0", "done"))
    (tmp_path / "done").touch()
    _wait(job, lambda status: status.state == "cancelled")
    assert job.status.text == "Cancelled: 1 of 2 clips complete; start again to go on."


def test_what_a_job_says_is_about_switches_not_keys(tmp_path):
    code = "import sys; print('error: other results; choose another output.dir, or replace=true'); sys.exit(2)"
    text = _run(code, tmp_path).status.text
    assert text == "The settings were refused: other results; choose another folder, or switch 'Overwrite' on."


def test_close_ends_a_running_child(tmp_path):
    job = _run("import time; time.sleep(60)", tmp_path, lambda status: status.state == "running")
    job.close()
    assert job.status.state == "cancelled" and job.status.exit_code is not None
