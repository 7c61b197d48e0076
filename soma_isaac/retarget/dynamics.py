"""What a clip asks of the ground and of the motors: inverse dynamics of every frame, with Pinocchio.

A reference clip is a drawing of a motion; nothing in it says that a robot with this mass could make it. Newton's law
does: accelerations and gravity fix the force and moment that the ground has to give, whatever the motors do. Here is
how far that is from what feet on a floor can give. They judge the clip, not a controller: a trained policy
departs from its reference and may well track a clip that is out of reach as it stands.

Method. Configuration, velocity and acceleration of a frame go through the recursive Newton-Euler algorithm
(Featherstone, "Rigid Body Dynamics Algorithms", 2008, section 5.3; ``pinocchio.rnea``). Its first six rows are the
wrench on the root that no motor gives: the ground's. The point of the floor about which its moment is vertical is the
zero moment point (Vukobratovic and Borovac, "Zero-moment point - thirty five years of its life", 2004); feet can give
the wrench only if it lies in the convex hull of what they touch. What the ground gives is then divided over the feet
(``retarget.support.share_load``) and carried back to the joints, ``tau = tau_rnea - sum_i J_i^T w_i``.

Accelerations. Velocities are those of the clip (``motion.robot_clip``: the mean of the two steps around a frame).
Accelerations are second differences (for the root's rotation, of world-frame steps on SO(3)), which belong to these
velocities: the central difference of the velocities is their (1, 2, 1) / 4 average. Differentiating twice multiplies
noise by the square of its frequency, so they are then smoothed with a Gaussian in time, without delay, whose gain is
1 / sqrt(2) at :data:`CUTOFF` Hz; the first and last frame repeat their neighbour's. Constant acceleration passes
unchanged. Poses and velocities are not smoothed.

Left out: friction, damping and rotor inertia of the drives, and that a motor's torque falls with its speed. In flight,
where nothing carries, joint torques are those of a robot held by its root with the force that is missing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

from soma_isaac.errors import RigMismatch
from soma_isaac.math.so3 import matrix_from_quat_wxyz, xyzw_from_wxyz
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.retarget.clip import reference_clip, rotation_steps
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.support import FootLoads, foot_soles, share_load

GRAVITY = 9.81
"""[m/s^2], as in Pinocchio's and MuJoCo's models."""

CUTOFF = 6.0
"""Frequency [Hz] that the smoothing of accelerations cuts to 1 / sqrt(2): the usual cut for human gait (Winter,
"Biomechanics and Motor Control of Human Movement"), and below what position servos with a natural frequency of 10 Hz
follow. With 4 to 15 Hz instead, shares of frames change little, and peaks by up to a third."""

TOUCH = 0.01
"""A sole this near the floor [m] touches it, planted or not, and corners this little above its lowest one carry too."""

LEAST_LOAD = 0.1
"""Share of the weight that the ground has to carry for there to be a meaningful zero moment point."""


@dataclass(frozen=True, eq=False)
class RobotStates:
    """A clip as Pinocchio takes it.

    Attributes:
        q: [T, 7 + N] root position [m], root quaternion in x, y, z, w order, joint positions [rad].
        v: [T, 6 + N] root linear [m/s] and angular velocity [rad/s] in the root's own axes, joint velocities [rad/s].
        a: [T, 6 + N] time derivative of ``v``: for the root the spatial acceleration in its own axes.
        root_rot: [T, 3, 3] root to world.
    """

    q: np.ndarray
    v: np.ndarray
    a: np.ndarray
    root_rot: np.ndarray


@dataclass(frozen=True, eq=False)
class ClipDynamics:
    """What a clip needs, frame by frame; world frame Z-up, floor at z = 0.

    Attributes:
        fps: Frame rate [Hz].
        weight: Mass times gravity [N].
        joint_names: N names, the robot's order.
        force: [T, 3] N, total force of the surroundings on the robot.
        moment: [T, 3] N m, its moment about the world's origin.
        grounded: [T] bool, a foot is planted or a sole touches the floor; the robot flies in the other frames.
        zmp: [T, 2] m; NaN where the ground would carry less than a tenth of the weight.
        outside: [T] m, distance of the zero moment point from the support polygon, negative inside; NaN where the
            frame is not grounded or has no zero moment point.
        joint_torque: [T, N] N m that the joints need while each foot carries its share inside its sole.
        torque_use: [T, N] ``|joint_torque|`` over the effort limits.
    """

    fps: float
    weight: float
    joint_names: tuple[str, ...]
    force: np.ndarray
    moment: np.ndarray
    grounded: np.ndarray
    zmp: np.ndarray
    outside: np.ndarray
    joint_torque: np.ndarray
    torque_use: np.ndarray


def dynamics(clip: ReferenceClip | RobotMotion, robot: RobotModel) -> ClipDynamics:
    """Inverse dynamics of a clip.

    Args:
        clip: The clip; planted feet are its ``foot_contacts``. A motion is made into a clip first.
        robot: The robot it was made for.

    Raises:
        MissingDependency: Pinocchio is not installed.
        RigMismatch: The clip has other joints or bodies than the robot.
    """
    if isinstance(clip, RobotMotion):
        clip = reference_clip(clip, robot)
    states = robot_states(clip, robot)
    torque = inverse_dynamics(states, robot)
    weight = GRAVITY * float(robot.body_mass.sum())
    force = _turn(states.root_rot, torque[:, :3])
    moment = _turn(states.root_rot, torque[:, 3:6]) + np.cross(states.q[:, :3], force)
    zmp = zero_moment_point(force, moment, LEAST_LOAD * weight)
    bodies = _order(clip.body_names, robot.body_names, "bodies")
    feet = [bodies[foot] for foot in robot.foot_bodies]
    rotations = matrix_from_quat_wxyz(clip.body_quat_wxyz[:, feet])
    soles = foot_soles(clip.body_pos_w[:, feet], rotations, robot.sole_points, clip.foot_contacts, TOUCH)
    joints = torque[:, 6:] - _torque_of_feet(clip, robot, bodies, share_load(soles, zmp, force, moment))
    return ClipDynamics(
        fps=clip.fps,
        weight=weight,
        joint_names=robot.joint_names,
        force=force,
        moment=moment,
        grounded=soles.grounded,
        zmp=zmp,
        outside=soles.distance_outside(zmp),
        joint_torque=joints,
        torque_use=np.abs(joints) / robot.effort_limit,
    )


def robot_states(clip: ReferenceClip, robot: RobotModel, cutoff: float | None = CUTOFF) -> RobotStates:
    """Configurations, velocities and accelerations of a clip; see the module.

    Args:
        clip: The clip.
        robot: The robot, whose joint order the result has.
        cutoff: Of the accelerations' smoothing [Hz]; ``None`` for plain second differences.

    Raises:
        RigMismatch: The clip has other joints than the robot.
    """
    joints = _order(clip.joint_names, robot.joint_names, "joints")
    root_pos, root_quat = clip.body_pos_w[:, 0], clip.body_quat_wxyz[:, 0]
    rotation = matrix_from_quat_wxyz(root_quat)
    steps = np.concatenate(
        [np.diff(root_pos, axis=0), rotation_steps(rotation), np.diff(clip.joint_pos[:, joints], axis=0)], axis=1
    )
    acceleration = np.zeros((len(rotation), steps.shape[1]))
    if len(steps) > 1:
        second = np.diff(steps, axis=0) * clip.fps**2
        acceleration = np.concatenate([second[:1], second, second[-1:]])
        if cutoff is not None:
            # A Gaussian of deviation s has the gain exp(-(2 pi f s)^2 / 2).
            deviation = np.sqrt(np.log(2.0)) / (2.0 * np.pi * cutoff)
            acceleration = gaussian_filter1d(acceleration, deviation * clip.fps, axis=0, mode="nearest")
    into_root = rotation.swapaxes(1, 2)
    linear, angular = _turn(into_root, clip.body_lin_vel_w[:, 0]), _turn(into_root, clip.body_ang_vel_w[:, 0])
    # d/dt (R^T p') = R^T p'' - w x R^T p' with w in the root's axes; for w itself the second term is w x w = 0.
    turned = _turn(into_root, acceleration[:, :3]) - np.cross(angular, linear)
    return RobotStates(
        q=np.concatenate([root_pos, xyzw_from_wxyz(root_quat), clip.joint_pos[:, joints]], axis=1),
        v=np.concatenate([linear, angular, clip.joint_vel[:, joints]], axis=1),
        a=np.concatenate([turned, _turn(into_root, acceleration[:, 3:6]), acceleration[:, 6:]], axis=1),
        root_rot=rotation,
    )


def inverse_dynamics(states: RobotStates, robot: RobotModel) -> np.ndarray:
    """Generalised forces [T, 6 + N]: force [N] and moment [N m] on the root in its own axes, joint torques [N m].

    Raises:
        MissingDependency: Pinocchio is not installed.
    """
    model = robot.pinocchio
    import pinocchio as pin  # after the model, whose error says what is missing

    data, out = model.createData(), np.empty_like(states.v)
    for frame, (q, v, a) in enumerate(zip(states.q, states.v, states.a, strict=True)):
        out[frame] = pin.rnea(model, data, q, v, a)
    return out


def zero_moment_point(force: np.ndarray, moment: np.ndarray, least: float) -> np.ndarray:
    """Point of z = 0 about which the moment is vertical.

    Args:
        force: [T, 3] N.
        moment: [T, 3] N m about the world's origin.
        least: Smallest vertical force [N] that has such a point.

    Returns:
        [T, 2] m; NaN where the vertical force is smaller.
    """
    carried = np.where(force[:, 2] >= least, force[:, 2], np.nan)
    return np.stack([-moment[:, 1], moment[:, 0]], axis=1) / carried[:, None]


def _torque_of_feet(clip: ReferenceClip, robot: RobotModel, bodies: list[int], loads: FootLoads) -> np.ndarray:
    """``sum_i J_i^T w_i`` [T, N]: a joint feels the moment of what hangs on it about its own axis."""
    out = np.zeros((clip.frame_count, len(robot.joint_names)))
    for foot, body in enumerate(robot.foot_bodies):
        chain = []
        while body > 0:
            chain.append(body)
            body = robot.body_parents[body]
        own, joints = [bodies[link] for link in chain], [link - 1 for link in chain]
        axes = (matrix_from_quat_wxyz(clip.body_quat_wxyz[:, own]) @ robot.joint_axes[joints, :, None])[..., 0]
        arms = loads.centres[:, foot, None] - clip.body_pos_w[:, own]
        about = np.cross(arms, loads.forces[:, foot, None])
        about[..., 2] += loads.twists[:, foot, None]
        out[:, joints] += np.einsum("tji,tji->tj", axes, about)
    return out


def _turn(rotation: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Rotations [T, 3, 3] times vectors [T, 3]."""
    return (rotation @ vector[..., None])[..., 0]


def _order(have: tuple[str, ...], want: tuple[str, ...], what: str) -> list[int]:
    if set(have) != set(want) or len(have) != len(want):
        different = ", ".join(sorted(set(have) ^ set(want))) or "repeated names"
        raise RigMismatch(f"clip and robot do not have the same {what}: {different}")
    return [have.index(name) for name in want]
