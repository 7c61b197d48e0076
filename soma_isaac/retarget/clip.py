"""From a solved robot motion to a reference clip: body poses and velocities that belong together.

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

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.math.resample import mean_of_steps
from soma_isaac.math.so3 import continuous_quats, matrix_from_quat_wxyz, quat_wxyz_from_matrix, rotvec_from_matrix
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.retarget.robot import RobotModel


def reference_clip(motion: RobotMotion, model: RobotModel) -> ReferenceClip:
    """The reference clip of a motion, in the order of the model (depth first).

    Args:
        motion: Root and joints over time; joints in any order, by name.
        model: The robot it was solved for.

    Returns:
        The clip; linear velocities are those of the link origins.

    Raises:
        RigMismatch: The joint names are not those of the model.
    """
    joint_pos = joints_in_order(motion, model.joint_names)
    root_rot = matrix_from_quat_wxyz(motion.root_quat_wxyz)
    joint_vel = mean_of_steps(np.diff(joint_pos, axis=0) * motion.fps)
    root_lin_vel = mean_of_steps(np.diff(motion.root_pos, axis=0) * motion.fps)
    root_ang_vel = mean_of_steps(rotation_steps(root_rot) * motion.fps)
    body_pos, body_rot = model.body_poses(motion.root_pos, motion.root_quat_wxyz, joint_pos)
    body_lin_vel, body_ang_vel = model.body_twists(body_pos, body_rot, root_lin_vel, root_ang_vel, joint_vel)
    return ReferenceClip(
        fps=motion.fps,
        joint_names=model.joint_names,
        body_names=model.body_names,
        body_parents=model.body_parents,
        joint_pos=joint_pos,
        joint_vel=joint_vel,
        body_pos_w=body_pos,
        body_quat_wxyz=continuous_quats(quat_wxyz_from_matrix(body_rot)),
        body_lin_vel_w=body_lin_vel,
        body_ang_vel_w=body_ang_vel,
        body_com_b=model.body_com_b,
        foot_contacts=motion.foot_contacts,
        robot_digest=model.digest,
    )


def joints_in_order(motion: RobotMotion, names: tuple[str, ...]) -> np.ndarray:
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
