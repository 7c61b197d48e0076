"""The real command on real, if short, clips: what a user sees, what stands in OUT, and what does not happen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from omegaconf import OmegaConf

from soma_isaac.errors import OutputConflict
from soma_isaac.formats.reference_clip import FORMATS, npz_bytes, read_reference_clip
from soma_isaac.pipelines import command as command_module
from soma_isaac.pipelines.demo_clips import CLIPS
from soma_isaac.pipelines.g1_config import G1RefsConfig
from soma_isaac.pipelines.g1_refs import plan_g1_refs
from soma_isaac.pipelines.run_config import OutputConfig, SourceConfig
from tests.recovery.driver import BOOKKEEPING, assert_nothing_lost, results

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "prepare_g1_refs.py"


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory):
    """Runs the script from a copy of the code: an edit between two runs of one test would change every content key."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("soma_isaac", "scripts", "config"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "data").symlink_to(ROOT / "data")
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}

    def run(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, str(copy / "scripts" / SCRIPT.name), *arguments]
        return subprocess.run(line, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)

    return run


def short_clip(name: str, frames: int = 90, start: int = 0) -> dict[str, np.ndarray]:
    clip = CLIPS[name]()
    length = len(clip["poses"])
    return {
        key: value[start : start + frames] if np.ndim(value) and len(value) == length else value
        for key, value in clip.items()
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work") / "clips"
    (folder / "sub").mkdir(parents=True)
    (folder / "walk.npz").write_bytes(npz_bytes(short_clip("walk")))
    (folder / "sub/squat.npz").write_bytes(npz_bytes(short_clip("squat")))
    return folder


@pytest.fixture(scope="module")
def finished(source: Path, command) -> Path:
    """A finished run of all formats, started elsewhere with relative paths."""
    result = command(source.parent, "source.path=clips", "output.dir=out")
    assert result.returncode == 0, result.stderr
    assert "2 inputs: 2 done" in result.stdout and "report.html" in result.stdout
    assert "Warp" not in result.stdout
    return source.parent / "out"


def test_all_formats_and_books(finished):
    assert_nothing_lost(finished, 2)
    for name, clip_format in FORMATS.items():
        for stem in ("walk", "sub/squat"):
            assert (finished / name / f"{stem}{clip_format.extension}").stat().st_size > 1000
    clip = read_reference_clip(finished / "mjlab/sub/squat.npz")
    assert clip.fps == 50.0 and clip.frame_count > 30
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert config["source"]["path"] == "clips" and len(config["digest"]) == 64
    assert set(results(finished)) == {
        "plan.jsonl",
        "report.html",
        "report.json",
        *(f"details/{stem}.json" for stem in ("walk", "sub/squat")),
        *(f"{name}/{stem}{FORMATS[name].extension}" for name in FORMATS for stem in ("walk", "sub/squat")),
    }


def test_no_litter_beside_the_output(finished):
    assert {path.name for path in finished.parent.iterdir()} == {"clips", "out"}
    top = {path.name for path in finished.iterdir() if path.is_file()}
    assert top == BOOKKEEPING | {"plan.jsonl", "report.html", "report.json"}


def test_report_figures_are_the_records_figures(finished):
    report = json.loads((finished / "report.json").read_text())
    assert report["counts"] == {"done": 2}
    for clip in report["clips"]:
        record = json.loads((finished / "details" / clip["input"]).with_suffix(".json").read_text())
        assert clip["metrics"] == record["metrics"] and clip["dynamics"] == record["dynamics"]


def test_other_folder_order_and_workers_give_the_same_bytes(command, finished, source):
    """Also the report: nothing in it tells of time, processes or the output folder."""
    again = command(
        source.parent, "source.path=clips", "output.dir=again", "workers=1", "formats=[csv,mjlab,amp,beyondmimic]"
    )
    assert again.returncode == 0, again.stderr
    theirs = results(source.parent / "again")
    shutil.rmtree(source.parent / "again")
    assert theirs == results(finished)


def test_other_settings_are_another_folder(command, finished, source, tmp_path):
    """They reach the workers, and are named wherever results are."""
    before = results(finished)
    refused = command(source.parent, "source.path=clips", "output.dir=out", "retarget.weights.hand=8")
    assert refused.returncode == 2 and "replace=true" in refused.stderr and results(finished) == before
    out, changed = tmp_path / "out", {"weights": {"hand": 8.0}}
    result = command(source.parent, "source.path=clips/sub", f"output.dir={out}", "retarget={weights:{hand:8}}")
    assert result.returncode == 0, result.stderr
    for name, clip_format in FORMATS.items():
        stem = f"squat{clip_format.extension}"
        assert (out / name / stem).read_bytes() != (finished / name / "sub" / stem).read_bytes()
    usual, other = (
        json.loads(path.read_text()) for path in (finished / "details/sub/squat.json", out / "details/squat.json")
    )
    assert "retarget" not in usual and other["retarget"] == changed
    assert json.loads((out / "ledger.jsonl").read_text().splitlines()[-1])["details"]["retarget"] == changed
    facts, usual_facts = (json.loads((folder / "report.json").read_text())["facts"] for folder in (out, finished))
    assert facts["Retargeting"] == "weights.hand=8.0" and "weights.hand=8.0" in (out / "report.html").read_text()
    assert "Retargeting" not in usual_facts and facts["Settings"] != usual_facts["Settings"]
    assert yaml.safe_load((out / "config.yaml").read_text())["retarget"]["weights"]["hand"] == 8.0


def test_settings_from_a_file(command, source, tmp_path):
    """As the documentation shows it; a wrong value in it is refused like one on the command line."""
    (tmp_path / "soft.yaml").write_text("defaults: [g1_refs, _self_]\nretarget:\n  weights: {hand: -4.0}\n")
    arguments = ("--config-dir=.", "--config-name=soft", f"source.path={source}", "output.dir=out", "dry_run=true")
    result = command(tmp_path, *arguments)
    assert result.returncode == 2 and "retarget.weights.hand: -4.0 is outside 0 to 10000" in result.stderr
    assert command(tmp_path, *arguments, "retarget.weights.hand=4").returncode == 0


@pytest.mark.parametrize("path", ["out/mjlab", "out/mjlab/walk.npz", "link"])
def test_a_source_where_outputs_go_is_never_overwritten(source, tmp_path, path):
    clip = tmp_path / "out" / "mjlab" / "walk.npz"
    clip.parent.mkdir(parents=True)
    clip.write_bytes((source / "walk.npz").read_bytes())
    (tmp_path / "link").symlink_to("out/mjlab")
    config = G1RefsConfig(
        source=SourceConfig(str(tmp_path / path)), output=OutputConfig(str(tmp_path / "out")), replace=True
    )
    with pytest.raises(OutputConflict, match=r"'walk.npz' would overwrite the input '.*mjlab/walk.npz'"):
        plan_g1_refs(config)
    config.formats = ["amp", "csv"]
    assert [entry.outputs[0] for entry in plan_g1_refs(config).entries] == ["amp/walk.npz"]


def test_resume_after_loss_makes_the_same_bytes(command, finished, source):
    before = results(finished)
    (finished / "amp/walk.npz").unlink()
    (finished / "report.html").unlink()
    assert command(source.parent, "mode=verify", "output.dir=out").returncode == 3
    assert command(source.parent, "source.path=clips", "output.dir=out").returncode == 0
    assert results(finished) == before
    assert command(source.parent, "mode=verify", "output.dir=out").stdout.startswith("10 outputs verified, 0 missing")


def test_truncated_clip_is_rejected_and_the_others_finish(command, source, tmp_path):
    """Shows 2 of the issue."""
    clips = tmp_path / "clips"
    clips.mkdir()
    data = (source / "walk.npz").read_bytes()
    (clips / "good.npz").write_bytes(data)
    (clips / "cut.npz").write_bytes(data[: len(data) // 2])
    (clips / "evil.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    result = command(tmp_path, "source.path=clips", "output.dir=out", "formats=[mjlab]")
    assert result.returncode == 3
    assert "3 inputs: 1 done, 2 rejected" in result.stdout
    assert "rejected: cut.npz: " in result.stderr and "rejected: evil.pkl: " in result.stderr
    assert_nothing_lost(tmp_path / "out", 3)
    report = json.loads((tmp_path / "out/report.json").read_text())
    assert {clip["input"]: clip["state"] for clip in report["clips"]} == {
        "cut.npz": "rejected",
        "evil.pkl": "rejected",
        "good.npz": "done",
    }


def test_dry_run_writes_nothing(command, source, tmp_path):
    result = command(tmp_path, f"source.path={source}", "output.dir=out", "dry_run=true")
    assert result.returncode == 0
    assert "dry run: 2 clips to convert into 10 files, 0 rejected, 0 skipped" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_dry_run_sees_outputs_in_the_way(command, finished, source):
    result = command(source.parent, "source.path=clips", "output.dir=out", "fps=30", "dry_run=true")
    assert result.returncode == 2 and "replace=true" in result.stderr


@pytest.mark.parametrize(
    "arguments,words",
    [
        (["sorce.path=x"], "did you mean 'source.path'"),
        (["formats=[mjlb]"], "did you mean 'mjlab'"),
        (["source.path=nowhere"], "no such folder or file"),
        (["source.path=."], "holds no motion files"),
        (["robot.urdf=nowhere.urdf"], "no such file"),
        (["mode=status", "output.dir=."], "nothing was run here"),
        (["source.path=.", "output.dir=."], "is the source as well"),
        (["source.path="], "is empty"),
    ],
)
def test_usage_errors_leave_with_2_and_one_line(command, arguments, words, tmp_path):
    result = command(tmp_path, *arguments)
    assert result.returncode == 2
    assert words in result.stderr and result.stderr.count("\n") == 1 and result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_duplicate_outputs_do_not_start(command, source, tmp_path):
    (tmp_path / "walk.npz").write_bytes((source / "walk.npz").read_bytes())
    (tmp_path / "walk.bvh").write_text("HIERARCHY")
    result = command(tmp_path, "source.path=.", "output.dir=out")
    assert result.returncode == 2 and "'walk.bvh' and 'walk.npz'" in result.stderr
    assert not (tmp_path / "out").exists()


def test_missing_pinocchio_is_said_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    config = OmegaConf.create({"output": {"dir": str(tmp_path / "out")}})
    assert command_module.g1_refs_command(config) == 4
    assert "pip install 'soma_isaac[retarget]'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_parent_never_loads_the_solver():
    """Solver, Warp and USD belong to the workers and to the report; the parent survives what they do."""
    code = (
        "import sys; import soma_isaac.pipelines.command;"
        "print([m for m in ('pinocchio', 'warp', 'pxr', 'torch', 'scipy', 'matplotlib') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_interrupt_while_planning(tmp_path, monkeypatch):
    """Before there are clips in hand Ctrl-C is an exception; it leaves with 130 all the same."""
    monkeypatch.setattr(command_module, "run_g1_refs", _interrupt)
    assert command_module.g1_refs_command(OmegaConf.create({"output": {"dir": str(tmp_path)}})) == 130


def _interrupt(*_):
    raise KeyboardInterrupt


def test_script_is_short():
    assert len(SCRIPT.read_text().splitlines()) <= 30
