"""From where the exact stage begins, and from where it begins again for poses that miss a target.

One solution (:mod:`soma_isaac.learned.solve`) does for nearly all poses. What it misses although it can be met, it
misses for one of three reasons, and each has its remedy:

* the pose is so improbable under the prior that the pull to the proposal outweighs the tolerance of an exact target:
  the tolerance is lowered, from where the pose is;
* steps bring it no nearer (joints lie in one line, or the way is narrow and bends): the pose is shaken a little;
* another valley holds the pose: it begins elsewhere, where an equal prior leads, then at poses about the proposal.
"""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from soma_isaac.learned.effectors import POSITION, Effectors
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.prior import PosePrior, body_scale, default_prior, tangent
from soma_isaac.learned.rows import TANGENT, pose_state
from soma_isaac.learned.skeleton import BodyPose
from soma_isaac.learned.solve import Problem, RefineSettings, Solution, solve

MISSED_M, MISSED_RAD = 5e-4, float(np.deg2rad(0.05))
"""An exact effector further from its target is worth another attempt: half of what still counts as met."""

_BATCH = 128  # what one pass holds: larger ones leave the cache
_OUTSIDE_RAD = 1e-6  # less is clipped without another solution
_NARROW = 0.01  # first tolerance of a pass that begins near its end,
_NARROWEST = 1e-3  # and of one that begins within millimetres of it
_NEAR = 0.05  # m or rad; where a target is missed by more than this, such a pass does not help
_GAIN = 0.99  # a sum that is not less than this share of the other is no better
_SHAKES, _STARTS = 4, 8  # how many are tried at once
SHAKE, FAR = 0.1, 1.5
"""How far shakes and starts about the proposal go, in standard deviations of the prior."""


def problem_of(pose: BodyPose, effectors: Effectors, rest_offsets: np.ndarray, settings: RefineSettings) -> Problem:
    """What is to be solved, beginning at the proposals.

    Args:
        pose: B proposed poses.
        effectors: B sets; columns that are padding in all of them are left out.
        rest_offsets: [B, 23, 3] m.
        settings: How exact an exact effector is.
    """
    used = np.flatnonzero((effectors.weight > 0.0).any(axis=0))
    weight, tolerance = effectors.weight[:, used], effectors.tolerance[:, used]
    return Problem(
        pose.rotations,
        pose.root_position,
        pose.rotations[:, 0] * body_scale(rest_offsets)[:, None, None],
        rest_offsets,
        *(getattr(effectors, name)[:, used] for name in ("kind", "joint", "target", "rotation", "direction")),
        deviation=np.maximum(tolerance, settings.tiny),
        strength=np.sqrt(weight),
        first=np.zeros((pose.count, TANGENT)),
    )


def solved(problem: Problem, prior: PosePrior, limits: JointLimits | None, settings: RefineSettings) -> Solution:
    """Solve once, in batches that fit the cache."""
    solution = Solution.empty(len(problem.start))
    for at in range(0, len(problem.start), _BATCH):
        part = slice(at, at + _BATCH)
        solution.put(part, solve(problem.take(part), prior.factor, limits, settings))
    return solution


def try_again(solution: Solution, problem: Problem, prior: PosePrior, settings: RefineSettings) -> None:
    """Better the solutions that miss a target; the others are not touched.

    Args:
        solution: One solution without limits, changed in place.
        problem: What it solves.
        prior: How the proposals err.
        settings: How the equations are solved.
    """
    meet_exactly(solution, problem, prior, None, settings)
    if len(_start_equal(solution, problem, prior, settings)):
        meet_exactly(solution, problem, prior, None, settings)
    missed = _missed_exactly(solution, problem, settings)
    if len(missed):
        proposed = np.zeros((len(missed), TANGENT))
        if len(_begin_at(solution, missed, proposed, FAR * _directions(_STARTS), problem, prior, None, settings)):
            meet_exactly(solution, problem, prior, None, settings)


def meet_exactly(
    solution: Solution, problem: Problem, prior: PosePrior, limits: JointLimits | None, settings: RefineSettings
) -> None:
    """Where an exact target is just missed, go on from where the pose is with a lower tolerance, if need be shaken.

    Args:
        solution: Changed in place.
        problem: What it solves.
        prior: How the proposals err.
        limits: Ranges of the joints.
        settings: How the equations are solved.
    """
    moved = np.arange(len(solution.step))
    for away in (np.zeros((1, TANGENT)), *np.split(SHAKE * _directions(2 * _SHAKES), 2)):
        missed = _missed_exactly(solution, problem, settings, _NEAR)
        missed = missed[np.isin(missed, moved)]
        if not len(missed):
            return
        better = _begin_at(solution, missed, solution.step[missed], away, problem, prior, limits, settings)
        moved = better if len(away) > 1 else moved  # shaken again is what shaking has brought nearer


def keep_limits(
    solution: Solution, problem: Problem, prior: PosePrior, limits: JointLimits, settings: RefineSettings
) -> None:
    """Solve once more for the poses outside their limits, beginning where they are.

    Where that leaves a target unmet, once again from the middle of every joint's range, and the better of both is
    kept: a pose far outside may have come to lie behind a limit that it cannot be pulled through.

    Args:
        solution: Changed in place.
        problem: What it solves.
        prior: How the proposals err.
        limits: Ranges of the joints.
        settings: How the equations are solved.
    """
    outside = np.flatnonzero(limits.excess(solution.local).max(axis=(1, 2)) > _OUTSIDE_RAD)
    if not len(outside):
        return
    narrow = _narrow(settings)
    some = problem.take(outside)
    some.first = solution.step[outside]
    held = solved(some, prior, limits, narrow)
    missed = _missed(some, _cost(some, held)[0])
    if len(missed):
        again = some.take(missed)
        middle = np.broadcast_to(limits.middle, again.start.shape).copy()
        middle[:, 0] = again.start[:, 0]
        steps = tangent(again.start, middle, np.zeros((len(missed), 3)))
        again.first = np.linalg.solve(prior.factor, steps.T).T
        _keep_better(held, missed, again, solved(again, prior, limits, narrow))
    if settings.second_start:
        meet_exactly(held, some, prior, limits, settings)
    solution.put(outside, held)


def _start_equal(solution: Solution, problem: Problem, prior: PosePrior, settings: RefineSettings) -> np.ndarray:
    """Solve once more where a target is missed, from where an equal prior leads; returns the poses that gain."""
    missed = _missed(problem, _cost(problem, solution)[0])
    if not len(missed):
        return missed
    again, equal = problem.take(missed), default_prior()
    again.first = np.zeros((len(missed), TANGENT))
    steps = solved(again, equal, None, settings).step @ equal.factor.T
    again.first = np.linalg.solve(prior.factor, steps.T).T
    better = _keep_better(solution, missed, again, solved(again, prior, None, _narrow(settings)))
    left = _missed_exactly(solution, problem, settings)
    if len(left):  # hold what an equal prior has met while the pull to the proposal comes back
        met = again.first[np.searchsorted(missed, left)]
        held = _begin_at(solution, left, met, np.zeros((1, TANGENT)), problem, prior, None, settings, settings.tightest)
        better = np.union1d(better, held)
    return better


def _begin_at(
    solution: Solution,
    missed: np.ndarray,
    step: np.ndarray,
    away: np.ndarray,
    problem: Problem,
    prior: PosePrior,
    limits: JointLimits | None,
    settings: RefineSettings,
    first_tolerance: float = _NARROWEST,
) -> np.ndarray:
    """Solve poses ``missed`` [M] to the lowest tolerance from steps [M, 72] plus each of [S, 72]; keep the best.

    Returns the indices of those that are better than what stood.
    """
    tight = replace(
        settings,
        tiny=settings.tightest,
        tiny_limit=min(settings.tiny_limit, 0.1 * settings.tightest),
        first_tolerance=min(settings.first_tolerance, first_tolerance),
    )
    tried = np.tile(missed, len(away))
    some = problem.take(tried)
    some.deviation = np.where(some.deviation <= settings.tiny, settings.tightest, some.deviation)
    some.first = (step + away[:, None]).reshape(-1, TANGENT)
    return _keep_better(solution, tried, some, solved(some, prior, limits, tight))


@functools.lru_cache(maxsize=4)
def _directions(count: int) -> np.ndarray:
    """Whitened steps [count, 72] that mean nothing, the same for every pose, of a standard deviation each way."""
    return np.random.default_rng(5).normal(size=(count, TANGENT))


def _narrow(settings: RefineSettings) -> RefineSettings:
    """For a pass that begins near its end."""
    return replace(settings, first_tolerance=min(settings.first_tolerance, _NARROW))


def _missed(problem: Problem, residual: np.ndarray, most: float = np.inf) -> np.ndarray:
    """Indices of the poses with an effector that residuals [B, N] put beyond three deviations, and a little more.

    Those with a residual beyond ``most`` are left out.
    """
    least = np.where(problem.kind == POSITION, MISSED_M, MISSED_RAD)
    far = (residual > np.maximum(least, 3.0 * problem.deviation)) & (problem.strength > 0.0)
    return np.flatnonzero(far.any(axis=1) & (residual <= most).all(axis=1))


def _missed_exactly(solution: Solution, problem: Problem, settings: RefineSettings, most: float = np.inf) -> np.ndarray:
    """The same of exact effectors only."""
    return _missed(problem, np.where(problem.deviation <= settings.tiny, _cost(problem, solution)[0], 0.0), most)


def _cost(problem: Problem, solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Residuals [B, N] of poses and the sum [B] that the exact stage makes small."""
    still = np.zeros((len(solution.root), TANGENT))
    offsets, targets = problem.offsets, problem.targets()
    state = pose_state(still, solution.local, solution.root, solution.local[:, 0], offsets, targets)
    residual = np.sqrt(np.square(state.residual).sum(axis=-1))
    whitened = residual * problem.strength / problem.deviation
    return residual, np.square(whitened).sum(axis=1) + np.square(solution.step).sum(axis=1)


def _keep_better(solution: Solution, index: np.ndarray, problem: Problem, second: Solution) -> np.ndarray:
    """Put other solutions of ``problem`` at ``index`` where their sums are smaller.

    An index may stand there more than once; iterations are counted. Returns the indices that were changed.
    """
    before, after = _cost(problem, solution.take(index))[1], _cost(problem, second)[1]
    np.add.at(solution.iterations, index, second.iterations)
    second.iterations[:] = 0  # counted already
    order = np.argsort(-after, kind="stable")  # of several at one index the smallest is put last
    better = order[after[order] < _GAIN * before[order]]
    solution.put(index[better], second.take(better))
    return np.unique(index[better])
