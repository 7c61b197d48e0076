"""Placement of a still pose by heading and centroid."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.learned import BODY_JOINT_NAMES, Effectors, look_at, position, rotation
from soma_isaac.learned.predictor import StillPose, placement, turn_about_y
from soma_isaac.learned.skeleton import MIRROR, body_kinematics, template_skeleton


def pose(seed: int = 0) -> np.ndarray:
    """Random local rotations [23, 3, 3] of up to a radian."""
    vectors = np.random.default_rng(seed).uniform(-0.6, 0.6, (23, 3))
    return Rotation.from_rotvec(vectors).as_matrix()


def test_a_still_pose_finds_back_its_heading_and_place() -> None:
    still, skeleton = pose(), template_skeleton()
    turned = still.copy()
    turned[0] = Rotation.from_euler("y", 2.2).as_matrix() @ still[0]
    root = np.array([[1.5, 0.9, -3.0]])
    where, world = body_kinematics(turned[None], root, skeleton.rest_offsets)
    asked = Effectors.of(
        [
            position("LeftHand", where[0, BODY_JOINT_NAMES.index("LeftHand")]),
            position("RightFoot", where[0, BODY_JOINT_NAMES.index("RightFoot")]),
            rotation("Chest", world[0, BODY_JOINT_NAMES.index("Chest")]),
        ]
    )
    found = StillPose(still).predict(asked, skeleton)
    np.testing.assert_allclose(found.rotations[0], turned, atol=1e-12)
    np.testing.assert_allclose(found.root_position, root, atol=1e-12)


def test_placement_turns_with_the_effectors_and_ignores_padding() -> None:
    points = np.random.default_rng(3).normal(size=(4, 3))
    names = ("Hips", "LeftHand", "RightHand", "Head")
    yaw = turn_about_y(np.cos(np.array([0.7])), np.sin(np.array([0.7])))[0]
    where, world = body_kinematics(pose()[None], np.zeros((1, 3)), template_skeleton().rest_offsets)
    plain = [position(name, point) for name, point in zip(names, points, strict=True)]
    turned = [position(name, yaw @ point + 5) for name, point in zip(names, points, strict=True)]
    asked = Effectors.of(plain, turned, [*plain, position("LeftFoot", (9, 9, 9), weight=0.0)])
    turns, centroid, _ = placement(asked, where[0], world[0])
    np.testing.assert_allclose(turns[1], yaw @ turns[0], atol=1e-12)
    np.testing.assert_allclose(centroid[1], yaw @ centroid[0] + 5, atol=1e-12)
    np.testing.assert_array_equal(turns[2], turns[0])


def test_effectors_say_what_is_wrong_with_them() -> None:
    with pytest.raises(InputRejected, match="no body joint named 'Hand'"):
        position("Hand", (0, 0, 0))
    with pytest.raises(InputRejected, match="set 1 has no position effector"):
        Effectors.of([position("Hips", (0, 1, 0))], [look_at("Head", (0, 1, 2))])
    with pytest.raises(InputRejected, match="direction has no length"):
        look_at("Head", (0, 1, 2), direction=(0, 0, 0))
    with pytest.raises(InputRejected, match="effector 0 of set 0 has a negative tolerance"):
        Effectors.of([position("Hips", (0, 1, 0), tolerance=-1.0)])


def test_mirror_pairs_left_with_right() -> None:
    assert [MIRROR[MIRROR[joint]] for joint in range(23)] == list(range(23))
    assert BODY_JOINT_NAMES[MIRROR[BODY_JOINT_NAMES.index("LeftShin")]] == "RightShin"
    assert MIRROR[0] == 0
