"""How good a retargeted clip is: one scorer for every method, robot floor at z = 0.

The definitions follow the scorer behind the published comparison of GMR, soma-retargeter and others; where words left a
choice (central differences for the person's speed, which links are keypoints, equal weight of the five limb directions)
it was settled by scoring the soma-retargeter results in the BONES-SEED samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.retarget.collision import lowest_points, pair_distances
from soma_isaac.retarget.human import HumanKeypoints
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.scoring_feet import FootTrack, HumanContacts, foot_figures, foot_track, human_contacts
from soma_isaac.retarget.scoring_pose import SEGMENTS, PoseTrack, pose_track

LIMIT_TOLERANCE = 1e-4
LIMIT_NEAR = 0.01
JUMP = 0.5
COLLISION_DEPTH = 0.005
COLLISION_BLOCK = 64
"""Frames per block of the self-collision check: keeps its temporaries inside the processor's cache."""


@dataclass(frozen=True)
class ClipMetrics:
    """Figures of one clip; NaN where a clip has nothing to measure (no foot contact, a root that stands).

    Attributes:
        frames: Number of frames T.
        fps: Frame rate [Hz].
        jl_frac: Share of (frame, joint) outside the position limits by more than 1e-4 rad.
        jl_max: Largest excess over a position limit [rad].
        jl_sat: Share of (frame, joint) inside, within 0.01 rad of a limit.
        vl_frac: Share of (step, joint) with ``|dq| fps`` above the velocity limit.
        vl_ratio: Largest ``|dq| fps / limit``.
        step_max: Largest joint step between frames [rad].
        jumps: Number of (frame, joint) with ``|d2q| > 0.5`` rad.
        acc95: 95th percentile of ``|d2q| fps^2`` [rad/s^2].
        jerk_mean: Mean of ``|d3q| fps^3`` [rad/s^3].
        jerk95: 95th percentile of it [rad/s^3].
        rootjerk: Mean of ``|d3 root_pos| fps^3`` [m/s^3].
        skate_R: Mean horizontal speed of the lowest sole corner in the robot's contacts [m/s].
        skate_H: The same in the person's contacts [m/s].
        skate10_R: Share of the robot's contacts with that speed above 0.10 m/s.
        skate10_H: The same for the person's contacts.
        contact_share_R: Share of (frame, foot) in the robot's contact.
        contact_share_H: Share of (frame, foot) in the person's contact.
        pen_min: Lowest sole corner over the clip [m].
        pen_frac: Share of frames with a sole corner below -0.01 m.
        pen_frac_adj: The same after subtracting ``hbias``.
        bodypen_min: Lowest point of any collision shape [m].
        float_frac: Share of the person's contacts with the robot's lowest corner above 0.02 m.
        float_frac_adj: The same after subtracting ``hbias``.
        float_mean: Mean height of the lowest corner in the person's contacts [m].
        contact_h_std: Standard deviation of that height [m].
        hbias: Median of that height [m].
        tilt_deg: Mean angle between sole and floor where the person's ball and ankle are both down [deg].
        sc_frac: Share of frames with two non-adjacent links deeper than 0.005 m inside each other.
        sc_max: Deepest such penetration [m].
        kp_mean: Mean keypoint error, hip-centred, world axes, one least-squares scale per clip [m].
        kp_p95: 95th percentile of it [m].
        kp_scale: That scale (robot / human).
        kp2_mean: Mean keypoint error with one scale for the legs and one for trunk and arms [m].
        kp2_p95: 95th percentile of it [m].
        kp2_scale_legs: Scale of the legs.
        kp2_scale_arms: Scale of trunk and arms.
        dir_mean: Mean angle between human and robot limb segments [deg].
        dir_thigh: Thighs only [deg].
        dir_shank: Shanks only [deg].
        dir_upper_arm: Upper arms only [deg].
        dir_forearm: Forearms only [deg].
        dir_trunk: Trunk only [deg].
        ori_mean: Mean orientation error of pelvis, torso, feet and hands with fixed T-pose offsets [deg].
        ori_p95: 95th percentile of it [deg].
        orib_mean: Mean orientation error with each link's constant rotation over the clip removed [deg].
        root_scale: Horizontal scale of the root's path robot / human, least squares.
        root_xy_rmse: Residual of that [m].
        root_z_rmse: Residual of the affine fit of the root's height [m].
        head_deg: Mean difference of the pelvis' heading [deg].
    """

    frames: int
    fps: float
    jl_frac: float
    jl_max: float
    jl_sat: float
    vl_frac: float
    vl_ratio: float
    step_max: float
    jumps: int
    acc95: float
    jerk_mean: float
    jerk95: float
    rootjerk: float
    skate_R: float
    skate_H: float
    skate10_R: float
    skate10_H: float
    contact_share_R: float
    contact_share_H: float
    pen_min: float
    pen_frac: float
    pen_frac_adj: float
    bodypen_min: float
    float_frac: float
    float_frac_adj: float
    float_mean: float
    contact_h_std: float
    hbias: float
    tilt_deg: float
    sc_frac: float
    sc_max: float
    kp_mean: float
    kp_p95: float
    kp_scale: float
    kp2_mean: float
    kp2_p95: float
    kp2_scale_legs: float
    kp2_scale_arms: float
    dir_mean: float
    dir_thigh: float
    dir_shank: float
    dir_upper_arm: float
    dir_forearm: float
    dir_trunk: float
    ori_mean: float
    ori_p95: float
    orib_mean: float
    root_scale: float
    root_xy_rmse: float
    root_z_rmse: float
    head_deg: float

    def as_dict(self) -> dict[str, float | int | None]:
        """All figures by name; ``None`` for NaN, so that it is valid JSON."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values}


@dataclass(frozen=True, eq=False)
class ClipSeries:
    """What is measured frame by frame.

    Attributes:
        feet: The robot's soles.
        contacts: The person's contacts.
        pose: Pose errors.
        penetration: [T] m, deepest self-penetration (0: none).
        lowest: [T] m, lowest point of any collision shape.
    """

    feet: FootTrack
    contacts: HumanContacts
    pose: PoseTrack
    penetration: np.ndarray
    lowest: np.ndarray


def score_clip(human: HumanKeypoints, motion: RobotMotion, robot: RobotModel) -> ClipMetrics:
    """Score a retargeted clip against the person it came from.

    Raises:
        InputRejected: Frame counts, rates or joint names do not fit each other.
    """
    return summarise(measure_clip(human, motion, robot), motion, robot)


def measure_clip(human: HumanKeypoints, motion: RobotMotion, robot: RobotModel) -> ClipSeries:
    """Measure a retargeted clip frame by frame.

    Raises:
        InputRejected: Frame counts, rates or joint names do not fit each other.
    """
    if len(human.positions) != motion.frame_count or abs(human.fps - motion.fps) > 1e-6:
        raise InputRejected(
            f"the person has {len(human.positions)} frames at {human.fps:g} Hz and the robot {motion.frame_count} at "
            f"{motion.fps:g} Hz; resample one of them"
        )
    if motion.joint_names != robot.joint_names:
        raise InputRejected("the robot motion's joints are not those of the robot model, in its order")
    body_pos, body_rot = robot.body_poses(motion.root_pos, motion.root_quat_wxyz, motion.joint_pos)
    return ClipSeries(
        feet=foot_track(robot, body_pos, body_rot, motion.fps),
        contacts=human_contacts(human),
        pose=pose_track(human, robot, body_pos, body_rot),
        penetration=_penetration(robot, body_pos, body_rot),
        lowest=lowest_points(robot.shapes, body_pos, body_rot).min(axis=1),
    )


def summarise(series: ClipSeries, motion: RobotMotion, robot: RobotModel) -> ClipMetrics:
    """Reduce the series of a clip to its figures."""
    pose = series.pose
    direction = np.rad2deg(pose.direction.mean(axis=0))
    orientation = np.rad2deg(pose.orientation)
    return ClipMetrics(
        frames=motion.frame_count,
        fps=motion.fps,
        **_joint_figures(motion, robot),
        **foot_figures(series.feet, series.contacts),
        bodypen_min=float(series.lowest.min()),
        sc_frac=float((series.penetration > COLLISION_DEPTH).mean()),
        sc_max=float(series.penetration.max()),
        kp_mean=float(pose.keypoint.mean()),
        kp_p95=float(np.percentile(pose.keypoint, 95.0)),
        kp_scale=pose.scales[0],
        kp2_mean=float(pose.keypoint2.mean()),
        kp2_p95=float(np.percentile(pose.keypoint2, 95.0)),
        kp2_scale_legs=pose.scales[1],
        kp2_scale_arms=pose.scales[2],
        dir_mean=float(direction.mean()),
        dir_thigh=float(direction[SEGMENTS.index("thigh")]),
        dir_shank=float(direction[SEGMENTS.index("shank")]),
        dir_upper_arm=float(direction[SEGMENTS.index("upper_arm")]),
        dir_forearm=float(direction[SEGMENTS.index("forearm")]),
        dir_trunk=float(direction[SEGMENTS.index("trunk")]),
        ori_mean=float(orientation.mean()),
        ori_p95=float(np.percentile(orientation, 95.0)),
        orib_mean=float(np.rad2deg(pose.orientation_unbiased.mean())),
        root_scale=pose.root_scale,
        root_xy_rmse=pose.root_xy_rmse,
        root_z_rmse=pose.root_z_rmse,
        head_deg=float(np.rad2deg(pose.heading.mean())),
    )


def _joint_figures(motion: RobotMotion, robot: RobotModel) -> dict[str, Any]:
    joints, fps = motion.joint_pos, motion.fps
    excess = np.maximum(joints - robot.upper, robot.lower - joints)
    first, second, third = (np.abs(np.diff(joints, n=order, axis=0)) for order in (1, 2, 3))
    velocity = first * fps / robot.velocity_limit
    root = np.linalg.norm(np.diff(motion.root_pos, n=3, axis=0), axis=-1)
    return {
        "jl_frac": float((excess > LIMIT_TOLERANCE).mean()),
        "jl_max": max(0.0, float(excess.max())),
        "jl_sat": float(((excess <= LIMIT_TOLERANCE) & (excess > -LIMIT_NEAR)).mean()),
        "vl_frac": _or_zero(np.mean, velocity > 1.0),
        "vl_ratio": _or_zero(np.max, velocity),
        "step_max": _or_zero(np.max, first),
        "jumps": int((second > JUMP).sum()),
        "acc95": _or_zero(lambda values: np.percentile(values, 95.0), second) * fps**2,
        "jerk_mean": _or_zero(np.mean, third) * fps**3,
        "jerk95": _or_zero(lambda values: np.percentile(values, 95.0), third) * fps**3,
        "rootjerk": _or_zero(np.mean, root) * fps**3,
    }


def _or_zero(reduce: Callable[[np.ndarray], Any], values: np.ndarray) -> float:
    """A clip too short for a difference has nothing that moves."""
    return float(reduce(values)) if values.size else 0.0


def _penetration(robot: RobotModel, body_pos: np.ndarray, body_rot: np.ndarray) -> np.ndarray:
    deepest = np.zeros(len(body_pos))
    for start in range(0, len(body_pos), COLLISION_BLOCK):
        block = slice(start, start + COLLISION_BLOCK)
        distances = pair_distances(robot.shapes, body_pos[block], body_rot[block])
        deepest[block] = np.maximum(0.0, -distances.min(axis=1))
    return deepest
