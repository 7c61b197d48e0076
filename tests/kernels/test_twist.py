"""Twist kernels against the oracle's formulas: every mode, every axis, and the neighbourhood of a half turn."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.kernels.twist import EULER, TWIST, Channels, Helpers, launch_helpers, launch_twist_channels
from tests.oracles.body import euler_angle, swing_twist_angle


def array(values, dtype):
    return wp.array(np.asarray(values, np.int32 if dtype is wp.int32 else np.float32), dtype=dtype, device="cpu")


def rigid(rotations, positions=None):
    transforms = np.tile(np.eye(4), (*rotations.shape[:-2], 1, 1))
    transforms[..., :3, :3] = rotations
    if positions is not None:
        transforms[..., :3, 3] = positions
    return transforms


def channel_table(methods, axes, signs, left, right):
    count = len(methods)
    return Channels(
        joints=array([1] * count, wp.int32),
        references=array([0] * count, wp.int32),
        methods=array(methods, wp.int32),
        axes=array(axes, wp.int32),
        signs=array(signs, wp.float32),
        left=array(left, wp.mat33),
        right=array(right, wp.mat33),
    )


def angles_of(table, transforms):
    count = len(table.joints)
    out = wp.full((len(transforms), count), np.inf, dtype=wp.float32, device="cpu")
    launch_twist_channels(table, transforms=array(transforms, wp.mat44), angles_out=out)
    return out.numpy()


@pytest.mark.parametrize("method", [EULER, TWIST])
def test_channels_agree_with_the_formulas(method):
    pairs = Rotation.random(80, random_state=1).as_matrix().reshape(40, 2, 3, 3)
    left, right = Rotation.random(6, random_state=2).as_matrix().reshape(2, 1, 3, 3, 3)
    signs = [1.0, -1.0, 1.0]
    angles = angles_of(channel_table([method] * 3, [0, 1, 2], signs, left, right), rigid(pairs))
    formula = euler_angle if method == EULER else swing_twist_angle
    for body, (reference, joint) in enumerate(pairs):
        for axis in range(3):
            expected = signs[axis] * formula(left[0, axis] @ reference.T @ joint @ right[0, axis], axis)
            difference = (angles[body, axis] - expected + np.pi) % (2.0 * np.pi) - np.pi
            assert abs(difference) < 2e-5


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_pure_twist_is_read_exactly_up_to_a_half_turn(axis):
    # The last ones are within float32's resolution of pi; beyond pi the reading jumps by a full turn.
    turns = np.array([1e-6, 0.5, 3.0, np.pi - 1e-2, np.pi - 1e-4, np.pi - 2e-6])
    turns = np.concatenate([turns, -turns])
    rotations = Rotation.from_rotvec(turns[:, None] * np.eye(3)[axis]).as_matrix()
    pairs = np.stack([np.tile(np.eye(3), (len(turns), 1, 1)), rotations], axis=1)
    eye = np.eye(3)[None, None]
    angles = angles_of(channel_table([TWIST], [axis], [1.0], eye, eye), rigid(pairs))[:, 0]
    np.testing.assert_allclose(angles, turns, atol=1e-6)


def test_twist_is_stable_where_the_swing_is_a_half_turn():
    # w of the quaternion is zero there; a diagonal-based extraction loses its signs.
    eye = np.eye(3)[None, None]
    for swing in (np.pi - 1e-3, np.pi - 1e-5):
        for twist in (-0.4, 0.0, 0.3):
            rotation = Rotation.from_rotvec([0.0, 0.0, swing]) * Rotation.from_rotvec([twist, 0.0, 0.0])
            pair = np.stack([np.eye(3), rotation.as_matrix()])[None]
            angle = angles_of(channel_table([TWIST], [0], [1.0], eye, eye), rigid(pair))[0, 0]
            assert abs(angle - swing_twist_angle(rotation.as_matrix(), 0)) < 1e-5


def helper_table(axes, signs, entry_rows, bind_rotations, bind_offsets):
    return Helpers(
        parents=array([0, 1], wp.int32),
        axes=array(axes, wp.int32),
        signs=array(signs, wp.float32),
        entry_offsets=array(np.cumsum([0, *map(len, entry_rows)]), wp.int32),
        entry_channels=array([channel for row in entry_rows for channel, _ in row], wp.int32),
        entry_factors=array([factor for row in entry_rows for _, factor in row], wp.float32),
        bind_rotations=array(bind_rotations, wp.mat33),
        bind_offsets=array(bind_offsets, wp.vec3),
    )


@pytest.mark.parametrize("axes", [(0, 1), (2, 0)])
@pytest.mark.parametrize("identities", [1, 5])
def test_helpers_turn_about_their_axis_below_their_parent(axes, identities):
    rng = np.random.default_rng(3)
    batch, signs = 5, (1.0, -1.0)
    parents = rigid(
        Rotation.random(2 * batch, random_state=4).as_matrix().reshape(batch, 2, 3, 3), rng.normal(size=(batch, 2, 3))
    )
    bind_rotations = Rotation.random(2 * identities, random_state=5).as_matrix().reshape(identities, 2, 3, 3)
    bind_offsets = rng.normal(size=(identities, 2, 3))
    angles, rows = rng.normal(size=(batch, 2)), [[(0, 0.25), (1, -0.75)], [(1, 0.5)]]
    out = wp.full((batch, 2), wp.mat44(*[np.inf] * 16), dtype=wp.mat44, device="cpu")
    launch_helpers(
        helper_table(axes, signs, rows, bind_rotations, bind_offsets),
        transforms=array(parents, wp.mat44),
        angles=array(angles, wp.float32),
        helpers_out=out,
    )
    for body in range(batch):
        for helper in range(2):
            angle = signs[helper] * sum(factor * angles[body, channel] for channel, factor in rows[helper])
            turn = Rotation.from_rotvec(angle * np.eye(3)[axes[helper]]).as_matrix()
            row = body % identities
            local = rigid(bind_rotations[row, helper] @ turn, bind_offsets[row, helper])
            np.testing.assert_allclose(out.numpy()[body, helper], parents[body, helper] @ local, atol=2e-6)


def test_a_helper_without_entries_is_rigid():
    parents = rigid(Rotation.random(2, random_state=6).as_matrix().reshape(1, 2, 3, 3))
    eye = np.tile(np.eye(3), (1, 2, 1, 1))
    out = wp.full((1, 2), wp.mat44(*[np.inf] * 16), dtype=wp.mat44, device="cpu")
    launch_helpers(
        helper_table((0, 0), (1.0, 1.0), [[], []], eye, np.zeros((1, 2, 3))),
        transforms=array(parents, wp.mat44),
        angles=wp.full((1, 1), 2.0, dtype=wp.float32, device="cpu"),
        helpers_out=out,
    )
    np.testing.assert_allclose(out.numpy()[0], parents[0], atol=1e-6)


def test_misfits_are_refused_by_name():
    eye = np.eye(3)[None, None]
    table = channel_table([TWIST], [0], [1.0], eye, eye)
    with pytest.raises(InputRejected, match="transforms"):
        launch_twist_channels(
            table,
            transforms=array(np.zeros((2, 2, 4, 4)), wp.mat44),
            angles_out=wp.zeros((3, 1), dtype=wp.float32, device="cpu"),
        )
    with pytest.raises(InputRejected, match="joints"):
        launch_twist_channels(
            table,
            transforms=array(np.zeros((1, 2, 4, 4)), wp.mat44),
            angles_out=wp.zeros((1, 2), dtype=wp.float32, device="cpu"),
        )
