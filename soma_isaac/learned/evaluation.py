"""How well poses are recovered from their effectors: test sets, contestants, and the figures that papers print.

Figures as in Voleti et al., SMPL-IK (arXiv 2208.08274), table 1, on the 23 body joints: MPJPE with the roots aligned,
PA-MPJPE after a similarity Procrustes per pose, GE the mean geodesic of all local rotations with the Hips' among them.
To these come what the papers leave out: MPJPE in the world, and how far the effectors are missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np

from soma_isaac.learned.effectors import POSITION, Effectors
from soma_isaac.learned.inference import NetworkPredictor
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.predictor import StillPose
from soma_isaac.learned.prior import PosePrior
from soma_isaac.learned.refine import Refined, effector_residuals, refine_bodies
from soma_isaac.learned.skeleton import BodyPose, body_kinematics
from soma_isaac.math.so3 import geodesic_angle

MM = 1000.0
EXACT_TOLERANCE = 1e-4
"""An effector with less tolerance [m or rad] counts as exact."""

MET_M, MET_RAD = 1e-3, float(np.deg2rad(0.5))
"""An exact effector further from its target counts as missed."""


@dataclass(frozen=True, eq=False)
class PoseTest:
    """B poses to be recovered.

    Attributes:
        truth: The poses.
        rest_offsets: [B, 23, 3] m, the body of each.
        effectors: B sets.
    """

    truth: BodyPose
    rest_offsets: np.ndarray
    effectors: Effectors


@dataclass(frozen=True, eq=False)
class Answer:
    """Poses that somebody gave.

    Attributes:
        proposed: Before an exact stage.
        refined: After it, ``None`` without one.
    """

    proposed: BodyPose
    refined: Refined | None = None

    @property
    def pose(self) -> BodyPose:
        """The poses that count."""
        return self.proposed if self.refined is None else self.refined.pose


Contestant = Callable[[Effectors, np.ndarray], Answer]
"""Effectors of B sets and offsets [B, 23, 3] m to an answer."""

Proposer = Callable[[Effectors, np.ndarray], BodyPose]


def still(rotations: np.ndarray | None = None) -> Proposer:
    """A pose (local rotations [23, 3, 3], the T-pose by default) placed by heading and centroid."""
    return StillPose(rotations).predict_bodies


def learned(network: NetworkPredictor) -> Proposer:
    """A trained network."""
    return network.predict_bodies


def alone(propose: Proposer) -> Contestant:
    """Proposals as they are."""
    return lambda effectors, rest_offsets: Answer(propose(effectors, rest_offsets))


def with_exact_stage(propose: Proposer, prior: PosePrior | None, limits: JointLimits | None = None) -> Contestant:
    """Proposals and the exact stage."""

    def answer(effectors: Effectors, rest_offsets: np.ndarray) -> Answer:
        proposed = propose(effectors, rest_offsets)
        return Answer(proposed, refine_bodies(proposed, effectors, rest_offsets, prior=prior, limits=limits))

    return answer


@dataclass(frozen=True, eq=False)
class PoseFigures:
    """Figures of B answers.

    Attributes:
        root_aligned: [B] m, mean joint error with the roots aligned.
        absolute: [B] m, in the world.
        procrustes: [B] m, after the best similarity.
        geodesic: [B] rad, mean over the local rotations.
        before: [B, N] residuals of the proposal, m for positions, rad for rotations and look-ats.
        after: [B, N] residuals of the answer.
        change: [B] rad, root mean square turn of the joints by the exact stage; 0 without one.
    """

    root_aligned: np.ndarray
    absolute: np.ndarray
    procrustes: np.ndarray
    geodesic: np.ndarray
    before: np.ndarray
    after: np.ndarray
    change: np.ndarray


def measure(test: PoseTest, contestant: Contestant) -> PoseFigures:
    """Ask a contestant and measure the answers; sets are asked in groups of one size, so that padding costs nothing."""
    count = test.effectors.count
    shapes = {name: test.effectors.kind.shape if name in ("before", "after") else (count,) for name in FIGURES}
    figures = {name: np.zeros(shape) for name, shape in shapes.items()}
    for rows, size in _by_size(test.effectors):
        effectors, offsets = test.effectors.rows(rows, size), test.rest_offsets[rows]
        truth = BodyPose(test.truth.rotations[rows], test.truth.root_position[rows])
        found = compare(truth, contestant(effectors, offsets), effectors, offsets)
        for name in FIGURES:
            target = figures[name]
            target[(rows, slice(0, size)) if target.ndim == 2 else rows] = getattr(found, name)
    return PoseFigures(**figures)


def compare(truth: BodyPose, answer: Answer, effectors: Effectors, rest_offsets: np.ndarray) -> PoseFigures:
    """Figures of B answers to one test."""
    want, _ = body_kinematics(truth.rotations, truth.root_position, rest_offsets)
    have, _ = body_kinematics(answer.pose.rotations, answer.pose.root_position, rest_offsets)
    refined = answer.refined
    before = effector_residuals(answer.proposed, effectors, rest_offsets)
    return PoseFigures(
        _mean_distance(have - have[:, :1], want - want[:, :1]),
        _mean_distance(have, want),
        _mean_distance(similarity_aligned(have, want), want),
        geodesic_angle(answer.pose.rotations, truth.rotations).mean(axis=1),
        before,
        before if refined is None else refined.residual,
        np.zeros(truth.count) if refined is None else refined.change,
    )


FIGURES = tuple(each.name for each in fields(PoseFigures))


def similarity_aligned(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """Points [B, J, 3] turned, scaled and moved to lie best on others [B, J, 3] (Umeyama 1991), no reflections."""
    center, goal = points.mean(axis=1, keepdims=True), onto.mean(axis=1, keepdims=True)
    a, b = points - center, onto - goal
    u, singular, vt = np.linalg.svd(a.swapaxes(1, 2) @ b)
    sign = np.sign(np.linalg.det(u @ vt))
    u[..., 2] *= sign[:, None]
    singular[:, 2] *= sign
    scale = singular.sum(axis=1) / np.maximum(np.square(a).sum(axis=(1, 2)), 1e-12)
    return scale[:, None, None] * (a @ u @ vt) + goal


def summary(test: PoseTest, figures: PoseFigures) -> dict[str, float]:
    """What a table prints; lengths in mm, angles in rad or deg as the names say.

    ``position_*`` are of position effectors, ``angle_*`` of rotations and look-ats; ``exact_*`` only of those with a
    tolerance below 0.1 mm or rad / 10,000; ``missed_*`` is the share of these beyond 1 mm or 0.5 degree.
    """
    used = test.effectors.weight > 0
    exact = used & (test.effectors.tolerance <= EXACT_TOLERANCE)
    place, degrees = test.effectors.kind == POSITION, np.rad2deg(1.0)
    values = {
        "mpjpe_mm": figures.root_aligned.mean() * MM,
        "absolute_mpjpe_mm": figures.absolute.mean() * MM,
        "pa_mpjpe_mm": figures.procrustes.mean() * MM,
        "ge_rad": figures.geodesic.mean(),
        "change_deg": figures.change.mean() * degrees,
        "position_before_mm": _mean(figures.before[used & place]) * MM,
        "position_after_mm": _mean(figures.after[used & place]) * MM,
        "angle_before_deg": _mean(figures.before[used & ~place]) * degrees,
        "angle_after_deg": _mean(figures.after[used & ~place]) * degrees,
        "exact_position_mm": _mean(figures.after[exact & place]) * MM,
        "exact_position_most_mm": _most(figures.after[exact & place]) * MM,
        "exact_angle_deg": _mean(figures.after[exact & ~place]) * degrees,
        "exact_angle_most_deg": _most(figures.after[exact & ~place]) * degrees,
        "missed_positions": _mean(figures.after[exact & place] > MET_M),
        "missed_angles": _mean(figures.after[exact & ~place] > MET_RAD),
    }
    return {name: float(value) for name, value in values.items()}


def by_count(test: PoseTest, figures: PoseFigures) -> dict[int, tuple[int, float]]:
    """Number of sets and their root-aligned MPJPE [mm] by how many effectors there are."""
    sizes = (test.effectors.weight > 0).sum(axis=1)
    return {
        int(size): (int((sizes == size).sum()), float(figures.root_aligned[sizes == size].mean() * MM))
        for size in np.unique(sizes)
    }


def _by_size(effectors: Effectors) -> Iterator[tuple[np.ndarray, int]]:
    sizes = effectors.size - np.argmax(effectors.weight[:, ::-1] > 0, axis=1)
    for size in np.unique(sizes):
        yield np.flatnonzero(sizes == size), int(size)


def _mean_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=-1).mean(axis=-1)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if values.size else 0.0


def _most(values: np.ndarray) -> float:
    return float(values.max()) if values.size else 0.0
