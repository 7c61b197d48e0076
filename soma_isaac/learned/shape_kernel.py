"""Kernel regression from segment lengths to a body's coefficients: our start, and the estimator of the SMPL-IK paper.

Ours divides the scale out and takes a bandwidth from the data. The paper's (Voleti et al. 2022, SMPL-SI) draws the
scale along with the body and weighs with one absolute bandwidth, which is too wide for small characters and too narrow
for large ones. It is kept as the baseline.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from soma_isaac.learned.shape_population import LengthModel, Population
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES

NEIGHBOURS = 32

PAPER_BANDWIDTH_M = 0.02
PAPER_DRAWS = 20_000
PAPER_SCALES = (0.2, 2.0)
PAPER_FEATURES = (
    ("RightLeg", "RightShin"),
    ("RightShin", "RightFoot"),
    ("Head", "RightFoot"),
    ("Head", "RightHand"),
    ("RightArm", "RightForeArm"),
    ("RightForeArm", "RightHand"),
)
"""The paper's six distances: thigh, shin, head to ankle, head to wrist, upper arm, forearm, of the right side."""

_ROWS = 64
_PAPER_ENDS = np.array([[PUBLIC_JOINT_NAMES.index(name) for name in pair] for pair in PAPER_FEATURES])


def kernel_start(
    population: Population, logs: np.ndarray, weights: np.ndarray, *, free_scale: bool, neighbours: int = NEIGHBOURS
) -> tuple[np.ndarray, np.ndarray]:
    """Where to start the search for a body.

    Args:
        population: Bodies of the model.
        logs: [B, F] log lengths, any number where the weight is 0.
        weights: [B, F] what each counts, at least 0.
        free_scale: Bodies that differ by a factor are alike.
        neighbours: How many nearest bodies count; the farthest of them sets the bandwidth.

    Returns:
        Unknowns [B, U] of the neighbours' weighted mean, and those of the neighbours [B, N, U], nearest first.
    """
    known = np.where(np.isfinite(population.log_lengths), population.log_lengths, 0.0)
    mean, nearest = [], []
    for begin in range(0, len(logs), _ROWS):
        share, seen = weights[begin : begin + _ROWS], logs[begin : begin + _ROWS]
        # sum w (x - y)^2, less what a common shift takes away
        squares = share @ np.square(known).T - 2.0 * (share * seen) @ known.T
        squares += (share * np.square(seen)).sum(axis=1)[:, None]
        if free_scale:
            shift = share @ known.T - (share * seen).sum(axis=1)[:, None]
            squares -= np.square(shift) / share.sum(axis=1)[:, None]
        count = min(neighbours, squares.shape[1])
        rows = np.argpartition(squares, count - 1, axis=1)[:, :count]
        found = np.maximum(np.take_along_axis(squares, rows, axis=1), 0.0)
        width = np.maximum(found.max(axis=1, keepdims=True), 1e-30)
        bodies = population.unknowns[rows]
        mean.append(np.einsum("bn,bnu->bu", softmax(-2.0 * found / width, axis=1), bodies))
        nearest.append(np.take_along_axis(bodies, found.argsort(axis=1)[..., None], axis=1))
    return np.concatenate(mean), np.concatenate(nearest)


@dataclass(frozen=True, eq=False)
class PaperEstimator:
    """The estimator as the paper has it: no refinement, six absolute distances, the scale sampled.

    Attributes:
        unknowns: [N, U] of the drawn bodies.
        scales: [N] drawn with them.
        features: [N, 6] m.
    """

    unknowns: np.ndarray
    scales: np.ndarray
    features: np.ndarray

    @classmethod
    def of(
        cls,
        model: LengthModel,
        draws: int = PAPER_DRAWS,
        seed: int = 0,
        within: Mapping[str, tuple[float, float]] | None = None,
    ) -> PaperEstimator:
        """Draw the table; see :meth:`~soma_isaac.learned.shape_population.LengthModel.drawn` for ``within``."""
        unknowns = model.drawn(draws, seed, within)
        scales = np.random.default_rng([seed, 1]).uniform(*PAPER_SCALES, draws)
        return cls(unknowns, scales, scales[:, None] * paper_features(model.joints(unknowns)))

    def estimate(self, joints: np.ndarray, bandwidth: float = PAPER_BANDWIDTH_M) -> tuple[np.ndarray, np.ndarray]:
        """Unknowns [B, U] and scales [B] for public joints [B, 78, 3] m."""
        unknowns, scales = [], []
        for row in paper_features(joints):
            # softmax is the sum of exponentials over itself, without the underflow far from all draws
            weights = softmax(-np.square(self.features - row).sum(axis=1) / (2.0 * bandwidth**2))
            unknowns.append(weights @ self.unknowns)
            scales.append(weights @ self.scales)
        return np.array(unknowns), np.array(scales)


def paper_features(joints: np.ndarray) -> np.ndarray:
    """The six distances [B, 6] of public joints [B, 78, 3], in their unit."""
    return np.linalg.norm(joints[:, _PAPER_ENDS[:, 1]] - joints[:, _PAPER_ENDS[:, 0]], axis=-1)
