"""The exact stage: the pose nearest to a proposed one that meets its effectors.

Minimises ``e^T C^-1 e + sum_k w_k (|r_k| / max(tolerance_k, tiny))^2`` over the whole tangent step ``e`` from the
proposal: the maximum a posteriori pose when the proposal errs with covariance ``C`` and the targets with their
tolerances, and the minimum-norm solution of the constraints when they are exact. The iteration is in
:mod:`soma_isaac.learned.solve`, the rows in :mod:`soma_isaac.learned.rows`, and what is done about targets that one
solution misses in :mod:`soma_isaac.learned.attempts`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.attempts import keep_limits, problem_of, solved, try_again
from soma_isaac.learned.effectors import POSITION, Effectors
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.prior import PosePrior, default_prior, steps_between
from soma_isaac.learned.rows import JOINTS, TANGENT, Targets, logarithm, pose_state
from soma_isaac.learned.skeleton import BodyPose, BodySkeleton
from soma_isaac.learned.solve import RefineSettings

REACHED_M = 1e-3
REACHED_RAD = np.deg2rad(0.1)
"""An exact effector within this is met."""


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
    problem = problem_of(pose, effectors, rest_offsets, settings)
    if first is not None:
        steps = steps_between(pose, first, rest_offsets)
        problem.first = np.linalg.solve(prior.factor, steps.T).T
    solution = solved(problem, prior, None, settings)
    if settings.second_start:
        try_again(solution, problem, prior, settings)
    if limits is not None:
        keep_limits(solution, problem, prior, limits, settings)
        solution.local = limits.clamp(solution.local)  # the last 1e-4 rad
    return refined(pose, BodyPose(solution.local, solution.root), effectors, rest_offsets, solution.iterations)


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
