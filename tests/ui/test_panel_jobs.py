"""The main job, started and cancelled with the panel's buttons; it runs in a child process that has Pinocchio."""

import subprocess
import sys

import numpy as np
import pytest

from soma_isaac.batch.audit import verify_folder
from soma_isaac.formats.atomic import is_staged_name
from soma_isaac.ui.jobs import jobs_python


@pytest.fixture(scope="module", autouse=True)
def python_with_pinocchio():
    python = jobs_python()
    look = "import importlib.util as u, sys; sys.exit(u.find_spec('pinocchio') is None)"
    if python is None or subprocess.run([python, "-c", look], check=False).returncode:
        pytest.skip("no Python with Pinocchio beside this one (.venv of the checkout, or SOMA_ISAAC_JOBS_PYTHON)")


def test_the_button_runs_the_main_job_to_its_end_and_the_g1_does_the_clip(hands, tmp_path):
    hands.click("clip:wave.npz")
    hands.click("only_clip")
    hands.click("robot")
    hands.settle()
    assert "prepare G1 references" in hands.state.note
    standing = hands.state.picture.image.astype(int)
    hands.drag("time", 0.05, 0.5)
    hands.settle()
    hands.click("prepare")
    assert hands.state.job.state == "running" and not hands.panel.widgets["prepare"].enabled
    seen = [hands.state.job.fraction]

    def over():
        value = hands.panel.widgets["progress"].model.as_float
        if value != seen[-1]:
            seen.append(value)
            hands.screenshot(f"job_{len(seen)}")
        return hands.state.job.state != "running"

    hands.wait(over, 600.0)
    assert hands.state.job.state == "done", hands.state.job.text
    assert len(seen) >= 3 and seen == sorted(seen) and seen[0] == 0.0 and seen[-1] == pytest.approx(1.0), seen
    assert verify_folder(tmp_path / "references").checked == 5
    assert (tmp_path / "references" / "report.html").is_file()
    hands.settle()
    assert not hands.state.note
    assert (np.abs(hands.state.picture.image.astype(int) - standing).max(axis=2) > 8).mean() > 0.02
    hands.screenshot("references_done")
    assert "pinocchio" not in sys.modules


def test_cancel_leaves_no_half_file_and_the_next_press_goes_on(hands, tmp_path):
    out = tmp_path / "references"
    hands.click("prepare")
    hands.wait(lambda: hands.state.job.ended >= 1, 600.0)
    hands.click("cancel")
    assert hands.state.job.state in ("cancelling", "cancelled")
    hands.wait(lambda: hands.state.job.state == "cancelled", 600.0)
    hands.screenshot("cancelled")
    problems = verify_folder(out)
    assert problems.checked >= 5 and not (problems.missing or problems.changed or problems.unrecorded)
    assert problems.checked < 30, "it was over before it was cancelled"
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert not [path for path in files if is_staged_name(path.name)]
    assert hands.panel.widgets["prepare"].enabled
    ended = problems.checked // 5
    hands.click("prepare")
    hands.wait(lambda: hands.state.job.total == 6, 600.0)
    assert hands.state.job.ended >= ended, "what was complete is not done again"


def test_results_in_the_way_are_said_and_overwritten_when_the_user_says_so(hands, tmp_path):
    hands.click("clip:wave.npz")
    hands.click("only_clip")
    (tmp_path / "references" / "csv").mkdir(parents=True)
    (tmp_path / "references" / "csv" / "wave.csv").write_text("somebody's")
    hands.click("prepare")
    hands.wait(lambda: hands.state.job.state == "failed", 600.0)
    assert "csv/wave.csv" in hands.state.job.text and hands.state.job.fraction == 0.0
    hands.screenshot("results_in_the_way")
    hands.click("overwrite_references")
    hands.click("prepare")
    hands.wait(lambda: hands.state.job.state == "done", 600.0)
    assert (tmp_path / "references" / "csv" / "wave.csv").stat().st_size > 10_000


def test_a_batch_is_rendered_with_progress(hands, tmp_path):
    hands.click("clip:wave.npz")
    hands.click("only_clip")
    hands.settle()  # a picture that comes while one types shows the number that was there
    hands.type_into("body_count", "2")
    assert hands.state.body_count == 2
    hands.click("render")
    seen = set()
    hands.wait(lambda: seen.add(hands.state.job.fraction) or hands.state.job.state != "running", 600.0)
    assert hands.state.job.state == "done", hands.state.job.text
    assert hands.state.job.total == 2 and len(seen) >= 3
    assert len(list((tmp_path / "pictures").rglob("*.png"))) >= 8
    hands.screenshot("batch_rendered")
