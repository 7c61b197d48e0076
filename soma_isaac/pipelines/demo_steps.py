"""Feet that are truly planted: from a list of steps to foot tracks, and from foot tracks to a pelvis above them.

A foot's pitch rolls it over its own sole: toes up it turns about the heel, heel up about the ball joint with the toes
flat, so that one material point stands still from landing to lift-off. In the air the ankle follows a quintic that
joins the two rolling motions in position and velocity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import BPoly
from scipy.ndimage import gaussian_filter1d

from soma_isaac.inversion.smpl_body import ZERO_POSES, mirrored, sole_below_ankle
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.pipelines.demo_body import SIDES, FootTrack, rotation_about

TOE_OUT = np.radians(7.0)
ZERO_POSE = ZERO_POSES["smplh"]
HEEL = np.array([0.0, -sole_below_ankle("smplh"), -0.055])
"""Underside of the left heel [m] from the ankle, in the foot's zero-pose frame."""
ZERO_POSE_TOE_OUT = float(np.arctan2(ZERO_POSE["ball"][0], ZERO_POSE["ball"][2]))
ROLL_OFF_S = 0.22
ROLL_ON_S = 0.12


@dataclass(frozen=True)
class Step:
    """One step of one foot.

    Attributes:
        side: ``Left`` or ``Right``.
        lift_s: Time of lift-off [s].
        land_s: Time of landing [s].
        x: Lateral target of the ankle [m].
        z: Target of the ankle ahead [m].
        yaw: Heading at the target [rad], 0 looks along z.
        heel_up: Pitch at lift-off [rad].
        toes_up: Pitch at landing [rad].
        clearance: Extra height in mid-swing [m].
    """

    side: str
    lift_s: float
    land_s: float
    x: float
    z: float
    yaw: float = 0.0
    heel_up: float = 0.6
    toes_up: float = 0.3
    clearance: float = 0.03


@dataclass(frozen=True)
class Stand:
    """Where a foot begins: ankle at (x, z) [m] on the floor plan, heading ``yaw`` [rad]."""

    x: float
    z: float = 0.0
    yaw: float = 0.0


def foot_track(side: str, start: Stand, steps: Sequence[Step], times: np.ndarray) -> FootTrack:
    """Track of one foot that takes its ``steps`` in order and stands in between.

    Args:
        side: ``Left`` or ``Right``.
        start: First place.
        steps: Steps of this side, in order of time.
        times: [T] s.
    """
    pitch = _pitch(steps, times)
    places = [start, *(Stand(step.x, step.z, step.yaw) for step in steps)]
    yaw = np.full(len(times), start.yaw)
    weight = np.ones(len(times))
    ankle, foot, toe = _rolled(side, start, pitch)
    for number, step in enumerate(steps):
        share = np.clip((times - step.lift_s) / (step.land_s - step.lift_s), 0.0, 1.0)
        begun = times >= step.lift_s
        air = begun & (times < step.land_s)
        smooth = share**3 * (10.0 - 15.0 * share + 6.0 * share**2)
        here, there = places[number], places[number + 1]
        yaw[begun] = here.yaw + smooth[begun] * (there.yaw - here.yaw)
        landed, landed_foot, landed_toe = _rolled(side, there, pitch)
        after = times >= step.land_s
        ankle[after], foot[after], toe[after] = landed[after], landed_foot[after], landed_toe[after]
        ankle[air] = _swing(side, here, there, step, steps, times[air])
        turned = _heading(side, yaw[air])
        foot[air] = turned @ _pitch_rotation(side, pitch[air])
        # the toes come back in line with the foot during the first two thirds of the swing
        bent = np.maximum(pitch[air], 0.0) * (1.0 - np.clip(1.5 * share[air], 0.0, 1.0) ** 2) ** 2
        toe[air] = foot[air] @ _pitch_rotation(side, -bent)
        weight[air] = 0.0
    return FootTrack(ankle, foot, toe, yaw, weight)


def _heading(side: str, yaw: np.ndarray | float) -> np.ndarray:
    """World rotation of a flat foot whose walking direction is ``yaw``."""
    outward = (TOE_OUT - ZERO_POSE_TOE_OUT) * (1.0 if side == "Left" else -1.0)
    return rotation_about(1, np.asarray(yaw) + outward)


def _pitch_rotation(side: str, pitch: np.ndarray) -> np.ndarray:
    """Rotation of a foot about its own lateral axis; positive lifts the heel."""
    along = mirrored(ZERO_POSE["ball"], side) * [1.0, 0.0, 1.0]
    lateral = np.cross([0.0, 1.0, 0.0], along / np.linalg.norm(along))
    return matrix_from_rotvec(np.asarray(pitch)[..., None] * lateral)


def _rolled(side: str, place: Stand, pitch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ankle [T, 3], foot and toe rotations [T, 3, 3] of a foot that rolls at ``place`` with ``pitch`` [T]."""
    flat = _heading(side, place.yaw)
    rotation = flat @ _pitch_rotation(side, pitch)
    heel, ball = mirrored(HEEL, side), mirrored(ZERO_POSE["ball"], side)
    pivot = np.where(pitch[:, None] > 0.0, ball, heel)
    level = np.array([place.x, sole_below_ankle("smplh"), place.z])
    ankle = level + pivot @ flat.T - np.einsum("tij,tj->ti", rotation, pivot)
    toe = np.where(pitch[:, None, None] > 0.0, flat, rotation)
    return ankle, rotation, toe


def _pitch(steps: Sequence[Step], times: np.ndarray) -> np.ndarray:
    """Pitch [T] rad: quintic pieces between flat, heel up at lift-off, toes up at landing, and flat again."""
    pitch = np.zeros(len(times))
    for step in steps:
        keys = [step.lift_s - ROLL_OFF_S, step.lift_s, step.land_s, step.land_s + ROLL_ON_S]
        rate = 1.3 * step.heel_up / ROLL_OFF_S
        values = [(0.0, 0.0, 0.0), (step.heel_up, rate, 0.0), (-step.toes_up, 0.0, 0.0), (0.0, 0.0, 0.0)]
        inside = (times >= keys[0]) & (times <= keys[-1])
        pitch[inside] = BPoly.from_derivatives(keys, values)(times[inside])
    return pitch


def _swing(side: str, here: Stand, there: Stand, step: Step, steps: Sequence[Step], times: np.ndarray) -> np.ndarray:
    """Ankle [T, 3] m in the air, joined to the rolling foot at both ends in position and velocity."""
    ends = []
    for place, moment in ((here, step.lift_s), (there, step.land_s)):
        around = moment + 1e-4 * np.array([-1.0, 0.0, 1.0])
        ankle, _, _ = _rolled(side, place, _pitch(steps, around))
        # acceleration is left to the quintic: the roll's own is large where the foot leaves and lands
        ends.append((ankle[1], (ankle[2] - ankle[0]) / 2e-4, np.zeros(3)))
    path = BPoly.from_derivatives([step.lift_s, step.land_s], ends)(times)
    share = (times - step.lift_s) / (step.land_s - step.lift_s)
    path[:, 1] += step.clearance * 64.0 * (share * (1.0 - share)) ** 3
    return path


def pelvis_above(
    feet: dict[str, FootTrack], fps: float, height: float, sway: float = 0.02, smooth_s: float = 0.17
) -> tuple[np.ndarray, np.ndarray]:
    """Pelvis positions [T, 3] m (the height still as asked for) and heading [T] rad over two feet.

    It travels with the middle of the feet, leans towards the standing one, and is smoothed over time.

    Args:
        feet: Both tracks.
        fps: Frame rate [Hz].
        height: Pelvis height [m].
        sway: Shift [m] towards the standing foot.
        smooth_s: Standard deviation of the smoothing [s].
    """
    left, right = (feet[side] for side in SIDES)
    middle = 0.5 * (left.ankle + right.ankle)
    heading = gaussian_filter1d(0.5 * (left.yaw + right.yaw), smooth_s * fps, mode="nearest")
    lateral = rotation_about(1, heading)[:, :, 0]
    pelvis = middle + sway * (left.weight - right.weight)[:, None] * lateral
    pelvis = gaussian_filter1d(pelvis, smooth_s * fps, axis=0, mode="nearest")
    pelvis[:, 1] = height
    return pelvis, heading


def settle_height(limit: np.ndarray, height: np.ndarray | float, fps: float, smooth_s: float = 0.08) -> np.ndarray:
    """A smooth pelvis height [T] m at or below both ``limit`` [T] and ``height``.

    The lower envelope is smoothed, and then lowered by what the smoothing left above the limit.
    """
    wanted = np.minimum(limit, height)
    result = gaussian_filter1d(wanted, smooth_s * fps, mode="nearest")
    for _ in range(20):
        excess = np.maximum(result - limit, 0.0)
        if excess.max() < 1e-4:
            break
        wanted = wanted - 1.5 * excess
        result = gaussian_filter1d(wanted, smooth_s * fps, mode="nearest")
    return result - max(float(np.max(result - limit)), 0.0)
