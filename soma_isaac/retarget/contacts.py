"""When a person's heels and balls of the foot are on the floor, and where that floor is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.math.runs import runs
from soma_isaac.retarget.human import HumanKeypoints
from soma_isaac.retarget.settings import ContactConfig

REFERENCE_STATURE = 1.767
"""Stature [m] of the template body, for which the heights in :class:`ContactConfig` hold; they scale with it."""

BALL_ABOVE_FLOOR = 0.02
"""Height [m] of the joint at the ball of the foot above the sole of the template body."""


FOOT_HEIGHT = 0.15
"""No ankle of a standing foot is higher above the floor [m, template body]."""


@dataclass(frozen=True, eq=False)
class FootContacts:
    """Contacts of the left and right foot.

    Attributes:
        floor: Height [m] of the floor in the person's world.
        heel: [T, 2] bool.
        ball: [T, 2] bool.
    """

    floor: float
    heel: np.ndarray
    ball: np.ndarray

    @property
    def any(self) -> np.ndarray:
        """[T, 2] bool, some part of the foot is planted."""
        return self.heel | self.ball

    @property
    def flat(self) -> np.ndarray:
        """[T, 2] bool, the whole sole is planted."""
        return self.heel & self.ball


def floor_height(human: HumanKeypoints) -> float:
    """Floor [m] under a clip: the 1st percentile of the lower ball joint, less the flesh under it."""
    balls = human.positions[:, [human.index("left_foot"), human.index("right_foot")], 2]
    return float(np.percentile(balls.min(axis=1), 1.0)) - BALL_ABOVE_FLOOR * human.stature / REFERENCE_STATURE


def detect_contacts(human: HumanKeypoints, config: ContactConfig) -> FootContacts:
    """Contacts of both feet over a clip.

    Args:
        human: Keypoints at the rate at which contacts are wanted.
        config: Thresholds.

    Returns:
        Flags per frame; a clip of one frame is judged by height alone.
    """
    floor = floor_height(human)
    size = human.stature / REFERENCE_STATURE
    balls = human.positions[:, [human.index("left_foot"), human.index("right_foot")]]
    ankles = human.positions[:, [human.index("left_ankle"), human.index("right_ankle")]]

    def phases(points: np.ndarray, on: float, off: float) -> np.ndarray:
        speed = _speed(points, human.fps)
        height = points[..., 2] - _standing_height(points[..., 2], speed < config.speed_on, floor, size)
        begin = (speed < config.speed_on) & (height < on * size)
        keep = (speed < config.speed_off) & (height < off * size)
        flags = [_clean(_hysteresis(begin[:, f], keep[:, f]), config, human.fps) for f in range(2)]
        return np.stack(flags, axis=1)

    return FootContacts(
        floor, phases(ankles, config.heel_on, config.heel_off), phases(balls, config.ball_on, config.ball_off)
    )


def _standing_height(heights: np.ndarray, slow: np.ndarray, floor: float, size: float) -> float:
    """Height of a joint of the feet when they stand: low among the slow frames, and no higher than a foot is tall.

    Flexing toes dip below the sole of a standing foot in some data, so that the floor alone does not tell.
    """
    candidates = heights[slow & (heights < floor + FOOT_HEIGHT * size)]
    return float(np.percentile(candidates, 20.0)) if candidates.size else floor + BALL_ABOVE_FLOOR * size


def _speed(points: np.ndarray, fps: float) -> np.ndarray:
    if len(points) < 2:
        return np.zeros(points.shape[:-1])
    return np.linalg.norm(np.gradient(points, axis=0), axis=-1) * fps


def _hysteresis(begin: np.ndarray, keep: np.ndarray) -> np.ndarray:
    flags = np.zeros_like(keep)
    for start, stop in runs(keep | begin):
        flags[start:stop] = begin[start:stop].any()
    return flags


def _clean(flags: np.ndarray, config: ContactConfig, fps: float) -> np.ndarray:
    flags = flags.copy()
    for start, stop in runs(~flags):
        if start > 0 and stop < len(flags) and (stop - start) < config.gap * fps:
            flags[start:stop] = True
    for start, stop in runs(flags):
        touches_end = start == 0 or stop == len(flags)
        if not touches_end and (stop - start) < config.shortest * fps:
            flags[start:stop] = False
    return flags
