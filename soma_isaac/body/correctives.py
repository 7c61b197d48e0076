"""Pose correctives for one rig, level of detail and device."""

from __future__ import annotations

import numpy as np
import scipy.sparse
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.body.launches import CorrectiveArrays
from soma_isaac.body.layout import JointLayout
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import RigMismatch
from soma_isaac.formats.corrective_model import CorrectiveWeights
from soma_isaac.kernels.corrective_offsets import OffsetTable
from soma_isaac.kernels.correctives import HiddenTable
from soma_isaac.rig.rig import Rig


def level_correctives(
    weights: CorrectiveWeights, rig: Rig, lod: str, *, mid_rows: np.ndarray | None = None
) -> CorrectiveWeights:
    """Corrective weights for the vertices of a level of detail.

    ``low`` takes the rows of its vertices. ``xlo`` vertices ride on the low mesh: their offsets are those of the
    triangle below, and their distance from it turns with it, linear around the template's shape.

    Args:
        weights: For the mid mesh (or for the mesh of ``lod``: then they are returned as they are).
        rig: The rig.
        lod: Level of detail that is posed.
        mid_rows: [V_low] mid vertex of each low vertex; the first ones by default.

    Raises:
        RigMismatch: The model is for another number of joints or vertices.
    """
    if len(weights.bind_rotations) != len(rig.public_joint_names):
        raise RigMismatch(
            f"the correctives are for {len(weights.bind_rotations)} joints, not {len(rig.public_joint_names)}"
        )
    if weights.vertex_count == rig.mesh(lod).vertex_count:
        return weights
    mid_count = rig.mesh("mid").vertex_count
    if weights.vertex_count != mid_count:
        raise RigMismatch(f"the correctives are for {weights.vertex_count} vertices, the rig has {mid_count}")
    low = rig.mesh("low")
    columns = np.arange(low.vertex_count) if mid_rows is None else np.asarray(mid_rows)
    first, second = weights.matrices()
    second = second.tocsc()[:, (columns[:, None] * 3 + np.arange(3)).ravel()]
    if lod != "low":
        transfer = TopologyTransfer(low.points, low.triangles, rig.mesh(lod).points)
        second = second @ ride_jacobian(transfer, low.points).T
    return CorrectiveWeights.from_matrices(
        weights.bind_rotations, first, second, squash=weights.squash, note=weights.note
    )


def compile_correctives(weights: CorrectiveWeights, layout: JointLayout, device: wp.Device) -> CorrectiveArrays:
    """Upload the weights of a level of detail, see :func:`level_correctives`."""
    padding = np.zeros((1, 3), dtype=np.float32)
    return CorrectiveArrays(
        HiddenTable(
            parents=device_array(layout.parents, wp.int32, device),
            bind_rotations=device_array(weights.bind_rotations, wp.mat33, device),
            offsets=device_array(weights.hidden_offsets, wp.int32, device),
            inputs=device_array(weights.hidden_inputs, wp.int32, device),
            weights=device_array(weights.hidden_weights, wp.float32, device),
            squash=weights.squash,
        ),
        OffsetTable(
            offsets=device_array(weights.vertex_offsets, wp.int32, device),
            units=device_array(np.append(weights.vertex_units, 0).astype(np.int32), wp.int32, device),
            values=device_array(np.concatenate([weights.vertex_values, padding]), wp.vec3, device),
        ),
    )


def ride_jacobian(transfer: TopologyTransfer, points: np.ndarray) -> scipy.sparse.csr_array:
    """Derivative [3 N, 3 V] of riding points with respect to the source's, at a shape [V, 3].

    The length of the normal is held: a corrective moves a triangle by far more than it stretches it.
    """
    corners = points[transfer.corners]
    sides = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(*sides)
    double_area = np.linalg.norm(normal, axis=1)
    unit = normal / double_area[:, None]
    height = transfer.coordinates[:, 2]
    lengths = np.mean([np.linalg.norm(corners[:, k] - corners[:, k - 1], axis=1) for k in range(3)], axis=0)
    # d(unit) = (1 - unit unit^T) d(normal) / |normal|, d(normal) = d(side 0) x side 1 + side 0 x d(side 1)
    factor = height * (lengths if transfer.mode == "edge" else double_area) / double_area
    across = (np.eye(3) - unit[:, :, None] * unit[:, None, :]) * factor[:, None, None]
    first, second = across @ -_skew(sides[1]), across @ _skew(sides[0])
    u, v = (transfer.coordinates[:, k, None, None] * np.eye(3) for k in (0, 1))
    blocks = np.stack([np.eye(3) - u - v - first - second, u + first, v + second], axis=1)
    rows = np.arange(len(corners))[:, None, None, None] * 3 + np.arange(3)[:, None]
    columns = transfer.corners[:, :, None, None] * 3 + np.arange(3)
    shape = (3 * len(corners), points.size)
    index = (np.broadcast_to(rows, blocks.shape).ravel(), np.broadcast_to(columns, blocks.shape).ravel())
    return scipy.sparse.csr_array(scipy.sparse.coo_array((blocks.ravel(), index), shape=shape))


def _skew(vectors: np.ndarray) -> np.ndarray:
    """Matrices [..., 3, 3] with ``skew(a) b = a x b``."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    zero = np.zeros_like(x)
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1).reshape(*x.shape, 3, 3)
