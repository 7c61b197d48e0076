"""Keypoints of a known motion give it back: places, the head's direction, lengths; gaps and noise are borne."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.body.layer import SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import npz_bytes
from soma_isaac.learned.effectors import joint_index
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.predictor import StillPose
from soma_isaac.learned.skeleton import POSE_INDICES, BodySkeleton
from soma_isaac.math.frames import zup_from_yup_points
from soma_isaac.math.so3 import geodesic_angle
from soma_isaac.motion.resample import resample
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.keypoints import (
    COCO_17,
    FACE_M,
    LIMB_JOINTS,
    UP_AXES,
    Keypoints,
    KeypointSettings,
    measured_offsets,
    soma_from_keypoints,
)
from soma_isaac.pipelines.keypoints_doubts import keypoint_distances, keypoint_doubts
from soma_isaac.pipelines.keypoints_file import read_keypoints
from soma_isaac.pipelines.keypoints_run import UP_AXES as COMMAND_UP_AXES
from soma_isaac.pipelines.keypoints_run import KeypointsConfig, check_config
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, data_path, forward_kinematics

ROOT = Path(__file__).resolve().parents[2]
FPS = 20.0
STILL = Poser(StillPose())


@pytest.fixture(scope="module")
def squat() -> SomaMotion:
    return resample(load_motion(data_path("demo_clips/squat.npz")), FPS)


def points_of(motion: SomaMotion) -> np.ndarray:
    """[T, 17, 3] where a motion's keypoints are."""
    places, world = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    head = POSE_JOINT_NAMES.index("Head")
    size = BodySkeleton.from_public_offsets(motion.identity.rest_offsets).scale
    face = places[:, head, None] + np.einsum("tab,kb->tka", world[:, head], size * FACE_M)
    split = [name.split("_") for name in COCO_17[5:]]
    limbs = [places[:, POSE_JOINT_NAMES.index(side.capitalize() + LIMB_JOINTS[part])] for side, part in split]
    return np.concatenate([face, np.stack(limbs, axis=1)], axis=1)


def errors(motion: SomaMotion, found: SomaMotion) -> tuple[np.ndarray, np.ndarray]:
    """Distances [T, 23] m and angles [T, 23] rad between the body joints of two motions."""
    joints = list(POSE_INDICES)
    a, b = (forward_kinematics(m.rotations, m.root_translation, m.identity.rest_offsets) for m in (motion, found))
    return np.linalg.norm(a[0] - b[0], axis=-1)[:, joints], geodesic_angle(a[1], b[1])[:, joints]


def keypoints(points: np.ndarray, confidence: np.ndarray | None = None) -> Keypoints:
    return Keypoints(points, np.ones(points.shape[:2]) if confidence is None else confidence, FPS)


def test_face_lies_on_the_template():
    """Nose, eyes and ears are where the template's skin has them, within a centimetre."""
    layer = SomaLayer()
    posed = layer.pose(np.zeros((1, 77, 3)), identity=layer.prepare_identity())
    head = posed.joints.numpy()[0, POSE_JOINT_NAMES.index("Head")]
    skin = posed.vertices.numpy()[0] - head
    assert np.linalg.norm(skin - FACE_M[0], axis=-1).min() < 0.01
    assert skin[skin[:, 1] > -0.05][:, 2].max() == pytest.approx(FACE_M[0, 2], abs=0.005)
    for point in FACE_M[1:]:
        assert np.linalg.norm(skin - point, axis=-1).min() < 0.012
    eye = posed.joints.numpy()[0, POSE_JOINT_NAMES.index("LeftEye")] - head
    assert FACE_M[1, :2] == pytest.approx(eye[:2], abs=0.002)


def test_a_motion_comes_back(squat):
    found = soma_from_keypoints(keypoints(points_of(squat)), STILL, squat.identity)
    away, turned = errors(squat, found)
    seen = [joint_index(s.capitalize() + LIMB_JOINTS[p]) for s, p in (name.split("_") for name in COCO_17[5:])]
    assert away[:, seen].mean() < 0.012 and away.mean() < 0.03
    assert np.degrees(turned[:, joint_index("Head")]).mean() < 4.0
    assert np.degrees(turned[:, joint_index("LeftShin")]).mean() < 30.0


def test_lengths_are_measured(squat):
    limbs = [POSE_JOINT_NAMES.index(f"Left{name}") + 1 for name in ("ForeArm", "Hand", "Shin", "Foot")]
    true = np.linalg.norm(squat.identity.rest_offsets[limbs], axis=-1)
    offsets = measured_offsets(keypoints(1.2 * points_of(squat)), KeypointSettings())
    assert np.linalg.norm(offsets[limbs], axis=-1) == pytest.approx(1.2 * true, rel=0.05)
    hips = [POSE_JOINT_NAMES.index(f"{side}Leg") + 1 for side in ("Left", "Right")]
    width = np.linalg.norm(squat.identity.rest_offsets[hips[0]] - squat.identity.rest_offsets[hips[1]])
    assert offsets[hips[0], 0] - offsets[hips[1], 0] == pytest.approx(1.2 * width, rel=1e-6)
    assert BodySkeleton.from_public_offsets(offsets).scale == pytest.approx(
        1.2 * BodySkeleton.from_public_offsets(squat.identity.rest_offsets).scale, rel=0.05
    )
    assert offsets[1, 1] == pytest.approx(1.2 * squat.identity.rest_offsets[1, 1], rel=0.05)
    with pytest.raises(InputRejected, match="metres"):
        measured_offsets(keypoints(100.0 * points_of(squat)), KeypointSettings())


def test_noise_is_smoothed_and_gaps_are_bridged(squat):
    """Two centimetres of noise, a wrist unseen for half a second, and a face that turns away."""
    generator = np.random.default_rng(0)
    points = points_of(squat) + generator.normal(size=(squat.frame_count, 17, 3)) * 0.02
    confidence = np.ones(points.shape[:2])
    confidence[40:50, COCO_17.index("left_wrist")] = 0.0
    points[40:50, COCO_17.index("left_wrist")] = 99.0
    confidence[60:80, :5] = [0.0, 0.0, 0.0, 1.0, 0.01]
    settings = KeypointSettings(tolerance=0.02, face_tolerance=0.02, cutoff=3.0)
    found = soma_from_keypoints(keypoints(points, confidence), STILL, squat.identity, settings)
    away, _ = errors(squat, found)
    assert away.mean() < 0.06 and away[40:50, joint_index("LeftHand")].max() < 0.25
    places, _ = forward_kinematics(found.rotations, found.root_translation, found.identity.rest_offsets)
    jerky, calm = (np.linalg.norm(np.diff(p, n=2, axis=0), axis=-1).mean() for p in (points, places))
    assert calm < 0.3 * jerky
    assert "not seen" in found.provenance.notes[-1]


def test_files_and_worlds(squat, tmp_path):
    points = points_of(squat)[:3]
    worlds = {"y": points, "z": zup_from_yup_points(points), "-y": points * [1, -1, -1]}
    assert tuple(worlds) == UP_AXES == COMMAND_UP_AXES
    for axis, values in worlds.items():
        values = values.copy()
        values[0, 3] = np.nan
        (tmp_path / "k.npz").write_bytes(npz_bytes({"keypoints": values, "fps": np.array(FPS)}))
        read = read_keypoints(tmp_path / "k.npz", axis)
        assert read.points[1:] == pytest.approx(points[1:]) and read.confidence[0, 3] == 0.0 and read.fps == FPS
    (tmp_path / "k.npz").write_bytes(npz_bytes({"keypoints": points}))
    with pytest.raises(InputRejected, match="fps"):
        read_keypoints(tmp_path / "k.npz", "y")
    with pytest.raises(InputRejected, match="from 0 to 1"):
        keypoints(points, np.full(points.shape[:2], 2.0))
    with pytest.raises(InputRejected, match="no shoulder"):
        keypoints(points, np.zeros(points.shape[:2]))


def test_bad_files(squat, tmp_path):
    """Every refusal names the file and what would do."""
    points = points_of(squat)[:3]
    path = tmp_path / "k.npz"
    for arrays, words in (
        ({"keypoints": points, "fps": np.array("thirty")}, "'thirty', expected a number"),
        ({"keypoints": 1e3 * points, "fps": np.array(FPS)}, "m away; they are in metres"),
        ({"keypoints": points[:0], "fps": np.array(FPS)}, "has no frames"),
        ({"keypoints": points, "fps": np.array(FPS), "confidence": np.full((3, 17), np.nan)}, "not finite"),
        ({"keypoints": np.full_like(points, np.nan), "fps": np.array(FPS)}, "no shoulder"),
    ):
        path.write_bytes(npz_bytes(arrays))
        with pytest.raises(InputRejected, match=re.escape(words)) as raised:
            read_keypoints(path, "y")
        assert raised.value.path == str(path)
    path.write_bytes(npz_bytes({"keypoints": points, "fps": np.array(FPS)}))
    assert (read_keypoints(path, "y").fps_key, read_keypoints(path, "y", 24.0).fps_key) == ("fps", "option")


def test_units_are_checked_against_a_given_body_too(squat):
    points = points_of(squat)[:2]
    for scale, words in ((100.0, "100 times this body's"), (0.01, "0.01 times this body's")):
        with pytest.raises(InputRejected, match=words):
            soma_from_keypoints(keypoints(scale * points), STILL, squat.identity)
    with pytest.raises(InputRejected, match="in one place"):
        soma_from_keypoints(keypoints(np.zeros_like(points)), STILL)
    with pytest.raises(InputRejected, match="least_confidence="):
        soma_from_keypoints(keypoints(points, np.full(points.shape[:2], 0.01)), STILL, squat.identity)


def test_doubts(squat):
    """Sides exchanged, a mirrored axis and another axis up are told; a squat and a camera's world are not doubted."""
    points = points_of(squat)
    sides = {"left": "right", "right": "left"}
    split = [name.partition("_") for name in COCO_17]
    exchanged = [COCO_17.index(f"{sides.get(side, side)}{bar}{part}") for side, bar, part in split]
    assert keypoint_doubts(keypoints(points), 0.05) == ()
    for wrong in (points[:, exchanged], points * [-1.0, 1.0, 1.0]):
        (doubt,) = keypoint_doubts(keypoints(wrong), 0.05)
        assert "exchanged" in doubt
    (doubt,) = keypoint_doubts(keypoints(zup_from_yup_points(points)), 0.05)
    assert "up_axis=" in doubt
    assert keypoint_doubts(keypoints(points[:, exchanged], np.tile(np.arange(17) >= 5, (len(points), 1))), 0.05) == ()
    found = soma_from_keypoints(keypoints(points[:5]), STILL, squat.identity)
    assert keypoint_distances(keypoints(points[:5]), found, 0.05).shape == (60,)
    moved = keypoints(points[:5] + [0.0, 5.0, 0.0])
    assert keypoint_distances(moved, found, 0.05) == pytest.approx(np.full(60, 5.0), abs=0.1)


def test_command(squat, tmp_path):
    (tmp_path / "k.npz").write_bytes(npz_bytes({"keypoints": points_of(squat)[:20], "fps": np.array([FPS])}))
    words = [f"keypoints={tmp_path / 'k.npz'}", f"output={tmp_path / 'm.npz'}", "network=still"]
    run = subprocess.run([sys.executable, ROOT / "scripts" / "keypoints.py", *words], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    motion = load_motion(tmp_path / "m.npz")
    assert motion.frame_count == 20 and motion.fps == FPS and motion.identity.rest_source == "estimated"


@pytest.mark.parametrize(
    "change,words",
    [
        ({"keypoints": "a.json"}, "keypoints:"),
        ({"up_axis": "x"}, "up_axis:"),
        ({"cutoff": 0.0}, "cutoff:"),
        ({"fps": 0.0}, "fps: "),
    ],
)
def test_config_refused(change, words):
    with pytest.raises(ConfigRefused, match=re.escape(words)):
        check_config(KeypointsConfig(**({"keypoints": "a.npz", "output": "b.npz"} | change)))
