"""The exact stage: the pose nearest to a proposed one that meets its effectors.

Minimises ``e^T C^-1 e + sum_k w_k (|r_k| / max(tolerance_k, tiny))^2`` over the whole tangent step ``e`` from the
proposal: the maximum a posteriori pose when the proposal errs with covariance ``C`` and the targets with their
tolerances, and the minimum-norm solution of the constraints when they are exact. The iteration is in
:mod:`soma_isaac.learned.solve`, the rows in :mod:`soma_isaac.learned.rows`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import POSITION, Effectors
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.predictor import StillPose
from soma_isaac.learned.prior import PosePrior, body_scale, default_prior, steps_between, tangent
from soma_isaac.learned.rows import JOINTS, TANGENT, Targets, logarithm, pose_state
from soma_isaac.learned.skeleton import BodyPose, BodySkeleton
from soma_isaac.learned.solve import Problem, RefineSettings, Solution, solve

REACHED_M = 1e-3
REACHED_RAD = np.deg2rad(0.1)
"""An exact effector within this is met."""

_BATCH = 128  # what one pass holds: larger ones leave the cache
_OUTSIDE_RAD = 1e-6  # less is clipped without another solution
_NARROW = 0.01  # first tolerance of a pass that begins near its end


@dataclass(frozen=True, eq=False)
class Refined:
    """Poses that meet their effectors as well as they can.

    Attributes:
        pose: The B poses.
        residual: [B, N] distance to the target, m for positions, rad for rotations and look-ats; 0 where weight 0.
        change: [B] rad, root mean square over the joints of the turn against the proposal.
        iterations: [B] Gauss-Newton steps.
        reached: [B, N] whether the residual is within 1 mm or 0.1 degree, or the effector's tolerance if that is more.
    """

    pose: BodyPose
    residual: np.ndarray
    change: np.ndarray
    iterations: np.ndarray
    reached: np.ndarray


def refine(
    pose: BodyPose,
    effectors: Effectors,
    skeleton: BodySkeleton,
    *,
    prior: PosePrior | None = None,
    limits: JointLimits | None = None,
    settings: RefineSettings | None = None,
) -> Refined:
    """The most plausible poses of one body that meet their effectors.

    Args:
        pose: B proposed poses.
        effectors: B sets.
        skeleton: The body.
        prior: How the proposal errs; equal errors of all joints by default.
        limits: Ranges of the joints. They are kept even where they put a target out of reach.
        settings: How the equations are solved.

    Raises:
        InputRejected: The numbers of poses and sets differ.
    """
    offsets = np.broadcast_to(skeleton.rest_offsets, (pose.count, JOINTS, 3))
    return refine_bodies(pose, effectors, offsets, prior=prior, limits=limits, settings=settings)


def refine_bodies(
    pose: BodyPose,
    effectors: Effectors,
    rest_offsets: np.ndarray,
    *,
    prior: PosePrior | None = None,
    limits: JointLimits | None = None,
    settings: RefineSettings | None = None,
    first: BodyPose | None = None,
) -> Refined:
    """:func:`refine` for B poses of B bodies.

    Args:
        pose: As there, like the other arguments not named here.
        effectors: As there.
        rest_offsets: [B, 23, 3] m, as of :class:`~soma_isaac.learned.skeleton.BodySkeleton`.
        prior: As there.
        limits: As there.
        settings: As there.
        first: Where the iteration begins, the proposals themselves by default. A good start saves iterations and picks
            between solutions; what is minimised is the same.

    Raises:
        InputRejected: The numbers of poses, sets and bodies differ.
    """
    settings, prior = settings or RefineSettings(), prior or default_prior()
    if not pose.count == effectors.count == len(rest_offsets):
        raise InputRejected(f"{pose.count} poses, {effectors.count} sets of effectors, {len(rest_offsets)} bodies")
    problem = _problem(pose, effectors, rest_offsets, settings)
    if first is not None:
        steps = steps_between(pose, first, rest_offsets)
        problem.first = np.linalg.solve(prior.factor, steps.T).T
    solution = _solved(problem, prior, None, settings)
    if settings.second_start:
        _start_again(solution, problem, prior, settings)
        _start_at_rest(solution, problem, pose, effectors, prior, settings)
    if limits is not None:
        _keep_limits(solution, problem, prior, limits, settings)
        solution.local = limits.clamp(solution.local)  # the last 1e-4 rad
    return refined(pose, BodyPose(solution.local, solution.root), effectors, rest_offsets, solution.iterations)


def _start_again(solution: Solution, problem: Problem, prior: PosePrior, settings: RefineSettings) -> None:
    """Solve once more where a target was missed, from where an equal prior leads; keep the better."""
    residual, cost = _cost(problem, solution)
    missed = _missed(problem, residual)
    if not len(missed):
        return
    again, equal = problem.take(missed), default_prior()
    again.first = np.zeros((len(missed), TANGENT))
    steps = _solved(again, equal, None, settings).step @ equal.factor.T
    again.first = np.linalg.solve(prior.factor, steps.T).T
    _keep_better(solution, missed, cost, again, _solved(again, prior, None, _narrow(settings)))


def _start_at_rest(
    solution: Solution,
    problem: Problem,
    pose: BodyPose,
    effectors: Effectors,
    prior: PosePrior,
    settings: RefineSettings,
) -> None:
    """Where an exact target is missed even so, forget the proposal: begin at the T-pose, stay near it, targets decide.

    The proposal is then all but impossible under what is asked, or lies behind a stretched limb. Uncertain targets
    are no reason for that: they may well be wrong.
    """
    for near in (prior, default_prior()):
        residual = np.where(problem.deviation <= settings.tiny, _cost(problem, solution)[0], 0.0)
        missed = _missed(problem, residual)
        if not len(missed):
            return
        asked, offsets = effectors.rows(missed), problem.offsets[missed]
        again = _problem(StillPose().predict_bodies(asked, offsets), asked, offsets, settings)
        second = _solved(again, near, None, settings)
        proposed = BodyPose(pose.rotations[missed], pose.root_position[missed])
        steps = steps_between(proposed, BodyPose(second.local, second.root), offsets)
        second.step = np.linalg.solve(prior.factor, steps.T).T
        closer = _off_target(again, second) < _off_target(problem.take(missed), solution.take(missed))
        solution.put(missed[closer], second.take(closer))


def _off_target(problem: Problem, solution: Solution) -> np.ndarray:
    """The effectors' part [B] of the sum."""
    return _cost(problem, solution)[1] - np.square(solution.step).sum(axis=1)


def _missed(problem: Problem, residual: np.ndarray) -> np.ndarray:
    far = residual > np.maximum(REACHED_RAD, 3.0 * problem.deviation)
    return np.flatnonzero((far & (problem.strength > 0.0)).any(axis=1))


def _narrow(settings: RefineSettings) -> RefineSettings:
    """For a pass that begins near its end."""
    return replace(settings, first_tolerance=min(settings.first_tolerance, _NARROW))


def _keep_better(solution: Solution, index: np.ndarray, cost: np.ndarray, problem: Problem, second: Solution) -> None:
    better = _cost(problem, second)[1] < cost[index]
    solution.iterations[index] += second.iterations
    second.iterations[:] = 0  # counted already
    solution.put(index[better], second.take(better))


def _keep_limits(
    solution: Solution, problem: Problem, prior: PosePrior, limits: JointLimits, settings: RefineSettings
) -> None:
    """Solve once more for the poses outside their limits, beginning where they are.

    Where that leaves a target unmet, once again from the middle of every joint's range, and the better of both is
    kept: a pose far outside may have come to lie behind a limit that it cannot be pulled through.
    """
    settings = _narrow(settings)
    outside = np.flatnonzero(limits.excess(solution.local).max(axis=(1, 2)) > _OUTSIDE_RAD)
    if not len(outside):
        return
    some = problem.take(outside)
    some.first = solution.step[outside]
    held = _solved(some, prior, limits, settings)
    residual, cost = _cost(some, held)
    missed = _missed(some, residual)
    if len(missed):
        again = some.take(missed)
        middle = np.broadcast_to(limits.middle, again.start.shape).copy()
        middle[:, 0] = again.start[:, 0]
        steps = tangent(again.start, middle, np.zeros((len(missed), 3)))
        again.first = np.linalg.solve(prior.factor, steps.T).T
        _keep_better(held, missed, cost, again, _solved(again, prior, limits, settings))
    solution.put(outside, held)


def _solved(problem: Problem, prior: PosePrior, limits: JointLimits | None, settings: RefineSettings) -> Solution:
    """Solve in batches that fit the cache."""
    solution = Solution.empty(len(problem.start))
    for at in range(0, len(problem.start), _BATCH):
        part = slice(at, at + _BATCH)
        solution.put(part, solve(problem.take(part), prior.factor, limits, settings))
    return solution


def _cost(problem: Problem, solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Residuals [B, N] of poses and the sum [B] that the exact stage makes small."""
    still = np.zeros((len(solution.root), TANGENT))
    offsets, targets = problem.offsets, problem.targets()
    state = pose_state(still, solution.local, solution.root, solution.local[:, 0], offsets, targets)
    residual = np.sqrt(np.square(state.residual).sum(axis=-1))
    whitened = residual * problem.strength / problem.deviation
    return residual, np.square(whitened).sum(axis=1) + np.square(solution.step).sum(axis=1)


def _problem(pose: BodyPose, effectors: Effectors, rest_offsets: np.ndarray, settings: RefineSettings) -> Problem:
    used = np.flatnonzero((effectors.weight > 0.0).any(axis=0))  # columns that are padding in every set cost nothing
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


def refined(
    proposed: BodyPose, pose: BodyPose, effectors: Effectors, rest_offsets: np.ndarray, iterations: np.ndarray
) -> Refined:
    """Measure how poses meet their effectors and differ from what was proposed.

    Args:
        proposed: B poses.
        pose: B poses.
        effectors: B sets.
        rest_offsets: [23, 3] or [B, 23, 3] m.
        iterations: [B] that it took.
    """
    residual = effector_residuals(pose, effectors, rest_offsets)
    turns = proposed.rotations.swapaxes(-1, -2) @ pose.rotations
    vectors = logarithm(turns.reshape(-1, 3, 3)).reshape(pose.count, JOINTS, 3)
    change = np.sqrt(np.square(vectors).sum(axis=-1).mean(axis=-1))
    threshold = np.where(effectors.kind == POSITION, REACHED_M, REACHED_RAD)
    reached = residual <= np.maximum(threshold, effectors.tolerance)
    return Refined(pose, residual, change, iterations, reached)


def effector_residuals(pose: BodyPose, effectors: Effectors, rest_offsets: np.ndarray) -> np.ndarray:
    """How far poses are from their effectors: [B, N] m for positions, rad for rotations and look-ats; 0 where weight 0.

    Args:
        pose: B poses.
        effectors: B sets.
        rest_offsets: [23, 3] or [B, 23, 3] m.
    """
    fields = (getattr(effectors, name) for name in ("kind", "joint", "target", "rotation", "direction"))
    targets = Targets.of(*fields, used=effectors.weight > 0.0)
    offsets = np.broadcast_to(rest_offsets, (pose.count, JOINTS, 3))
    still = np.zeros((pose.count, TANGENT))
    state = pose_state(still, pose.rotations, pose.root_position, pose.rotations[:, 0], offsets, targets)
    return np.sqrt(np.square(state.residual).sum(axis=-1))
