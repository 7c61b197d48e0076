"""The bundled clips: what the generator writes, feet that stand still, and the same person after reading."""

import io

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.inversion.smpl_body import SMPL_PARENTS
from soma_isaac.motion.resample import resample
from soma_isaac.pipelines.demo_clips import CLIPS, write_demo_clips
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, data_path, forward_kinematics
from tests.oracles.smpl import joint_positions

pytestmark = pytest.mark.py312
FPS = 120.0
SOLE_POINTS = np.array([[0.0, -0.064, -0.055], [0.026, -0.064, 0.121], [0.037, -0.064, 0.19]])
"""Heel, ball and toe tip of the left sole [m] in the ankle's zero-pose frame."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    write_demo_clips(folder)
    return folder


def foot_points(poses: np.ndarray, trans: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heel, ball and toe-tip soles [T, 2, 3, 3] m, Z-up, by SMPL's own kinematics, and the ball joints [T, 2, 3]."""
    places = joint_positions(poses, trans, 1.0)
    local = Rotation.from_rotvec(poses[:, :66].reshape(-1, 3)).as_matrix().reshape(-1, 22, 3, 3)
    world = local.copy()
    for joint in range(1, 22):
        world[:, joint] = world[:, SMPL_PARENTS[joint]] @ local[:, joint]
    soles = []
    for ankle, mirror in ((7, [1.0, 1.0, 1.0]), (8, [-1.0, 1.0, 1.0])):
        heel, ball, tip = SOLE_POINTS * mirror
        toe = tip - np.array([0.026, -0.052, 0.121]) * mirror
        points = [places[:, ankle] + world[:, ankle] @ heel, places[:, ankle] + world[:, ankle] @ ball]
        soles.append(np.stack([*points, places[:, ankle + 3] + world[:, ankle + 3] @ toe], axis=1))
    return np.stack(soles, axis=1), places[:, [10, 11]]


def within(still: np.ndarray, frames: int = 2) -> np.ndarray:
    """Frames [T] of ``still`` that have ``frames`` still neighbours on both sides (the clip's ends count as still)."""
    padded = np.pad(still, ((frames, frames), (0, 0)), constant_values=True)
    return np.all([padded[shift : shift + len(still)] for shift in range(2 * frames + 1)], axis=0)


def test_the_clips_in_the_repository_are_what_the_generator_makes(folder):
    bundled = data_path("demo_clips")
    names = sorted(path.name for path in bundled.glob("*.npz"))
    assert names == sorted(f"{name}.npz" for name in CLIPS)
    assert {"walk", "squat", "reach", "turn_in_place"} <= set(CLIPS)
    for name in names:
        assert (bundled / name).stat().st_size < 300_000
        with np.load(bundled / name) as stored, np.load(folder / name) as made:
            assert stored.files == made.files
            for key in stored.files:
                if stored[key].dtype.kind == "f":
                    np.testing.assert_allclose(stored[key], made[key], atol=2e-6)
                else:
                    np.testing.assert_array_equal(stored[key], made[key])


def test_making_them_again_gives_the_same_bytes(folder, tmp_path):
    for path in write_demo_clips(tmp_path):
        assert path.read_bytes() == (folder / path.name).read_bytes()


@pytest.mark.parametrize("name", sorted(CLIPS))
def test_feet_stand_or_swing_and_never_sink(name, folder):
    with np.load(io.BytesIO((folder / f"{name}.npz").read_bytes())) as clip:
        points, balls = foot_points(clip["poses"].astype(float), clip["trans"].astype(float))
    assert points[..., 2].min() > -0.001
    # a standing foot turns about its heel or its ball joint: the slower of the two does not move
    pivots = np.stack([points[:, :, 0], balls], axis=2)
    slow = np.linalg.norm(np.diff(pivots, axis=0), axis=-1).min(axis=-1) * FPS
    stands = within(slow < 0.05)  # next to lift-off and landing a foot in the air is slow as well
    assert stands.any(axis=1).all()
    assert slow[stands].max() < 0.002
    lowest = points[1:, :, :, 2].min(axis=-1)
    assert lowest[stands].max() < 0.001
    if name in ("squat", "reach", "wave"):
        assert stands.all()
    else:
        assert 0.05 < 1.0 - stands.mean() < 0.45
        assert lowest[~stands].max() > 0.02


def test_the_walk_walks(folder):
    motion = load_motion(folder / "walk.npz")
    travelled = motion.root_translation[-1] - motion.root_translation[0]
    assert travelled[2] > 3.0 and abs(travelled[0]) < 0.05  # ahead is +z in the SOMA world
    speed = np.linalg.norm(np.diff(motion.root_translation, axis=0), axis=-1).max() * FPS
    assert 0.8 < speed < 1.4
    knee = np.degrees(
        np.linalg.norm(
            Rotation.from_matrix(motion.rotations[:, POSE_JOINT_NAMES.index("LeftShin")]).as_rotvec(), axis=1
        )
    )
    assert knee.max() > 50.0 and knee.min() > 2.0


def test_the_turn_turns_once(folder):
    motion = load_motion(folder / "turn_in_place.npz")
    ahead = motion.rotations[:, 0] @ [0.0, 0.0, 1.0]
    yaw = np.unwrap(np.arctan2(ahead[:, 0], ahead[:, 2]))
    np.testing.assert_allclose(np.degrees(yaw[-1] - yaw[0]), 360.0, atol=1.0)
    assert np.linalg.norm(motion.root_translation[-1] - motion.root_translation[0]) < 0.02


def test_the_squat_squats(folder):
    height = load_motion(folder / "squat.npz").root_translation[:, 1]
    assert height.max() > 0.88 and height.min() < 0.62


@pytest.mark.parametrize("fps", [120.0, 50.0])
@pytest.mark.parametrize("name", sorted(CLIPS))
def test_reading_keeps_size_and_stance(name, fps, folder):
    motion = resample(load_motion(folder / f"{name}.npz"), fps)
    np.testing.assert_allclose(motion.identity.rest_offsets[1, 1], 0.927, atol=0.01)
    assert "standing feet" in " ".join(motion.provenance.notes)
    places, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    balls = places[:, [POSE_JOINT_NAMES.index(f"{side}ToeBase") for side in ("Left", "Right")]]
    speed = np.linalg.norm(np.diff(balls, axis=0), axis=-1) * fps
    calm = within(speed < 0.05, frames=3)
    assert speed[calm].max() < 0.01
    assert calm.any(axis=1).mean() > (0.999 if name in ("squat", "reach", "wave") else 0.8)
    np.testing.assert_allclose(balls[1:][calm][:, 1], 0.012, atol=0.002)  # the ball joint above its level sole
