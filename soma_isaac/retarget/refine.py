"""What is done to solved frames: windows of a long clip joined, joint speeds held within limits."""

from __future__ import annotations

import numpy as np

from soma_isaac.math.so3 import continuous_quats
from soma_isaac.retarget.jacobian import Configuration


def window_spans(count: int, window: int, overlap: int) -> list[tuple[int, int]]:
    """Half-open spans that cover ``count`` items, neighbours sharing at least ``overlap``; one span if all fit."""
    if count <= window:
        return [(0, count)]
    overlap = max(1, min(overlap, window - 1))
    pieces = int(np.ceil((count - overlap) / (window - overlap)))
    starts = np.round(np.linspace(0, count - window, pieces)).astype(int)
    return [(int(start), int(start) + window) for start in starts]


def join(first: Configuration, second: Configuration, begin: int) -> Configuration:
    """Append ``second``, whose frame 0 is frame ``begin`` of the clip, to ``first``, blending the shared frames.

    Only the middle half of the shared frames is blended: what lies nearer to an end was solved without its neighbours.
    """
    shared = len(first) - begin
    u = np.clip(2.0 * (np.arange(shared) + 0.5) / max(shared, 1) - 0.5, 0.0, 1.0)
    share = (u**3 * (u * (6.0 * u - 15.0) + 10.0))[:, None]

    def blend(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        middle = (1.0 - share) * left[begin:] + share * right[:shared]
        return np.concatenate([left[:begin], middle, right[shared:]])

    left, right = continuous_quats(first.root_quat_wxyz), continuous_quats(second.root_quat_wxyz)
    if shared and np.dot(left[-1], right[shared - 1]) < 0.0:
        right = -right
    quats = blend(left, right)
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    return Configuration(blend(first.root_pos, second.root_pos), quats, blend(first.joint_pos, second.joint_pos))


def limit_speed(joints: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The joint path nearest to ``joints`` (in the largest deviation) that moves at most ``steps`` per frame.

    Args:
        joints: [T, N] rad.
        steps: [N] rad, largest allowed difference of neighbouring frames.

    Returns:
        [T, N]; columns that keep the limit are returned as they are, and the range of no column grows.

    The path through the middle between the lowest majorant and the highest minorant with that slope: both have the
    slope limit, so their mean has it, and no path with the limit is nearer in the maximum norm.
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


def soften(joints: np.ndarray, largest: float, rounds: int = 10_000) -> np.ndarray:
    """Round off corners of a joint path: second differences above ``largest`` [rad per frame squared].

    Frames at a corner are averaged with their neighbours, (1, 2, 1) / 4, until it is gone: every new value is a mean of
    old ones and every new step a mean of old steps, so limits on both still hold.

    Args:
        joints: [T, N] rad.
        largest: Bound on ``|d2 joints|``.
        rounds: At most so many averages; their number grows with the square of the frame rate.

    Returns:
        [T, N]; the same array where nothing exceeds the bound.
    """
    for _ in range(rounds):
        bend = np.diff(joints, n=2, axis=0)
        sharp = np.abs(bend) > largest
        if not sharp.any():
            break
        near = sharp.copy()
        near[1:] |= sharp[:-1]
        near[:-1] |= sharp[1:]
        joints = joints.copy()
        joints[1:-1] += np.where(near, 0.25 * bend, 0.0)
    return joints
