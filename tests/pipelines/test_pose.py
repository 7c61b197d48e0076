"""scripts/pose.py: effectors from YAML onto any body, in files that the other commands read."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdSkel

from soma_isaac.errors import InputRejected, OutputConflict
from soma_isaac.formats.npz import npz_bytes, open_npz
from soma_isaac.formats.value_file import read_values
from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION, joint_index
from soma_isaac.learned.poser import WEIGHTS, Poser, learned_poser
from soma_isaac.learned.predictor import StillPose
from soma_isaac.learned.skeleton import POSE_INDICES, BodySkeleton, body_kinematics, template_skeleton
from soma_isaac.math.frames import yup_from_zup_points, zup_from_yup_points
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.pose import chosen_body, pose, pose_body
from soma_isaac.pipelines.pose_body import bones_body, file_bones, identity_body, stick_offsets
from soma_isaac.pipelines.pose_config import PictureConfig, PoseBodyConfig, PoseConfig, check_config
from soma_isaac.pipelines.pose_effectors import poses_of, read_poses
from soma_isaac.pipelines.pose_pictures import POSITION_RGB, View, effector_meshes, pose_picture
from soma_isaac.pipelines.pose_sheet import draw_pose_sheet
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, data_path, template_rest_offsets

ROOT = Path(__file__).resolve().parents[2]
TEXT = """
poses:
  reach:
    - {joint: Hips, position: [0, 0.9, 0]}
    - {joint: LeftHand, position: [0.35, 1.3, 0.35]}
    - {joint: LeftFoot, position: [0.1, 0.1, 0]}
    - {joint: RightFoot, position: [-0.1, 0.1, 0]}
    - {joint: Head, look_at: [0.4, 1.3, 2.0]}
  turned:
    - {joint: Hips, position: [0, 0.9, 0], rotation_deg: [0, 40, 0]}
    - {joint: RightHand, position: [0.1, 1.2, 0.4], tolerance_m: 0.01, weight: 2}
"""


@pytest.fixture
def effectors(tmp_path) -> Path:
    path = tmp_path / "poses.yaml"
    path.write_text(TEXT)
    return path


def test_file(effectors):
    poses = read_poses(effectors)
    assert poses.names == ("reach", "turned")
    sets = poses.effectors
    assert sets.kind[0].tolist() == [POSITION] * 4 + [LOOK_AT]
    assert sets.kind[1, :3].tolist() == [POSITION, ROTATION, POSITION]
    assert sets.rotation[1, 1] == pytest.approx(matrix_from_rotvec(np.array([0.0, np.radians(40.0), 0.0])))
    assert (sets.tolerance[1, 2], sets.weight[1, 2], sets.weight[1, 3]) == (0.01, 2.0, 0.0)


def test_z_up_is_the_same_pose_told_in_the_robot_world(effectors, tmp_path):
    """Positions turn; a rotation about up stays one about up; what looks ahead still looks ahead."""
    values = read_values(effectors)
    for entries in values["poses"].values():
        for entry in entries:
            for key in ("position", "look_at", "rotation_deg"):
                if key in entry:
                    entry[key] = zup_from_yup_points(np.array(entry[key], float)).tolist()
    same, ours = poses_of(values | {"up_axis": "z"}, "x").effectors, read_poses(effectors).effectors
    for name in ("target", "rotation", "direction"):
        assert getattr(same, name) == pytest.approx(getattr(ours, name), abs=1e-12), name
    assert poses_of(values, "x", "z").effectors.target == pytest.approx(ours.target)
    assert yup_from_zup_points(np.array([1.0, 0, 0])).tolist() == [0, 0, 1]


@pytest.mark.parametrize(
    "text,words",
    [
        ("poses: {}", "1 to"),
        ("effectors: []", "no list"),
        ("effectors: [{position: [0, 0, 0]}]", "effector 1 of pose bad names no joint"),
        ("effectors: [{joint: Head}]", "asks for nothing"),
        ("effectors: [{joint: Hed, position: [0, 0, 0]}]", "no body joint named 'Hed'"),
        ("effectors: [{joint: Head, position: [0, .nan, 0]}]", "3 finite numbers"),
        ("effectors: [{joint: Head, position: [0, 0]}]", "3 finite numbers"),
        ("effectors: [{joint: Head, positions: [0, 0, 0]}]", "unknown name 'positions'"),
        ("effectors: [{joint: Head, rotation_wxyz: [0, 0, 0, 0]}]", "no length"),
        ("effectors: [{joint: Head, rotation_wxyz: [1, 0, 0, 0], rotation_deg: [0, 0, 0]}]", "two rotations"),
        ("effectors: [{joint: Head, position: [0, 0, 0], weight: yes}]", "weight is not one finite number"),
        ("up_axis: x\neffectors: [{joint: Head, position: [0, 0, 0]}]", "neither y nor z"),
        ("a: &a [1]\neffectors: *a", "aliases"),
        ("effectors: !!python/object/apply:os.system [echo]", "cannot be read"),
        ("[1, 2]", "no mapping"),
        ("effectors: [{joint: Hips, position: [0, 1.0e+300, 0]}]", "position is beyond 500"),
        ("effectors: [{joint: Head, look_at: [0, 1.0e+7, 0]}]", "look_at is beyond 1e+06"),
        ("effectors: [{joint: Hips, position: [0, 1, 0], weight: -1}]", "weight is -1, expected 0 to"),
        ("effectors: [{joint: Hips, position: [0, 1, 0], weight: 1.0e-300}]", "0 leaves an effector out"),
        ("effectors: [{joint: Hips, position: [0, 1, 0], tolerance_m: -1}]", "tolerance_m is -1, expected 0 to"),
        ("effectors: [{joint: Hips, position: [0, 1, 0], tolerance_deg: 1.0e+300}]", "tolerance_deg is 1e+300"),
        ("poses: {a: [{joint: Hips, position: [0, 1, 0], weight: 0}]}", "pose a has no position with a weight"),
        ("poses: {a: [{joint: Hips, rotation_deg: [0, 1, 0]}]}", "pose a has no position with a weight"),
        (f"poses: {{{'a' * 101}: [{{joint: Hips, position: [0, 1, 0]}}]}}", "at most 100 characters"),
        ('poses: {"a\\nb": [{joint: Hips, position: [0, 1, 0]}]}', "one line"),
        ("effectors: [" + "{joint: Hips, position: [0, 1, 0]}, " * 65 + "]", "1 to 64 effectors"),
        ("effectors: [", "cannot be read"),
    ],
)
def test_bad_file(tmp_path, text, words):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputRejected, match=re.escape(words)) as raised:
        read_poses(tmp_path / "bad.yaml")
    assert raised.value.path == str(tmp_path / "bad.yaml")


@pytest.mark.parametrize(
    "change,words",
    [
        ({"effectors": ""}, "effectors:"),
        ({"formats": ["pnp"]}, "did you mean"),
        ({"formats": []}, "formats:"),
        ({"up_axis": "x"}, "up_axis:"),
        ({"body": PoseBodyConfig(lod="high")}, "body.lod"),
        ({"picture": PictureConfig(azimuth_deg=float("nan"))}, "picture.azimuth_deg"),
        ({"body": PoseBodyConfig(scale=0.0)}, "body.scale"),
        ({"body": PoseBodyConfig(preset="child", identity="anny")}, "body.preset"),
        ({"body": PoseBodyConfig(bones="a.npz", preset="child")}, "body.bones"),
        ({"body": PoseBodyConfig(model_path="x")}, "body.model_path"),
    ],
)
def test_config_refused(change, words):
    with pytest.raises(ConfigRefused, match=re.escape(words)):
        check_config(PoseConfig(**({"effectors": "a.yaml"} | change)))


def test_too_many_poses_for_a_picture(tmp_path):
    """Said before anything is posed or written; without the picture they are fine."""
    entries = "".join(f"  p{k}: [{{joint: Hips, position: [0, 1, 0]}}]\n" for k in range(12))
    (tmp_path / "many.yaml").write_text("poses:\n" + entries)
    config = PoseConfig(str(tmp_path / "many.yaml"), str(tmp_path / "out"), ["npz", "png"], PoseBodyConfig(lod="xlo"))
    config.picture.size = [3000, 3000]
    with pytest.raises(ConfigRefused, match="at most 11 poses of 3000 x 3000 pixels, not 12"):
        pose(config)
    assert not (tmp_path / "out").exists()
    config.formats = ["npz"]
    assert pose(config)[-1].startswith(str(tmp_path / "out" / "many.npz"))


def test_bodies_have_the_joints_that_are_drawn():
    """What learned IK poses and what the skin does are one and the same body, whatever it is made of."""
    offsets = template_rest_offsets().copy()
    offsets[1:] *= np.random.default_rng(3).uniform(0.7, 1.4, (77, 1))
    custom = identity_body(lod="xlo").motion_identity.__class__("soma", np.zeros(0), None, offsets, "file")
    turned = matrix_from_rotvec(np.random.default_rng(4).normal(size=(1, 23, 3)) * 0.5)
    for shown in (
        identity_body(lod="xlo"),
        identity_body(named="child", lod="xlo"),
        identity_body(scale=1.2, groups={"bone_scales": [1.1] * 60}, lod="xlo"),
        bones_body(custom, "custom", "xlo"),
    ):
        rotations = np.tile(np.eye(3), (1, 77, 1, 1))
        rotations[:, list(POSE_INDICES)] = turned
        hips = np.array([[0.2, 1.0, -0.3]])
        joints = shown.layer.pose(rotations, hips, identity=shown.identity).joints.numpy()[0, list(POSE_INDICES)]
        ours, _ = body_kinematics(turned, hips, shown.skeleton.rest_offsets)
        assert joints == pytest.approx(ours[0], abs=1e-5), shown.name
        assert 0.3 < shown.motion_identity.rest_offsets[1, 1] < 1.5


def test_files(effectors, tmp_path):
    """An npz that the body exporter poses to the same joints, a USD with one frame per pose, a picture."""
    config = PoseConfig(str(effectors), str(tmp_path / "out"), ["npz", "usda", "png"], network="still")
    config.body.preset, config.body.lod = "tall", "xlo"
    config.picture.size = [120, 150]
    lines = pose(config)
    assert lines[0] == "reach: 5 of 5 effectors met" and lines[1] == "turned: 3 of 3 effectors met"
    motion = load_motion(tmp_path / "out" / "poses.npz")
    assert motion.frame_count == 2 and motion.fps == 1.0
    skeleton = BodySkeleton.from_public_offsets(motion.identity.rest_offsets)
    places, _ = body_kinematics(motion.rotations[:, list(POSE_INDICES)], motion.root_translation, skeleton.rest_offsets)
    assert places[0, joint_index("LeftHand")] == pytest.approx([0.35, 1.3, 0.35], abs=1e-3)
    archive = open_npz(tmp_path / "out" / "poses.npz")
    assert archive.texts("pose_names") == ("reach", "turned")
    stage = Usd.Stage.Open(str(tmp_path / "out" / "poses.usda"))
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0.0, 1.0)
    cache = UsdSkel.Cache()
    root = next(UsdSkel.Root(prim) for prim in stage.Traverse() if prim.IsA(UsdSkel.Root))
    skel = next(UsdSkel.Skeleton(prim) for prim in stage.Traverse() if prim.IsA(UsdSkel.Skeleton))
    cache.Populate(root, Usd.PrimDefaultPredicate)
    query = cache.GetSkelQuery(skel)
    names = [str(name).rpartition("/")[2] for name in query.GetJointOrder()]
    matrices = query.ComputeJointSkelTransforms(UsdGeom.XformCache(1.0).GetTime())
    hand = matrices[names.index("RightHand")].ExtractTranslation()
    assert np.array(hand) / 100.0 == pytest.approx(places[1, joint_index("RightHand")], abs=1e-4)
    bones = file_bones(tmp_path / "out" / "poses.usda")  # the body in the file, read as a character
    rows = [index + 1 for index in POSE_INDICES]
    assert bones.rest_offsets[rows[1:]] == pytest.approx(motion.identity.rest_offsets[rows[1:]], abs=2e-3)
    assert (tmp_path / "out" / "poses.png").read_bytes()[:4] == b"\x89PNG"
    assert all("unchanged" in line for line in pose(config)[2:])
    effectors.write_text(TEXT.replace("0.35]", "0.36]"))
    with pytest.raises(OutputConflict):
        pose(config)


def test_custom_bones(effectors, tmp_path):
    """Bones from a file of offsets, or those of a clip."""
    offsets = stick_offsets(1.3 * template_skeleton().rest_offsets)
    assert offsets[PUBLIC_JOINT_NAMES.index("LeftHandThumb1")] == pytest.approx(
        1.3 * template_rest_offsets()[PUBLIC_JOINT_NAMES.index("LeftHandThumb1")]
    )
    (tmp_path / "bones.npz").write_bytes(npz_bytes({"rest_offsets_m": offsets}))
    big = chosen_body(PoseBodyConfig(bones=str(tmp_path / "bones.npz"), lod="xlo"))
    assert big.skeleton.scale == pytest.approx(1.3)
    found = pose_body(big, read_poses(effectors), Poser(StillPose()))
    assert found.refined.reached[found.effectors.weight > 0].all()
    clip = chosen_body(PoseBodyConfig(bones=str(data_path("demo_clips/walk.npz")), lod="xlo"))
    assert clip.skeleton.rest_offsets.shape == (23, 3)


def test_picture_shows_what_is_missed(effectors):
    shown = identity_body(lod="xlo")
    poses = poses_of(
        {
            "effectors": [
                {"joint": "Hips", "position": [0, 0.9, 0]},
                {"joint": "LeftFoot", "position": [0.1, 0.1, 0.0]},
                {"joint": "LeftHand", "position": [9, 9, 9]},
                {"joint": "Head", "rotation_deg": [0, 0, 0], "look_at": [0, 1.6, 1]},
            ]
        },
        "far",
    )
    found = pose_body(shown, poses, Poser(StillPose()))
    colors = [mesh.rgb for mesh in effector_meshes(shown, found.refined.pose, found.effectors, 0)]
    met = int((found.refined.residual[0, :3] < 1e-3).sum())
    assert colors.count(POSITION_RGB) == met < 3
    assert len(colors) == met + 2 * (3 - met) + 3 + 2
    picture = pose_picture(shown, found.refined.pose, found.effectors, 0, View(size=(64, 80)), "far")
    assert picture.shape == (80, 64, 3) and len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_sheet_of_five_bodies():
    """The same effectors on a child, tall, heavy, with SMPL's bones and on a custom rig: all are met."""
    sheet = draw_pose_sheet(Poser(StillPose()), View(size=(60, 80)), "xlo")
    assert [each.shown.name for each in sheet.posed] == ["child", "tall", "heavy", "smpl bones", "custom rig"]
    sizes = [each.shown.skeleton.scale for each in sheet.posed]
    assert min(sizes) == sizes[0] < 0.8 and sizes[1] > 1.0
    first, *others = (each.effectors.target[0] for each in sheet.posed)
    assert all(np.array_equal(first[4:], other[4:]) for other in others)
    for each in sheet.posed:
        missed = each.refined.residual * (each.effectors.weight > 0.0)
        assert missed.max() < 1e-3, each.shown.name
    assert sheet.image.shape[0] > 160 and sheet.image.shape[1] > 300


def test_command(effectors, tmp_path):
    words = [f"effectors={effectors}", f"output={tmp_path / 'o'}", "formats=[npz]", "network=still", "body.lod=xlo"]
    run = subprocess.run([sys.executable, ROOT / "scripts" / "pose.py", *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("reach: 5 of 5 effectors met\n")
    run = subprocess.run(
        [sys.executable, ROOT / "scripts" / "pose.py", "effector=x"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2 and "did you mean 'effectors'" in run.stderr
    (tmp_path / "e.json").write_text(json.dumps({"effectors": [{"joint": "Head", "look_at": [0, 0, 0]}]}))
    words[0] = f"effectors={tmp_path / 'e.json'}"
    run = subprocess.run([sys.executable, ROOT / "scripts" / "pose.py", *words], capture_output=True, text=True)
    assert run.returncode == 2 and "no position with a weight" in run.stderr


@pytest.mark.skipif(not data_path(WEIGHTS).is_file(), reason=f"data/{WEIGHTS} is not here yet")
def test_shipped_network(effectors, tmp_path):
    """Without further words the network that ships is taken, and both poses are met."""
    lines = pose(PoseConfig(str(effectors), str(tmp_path / "out"), ["npz"]))
    assert lines[:2] == ["reach: 5 of 5 effectors met", "turned: 3 of 3 effectors met"]


@pytest.mark.skipif(not data_path(WEIGHTS).is_file(), reason=f"data/{WEIGHTS} is not here yet")
def test_sheet_with_the_shipped_network():
    """What docs/posing.md shows: all targets met on all five bodies, and the learned poses not much changed for it."""
    sheet = draw_pose_sheet(learned_poser(), View(size=(60, 80)), "xlo")
    for each in sheet.posed:
        used = each.effectors.weight > 0.0
        assert each.refined.reached[used].all() and each.refined.residual[used].max() < 1e-3, each.shown.name
        assert np.degrees(each.refined.change).max() < 25.0
