"""A robot's motion from its kinematic tree: body poses and velocities for all frames at once, and the reference clip.

Retargeting and simulators build the same clips from the same few functions; neither Pinocchio nor a stage is needed.

The kinematics make one pass over the bodies; every operation runs over all frames. Arrays are kept component by
component ([3, T] and [3, 3, T]) on the way, so that a product of small matrices is a handful of long vector operations.

Derivatives. The velocity of a frame is the mean of the step to it and the step from it (first and last frame: their
one step), for the root position, for the joints, and on SO(3) for the root's rotation, whose steps are world-frame
rotation vectors ``log(R[t+1] R[t]^T)``. For positions this is the central difference that BeyondMimic's and mjlab's
``csv_to_npz`` use (``torch.gradient``); for rotations they take one logarithm over two frames, which equals ours to
second order but wraps at half the turning speed.

Integrating these velocities by the trapezoid rule from frame 0 gives back ``x[t]`` with an error of exactly a quarter
of a difference of two steps, ``(d[t] - d[t-1]) / 4``: it never accumulates, and is zero at constant speed.

Body velocities are not differences of body positions: they are the Jacobian of the frame's pose times the root and
joint velocities of the same frame, so that every velocity in a clip describes one motion of the rigid robot.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.math.resample import mean_of_steps
from soma_isaac.math.so3 import continuous_quats, matrix_from_quat_wxyz, quat_wxyz_from_matrix, rotvec_from_matrix
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.robot import RobotMotion


@dataclass(frozen=True, eq=False)
class Tree:
    """A kinematic tree: body 0 is the free root, body j + 1 hangs on revolute joint j.

    Attributes:
        parents: [B] parent body, -1 for the root; parents come before their children.
        translations: [B, 3] m, body origin in its parent's frame (root: zero).
        rotations: [B, 3, 3] body axes in its parent's frame at joint position 0 (root: identity).
        axes: [B - 1, 3] unit joint axes in the body's own frame.
    """

    parents: tuple[int, ...]
    translations: np.ndarray
    rotations: np.ndarray
    axes: np.ndarray


def clip_from_motion(
    motion: RobotMotion,
    tree: Tree,
    *,
    joint_names: Sequence[str],
    body_names: Sequence[str],
    body_com_b: np.ndarray,
    digest: str,
) -> ReferenceClip:
    """The reference clip of a motion, in the order of the tree.

    Args:
        motion: Root and joints over time; joints in any order, by name.
        tree: The robot.
        joint_names: [B - 1] of the tree's joints.
        body_names: [B] of the tree's bodies.
        body_com_b: [B, 3] m, centre of mass of each body in its own frame.
        digest: sha256 of the robot's description.

    Returns:
        The clip; linear velocities are those of the link origins.

    Raises:
        RigMismatch: The motion has other joints.
    """
    joint_pos = joints_in_order(motion, joint_names)
    root_rot = matrix_from_quat_wxyz(motion.root_quat_wxyz)
    joint_vel = mean_of_steps(np.diff(joint_pos, axis=0) * motion.fps)
    root_lin_vel = mean_of_steps(np.diff(motion.root_pos, axis=0) * motion.fps)
    root_ang_vel = mean_of_steps(rotation_steps(root_rot) * motion.fps)
    body_pos, body_rot = body_poses(tree, motion.root_pos, motion.root_quat_wxyz, joint_pos)
    body_lin_vel, body_ang_vel = body_twists(tree, body_pos, body_rot, root_lin_vel, root_ang_vel, joint_vel)
    return ReferenceClip(
        fps=motion.fps,
        joint_names=tuple(joint_names),
        body_names=tuple(body_names),
        body_parents=tree.parents,
        joint_pos=joint_pos,
        joint_vel=joint_vel,
        body_pos_w=body_pos,
        body_quat_wxyz=continuous_quats(quat_wxyz_from_matrix(body_rot)),
        body_lin_vel_w=body_lin_vel,
        body_ang_vel_w=body_ang_vel,
        body_com_b=body_com_b,
        foot_contacts=motion.foot_contacts,
        robot_digest=digest,
    )


def joints_in_order(motion: RobotMotion, names: Sequence[str]) -> np.ndarray:
    """Joint positions [T, N] in rad with the columns in the order of ``names``.

    Raises:
        RigMismatch: The motion has other joints.
    """
    if set(motion.joint_names) != set(names) or len(motion.joint_names) != len(names):
        different = sorted(set(motion.joint_names) ^ set(names))
        raise RigMismatch(f"motion and robot do not have the same joints: {', '.join(different) or 'repeated names'}")
    return motion.joint_pos[:, [motion.joint_names.index(name) for name in names]]


def rotation_steps(rotations: np.ndarray) -> np.ndarray:
    """World-frame rotation vectors [T - 1, 3] in rad that turn each of the rotations [T, 3, 3] into the next."""
    return rotvec_from_matrix(rotations[1:] @ np.swapaxes(rotations[:-1], -1, -2))


def body_poses(
    tree: Tree, root_pos: np.ndarray, root_quat_wxyz: np.ndarray, joint_pos: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World poses of all bodies.

    Args:
        tree: The robot.
        root_pos: [T, 3] m.
        root_quat_wxyz: [T, 4], normalised on the way.
        joint_pos: [T, B - 1] rad.

    Returns:
        Body origins [T, B, 3] in m and rotations body to world [T, B, 3, 3].
    """
    root_pos = np.asarray(root_pos, dtype=np.float64)
    frames, bodies = len(root_pos), len(tree.parents)
    positions = np.empty((bodies, 3, frames))
    rotations = np.empty((bodies, 3, 3, frames))
    positions[0] = root_pos.T
    rotations[0] = matrix_from_quat_wxyz(root_quat_wxyz).transpose(1, 2, 0)
    angles = np.ascontiguousarray(np.asarray(joint_pos, dtype=np.float64).T)
    sines, cosines = np.sin(angles), np.cos(angles)
    for body in range(1, bodies):
        parent, joint = tree.parents[body], body - 1
        positions[body] = positions[parent] + tree.translations[body] @ rotations[parent]
        np.matmul(tree.rotations[body].T, rotations[parent], out=rotations[body])
        _rotate(rotations[body], tree.axes[joint], sines[joint], cosines[joint])
    return positions.transpose(2, 0, 1).copy(), rotations.transpose(3, 0, 1, 2).copy()


def _rotate(rotation: np.ndarray, axis: np.ndarray, sine: np.ndarray, cosine: np.ndarray) -> None:
    """Multiply [3, 3, T] from the right by rotations about ``axis``, in place."""
    along = int(np.argmax(np.abs(axis)))
    if abs(axis[along]) == 1.0:
        sine = sine * axis[along]
        first, second = (along + 1) % 3, (along + 2) % 3
        turned = cosine * rotation[:, first] + sine * rotation[:, second]
        rotation[:, second] = cosine * rotation[:, second] - sine * rotation[:, first]
        rotation[:, first] = turned
        return
    # Rodrigues: R (c I + s [a]x + (1 - c) a a^T); a row r of R times [a]x is the cross product r x a.
    rows = rotation.copy()
    dot = np.einsum("ijt,j->it", rows, axis)
    cross = np.cross(rows, axis[None, :, None], axis=1)
    rotation[:] = cosine * rows + sine * cross + (1.0 - cosine) * dot[:, None] * axis[None, :, None]


def body_twists(
    tree: Tree,
    positions: np.ndarray,
    rotations: np.ndarray,
    root_lin_vel: np.ndarray,
    root_ang_vel: np.ndarray,
    joint_vel: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """World velocities of all bodies: the Jacobian of :func:`body_poses` times the given velocities.

    Args:
        tree: The robot.
        positions: [T, B, 3] m, from :func:`body_poses`.
        rotations: [T, B, 3, 3], from :func:`body_poses`.
        root_lin_vel: [T, 3] m/s, velocity of the root's origin in the world.
        root_ang_vel: [T, 3] rad/s, in world axes.
        joint_vel: [T, B - 1] rad/s.

    Returns:
        Velocities of the body origins [T, B, 3] in m/s and angular velocities [T, B, 3] in rad/s, world axes.
    """
    linear = np.empty_like(positions)
    angular = np.empty_like(positions)
    linear[:, 0] = root_lin_vel
    angular[:, 0] = root_ang_vel
    for body in range(1, len(tree.parents)):
        parent, joint = tree.parents[body], body - 1
        arm = positions[:, body] - positions[:, parent]
        linear[:, body] = linear[:, parent] + np.cross(angular[:, parent], arm)
        axis = rotations[:, body] @ tree.axes[joint]
        angular[:, body] = angular[:, parent] + axis * joint_vel[:, joint, None]
    return linear, angular
