"""scripts/body.py: every kind of file from a clip or a pose; wrong words are refused, other people's bytes kept."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom

from soma_isaac.body.identities.presets import preset
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.scales import BONE_SCALE_JOINTS
from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats import usd_stage_file
from soma_isaac.formats.corrective_model import CorrectiveWeights, write_correctives
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.rig_usd import load_template_rig, read_rig
from soma_isaac.formats.soma_npz import read_soma_npz
from soma_isaac.pipelines import body_config
from soma_isaac.pipelines.body_config import BodyExportConfig, check_config
from soma_isaac.pipelines.body_export import export_body
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import data_path, template_rest_offsets
from tests.oracles.correctives import random_checkpoint

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "data" / "demo_clips" / "squat.npz"


@pytest.mark.parametrize(
    "change,words",
    [
        ({"motion": None}, "give one of them"),
        ({"pose": "t"}, "give one of them"),
        ({"output": ""}, "name the file"),
        ({"output": "a.fbx"}, "unknown suffix '.fbx'"),
        ({"output": "a"}, "unknown suffix ''"),
        ({"kind": "mesh"}, "skel, points"),
        ({"lod": "high"}, "mid, low, xlo"),
        ({"motion": None, "pose": "a"}, "t, bind"),
        ({"fps": 0.0}, "fps:"),
        ({"scale": 0.0}, "scale:"),
        ({"scale": float("nan")}, "scale:"),
        ({"frame": -1}, "frame:"),
        ({"motion": None, "pose": "t", "frame": 0}, "frame:"),
        ({"output": "a.npz", "kind": "points"}, "joint rotations"),
        ({"output": "a.glb", "kind": "points"}, "frame=N"),
        ({"normals": False}, "normals:"),
        ({"correctives": "x.pt"}, "correctives:"),
        ({"preset": "child", "identity": "anny"}, "preset:"),
        ({"preset": "child", "coefficients": [1.0]}, "preset:"),
        ({"preset": "child", "assets": "x"}, "preset:"),
        ({"coefficients": [1.0]}, "coefficients: the template"),
        ({"model_path": "x"}, "model_path: the template"),
    ],
)
def test_refused(change, words):
    with pytest.raises(ConfigRefused, match=re.escape(words)):
        check_config(BodyExportConfig(**({"motion": "x.npz", "output": "a.usdc"} | change)))


def test_suffixes_are_those_of_the_writer():
    assert body_config.USD_SUFFIXES == usd_stage_file.USD_SUFFIXES


@pytest.mark.parametrize(
    "name,options",
    [
        ("a.usda", {"lod": "xlo"}),
        ("a.usdc", {}),
        ("a.usd", {"lod": "low"}),
        ("a.glb", {}),
        ("a.npz", {}),
        ("p.usdc", {"kind": "points", "lod": "low"}),
        ("f.glb", {"kind": "points", "frame": 3}),
    ],
)
def test_every_kind_is_written_once(tmp_path, name, options):
    config = BodyExportConfig(motion=str(CLIP), fps=10.0, output=str(tmp_path / "new" / name), **options)
    report = export_body(config)
    assert report.state == "written" and report.byte_count == report.path.stat().st_size > 1000
    assert report.frame_count == (1 if "frame" in options else 71)
    assert export_body(config).state == "unchanged"
    assert [path.name for path in (tmp_path / "new").iterdir()] == [name]


def test_other_bytes_stay_unless_replaced(tmp_path):
    path = tmp_path / "a.glb"
    path.write_bytes(b"mine")
    config = BodyExportConfig(pose="t", output=str(path), lod="xlo")
    with pytest.raises(OutputConflict, match="replace=true"):
        export_body(config)
    assert path.read_bytes() == b"mine"
    config.replace = True
    assert export_body(config).state == "replaced" and path.read_bytes()[:4] == b"glTF"
    assert [item.name for item in tmp_path.iterdir()] == ["a.glb"]


def test_the_motion_itself_is_no_output(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"mine")
    with pytest.raises(OutputConflict, match="is an input"):
        export_body(BodyExportConfig(motion=str(path), output=str(path), replace=True))
    assert path.read_bytes() == b"mine"


def test_a_folder_or_a_link_is_no_output(tmp_path):
    (tmp_path / "a.glb").mkdir()
    (tmp_path / "b.glb").symlink_to(tmp_path / "elsewhere")
    for name in ("a.glb", "b.glb"):
        with pytest.raises(OutputConflict, match="folder or a link"):
            export_body(BodyExportConfig(pose="t", output=str(tmp_path / name), lod="xlo", replace=True))
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.glb", "b.glb"]


def test_frame_beyond_the_end(tmp_path):
    with pytest.raises(InputRejected, match="there is no frame 999999"):
        export_body(BodyExportConfig(motion=str(CLIP), frame=999999, output=str(tmp_path / "a.glb")))


def test_soma_npz_keeps_the_motion_and_its_rate(tmp_path):
    export_body(BodyExportConfig(motion=str(CLIP), output=str(tmp_path / "a.npz")))
    read, source = read_soma_npz(open_npz(tmp_path / "a.npz"), "a"), load_motion(CLIP)
    assert read.fps == source.fps
    assert np.array_equal(read.rotations, source.rotations)
    assert np.array_equal(read.root_translation, source.root_translation)


def points_of(path, time=None):
    stage = Usd.Stage.Open(str(path))
    (mesh,) = [prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)]
    return np.array(
        UsdGeom.Mesh(mesh).GetPointsAttr().Get(Usd.TimeCode.Default() if time is None else time)
    ) * UsdGeom.GetStageMetersPerUnit(stage)


def test_bind_pose_is_the_rigs_own_mesh(tmp_path):
    path = tmp_path / "bind.usdc"
    export_body(BodyExportConfig(pose="bind", kind="points", output=str(path)))
    np.testing.assert_allclose(points_of(path), load_template_rig().mesh("mid").points, atol=2e-6)


def test_the_body_has_the_legs_of_the_person_in_the_clip(tmp_path):
    # A squat on planted feet: with its own leg length the body stands on the floor in every frame.
    path = tmp_path / "squat.usdc"
    report = export_body(BodyExportConfig(motion=str(CLIP), fps=2.0, kind="points", output=str(path)))
    assert 0.9 < report.scale < 0.95
    lowest = [points_of(path, time)[:, 1].min() for time in range(report.frame_count)]
    assert np.abs(lowest).max() < 0.03


LONG_SHINS = {"groups": {"bone_scales": [1.3 if joint.endswith("Foot") else 1.0 for joint in BONE_SCALE_JOINTS]}}


@pytest.mark.parametrize(
    "options",
    [{"preset": "child"}, {"preset": "tall"}, {"scale": 1.3}, {"identity": "soma"}, {"scale": 1.0, **LONG_SHINS}],
)
def test_any_body_stands_on_the_floor(tmp_path, options):
    # Bodies keep their size; the path of the motion is scaled to their legs.
    path = tmp_path / "squat.usdc"
    report = export_body(BodyExportConfig(motion=str(CLIP), fps=2.0, kind="points", output=str(path), **options))
    assert report.scale == options.get("scale", 1.0)
    lowest = [points_of(path, time)[:, 1].min() for time in range(report.frame_count)]
    assert np.abs(lowest).max() < 0.05
    height = np.ptp(points_of(path, 0)[:, 1])
    assert {"child": 1.05, "tall": 1.85}.get(options.get("preset"), height - 0.1) < height < 2.3
    if options.get("groups"):
        assert report.stride > 1.1 and height > 1.5
    if options.get("preset") == "child":
        assert height < 1.25 and report.stride < 0.75


def test_unknown_bodies(tmp_path):
    for options in (
        {"preset": "giant"},
        {"identity": "nobody"},
        {"identity": "soma", "coefficients": [0.0]},
        {"groups": {"bone_scales": [1.0]}},
        {"groups": {"faces": [1.0]}},
    ):
        with pytest.raises(InputRejected):
            export_body(BodyExportConfig(pose="t", output=str(tmp_path / "a.glb"), **options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("lod", ["mid", "xlo"])
def test_skinned_child_is_the_posed_child(tmp_path, lod):
    path = tmp_path / "child.usda"
    export_body(BodyExportConfig(pose="t", preset="child", output=str(path), lod=lod))
    layer = SomaLayer(identity="soma", lod=lod)
    identity = layer.prepare_identity(preset("child")[None])
    np.testing.assert_allclose(points_of(path), identity.rest_points[0], atol=1e-6)
    if lod == "mid":
        rest = read_rig(path, data_path("SOMA_procedural_transforms.json")).skeleton.rest_T_world_joint
        assert abs(rest[1:, 1, 3].min()) < 0.05 and 0.6 < rest[1, 1, 3] < 0.7


def test_correctives_go_into_the_point_cache(tmp_path):
    checkpoint = random_checkpoint(load_template_rig().mesh("mid").vertex_count, 1)
    first, second = checkpoint.masked()
    weights = CorrectiveWeights.from_matrices(
        checkpoint.bind[:, :3, :3], first, second * 0.01, squash=checkpoint.use_tanh, note="random"
    )
    write_correctives(tmp_path / "c.safetensors", weights)
    for name, options in (("plain", {}), ("corrected", {"correctives": str(tmp_path / "c.safetensors")})):
        config = BodyExportConfig(motion=str(CLIP), frame=200, kind="points", output=str(tmp_path / f"{name}.usdc"))
        export_body(replace(config, **options))
    motion = load_motion(CLIP)
    layer = SomaLayer(correctives=weights)
    layer.prepare_identity(global_scale=motion.identity.rest_offsets[1, 1] / template_rest_offsets()[1, 1])
    expected = layer.pose(motion.rotations[200:201], motion.root_translation[200:201]).vertices.numpy()[0]
    np.testing.assert_allclose(points_of(tmp_path / "corrected.usdc"), expected, atol=1e-5)
    assert np.abs(points_of(tmp_path / "plain.usdc") - expected).max() > 1e-4


def test_command_line(tmp_path):
    command = [sys.executable, str(ROOT / "scripts" / "body.py")]
    output = tmp_path / "a.usda"
    good = subprocess.run(
        [*command, "pose=t", f"output={output}", "lod=xlo"], capture_output=True, text=True, cwd=tmp_path
    )
    assert good.returncode == 0 and output.read_text().startswith("#usda"), good.stderr
    assert good.stdout.startswith(f"{output}: written, 1 frame") and good.stdout.count("\n") == 1
    wrong = subprocess.run([*command, "pose=t", f"outptu={output}"], capture_output=True, text=True, cwd=tmp_path)
    assert wrong.returncode == 2 and "did you mean 'output'" in wrong.stderr
    missing = subprocess.run(
        [*command, "motion=none.npz", f"output={output}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert missing.returncode == 2 and missing.stderr.startswith("error: 'none.npz'")
    assert [path.name for path in tmp_path.iterdir()] == ["a.usda"]
