"""Where the robot's feet go: planted, flat and on the ground while the person's are, the person's own path in between.

A plan is the scaled human path plus a correction. In contact the correction is whatever makes the foot stand: flat on
z = 0 while heel and ball are down, rolling about its front or rear edge while only one of them is. Between contacts the
correction is a quintic that leaves and arrives with the planted foot's velocity and acceleration, so that the plan is
smooth and nothing of a correction is left in the middle of a long swing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import uniform_filter1d

from soma_isaac.math.runs import runs
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.retarget.contacts import FootContacts
from soma_isaac.retarget.settings import FootPlanConfig


@dataclass(frozen=True, eq=False)
class FootPlan:
    """Planned poses of the left and right foot link.

    Attributes:
        positions: [T, 2, 3] m, foot link origin.
        rotations: [T, 2, 3, 3] foot link to world.
        planted: [T, 2] bool, some part of the sole is on the ground and stays.
        flat: [T, 2] bool, the whole sole is.
    """

    positions: np.ndarray
    rotations: np.ndarray
    planted: np.ndarray
    flat: np.ndarray


def plan_feet(
    raw_pos: np.ndarray,
    raw_rot: np.ndarray,
    contacts: FootContacts,
    soles: np.ndarray,
    fps: float,
    config: FootPlanConfig,
) -> FootPlan:
    """Plan both feet.

    Args:
        raw_pos: [T, 2, 3] m, scaled human ankles as positions of the robot's foot links.
        raw_rot: [T, 2, 3, 3] human foot rotations, identity when flat and facing +X.
        contacts: Heel and ball contacts.
        soles: [2, C, 3] m, corners of the soles in the foot links.
        fps: Frame rate [Hz].
        config: Shape of the plan.
    """
    positions, rotations = np.empty_like(raw_pos), np.empty_like(raw_rot)
    for foot in range(2):
        arguments = raw_rot[:, foot], contacts.flat[:, foot], fps, config
        rotations[:, foot] = rotation = _plan_rotation(*arguments)
        positions[:, foot] = _plan_position(
            raw_pos[:, foot], rotation, contacts.any[:, foot], contacts.flat[:, foot], soles[foot], fps, config
        )
    return FootPlan(positions, rotations, contacts.any, contacts.flat)


def _plan_rotation(raw: np.ndarray, flat: np.ndarray, fps: float, config: FootPlanConfig) -> np.ndarray:
    heading = np.unwrap(np.arctan2(raw[:, 1, 0], raw[:, 0, 0]))
    correction = np.zeros((len(raw), 3))
    for start, stop in runs(flat):
        turn = heading[start:stop]
        held = np.full(stop - start, np.median(turn)) if np.ptp(turn) < config.pivot else turn
        level = matrix_from_rotvec(np.stack([0.0 * held, 0.0 * held, held], axis=1))
        correction[start:stop] = rotvec_from_matrix(level @ raw[start:stop].swapaxes(1, 2))
    return matrix_from_rotvec(extend_correction(correction, flat, config.blend * fps)) @ raw


def _plan_position(
    raw: np.ndarray,
    rotation: np.ndarray,
    planted: np.ndarray,
    flat: np.ndarray,
    sole: np.ndarray,
    fps: float,
    config: FootPlanConfig,
) -> np.ndarray:
    lowest = np.einsum("ti,ci->tc", rotation[:, 2], sole).min(axis=1)
    rolled = _roll(rotation, sole, config)
    correction = np.zeros_like(raw)
    for start, stop in runs(planted):
        span = np.arange(start, stop)
        correction[span, 2] = -lowest[span] - raw[span, 2]
        gap = raw[span, :2] - rolled[span]
        stand = gap[flat[span]] if flat[span].any() else gap
        middle = np.median(stand, axis=0)
        if np.linalg.norm(gap - middle, axis=1).max() > config.slide:
            middle = uniform_filter1d(gap, max(1, int(config.blend * fps)), axis=0, mode="nearest")
        correction[span, :2] = rolled[span] + middle - raw[span, :2]
    plan = raw + extend_correction(correction, planted, config.blend * fps)
    plan[:, 2] += np.where(planted, 0.0, _smooth_excess(-lowest - plan[:, 2], config.clearance))
    return plan


def _roll(rotation: np.ndarray, sole: np.ndarray, config: FootPlanConfig) -> np.ndarray:
    """Horizontal path [T, 2] of a foot link that rolls on the ground without slipping, from any start.

    The sole turns over its front edge when the toes point down, over its rear edge when they point up, and about the
    ball of the foot while it is flat; the point of contact moves between them over a few degrees.
    """
    front, rear = sole[:, 0].max(), sole[:, 0].min()
    ball = rear + 0.75 * (front - rear)
    down = np.clip(-rotation[:, 2, 0] / np.sin(config.roll_over), -1.0, 1.0)
    along = np.where(down > 0.0, ball + down * (front - ball), ball + down * (ball - rear))
    contact = np.stack([along, np.zeros_like(along), np.full_like(along, sole[:, 2].min())], axis=1)
    between = 0.5 * (contact[1:] + contact[:-1])
    steps = -np.einsum("tij,tj->ti", np.diff(rotation[:, :2], axis=0), between)
    return np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _smooth_excess(value: np.ndarray, width: float) -> np.ndarray:
    """``max(value, 0)`` with its corner rounded over +-``width``: C1, never below it."""
    blend = np.clip((value + width) / (2.0 * width), 0.0, 1.0)
    return np.where(value > width, value, width * blend**2)


def extend_correction(correction: np.ndarray, held: np.ndarray, blend: float) -> np.ndarray:
    """Continue corrections [T, D] from the frames where they are ``held`` [T] smoothly into the others.

    Args:
        correction: Values; only rows with ``held`` are read.
        held: Where values are given.
        blend: Longest fade [frames]; a shorter gap is bridged by one polynomial.

    Returns:
        [T, D]; zero further than ``blend`` from any held frame. Value, velocity and acceleration are continuous.
    """
    out = np.where(held[:, None], correction, 0.0)
    frames = len(held)
    for start, stop in runs(~held):
        left = _boundary(correction, held, start - 1, -1) if start > 0 else None
        right = _boundary(correction, held, stop, 1) if stop < frames else None
        length = stop - start + 1.0
        steps = np.arange(1, stop - start + 1)
        if left is not None and right is not None and length <= 2.0 * blend:
            out[start:stop] = _quintic(left, right, steps, length)
            continue
        rest = np.zeros_like(left if left is not None else right)
        if left is not None:
            out[start:stop] += _quintic(left, rest, steps, min(blend, length))
        if right is not None:
            out[start:stop] += _quintic(rest, right, steps - max(length - blend, 0.0), min(blend, length))
    return out


def _boundary(correction: np.ndarray, held: np.ndarray, frame: int, inward: int) -> np.ndarray:
    """Value, velocity and acceleration [3, D] per frame at the edge of a held run, from its outermost frames."""
    inside = [frame]
    while len(inside) < 3 and 0 <= inside[-1] + inward < len(held) and held[inside[-1] + inward]:
        inside.append(inside[-1] + inward)
    values = correction[inside]
    velocity = np.zeros_like(values[0]) if len(inside) < 2 else inward * (values[1] - values[0])
    acceleration = np.zeros_like(values[0])
    if len(inside) == 3:
        acceleration = values[2] - 2.0 * values[1] + values[0]
        velocity = velocity - inward * 0.5 * acceleration
    return np.stack([values[0], velocity, acceleration])


def _quintic(left: np.ndarray, right: np.ndarray, steps: np.ndarray, length: float) -> np.ndarray:
    """Quintic Hermite [K, D] between two states [3, D] ``length`` frames apart; held states outside."""
    scale = np.array([1.0, length, length**2])[:, None]
    p0, v0, a0 = left * scale
    p1, v1, a1 = right * scale
    u = np.clip(steps / length, 0.0, 1.0)[:, None]
    c3 = 10.0 * (p1 - p0) - 6.0 * v0 - 4.0 * v1 - 1.5 * a0 + 0.5 * a1
    c4 = -15.0 * (p1 - p0) + 8.0 * v0 + 7.0 * v1 + 1.5 * a0 - a1
    c5 = 6.0 * (p1 - p0) - 3.0 * (v0 + v1) - 0.5 * (a0 - a1)
    return p0 + u * (v0 + u * (0.5 * a0 + u * (c3 + u * (c4 + u * c5))))
