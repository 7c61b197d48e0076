"""The most probable body for given segment lengths: damped Gauss-Newton, all characters at once.

Minimised over unknowns u and the log scale s is ``sum w (y - f(u) - s)^2 + sum ((u - mean) / deviation)^2``. The scale
has no prior of its own and enters linearly, so it is eliminated: residuals and derivatives are taken about their
weighted means. Unknowns at the end of their range are held while the step would leave it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.learned.shape_population import LengthModel

_TOLERANCE = 1e-5
_GAIN = 1e-2
"""Twice the log of a probability ratio that nobody can tell from 1."""
_LEAST_DAMPING, _FIRST_DAMPING = 1e-7, 1e-3
_ROUNDS = 4


@dataclass(frozen=True, eq=False)
class Refined:
    """Where the search ended.

    Attributes:
        unknowns: [B, U].
        logs: [B, F] log lengths of these bodies, without scale.
        objective: [B] what was minimised.
        converged: [B] the last step was too small to matter.
        steps: [B] steps taken.
    """

    unknowns: np.ndarray
    logs: np.ndarray
    objective: np.ndarray
    converged: np.ndarray
    steps: np.ndarray


def log_scale(logs: np.ndarray, found: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Log factor [B] from a body's log lengths to the seen ones, both [B, F]: the weighted geometric mean ratio."""
    return (weights * (logs - found)).sum(axis=1) / weights.sum(axis=1)


def curvature(jacobian: np.ndarray, weights: np.ndarray, free_scale: bool) -> np.ndarray:
    """``J^T W J`` [B, U, U] of derivatives [B, F, U] and weights [B, F], less what a free scale takes away."""
    jacobian = np.where(weights[..., None] > 0.0, jacobian, 0.0)
    if free_scale:
        total = weights.sum(axis=1)[:, None, None]
        jacobian = jacobian - np.einsum("bf,bfu->bu", weights, jacobian)[:, None] / total
    return np.swapaxes(jacobian * weights[..., None], 1, 2) @ jacobian


def refine(
    model: LengthModel, start: np.ndarray, logs: np.ndarray, weights: np.ndarray, *, free_scale: bool, steps: int = 20
) -> Refined:
    """Descend from ``start``.

    Args:
        model: The bodies.
        start: [B, U].
        logs: [B, F] log lengths, any number where the weight is 0.
        weights: [B, F] inverse variances; 0 for lengths that are missing.
        free_scale: Find the scale as well; otherwise ``logs`` are in metres.
        steps: At most so many.
    """
    search = _Search(model, logs, weights, free_scale)
    unknowns = np.clip(start, model.low, model.high)
    found = model.log_lengths(unknowns)
    objective = search.objective(found, unknowns, np.arange(len(start)))
    damping = np.full(len(start), _FIRST_DAMPING)
    converged, taken = np.zeros(len(start), dtype=bool), np.zeros(len(start), dtype=int)
    for _ in range(steps):
        rows = np.flatnonzero(~converged)
        if not rows.size:
            break
        step = search.step(unknowns[rows], found[rows], damping[rows], rows)
        moved = np.clip(unknowns[rows] + step, model.low, model.high)
        reached = model.log_lengths(moved)
        value = search.objective(reached, moved, rows)
        better = value <= objective[rows]
        small = np.abs(moved - unknowns[rows]).max(axis=1) < _TOLERANCE
        small |= better & (objective[rows] - value <= _GAIN)
        taken[rows] += 1
        converged[rows] = small
        damping[rows] = np.where(better, np.maximum(damping[rows] / 10.0, _LEAST_DAMPING), damping[rows] * 10.0)
        kept = rows[better]
        unknowns[kept], found[kept], objective[kept] = moved[better], reached[better], value[better]
    return Refined(unknowns, found, objective, converged, taken)


class _Search:
    """What is descended."""

    def __init__(self, model: LengthModel, logs: np.ndarray, weights: np.ndarray, free_scale: bool) -> None:
        self._model, self._weights, self._free = model, weights, free_scale
        self._logs = np.where(weights > 0.0, logs, 0.0)
        self._precision = 1.0 / np.square(model.prior_deviation)

    def objective(self, found: np.ndarray, unknowns: np.ndarray, rows: np.ndarray) -> np.ndarray:
        pulled = (self._precision * np.square(unknowns - self._model.prior_mean)).sum(axis=1)
        return (self._weights[rows] * np.square(self._residual(found, rows))).sum(axis=1) + pulled

    def step(self, unknowns: np.ndarray, found: np.ndarray, damping: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Steps [B, U] of the given rows."""
        weights, model = self._weights[rows], self._model
        jacobian = np.where(weights[..., None] > 0.0, model.jacobian(unknowns, found), 0.0)
        pull = self._precision * (unknowns - model.prior_mean)
        # the residual is about its weighted mean already: the mean of the derivatives drops out of the product
        slope = np.einsum("bfu,bf->bu", jacobian, weights * self._residual(found, rows)) - pull
        matrix = curvature(jacobian, weights, self._free) + np.diag(self._precision)
        matrix[:, np.arange(model.count), np.arange(model.count)] *= 1.0 + damping[:, None]
        held = np.zeros(unknowns.shape, dtype=bool)
        step = np.zeros_like(unknowns)
        for _ in range(_ROUNDS):
            step = _solved(matrix, slope, held)
            end = unknowns + step
            leaving = ((unknowns <= model.low) & (end < model.low)) | ((unknowns >= model.high) & (end > model.high))
            if not (leaving & ~held).any():
                break
            held |= leaving
        return step

    def _residual(self, found: np.ndarray, rows: np.ndarray) -> np.ndarray:
        weights = self._weights[rows]
        difference = np.where(weights > 0.0, self._logs[rows] - found, 0.0)
        if not self._free:
            return difference
        return difference - log_scale(difference, np.zeros_like(difference), weights)[:, None]


def _solved(matrix: np.ndarray, slope: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Solve [B, U, U] for [B, U] with the held unknowns at 0."""
    free = ~held
    part = np.where(free[:, :, None] & free[:, None, :], matrix, 0.0)
    part[:, np.arange(matrix.shape[1]), np.arange(matrix.shape[1])] += held
    return np.linalg.solve(part, np.where(free, slope, 0.0)[..., None])[..., 0]
