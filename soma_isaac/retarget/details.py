"""What a report needs to know of one clip, small and as JSON values: figures, thinned curves, key frames.

Everything is rounded and depends on the motion alone, so that the bytes of a clip's record are the same in every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from soma_isaac.math.so3 import rotvec_from_matrix
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.retarget.dynamics import ClipDynamics
from soma_isaac.retarget.feasibility import feasibility, torque_use_often
from soma_isaac.retarget.human import HumanKeypoints
from soma_isaac.retarget.metrics import ClipSeries, measure_clip, summarise
from soma_isaac.retarget.robot import RobotModel

VERSION = 2
SAMPLES = 240
"""Most samples of a curve; longer clips are thinned block by block."""

KEY_FRAMES = 4
"""Frames shown as pictures: spread evenly over the clip, the nearest to the largest keypoint error moved there."""


def clip_details(
    motion: SomaMotion, human: HumanKeypoints, robot_motion: RobotMotion, robot: RobotModel, dynamics: ClipDynamics
) -> dict[str, Any]:
    """The record of a clip.

    Args:
        motion: The person at the robot motion's rate.
        human: Its keypoints.
        robot_motion: The result.
        robot: The robot.
        dynamics: Its dynamics.

    Returns:
        JSON values: ``metrics`` (:class:`~soma_isaac.retarget.metrics.ClipMetrics`), ``dynamics``
        (:class:`~soma_isaac.retarget.feasibility.ClipFeasibility`), ``person``, ``source``, ``series`` (curves),
        ``limits`` (use of joint limits), ``key_frames`` (poses of person and robot).

    Raises:
        InputRejected: Frame counts, rates or joint names do not fit each other.
    """
    series = measure_clip(human, robot_motion, robot)
    metrics = summarise(series, robot_motion, robot)
    return {
        "version": VERSION,
        "source": {
            "format": motion.provenance.format,
            "fps_key": motion.provenance.fps_key,
            "up_axis": motion.provenance.up_axis,
            "notes": list(motion.provenance.notes),
        },
        "person": {
            "model": motion.identity.model,
            "gender": motion.identity.gender,
            "rest_source": motion.identity.rest_source,
            "stature": _rounded(human.stature, 4),
            "floor": _rounded(series.contacts.floor, 4),
        },
        "metrics": _rounded_figures(metrics.as_dict()),
        "dynamics": _rounded_figures(feasibility(dynamics).as_dict()),
        "series": _curves(series, dynamics, robot_motion),
        "limits": _limit_use(robot_motion, robot) | {"torque": _rounded(torque_use_often(dynamics), 3)},
        "key_frames": [_key_frame(motion, robot_motion, frame, why) for frame, why in _chosen_frames(series)],
    }


def _rounded_figures(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in figures.items()}


def _rounded(values: Any, digits: int) -> Any:
    # Adding 0.0 turns a rounded -0.0 into 0.0.
    return (np.round(np.asarray(values, dtype=np.float64), digits) + 0.0).tolist()


def _curves(series: ClipSeries, dynamics: ClipDynamics, motion: RobotMotion) -> dict[str, Any]:
    """Curves of at most :data:`SAMPLES` points; a thinned point shows the worst of its block."""
    frames = motion.frame_count
    starts = np.unique(np.linspace(0, frames, min(frames, SAMPLES), endpoint=False).astype(int))
    # A frame without a distance is NaN, which gives way to any number in its block.
    off_feet = np.fmax.reduceat(np.maximum(dynamics.outside, 0.0), starts)
    feet = {}
    for index, side in enumerate(("left", "right")):
        feet[side] = {
            "height": _rounded(np.minimum.reduceat(series.feet.height[:, index], starts), 4),
            "slide": _rounded(np.maximum.reduceat(series.feet.slide[:, index], starts), 3),
            "human_contact": _flags(series.contacts.contact[:, index], starts),
            "robot_contact": _flags(series.feet.contact[:, index], starts),
        }
    return {
        "time": _rounded(starts / motion.fps, 3),
        "feet": feet,
        "zmp_outside": [None if np.isnan(value) else value for value in _rounded(off_feet, 4)],
        "load": _rounded(np.maximum.reduceat(dynamics.force[:, 2] / dynamics.weight, starts), 2),
        "torque_use": _rounded(np.maximum.reduceat(dynamics.torque_use.max(axis=1), starts), 3),
        "keypoint_error": _rounded(np.maximum.reduceat(series.pose.keypoint2.mean(axis=1), starts), 4),
    }


def _flags(flags: np.ndarray, starts: np.ndarray) -> str:
    """``1`` where at least half of a block's frames are true, ``0`` elsewhere, as one string."""
    counts = np.diff(np.append(starts, len(flags)))
    return "".join("1" if share >= 0.5 else "0" for share in np.add.reduceat(flags.astype(int), starts) / counts)


def _limit_use(motion: RobotMotion, robot: RobotModel) -> dict[str, Any]:
    """Per joint: how close to a position limit (1: at it) and to the velocity limit it came."""
    middle, half = 0.5 * (robot.upper + robot.lower), 0.5 * (robot.upper - robot.lower)
    steps = np.abs(np.diff(motion.joint_pos, axis=0)) * motion.fps / robot.velocity_limit
    return {
        "joints": list(robot.joint_names),
        "position": _rounded((np.abs(motion.joint_pos - middle) / half).max(axis=0), 3),
        "velocity": _rounded(steps.max(axis=0) if len(steps) else np.zeros(len(half)), 3),
    }


def _chosen_frames(series: ClipSeries) -> list[tuple[int, str]]:
    """Frames to show and why, in time order."""
    error = series.pose.keypoint2.mean(axis=1)
    worst = int(error.argmax())
    spread = sorted({int((2 * index + 1) * len(error) / (2 * KEY_FRAMES)) for index in range(KEY_FRAMES)})
    nearest = min(spread, key=lambda frame: abs(frame - worst))
    kept = {frame: "" for frame in spread if frame != nearest}
    return sorted((kept | {worst: "largest keypoint error"}).items())


def _key_frame(motion: SomaMotion, robot_motion: RobotMotion, frame: int, why: str) -> dict[str, Any]:
    return {
        "frame": frame,
        "why": why,
        "soma_rotvec": _rounded(rotvec_from_matrix(motion.rotations[frame]), 4),
        "soma_root": _rounded(motion.root_translation[frame], 4),
        "robot_root_pos": _rounded(robot_motion.root_pos[frame], 4),
        "robot_root_quat_wxyz": _rounded(robot_motion.root_quat_wxyz[frame], 6),
        "robot_joint_pos": _rounded(robot_motion.joint_pos[frame], 4),
    }
