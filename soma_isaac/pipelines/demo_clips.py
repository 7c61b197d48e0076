"""The bundled clips: a person of mean proportions who walks, squats, reaches, turns, waves and steps aside.

Written in AMASS layout (SMPL-H, Z-up, 120 fps) by closed-form kinematics only, the same bytes at every run: nothing
licensed goes in. Feet are planted by construction (:mod:`soma_isaac.pipelines.demo_steps`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import gaussian_filter1d

from soma_isaac.formats.npz import npz_bytes
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.pipelines.demo_body import (
    SIDES,
    FootTrack,
    amass_arrays,
    pose_arm,
    pose_legs,
    pose_trunk,
    reachable_height,
    rotation_about,
)
from soma_isaac.pipelines.demo_steps import Stand, Step, foot_track, pelvis_above, settle_height

FPS = 120.0
STANDING_HEIGHT = 0.925
HALF_STANCE = 0.095
"""Half the distance [m] between the ankles in quiet standing."""

Keys = list[tuple[float, float]]


def _curve(keys: Keys, times: np.ndarray) -> np.ndarray:
    """A smooth curve [T] through (time, value) keys: monotone between keys, then rounded over 60 ms."""
    moments, values = zip(*keys, strict=True)
    shape = PchipInterpolator(moments, values)(np.clip(times, moments[0], moments[-1]))
    return gaussian_filter1d(shape, 0.06 * FPS, mode="nearest")


def _times(duration: float) -> np.ndarray:
    return np.arange(round(duration * FPS) + 1) / FPS


def _tracks(starts: dict[str, Stand], steps: list[Step], times: np.ndarray) -> dict[str, FootTrack]:
    return {side: foot_track(side, starts[side], [s for s in steps if s.side == side], times) for side in SIDES}


def _standing() -> dict[str, Stand]:
    return {"Left": Stand(HALF_STANCE), "Right": Stand(-HALF_STANCE)}


def _identity(count: int) -> np.ndarray:
    return np.broadcast_to(np.eye(3), (count, 22, 3, 3)).copy()


def _stepping(steps: list[Step], duration: float, lean: float, arm_swing: float) -> dict[str, np.ndarray]:
    """A clip of a person who takes ``steps`` with swinging arms and settles at both ends."""
    times = _times(duration)
    feet = _tracks(_standing(), steps, times)
    pelvis, heading = pelvis_above(feet, FPS, STANDING_HEIGHT)
    # the leading side, in the heading's own frame: positive with the left foot ahead
    ahead = rotation_about(1, heading)[:, :, 2]
    lead = np.sum((feet["Left"].ankle - feet["Right"].ankle) * ahead, axis=-1)
    lead = gaussian_filter1d(lead, 0.09 * FPS, mode="nearest")
    speed = np.gradient(np.sum(pelvis * ahead, axis=-1), 1.0 / FPS)
    speed = gaussian_filter1d(speed, 0.15 * FPS, mode="nearest")
    drop = gaussian_filter1d(feet["Left"].weight - feet["Right"].weight, 0.07 * FPS, mode="nearest")
    rotation = (
        rotation_about(1, heading - 0.12 * lead)
        @ rotation_about(0, 0.3 * lean * np.clip(speed, 0.0, 1.5))
        @ rotation_about(2, 0.05 * drop)
    )
    pelvis[:, 1] = settle_height(reachable_height(pelvis, rotation, feet), pelvis[:, 1], FPS)
    local = _identity(len(times))
    pose_legs(local, pelvis, rotation, feet)
    bend = np.stack([0.5 * lean * np.clip(speed, 0.0, 1.5), 0.28 * lead, -0.06 * drop], axis=-1)
    pose_trunk(local, bend, np.stack([-0.6 * bend[:, 0], -0.16 * lead, 0.01 * drop], axis=-1))
    for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
        swing = 0.05 + sign * arm_swing * lead
        elbow = 0.25 + 0.35 * np.clip(speed, 0.0, 1.5) * arm_swing + 0.2 * swing
        zero = np.zeros(len(times))
        pose_arm(local, side, zero + 0.16, swing, zero - 0.1, elbow)
    return amass_arrays(pelvis, rotation, local, FPS)


def walk() -> dict[str, np.ndarray]:
    """Stand, eight steps ahead at 1 m/s, stand."""
    period, swing, length = 0.58, 0.45, 0.55
    steps, z = [], 0.0
    for number in range(8):
        side = SIDES[1 - number % 2]
        reach = {0: 0.32, 7: 0.0}.get(number, length)
        z += reach
        lift = 0.8 + number * period
        scale = 0.5 if number in (0, 7) else 1.0
        x = HALF_STANCE * (1.0 if side == "Left" else -1.0) * (1.0 if number >= 6 else 0.75)
        steps.append(Step(side, lift, lift + swing, x, z, 0.0, 0.55 * scale, 0.28 * scale, 0.05))
    return _stepping(steps, 0.8 + 8 * period + 0.9, lean=0.1, arm_swing=0.6)


def turn_in_place() -> dict[str, np.ndarray]:
    """A full turn to the left on the spot in eight small steps."""
    steps = []
    for number in range(9):
        side = SIDES[number % 2]
        yaw = min(number + 1, 8) * np.pi / 4.0
        place = rotation_about(1, yaw) @ np.array([HALF_STANCE * (1.0 if side == "Left" else -1.0), 0.0, 0.0])
        lift = 0.7 + 0.55 * number
        steps.append(Step(side, lift, lift + 0.38, place[0], place[2], yaw, 0.25, 0.0, 0.035))
    return _stepping(steps, 0.7 + 9 * 0.55 + 0.8, lean=0.0, arm_swing=0.4)


def sidestep() -> dict[str, np.ndarray]:
    """Three steps to the left and two back to the right."""
    steps, x, order = [], 0.0, SIDES
    lift = 0.7
    for direction in (1.0, 1.0, 1.0, -1.0, -1.0):
        x += 0.3 * direction
        lift += 0.3 if direction < 0 and order is SIDES else 0.0
        order = SIDES if direction > 0 else SIDES[::-1]
        for side in order:
            target = x + HALF_STANCE * (1.0 if side == "Left" else -1.0)
            steps.append(Step(side, lift, lift + 0.36, target, 0.0, 0.0, 0.2, 0.0, 0.035))
            lift += 0.5
    return _stepping(steps, lift + 0.8, lean=0.0, arm_swing=0.0)


def _planted(
    duration: float, pelvis: dict[str, Keys], turn: dict[str, Keys], trunk: dict[str, Keys], arms: dict[str, Keys]
) -> dict[str, np.ndarray]:
    """A clip of a person who keeps both feet where they are; every argument holds (time, value) keys by name."""
    times = _times(duration)
    feet = _tracks(_standing(), [], times)

    def curves(keys: dict[str, Keys], names: tuple[str, ...], rest: tuple[float, ...]) -> np.ndarray:
        given = [keys.get(name, [(0.0, value), (duration, value)]) for name, value in zip(names, rest, strict=True)]
        return np.stack([_curve(key, times) for key in given], axis=-1)

    place = curves(pelvis, ("x", "y", "z"), (0.0, STANDING_HEIGHT, 0.0))
    # quiet standing is never still: a slow sway of a few millimetres
    place[:, 0] += 0.004 * np.sin(2.0 * np.pi * 0.31 * times)
    place[:, 2] += 0.003 * np.sin(2.0 * np.pi * 0.23 * times + 1.0)
    rotation = matrix_from_rotvec(curves(turn, ("pitch", "yaw", "roll"), (0.0, 0.0, 0.0)))
    place[:, 1] = settle_height(reachable_height(place, rotation, feet), place[:, 1], FPS)
    local = _identity(len(times))
    pose_legs(local, place, rotation, feet)
    bend = curves(trunk, ("pitch", "yaw", "roll"), (0.0, 0.0, 0.0))
    pose_trunk(local, bend, curves(trunk, ("head_pitch", "head_yaw", "head_roll"), (0.0, 0.0, 0.0)))
    for side in SIDES:
        names = tuple(f"{side}_{name}" for name in ("raise", "swing", "twist", "elbow"))
        pose_arm(local, side, *curves(arms, names, (0.16, 0.05, -0.1, 0.25)).T)
    return amass_arrays(place, rotation, local, FPS)


def squat() -> dict[str, np.ndarray]:
    """Two squats, the second deeper, arms brought ahead for balance."""
    times = [0.0, 0.6, 1.7, 2.1, 3.2, 3.5, 4.7, 5.1, 6.4, 7.0]
    depth = [0.0, 0.0, 0.8, 0.8, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0]

    def scaled(rest: float, full: float) -> Keys:
        return [(time, rest + share * (full - rest)) for time, share in zip(times, depth, strict=True)]

    arms = {}
    for side in SIDES:
        arms |= {
            f"{side}_swing": scaled(0.05, 2.0),
            f"{side}_elbow": scaled(0.25, 0.12),
            f"{side}_raise": scaled(0.16, 0.1),
        }
    return _planted(
        7.0,
        {"y": scaled(STANDING_HEIGHT, 0.56), "z": scaled(0.0, -0.17)},
        {"pitch": scaled(0.0, 0.5)},
        {"pitch": scaled(0.0, 0.35), "head_pitch": scaled(0.0, -0.5)},
        arms,
    )


def reach() -> dict[str, np.ndarray]:
    """Reach high ahead with the right arm, then low across to the left, then far out to the left with the left arm."""
    return _planted(
        8.0,
        {
            "x": [
                (0.0, 0.0),
                (0.5, 0.0),
                (1.6, -0.03),
                (2.4, -0.03),
                (3.8, 0.03),
                (4.4, 0.03),
                (6.0, 0.05),
                (8.0, 0.0),
            ],
            "y": [(0.0, 0.925), (2.4, 0.925), (3.8, 0.80), (4.3, 0.80), (5.4, 0.92), (8.0, 0.925)],
            "z": [(0.0, 0.0), (0.5, 0.0), (1.6, 0.04), (2.4, 0.04), (3.8, -0.07), (4.3, -0.07), (5.4, 0.0), (8.0, 0.0)],
        },
        {
            "yaw": [(0.0, 0.0), (0.5, 0.0), (1.6, 0.15), (2.4, 0.15), (3.8, 0.3), (4.3, 0.3), (6.0, 0.1), (8.0, 0.0)],
            "pitch": [(0.0, 0.0), (2.4, 0.0), (3.8, 0.35), (4.3, 0.35), (5.4, 0.0), (8.0, 0.0)],
        },
        {
            "pitch": [
                (0.0, 0.0),
                (0.5, 0.0),
                (1.6, -0.08),
                (2.4, -0.08),
                (3.8, 0.6),
                (4.3, 0.6),
                (5.4, 0.0),
                (8.0, 0.0),
            ],
            "yaw": [(0.0, 0.0), (0.5, 0.0), (1.6, 0.3), (2.4, 0.3), (3.8, 0.4), (4.3, 0.4), (6.0, 0.1), (8.0, 0.0)],
            "roll": [(0.0, 0.0), (4.4, 0.0), (5.8, -0.25), (6.6, -0.25), (7.6, 0.0), (8.0, 0.0)],
            "head_yaw": [
                (0.0, 0.0),
                (1.6, -0.3),
                (2.4, -0.3),
                (3.8, 0.2),
                (4.6, 0.2),
                (5.8, 0.7),
                (6.6, 0.7),
                (7.6, 0.0),
            ],
            "head_pitch": [(0.0, 0.0), (1.6, -0.3), (2.4, -0.3), (3.8, 0.2), (5.4, 0.0), (8.0, 0.0)],
        },
        {
            "Right_swing": [(0.0, 0.05), (0.5, 0.05), (1.6, 2.4), (2.4, 2.4), (3.8, 0.9), (4.3, 0.9), (5.6, 0.05)],
            "Right_elbow": [
                (0.0, 0.25),
                (0.5, 0.25),
                (1.0, 0.9),
                (1.6, 0.2),
                (2.4, 0.2),
                (3.1, 0.7),
                (3.8, 0.2),
                (5.6, 0.25),
            ],
            "Left_raise": [(0.0, 0.16), (4.6, 0.16), (5.8, 1.6), (6.6, 1.6), (7.6, 0.16), (8.0, 0.16)],
            "Left_elbow": [(0.0, 0.25), (4.6, 0.25), (5.2, 0.8), (5.8, 0.15), (6.6, 0.15), (7.6, 0.25)],
        },
    )


def wave() -> dict[str, np.ndarray]:
    """Raise the right arm and wave four times, weight on the left leg."""
    beats = np.arange(2.0, 5.01, 0.25)
    elbow = [(0.0, 0.25), (0.6, 0.25), (1.7, 1.6)]
    elbow += [(float(beat), 1.6 + 0.4 * (-1.0) ** number) for number, beat in enumerate(beats)]
    return _planted(
        7.0,
        {"x": [(0.0, 0.0), (0.6, 0.0), (1.7, 0.03), (5.0, 0.03), (6.3, 0.0), (7.0, 0.0)]},
        {"roll": [(0.0, 0.0), (0.6, 0.0), (1.7, -0.04), (5.0, -0.04), (6.3, 0.0), (7.0, 0.0)]},
        {
            "roll": [(0.0, 0.0), (0.6, 0.0), (1.7, 0.08), (5.0, 0.08), (6.3, 0.0), (7.0, 0.0)],
            "head_yaw": [(0.0, 0.0), (0.6, 0.0), (1.7, -0.2), (5.0, -0.2), (6.3, 0.0), (7.0, 0.0)],
        },
        {
            "Right_raise": [(0.0, 0.16), (0.6, 0.16), (1.7, 1.45), (5.1, 1.45), (6.3, 0.16), (7.0, 0.16)],
            "Right_twist": [(0.0, -0.1), (0.6, -0.1), (1.7, 1.45), (5.1, 1.45), (6.3, -0.1), (7.0, -0.1)],
            "Right_elbow": [*elbow, (6.3, 0.25), (7.0, 0.25)],
        },
    )


CLIPS: dict[str, Callable[[], dict[str, np.ndarray]]] = {
    "reach": reach,
    "sidestep": sidestep,
    "squat": squat,
    "turn_in_place": turn_in_place,
    "walk": walk,
    "wave": wave,
}


def write_demo_clips(folder: Path) -> list[Path]:
    """Write every clip as ``folder``/NAME.npz and return the paths; existing files are replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, make in CLIPS.items():
        path = folder / f"{name}.npz"
        path.write_bytes(npz_bytes(make()))
        paths.append(path)
    return paths
