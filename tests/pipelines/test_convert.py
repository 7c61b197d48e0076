"""convert.py on short clips: every verb, what a user sees, what stands in OUT, and what is refused with a reason."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.soma_npz import read_soma_npz, soma_npz_bytes
from soma_isaac.motion.smooth import SMOOTHINGS as SMOOTHERS
from soma_isaac.pipelines import folder_run
from soma_isaac.pipelines.command import convert_command_line
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.convert import run_convert
from soma_isaac.pipelines.convert_clip import convert_clip
from soma_isaac.pipelines.convert_config import SMOOTHINGS, VERBS, ConvertConfig, check_config
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.run_config import OutputConfig, SmplConfig, SourceConfig
from tests.body.model_files import write_smpl
from tests.inversion.test_bvh_joints import LAFAN_NAMES, LAFAN_OFFSETS, LAFAN_PARENTS, lafan_t_pose, write_bvh
from tests.oracles.smpl import npz, random_clip
from tests.recovery.driver import BOOKKEEPING, InlineSupervisor, assert_nothing_lost, results

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "convert.py"


class Inline(InlineSupervisor):
    """The real converter in this process."""

    def __init__(self, *_: object) -> None:
        self.converter = convert_clip


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the job in this process: workers are tested elsewhere, and cost seconds each."""
    monkeypatch.setattr(folder_run, "Supervisor", Inline)

    def call(verb: str, source: Path, out: str = "out", **keys):
        config = ConvertConfig(source=SourceConfig(str(source)), output=OutputConfig(str(tmp_path / out)), verb=verb)
        for key, value in keys.items():
            setattr(config, key, value)
        stream = io.StringIO()
        return run_convert(config, stream), tmp_path / out, stream.getvalue()

    return call


def write_clips(folder: Path, **files) -> Path:
    for name, arrays in files.items():
        path = folder / f"{name.replace('__', '/')}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(npz(arrays))
    return folder


def amass(width=156, frames=30, **changes):
    return {
        key: value for key, value in {**random_clip(1, frames, width=width), **changes}.items() if value is not None
    }


def details(out: Path, name: str) -> dict:
    return json.loads((out / "details" / f"{name}.json").read_text())


def test_amass_by_joint_rotations(run, tmp_path):
    source = write_clips(tmp_path / "in", a__walk=amass(), b__walk=amass(165))
    report, out, _ = run("amass", source)
    assert report.exit_code == 0
    assert_nothing_lost(out, 2)
    assert set(results(out)) == {
        *("plan.jsonl", "report.html", "report.json"),
        *(f"soma/{folder}/walk.npz" for folder in "ab"),
        *(f"details/{folder}/walk.json" for folder in "ab"),
    }
    assert {path.name for path in out.iterdir() if path.is_file()} == BOOKKEEPING | {
        "plan.jsonl",
        "report.html",
        "report.json",
    }
    for folder in "ab":
        archive = open_npz(out / f"soma/{folder}/walk.npz")
        written = read_soma_npz(archive, "x")
        expected = load_motion(source / folder / "walk.npz")
        np.testing.assert_array_equal(written.rotations, expected.rotations)
        np.testing.assert_array_equal(archive.numbers("root_translation", (30, 3)), expected.root_translation)
        assert archive.text("conversion") == "joint_rotations"
        assert json.loads(archive.text("provenance"))["source"] == f"{folder}/walk.npz"
        assert (written.fps, archive.text("unit")) == (120.0, "meters")
        assert "per_vertex_error" not in archive
    assert details(out, "a/walk")["path"] == "joint_rotations"


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in ("smpl", "smplh", "smplx"):
        write_smpl(root, kind, gender="FEMALE")
    return root


def test_amass_by_mesh_and_the_result_says_so(run, tmp_path, models):
    source = write_clips(
        tmp_path / "in",
        smplh=amass(frames=20),
        smplx=amass(165, 20),
        male=amass(frames=20, gender=np.array("male")),
        unstated=amass(frames=20, gender=None),
        split=amass(frames=20, mocap_framerate=None),
    )
    report, out, _ = run("amass", source, smpl=SmplConfig(str(models)), fps=60.0)
    states = {name: record.state for name, record in report.records.items()}
    assert states == {
        "smplh.npz": "done",
        "smplx.npz": "done",
        "male.npz": "rejected",
        "unstated.npz": "rejected",
        "split.npz": "rejected",
    }
    assert "gender male" in report.records["male.npz"].reason
    assert "states no gender" in report.records["unstated.npz"].reason
    assert "no frame rate" in report.records["split.npz"].reason
    for name in ("smplh", "smplx"):
        archive = open_npz(out / f"soma/{name}.npz")
        motion = read_soma_npz(archive, "x")
        assert (motion.frame_count, motion.fps, motion.identity.rest_source) == (10, 60.0, "mesh")
        assert archive.text("identity_model_type") == name and archive.text("conversion") == "mesh"
        error = archive.numbers("per_vertex_error", (10, None))
        record = details(out, name)["error_mm"]
        assert abs(1e3 * error.mean() - record["mean"]) < 0.01 and record["worst_frame_mean"] < 8.0
    summary = json.loads((out / "report.json").read_text())
    assert summary["paths"] == {"mesh": 2} and summary["error_mm"]["mean"] < 8.0
    assert "by mesh" in (out / "report.html").read_text()


def test_equal_inputs_give_equal_bytes_and_other_settings_are_in_the_way(run, tmp_path, models):
    source = write_clips(tmp_path / "in", clip=amass(frames=12))
    keys = {"smpl": SmplConfig(str(models))}
    _, first, _ = run("amass", source, "first", **keys)
    _, second, _ = run("amass", source, "second", **keys)
    assert results(first) == results(second)
    with pytest.raises(OutputConflict, match="replace=true"):
        run("amass", source, "first", smooth="default", **keys)
    with pytest.raises(OutputConflict, match="replace=true"):
        run("amass", source, "first")


@pytest.mark.parametrize("rate", ["mocap_framerate", "mocap_frame_rate"])
def test_either_spelling_of_the_rate(run, tmp_path, rate):
    arrays = {**amass(), "mocap_framerate": None, rate: np.array(59.94)}
    source = write_clips(tmp_path / "in", clip={k: v for k, v in arrays.items() if v is not None})
    _, out, _ = run("amass", source)
    assert details(out, "clip")["fps"] == 59.94 and details(out, "clip")["fps_key"] == rate


def test_same_rate_is_the_identity_and_smoothing_is_said(run, tmp_path):
    source = write_clips(tmp_path / "in", clip=amass())
    _, plain, _ = run("amass", source, "plain")
    _, same, _ = run("amass", source, "same", fps=120.0)
    assert (plain / "soma/clip.npz").read_bytes() == (same / "soma/clip.npz").read_bytes()
    _, smooth, _ = run("amass", source, "smooth", smooth="strong")
    assert details(smooth, "clip")["notes"][-1] == "smoothed (strong)"
    assert (plain / "soma/clip.npz").read_bytes() != (smooth / "soma/clip.npz").read_bytes()


def test_soma_to_smpl_and_back(run, tmp_path):
    source = write_clips(tmp_path / "in", clip=amass())
    _, out, _ = run("amass", source, "soma")
    report, there, _ = run("soma2smpl", out / "soma", "smpl")
    assert report.exit_code == 0
    _, back, _ = run("amass", there / "smpl", "back")
    first, again = (read_soma_npz(open_npz(folder / "soma/clip.npz"), "x") for folder in (out, back))
    np.testing.assert_allclose(again.root_translation, first.root_translation, atol=1e-6)
    np.testing.assert_allclose(again.rotations, first.rotations, atol=1e-6)


def test_soma_to_smpl_by_mesh(run, tmp_path, models):
    source = write_clips(tmp_path / "in", clip=amass(frames=12, betas=None))
    keys = {"smpl": SmplConfig(str(models)), "fps": 60.0}
    _, out, _ = run("amass", source, "soma", **keys)
    assert "the model's mean body is taken" in details(out, "clip")["notes"]
    report, there, _ = run("soma2smpl", out / "soma", "there", **keys)
    assert report.exit_code == 0
    archive = open_npz(there / "smpl/clip.npz")
    assert archive.text("conversion") == "mesh" and archive.read("per_vertex_error").shape[0] == 6
    assert details(there, "clip")["error_mm"]["mean"] < 6.0
    report, _, _ = run("soma2smpl", out / "soma", "none", smpl=SmplConfig(str(models)), target="smplx")
    assert "states no gender" in report.records["clip.npz"].reason  # another family's person has none here


def test_verbs_that_keep_soma_joints(run, tmp_path):
    shared = ROOT.parent / "shared" / "data" / "soma_motion"
    if not shared.is_dir():
        pytest.skip("the shared Kimodo and SEED motions are not here")
    for verb, pattern, count in (("kimodo", "kimodo_0[13]*.npz", 2), ("seed", "wave*.npz", 1)):
        source = tmp_path / verb
        source.mkdir()
        for path in shared.glob(pattern):
            shutil.copy(path, source)
        report, out, _ = run(verb, source, f"{verb}_out", fps=25.0)
        assert report.counts["done"] == count and report.exit_code == 0
        for path in source.iterdir():
            record = details(out, path.stem)
            assert (record["path"], record["fps"]) == ("as_stored", 25.0)


@pytest.mark.filterwarnings("ignore:Gimbal lock")
def test_bvh(run, tmp_path):
    local = lafan_t_pose()[None].repeat(9, axis=0)
    text = write_bvh(LAFAN_NAMES, LAFAN_PARENTS, LAFAN_OFFSETS, local, [[0, 93, k] for k in range(9)], fps_text="0.02")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/walk.bvh").write_text(text)
    (tmp_path / "in/bad.bvh").write_text("HIERARCHY")
    report, out, _ = run("bvh", tmp_path / "in", fps=25.0)
    assert report.counts == {"done": 1, "rejected": 1, "pending": 0}
    record = details(out, "walk")
    assert (record["path"], record["fps"], record["frames"], record["model"]) == ("joint_rotations", 25.0, 5, "bvh")


def test_smpl_parameters(run, tmp_path, models):
    clip = amass(frames=16)
    arrays = {
        "body_pose": clip["poses"][:, 3:66],
        "global_orient": clip["poses"][:, :3],
        "transl": clip["trans"],
        "gender": np.array("female"),
        "betas": np.zeros(10),
        "fps": np.array(30.0),
    }
    source = write_clips(tmp_path / "in", clip=arrays, amass=clip)
    _, joints, _ = run("smpl", source, "joints")
    assert details(joints, "clip")["path"] == "joint_rotations"
    report, mesh, _ = run("smpl", source, "mesh", smpl=SmplConfig(str(models)))
    assert report.counts["done"] == 2
    assert json.loads(open_npz(mesh / "soma/clip.npz").text("provenance"))["format"] == "smpl"
    report, _, _ = run("amass", source, "wrong")
    assert "verb=smpl reads it" in report.records["clip.npz"].reason


def test_wrong_kinds_are_named(run, tmp_path):
    source = write_clips(tmp_path / "in", clip=amass())
    report, _, _ = run("kimodo", source)
    assert report.exit_code == 3 and "verb=amass reads it" in report.records["clip.npz"].reason
    (source / "old.pkl").write_bytes(b"x")
    report, out, _ = run("seed", source, "seed")
    assert "pickled objects" in report.records["old.pkl"].reason
    assert json.loads((out / "report.json").read_text())["counts"] == {"rejected": 2}


def test_resume_after_loss_makes_the_same_bytes(run, tmp_path):
    source = write_clips(tmp_path / "in", a=amass(), b=amass(frames=20))
    _, out, _ = run("amass", source)
    before = results(out)
    (out / "soma/a.npz").unlink()
    (out / "report.json").unlink()
    report, _, _ = run("amass", source)
    assert report.exit_code == 0 and results(out) == before


@pytest.mark.parametrize(
    "change,words",
    [
        ({"verb": "amas"}, "did you mean 'amass'"),
        ({"smooth": "gentle"}, "default, strong, one_euro"),
        ({"target": "mano"}, "smpl, smplh, smplx"),
        ({"source": SourceConfig(None)}, "source.path: is needed"),
        ({"verb": "bvh", "smpl": SmplConfig("models")}, "verb=bvh has no use for it"),
        ({"verb": "kimodo", "source": SourceConfig("x", None, "z")}, "source.up_axis: verb=kimodo"),
        ({"verb": "mhr"}, "mhr.assets: is needed"),
        ({"fps": -1.0}, "fps:"),
    ],
)
def test_values_out_of_range(change, words):
    with pytest.raises(ConfigRefused, match=words):
        check_config(ConvertConfig(**{"source": SourceConfig("x"), **change}))


def test_names_are_the_modules():
    assert SMOOTHINGS == SMOOTHERS


@pytest.mark.parametrize("verb", VERBS)
def test_the_first_word_may_be_the_verb(verb):
    assert convert_command_line([verb, "source.path=x"]) == [f"verb={verb}", "source.path=x"]


def test_a_first_word_that_is_no_verb_is_taken_for_one():
    """Its check then names the nearest verb, where a key would be the wrong thing to suggest."""
    assert convert_command_line(["ammass", "source.path=x"]) == ["verb=ammass", "source.path=x"]
    assert convert_command_line(["source.path=x"]) == ["source.path=x"]
    assert convert_command_line([]) == []


def test_the_command(tmp_path):
    """Once in a process of its own, with real workers."""
    source = write_clips(tmp_path / "in", clip=amass())
    line = [sys.executable, str(SCRIPT), "amass", "source.path=in", "output.dir=out", "workers=1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "1 inputs: 1 done" in done.stdout and "report.html" in done.stdout
    assert_nothing_lost(tmp_path / "out", 1)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"} and source.is_dir()
    assert len(SCRIPT.read_text().splitlines()) <= 30


def test_another_motions_bytes_are_not_touched(tmp_path):
    """``extras`` cannot take the place of what a reader relies on."""
    (tmp_path / "clip.npz").write_bytes(npz(amass()))
    motion = load_motion(tmp_path / "clip.npz")
    with pytest.raises(InputRejected, match="'poses' is an array of every"):
        soma_npz_bytes(motion, {"poses": np.zeros(1)})
