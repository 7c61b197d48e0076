"""What the feet do: contacts of the person and of the robot, and how the robot's soles slide, sink, float and tilt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

from soma_isaac.retarget.human import HumanKeypoints
from soma_isaac.retarget.robot import RobotModel

REFERENCE_STATURE = 1.767
"""Stature [m] (``HumanKeypoints.stature``) of the template body; the height thresholds below scale with the stature."""

BALL_HEIGHT = 0.07
ANKLE_HEIGHT = 0.12
CONTACT_SPEED = 0.35
BALL_ABOVE_FLOOR = 0.02
FLOAT_HEIGHT = 0.02
PENETRATION_DEPTH = 0.01
SLIDE_SPEED = 0.10


@dataclass(frozen=True, eq=False)
class HumanContacts:
    """Contacts of the person's feet, left and right.

    Attributes:
        contact: [T, 2] bool, ball or ankle low and slow.
        flat: [T, 2] bool, ball and ankle low and slow.
        floor: Height of the floor in the clip [m].
    """

    contact: np.ndarray
    flat: np.ndarray
    floor: float


@dataclass(frozen=True, eq=False)
class FootTrack:
    """The robot's soles over time, left and right.

    Attributes:
        height: [T, 2] m, lowest sole corner above z = 0.
        slide: [T, 2] m/s, horizontal speed of that corner as a material point (backward difference; frame 0 is zero).
        tilt: [T, 2] rad, angle between the sole's normal and the vertical.
        contact: [T, 2] bool, lowest corner less than 0.02 m above the clip's own floor.
    """

    height: np.ndarray
    slide: np.ndarray
    tilt: np.ndarray
    contact: np.ndarray


def human_contacts(human: HumanKeypoints) -> HumanContacts:
    """Contacts of the person by height and speed.

    A foot is in contact where its ball is lower than ``0.07 s`` above the floor and slower than 0.35 m/s, or its ankle
    lower than ``0.12 s`` and slower than 0.35 m/s; median filtered over three frames. ``s`` is the stature over
    the template's; the floor is the 1st percentile of the lower ball joint minus 0.02 m; speeds are 3-D central
    differences.
    """
    scale = human.stature / REFERENCE_STATURE
    balls = human.positions[:, [human.index("left_foot"), human.index("right_foot")]]
    ankles = human.positions[:, [human.index("left_ankle"), human.index("right_ankle")]]
    floor = float(np.percentile(balls[..., 2].min(axis=1), 1.0)) - BALL_ABOVE_FLOOR
    ball_down = (balls[..., 2] - floor < BALL_HEIGHT * scale) & (_speed(balls, human.fps) < CONTACT_SPEED)
    ankle_down = (ankles[..., 2] - floor < ANKLE_HEIGHT * scale) & (_speed(ankles, human.fps) < CONTACT_SPEED)
    contact = _median3(ball_down | ankle_down)
    return HumanContacts(contact, _median3(ball_down) & _median3(ankle_down) & contact, floor)


def foot_track(robot: RobotModel, body_pos: np.ndarray, body_rot: np.ndarray, fps: float) -> FootTrack:
    """Soles of a robot clip.

    Args:
        robot: The robot.
        body_pos: [T, B, 3] m, from ``RobotModel.body_poses``.
        body_rot: [T, B, 3, 3].
        fps: Frame rate [Hz].
    """
    corners = robot.sole_corners(body_pos, body_rot)
    lowest = corners[..., 2].argmin(axis=2)
    height = np.take_along_axis(corners[..., 2], lowest[..., None], axis=2)[..., 0]
    speed = np.zeros(corners.shape[:3])
    speed[1:] = np.linalg.norm(np.diff(corners[..., :2], axis=0), axis=-1) * fps
    slide = np.take_along_axis(speed, lowest[..., None], axis=2)[..., 0]
    normals = body_rot[:, list(robot.foot_bodies), 2, 2]
    own_floor = np.percentile(height.min(axis=1), 2.0)
    return FootTrack(height, slide, np.arccos(np.clip(normals, -1.0, 1.0)), height - own_floor < FLOAT_HEIGHT)


def foot_figures(track: FootTrack, human: HumanContacts) -> dict[str, Any]:
    """The foot metrics by name; NaN where the clip has no such contact.

    ``skate``: mean slide over contact frames; ``skate10``: share of them above 0.10 m/s; both leave out frame 0, which
    has no backward difference. ``_R``: the robot's own contacts, ``_H``: the person's. ``hbias`` is the median height
    in the person's contacts, and the ``_adj`` figures are those after subtracting it.
    """
    figures: dict[str, float] = {}
    for suffix, contact in (("R", track.contact), ("H", human.contact)):
        slides = track.slide[1:][contact[1:]]
        figures[f"skate_{suffix}"] = _mean(slides)
        figures[f"skate10_{suffix}"] = _mean(slides > SLIDE_SPEED)
        figures[f"contact_share_{suffix}"] = float(contact.mean())
    heights = track.height[human.contact]
    bias = float(np.median(heights)) if heights.size else float("nan")
    lowest = track.height.min(axis=1)
    adjustment = 0.0 if np.isnan(bias) else bias
    return figures | {
        "pen_min": float(lowest.min()),
        "pen_frac": _mean(lowest < -PENETRATION_DEPTH),
        "pen_frac_adj": _mean(lowest - adjustment < -PENETRATION_DEPTH),
        "float_frac": _mean(heights > FLOAT_HEIGHT),
        "float_frac_adj": _mean(heights - adjustment > FLOAT_HEIGHT),
        "float_mean": _mean(heights),
        "contact_h_std": float(heights.std()) if heights.size else float("nan"),
        "hbias": bias,
        "tilt_deg": float(np.rad2deg(_mean(track.tilt[human.flat]))),
    }


def _speed(points: np.ndarray, fps: float) -> np.ndarray:
    if len(points) < 2:
        return np.zeros(points.shape[:-1])
    return np.linalg.norm(np.gradient(points, axis=0), axis=-1) * fps


def _median3(flags: np.ndarray) -> np.ndarray:
    return median_filter(flags.astype(np.uint8), size=(3, 1), mode="nearest").astype(bool)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else float("nan")
