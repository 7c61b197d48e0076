"""Residuals of effectors and how they change with a pose: the rows of the exact stage's equations.

A pose is a tangent step ``e`` [72] from a proposed pose: the root's move (3, in the proposed Hips' own axes, divided by
the body's scale) and a rotation vector per joint (23 x 3), ``R_j = R0_j exp(w_j)``. Every row of the Jacobian is a
spatial covector ``[a - d [p_j]x, d]`` of the effector against the spatial motion ``[q, p_k x q]`` of a joint axis, so
that all rows of a pose are one matrix product, masked by who is whose ancestor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BODY_PARENTS
from soma_isaac.math.so3 import rotvec_from_matrix

JOINTS = len(BODY_JOINT_NAMES)
TANGENT = 3 + 3 * JOINTS
"""Size of a tangent step."""

NEAREST_LOOK_M = 1e-3
"""A look-at target nearer to its joint than this is treated as if it were this far away."""

_SMALL = 1e-5
_NEAR_HALF_TURN = -0.99


def _ancestors() -> np.ndarray:
    table = np.zeros((JOINTS, JOINTS))
    for joint, parent in enumerate(BODY_PARENTS):
        if parent >= 0:
            table[joint] = table[parent]
        table[joint, joint] = 1.0
    return table


def _jumps() -> list[np.ndarray]:
    """Ancestor 1, 2 and 4 generations up, index 23 standing for none: three products compose every chain."""
    up = np.array([*(parent if parent >= 0 else JOINTS for parent in BODY_PARENTS), JOINTS])
    jumps = [up]
    while (jumps[-1][:JOINTS] < JOINTS).any():
        jumps.append(jumps[-1][jumps[-1]])
    return jumps[:-1]


ANCESTORS = _ancestors()
"""[23, 23], 1 where the column's joint is the row's joint or one of its ancestors."""

_JUMPS = _jumps()
_ROOT_COLUMNS = np.ones((JOINTS, 1, 3))
# which of the 72 columns move each joint; the root's move moves all
_COLUMNS = np.concatenate([_ROOT_COLUMNS, np.repeat(ANCESTORS[:, None, :], 3, axis=-1)], axis=-1)
_PARENT_OF = np.array([JOINTS if parent < 0 else parent for parent in BODY_PARENTS])
_SKEW = np.zeros((3, 3, 3))
for _i, _j, _k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
    _SKEW[_k, _i, _j], _SKEW[_k, _j, _i] = -1.0, 1.0
_SKEW_ROWS = _SKEW.reshape(3, 9)
_EYE = np.eye(3)


def skew(vectors: np.ndarray) -> np.ndarray:
    """Cross-product matrices [..., 3, 3] of vectors [..., 3]."""
    return (vectors @ _SKEW_ROWS).reshape(*vectors.shape, 3)


def exponential(rotvec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exponential map and its right Jacobian, ``exp(w + d) = exp(w) exp(J_r(w) d)``.

    Args:
        rotvec: [..., 3] rad.

    Returns:
        Rotations and Jacobians [..., 3, 3].
    """
    square = np.einsum("...i,...i->...", rotvec, rotvec)
    small = square < _SMALL
    safe = np.where(small, 1.0, square)
    angle = np.sqrt(safe)
    cosine = np.where(small, 1.0 - square / 2, np.cos(angle))[..., None, None]
    a = np.where(small, 1.0 - square / 6, np.sin(angle) / angle)[..., None, None]
    b = np.where(small, 0.5 - square / 24, (1.0 - cosine[..., 0, 0]) / safe)[..., None, None]
    c = np.where(small, 1.0 / 6 - square / 120, (1.0 - a[..., 0, 0]) / safe)[..., None, None]
    outer, cross = rotvec[..., :, None] * rotvec[..., None, :], skew(rotvec)
    return cosine * _EYE + a * cross + b * outer, a * _EYE - b * cross + c * outer


def logarithm(matrix: np.ndarray) -> np.ndarray:
    """Rotation vectors [M, 3] rad of matrices [M, 3, 3], angle in [0, pi]."""
    vee = 0.5 * np.stack(
        [
            matrix[:, 2, 1] - matrix[:, 1, 2],
            matrix[:, 0, 2] - matrix[:, 2, 0],
            matrix[:, 1, 0] - matrix[:, 0, 1],
        ],
        axis=-1,
    )
    sine = np.sqrt(np.einsum("mi,mi->m", vee, vee))
    cosine = 0.5 * (np.einsum("mii->m", matrix) - 1.0)
    angle = np.arctan2(sine, cosine)
    result = vee * (np.where(sine > _SMALL, angle / np.maximum(sine, _SMALL), 1.0))[:, None]
    far = cosine < _NEAR_HALF_TURN  # the antisymmetric part vanishes towards a half turn
    if far.any():
        result[far] = rotvec_from_matrix(matrix[far])
    return result


def inverse_left_jacobian(rotvec: np.ndarray) -> np.ndarray:
    """``J_l(r)^-1`` [..., 3, 3] at rotation vectors [..., 3] rad of at most a half turn; J_r^-1 is its transpose."""
    square = np.einsum("...i,...i->...", rotvec, rotvec)
    small = square < 1e-4
    half = 0.5 * np.sqrt(np.where(small, 1.0, square))
    factor = np.where(small, 1.0 / 12 + square / 720, (1.0 - half / np.tan(half)) / (4.0 * half * half))
    outer = rotvec[..., :, None] * rotvec[..., None, :]
    diagonal = (1.0 - factor * square)[..., None, None]
    return diagonal * _EYE - 0.5 * skew(rotvec) + factor[..., None, None] * outer


@dataclass(eq=False)
class Targets:
    """Effectors as the solver needs them; rows of B poses and N effectors each.

    Attributes:
        joint: [B, N].
        target: [B, N, 3] m.
        rotation: [B, N, 3, 3].
        direction: [B, N, 3].
        position_rows: [P] flat indices into B x N of the used position effectors.
        rotation_rows: [Q] of the used rotation effectors.
        look_rows: [L] of the used look-at effectors.
    """

    joint: np.ndarray
    target: np.ndarray
    rotation: np.ndarray
    direction: np.ndarray
    position_rows: np.ndarray
    rotation_rows: np.ndarray
    look_rows: np.ndarray

    @classmethod
    def of(
        cls,
        kind: np.ndarray,
        joint: np.ndarray,
        target: np.ndarray,
        rotation: np.ndarray,
        direction: np.ndarray,
        used: np.ndarray,
    ) -> Targets:
        """From the fields of :class:`~soma_isaac.learned.effectors.Effectors`; effectors not ``used`` have no rows."""
        rows = (np.flatnonzero(used & (kind == each)) for each in (POSITION, ROTATION, LOOK_AT))
        return cls(joint, target, rotation, direction, *rows)


@dataclass(eq=False)
class State:
    """A pose and its effector residuals.

    Attributes:
        local: [B, 23, 3, 3] local rotations.
        root: [B, 3] m.
        right: [B, 23, 3, 3] right Jacobians of the steps.
        world: [B, 24, 3, 3] world rotations; the last is the identity.
        reach: [B, 23, 3] m joints from the root.
        residual: [B, N, 3] m or rad; zero where not used.
        away: [L, 3] unit vectors from the joint to the look-at targets.
        distance: [L] m to them.
        facing: [L, 3] where the joints look.
    """

    local: np.ndarray
    root: np.ndarray
    right: np.ndarray
    world: np.ndarray
    reach: np.ndarray
    residual: np.ndarray
    away: np.ndarray
    distance: np.ndarray
    facing: np.ndarray


def pose_state(
    step: np.ndarray,
    start: np.ndarray,
    start_root: np.ndarray,
    root_axes: np.ndarray,
    offsets: np.ndarray,
    targets: Targets,
) -> State:
    """The pose a step away from the proposal, and how far its effectors are from their targets.

    Args:
        step: [B, 72] tangent steps from the proposal.
        start: [B, 23, 3, 3] proposed local rotations.
        start_root: [B, 3] m.
        root_axes: [B, 3, 3] the proposed Hips' axes times the body's scale.
        offsets: [B, 23, 3] m.
        targets: The effectors.
    """
    turns, right = exponential(step[:, 3:].reshape(-1, JOINTS, 3))
    local = start @ turns
    root = start_root + (root_axes @ step[:, :3, None])[..., 0]
    world = np.empty((len(step), JOINTS + 1, 3, 3))
    world[:, :JOINTS], world[:, JOINTS] = local, _EYE
    for jump in _JUMPS:
        world = world[:, jump] @ world
    bones = (world[:, _PARENT_OF] @ offsets[..., None])[..., 0]
    bones[:, 0] = 0.0
    reach = ANCESTORS @ bones
    residual = np.zeros((*targets.joint.shape, 3))
    flat = residual.reshape(-1, 3)
    state = State(local, root, right, world, reach, residual, *(np.zeros((0, 3)),) * 3)
    rows = targets.position_rows
    if len(rows):
        pose, joint = rows // targets.joint.shape[1], targets.joint.reshape(-1)[rows]
        flat[rows] = root[pose] + reach[pose, joint] - targets.target.reshape(-1, 3)[rows]
    rows = targets.rotation_rows
    if len(rows):
        pose, joint = rows // targets.joint.shape[1], targets.joint.reshape(-1)[rows]
        flat[rows] = logarithm(targets.rotation.reshape(-1, 3, 3)[rows].swapaxes(-1, -2) @ world[pose, joint])
    if len(targets.look_rows):
        _look(state, flat, targets)
    return state


def _look(state: State, flat: np.ndarray, targets: Targets) -> None:
    """Residuals of look-at effectors: minus the smallest rotation vector that turns the gaze to the target."""
    rows = targets.look_rows
    pose, joint = rows // targets.joint.shape[1], targets.joint.reshape(-1)[rows]
    ahead = targets.direction.reshape(-1, 3)[rows]
    turned = state.world[pose, joint]
    facing = (turned @ ahead[..., None])[..., 0]
    away = targets.target.reshape(-1, 3)[rows] - state.root[pose] - state.reach[pose, joint]
    distance = np.sqrt(np.einsum("mi,mi->m", away, away))
    # a target in the joint itself says nothing: taken as seen
    away = np.where((distance > 1e-9)[:, None], away / np.maximum(distance, 1e-9)[:, None], facing)
    cross = (skew(facing) @ away[..., None])[..., 0]
    sine, cosine = np.sqrt(np.einsum("mi,mi->m", cross, cross)), np.einsum("mi,mi->m", facing, away)
    angle = np.arctan2(sine, cosine)
    need = cross * np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1.0)[:, None]
    behind = (sine <= 1e-9) & (cosine < 0.0)
    if behind.any():  # straight behind: any axis does, one fixed in the joint keeps the answer the same in any heading
        least = np.eye(3)[np.abs(ahead[behind]).argmin(axis=-1)]
        axis = np.cross(ahead[behind], least)
        axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
        need[behind] = np.pi * (turned[behind] @ axis[..., None])[..., 0]
    flat[rows] = -need
    state.away, state.distance, state.facing = away, np.maximum(distance, NEAREST_LOOK_M), facing


def jacobian(state: State, root_axes: np.ndarray, targets: Targets) -> np.ndarray:
    """Derivative [B, N, 3, 72] of the residuals by the step; zero rows where an effector is not used.

    Of a look-at row the part along the residual is exact; across it the curvature of the sphere is left out, which
    only makes steps shorter while the target is far off.
    """
    count, size = targets.joint.shape
    axes = state.world[:, :JOINTS] @ state.right
    motion = np.empty((count, 6, JOINTS, 3))
    motion[:, :3] = axes.swapaxes(1, 2)
    motion[:, 3:] = (skew(state.reach) @ axes).swapaxes(1, 2)
    turning, moving = np.zeros((count * size, 3, 3)), np.zeros((count * size, 3, 3))
    moving[targets.position_rows] = _EYE
    rows = targets.rotation_rows
    if len(rows):
        inverse = inverse_left_jacobian(state.residual.reshape(-1, 3)[rows])
        turning[rows] = inverse @ targets.rotation.reshape(-1, 3, 3)[rows].swapaxes(-1, -2)
    rows = targets.look_rows
    if len(rows):
        across = _EYE - state.facing[:, :, None] * state.facing[:, None, :]
        turning[rows] = across
        moving[rows] = across @ skew(state.away) / state.distance[:, None, None]
    reach = np.take_along_axis(state.reach, targets.joint[..., None], axis=1).reshape(-1, 3)
    covector = np.concatenate([turning - moving @ skew(reach), moving], axis=-1)
    result = np.empty((count, size * 3, TANGENT))
    np.matmul(covector.reshape(count, size * 3, 6), motion.reshape(count, 6, 3 * JOINTS), out=result[..., 3:])
    result[..., :3] = moving.reshape(count, size * 3, 3) @ root_axes
    result = result.reshape(count, size, 3, TANGENT)
    result *= _COLUMNS.reshape(JOINTS, 1, TANGENT)[targets.joint]
    return result
