"""The iteration of the exact stage (:mod:`soma_isaac.learned.refine`): Gauss-Newton in dual form with damping.

With ``C = L L^T`` the prior, ``e = L z`` the whole step from the proposal, whitened rows ``Y`` and residuals ``rho`` at
the iterate ``z_i``, damping ``l`` and ``m = z_i l / (1 + l)``, a step goes to

    ``z = m + Y^T (Y Y^T + (1 + l) I)^-1 (Y (z_i - m) - rho)``,

the minimum of ``|z|^2 + |rho + Y (z - z_i)|^2 + l |z - z_i|^2`` by systems of the size of the effectors, not of the
body. Exact effectors are valleys so narrow that a descent would creep along them (the Maratos effect). So tolerances
begin wide and follow the error that the last linearisation turned out to make: from 0.1 m down to a fraction of a
millimetre within a few steps. A step that makes the sum larger is refused and damped more, so that targets out of reach
give the nearest pose and never blow up.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from soma_isaac.learned.limits import JointLimits, LimitRows
from soma_isaac.learned.rows import JOINTS, TANGENT, State, Targets, jacobian, pose_state

_MOST_REFUSALS = 8
_HARDER, _EASIER, _LEAST_DAMPING, _FIRST_DAMPING = 8.0, 0.3, 0.1, 1.0
_TRUST = 0.5  # next tolerance over the error of the last linearisation
_LEAST_RATIO, _MOST_RATIO = 0.15, 0.5  # of successive tolerances
_LIMIT_RATIO = 3.0  # limits over effectors while both are wide: targets first, ranges when the pose is nearly there


@dataclass(frozen=True)
class RefineSettings:
    """How the equations are solved.

    Attributes:
        tiny: Tolerance [m or rad] of an exact effector.
        tightest: Its tolerance [m or rad] for the poses that miss it with the former, which is quicker.
        tiny_limit: Tolerance [rad] of a joint limit; below ``tiny``, so that limits win over effectors.
        first_tolerance: No tolerance is below this [m or rad] in the first step.
        most_iterations: Steps tried at most.
        longest_step: No joint turns by more than this [rad] in one step.
        settled: The iteration ends when no joint turns by more than this [rad] (nor the root moves, m) any more.
        least_gain: It also ends when an undamped step lessens the sum by less than this share.
        second_start: Whether poses that miss a target are solved again, see :mod:`soma_isaac.learned.attempts`
            (a target out of reach then costs 10 to 30 times as much as one that is met).
    """

    tiny: float = 2e-4
    tightest: float = 1e-5
    tiny_limit: float = 2e-5
    first_tolerance: float = 0.1
    most_iterations: int = 30
    longest_step: float = 1.0
    settled: float = 5e-3
    least_gain: float = 1e-2
    second_start: bool = True


@dataclass(eq=False)
class Problem:
    """B poses to solve for.

    Attributes:
        start: [B, 23, 3, 3] proposed local rotations.
        start_root: [B, 3] m.
        root_axes: [B, 3, 3] the proposed Hips' axes times the body's scale.
        offsets: [B, 23, 3] m.
        kind: [B, N]; this and the next four as in :class:`~soma_isaac.learned.effectors.Effectors`.
        joint: [B, N].
        target: [B, N, 3].
        rotation: [B, N, 3, 3].
        direction: [B, N, 3].
        deviation: [B, N] standard deviation of the effectors' rows (m or rad).
        strength: [B, N] square root of the weights; 0 where not used.
        first: [B, 72] whitened step to begin at.
    """

    start: np.ndarray
    start_root: np.ndarray
    root_axes: np.ndarray
    offsets: np.ndarray
    kind: np.ndarray
    joint: np.ndarray
    target: np.ndarray
    rotation: np.ndarray
    direction: np.ndarray
    deviation: np.ndarray
    strength: np.ndarray
    first: np.ndarray

    def take(self, index: np.ndarray | slice) -> Problem:
        """Some of the poses."""
        return Problem(*(getattr(self, each.name)[index] for each in fields(self)))

    def targets(self) -> Targets:
        """The effectors with their rows sorted by kind."""
        used = self.strength > 0.0
        return Targets.of(self.kind, self.joint, self.target, self.rotation, self.direction, used=used)

    def state(self, step: np.ndarray, targets: Targets) -> State:
        """The pose a step [B, 72] away."""
        return pose_state(step, self.start, self.start_root, self.root_axes, self.offsets, targets)


@dataclass(eq=False)
class Solution:
    """Where the iteration ended.

    Attributes:
        step: [B, 72] whitened.
        local: [B, 23, 3, 3].
        root: [B, 3] m.
        iterations: [B] steps tried.
    """

    step: np.ndarray
    local: np.ndarray
    root: np.ndarray
    iterations: np.ndarray

    @classmethod
    def empty(cls, count: int) -> Solution:
        """Of ``count`` poses, nothing done."""
        shapes = ((TANGENT,), (JOINTS, 3, 3), (3,))
        return cls(*(np.empty((count, *shape)) for shape in shapes), iterations=np.zeros(count, dtype=np.int64))

    def take(self, index: np.ndarray | slice) -> Solution:
        """Some of the poses."""
        return Solution(self.step[index], self.local[index], self.root[index], self.iterations[index])

    def put(self, index: np.ndarray | slice, part: Solution) -> None:
        """Fill in some of the poses; iterations add up."""
        self.step[index], self.local[index], self.root[index] = part.step, part.local, part.root
        self.iterations[index] += part.iterations


def solve(problem: Problem, factor: np.ndarray, limits: JointLimits | None, settings: RefineSettings) -> Solution:
    """Iterate until every pose has settled; those that have leave the batch when half of it has.

    Args:
        problem: The poses.
        factor: [72, 72] lower Cholesky factor of the prior.
        limits: Ranges of the joints, held as an active set of rows.
        settings: When to stop.
    """
    done = Solution.empty(len(problem.start))
    index = np.arange(len(problem.start))
    run = _Run(problem, factor, limits, settings)
    for _ in range(settings.most_iterations):
        run.advance()
        left = np.count_nonzero(~run.settled)
        if left == 0:
            break
        if 2 * left <= len(index):
            done.put(index[run.settled], run.solution(run.settled))
            keep = np.flatnonzero(~run.settled)
            index, run = index[keep], run.take(keep)
    done.put(index, run.solution(slice(None)))
    return done


class _Run:
    """The iterates of a batch."""

    def __init__(
        self, problem: Problem, factor: np.ndarray, limits: JointLimits | None, settings: RefineSettings
    ) -> None:
        count = len(problem.start)
        self.problem, self.factor, self.limits, self.settings = problem, factor, limits, settings
        self.targets = problem.targets()
        self.z = problem.first
        self.state = problem.state(self.z @ factor.T, self.targets)
        self.held = None if limits is None else LimitRows.of(limits, self.state)
        self.rows: tuple[np.ndarray, np.ndarray] | None = None
        self.damping = np.zeros(count)
        self.refusals = np.zeros(count, dtype=np.int64)
        self.iterations = np.zeros(count, dtype=np.int64)
        self.settled = np.zeros(count, dtype=bool)
        self._widen(np.full(count, settings.first_tolerance))

    def _widen(self, tolerance: np.ndarray) -> None:
        """Set the tolerances [B] that no row is below, and the sum to be lessened under them."""
        self.tolerance = tolerance
        deviation = np.maximum(self.problem.deviation, np.maximum(tolerance, self.settings.tiny)[:, None])
        self.precision = (self.problem.strength / deviation)[..., None]
        self.limit_tolerance = np.maximum(_LIMIT_RATIO * tolerance, self.settings.tiny_limit)
        self.merit = self._merit(self.z, self.state, self.held)

    def _merit(self, z: np.ndarray, state: State, held: LimitRows | None) -> np.ndarray:
        rho = state.residual * self.precision
        merit = np.einsum("bi,bi->b", z, z) + np.einsum("bni,bni->b", rho, rho)
        return merit if held is None else merit + held.merit(self.limit_tolerance)

    def _linearise(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows [B, 3 N, 72] of the effectors by the whitened step at the present iterate, and the residuals."""
        rows = jacobian(self.state, self.problem.root_axes, self.targets)
        count, size = len(rows), rows.shape[1] * 3
        return rows.reshape(count, size, TANGENT) @ self.factor, self.state.residual.reshape(count, size)

    def advance(self) -> None:
        """Try one step of every pose; take it where the sum of squares falls."""
        if self.rows is None:
            self.rows = self._linearise()
        precision = np.repeat(self.precision[..., 0], 3, axis=1)
        rows, rho = self.rows[0] * precision[..., None], self.rows[1] * precision
        coordinate = None
        if self.held is not None and self.held.side.any():
            extra, gap, coordinate = self.held.rows(self.state, self.factor, self.limit_tolerance)
            rows, rho = np.concatenate([rows, extra], axis=1), np.concatenate([rho, gap], axis=1)
        base = self.z * (self.damping / (1.0 + self.damping))[:, None]
        system = rows @ rows.swapaxes(-1, -2)
        diagonal = np.arange(system.shape[-1])
        system[:, diagonal, diagonal] += (1.0 + self.damping)[:, None]
        right = (rows @ (self.z - base)[..., None])[..., 0] - rho
        dual = np.linalg.solve(system, right[..., None])
        move = base - self.z + (rows.swapaxes(-1, -2) @ dual)[..., 0]
        change = move @ self.factor.T
        turn = np.sqrt(np.square(change[:, 3:].reshape(-1, JOINTS, 3)).sum(axis=-1).max(axis=-1))
        share = np.minimum(1.0, self.settings.longest_step / np.maximum(turn, 1e-12))
        moved = np.maximum(turn, np.abs(change[:, :3]).max(axis=-1)) * share
        before, tight = self.merit, self.tolerance <= self.settings.tiny
        free = (share == 1.0) & (self.damping == 0.0)
        pressed = None if coordinate is None else (coordinate, dual[:, -coordinate.shape[1] :, 0])
        better, gain = self._accept(move * share[:, None], self.rows[0], pressed)
        self.iterations += ~self.settled
        small = (moved <= self.settings.settled) | (free & (gain < self.settings.least_gain * before))
        self.settled |= (better & tight & small) | (self.refusals >= _MOST_REFUSALS)

    def _accept(
        self, move: np.ndarray, rows: np.ndarray, pressed: tuple[np.ndarray, np.ndarray] | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take the moves [B, 72] that lessen the sum; which, and by how much."""
        size = self.problem.joint.shape[1]
        foreseen = self.state.residual + (rows @ move[..., None])[..., 0].reshape(-1, size, 3)
        z = self.z + move
        state = self.problem.state(z @ self.factor.T, self.targets)
        held = self._held(state, pressed)
        gain = self.merit - self._merit(z, state, held)
        better = ~self.settled & (gain >= -1e-9 * self.merit)
        self.refusals = np.where(better, 0, self.refusals + 1)
        easier = np.where(self.damping > _LEAST_DAMPING, self.damping * _EASIER, 0.0)
        self.damping = np.where(better, easier, np.maximum(_FIRST_DAMPING, self.damping * _HARDER))
        if not better.any():
            return better, gain
        wrong = np.sqrt(np.square(state.residual - foreseen).sum(axis=-1).max(axis=-1))  # the same in any heading
        if not better.all():
            z = np.where(better[:, None], z, self.z)
            state = self.problem.state(z @ self.factor.T, self.targets)
            held = self._held(state, pressed)
        self.z, self.state, self.held, self.rows = z, state, held, None
        follow = np.clip(_TRUST * wrong, _LEAST_RATIO * self.tolerance, _MOST_RATIO * self.tolerance)
        self._widen(np.where(better, follow, self.tolerance))
        return better, gain

    def _held(self, state: State, pressed: tuple[np.ndarray, np.ndarray] | None) -> LimitRows | None:
        if self.held is None or self.limits is None:
            return None
        return LimitRows.of(self.limits, state) if pressed is None else self.held.next(state, *pressed)

    def solution(self, index: np.ndarray | slice) -> Solution:
        """The iterates of some of the poses."""
        return Solution(self.z[index], self.state.local[index], self.state.root[index], self.iterations[index])

    def take(self, keep: np.ndarray) -> _Run:
        """Go on with some of the poses."""
        problem = self.problem.take(keep)
        problem.first = self.z[keep]
        run = _Run(problem, self.factor, self.limits, self.settings)
        if self.held is not None:
            run.held = LimitRows(self.held.limits, self.held.side[keep], self.held.vectors[keep])
        run.damping, run.refusals, run.iterations = self.damping[keep], self.refusals[keep], self.iterations[keep]
        run._widen(self.tolerance[keep])
        return run
