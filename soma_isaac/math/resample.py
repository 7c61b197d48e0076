"""Resampling of sampled motion in time: same duration, twice continuously differentiable, free of aliases.

Slerp between source frames has a kink of velocity at every one of them, which a robot's joints would show as jerk. Here
rotations are interpolated as unit quaternions by one cubic spline per component, then normalised: C2 in time, exact at
the source frames, and independent of the axes chosen (turning the world or the body is linear on quaternions, so it
commutes with the spline). Going to a lower rate, what the target cannot hold is filtered off first with zero phase.
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import convolve1d

from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import continuous_quats, matrix_from_quat_xyzw, quat_xyzw_from_matrix

PASS_BAND = 0.3
STOP_BAND = 0.5
"""Edges of the anti-alias filter over the target rate: untouched below 15 Hz at 50 Hz, gone above 25 Hz."""
STOP_ATTENUATION_DB = 50.0
LEAST_NORM = 0.05
"""A blend of quaternions shorter than this points nowhere. (Half a revolution per target period still gives 1.)"""


def resample_times(frame_count: int, fps: float, target_fps: float) -> np.ndarray:
    """Times [s] of the frames at ``target_fps`` that lie within the clip, first frame at 0.

    A clip of T frames lasts (T - 1) / fps seconds; the result never reaches beyond its last frame and ends less than
    one target period before it.

    Raises:
        InputRejected: There is no frame.
    """
    if frame_count < 1:
        raise InputRejected("a clip without frames cannot be resampled")
    periods = (frame_count - 1) * target_fps / fps
    return np.arange(int(np.floor(periods + 1e-6)) + 1) / target_fps


def resample_points(values: np.ndarray, fps: float, target_fps: float) -> np.ndarray:
    """Resample vectors [T, ...] from ``fps`` to ``target_fps`` [Hz]; equal rates return the array itself.

    Raises:
        InputRejected: There is no frame.
    """
    values = np.asarray(values, dtype=np.float64)
    if target_fps == fps:
        return values
    times = resample_times(len(values), fps, target_fps)
    return _spline(_low_passed(values, fps, target_fps), fps, times)


def resample_rotations(matrices: np.ndarray, fps: float, target_fps: float) -> np.ndarray:
    """Resample rotations [T, ..., 3, 3] from ``fps`` to ``target_fps`` [Hz]; equal rates return the array itself.

    Steps of half a turn or more between source frames are ambiguous; the shorter way is taken.

    Raises:
        InputRejected: There is no frame, or a joint turns so fast that its mean direction vanishes.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    if target_fps == fps:
        return matrices
    times = resample_times(len(matrices), fps, target_fps)
    quats_xyzw = continuous_quats(quat_xyzw_from_matrix(matrices))
    quats_xyzw = _spline(_low_passed(quats_xyzw, fps, target_fps), fps, times)
    norms = np.linalg.norm(quats_xyzw, axis=-1)
    if norms.min() < LEAST_NORM:
        frame = int(np.unravel_index(int(norms.argmin()), norms.shape)[0])
        raise InputRejected(
            f"turns too fast to be told at {target_fps:g} Hz near {times[frame]:.2f} s; are these frames of one motion?"
        )
    return matrix_from_quat_xyzw(quats_xyzw)


def mean_of_steps(steps: np.ndarray) -> np.ndarray:
    """Frame values [T, ...] from step values [T - 1, ...]: the mean of the neighbours, one step at the ends."""
    if len(steps) == 0:
        return np.zeros((1, *steps.shape[1:]))
    return np.concatenate([steps[:1], 0.5 * (steps[1:] + steps[:-1]), steps[-1:]])


def _spline(values: np.ndarray, fps: float, times: np.ndarray) -> np.ndarray:
    """Evaluate the interpolating cubic spline (not-a-knot ends) of frames ``values`` [T, ...] at ``times`` [s]."""
    if len(values) == 1:
        return np.repeat(values, len(times), axis=0)
    if len(values) == 2:
        share = np.minimum(times * fps, 1.0).reshape(-1, *[1] * (values.ndim - 1))
        return values[0] + share * (values[1] - values[0])
    flat = values.reshape(len(values), -1)
    result = CubicSpline(np.arange(len(flat)), flat, axis=0)(np.minimum(times * fps, len(flat) - 1))
    return result.reshape(len(times), *values.shape[1:])


def _low_passed(values: np.ndarray, fps: float, target_fps: float) -> np.ndarray:
    """Remove what ``target_fps`` cannot hold, with zero phase; a steady value and a steady speed pass exactly.

    Windowed sinc (Kaiser). Beyond the ends the clip is continued by point reflection, which keeps value and speed.
    """
    if target_fps >= fps or len(values) < 2:
        return values
    taps = anti_alias_taps(fps, target_fps)
    reach = len(taps) // 2
    edges = [(reach, reach), *[(0, 0)] * (values.ndim - 1)]
    padded = np.pad(values, edges, mode="reflect", reflect_type="odd")
    return convolve1d(padded, taps, axis=0)[reach:-reach]


def anti_alias_taps(fps: float, target_fps: float) -> np.ndarray:
    """Symmetric filter taps [2 K + 1] with sum 1 for going from ``fps`` down to ``target_fps`` [Hz].

    Kaiser's design formulas: transition from 0.3 to 0.5 of the target rate at 50 dB.
    """
    cutoff = 0.5 * (PASS_BAND + STOP_BAND) * target_fps / fps
    width = 2.0 * np.pi * (STOP_BAND - PASS_BAND) * target_fps / fps
    reach = int(np.ceil((STOP_ATTENUATION_DB - 8.0) / (2.285 * width) / 2.0))
    beta = 0.5842 * (STOP_ATTENUATION_DB - 21.0) ** 0.4 + 0.07886 * (STOP_ATTENUATION_DB - 21.0)
    steps = np.arange(-reach, reach + 1)
    taps = 2.0 * cutoff * np.sinc(2.0 * cutoff * steps) * np.kaiser(2 * reach + 1, beta)
    return taps / taps.sum()
