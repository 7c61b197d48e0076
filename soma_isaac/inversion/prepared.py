"""Bodies prepared for pose inversion: sums over their vertices and the closed form that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import warp as wp

from soma_isaac.body.identity import PreparedIdentity, device_array
from soma_isaac.inversion.closed_form import ClosedForm, affine_basis, closed_form, quadratic_form
from soma_isaac.inversion.quadratic import BodyGeometry, SkinTables, pair_sums
from soma_isaac.kernels.inversion_kinematics import BodyTables

_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class InversionBody:
    """Everything about I bodies and R vertex weightings that does not depend on frames.

    Attributes:
        identity: The prepared bodies.
        vertex_weights: [R, V] float32.
        geometry: Where the joints are.
        tables: For the solver.
        root_turns: [I] mat33d.
        centres: [I, N] vec3, bind positions of the nodes.
        sums: [max(I, R), Q] mat44d.
        height: Of the first body, m.
        weight: Total vertex weight of the first weighting.
        closed_forms: One per row of the sums, or none where a start is not needed.
        levers: [1, E] vec4 of a single body with a single weighting; ``None`` for several.
    """

    identity: PreparedIdentity
    vertex_weights: wp.array
    geometry: BodyGeometry
    tables: BodyTables
    root_turns: wp.array
    centres: wp.array
    sums: wp.array
    height: float
    weight: float
    closed_forms: tuple[ClosedForm, ...]
    levers: wp.array | None

    @property
    def count(self) -> int:
        """Rows: 1 or the number of frames."""
        return self.sums.shape[0]

    @property
    def unit(self) -> float:
        """What a penalty's share of 1 costs, see :class:`soma_isaac.inversion.settings.InversionSettings` [m^2]."""
        return self.weight * self.height**2

    @property
    def ridge(self) -> float:
        """Added to the diagonal of the normal equations [m^2]."""
        return _RIDGE * self.unit


def reweighted(body: InversionBody, tables: SkinTables, weights: np.ndarray) -> InversionBody:
    """The same bodies with other vertex weights [R, V], without closed forms."""
    device_weights = device_array(weights, wp.float32, body.sums.device)
    points = body.identity.arrays.points
    sums = pair_sums(tables, points, body.geometry.centres[:, tables.nodes], device_weights)
    total = float(weights.sum(axis=1).mean(dtype=np.float64))
    return replace(body, vertex_weights=device_weights, sums=sums, weight=total, closed_forms=(), levers=None)


def with_closed_forms(
    body: InversionBody,
    tables: SkinTables,
    *,
    parents: np.ndarray,
    axes: np.ndarray,
    moved: np.ndarray,
    public: int,
) -> InversionBody:
    """The bodies with a closed form for each row of their sums.

    Args:
        body: The bodies.
        tables: The mesh.
        parents: [K].
        axes: [I, H, 3] bind axes of the helpers.
        moved: [K] whether a joint moves vertices, itself or through joints below.
        public: Number of public joints P.
    """
    sums = body.sums.numpy()
    forms = []
    for row in range(len(sums)):
        which = row % len(axes)
        basis, deviation = affine_basis(parents, body.geometry.offsets[which], axes[which], moved)
        forms.append(
            closed_form(
                quadratic_form(tables.pairs, sums[row], len(tables.nodes)),
                basis,
                deviation,
                nodes=tables.nodes,
                joints=np.flatnonzero(moved[:public]),
                height=body.height,
            )
        )
    return replace(body, closed_forms=tuple(forms))
