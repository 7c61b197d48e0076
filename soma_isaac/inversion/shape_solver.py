"""One body's most probable shape and place: Gauss-Newton on coefficients and similarity together.

Alternating Procrustes with a linear fit of the coefficients ends at the same minimum but creeps, because shape spaces
hold growth and tilts that a similarity can undo. Both are therefore solved for at once, starting from Procrustes on the
neutral body; without a similarity, a linear body takes one step, which is the closed form of the ridge regression.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from soma_isaac.body.align import rotations_from_covariances
from soma_isaac.body.shape_observations import ShapeObservations
from soma_isaac.inversion.weights import robust_weights
from soma_isaac.math.so3 import matrix_from_rotvec

_RIDGE = 1e-13
"""Share of the largest diagonal entry that keeps the equations solvable where neither data nor prior decide."""
_ROBUST_ROUNDS = 12
_TOLERANCE = 1e-6
_TRIES = 8
_NOTHING_TO_GAIN = 1e-8
"""Further starts are not tried once the objective is below this [m^2]: 0.1 mm."""
_SMALLEST_DAMPING = 1e-6


@dataclass(frozen=True, eq=False)
class Similarity:
    """``y = scale * rotation x + translation``: from the model's frame to that of the data."""

    rotation: np.ndarray
    translation: np.ndarray
    scale: float

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points [N, 3] of the model in the frame of the data."""
        return self.scale * points @ self.rotation.T + self.translation


@dataclass(frozen=True)
class SolverSettings:
    """What is asked of the solver.

    Attributes:
        prior: [m^2] what one squared standard deviation costs, against the mean squared distance.
        similarity: Solve for rotation and translation.
        scale: Solve for the scale too.
        robust: Distance [unit of the data] from which points count ever less, or ``None``.
        steps: Gauss-Newton steps at most, per set of weights.
    """

    prior: float
    similarity: bool
    scale: bool
    robust: float | None
    steps: int


@dataclass(frozen=True, eq=False)
class Solution:
    """One body.

    Attributes:
        unknowns: [U] standard deviations.
        similarity: From the model to the data.
        weights: [N] robust weights; 1 where none were asked.
        determined: How many unknowns the data decide rather than the prior: the trace of ``H (H + prior)^-1``.
        steps: Gauss-Newton steps taken.
        converged: The last step was too small to matter.
    """

    unknowns: np.ndarray
    similarity: Similarity
    weights: np.ndarray
    determined: float
    steps: int
    converged: bool


def procrustes(source: np.ndarray, target: np.ndarray, weights: np.ndarray, with_scale: bool) -> Similarity:
    """The similarity that takes points [N, 3] closest to others, in weighted least squares (Umeyama 1991).

    Args:
        source: [N, 3].
        target: [N, 3].
        weights: [N].
        with_scale: Fit the scale; 1 otherwise.
    """
    share = weights / weights.sum()
    centres = share @ source, share @ target
    left, right = target - centres[1], source - centres[0]
    covariance = (left * share[:, None]).T @ right
    rotation = rotations_from_covariances(covariance, "kabsch")
    scale = 1.0
    if with_scale:
        scale = float((rotation * covariance).sum() / max(share @ np.square(right).sum(axis=1), 1e-30))
    return Similarity(rotation, centres[1] - scale * rotation @ centres[0], scale)


def solve_shape(
    observations: ShapeObservations, target: np.ndarray, weights: np.ndarray, settings: SolverSettings
) -> Solution:
    """Fit one body.

    Args:
        observations: What is seen as a function of the unknowns.
        target: [N, 3]; entries of weight 0 are not used.
        weights: [N]; their scale is that of the prior.
        settings: What is asked.
    """
    starts, bodies = observations.starts()
    # The metric is that of the data at the size of the neutral body, so that the prior weighs the same in any unit.
    unit = procrustes(bodies[0], target, weights, True).scale if settings.scale else 1.0
    body = _Body(observations, target / unit, settings)
    begun = [body.begun(start, points, weights) for start, points in zip(starts, bodies, strict=True)]
    nearest = [start for _, start in sorted(begun, key=lambda start: start[0])[:_TRIES]]
    solution, least = nearest[0], np.inf
    for start in nearest:
        reached = body.descend(start, weights)
        value = body.objective(reached, weights)
        if value < least:
            solution, least = reached, value
        if least < _NOTHING_TO_GAIN:
            break
    if settings.robust is not None:
        solution = _reweighted(body, solution, weights, settings.robust / unit)
    place = solution.similarity
    return replace(solution, similarity=Similarity(place.rotation, place.translation * unit, place.scale * unit))


def _reweighted(body: _Body, solution: Solution, weights: np.ndarray, final: float) -> Solution:
    """Renew the weights, from a scale at which most points count down to the one that was asked."""
    errors = body.errors(solution)
    scale = max(final, 3.0 * float(np.median(errors[weights > 0.0])))
    for _ in range(_ROBUST_ROUNDS):
        robust = robust_weights(errors, scale)
        settled = scale <= final and float(np.abs(robust - solution.weights)[weights > 0.0].max()) < 1e-3
        solution = body.descend(replace(solution, weights=robust), weights * robust)
        if settled:
            break
        errors, scale = body.errors(solution), max(0.5 * scale, final)
    return solution


class _Body:
    """Descent on one body's target."""

    def __init__(self, observations: ShapeObservations, target: np.ndarray, settings: SolverSettings) -> None:
        self._seen, self._target, self._settings = observations, target, settings
        self._placed = 0 if not settings.similarity else 7 if settings.scale else 6

    def begun(self, unknowns: np.ndarray, points: np.ndarray, weights: np.ndarray) -> tuple[float, Solution]:
        """A start, and what it costs: unknowns [U], whose points [N, 3] are known, placed by Procrustes."""
        place = Similarity(np.eye(3), np.zeros(3), 1.0)
        if self._settings.similarity:
            place = procrustes(points, self._target, weights, self._settings.scale)
        value = self._objective(points, unknowns, place, weights)
        return value, Solution(unknowns, place, np.ones(len(weights)), 0.0, 0, False)

    def objective(self, solution: Solution, weights: np.ndarray) -> float:
        """What is minimised."""
        points = self._seen.points(solution.unknowns[None])[0]
        return self._objective(points, solution.unknowns, solution.similarity, weights)

    def errors(self, solution: Solution) -> np.ndarray:
        """Distances [N]."""
        points = self._seen.points(solution.unknowns[None])[0]
        return np.linalg.norm(solution.similarity.apply(points) - self._target, axis=1)

    def descend(self, solution: Solution, weights: np.ndarray) -> Solution:
        """Steps with fixed weights until they are too small to matter."""
        unknowns, place, damping = solution.unknowns, solution.similarity, 0.0
        points = self._seen.points(unknowns[None])[0]
        value = self._objective(points, unknowns, place, weights)
        system = self._system(points, unknowns, place, weights)
        taken, converged = 0, False
        while taken < self._settings.steps and not converged:
            step = self._step(system, unknowns, self._settings.prior / place.scale**2, damping)
            converged = bool(np.abs(step).max(initial=0.0) < _TOLERANCE)
            shaped = unknowns + step[: len(unknowns)]
            moved = self._moved(place, step[len(unknowns) :], points, weights)
            candidate = self._seen.points(shaped[None])[0]
            reached = self._objective(candidate, shaped, moved, weights)
            taken += 1
            if reached <= value:
                # One step solves linear equations exactly.
                converged |= self._seen.is_linear and not self._placed
                converged |= value - reached <= 1e-9 * value
                unknowns, place, points, value = shaped, moved, candidate, reached
                damping = 0.1 * damping if damping > _SMALLEST_DAMPING else 0.0
                if not converged:
                    system = self._system(points, unknowns, place, weights)
            else:
                damping = max(10.0 * damping, 1e-4)
        determined = self._determined(system[0], len(unknowns), self._settings.prior / place.scale**2)
        return Solution(unknowns, place, solution.weights, determined, solution.steps + taken, converged)

    def _determined(self, matrix: np.ndarray, count: int, prior: float) -> float:
        """Trace of ``H (H + prior)^-1``, where H is what is left to the unknowns once the similarity took its share."""
        data, cross, moves = matrix[:count, :count], matrix[:count, count:], matrix[count:, count:]
        if self._placed:
            data = data - cross @ scipy.linalg.solve(moves + self._ridge(moves, 0.0), cross.T, assume_a="pos")
        # Differences cannot tell curvatures this small from none.
        curvatures = scipy.linalg.eigvalsh(data)
        curvatures = np.where(curvatures > 1e-10 * curvatures.max(initial=0.0), curvatures, 0.0)
        return float((curvatures / (curvatures + prior + 1e-300)).sum())

    def _ridge(self, matrix: np.ndarray, prior: float) -> np.ndarray:
        least = _RIDGE * float(np.diagonal(matrix).max(initial=1e-30))
        return np.eye(len(matrix)) * (prior + least)

    def _objective(self, points: np.ndarray, unknowns: np.ndarray, place: Similarity, weights: np.ndarray) -> float:
        squares = np.square(place.apply(points) - self._target).sum(axis=1)
        return float(weights @ squares + self._settings.prior * unknowns @ unknowns)

    def _system(
        self, points: np.ndarray, unknowns: np.ndarray, place: Similarity, weights: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Normal matrix without prior and right hand side without prior, in the model's frame and metres.

        The columns are the unknowns, then translation, rotation and log scale about the weighted centre.
        """
        jacobian = self._seen.jacobian(unknowns, points)
        residual = (self._target - place.apply(points)) @ place.rotation / place.scale
        repeated = np.repeat(weights, 3)
        weighted = residual.reshape(-1) * repeated
        gram = self._seen.gram(jacobian, weights)
        if not self._placed:
            return gram, jacobian @ weighted
        offsets = points - weights @ points / weights.sum()
        columns = [np.broadcast_to(axis, points.shape) for axis in np.eye(3)]
        columns += [np.cross(axis, offsets) for axis in np.eye(3)]
        columns += [offsets]
        moves = np.array(columns[: self._placed]).reshape(self._placed, -1)
        cross = jacobian @ (moves * repeated).T
        matrix = np.block([[gram, cross], [cross.T, (moves * repeated) @ moves.T]])
        return matrix, np.concatenate([jacobian @ weighted, moves @ weighted])

    def _step(
        self, system: tuple[np.ndarray, np.ndarray], unknowns: np.ndarray, prior: float, damping: float
    ) -> np.ndarray:
        """The damped step, with unknowns held that are at a bound and would leave it; prior in the model's metres."""
        count, table = len(unknowns), self._seen.unknowns
        pull = np.repeat([prior, 0.0], [count, self._placed])
        right = system[1] - pull * np.concatenate([unknowns, np.zeros(self._placed)])
        matrix = system[0] + np.diag(pull + damping * np.diagonal(system[0])) + self._ridge(system[0], 0.0)
        free = np.ones(len(matrix), dtype=bool)
        step = np.zeros(len(matrix))
        for _ in range(count + 1):
            step[:] = 0.0
            step[free] = scipy.linalg.solve(matrix[np.ix_(free, free)], right[free], assume_a="pos")
            end = unknowns + step[:count]
            leaving = ((unknowns <= table.low) & (end < table.low)) | ((unknowns >= table.high) & (end > table.high))
            if not (leaving & free[:count]).any():
                break
            free[:count] &= ~leaving
        step[:count] = np.clip(unknowns + step[:count], table.low, table.high) - unknowns
        return step

    def _moved(self, place: Similarity, step: np.ndarray, points: np.ndarray, weights: np.ndarray) -> Similarity:
        if not self._placed:
            return place
        centre = weights @ points / weights.sum()
        rotation = place.rotation @ matrix_from_rotvec(step[3:6])
        scale = place.scale * float(np.exp(step[6])) if self._placed == 7 else place.scale
        anchor = place.apply((centre + step[:3])[None])[0]
        return Similarity(rotation, anchor - scale * rotation @ centre, scale)
