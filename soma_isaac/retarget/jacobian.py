"""Jacobians of a floating-base robot over all frames at once.

Pinocchio is the reference (tests hold poses and Jacobians equal to it); the arithmetic is vectorised over frames here
because one call per frame and frame-Jacobian costs more than the whole batch.

Tangent of a configuration, 6 + N numbers: root translation [m] in the world, root rotation [rad] as a left (world)
perturbation ``R <- exp(dtheta) R`` about the root's origin, then the joints [rad]. (Pinocchio's free flyer has both
root parts in the root's own axes.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.math.so3 import matrix_from_quat_wxyz, matrix_from_rotvec, quat_wxyz_from_matrix
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.tree import Tree

ROOT_DOF = 6


@dataclass(frozen=True, eq=False)
class Configuration:
    """Root poses and joint positions of T frames.

    Attributes:
        root_pos: [T, 3] m.
        root_quat_wxyz: [T, 4] unit.
        joint_pos: [T, N] rad.
    """

    root_pos: np.ndarray
    root_quat_wxyz: np.ndarray
    joint_pos: np.ndarray

    def __len__(self) -> int:
        return len(self.joint_pos)

    def moved(self, step: np.ndarray) -> Configuration:
        """The configuration after a tangent step [T, 6 + N]."""
        turned = matrix_from_rotvec(step[:, 3:6]) @ matrix_from_quat_wxyz(self.root_quat_wxyz)
        return Configuration(
            self.root_pos + step[:, :3], quat_wxyz_from_matrix(turned), self.joint_pos + step[:, ROOT_DOF:]
        )

    def frames(self, which: slice | np.ndarray) -> Configuration:
        """Some of the frames."""
        return Configuration(self.root_pos[which], self.root_quat_wxyz[which], self.joint_pos[which])


@dataclass(frozen=True, eq=False)
class BodyPoses:
    """Poses of all bodies and the geometry that Jacobian columns are made of.

    Attributes:
        positions: [T, B, 3] m, body origins; body 0 is the root.
        rotations: [T, B, 3, 3] body to world.
        axes: [T, 3 + N, 3] unit rotation axes in the world: the world's own axes for the root, then the joints.
        moments: [T, 3 + N, 3] m, axis x origin: per radian a point p moves by ``axis x p - moment``.
    """

    positions: np.ndarray
    rotations: np.ndarray
    axes: np.ndarray
    moments: np.ndarray


def pose_bodies(robot: RobotModel, configuration: Configuration) -> BodyPoses:
    """Forward kinematics of all frames, with the axes that Jacobians need."""
    positions, rotations = robot.body_poses(
        configuration.root_pos, configuration.root_quat_wxyz, configuration.joint_pos
    )
    frames, joints = configuration.joint_pos.shape
    axes = np.empty((frames, 3 + joints, 3))
    origins = np.empty((frames, 3 + joints, 3))
    axes[:, :3], origins[:, :3] = np.eye(3), configuration.root_pos[:, None]
    axes[:, 3:] = (rotations[:, 1:] @ robot.joint_axes[:, :, None])[..., 0]
    origins[:, 3:] = positions[:, 1:]
    return BodyPoses(positions, rotations, axes, cross(axes, origins))


def moving_rotations(tree: Tree) -> np.ndarray:
    """[B, 3 + N] bool: which rotations (root x, y, z, then joints) move which body."""
    bodies = len(tree.parents)
    moves = np.zeros((bodies, 2 + bodies), dtype=bool)
    moves[:, :3] = True
    for body in range(1, bodies):
        moves[body] = moves[tree.parents[body]]
        moves[body, 2 + body] = True
    return moves


def point_jacobian(poses: BodyPoses, points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Jacobian [T, P, 3, 6 + N] of world points [T, P, 3] m.

    Args:
        poses: The bodies.
        points: The points, each fixed to some body.
        moves: [P, 3 + N] or [T, P, 3 + N] bool, which rotations move each point.
    """
    frames, count, _ = points.shape
    jacobian = np.zeros((frames, count, 3, poses.axes.shape[1] + 3))
    jacobian[:, :, range(3), range(3)] = 1.0
    mask = moves.astype(np.float64)
    px, py, pz = (points[:, :, None, i] for i in range(3))
    ax, ay, az = (poses.axes[:, None, :, i] for i in range(3))
    mx, my, mz = (poses.moments[:, None, :, i] for i in range(3))
    jacobian[:, :, 0, 3:] = (ay * pz - az * py - mx) * mask
    jacobian[:, :, 1, 3:] = (az * px - ax * pz - my) * mask
    jacobian[:, :, 2, 3:] = (ax * py - ay * px - mz) * mask
    return jacobian


def height_jacobian(poses: BodyPoses, points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Only the vertical rows [T, P, 6 + N] of :func:`point_jacobian`."""
    frames, count, _ = points.shape
    jacobian = np.zeros((frames, count, poses.axes.shape[1] + 3))
    jacobian[:, :, 2] = 1.0
    across = poses.axes[:, None, :, 0] * points[:, :, None, 1] - poses.axes[:, None, :, 1] * points[:, :, None, 0]
    jacobian[:, :, 3:] = (across - poses.moments[:, None, :, 2]) * moves
    return jacobian


def rotation_jacobian(poses: BodyPoses, moves: np.ndarray) -> np.ndarray:
    """Angular velocity Jacobian [T, K, 3, 6 + N], world axes, of K bodies; ``moves`` [K, 3 + N] bool."""
    frames, rotations, _ = poses.axes.shape
    jacobian = np.zeros((frames, len(moves), 3, rotations + 3))
    jacobian[:, :, :, 3:] = poses.axes.swapaxes(1, 2)[:, None] * moves[:, None, :]
    return jacobian


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product over the last axis, with broadcasting; several times faster than ``np.cross``."""
    out = np.empty(np.broadcast_shapes(a.shape, b.shape))
    ax, ay, az = a[..., 0], a[..., 1], a[..., 2]
    bx, by, bz = b[..., 0], b[..., 1], b[..., 2]
    out[..., 0] = ay * bz - az * by
    out[..., 1] = az * bx - ax * bz
    out[..., 2] = ax * by - ay * bx
    return out


def log_left_inverse(rotvec: np.ndarray) -> np.ndarray:
    """Inverse left Jacobian [..., 3, 3] of SO(3) at rotation vectors [..., 3]: ``log(exp(d) R) ~ log R + J d``.

    (Sola, Deray, Atchuthan, "A micro Lie theory", eq. 146.)
    """
    angle2 = np.einsum("...i,...i->...", rotvec, rotvec)
    angle = np.sqrt(angle2)
    half = 0.5 * angle
    small = angle < 1e-3
    safe = np.where(small, 1.0, half)
    series = 1.0 / 12.0 + angle2 / 720.0
    factor = np.where(small, series, (1.0 - safe / np.tan(safe)) / np.where(small, 1.0, angle2))
    x, y, z = rotvec[..., 0], rotvec[..., 1], rotvec[..., 2]
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(rotvec.shape + (3,))
    return np.eye(3) - 0.5 * skew + factor[..., None, None] * (skew @ skew)
