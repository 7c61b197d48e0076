"""Joint limits of the exact stage."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import Effectors, position
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.refine import refine
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, body_kinematics, template_skeleton

SKELETON = template_skeleton()
STILL = BodyPose(np.broadcast_to(np.eye(3), (1, 23, 3, 3)), np.array([[0.0, 1.0, 0.0]]))
ARM, FOREARM = BODY_JOINT_NAMES.index("LeftArm"), BODY_JOINT_NAMES.index("LeftForeArm")


def vectors(pose: BodyPose) -> np.ndarray:
    return Rotation.from_matrix(pose.rotations.reshape(-1, 3, 3)).as_rotvec().reshape(-1, 23, 3)


def hand_goes(*target: float) -> Effectors:
    return Effectors.of([position("Hips", (0, 1, 0)), position("Head", (0, 1.55, 0.02)), position("LeftHand", target)])


def test_ranges_of_poses() -> None:
    rng = np.random.default_rng(0)
    seen = rng.uniform(-1.0, 0.5, (5000, 23, 3))
    limits = JointLimits.from_poses(
        Rotation.from_rotvec(seen.reshape(-1, 3)).as_matrix().reshape(5000, 23, 3, 3), percentile=1.0, margin=0.2
    )
    np.testing.assert_allclose(limits.lower[1:], -1.0 + 0.015 - 0.2, atol=0.02)
    np.testing.assert_allclose(limits.upper[1:], 0.5 - 0.015 + 0.2, atol=0.02)
    assert np.isinf(limits.lower[0]).all()
    assert np.isinf(limits.upper[0]).all()


def test_a_target_reachable_within_the_limits_is_met_within_them() -> None:
    target = (0.35, 1.25, 0.25)
    free = refine(STILL, hand_goes(*target), SKELETON)
    wanted = np.abs(vectors(free.pose)[0, ARM])
    upper = np.full((23, 3), 2.5)
    lower = -upper
    worst = int(wanted.argmax())
    lower[ARM, worst], upper[ARM, worst] = -0.5 * wanted[worst], 0.5 * wanted[worst]
    limits = JointLimits(lower, upper)
    held = refine(STILL, hand_goes(*target), SKELETON, limits=limits)
    assert free.reached.all()
    assert held.reached.all()
    assert limits.excess(free.pose.rotations).max() > 0.1
    assert limits.excess(held.pose.rotations).max() < 1e-12
    # the limit is pressed against, and the others bend more instead
    np.testing.assert_allclose(abs(vectors(held.pose)[0, ARM, worst]), 0.5 * wanted[worst], atol=1e-3)


def test_limits_win_over_targets() -> None:
    """Arms that cannot turn keep the hand from a target at the hips; the rest of the body comes as near as it can."""
    lower, upper = np.full((23, 3), -0.05), np.full((23, 3), 0.05)
    limits = JointLimits(lower, upper)
    held = refine(STILL, hand_goes(0.2, 0.9, 0.2), SKELETON, limits=limits)
    assert not held.reached.all()
    assert limits.excess(held.pose.rotations).max() < 1e-12
    assert np.isfinite(held.residual).all()


def test_a_proposal_outside_is_pulled_back_even_if_all_targets_are_met() -> None:
    bent = STILL.rotations.copy()
    bent[0, FOREARM] = Rotation.from_rotvec([0.0, 1.5, 0.0]).as_matrix()
    pose = BodyPose(bent, STILL.root_position)
    where, _ = body_kinematics(pose.rotations, pose.root_position, SKELETON.rest_offsets)
    asked = Effectors.of([position("Hips", (0, 1, 0)), position("LeftHand", where[0, FOREARM + 1])])
    upper = np.full((23, 3), 2.5)
    upper[FOREARM, 1] = 1.3
    limits = JointLimits(-np.full((23, 3), 2.5), upper)
    held = refine(pose, asked, SKELETON, limits=limits)
    assert held.reached.all()
    assert limits.excess(held.pose.rotations).max() < 1e-12
    np.testing.assert_allclose(vectors(held.pose)[0, FOREARM, 1], 1.3, atol=1e-3)


def test_limits_that_nothing_touches_change_nothing() -> None:
    wide = JointLimits(-np.full((23, 3), 2.9), np.full((23, 3), 2.9))
    asked = hand_goes(0.35, 1.25, 0.25)
    with_limits, without = refine(STILL, asked, SKELETON, limits=wide), refine(STILL, asked, SKELETON)
    np.testing.assert_array_equal(with_limits.pose.rotations, without.pose.rotations)


def test_random_poses_within_random_limits_are_found_again() -> None:
    """Proposals outside, truths inside: targets and limits are met together for nearly all."""
    rng = np.random.default_rng(4)
    limits = JointLimits(-rng.uniform(0.2, 1.0, (23, 3)), rng.uniform(0.2, 1.0, (23, 3)))
    inside = rng.uniform(np.maximum(limits.lower, -1.0), np.minimum(limits.upper, 1.0), (60, 23, 3))
    true = Rotation.from_rotvec(inside.reshape(-1, 3)).as_matrix().reshape(60, 23, 3, 3)
    off = Rotation.from_rotvec(rng.normal(0, 0.3, (60 * 23, 3))).as_matrix().reshape(60, 23, 3, 3)
    where, _ = body_kinematics(true, np.zeros((60, 3)), SKELETON.rest_offsets)
    names = ("Hips", "Head", "LeftHand", "RightHand", "LeftFoot", "RightFoot")
    sets = [[position(n, row[BODY_JOINT_NAMES.index(n)]) for n in names] for row in where]
    held = refine(BodyPose(true @ off, np.zeros((60, 3))), Effectors.of(*sets), SKELETON, limits=limits)
    assert limits.excess(true @ off).max(axis=(1, 2)).min() > 0.0
    assert limits.excess(held.pose.rotations).max() < 1e-12
    assert held.reached.all(axis=1).mean() > 0.95


def test_what_a_recording_does_not_move_is_not_held_for_rigid() -> None:
    """A skeleton without clavicles shows none of their range; a knee's stop is nobody's to widen."""
    pytest.importorskip("torch")
    from soma_isaac.learned import finishing
    from soma_isaac.learned.poses import PoseSet

    seen = np.random.default_rng(1).uniform(-0.3, 0.3, (400, 23, 3))
    seen[:, finishing.CLAVICLES] = 0.0
    seen[:, finishing.KNEES, 0] += 0.3
    rotations = Rotation.from_rotvec(seen.reshape(-1, 3)).as_matrix().reshape(400, 23, 3, 3)
    lower, upper = finishing.limits_of(PoseSet(rotations.astype(np.float32), np.repeat("a", 400)))
    np.testing.assert_allclose(upper[finishing.CLAVICLES], finishing.CLAVICLE_RAD, atol=1e-6)
    np.testing.assert_allclose(lower[finishing.CLAVICLES], -finishing.CLAVICLE_RAD, atol=1e-6)
    np.testing.assert_allclose(lower[finishing.KNEES, 0], -finishing.KNEE_BACK_RAD, atol=1e-6)
    np.testing.assert_allclose(upper[FOREARM], 0.3 + finishing.LIMIT_MARGIN, atol=0.02)


def test_bad_limits_are_refused() -> None:
    lower = np.full((23, 3), -0.1)
    lower[4, 1] = 0.3
    with pytest.raises(InputRejected, match="joint 4 has a lower limit above"):
        JointLimits(lower, np.full((23, 3), 0.1))
    with pytest.raises(InputRejected, match="beyond 3 rad"):
        JointLimits(np.full((23, 3), -0.1), np.full((23, 3), 3.1))
