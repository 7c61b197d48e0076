"""Reference orientations, conversions between them, and mirror images."""

import numpy as np
import pytest

from soma_isaac.body.orientations import (
    MIRROR_TWINS,
    absolute_from_relative,
    convert_reference,
    mirrored_motion,
    mirrored_points,
    mirrored_rotations,
    mirrored_transforms,
    reference_orientations,
    relative_from_absolute,
)
from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, forward_kinematics, template_rest_offsets


def random_rotations(count, seed=0, spread=0.6):
    return matrix_from_rotvec(np.random.default_rng(seed).normal(scale=spread, size=(count, 77, 3)))


def random_reference(seed=1):
    reference = reference_orientations()
    reference[1:] = reference[1:] @ random_rotations(1, seed)[0]
    return reference


def motion_of(rotations, transl, offsets):
    return SomaMotion(
        fps=30.0,
        rotations=rotations,
        root_translation=transl,
        identity=MotionIdentity("soma", np.zeros(0), None, offsets, "file"),
        provenance=Provenance("made up", "0", "test", "option", "y", "format"),
    )


def test_the_rig_and_the_skeleton_file_hold_the_same_reference(rig):
    np.testing.assert_allclose(reference_orientations(rig), reference_orientations(), atol=1e-6)
    np.testing.assert_array_equal(reference_orientations(rig)[0], np.eye(3))


def test_conversions_are_inverse_and_chain():
    rotations, first, second, third = random_rotations(4), *(random_reference(seed) for seed in (1, 2, 3))
    np.testing.assert_allclose(
        relative_from_absolute(absolute_from_relative(rotations, first), first), rotations, atol=1e-12
    )
    by_two_steps = convert_reference(convert_reference(rotations, first, second), second, third)
    np.testing.assert_allclose(by_two_steps, convert_reference(rotations, first, third), atol=1e-12)
    assert np.abs(by_two_steps - rotations).max() > 0.1


def test_absolute_rotations_pose_the_body_as_the_relative_ones_do(rig, body, identity, random_poses):
    _, matrices, transl = random_poses(3, seed=4)
    absolute = absolute_from_relative(matrices, reference_orientations(rig))
    relative_pose = body.pose(identity, matrices, transl)
    absolute_pose = body.pose(identity, absolute, transl, absolute=True)
    np.testing.assert_allclose(relative_pose.vertices.numpy(), absolute_pose.vertices.numpy(), atol=5e-6)


def test_a_motion_stored_against_another_t_pose_stays_valid(rig, body, identity):
    # Against a reference with other joint frames the same absolute pose has other relative numbers.
    template, other = reference_orientations(rig), random_reference(5)
    absolute = absolute_from_relative(random_rotations(2, seed=6), template)
    stored = relative_from_absolute(absolute, other)
    converted = convert_reference(stored, other, template)
    ours = body.pose(identity, converted).vertices.numpy()
    expected = body.pose(identity, absolute, absolute=True).vertices.numpy()
    np.testing.assert_allclose(ours, expected, atol=5e-6)
    assert np.abs(body.pose(identity, stored).vertices.numpy() - expected).max() > 0.1


def test_references_that_are_none_are_refused():
    good = reference_orientations()
    transforms = np.tile(np.eye(4), (78, 1, 1))
    transforms[:, :3, :3] = good
    np.testing.assert_array_equal(reference_orientations(transforms), good)
    for broken, words in (
        (good[1:], "expected"),
        (good * 1.01, "not a rotation"),
        (good * [-1.0, 1.0, 1.0], "not a rotation"),
        (np.where(np.arange(78)[:, None, None] == 5, np.nan, good), "not finite"),
        (np.concatenate([good[:0:-1][:1], good[1:]]), "Root is not the identity"),
    ):
        with pytest.raises(InputRejected, match=words):
            reference_orientations(broken)


def test_mirrored_twice_is_the_original():
    rotations = random_rotations(2)
    np.testing.assert_array_equal(mirrored_rotations(mirrored_rotations(rotations)), rotations)
    transforms = np.random.default_rng(2).normal(size=(3, 78, 4, 4))
    np.testing.assert_array_equal(mirrored_transforms(mirrored_transforms(transforms)), transforms)
    assert (MIRROR_TWINS[MIRROR_TWINS] == np.arange(78)).all()
    pairs = {PUBLIC_JOINT_NAMES[j]: PUBLIC_JOINT_NAMES[twin] for j, twin in enumerate(MIRROR_TWINS)}
    assert pairs["LeftEye"] == "RightEye" and pairs["Head"] == "Head" and pairs["RightToeEnd"] == "LeftToeEnd"
    with pytest.raises(InputRejected, match="expected"):
        mirrored_rotations(rotations[:, 1:])
    with pytest.raises(InputRejected, match="expected"):
        mirrored_transforms(transforms[:, 1:])


def test_transforms_of_a_mirrored_pose_are_the_mirrored_transforms(rig, body, identity):
    rotations, transl = random_rotations(3, seed=7), np.random.default_rng(8).normal(size=(3, 3))
    before = body.pose(identity, rotations, transl).transforms.numpy()
    after = body.pose(identity, mirrored_rotations(rotations), mirrored_points(transl)).transforms.numpy()
    expected = mirrored_transforms(before)
    # The template's joints are mirror images to 0.06 mm, its T-pose frames to some 1e-4.
    np.testing.assert_allclose(after[..., :3, 3], expected[..., :3, 3], atol=2e-3)
    np.testing.assert_allclose(after[..., :3, :3], expected[..., :3, :3], atol=2e-3)
    assert np.linalg.det(expected[..., :3, :3]).min() > 0.99
    np.testing.assert_array_equal(expected[:, 0], np.broadcast_to(np.eye(4), (3, 4, 4)))


def test_a_mirrored_motion_has_mirrored_joints():
    rng = np.random.default_rng(9)
    motion = motion_of(
        random_rotations(5, seed=10), rng.normal(size=(5, 3)), template_rest_offsets() + rng.normal(size=(78, 3)) * 0.02
    )
    mirrored = mirrored_motion(motion)
    joints, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    found, _ = forward_kinematics(mirrored.rotations, mirrored.root_translation, mirrored.identity.rest_offsets)
    np.testing.assert_allclose(found, mirrored_points(joints)[:, MIRROR_TWINS[1:] - 1], atol=1e-12)
    assert mirrored.provenance.notes[-1].startswith("Mirrored")
    again = mirrored_motion(mirrored)
    np.testing.assert_array_equal(again.rotations, motion.rotations)
    np.testing.assert_array_equal(again.identity.rest_offsets, motion.identity.rest_offsets)
