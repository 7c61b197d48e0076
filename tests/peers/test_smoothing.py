"""Smoothing beside py-soma-x 0.3.4's ``smooth_pose``: the same gains give the same motion."""

import importlib.metadata
import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.math.so3 import geodesic_angle
from soma_isaac.motion.smooth import smooth
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS, template_rest_offsets

pytestmark = pytest.mark.peer
FRAMES = 150


@pytest.fixture(scope="module")
def peer():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("soma", reason="py-soma-x is not installed; make peers builds environments that have it")
    if tuple(int(n) for n in importlib.metadata.version("py-soma-x").split(".")) < (0, 3):
        pytest.skip("py-soma-x before 0.3 has no smoothing")
    torch.set_num_threads(1)
    return torch


def clip(fps):
    rng = np.random.default_rng(3)
    walk = np.cumsum(rng.normal(scale=0.08, size=(FRAMES, 77, 3)), axis=0)
    rotations = (Rotation.from_rotvec(walk.reshape(-1, 3))).as_matrix().reshape(FRAMES, 77, 3, 3)
    identity = MotionIdentity("soma", np.zeros(0), None, template_rest_offsets(), "template")
    place = np.cumsum(rng.normal(scale=0.05, size=(FRAMES, 3)), axis=0)
    return SomaMotion(fps, rotations, place, identity, Provenance("a", "0" * 64, "kimodo", "fps", "y", "format"))


@pytest.mark.parametrize("preset", ["default", "strong"])
@pytest.mark.parametrize("fps", [30.0, 120.0])
@pytest.mark.parametrize("options", [{}, {"limb_gains": True}, {"hand_gains": False}], ids=str)
def test_same_motion(peer, preset, fps, options):
    from soma.fitting.rts_smoothing import smooth_pose

    motion = clip(fps)
    names = {"limb_gains": "include_limb_gains", "hand_gains": "use_hand_gains"}
    begin = time.process_time()
    rotations, place = smooth_pose(
        peer.from_numpy(motion.rotations.copy()),
        peer.from_numpy(motion.root_translation.copy()),
        joint_names=list(POSE_JOINT_NAMES),
        joint_parent_ids=list(POSE_PARENTS),
        fps=fps,
        preset=preset,
        rotation_convention="relative",
        **{names[key]: value for key, value in options.items()},
    )
    middle = time.process_time()
    ours = smooth(motion, preset, **options)
    print(f"CPU: peer {middle - begin:.3f} s, ours {time.process_time() - middle:.3f} s")
    assert geodesic_angle(rotations.numpy(), ours.rotations).max() < 1e-6
    np.testing.assert_allclose(place.numpy(), ours.root_translation, atol=1e-9)
