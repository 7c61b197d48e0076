"""Bone scales in SOMA-X's order, and the overall scale."""

import numpy as np
import pytest

from soma_isaac.body.scales import (
    BONE_SCALE_JOINTS,
    BONE_SCALE_JOINTS_56,
    BONE_SCALE_SEGMENTS,
    global_scales,
    helper_scales,
    joint_scales,
)
from soma_isaac.errors import InputRejected
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES


def test_the_order_is_by_public_joint_then_legs():
    assert len(BONE_SCALE_JOINTS) == len(set(BONE_SCALE_JOINTS)) == 60
    arms = BONE_SCALE_JOINTS[:54]
    assert list(arms) == sorted(arms, key=PUBLIC_JOINT_NAMES.index)
    assert BONE_SCALE_JOINTS[:4] == ("LeftArm", "LeftForeArm", "LeftHand", "LeftHandThumb1")
    assert BONE_SCALE_JOINTS[54:] == ("LeftShin", "RightShin", "LeftFoot", "RightFoot", "LeftToeBase", "RightToeBase")
    assert len(BONE_SCALE_JOINTS_56) == 56 and BONE_SCALE_JOINTS_56[-1] == "RightShin"
    assert dict((joint, parent) for parent, joint in BONE_SCALE_SEGMENTS)["LeftForeArm"] == "LeftArm"


def test_scales_land_on_their_joints_and_56_leave_the_feet_alone():
    values = np.arange(1.0, 61.0)[None]
    scales = joint_scales(values)[0]
    for name, value in zip(BONE_SCALE_JOINTS, values[0], strict=True):
        assert scales[PUBLIC_JOINT_NAMES.index(name)] == value
    others = [name not in BONE_SCALE_JOINTS for name in PUBLIC_JOINT_NAMES]
    assert (scales[others] == 1.0).all() and sum(others) == 18
    shorter = joint_scales(values[:, :56])[0]
    feet = [PUBLIC_JOINT_NAMES.index(name) for name in BONE_SCALE_JOINTS[56:]]
    assert (shorter[feet] == 1.0).all()
    np.testing.assert_array_equal(np.delete(shorter, feet), np.delete(scales, feet))
    np.testing.assert_array_equal(joint_scales(None), np.ones((1, 78)))


def test_helpers_take_the_scale_of_their_segments_end(rig):
    scales = np.ones((2, 78))
    scales[1, PUBLIC_JOINT_NAMES.index("LeftForeArm")] = 1.5
    helpers = helper_scales(scales, rig.twist)
    assert helpers.shape == (2, 32)
    stretched = [name for name, scale in zip(rig.twist.joint_names, helpers[1], strict=True) if scale == 1.5]
    assert stretched == [f"LeftArmTwist{number}" for number in (1, 2, 3, 4)]
    assert (helpers[0] == 1.0).all()


def test_overall_scale():
    np.testing.assert_array_equal(global_scales(1.2, 3), [1.2, 1.2, 1.2])
    np.testing.assert_array_equal(global_scales([0.9, 1.1], 2), [0.9, 1.1])


@pytest.mark.parametrize("bad", [np.ones(60), np.ones((1, 57)), np.zeros((1, 60)), np.full((2, 56), np.nan)])
def test_wrong_bone_scales_are_refused(bad):
    with pytest.raises(InputRejected, match="bone scales"):
        joint_scales(bad)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.inf, [1.0, 1.0]])
def test_wrong_overall_scales_are_refused(bad):
    with pytest.raises(InputRejected, match="global_scale"):
        global_scales(bad, 3)
