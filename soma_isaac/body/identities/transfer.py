"""From a backend's own topology to SOMA's: barycentric tetrahedra, then a Laplacian fill of eye and mouth bags."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.laplacian import LaplacianFill
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.obj import ObjMesh, read_obj

if TYPE_CHECKING:
    import torch


class Transfer:
    """The correspondence between one native mesh and one SOMA target, built once.

    Args:
        target: SOMA vertices to deliver.
        base_points: [Vn, 3] m, the native mesh in its canonical shape.
        base_triangles: [N, 3] its faces.
        wrap_points: [mid_count, 3] m, the SOMA mid mesh fitted to it, same frame.
        mode: How offsets along face normals scale: ``edge`` (with the mean edge length, so that a body twice as large
            gives a result twice as large) or ``area`` (SOMA-X's: with the face's area).
        fill: Fill in the bag vertices, for native meshes that have no bags.

    Raises:
        InputRejected: The wrap has another number of points than SOMA's mid mesh, or the mode is unknown.
    """

    def __init__(
        self,
        target: SomaTarget,
        base_points: np.ndarray,
        base_triangles: np.ndarray,
        wrap_points: np.ndarray,
        *,
        mode: str = "edge",
        fill: bool = True,
    ) -> None:
        if len(wrap_points) != target.mid_count:
            raise InputRejected(f"the wrap has {len(wrap_points)} points, SOMA's mid mesh {target.mid_count}")
        wrap = wrap_points[target.mid_rows]
        self.native_count = len(base_points)
        self.topology = TopologyTransfer(base_points, base_triangles, wrap, mode=mode)
        fills = fill and target.bag_vertices.size > 0
        self.fill = LaplacianFill(wrap, target.triangles, target.bag_vertices) if fills else None

    def apply(self, native: np.ndarray) -> np.ndarray:
        """Native meshes [B, Vn, 3] m to SOMA meshes [B, V, 3] float32 m."""
        points = self.topology.apply(native)
        if self.fill is not None:
            points = self.fill.apply(points)
        return np.asarray(points, dtype=np.float32)

    def apply_torch(self, native: torch.Tensor) -> torch.Tensor:
        """The same on torch tensors, with gradients, in their dtype and on their device."""
        points = self.topology.apply_torch(native)
        return points if self.fill is None else self.fill.apply_torch(points)


def read_pair(base: Path, wrap: Path, unit_metres: float) -> tuple[ObjMesh, np.ndarray]:
    """A backend's ``base_body.obj`` and ``SOMA_wrap.obj``.

    Returns:
        The base mesh, and the wrap's points [mid_count, 3]; both in metres, vertex order as in the files.

    Raises:
        InputRejected: A file cannot be read, or the two are not of one size (another unit, say).
    """
    body, fitted = read_obj(base), read_obj(wrap)
    sizes = np.ptp(body.points, axis=0).max(), np.ptp(fitted.points, axis=0).max()
    if not 0.9 < sizes[0] / max(sizes[1], 1e-12) < 1.1:
        raise InputRejected(f"is {sizes[1]:.4g} units large, {base.name} {sizes[0]:.4g}: not a pair", str(wrap))
    scaled = ObjMesh(
        points=body.points * unit_metres,
        face_vertex_counts=body.face_vertex_counts,
        face_vertex_indices=body.face_vertex_indices,
        uv_points=body.uv_points,
        uv_indices=body.uv_indices,
        digest=body.digest,
    )
    return scaled, fitted.points * unit_metres


def pair_transfer(
    target: SomaTarget,
    base: Path,
    wrap: Path,
    *,
    unit_metres: float,
    native_count: int,
    native_points: np.ndarray | None = None,
    mode: str = "edge",
    fill: bool = True,
) -> tuple[Transfer, np.ndarray]:
    """The transfer that an OBJ pair describes.

    Args:
        target: SOMA vertices to deliver.
        base: The native mesh as OBJ.
        wrap: SOMA's mid mesh fitted to it.
        unit_metres: Metres per unit of both files.
        native_count: Vertices of the model, which the base has to have.
        native_points: [Vn, 3] m to use in place of the base's points.
        mode: See :class:`Transfer`.
        fill: See :class:`Transfer`.

    Returns:
        The transfer, and the base's triangles [N, 3].

    Raises:
        InputRejected: A file cannot be read, or does not fit the model or SOMA's mesh.
    """
    body, fitted = read_pair(base, wrap, unit_metres)
    if len(body.points) != native_count:
        raise InputRejected(f"has {len(body.points)} vertices, the model {native_count}", str(base))
    points = body.points if native_points is None else native_points
    return Transfer(target, points, body.triangles, fitted, mode=mode, fill=fill), body.triangles
