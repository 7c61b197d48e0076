"""Bodies of an identity model by their segment lengths, and a sample of all that it can make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.identities.base import IdentityModel
from soma_isaac.body.shape_observations import ShapeObservations, ShapeUnknowns
from soma_isaac.body.skeleton_fit import fit_tables
from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.learned.shape_features import SEGMENTS, lengths_of_vectors, segment_vectors
from soma_isaac.rig.rig import Rig

SAMPLES = 4096
"""Bodies in a sample: 2 s of CPU for anny, and enough for a start (20,000 as in the paper change nothing)."""

_FLAT_SPREAD = np.sqrt(12.0)
_STEP = 0.02
"""Difference step [unknowns]: float32 meshes move joints by far more than they round."""

_ROWS = 128
_LEARN, _CHECK = 768, 128
_LINEAR_M = 1e-4
"""Joints that a linear map of the blend weights gives within this are taken from it [m]."""


class LengthModel:
    """Log segment lengths of an identity model's bodies as a function of the unknowns that shape them.

    The joints are those of :class:`~soma_isaac.body.skeleton_fit.SkeletonFit`, i.e. of the prepared SOMA body.

    Attributes:
        model: The identity model.
        unknowns: What is fitted; values are counted as there.
        prior_deviation: [U] standard deviation of the prior in those counts: 1 for components, and that of evenly
            spread values where a coefficient has a range.
        low: [U] lowest values, minus infinity where there is no end.
        high: [U] highest values.
    """

    def __init__(
        self, model: IdentityModel, *, fit_scales: bool = False, scales: ArrayLike | None = None, rig: Rig | None = None
    ) -> None:
        """Set up the model.

        Args:
            model: The identity model, of any level of detail (``low`` is fastest).
            fit_scales: Fit the model's own ``scales`` too (body parts of mhr, local changes of anny).
            scales: [1, S] scales to hold, where they are not fitted; neutral by default.
            rig: Whose joints; the template's by default.

        Raises:
            InputRejected: The model has no scales, or they do not fit.
            RigMismatch: The rig does not fit the model's target.
        """
        self.model = model
        self.unknowns = ShapeUnknowns.of(model, fit_scales)
        tables = fit_tables(rig or load_template_rig(), model.target.lod, model.target.bag_vertices)
        held = _held(model, fit_scales, scales)
        self._observations = ShapeObservations(model, self.unknowns, None, tables.regressor, held)
        bounded = np.isfinite(self.unknowns.low)
        self.low, self.high = self.unknowns.low, self.unknowns.high
        spread = np.where(bounded, self.high - self.low, 0.0)
        self.prior_mean = np.where(bounded, np.where(bounded, self.low, 0.0) + spread / 2.0, 0.0)
        self.prior_deviation = np.where(bounded, spread / _FLAT_SPREAD, 1.0)
        self._blend = None
        if not self._observations.is_linear and held is None and not fit_scales:
            self._blend = self._blend_map()
        # Differences of joints are linear in the same weights, and fewer.
        rows = None if self._blend is None else self._blend.reshape(len(self._blend), -1, 3)
        self._blend_vectors = None if rows is None else segment_vectors(rows).reshape(len(rows), -1)

    @property
    def count(self) -> int:
        """Number of unknowns U."""
        return self.unknowns.count

    def joints(self, unknowns: np.ndarray) -> np.ndarray:
        """Public joints [B, 78, 3] m at rest of unknowns [B, U]."""
        if self._blend is None:
            return self._observations.points(unknowns)
        parts = [
            self._blended(unknowns[begin : begin + _ROWS]) @ self._blend for begin in range(0, len(unknowns), _ROWS)
        ]
        return np.concatenate(parts).reshape(len(unknowns), -1, 3)

    def log_lengths(self, unknowns: np.ndarray) -> np.ndarray:
        """Log segment lengths [B, F] of unknowns [B, U]; NaN where the model has no such segment."""
        parts = [self._vectors(unknowns[begin : begin + _ROWS]) for begin in range(0, len(unknowns), _ROWS)]
        return np.log(lengths_of_vectors(np.concatenate(parts)))

    def _vectors(self, unknowns: np.ndarray) -> np.ndarray:
        """Vectors along the segments [B, 2, F, 3] m."""
        if self._blend_vectors is None:
            return segment_vectors(self.joints(unknowns))
        return (self._blended(unknowns) @ self._blend_vectors).reshape(len(unknowns), 2, len(SEGMENTS), 3)

    def jacobian(self, unknowns: np.ndarray, logs: np.ndarray) -> np.ndarray:
        """Derivatives [B, F, U] at unknowns [B, U], whose log lengths [B, F] are known; by differences."""
        steps = np.where(unknowns + _STEP > self.high, -_STEP, _STEP)
        moved = unknowns[:, None] + steps[:, :, None] * np.eye(self.count)
        found = self.log_lengths(moved.reshape(-1, self.count)).reshape(len(unknowns), self.count, -1)
        return np.moveaxis((found - logs[:, None]) / steps[..., None], 1, 2)

    def _blended(self, unknowns: np.ndarray) -> np.ndarray:
        """Blend weights and a one [B, D + 1]."""
        weights = self.model.blend_weights(self.unknowns.values(unknowns)[0])
        return np.concatenate([weights, np.ones((len(weights), 1))], axis=1)

    def _blend_map(self) -> np.ndarray | None:
        """Joints as a linear map [D + 1, 78 * 3] of the blend weights, or ``None`` where they are none.

        Meshes are linear in them; the way to SOMA's mesh bends a little with the normals of faces. In the joints, means
        of hundreds of vertices, that is 0.2 micrometres for anny. Bodies that were not used say whether it holds.
        """
        unknowns = self.drawn(_LEARN + _CHECK, 0)
        rows = self._blended(unknowns)
        if rows.shape[1] > _LEARN // 2:
            return None
        seen = self._observations.points(unknowns).reshape(len(unknowns), -1)
        # Blend weights sum to one in groups, hence the cut of what is singular.
        blend = np.linalg.lstsq(rows[:_LEARN], seen[:_LEARN], rcond=1e-7)[0]
        return blend if np.abs(rows[_LEARN:] @ blend - seen[_LEARN:]).max() < _LINEAR_M else None

    def drawn(self, count: int, seed: int, within: Mapping[str, tuple[float, float]] | None = None) -> np.ndarray:
        """Random unknowns [count, U]: even over a range, normal where there is none.

        Args:
            count: How many.
            seed: The same seed gives the same.
            within: Narrower ranges by name, in the coefficients' own unit.
        """
        random = np.random.default_rng(seed)
        even, normal = random.random((count, self.count)), random.normal(size=(count, self.count))
        bounded = np.isfinite(self.low)
        low, high = np.where(bounded, self.low, 0.0), np.where(bounded, self.high, 0.0)
        for name, ends in (within or {}).items():
            k = self.unknowns.names.index(name)
            low[k], high[k] = (np.array(ends) - self.unknowns.default[k]) / self.unknowns.deviation[k]
        return np.where(bounded, low + even * (high - low), normal)


@dataclass(frozen=True, eq=False)
class Population:
    """A sample of a model's bodies.

    Attributes:
        unknowns: [N, U].
        log_lengths: [N, F], NaN in the columns of segments that the model does not have.
        mean: [F] of the log lengths.
        covariance: [F, F] of the log lengths.
    """

    unknowns: np.ndarray
    log_lengths: np.ndarray
    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, model: LengthModel, count: int = SAMPLES, seed: int = 0) -> Population:
        """Draw a sample; the same seed gives the same."""
        unknowns = model.drawn(count, seed)
        logs = model.log_lengths(unknowns)
        return cls(unknowns, logs, logs.mean(axis=0), np.cov(logs, rowvar=False))


def _held(model: IdentityModel, fit_scales: bool, scales: ArrayLike | None) -> np.ndarray | None:
    group = model.spec.scales
    if scales is not None:
        if group is None or fit_scales:
            raise InputRejected("scales are given, but the model takes none, or they are to be fitted")
        held = group.checked("scales", scales)
        if len(held) != 1:
            raise InputRejected(f"scales have {len(held)} rows, expected 1 for all bodies")
        return held
    return group.defaults() if group is not None and group.required and not fit_scales else None
