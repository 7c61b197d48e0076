"""A closed-form first guess: every limb's joint angles from the wanted directions and orientations, frame by frame.

Whole-clip Gauss-Newton follows the valley that it starts in. This guess starts it in the right one: each limb is solved
on its own as if all its joints met in points, and where a ball joint made of three hinges can be turned in two ways,
the way is chosen over the whole clip (dynamic programming), so that limits are respected and no limb flips.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.math.so3 import matrix_from_rotvec, quat_wxyz_from_matrix
from soma_isaac.retarget.jacobian import Configuration, cross
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.targets import BODIES, POINTS, SEGMENTS, SIDES, Targets, robot_sites

LIMIT_COST = 3.0
"""Cost of a radian outside a joint's limits, in radians of travel, when the branch of a ball joint is chosen."""

BEND = 0.35
"""Sine of a bend below which the plane of a limb is taken from its knee or hand instead of its two segments."""


def initial_configuration(robot: RobotModel, targets: Targets) -> Configuration:
    """A configuration near the targets in every frame, inside the joint limits."""
    sites = robot_sites(robot)
    joints = np.zeros((len(targets), len(robot.joint_names)))
    orientation = {name: targets.orientations[:, index] for index, name in enumerate(BODIES)}
    segment = {pair: targets.segments[:, index] for index, pair in enumerate(SEGMENTS)}
    pelvis, torso = orientation["pelvis"], orientation["torso"]
    waist = _euler("ZXY", pelvis.swapaxes(1, 2) @ torso)
    _write(joints, robot, "waist", ("yaw", "roll", "pitch"), waist)
    for index, side in enumerate(SIDES):
        leg = segment[f"{side}_hip", f"{side}_knee"], segment[f"{side}_knee", f"{side}_ankle"]
        _solve_leg(joints, robot, side, pelvis, leg, targets.knee_axes[:, index], orientation[f"{side}_foot"])
        arm = segment[f"{side}_shoulder", f"{side}_elbow"], segment[f"{side}_elbow", f"{side}_wrist"]
        _solve_arm(joints, robot, side, torso, arm, orientation[f"{side}_hand"])
    hips = 0.5 * (sites.rest[POINTS.index("left_hip")] + sites.rest[POINTS.index("right_hip")])
    return Configuration(
        targets.hips - pelvis @ hips, quat_wxyz_from_matrix(pelvis), np.clip(joints, robot.lower, robot.upper)
    )


def _solve_leg(
    joints: np.ndarray,
    robot: RobotModel,
    side: str,
    pelvis: np.ndarray,
    segments: tuple[np.ndarray, np.ndarray],
    knee_axis: np.ndarray,
    foot: np.ndarray,
) -> None:
    thigh, shank = (_unit(segment) for segment in segments)
    # At zero the leg hangs down and the knee's axis points left; bending swings the shank back.
    across = _plane_axis(thigh, shank, knee_axis)
    upper = _frame(-thigh, across)
    bend = _bend(thigh, shank, across)
    roll = robot.body_rotations[robot.body_index(f"{side}_hip_roll_link")]
    knee = robot.body_rotations[robot.body_index(f"{side}_knee_link")]
    hip = _ball(robot, f"{side}_hip", pelvis.swapaxes(1, 2) @ upper @ knee.T, shift=(-_angle_y(roll), 0.0))
    _write(joints, robot, f"{side}_hip", ("pitch", "roll", "yaw"), hip)
    joints[:, robot.joint_index(f"{side}_knee_joint")] = bend
    lower = upper @ matrix_from_rotvec(bend[:, None] * np.array([0.0, 1.0, 0.0]))
    ankle = _euler("YXZ", lower.swapaxes(1, 2) @ foot)
    _write(joints, robot, f"{side}_ankle", ("pitch", "roll"), ankle[:, :2])


def _solve_arm(
    joints: np.ndarray,
    robot: RobotModel,
    side: str,
    torso: np.ndarray,
    segments: tuple[np.ndarray, np.ndarray],
    hand: np.ndarray,
) -> None:
    upper_arm, forearm = (_unit(segment) for segment in segments)
    # At zero the upper arm hangs down and the forearm points ahead: a straight arm is an elbow at 90 degrees.
    across = _plane_axis(forearm, upper_arm, hand[:, :, 1])
    upper = _frame(-upper_arm, across)
    ahead = upper[:, :, 0]
    elbow = np.arctan2(np.einsum("ti,ti->t", forearm, upper_arm), np.einsum("ti,ti->t", forearm, ahead))
    mount = robot.body_rotations[robot.body_index(f"{side}_shoulder_pitch_link")]
    roll = robot.body_rotations[robot.body_index(f"{side}_shoulder_roll_link")]
    shoulder = _ball(robot, f"{side}_shoulder", mount.T @ torso.swapaxes(1, 2) @ upper, shift=(0.0, -_angle_x(roll)))
    _write(joints, robot, f"{side}_shoulder", ("pitch", "roll", "yaw"), shoulder)
    joints[:, robot.joint_index(f"{side}_elbow_joint")] = elbow
    lower = upper @ matrix_from_rotvec(elbow[:, None] * np.array([0.0, 1.0, 0.0]))
    wrist = _euler("XYZ", lower.swapaxes(1, 2) @ hand)
    _write(joints, robot, f"{side}_wrist", ("roll", "pitch", "yaw"), wrist)


def _plane_axis(first: np.ndarray, second: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """[T, 3] axis about which a limb bends: ``first x second``, and near a straight limb that of ``reference``."""
    normal = cross(first, second)
    sine = np.linalg.norm(normal, axis=1, keepdims=True)
    level = _unit(reference - np.einsum("ti,ti->t", reference, second)[:, None] * second)
    # A normal against the reference is a knee or elbow bent backwards, which is noise of a straight one.
    agrees = np.einsum("ti,ti->t", normal, level)[:, None] > -0.5 * sine
    share = np.clip(sine / BEND, 0.0, 1.0) ** 2 * agrees
    return _unit(share * normal / np.maximum(sine, 1e-9) + (1.0 - share) * level)


def _frame(up: np.ndarray, left: np.ndarray) -> np.ndarray:
    """Rotations [T, 3, 3] with z along ``up`` and y as near to ``left`` as that allows."""
    y = _unit(left - np.einsum("ti,ti->t", left, up)[:, None] * up)
    return np.stack([cross(y, up), y, up], axis=2)


def _bend(inner: np.ndarray, outer: np.ndarray, across: np.ndarray) -> np.ndarray:
    """[T] rad, rotation about ``across`` that takes the direction of ``inner`` to that of ``outer``."""
    return np.arctan2(np.einsum("ti,ti->t", cross(inner, outer), across), np.einsum("ti,ti->t", inner, outer))


def _ball(robot: RobotModel, name: str, rotation: np.ndarray, shift: tuple[float, float]) -> np.ndarray:
    """Pitch, roll, yaw [T, 3] of three hinges that make ``rotation`` [T, 3, 3], in the branch that suits the clip."""
    angles = _euler("YXZ", rotation)
    other = np.stack([angles[:, 0] + np.pi, np.pi - angles[:, 1], angles[:, 2] + np.pi], axis=1)
    branches = np.stack([angles, other])
    branches[..., :2] += shift
    branches = (branches + np.pi) % (2.0 * np.pi) - np.pi
    index = [robot.joint_index(f"{name}_{axis}_joint") for axis in ("pitch", "roll", "yaw")]
    lower, upper = robot.lower[index], robot.upper[index]
    inside = np.clip(branches, lower, upper)
    cost = LIMIT_COST * np.abs(branches - inside).sum(axis=2)
    return _cheapest_path(inside, cost)


def _cheapest_path(states: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """The path [T, D] through ``states`` [S, T, D] with the least sum of ``cost`` [S, T] and travel."""
    count, frames, _ = states.shape
    travel = np.abs(states[:, None, 1:] - states[None, :, :-1]).sum(axis=3)
    best = cost[:, 0]
    came = np.zeros((frames, count), dtype=int)
    for frame in range(1, frames):
        total = best[None, :] + travel[:, :, frame - 1]
        came[frame] = total.argmin(axis=1)
        best = total.min(axis=1) + cost[:, frame]
    branch = np.empty(frames, dtype=int)
    branch[-1] = best.argmin()
    for frame in range(frames - 1, 0, -1):
        branch[frame - 1] = came[frame, branch[frame]]
    return states[branch, np.arange(frames)]


def _write(joints: np.ndarray, robot: RobotModel, name: str, axes: tuple[str, ...], angles: np.ndarray) -> None:
    for column, axis in enumerate(axes):
        joints[:, robot.joint_index(f"{name}_{axis}_joint")] = angles[:, column]


def _euler(order: str, rotation: np.ndarray) -> np.ndarray:
    """Intrinsic Euler angles [T, 3] in rad."""
    with np.errstate(invalid="ignore"):
        return Rotation.from_matrix(rotation).as_euler(order, suppress_warnings=True)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-12)


def _angle_x(rotation: np.ndarray) -> float:
    return float(np.arctan2(rotation[2, 1], rotation[1, 1]))


def _angle_y(rotation: np.ndarray) -> float:
    return float(np.arctan2(rotation[0, 2], rotation[0, 0]))
