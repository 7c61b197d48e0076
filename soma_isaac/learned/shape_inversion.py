"""Shape inversion from segment lengths: which body of an identity model has a character's bones (SMPL-SI for SOMA).

After Voleti et al. 2022, who look betas up from six distances. Here the scale is divided out, up to 15 lengths count
as far as they are there, a kernel estimate is only the start, and what bones cannot tell is said.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.identities.base import IdentityModel
from soma_isaac.errors import InputRejected
from soma_isaac.learned.shape_features import LOOSENESS, SEGMENT_NAMES, segment_lengths
from soma_isaac.learned.shape_kernel import kernel_start
from soma_isaac.learned.shape_map import Refined, curvature, log_scale, refine
from soma_isaac.learned.shape_population import SAMPLES, LengthModel, Population
from soma_isaac.rig.rig import Rig

LEAST_SEGMENTS = 4
FIT_NOISE = 1e-3
"""Standard deviation of a limb's log length that the search begins with: as good as exact."""

RIG_NOISE = 1e-2
"""The same for a character: rigs do not put their joints exactly where SOMA has them. For what can be observed."""

OBSERVABLE = 0.5
"""A coefficient is observable if the lengths bring its standard deviation below this share of the prior's."""

_STARTS, _STEPS_OF_A_TRY = 6, 6
_MISFIT = 0.25
"""Mean squared residual, in units of the noise, from which other starts are tried."""
_TYPICAL = 256


@dataclass(frozen=True, eq=False)
class LengthFit:
    """Fitted bodies, one per character.

    Attributes:
        names: U names of what was fitted: coefficients, then scales where those are fitted.
        coefficients: [B, K] float32 for :meth:`~soma_isaac.body.identities.base.IdentityModel.rest_points`.
        scales: [B, S] float32, or ``None`` where the model's scales were not fitted.
        size: [B] units of the character per metre of the body: its scale.
        lengths: [B, F] the body's lengths times ``size``.
        length_error: [B, F] relative error of each length; NaN where it is missing.
        posterior_std: [B, U] standard deviation of each number, in its own unit, with the noise of rigs or the fit's
            own, whichever is larger; about one solution, other bodies may fit as well.
        observable: [B, U] the lengths tell this number: of this body, and of most of the model's.
        at_bounds: [B, U] the number ended at the end of its range.
        noise: [B] standard deviation of a limb's log length that the fit took, its residuals' own where it is larger.
        deviation: [B] how unusual the proportions are for the model: root mean square of the lengths' independent
            deviations from the population; 1 is usual, far above it nobody of the model's bodies.
        converged: [B].
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    scales: np.ndarray | None
    size: np.ndarray
    lengths: np.ndarray
    length_error: np.ndarray
    posterior_std: np.ndarray
    observable: np.ndarray
    at_bounds: np.ndarray
    noise: np.ndarray
    deviation: np.ndarray
    converged: np.ndarray


class LengthInversion:
    """Prepare an identity model once, fit many characters.

    Example::

        inversion = LengthInversion(load_identity("anny", SomaTarget.of(load_template_rig(), "low")))
        fit = inversion.fit(joints=joints)  # (B, 78, 3), any unit, NaN for what the character lacks
        body = inversion.model.rest_points(fit.coefficients)  # m; times fit.size in the character's unit
    """

    def __init__(
        self,
        model: IdentityModel,
        *,
        fit_scales: bool = False,
        scales: ArrayLike | None = None,
        rig: Rig | None = None,
        samples: int = SAMPLES,
        seed: int = 0,
    ) -> None:
        """Sample the model; see :class:`~soma_isaac.learned.shape_population.LengthModel` for arguments and errors.

        Args:
            model: The identity model.
            fit_scales: Fit the model's own scales too.
            scales: [1, S] scales to hold.
            rig: Whose joints; the template's by default.
            samples: Bodies to draw.
            seed: Of the draw; the same seed gives the same results.
        """
        self.model = model
        self.bodies = LengthModel(model, fit_scales=fit_scales, scales=scales, rig=rig)
        self.population = Population.of(self.bodies, samples, seed)
        self._has = np.isfinite(self.population.mean)
        self._typical: dict[tuple[bytes, float, bool], np.ndarray] = {}

    def fit(
        self,
        lengths: ArrayLike | None = None,
        *,
        joints: ArrayLike | None = None,
        metres_per_unit: float | None = None,
        noise: float | None = None,
        rig_noise: float = RIG_NOISE,
    ) -> LengthFit:
        """Fit characters.

        Args:
            lengths: [B, F] segment lengths in the order of
                :data:`~soma_isaac.learned.shape_features.SEGMENT_NAMES`, NaN where missing; or
            joints: [B, 78, 3] their T-pose joints, NaN where missing.
            metres_per_unit: Unit of the lengths where it is known: the size then tells about the body, too. By default
                it does not count, and ``size`` is found.
            noise: Standard deviation of a limb's log length to fit with. By default 0.001, and where the model cannot
                come that near, what is left over.
            rig_noise: The same for what is reported as uncertain and observable.

        Raises:
            InputRejected: Both or none of lengths and joints are given, a shape or number is wrong, or a character has
                fewer than four lengths that the model has as well.
        """
        seen = self._checked(lengths, joints, metres_per_unit, noise, rig_noise)
        free = metres_per_unit is None
        logs = np.log(np.where(np.isfinite(seen), seen, 1.0)) + (0.0 if free else np.log(metres_per_unit or 1.0))
        share = (np.isfinite(seen) & self._has) / np.square(LOOSENESS)
        found, level = self._search(logs, share, FIT_NOISE if noise is None else noise, noise is None, free)
        return self._result(seen, logs, share, found, level, rig_noise, free, 1.0 if free else metres_per_unit or 1.0)

    def _checked(
        self,
        lengths: ArrayLike | None,
        joints: ArrayLike | None,
        metres_per_unit: float | None,
        noise: float | None,
        rig_noise: float,
    ) -> np.ndarray:
        if (lengths is None) == (joints is None):
            raise InputRejected("give either lengths or joints")
        seen = np.asarray(lengths, dtype=np.float64) if joints is None else segment_lengths(joints)
        if seen.ndim != 2 or seen.shape[1] != len(SEGMENT_NAMES) or not len(seen):
            raise InputRejected(f"lengths have shape {seen.shape}, expected (B, {len(SEGMENT_NAMES)}) of at least one")
        for name, value in (("metres_per_unit", metres_per_unit), ("noise", noise), ("rig_noise", rig_noise)):
            if value is not None and not (np.isfinite(value) and value > 0.0):
                raise InputRejected(f"{name} must be a number above 0, not {value!r}")
        if np.isinf(seen).any() or (seen <= 0.0).any():
            raise InputRejected("lengths must be above 0, and NaN where they are missing")
        usable = (np.isfinite(seen) & self._has).sum(axis=1)
        for body in np.flatnonzero(usable < LEAST_SEGMENTS)[:1]:
            raise InputRejected(f"character {body} has {usable[body]} usable lengths, at least {LEAST_SEGMENTS} needed")
        return seen

    def _search(
        self, logs: np.ndarray, share: np.ndarray, noise: float, adapt: bool, free: bool
    ) -> tuple[Refined, np.ndarray]:
        """Solutions, and the noise [B] that they were found with."""
        mean, neighbours = kernel_start(self.population, logs, share, free_scale=free)
        level = np.full(len(logs), noise)
        found = refine(self.bodies, mean, logs, share / noise**2, free_scale=free)
        rows = np.flatnonzero(self._misfit(found, logs, share, free) > _MISFIT * np.square(level))
        starts = neighbours[:, :: max(1, neighbours.shape[1] // _STARTS)]
        found = self._other_starts(found, starts, rows, logs, share / noise**2, free)
        if adapt:
            # What the tight fit leaves over is the noise; with it the prior keeps numbers that hardly matter in place.
            left = self._misfit(found, logs, share, free)
            counts = (share > 0.0).sum(axis=1)
            spare = np.maximum(counts - free - self.bodies.count, 1)
            level = np.maximum(noise, np.sqrt(left * counts / spare))
            rows = np.flatnonzero(level > 2.0 * noise)
            level[level <= 2.0 * noise] = noise
            weights = share / np.square(level)[:, None]
            if rows.size:
                again = refine(self.bodies, found.unknowns[rows], logs[rows], weights[rows], free_scale=free)
                found = _replaced(found, rows, again)
                found = self._other_starts(found, mean[:, None], rows, logs, weights, free)
        return found, level

    def _misfit(self, found: Refined, logs: np.ndarray, share: np.ndarray, free: bool) -> np.ndarray:
        """Mean squared residual [B] of the log lengths, each in units of its looseness."""
        size = log_scale(logs, found.logs, share) if free else np.zeros(len(logs))
        residual = np.where(share > 0.0, logs - np.where(share > 0.0, found.logs, 0.0) - size[:, None], 0.0)
        return (share * np.square(residual)).sum(axis=1) / (share > 0.0).sum(axis=1)

    def _other_starts(
        self, found: Refined, starts: np.ndarray, rows: np.ndarray, logs: np.ndarray, weights: np.ndarray, free: bool
    ) -> Refined:
        """The best of what was found and of what other starts [B, S, U] lead to, for some rows."""
        if not rows.size:
            return found
        count = starts.shape[1]
        repeated = np.repeat(rows, count)
        begun = starts[rows].reshape(len(repeated), -1)
        tried = refine(self.bodies, begun, logs[repeated], weights[repeated], free_scale=free, steps=_STEPS_OF_A_TRY)
        best = tried.objective.reshape(-1, count).argmin(axis=1) + np.arange(len(rows)) * count
        better = tried.objective[best] < found.objective[rows]
        if not better.any():
            return found
        kept = rows[better]
        last = refine(self.bodies, tried.unknowns[best[better]], logs[kept], weights[kept], free_scale=free)
        return _replaced(found, kept, last)

    def _result(
        self,
        seen: np.ndarray,
        logs: np.ndarray,
        share: np.ndarray,
        found: Refined,
        level: np.ndarray,
        rig_noise: float,
        free: bool,
        unit: float,
    ) -> LengthFit:
        table = self.bodies.unknowns
        shown = np.where(share > 0.0, found.logs, 0.0)
        size = np.exp(log_scale(logs, shown, share)) if free else np.full(len(logs), 1.0 / unit)
        lengths = np.exp(found.logs) * size[:, None]
        weights = share / np.square(np.maximum(level, rig_noise))[:, None]
        deviation = self._posterior(found.unknowns, found.logs, weights, free)
        told = deviation < OBSERVABLE * self.bodies.prior_deviation
        told &= self._usually_told(weights, free)
        coefficients, scales = table.values(found.unknowns)
        return LengthFit(
            names=table.names,
            coefficients=coefficients,
            scales=scales,
            size=size,
            lengths=lengths,
            length_error=np.where(np.isfinite(seen), lengths / np.where(np.isfinite(seen), seen, 1.0) - 1.0, np.nan),
            posterior_std=deviation * table.deviation,
            observable=told,
            at_bounds=(found.unknowns <= self.bodies.low) | (found.unknowns >= self.bodies.high),
            noise=level,
            deviation=self._unusual(logs, share, rig_noise, free),
            converged=found.converged,
        )

    def _posterior(self, unknowns: np.ndarray, logs: np.ndarray, weights: np.ndarray, free: bool) -> np.ndarray:
        """Standard deviations [B, U] of the posterior, normal about the solution, counted as unknowns."""
        matrix = curvature(self.bodies.jacobian(unknowns, logs), weights, free)
        matrix = matrix + np.diag(1.0 / np.square(self.bodies.prior_deviation))
        return np.sqrt(np.diagonal(np.linalg.inv(matrix), axis1=1, axis2=2))

    def _usually_told(self, weights: np.ndarray, free: bool) -> np.ndarray:
        """Whether most bodies' lengths, with these weights [B, F], tell an unknown [B, U].

        The curvature at one solution knows nothing of other bodies with the same lengths; where the model as a whole
        does not show a number in its bones, a sharp bend at one body is no reason to believe it.
        """
        told = np.empty((len(weights), self.bodies.count), dtype=bool)
        for body, row in enumerate(weights):
            # to two digits: the noise is itself an estimate, and characters share what was computed for others
            key = ((row > 0.0).tobytes(), float(f"{row.max():.1e}"), free)
            if key not in self._typical:
                rows = slice(0, _TYPICAL)
                found = self.population.log_lengths[rows]
                many = np.broadcast_to(row, found.shape)
                spread = np.median(self._posterior(self.population.unknowns[rows], found, many, free), axis=0)
                self._typical[key] = spread < OBSERVABLE * self.bodies.prior_deviation
            told[body] = self._typical[key]
        return told

    def _unusual(self, logs: np.ndarray, share: np.ndarray, rig_noise: float, free: bool) -> np.ndarray:
        """Mahalanobis distance [B] of the lengths to the population, per independent length."""
        result = np.empty(len(logs))
        for body, (row, weight) in enumerate(zip(logs, share, strict=True)):
            used = weight > 0.0
            covariance = self.population.covariance[np.ix_(used, used)] + np.diag(rig_noise**2 / weight[used])
            offset = row[used] - self.population.mean[used]
            solved = np.linalg.solve(covariance, np.stack([offset, np.ones(used.sum())], axis=1))
            square = offset @ solved[:, 0]
            if free:  # the best common factor is nobody's business
                square -= (offset @ solved[:, 1]) ** 2 / solved[:, 1].sum()
            result[body] = np.sqrt(max(square, 0.0) / (used.sum() - free))
        return result


def _replaced(found: Refined, rows: np.ndarray, others: Refined) -> Refined:
    """A copy with some rows taken from another result."""
    parts = []
    for own, other in zip(vars(found).values(), vars(others).values(), strict=True):
        values = own.copy()
        values[rows] = other
        parts.append(values)
    return Refined(*parts)
