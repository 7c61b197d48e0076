"""BONES-SEED samples: transforms on the rig's axes become T-pose-relative, and the file's own places come back."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.npz import NpzArchive, npz_bytes
from soma_isaac.formats.seed import is_seed, read_seed
from soma_isaac.rig.skeleton import (
    PUBLIC_JOINT_NAMES,
    PUBLIC_PARENTS,
    forward_kinematics,
    template_rest_offsets,
    template_rest_rotations,
)

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "data" / "soma_motion"
pytestmark = pytest.mark.py312


def made(frames: int = 5, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A random pose in the file's own terms, by 4 x 4 transforms on the rig's axes, and its relative rotations."""
    rng = np.random.default_rng(seed)
    relative = Rotation.from_rotvec(rng.normal(size=(frames * 78, 3)) * 0.5).as_matrix().reshape(frames, 78, 3, 3)
    relative[:, 0] = np.eye(3)
    orient, offsets = template_rest_rotations(), template_rest_offsets()
    local = np.zeros((frames, 78, 7))
    world = np.zeros((frames, 78, 4, 4))
    reference = np.zeros((78, 7))
    reference[:, 6] = 1.0
    for joint, parent in enumerate(PUBLIC_PARENTS):
        parent_orient = np.eye(3) if parent < 0 else orient[parent]
        reference[joint, :3] = parent_orient.T @ offsets[joint]
        absolute = parent_orient.T @ relative[:, joint] @ orient[joint]
        local[:, joint, :3] = reference[joint, :3]
        if joint == 1:
            local[:, joint, :3] += rng.normal(size=(frames, 3))
        local[:, joint, 3:] = Rotation.from_matrix(absolute).as_quat()
        step = np.zeros((frames, 4, 4))
        step[:, :3, :3], step[:, :3, 3], step[:, 3, 3] = absolute, local[:, joint, :3], 1.0
        world[:, joint] = step if parent < 0 else world[:, parent] @ step
    arrays = {
        "fps": np.array(50),
        "scalar_first": np.array(False),
        "human_joint_names": np.array(PUBLIC_JOINT_NAMES),
        "human_parent_indices": np.array(PUBLIC_PARENTS),
        "human_up_axis": np.array([0.0, 0.0, 1.0]),
        "human_reference_local_transforms": reference,
        "human_local_transforms": local,
        "human_global_pos": world[:, :, :3, 3],
    }
    return arrays, relative[:, 1:]


def read(arrays: dict[str, np.ndarray], source_fps: float | None = None):
    archive = NpzArchive(SourceBytes.of(npz_bytes(arrays), "s.npz"))
    assert is_seed(archive)
    return read_seed(archive, "s", source_fps)


def test_a_made_pose_comes_back():
    arrays, relative = made()
    motion = read(arrays)
    np.testing.assert_allclose(motion.rotations, relative, atol=1e-9)
    np.testing.assert_allclose(motion.root_translation, arrays["human_local_transforms"][:, 1, :3])
    np.testing.assert_allclose(motion.identity.rest_offsets, template_rest_offsets(), atol=1e-9)
    assert (motion.fps, motion.provenance.up_axis, motion.provenance.up_axis_source) == (50.0, "y", "format")


def test_scalar_first_is_honoured():
    arrays, relative = made(seed=1)
    turned = arrays["human_local_transforms"].copy()
    turned[..., 3:] = turned[..., [6, 3, 4, 5]]
    motion = read({**arrays, "human_local_transforms": turned, "scalar_first": np.array(True)})
    np.testing.assert_allclose(motion.rotations, relative, atol=1e-9)
    with pytest.raises(InputRejected, match="human_global_pos"):  # the flag denied: another motion
        read({**arrays, "human_local_transforms": turned})


def test_what_is_refused():
    arrays, _ = made()
    with pytest.raises(InputRejected, match="frame rate"):
        read({key: value for key, value in arrays.items() if key != "fps"})
    names = arrays["human_joint_names"].copy()
    names[[14, 42]] = names[[42, 14]]
    with pytest.raises(InputRejected, match="joints"):
        read({**arrays, "human_joint_names": names})
    loose = arrays["human_local_transforms"].copy()
    loose[3, 7, 3:] *= 1.1
    with pytest.raises(InputRejected, match=r"unit quaternion at index \(3, 7\)"):
        read({**arrays, "human_local_transforms": loose})
    moved = arrays["human_global_pos"].copy()
    moved[2, 20] += 0.1
    with pytest.raises(InputRejected, match=f"puts? {PUBLIC_JOINT_NAMES[20]}.*frame 2"):
        read({**arrays, "human_global_pos": moved})


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the shared sample motions are not here")
@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*_A???.npz")), ids=lambda path: path.stem)
def test_real_samples_keep_their_places(path):
    archive = NpzArchive(SourceBytes.of(path.read_bytes(), str(path)))
    motion = read_seed(archive, path.name)
    stated = archive.numbers("human_global_pos", (None, 78, 3))[:, 1:]
    positions, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    assert np.abs(positions - stated).max() < 1e-5
    upright = motion.rotations[:, 0, 1, 1]  # the up axis is Y: the person stands along it
    assert np.median(upright) > 0.9
