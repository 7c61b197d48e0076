"""Residuals of effectors and their derivatives."""

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION
from soma_isaac.learned.rows import (
    State,
    Targets,
    exponential,
    inverse_left_jacobian,
    jacobian,
    logarithm,
    pose_state,
)
from soma_isaac.learned.skeleton import body_kinematics, template_skeleton

RNG = np.random.default_rng(5)
START = Rotation.from_rotvec(RNG.normal(0, 0.5, (3 * 23, 3))).as_matrix().reshape(3, 23, 3, 3)
ROOT = RNG.normal(size=(3, 3))
AXES = 1.3 * START[:, 0]
OFFSETS = np.broadcast_to(template_skeleton().rest_offsets, (3, 23, 3))
KINDS = np.tile([POSITION, ROTATION, LOOK_AT], (3, 3))
DIRECTIONS = RNG.normal(size=(3, 9, 3))
TARGETS = Targets.of(
    KINDS,
    RNG.integers(0, 23, (3, 9)),
    RNG.normal(0, 2, (3, 9, 3)),
    Rotation.from_rotvec(RNG.normal(size=(27, 3))).as_matrix().reshape(3, 9, 3, 3),
    DIRECTIONS / np.linalg.norm(DIRECTIONS, axis=-1, keepdims=True),
    used=np.ones((3, 9), dtype=bool),
)


def state(step: np.ndarray) -> State:
    return pose_state(step, START, ROOT, AXES, OFFSETS, TARGETS)


def differences(step: np.ndarray, width: float = 1e-6) -> np.ndarray:
    columns = [
        (state(step + width * axis).residual - state(step - width * axis).residual) / (2 * width) for axis in np.eye(72)
    ]
    return np.stack(columns, axis=-1)


def test_kinematics_are_those_of_the_skeleton() -> None:
    now = state(RNG.normal(0, 0.3, (3, 72)))
    positions, world = body_kinematics(now.local, now.root, OFFSETS)
    np.testing.assert_allclose(now.root[:, None] + now.reach, positions, atol=1e-12)
    np.testing.assert_allclose(now.world[:, :23], world, atol=1e-12)


def test_jacobian_of_positions_and_rotations_and_slope_of_look_at() -> None:
    step = RNG.normal(0, 0.3, (3, 72))
    now = state(step)
    rows, numeric = jacobian(now, AXES, TARGETS), differences(step)
    exact = KINDS != LOOK_AT
    np.testing.assert_allclose(rows[exact], numeric[exact], atol=1e-7)
    # of a look-at only the slope of the squared angle is exact: the curvature across is left out on purpose
    slope, slope_numeric = (np.einsum("bni,bnik->bnk", now.residual, each)[~exact] for each in (rows, numeric))
    np.testing.assert_allclose(slope, slope_numeric, atol=1e-7)


def test_look_at_residual_is_the_angle_and_jacobian_is_whole_where_it_is_met() -> None:
    now = state(np.zeros((3, 72)))
    pose, column = np.nonzero(KINDS == LOOK_AT)
    joint = TARGETS.joint[pose, column]
    away = TARGETS.target[pose, column] - now.root[pose] - now.reach[pose, joint]
    facing = (now.world[pose, joint] @ TARGETS.direction[pose, column][..., None])[..., 0]
    cosine = (away * facing).sum(-1) / np.linalg.norm(away, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(now.residual[pose, column], axis=-1), np.arccos(cosine), atol=1e-7)
    met = Targets.of(*_met(now), used=np.ones((3, 9), dtype=bool))
    step, width = np.zeros((3, 72)), 1e-6
    rows = jacobian(pose_state(step, START, ROOT, AXES, OFFSETS, met), AXES, met)
    moves = [
        pose_state(step + sign * width * axis, START, ROOT, AXES, OFFSETS, met).residual
        for axis in np.eye(72)
        for sign in (1, -1)
    ]
    numeric = np.stack([(a - b) / (2 * width) for a, b in zip(moves[::2], moves[1::2], strict=True)], axis=-1)
    np.testing.assert_allclose(rows[KINDS == LOOK_AT], numeric[KINDS == LOOK_AT], atol=1e-6)


def _met(now: State) -> tuple[np.ndarray, ...]:
    """The same effectors, the look-at targets lying 2 m along the gaze."""
    pose = np.arange(3)[:, None]
    gaze = (now.world[pose, TARGETS.joint] @ TARGETS.direction[..., None])[..., 0]
    target = now.root[:, None] + now.reach[pose, TARGETS.joint] + 2.0 * gaze
    return KINDS, TARGETS.joint, target, TARGETS.rotation, TARGETS.direction


def test_logarithm_and_jacobians_near_nothing_and_near_a_half_turn() -> None:
    axes = RNG.normal(size=(400, 3))
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    for angle in (0.0, 1e-9, 1e-4, 0.003, 1.0, 3.0, 3.1, np.pi - 1e-7):
        vectors = angle * axes
        rotations, right = exponential(vectors)
        np.testing.assert_allclose(rotations, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-9)
        np.testing.assert_allclose(logarithm(rotations), vectors, atol=1e-6 if angle > 3 else 1e-9)
        # J_l = R J_r, and its inverse undoes it
        np.testing.assert_allclose(
            inverse_left_jacobian(vectors) @ rotations @ right, np.broadcast_to(np.eye(3), (400, 3, 3)), atol=1e-7
        )
