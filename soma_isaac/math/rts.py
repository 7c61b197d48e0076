"""Smoothing of sampled motion: Rauch-Tung-Striebel with constant (angular) velocity, and the One-Euro filter.

State of a channel: value and its rate. ``F = [[1, dt], [0, 1]]``, ``Q = diag(q_pos dt, q_vel dt)``, observation
variance ``r_obs``; first covariance ``diag(r_obs, max(q_vel dt, 0.01))``. For rotations the value is a point on SO(3),
the rate an angular velocity in the body's frame and all differences are logarithms (error-state filter). Neither the
covariances nor the gains depend on the data, and the three axes of a rotation do not mix in them: the whole schedule
is one 2 x 2 recursion per set of gains, computed before any frame is looked at (SOMA-X 0.3.4 carries a 6 x 6
covariance per joint and frame to the same result).

One-Euro: Casiez, Roussel and Vogel, CHI 2012, extended to SO(3) by the logarithm. It looks only at the past.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import continuous_quats, matrix_from_quat_xyzw, quat_xyzw_from_matrix

_LEAST_RATE_VARIANCE = 1e-2
_SMALL_ANGLE = 1e-8


@dataclass(frozen=True)
class RtsGains:
    """Noise of a constant-velocity model.

    Attributes:
        r_obs: Variance of an observation.
        q_pos: Growth of the value's variance per second.
        q_vel: Growth of the rate's variance per second.
    """

    r_obs: float
    q_pos: float
    q_vel: float

    def __post_init__(self) -> None:
        """Check signs.

        Raises:
            InputRejected: A value is not finite or not positive (``q_pos`` may be 0).
        """
        values = np.array([self.r_obs, self.q_pos, self.q_vel])
        if not np.isfinite(values).all() or values.min() < 0.0 or self.r_obs <= 0.0 or self.q_vel <= 0.0:
            raise InputRejected(f"{self} are no noise variances: r_obs and q_vel above 0, q_pos not below")


@dataclass(frozen=True)
class OneEuroGains:
    """Settings of the One-Euro filter.

    Attributes:
        min_cutoff: Cutoff frequency [Hz] at rest.
        beta: Growth of the cutoff [Hz] with speed [per unit/s].
        rate_cutoff: Cutoff frequency [Hz] of the speed.
    """

    min_cutoff: float
    beta: float
    rate_cutoff: float = 1.0


@dataclass(frozen=True, eq=False)
class RtsSchedule:
    """Gains of all frames for G sets of noise.

    Attributes:
        filter: [T, G, 2] Kalman gains (value, rate); row 0 is not used.
        smoother: [T, G, 2, 2] backward gains; the last row is not used.
    """

    filter: np.ndarray
    smoother: np.ndarray


def rts_schedule(frame_count: int, fps: float, gains: Sequence[RtsGains]) -> RtsSchedule:
    """Gains of a clip, without looking at it.

    Args:
        frame_count: T.
        fps: Frame rate [Hz].
        gains: G sets of noise.
    """
    dt = 1.0 / fps
    observed, drift, rate = np.array([[g.r_obs, g.q_pos * dt, g.q_vel * dt] for g in gains]).T
    forward = np.zeros((frame_count, len(gains), 2))
    backward = np.zeros((frame_count, len(gains), 2, 2))
    # covariance [[a, b], [b, c]]
    a, b, c = observed.copy(), np.zeros(len(gains)), np.maximum(rate, _LEAST_RATE_VARIANCE)
    for frame in range(1, frame_count):
        ahead_a, ahead_b, ahead_c = a + 2.0 * dt * b + dt * dt * c + drift, b + dt * c, c + rate
        determinant = ahead_a * ahead_c - ahead_b**2
        # P F^T inv(P ahead)
        rows = ((a + dt * b, b), (b + dt * c, c))
        for row, (left, right) in enumerate(rows):
            backward[frame - 1, :, row, 0] = (left * ahead_c - right * ahead_b) / determinant
            backward[frame - 1, :, row, 1] = (right * ahead_a - left * ahead_b) / determinant
        total = ahead_a + observed
        forward[frame, :, 0], forward[frame, :, 1] = ahead_a / total, ahead_b / total
        a, b, c = ahead_a * observed / total, ahead_b * observed / total, ahead_c - ahead_b**2 / total
    return RtsSchedule(forward, backward)


def rts_points(values: np.ndarray, fps: float, gains: RtsGains) -> np.ndarray:
    """Smooth vectors [T, ...], each component by itself; clips of one frame come back as they are."""
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    if len(flat) < 2:
        return np.array(values, dtype=np.float64)
    schedule, dt = rts_schedule(len(flat), fps, [gains]), 1.0 / fps
    place, rate = np.zeros_like(flat), np.zeros_like(flat)
    place[0] = flat[0]
    for frame in range(1, len(flat)):
        ahead = place[frame - 1] + dt * rate[frame - 1]
        residual = flat[frame] - ahead
        gain = schedule.filter[frame, 0]
        place[frame], rate[frame] = ahead + gain[0] * residual, rate[frame - 1] + gain[1] * residual
    for frame in range(len(flat) - 2, -1, -1):
        lag_place = place[frame + 1] - place[frame] - dt * rate[frame]
        lag_rate = rate[frame + 1] - rate[frame]
        gain = schedule.smoother[frame, 0]
        place[frame] += gain[0, 0] * lag_place + gain[0, 1] * lag_rate
        rate[frame] += gain[1, 0] * lag_place + gain[1, 1] * lag_rate
    return place.reshape(np.shape(values))


def rts_rotations(matrices: np.ndarray, fps: float, gains: Sequence[RtsGains]) -> np.ndarray:
    """Smooth rotations [T, J, 3, 3], all joints in one pass per direction.

    Args:
        matrices: Rotation matrices.
        fps: Frame rate [Hz].
        gains: One set of noise per joint [J].

    Raises:
        InputRejected: The number of gains is not that of the joints.
    """
    matrices = np.asarray(matrices, dtype=np.float64)
    frames, joints = matrices.shape[:2]
    if len(gains) != joints:
        raise InputRejected(f"{len(gains)} sets of gains for {joints} joints")
    if frames < 2:
        return matrices.copy()
    sets = sorted(set(gains), key=lambda item: (item.r_obs, item.q_pos, item.q_vel))
    group = np.array([sets.index(item) for item in gains])
    schedule, dt = rts_schedule(frames, fps, sets), 1.0 / fps
    forward, backward = schedule.filter[:, group, :, None], schedule.smoother[:, group, :, :, None]
    seen = quat_xyzw_from_matrix(matrices)
    turn, ahead = np.empty_like(seen), np.empty_like(seen)
    rate = np.zeros((frames, joints, 3))
    turn[0] = seen[0]
    for frame in range(1, frames):
        ahead[frame] = _moved(turn[frame - 1], rate[frame - 1] * dt)
        residual = _difference(ahead[frame], seen[frame])
        turn[frame] = _moved(ahead[frame], forward[frame, :, 0] * residual)
        rate[frame] = rate[frame - 1] + forward[frame, :, 1] * residual
    for frame in range(frames - 2, -1, -1):
        lag = _difference(ahead[frame + 1], turn[frame + 1])
        lag_rate = rate[frame + 1] - rate[frame]
        gain = backward[frame]
        turn[frame] = _moved(turn[frame], gain[:, 0, 0] * lag + gain[:, 0, 1] * lag_rate)
        rate[frame] += gain[:, 1, 0] * lag + gain[:, 1, 1] * lag_rate
    return matrix_from_quat_xyzw(turn)


def one_euro_points(values: np.ndarray, fps: float, gains: OneEuroGains) -> np.ndarray:
    """Filter vectors [T, ..., D]; the speed of the whole vector sets the cutoff, so that axes do not matter."""
    values = np.asarray(values, dtype=np.float64)
    result, rate = values.copy(), np.zeros(values.shape[1:])
    share = _share(np.array(gains.rate_cutoff), fps)
    for frame in range(1, len(values)):
        rate = rate + share * ((values[frame] - values[frame - 1]) * fps - rate)
        speed = np.linalg.norm(rate, axis=-1, keepdims=True)
        alpha = _share(gains.min_cutoff + gains.beta * speed, fps)
        result[frame] = result[frame - 1] + alpha * (values[frame] - result[frame - 1])
    return result


def one_euro_rotations(matrices: np.ndarray, fps: float, gains: OneEuroGains) -> np.ndarray:
    """Filter rotations [T, J, 3, 3]; ``beta`` is per rad/s."""
    matrices = np.asarray(matrices, dtype=np.float64)
    seen = continuous_quats(quat_xyzw_from_matrix(matrices))
    result, rate = seen.copy(), np.zeros((*matrices.shape[1:-2], 3))
    share = _share(np.array(gains.rate_cutoff), fps)
    for frame in range(1, len(seen)):
        rate = rate + share * (_difference(seen[frame - 1], seen[frame]) * fps - rate)
        speed = np.linalg.norm(rate, axis=-1, keepdims=True)
        alpha = _share(gains.min_cutoff + gains.beta * speed, fps)
        result[frame] = _moved(result[frame - 1], alpha * _difference(result[frame - 1], seen[frame]))
    return matrix_from_quat_xyzw(result)


def _share(cutoff: np.ndarray, fps: float) -> np.ndarray:
    """Weight of the newest value in an exponential filter with that cutoff [Hz]."""
    return 1.0 / (1.0 + fps / (2.0 * np.pi * cutoff))


def _moved(quats: np.ndarray, rotvecs: np.ndarray) -> np.ndarray:
    """``q exp(v)``: quaternions [J, 4] xyzw turned in their own frames by rotation vectors [J, 3]."""
    angle = np.sqrt(np.einsum("...i,...i->...", rotvecs, rotvecs))
    half = 0.5 * angle
    scale = np.where(angle > _SMALL_ANGLE, np.sin(half) / np.maximum(angle, _SMALL_ANGLE), 0.5)
    v, w = rotvecs * scale[..., None], np.cos(half)
    q, q_w = quats[..., :3], quats[..., 3]
    result = np.empty_like(quats)
    result[..., :3] = q_w[..., None] * v + w[..., None] * q + _cross(q, v)
    result[..., 3] = q_w * w - np.einsum("...i,...i->...", q, v)
    return result / np.sqrt(np.einsum("...i,...i->...", result, result))[..., None]


def _difference(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """``log(start^-1 end)`` [J, 3] rad in start's own frame, the short way."""
    p, p_w = start[..., :3], start[..., 3]
    q, q_w = end[..., :3], end[..., 3]
    vector = p_w[..., None] * q - q_w[..., None] * p - _cross(p, q)
    scalar = p_w * q_w + np.einsum("...i,...i->...", p, q)
    sine = np.sqrt(np.einsum("...i,...i->...", vector, vector))
    angle = 2.0 * np.arctan2(sine, np.abs(scalar))
    scale = np.where(sine > _SMALL_ANGLE, angle / np.maximum(sine, _SMALL_ANGLE), 2.0)
    return vector * np.where(scalar < 0.0, -scale, scale)[..., None]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product [J, 3]; ``np.cross`` spends most of its time on moving axes."""
    result = np.empty_like(a)
    result[..., 0] = a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1]
    result[..., 1] = a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2]
    result[..., 2] = a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
    return result
