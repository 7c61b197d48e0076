"""compare.py: equal motions differ by nothing, a known offset by itself; the sheet shows it and the page says it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.batch.job import ConversionJob
from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.formats.npz import npz_bytes
from soma_isaac.formats.png import read_png
from soma_isaac.formats.soma_npz import provenance_array, soma_npz_bytes
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.pipelines.compare import chosen_frames, compare
from soma_isaac.pipelines.compare_config import CompareConfig, CompareOutputConfig, check_config
from soma_isaac.pipelines.compare_sheet import LINE
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.convert_clip import convert_clip
from soma_isaac.pipelines.convert_config import ConvertConfig, conversion_settings
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.run_config import SmplConfig
from soma_isaac.pipelines.smpl_files import smpl_settings
from soma_isaac.render.contact_sheet import GAP
from soma_isaac.rig.skeleton import data_path
from tests.body.model_files import write_smpl
from tests.oracles.smpl import random_clip

ROOT = Path(__file__).resolve().parents[2]
WALK = data_path("demo_clips/walk.npz")
SIZE = [96, 120]


def short(motion, frames=9):
    rows = slice(0, 60 * frames, 60)
    return replace(motion, rotations=motion.rotations[rows], root_translation=motion.root_translation[rows])


@pytest.fixture
def pair(tmp_path):
    """Writes source and result; compares them."""
    motion = short(load_motion(WALK))
    (tmp_path / "source.npz").write_bytes(soma_npz_bytes(motion))

    def call(change=lambda motion: motion, extras=None, **keys):
        (tmp_path / "result.npz").write_bytes(soma_npz_bytes(change(motion), extras))
        keys = {"source": str(tmp_path / "source.npz"), "frames": 3, "size": SIZE, "replace": True, **keys}
        config = CompareConfig(
            result=str(tmp_path / "result.npz"), output=CompareOutputConfig(str(tmp_path / "out")), **keys
        )
        report = compare(config)
        return report, json.loads((tmp_path / "out/result.json").read_text())

    return call


def error_row(report):
    """The pictures of the error as numbers."""
    begin = GAP + LINE + 2 * (SIZE[1] + LINE + GAP) + LINE
    return read_png(report.files[0]).astype(int)[begin : begin + SIZE[1]]


def heated(pixels):
    """How many pixels are warmer than the blue of no error."""
    return int(((pixels[..., 0] - pixels[..., 2]) > 40).sum())


def test_a_motion_differs_from_itself_by_nothing(pair):
    report, record = pair()
    assert report.way == "motions"
    assert record["error_mm"]["largest"] == 0.0 and set(record["joint_mm"].values()) == {0.0}
    error = error_row(report)
    assert heated(error) == 0 and ((error[..., 2] - error[..., 0]) > 40).sum() > 500  # one blue


def test_an_offset_is_its_own_error_and_hips_alignment_takes_it_away(pair):
    offset = np.array([0.03, 0.0, -0.04])

    def shift(motion):
        return replace(motion, root_translation=motion.root_translation + offset)

    report, record = pair(shift)
    np.testing.assert_allclose(record["frame_mean_mm"], 50.0, atol=1e-3)
    np.testing.assert_allclose(list(record["joint_mm"].values()), 50.0, atol=1e-3)
    assert record["scale_top_mm"] == pytest.approx(50.0) and heated(error_row(report)) > 500
    _, aligned = pair(shift, align="hips")
    assert aligned["error_mm"]["largest"] < 1e-3


def test_a_bent_elbow_is_the_worst_of_its_frame_only(pair):
    def bend(motion):
        rotations = np.array(motion.rotations)
        elbow = 13  # checked below by the joints it moves
        rotations[5, elbow] = rotations[5, elbow] @ matrix_from_rotvec(np.array([0.0, 0.5, 0.0]))
        return replace(motion, rotations=rotations)

    report, record = pair(bend)
    assert (report.worst_frame, record["shown_frames"]) == (5, [0, 4, 5])
    assert np.count_nonzero(np.array(record["frame_mean_mm"]) > 1e-3) == 1
    moved = [name for name, value in record["joint_mm"].items() if value > 0.1]
    assert moved and len({name[:4] for name in moved}) == 1  # one side's arm and hand
    page = report.files[1].read_text()
    assert "data:image/png;base64," in page and "http" not in page.replace("http://www.w3.org", "")


def test_stored_errors_are_shown_and_rates_are_matched(pair):
    stored = np.zeros((9, 4505), np.float16)
    stored[4, 100] = 0.25
    report, record = pair(extras={"per_vertex_error": stored})
    assert report.way == "stored" and report.worst_frame == 4
    assert record["error_mm"]["largest"] == 250.0 and record["error_mm"]["worst_vertex"] == 100
    assert max(record["joint_mm"].values()) == 0.0
    with pytest.raises(InputRejected, match="no distances"):
        pair(extras={"per_vertex_error": -np.ones((9, 4505), np.float16)})
    _, record = pair(lambda motion: replace(motion, fps=60.0))
    assert record["frames"] == 5 and "common ones count" in record["notes"][0]


def test_the_smpl_mesh_is_the_reference_where_the_user_has_it(tmp_path):
    write_smpl(tmp_path / "models", "smplh", gender="FEMALE")
    clips = tmp_path / "clips"
    clips.mkdir()
    (clips / "clip.npz").write_bytes(npz_bytes({k: np.asarray(v) for k, v in random_clip(1, 12).items()}))
    smpl = SmplConfig(str(tmp_path / "models"))
    settings = {**conversion_settings(ConvertConfig(verb="amass", smpl=smpl)), "smpl": smpl_settings(smpl)}
    job = ConversionJob(
        source=str(clips / "clip.npz"),
        input="clip.npz",
        sha256=sha256_of_file(clips / "clip.npz"),
        outputs=("soma/clip.npz",),
        settings=settings,
        out_dir=str(tmp_path),
    )
    (tmp_path / "clip.npz").write_bytes(convert_clip(job).files["soma/clip.npz"])
    keys = {"result": str(tmp_path / "clip.npz"), "source": str(clips), "frames": 1, "size": SIZE}
    by_mesh = compare(CompareConfig(**keys, smpl=smpl, output=CompareOutputConfig(str(tmp_path / "mesh"))))
    stored = compare(CompareConfig(**keys, output=CompareOutputConfig(str(tmp_path / "stored"))))
    assert (by_mesh.way, stored.way) == ("mesh", "stored")
    # What is measured anew is what the conversion wrote (16 bits).
    assert by_mesh.mean == pytest.approx(stored.mean, rel=2e-3) and by_mesh.mean > 1e-5
    with pytest.raises(ConfigRefused, match="align"):
        compare(CompareConfig(**keys, smpl=smpl, align="hips"))


def test_another_file_than_the_converted_one_is_said_and_a_missing_one_refused(pair, tmp_path):
    origin = load_motion(WALK).provenance
    _, record = pair(extras={"provenance": provenance_array(replace(origin, source="source.npz"))})
    assert "sha256 differs" in record["notes"][0]
    # Another file may lie in another world, and errors that were stored are not against it.
    shutil.copyfile(WALK, tmp_path / "walk.npz")
    made = replace(origin, source="source.npz", source_digest="0" * 64, up_axis="y")
    extras = {"provenance": provenance_array(made), "per_vertex_error": np.ones((9, 4505), np.float16)}
    walk = load_motion(WALK)
    start = replace(walk, rotations=walk.rotations[:9], root_translation=walk.root_translation[:9])
    report, record = pair(lambda _: start, extras, source=str(tmp_path / "walk.npz"))
    assert report.way == "motions" and "sha256 differs" in record["notes"][0]
    assert record["error_mm"]["largest"] < 1.0  # the same walk; read as Y-up it would lie on its side
    for name in ("none.npz", "../source.npz"):
        with pytest.raises(InputRejected, match="which the result was made of"):
            (tmp_path / "inner").mkdir(exist_ok=True)
            pair(extras={"provenance": provenance_array(replace(origin, source=name))}, source=str(tmp_path / "inner"))
    with pytest.raises(InputRejected, match="no such file"):
        pair(source=str(tmp_path / "none.npz"))
    with pytest.raises(InputRejected, match="does not say which file"):
        pair(source=str(tmp_path))


def test_files_of_other_bytes_and_inputs_are_not_overwritten(pair, tmp_path):
    pair()
    pair(replace=False)  # equal bytes
    with pytest.raises(OutputConflict, match="replace=true"):
        pair(lambda motion: replace(motion, root_translation=motion.root_translation + 0.1), replace=False)


@pytest.mark.parametrize(
    ("keys", "word"),
    [
        ({"source": None}, "source"),
        ({"frames": 0}, "frames"),
        ({"size": [10, 10]}, "size"),
        ({"top_mm": 0.0}, "top_mm"),
        ({"align": "feet"}, "align"),
        ({"source_fps": 0.0}, "source_fps"),
    ],
)
def test_wrong_values_are_refused_by_name(keys, word):
    with pytest.raises(ConfigRefused, match=word):
        check_config(CompareConfig(**{"result": "a.npz", "source": "b.npz", **keys}))


def test_frames_of_a_sheet():
    mean = np.zeros(100)
    mean[70] = 1.0
    assert chosen_frames(mean, 1) == [70]
    assert chosen_frames(mean, 4) == [0, 49, 70, 99]
    assert chosen_frames(mean, 6) == [0, 33, 49, 66, 70, 99]
    assert chosen_frames(np.zeros(3), 12) == [0, 1, 2] and chosen_frames(np.zeros(1), 5) == [0]


def test_the_demo_walk_against_its_conversion_on_the_command_line(tmp_path):
    def run(script, *words):
        command = [sys.executable, str(ROOT / "scripts" / script), *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)

    done = run("convert.py", "amass", f"source.path={WALK}", "output.dir=out", "fps=30", "workers=1")
    assert done.returncode == 0, done.stderr
    words = (f"source={WALK.parent}", "result=out/soma/walk.npz", "output.dir=sheet", "frames=2", "size=[96,120]")
    done = run("compare.py", *words)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "sheet/walk.json").read_text())
    assert (record["source"], record["notes"]) == ("walk.npz", [])
    assert "0.00 mm in the mean" in done.stdout and "(motions)" in done.stdout
    assert {path.name for path in (tmp_path / "sheet").iterdir()} == {"walk.png", "walk.html", "walk.json"}
    refused = run("compare.py", *words[:1], "reslut=x.npz")
    assert refused.returncode == 2 and "did you mean 'result'" in refused.stderr
