"""What is seen of a body, vertices and joints, as a function of the coefficients that shape it.

Unknowns are counted in standard deviations from the neutral body. Where the seen points are linear in the coefficients
(SOMA's own shape space; native meshes of the SMPL family and of garment), so is the function here, exactly. Elsewhere
(bodies brought to SOMA topology, anny, mhr) it is the model itself, with derivatives by differences.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from scipy.stats import qmc

from soma_isaac.body.identities.base import Coefficients, IdentityModel, LinearShape
from soma_isaac.errors import InputRejected

_STEP = 0.05
"""Difference step [standard deviations]: far above the rounding of float32 meshes, small against their bends."""

_ROWS = 16
_SPREAD = 255
TOPOLOGIES = ("auto", "soma", "native")


@dataclass(frozen=True, eq=False)
class ShapeUnknowns:
    """The numbers that are fitted, K coefficients and S scales where those are fitted too, with their prior.

    Attributes:
        groups: The model's coefficients, and its scales where those are fitted.
        names: One per unknown.
        default: [U] values of the neutral body, the prior's mean.
        deviation: [U] standard deviations of the prior: a sixth of the sensible range, which is 1 for principal
            components and betas.
        low: [U] lowest values in standard deviations from the default; minus infinity where the model extrapolates.
        high: [U] highest values.
    """

    groups: tuple[Coefficients, ...]
    names: tuple[str, ...]
    default: np.ndarray
    deviation: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, model: IdentityModel, fit_scales: bool) -> ShapeUnknowns:
        """The unknowns of a model.

        Raises:
            InputRejected: Scales are to be fitted and the model has none.
        """
        groups = [model.spec.coefficients]
        if fit_scales:
            if model.spec.scales is None:
                raise InputRejected(f"the {model.spec.name} identity model has no scales to fit")
            groups.append(model.spec.scales)
        default = np.concatenate([np.full(group.count, group.default) for group in groups])
        limits = np.concatenate([group.limits for group in groups], axis=1).astype(np.float64)
        deviation = (limits[1] - limits[0]) / 6.0
        bounded = np.concatenate([np.full(group.count, group.bounded) for group in groups])
        return cls(
            groups=tuple(groups),
            names=tuple(name for group in groups for name in group.names),
            default=default,
            deviation=deviation,
            low=np.where(bounded, (limits[0] - default) / deviation, -np.inf),
            high=np.where(bounded, (limits[1] - default) / deviation, np.inf),
        )

    @property
    def count(self) -> int:
        """Number of unknowns U."""
        return len(self.default)

    def values(self, unknowns: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Coefficients [B, K] and fitted scales [B, S] (``None`` where they are not) of unknowns [B, U], float32."""
        values = (self.default + unknowns * self.deviation).astype(np.float32)
        split = np.split(values, [self.groups[0].count], axis=1)[: len(self.groups)]
        # Rounding must not put a value at a bound outside it.
        parts = [
            np.clip(part, *group.limits) if group.bounded else part
            for part, group in zip(split, self.groups, strict=True)
        ]
        return parts[0], parts[1] if len(parts) > 1 else None


class ShapeObservations:
    """Seen points of bodies: mesh vertices, then joints.

    Args:
        model: The identity model.
        unknowns: What is fitted.
        vertices: ``soma``, ``native``, or ``None`` where no mesh is seen.
        regressor: Sparse [J, V] from SOMA vertices to joints; ``None`` where no joints are seen.
        scales: [1, S] fixed scales of the model; ``None`` for its neutral ones or where they are fitted.
    """

    def __init__(
        self,
        model: IdentityModel,
        unknowns: ShapeUnknowns,
        vertices: str | None,
        regressor: scipy.sparse.csr_array | None,
        scales: np.ndarray | None,
    ) -> None:
        self.unknowns = unknowns
        self._model, self._vertices, self._regressor, self._scales = model, vertices, regressor, scales
        linear = None
        if len(unknowns.groups) == 1 and scales is None:
            linear = model.native_linear if vertices == "native" and regressor is None else model.linear
        self._linear = None if linear is None else self._linear_shape(linear)
        self._gram: tuple[bytes, np.ndarray] | None = None
        self._starts: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def is_linear(self) -> bool:
        """Points are linear in the unknowns."""
        return self._linear is not None

    def starts(self) -> tuple[np.ndarray, np.ndarray]:
        """Unknowns [S, U] to start from, and their points [S, N, 3]: the neutral body first.

        Models with a range bend sharply within it (anny's ages), so that descent from the neutral body may end at a
        local minimum. For those, bodies spread over the coefficients' range follow.
        """
        if self._starts is None:
            table = self.unknowns
            count = table.groups[0].count
            starts = np.zeros((1, table.count))
            if table.groups[0].bounded and not self.is_linear:
                spread = qmc.Halton(count, scramble=False).random(_SPREAD + 1)[1:]
                others = np.zeros((_SPREAD, table.count))
                others[:, :count] = table.low[:count] + spread * (table.high - table.low)[:count]
                starts = np.concatenate([starts, others])
            self._starts = (starts, self.points(starts))
        return self._starts

    def points(self, unknowns: np.ndarray) -> np.ndarray:
        """Seen points [B, N, 3] m (float64) of unknowns [B, U]."""
        if self._linear is not None:
            mean, directions = self._linear
            return (unknowns @ directions + mean).reshape(len(unknowns), -1, 3)
        return np.concatenate(
            [self._evaluated(unknowns[begin : begin + _ROWS]) for begin in range(0, len(unknowns), _ROWS)]
        )

    def jacobian(self, unknowns: np.ndarray, points: np.ndarray) -> np.ndarray:
        """Derivatives [U, N * 3] at one body's unknowns [U], whose points [N, 3] are known."""
        if self._linear is not None:
            return self._linear[1]
        table = self.unknowns
        steps = np.where(unknowns + _STEP > table.high, -_STEP, _STEP)
        moved = self.points(unknowns + np.diag(steps))
        return ((moved - points) / steps[:, None, None]).reshape(table.count, -1)

    def gram(self, jacobian: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """``J W J^T`` [U, U] for weights [N]; kept for the next body, where derivatives and weights are the same."""
        key = weights.tobytes() if self.is_linear else b""
        if self._gram is not None and self.is_linear and self._gram[0] == key:
            return self._gram[1]
        gram = (jacobian * np.repeat(weights, 3)) @ jacobian.T
        self._gram = (key, gram)
        return gram

    def _linear_shape(self, shape: LinearShape) -> tuple[np.ndarray, np.ndarray]:
        """Mean [N * 3] at the neutral body and directions [U, N * 3] per standard deviation, of vertices and joints."""
        directions = shape.directions * self.unknowns.deviation[:, None, None]
        mean = shape.mean + np.tensordot(self.unknowns.default, shape.directions.astype(np.float64), axes=1)
        seen = [self._seen(points, points) for points in (mean[None], directions)]
        return seen[0].reshape(-1), seen[1].reshape(len(directions), -1)

    def _evaluated(self, unknowns: np.ndarray) -> np.ndarray:
        coefficients, fitted = self.unknowns.values(unknowns)
        native = self._model.native_points(coefficients, self._scales if fitted is None else fitted)
        needs_soma = self._vertices == "soma" or self._regressor is not None
        transfer = self._model.transfer
        soma = transfer.apply(native) if needs_soma and transfer is not None else native
        return self._seen(native if self._vertices == "native" else soma, soma)

    def _seen(self, vertices: np.ndarray, soma: np.ndarray) -> np.ndarray:
        """Vertices and joints [B, N, 3] of meshes [B, Vn, 3] and the same bodies in SOMA topology [B, V, 3]."""
        parts = [] if self._vertices is None else [np.asarray(vertices, dtype=np.float64)]
        if self._regressor is not None:
            flat = np.moveaxis(np.asarray(soma, dtype=np.float64), 0, 1).reshape(soma.shape[1], -1)
            parts.append(np.moveaxis((self._regressor @ flat).reshape(-1, len(soma), 3), 1, 0))
        return np.concatenate(parts, axis=1)


def seen_topology(model: IdentityModel, count: int, topology: str) -> str:
    """Whether a mesh of ``count`` vertices is in ``soma`` or ``native`` topology.

    Raises:
        InputRejected: Neither fits, or both do and ``topology`` does not say which.
    """
    if topology not in TOPOLOGIES:
        raise InputRejected(f"no topology {topology!r}; there are {', '.join(TOPOLOGIES)}")
    counts = {"soma": model.target.vertex_count}
    counts["native"] = counts["soma"] if model.transfer is None else model.transfer.native_count
    fitting = [name for name, number in counts.items() if number == count and topology in ("auto", name)]
    if not fitting:
        raise InputRejected(
            f"points have {count} vertices; SOMA's {model.target.lod} mesh has {counts['soma']}, "
            f"the {model.spec.name} mesh {counts['native']}"
        )
    if len(fitting) > 1 and model.transfer is not None:
        raise InputRejected(f"both meshes have {count} vertices; say which it is with topology='soma' or 'native'")
    return fitting[0]
