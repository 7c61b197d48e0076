"""Kimodo motions: positions come back from our own rotations and bones, on real files and on made ones."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.kimodo import REDUCED_JOINT_NAMES, is_kimodo, read_kimodo
from soma_isaac.formats.npz import NpzArchive, npz_bytes
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, forward_kinematics, template_rest_offsets

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "soma_motion"
HELD = [POSE_JOINT_NAMES.index(name) for name in REDUCED_JOINT_NAMES]
BODY = [column for column, name in enumerate(REDUCED_JOINT_NAMES) if "End" not in name]
pytestmark = pytest.mark.py312


def made(frames: int = 6, seed: int = 0, scale: float = 1.1) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """A motion of a larger template person that moves only the reduced joints."""
    rng = np.random.default_rng(seed)
    rotations = np.broadcast_to(np.eye(3), (frames, 77, 3, 3)).copy()
    moved = [joint for joint in HELD if "End" not in POSE_JOINT_NAMES[joint]]
    angles = rng.normal(size=(frames * len(moved), 3)) * 0.4
    rotations[:, moved] = Rotation.from_rotvec(angles).as_matrix().reshape(frames, len(moved), 3, 3)
    place = rng.normal(size=(frames, 3)) + [0.0, 1.0, 0.0]
    positions, world = forward_kinematics(rotations, place, template_rest_offsets() * scale)
    return {"posed_joints": positions[:, HELD], "global_rot_mats": world[:, HELD]}, rotations, place


def read(arrays: dict[str, np.ndarray], source_fps: float | None = None):
    archive = NpzArchive(SourceBytes.of(npz_bytes(arrays), "k.npz"))
    assert is_kimodo(archive)
    return read_kimodo(archive, "k", source_fps)


def test_a_made_motion_comes_back():
    arrays, rotations, place = made()
    motion = read(arrays)
    np.testing.assert_allclose(motion.rotations, rotations, atol=1e-9)
    np.testing.assert_allclose(motion.root_translation, place, atol=1e-12)
    np.testing.assert_allclose(
        motion.identity.rest_offsets[1], [0.0, 1.1 * template_rest_offsets()[1, 1], 0.0], atol=1e-6
    )
    body = [joint for joint in range(1, 77) if not POSE_JOINT_NAMES[joint].endswith(("End", "Eye"))]
    fixed = [joint + 1 for joint in body if joint in HELD]
    np.testing.assert_allclose(motion.identity.rest_offsets[fixed], 1.1 * template_rest_offsets()[fixed], atol=1e-9)
    assert (motion.identity.model, motion.identity.rest_source) == ("soma", "file")


def test_the_frame_rate_is_the_formats_the_files_or_the_users():
    arrays, *_ = made()
    assert (read(arrays).fps, read(arrays).provenance.fps_key) == (30.0, "format")
    stated = read({**arrays, "fps": np.array([24])})
    assert (stated.fps, stated.provenance.fps_key) == (24.0, "fps")
    told = read({**arrays, "fps": np.array([24])}, source_fps=25.0)
    assert (told.fps, told.provenance.fps_key) == (25.0, "option")


def test_all_77_joints_are_read_too():
    _, rotations, place = made(seed=1)
    positions, world = forward_kinematics(rotations, place, template_rest_offsets())
    motion = read({"posed_joints": positions, "global_rot_mats": world, "foot_contacts": np.zeros((6, 4), dtype=bool)})
    np.testing.assert_allclose(motion.rotations, rotations, atol=1e-9)
    np.testing.assert_allclose(motion.identity.rest_offsets[2:], template_rest_offsets()[2:], atol=1e-9)


def test_legs_that_are_bent_in_the_files_t_pose_keep_their_places():
    """A T-pose with the shank tilted by 5 degrees: told from the template's, the knee's angle is geometric again."""
    arrays, rotations, place = made(seed=2, scale=1.0)
    tilt = Rotation.from_rotvec([np.radians(5.0), 0.0, 0.0]).as_matrix()
    shin = REDUCED_JOINT_NAMES.index("LeftShin")
    tilted = {**arrays, "global_rot_mats": arrays["global_rot_mats"].copy()}
    tilted["global_rot_mats"][:, shin] = tilted["global_rot_mats"][:, shin] @ tilt.T
    motion = read(tilted)
    positions, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    np.testing.assert_allclose(positions[:, HELD][:, BODY], arrays["posed_joints"][:, BODY], atol=1e-9)
    np.testing.assert_allclose(motion.rotations, rotations, atol=1e-6)


def test_what_is_refused():
    arrays, *_ = made()
    stretched = {**arrays, "posed_joints": arrays["posed_joints"].copy()}
    stretched["posed_joints"][4, REDUCED_JOINT_NAMES.index("LeftHand")] += 0.05
    with pytest.raises(InputRejected, match="bone to LeftHand is off by 0.0.* at frame 4"):
        read(stretched)
    mirrored = {**arrays, "global_rot_mats": arrays["global_rot_mats"] * [1.0, 1.0, -1.0]}
    with pytest.raises(InputRejected, match="not a rotation"):
        read(mirrored)
    with pytest.raises(InputRejected, match="29 joints"):
        read({key: value[:, :29] for key, value in arrays.items()})
    holed = {**arrays, "posed_joints": arrays["posed_joints"].copy()}
    holed["posed_joints"][2, 8, 1] = np.inf
    with pytest.raises(InputRejected, match="frame 2, joint LeftEye"):
        read(holed)


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared sample motions are not here")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("kimodo_*.npz")), ids=lambda path: path.stem)
def test_real_motions_keep_their_joints(path):
    archive = NpzArchive(SourceBytes.of(path.read_bytes(), str(path)))
    motion = read_kimodo(archive, path.name)
    stated = archive.numbers("posed_joints", (None, 30, 3))
    positions, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    error = np.linalg.norm(positions[:, HELD] - stated, axis=-1)
    assert error[:, BODY].max() < 1e-5
    assert error.max() < 1e-3  # finger tips: their joints in between are the template's, scaled
    lengths = np.linalg.norm(motion.identity.rest_offsets, axis=-1)
    np.testing.assert_allclose(lengths[2:], np.linalg.norm(template_rest_offsets(), axis=-1)[2:], rtol=0.1)
