"""A motion between its frames: rotations the short way along the great circle, places along the line."""

from __future__ import annotations

import numpy as np

from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.motion.soma import SomaMotion


def frame_share(time: float, fps: float, frame_count: int) -> tuple[int, int, float]:
    """The frames around a time and how far it is from the first to the second, 0 to 1; times outside are clamped.

    Args:
        time: s, from the first frame.
        fps: Frame rate [Hz].
        frame_count: Frames of the clip.
    """
    position = min(max(time * fps, 0.0), frame_count - 1.0)
    frame = min(int(position), max(frame_count - 2, 0))
    return frame, min(frame + 1, frame_count - 1), position - frame


def between_rotations(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """Rotations [..., 3, 3] at a share of the short way from ``start`` to ``end``, as the sim's clips take it."""
    return start @ matrix_from_rotvec(share * rotvec_from_matrix(np.swapaxes(start, -1, -2) @ end))


def pose_at(motion: SomaMotion, time: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotations [77, 3, 3] and hips [3] m of a motion at ``time`` [s]; outside it, those of its nearest end."""
    first, second, share = frame_share(time, motion.fps, motion.frame_count)
    if share == 0.0:
        return motion.rotations[first], motion.root_translation[first]
    places = motion.root_translation
    hips = places[first] * (1.0 - share) + places[second] * share
    return between_rotations(motion.rotations[first], motion.rotations[second], share), hips
