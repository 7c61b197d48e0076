"""The last pass over a clip: joint speeds within limits, whatever the targets ask for."""

from __future__ import annotations

import numpy as np


def limit_speed(joints: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The joint path nearest to ``joints`` (in the largest deviation) that moves at most ``steps`` per frame.

    Args:
        joints: [T, N] rad.
        steps: [N] rad, largest allowed difference of neighbouring frames.

    Returns:
        [T, N]; columns that keep the limit are returned as they are, and the range of no column grows.

    The path through the middle between the lowest majorant and the highest minorant with that slope: both have the slope
    limit, so their mean has it, and no path with the limit is nearer in the maximum norm.
    """
    out = joints.copy()
    if len(joints) < 2:
        return out
    fast = np.flatnonzero((np.abs(np.diff(joints, axis=0)) > steps).any(axis=0))
    if fast.size:
        values, slope = joints[:, fast], np.arange(len(joints))[:, None] * steps[fast]
        above = -_minorant(-values, slope)
        out[:, fast] = 0.5 * (above + _minorant(values, slope))
    return out


def _minorant(values: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Greatest function below ``values`` [T, K] that moves at most as fast as ``slope`` [T, K] does."""
    forward = np.minimum.accumulate(values - slope, axis=0) + slope
    backward = np.minimum.accumulate((values + slope)[::-1], axis=0)[::-1] - slope
    return np.minimum(forward, backward)
