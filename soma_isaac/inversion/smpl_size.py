"""The size of a person whose body model we do not have, from the feet that stand still.

While a foot stands, its ball joint does not move. With the joint rotations given, its place is linear in the lengths
of the leg, ``p(t) = trans(t) + s d + h G_pelvis hip + k G_hip thigh + c G_knee shank + b G_ankle foot``, so that a
least squares fit of (s, h, k, c, b) and of the floor's height finds the lengths at which feet stay where they are and
meet the floor. Priors (mean proportions, the stature of the stated gender, a floor near the file's zero) fill in what
a clip does not show, e.g. all but the height when nobody moves.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.inversion.smpl_body import (
    BALL_HEIGHT,
    MEAN_STATURE,
    STATURE_BY_GENDER,
    ZERO_POSES,
    BodySize,
    mirrored,
    pelvis_shift,
)

STILL_SPEED = 0.25
NEAR_FLOOR = 0.06
SHORTEST_STANCE_S = 0.12
SIZE_RANGE = (0.75, 1.3)
PRIOR_SPREAD = {"scale": 0.06, "hip": 0.08, "thigh": 0.035, "shank": 0.035, "foot": 0.05}
"""Standard deviations: of the size over the mean person, and of each part over the person's own size."""
FLOOR_SPREAD = 0.02
STANCE_SPREAD = 0.004
SAMPLES_PER_STANCE = 4.0
"""A stance of any length counts as this many independent measurements of ``STANCE_SPREAD`` [m]."""


def estimate_size(
    world: np.ndarray, trans: np.ndarray, fps: float, model: str, gender: str | None, up_axis: str
) -> BodySize:
    """Fit a person's size to a clip.

    Args:
        world: [T, 22, 3, 3] world rotations of SMPL's joints, Y-up.
        trans: [T, 3] m, Y-up.
        fps: Frame rate [Hz].
        model: SMPL model name.
        gender: Stated gender.
        up_axis: Up axis of the file (it decides where ``trans`` stands off the pelvis).
    """
    prior = STATURE_BY_GENDER[gender] / MEAN_STATURE
    unknown = BodySize.uniform(prior, f"mean of gender {gender or 'unknown'}; no stance was found")
    terms = {side: _ball_terms(world, side, model, up_axis) for side in ("Left", "Right")}
    solution = np.array([prior] * 5 + [0.0])
    stances: list[tuple[str, slice]] = []
    for _ in range(3):
        stances = _stances(terms, trans, solution, fps)
        if not stances:
            return unknown
        solution = _fit(terms, trans, stances, prior, solution)
    if not (SIZE_RANGE[0] < solution[:5].min() and solution[:5].max() < SIZE_RANGE[1]):
        return BodySize.uniform(prior, f"mean of gender {gender or 'unknown'}; no believable size fits the stances")
    frames = sum(part.stop - part.start for _, part in stances)
    reason = f"fitted to {len(stances)} stances, {frames / fps:.1f} s of standing feet"
    if not _floor_known(terms, trans, stances, solution):
        reason += ", none of them at the file's zero height"
    elif abs(solution[5]) > 0.005:
        reason += f", floor at {solution[5]:+.3f} m"
    scale, hip, thigh, shank, foot = (float(value) for value in solution[:5])
    return BodySize(scale, hip, thigh, shank, foot, reason)


def _ball_terms(world: np.ndarray, side: str, model: str, up_axis: str) -> np.ndarray:
    """The five vectors [T, 3, 5] that the unknowns (scale, hip, thigh, shank, foot) multiply in the ball's place."""
    hip = 1 if side == "Left" else 2
    parts = [np.broadcast_to(pelvis_shift(model, up_axis), (len(world), 3))]
    for joint, key in ((0, "hip"), (hip, "knee"), (hip + 3, "ankle"), (hip + 6, "ball")):
        parts.append(world[:, joint] @ mirrored(ZERO_POSES[model][key], side))
    return np.stack(parts, axis=-1)


def _stances(
    terms: dict[str, np.ndarray], trans: np.ndarray, solution: np.ndarray, fps: float
) -> list[tuple[str, slice]]:
    """Stretches of frames in which a ball joint moves slower than 0.25 m/s, low enough to be on some ground."""
    found = []
    for side, term in terms.items():
        ball = trans + term @ solution[:5]
        if len(ball) == 1:
            return [(side, slice(0, 1))]
        speed = np.linalg.norm(np.diff(ball, axis=0), axis=-1) * fps
        still = np.concatenate([[False], np.maximum(speed, np.append(speed[1:], speed[-1])) < STILL_SPEED, [False]])
        edges = np.flatnonzero(np.diff(still.astype(int)))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            if stop - start >= min(SHORTEST_STANCE_S * fps, len(ball) - 1):
                found.append((side, slice(int(start), int(stop))))
    return found


def _heights(
    terms: dict[str, np.ndarray], trans: np.ndarray, stances: list[tuple[str, slice]], solution: np.ndarray
) -> np.ndarray:
    """Mean height [S] m of the sole under the ball in each stance."""
    rows = [trans[part, 1].mean() + terms[side][part, 1].mean(axis=0) @ solution[:5] for side, part in stances]
    return np.array(rows) - BALL_HEIGHT * solution[4]


def _floor_known(
    terms: dict[str, np.ndarray], trans: np.ndarray, stances: list[tuple[str, slice]], solution: np.ndarray
) -> bool:
    return bool(np.min(np.abs(_heights(terms, trans, stances, solution))) < 3.0 * NEAR_FLOOR)


def _fit(
    terms: dict[str, np.ndarray],
    trans: np.ndarray,
    stances: list[tuple[str, slice]],
    prior: float,
    solution: np.ndarray,
) -> np.ndarray:
    """One weighted least squares step for (scale, hip, thigh, shank, foot, floor height)."""
    rows = [np.eye(6)[0] / PRIOR_SPREAD["scale"]]
    values = [prior / PRIOR_SPREAD["scale"]]
    for column, part in enumerate(("hip", "thigh", "shank", "foot"), start=1):
        rows.append((np.eye(6)[column] - np.eye(6)[0]) / PRIOR_SPREAD[part])
        values.append(0.0)
    rows.append(np.eye(6)[5] / FLOOR_SPREAD)
    values.append(0.0)
    heights = _heights(terms, trans, stances, solution)
    lowest = float(np.quantile(heights, 0.2))
    on_floor = (np.abs(heights - lowest) < NEAR_FLOOR) & _floor_known(terms, trans, stances, solution)
    for (side, part), grounded in zip(stances, on_floor, strict=True):
        term, place = terms[side][part], trans[part]
        weight = np.sqrt(SAMPLES_PER_STANCE / len(place)) / STANCE_SPREAD
        still = np.pad(term - term.mean(axis=0), ((0, 0), (0, 0), (0, 1)))
        rows.extend(weight * still.reshape(-1, 6))
        values.extend(-weight * (place - place.mean(axis=0)).reshape(-1))
        if grounded:
            level = np.append(term[:, 1].mean(axis=0), -1.0)
            level[4] -= BALL_HEIGHT
            rows.append(level / STANCE_SPREAD)
            values.append(-place[:, 1].mean() / STANCE_SPREAD)
    return np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0]
