"""How well the robot's pose follows the person's: keypoints, limb directions, orientations, heading, root path."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec, project_to_so3
from soma_isaac.retarget.human import KEYPOINT_NAMES, HumanKeypoints
from soma_isaac.retarget.robot import RobotModel

LEG_POINTS = ("knee", "ankle")
ARM_POINTS = ("shoulder", "elbow", "hand")
CENTRE_POINTS = ("neck", "head")
POINT_LINKS = {
    "hip": "hip_roll",
    "knee": "knee",
    "ankle": "ankle_roll",
    "shoulder": "shoulder_roll",
    "elbow": "elbow",
    "wrist": "wrist_yaw",
}
"""Robot links (``<side>_<name>_link``) whose origins are the robot's joints."""

HAND_OFFSET = np.array([0.08, 0.0, 0.0])
"""Robot point that stands for the person's wrist among the keypoints, in the wrist yaw link [m]: the palm."""

HEAD_OFFSET = np.array([0.0, 0.0, 0.4])
"""Head of the robot in the torso link [m]; its neck is the middle of its shoulders."""

SEGMENTS = ("thigh", "shank", "upper_arm", "forearm", "trunk")
ORIENTED = {
    "pelvis": ("pelvis", "pelvis"),
    "torso": ("spine3", "torso_link"),
    "left_foot": ("left_ankle", "left_ankle_roll_link"),
    "right_foot": ("right_ankle", "right_ankle_roll_link"),
    "left_hand": ("left_wrist", "left_wrist_yaw_link"),
    "right_hand": ("right_wrist", "right_wrist_yaw_link"),
}
"""Compared orientations: human keypoint and robot link."""


def tpose_rotations() -> dict[str, np.ndarray]:
    """World rotations [3, 3] of the :data:`ORIENTED` links when the robot stands in a T-pose facing +X.

    Identity for pelvis, torso and feet. The arms need a quarter turn of the elbow (forearm in line with the upper arm)
    and one of the shoulder roll: ``R_x(+-90 deg) R_y(90 deg)``, palms down and thumbs ahead like the SOMA T-pose.
    """
    elbow = matrix_from_rotvec(np.array([0.0, 0.5 * np.pi, 0.0]))
    rotations = dict.fromkeys(ORIENTED, np.eye(3))
    for side, sign in (("left", 1.0), ("right", -1.0)):
        rotations[f"{side}_hand"] = matrix_from_rotvec(np.array([sign * 0.5 * np.pi, 0.0, 0.0])) @ elbow
    return rotations


@dataclass(frozen=True, eq=False)
class PoseTrack:
    """Errors of the robot's pose over time.

    Attributes:
        keypoint: [T, K] m, with one scale per clip.
        keypoint2: [T, K] m, with one scale for the legs and one for trunk and arms.
        scales: One-scale fit, legs, trunk and arms (robot / human).
        direction: [T, 5] rad, by :data:`SEGMENTS`, mean over left and right.
        orientation: [T, 6] rad, by :data:`ORIENTED`.
        orientation_unbiased: [T, 6] rad, each link's constant rotation over the clip removed.
        heading: [T] rad, difference of the yaw of the pelvis' forward axis, absolute.
        root_scale: Horizontal scale robot / human of the root's path about its mean, least squares (NaN if it stands).
        root_xy_rmse: Residual of that fit [m].
        root_z_rmse: Residual of the affine fit of the root's height [m].
    """

    keypoint: np.ndarray
    keypoint2: np.ndarray
    scales: tuple[float, float, float]
    direction: np.ndarray
    orientation: np.ndarray
    orientation_unbiased: np.ndarray
    heading: np.ndarray
    root_scale: float
    root_xy_rmse: float
    root_z_rmse: float


def pose_track(human: HumanKeypoints, robot: RobotModel, body_pos: np.ndarray, body_rot: np.ndarray) -> PoseTrack:
    """Compare a person and a robot frame by frame.

    Args:
        human: Keypoints [T].
        robot: The robot.
        body_pos: [T, B, 3] m, from ``RobotModel.body_poses``.
        body_rot: [T, B, 3, 3].
    """
    person = {name: human.positions[:, index] for index, name in enumerate(KEYPOINT_NAMES)}
    person |= {f"{side}_hand": person[f"{side}_wrist"] for side in ("left", "right")}
    machine = _robot_points(robot, body_pos, body_rot)
    legs = [f"{side}_{point}" for point in LEG_POINTS for side in ("left", "right")]
    arms = [*(f"{side}_{point}" for point in ARM_POINTS for side in ("left", "right")), *CENTRE_POINTS]
    person_all, machine_all = _hip_centred(person, legs + arms), _hip_centred(machine, legs + arms)
    one, error = _scaled_error(person_all, machine_all)
    leg_scale, leg_error = _scaled_error(person_all[:, : len(legs)], machine_all[:, : len(legs)])
    arm_scale, arm_error = _scaled_error(person_all[:, len(legs) :], machine_all[:, len(legs) :])
    orientation, unbiased = _orientation_errors(human, robot, body_rot)
    pelvis = human.rotations[:, human.index("pelvis")]
    turn = _yaw(body_rot[:, 0]) - _yaw(pelvis)
    scale, xy, z = _root_fit(person["pelvis"], body_pos[:, 0])
    return PoseTrack(
        keypoint=error,
        keypoint2=np.concatenate([leg_error, arm_error], axis=1),
        scales=(one, leg_scale, arm_scale),
        direction=_direction_errors(person, machine),
        orientation=orientation,
        orientation_unbiased=unbiased,
        heading=np.abs((turn + np.pi) % (2.0 * np.pi) - np.pi),
        root_scale=scale,
        root_xy_rmse=xy,
        root_z_rmse=z,
    )


def _robot_points(robot: RobotModel, body_pos: np.ndarray, body_rot: np.ndarray) -> dict[str, np.ndarray]:
    points: dict[str, np.ndarray] = {}
    for side in ("left", "right"):
        for point, link in POINT_LINKS.items():
            points[f"{side}_{point}"] = body_pos[:, robot.body_index(f"{side}_{link}_link")]
        wrist = robot.body_index(f"{side}_wrist_yaw_link")
        points[f"{side}_hand"] = body_pos[:, wrist] + body_rot[:, wrist] @ HAND_OFFSET
    torso = robot.body_index("torso_link")
    points["neck"] = _middle(points, "shoulder")
    points["head"] = body_pos[:, torso] + body_rot[:, torso] @ HEAD_OFFSET
    return points


def _middle(points: dict[str, np.ndarray], name: str) -> np.ndarray:
    return 0.5 * (points[f"left_{name}"] + points[f"right_{name}"])


def _hip_centred(points: dict[str, np.ndarray], names: list[str]) -> np.ndarray:
    return np.stack([points[name] for name in names], axis=1) - _middle(points, "hip")[:, None]


def _scaled_error(human: np.ndarray, robot: np.ndarray) -> tuple[float, np.ndarray]:
    scale = float((human * robot).sum() / (human * human).sum())
    return scale, np.linalg.norm(robot - scale * human, axis=-1)


def _direction_errors(human: dict[str, np.ndarray], robot: dict[str, np.ndarray]) -> np.ndarray:
    columns = []
    for start, end in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
        sides = [
            _angle(human[f"{side}_{end}"] - human[f"{side}_{start}"], robot[f"{side}_{end}"] - robot[f"{side}_{start}"])
            for side in ("left", "right")
        ]
        columns.append(0.5 * (sides[0] + sides[1]))
    trunks = [_middle(points, "shoulder") - _middle(points, "hip") for points in (human, robot)]
    return np.stack([*columns, _angle(*trunks)], axis=1)


def _angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    # atan2 of cross and dot: exact for small angles too.
    return np.arctan2(np.linalg.norm(np.cross(a, b), axis=-1), np.einsum("ti,ti->t", a, b))


def _orientation_errors(
    human: HumanKeypoints, robot: RobotModel, body_rot: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    tpose = tpose_rotations()
    raw, unbiased = [], []
    for name, (keypoint, link) in ORIENTED.items():
        wanted = human.rotations[:, human.index(keypoint)] @ tpose[name]
        found = body_rot[:, robot.body_index(link)]
        bias = project_to_so3(np.mean(np.swapaxes(wanted, -1, -2) @ found, axis=0))
        raw.append(geodesic_angle(wanted, found))
        unbiased.append(geodesic_angle(wanted @ bias, found))
    return np.stack(raw, axis=1), np.stack(unbiased, axis=1)


def _yaw(rotations: np.ndarray) -> np.ndarray:
    return np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0])


def _root_fit(human: np.ndarray, robot: np.ndarray) -> tuple[float, float, float]:
    h, r = human - human.mean(axis=0), robot - robot.mean(axis=0)
    power = float((h[:, :2] ** 2).sum())
    scale = float((h[:, :2] * r[:, :2]).sum()) / power if power > 1e-12 else float("nan")
    xy = r[:, :2] - (0.0 if np.isnan(scale) else scale) * h[:, :2]
    rise = float((h[:, 2] ** 2).sum())
    gain = float((h[:, 2] * r[:, 2]).sum()) / rise if rise > 1e-12 else 0.0
    z = r[:, 2] - gain * h[:, 2]
    return scale, float(np.sqrt((xy**2).sum(axis=1).mean())), float(np.sqrt((z**2).mean()))
