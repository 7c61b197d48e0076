"""The exact stage: the pose nearest to a proposed one that meets its effectors.

Minimises ``e^T C^-1 e + sum_k w_k (|r_k| / max(tolerance_k, tiny))^2`` over the whole tangent step ``e`` from the
proposal: the maximum a posteriori pose when the proposal errs with covariance ``C`` and the targets with their
tolerances, and the minimum-norm solution of the constraints when they are exact. The iteration is in
:mod:`soma_isaac.learned.solve`, the rows in :mod:`soma_isaac.learned.rows`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import POSITION, Effectors
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.rows import JOINTS, TANGENT, Targets, logarithm, pose_state
from soma_isaac.learned.skeleton import BodyPose, BodySkeleton, log_bone_ratios
from soma_isaac.learned.solve import Problem, RefineSettings, Solution, solve
from soma_isaac.math.arrays import frozen_array

REACHED_M = 1e-3
REACHED_RAD = np.deg2rad(0.1)
"""An exact effector within this is met."""

_BATCH = 128  # what one pass holds: larger ones leave the cache


@dataclass(frozen=True, eq=False)
class PosePrior:
    """How far from the proposed pose a true pose may lie.

    Attributes:
        covariance: [72, 72], tangent order: the root's place (3; m in the Hips' own axes, divided by the body's scale),
            then a local rotation vector per joint (23 x 3; rad, ``R_j exp(w)``).
    """

    covariance: np.ndarray

    def __post_init__(self) -> None:
        """Check that it is a covariance, and find its factor.

        Raises:
            InputRejected: The shape differs, it is not symmetric, or not positive definite.
        """
        covariance = frozen_array("covariance", self.covariance, (TANGENT, TANGENT))
        object.__setattr__(self, "covariance", covariance)
        if np.abs(covariance - covariance.T).max() > 1e-6 * np.abs(covariance).max():
            raise InputRejected("the covariance of a pose prior is not symmetric")
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise InputRejected("the covariance of a pose prior is not positive definite") from error
        factor.setflags(write=False)
        object.__setattr__(self, "_factor", factor)

    @property
    def factor(self) -> np.ndarray:
        """[72, 72] lower Cholesky factor."""
        return self.__dict__["_factor"]

    @classmethod
    def isotropic(cls, *, root: float = 0.3, rotation: float = 0.3, hips_rotation: float = 0.3) -> PosePrior:
        """Independent errors.

        Args:
            root: Standard deviation of the root's place [m on the template body], per axis.
            rotation: Of the local rotations [rad], per axis.
            hips_rotation: Of the turn of the whole body [rad], per axis.
        """
        deviations = np.full(TANGENT, rotation)
        deviations[:3], deviations[3:6] = root, hips_rotation
        return cls(np.diag(deviations**2))

    @classmethod
    def from_steps(cls, steps: np.ndarray, *, floor: float = 0.02) -> PosePrior:
        """Second moments of the steps [M, 72] from proposed to true poses, ``floor`` (m, rad) added per axis.

        The moments are about zero, not about the mean: the proposal is where the solution is drawn to.
        """
        steps = frozen_array("steps", steps, (None, TANGENT))
        return cls(steps.T @ steps / len(steps) + floor**2 * np.eye(TANGENT))


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
    solution = Solution.empty(pose.count)
    for at in range(0, pose.count, _BATCH):
        part = slice(at, at + _BATCH)
        solution.put(part, solve(problem.take(part), prior.factor, None, settings))
    if limits is not None:
        _keep_limits(solution, problem, prior, limits, settings)
    return _report(pose, effectors, rest_offsets, solution)


def _keep_limits(
    solution: Solution, problem: Problem, prior: PosePrior, limits: JointLimits, settings: RefineSettings
) -> None:
    """Solve once more for the poses outside their limits, beginning where they are; then clip what is left (< 1e-4)."""
    problem.first = solution.step
    outside = np.flatnonzero(limits.excess(solution.local).max(axis=(1, 2)) > 0.0)
    for at in range(0, len(outside), _BATCH):
        part = outside[at : at + _BATCH]
        again = solve(problem.take(part), prior.factor, limits, settings)
        again.local = limits.clamp(again.local)
        solution.put(part, again)


@functools.lru_cache(maxsize=1)
def default_prior() -> PosePrior:
    """Equal errors of all joints: what is taken where no prior is given."""
    return PosePrior.isotropic()


def steps_between(start: BodyPose, end: BodyPose, rest_offsets: np.ndarray) -> np.ndarray:
    """Tangent steps [B, 72] from poses to poses, in the order of :class:`PosePrior`.

    Args:
        start: B poses.
        end: B poses.
        rest_offsets: [23, 3] or [B, 23, 3] m, whose scale divides the root's move.
    """
    turns = start.rotations.swapaxes(-1, -2) @ end.rotations
    vectors = logarithm(turns.reshape(-1, 3, 3)).reshape(start.count, TANGENT - 3)
    moved = (end.root_position - start.root_position)[:, None] @ start.rotations[:, 0]
    scale = np.exp(log_bone_ratios(rest_offsets).mean(axis=-1))
    return np.concatenate([moved[:, 0] / np.reshape(scale, (-1, 1)), vectors], axis=-1)


def _problem(pose: BodyPose, effectors: Effectors, rest_offsets: np.ndarray, settings: RefineSettings) -> Problem:
    used = np.flatnonzero((effectors.weight > 0.0).any(axis=0))  # columns that are padding in every set cost nothing
    weight, tolerance = effectors.weight[:, used], effectors.tolerance[:, used]
    scale = np.exp(log_bone_ratios(rest_offsets).mean(axis=-1))
    return Problem(
        pose.rotations,
        pose.root_position,
        pose.rotations[:, 0] * scale[:, None, None],
        rest_offsets,
        *(getattr(effectors, name)[:, used] for name in ("kind", "joint", "target", "rotation", "direction")),
        deviation=np.maximum(tolerance, settings.tiny),
        strength=np.sqrt(weight),
        first=np.zeros((pose.count, TANGENT)),
    )


def _report(proposed: BodyPose, effectors: Effectors, rest_offsets: np.ndarray, solution: Solution) -> Refined:
    pose = BodyPose(solution.local, solution.root)
    residual = effector_residuals(pose, effectors, rest_offsets)
    turns = proposed.rotations.swapaxes(-1, -2) @ pose.rotations
    vectors = logarithm(turns.reshape(-1, 3, 3)).reshape(pose.count, JOINTS, 3)
    change = np.sqrt(np.square(vectors).sum(axis=-1).mean(axis=-1))
    threshold = np.where(effectors.kind == POSITION, REACHED_M, REACHED_RAD)
    reached = residual <= np.maximum(threshold, effectors.tolerance)
    return Refined(pose, residual, change, solution.iterations, reached)


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
