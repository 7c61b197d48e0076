"""Presets: what they smooth, what they leave alone, and that they say so."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import geodesic_angle
from soma_isaac.motion.smooth import SMOOTHINGS, fast_joints, smooth
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, template_rest_offsets

pytestmark = pytest.mark.py312


def noisy(frames=60, fps=60.0, scale=0.05):
    rng = np.random.default_rng(9)
    rotations = Rotation.from_rotvec(rng.normal(scale=scale, size=(frames * 77, 3))).as_matrix()
    identity = MotionIdentity("soma", np.zeros(0), None, template_rest_offsets(), "template")
    return SomaMotion(
        fps,
        rotations.reshape(frames, 77, 3, 3),
        rng.normal(scale=scale, size=(frames, 3)),
        identity,
        Provenance("a", "0" * 64, "kimodo", "fps", "y", "format", ("n",)),
    )


def roughness(rotations):
    return geodesic_angle(rotations[:-1], rotations[1:]).mean(axis=0)


@pytest.mark.parametrize("preset", SMOOTHINGS)
def test_every_preset_smooths_every_joint_and_says_so(preset):
    motion = noisy()
    result = smooth(motion, preset)
    assert (roughness(result.rotations) < 0.7 * roughness(motion.rotations)).all()
    assert (
        np.abs(np.diff(result.root_translation, axis=0)).mean()
        < 0.5 * np.abs(np.diff(motion.root_translation, axis=0)).mean()
    )
    assert result.provenance.notes == ("n", f"smoothed ({preset})")
    assert result.identity is motion.identity and result.fps == motion.fps


def test_hands_are_smoothed_less_unless_told_otherwise():
    motion, fast = noisy(), np.array(fast_joints())
    gentle = roughness(smooth(motion).rotations)
    assert gentle[fast].min() > gentle[~fast].max()
    even = roughness(smooth(motion, hand_gains=False).rotations)
    assert even[fast].max() < gentle[fast].min()
    limbs = roughness(smooth(motion, limb_gains=True).rotations)
    assert limbs[POSE_JOINT_NAMES.index("LeftShin")] > 2.0 * gentle[POSE_JOINT_NAMES.index("LeftShin")]


def test_strong_is_stronger_and_rates_are_seen():
    motion = noisy()
    assert (roughness(smooth(motion, "strong").rotations) < roughness(smooth(motion).rotations)).all()
    slower = SomaMotion(15.0, motion.rotations, motion.root_translation, motion.identity, motion.provenance)
    assert roughness(smooth(slower).rotations).mean() > roughness(smooth(motion).rotations).mean()


def test_fast_joints_are_hands_and_fingers():
    names = {name for name, quick in zip(POSE_JOINT_NAMES, fast_joints(), strict=True) if quick}
    assert {"LeftHand", "RightHandThumbEnd", "LeftHandPinky2"} <= names
    assert not {"LeftForeArm", "Head", "LeftFoot"} & names


def test_unknown_preset():
    with pytest.raises(InputRejected, match="default, strong, one_euro"):
        smooth(noisy(2), "gentle")
