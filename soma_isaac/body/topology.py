"""Carry shapes from one mesh topology to another: every target vertex rides on a triangle of the source mesh.

On its triangle a vertex has two coordinates along the sides and one along the normal: barycentric coordinates in the
tetrahedron that the triangle and its normal span (SOMA-X: ``BarycentricInterpolator``).
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.kernels.closest import AREA, EDGE, closest_triangles, ride
from soma_isaac.math.arrays import frozen_array

if TYPE_CHECKING:
    import torch

TRANSFER_MODES = {"edge": EDGE, "area": AREA}

_CHUNK = 2048
_TIE = 1e-5
"""Triangles whose distance differs by less than this share of the mean edge length are equally near."""


class TopologyTransfer:
    """How N target vertices ride on a source mesh of V vertices.

    Attributes:
        faces: [N] int32, source triangle of each target vertex.
        corners: [N, 3] int32, its vertices.
        coordinates: [N, 3], along ``p1 - p0``, ``p2 - p0`` and the normal.
        source_count: V.
        mode: Length of the normal: ``edge``, the mean edge length, so that results scale with the source; or ``area``,
            twice the triangle's area, as SOMA-X does by default: distances from the surface then grow with the square
            of the size, and the source must come in the unit that the transfer was built in.
    """

    faces: np.ndarray
    corners: np.ndarray
    coordinates: np.ndarray
    source_count: int
    mode: str

    def __init__(
        self, source_points: ArrayLike, source_triangles: ArrayLike, target_points: ArrayLike, *, mode: str = "edge"
    ) -> None:
        """Bind target vertices to their closest source triangles.

        Of equally near triangles (a vertex beyond an edge or a corner) the one that faces the vertex most is taken,
        then the first, so that the result does not hang on rounding.

        Args:
            source_points: [V, 3], any unit.
            source_triangles: [F, 3].
            target_points: [N, 3], fitted on the source, same frame and unit.
            mode: ``edge`` or ``area``, see the class.

        Raises:
            InputRejected: A shape is another, a value is not finite or the mode is unknown.
            RigMismatch: The triangles do not index the vertices, there are none, or one that is used has no area.
        """
        if mode not in TRANSFER_MODES:
            raise InputRejected(f"no topology transfer {mode!r}; there are {', '.join(TRANSFER_MODES)}")
        vertices = frozen_array("source_points", source_points, (None, 3))
        triangles = frozen_array("source_triangles", source_triangles, (None, 3), np.int32)
        targets = frozen_array("target_points", target_points, (None, 3))
        if not len(triangles) or triangles.min() < 0 or triangles.max() >= len(vertices):
            raise RigMismatch(f"source_triangles do not index the {len(vertices)} source points")
        self.faces = _facing_triangles(targets, vertices, triangles).astype(np.int32)
        self.corners = triangles[self.faces]
        self.coordinates = _coordinates(targets, vertices[self.corners], mode)
        self.source_count = len(vertices)
        self.mode = mode

    @property
    def barycentric(self) -> np.ndarray:
        """Barycentric coordinates [N, 4] in the tetrahedra, as SOMA-X stores them."""
        along_first, along_second, along_normal = self.coordinates.T
        rest = 1.0 - along_first - along_second - along_normal
        return np.stack([rest, along_first, along_second, along_normal], axis=1)

    def rows(self, rows: ArrayLike) -> TopologyTransfer:
        """The transfer of some target vertices (a lower level of detail that is a subset)."""
        part = copy.copy(self)
        for field in ("faces", "corners", "coordinates"):
            setattr(part, field, getattr(self, field)[np.asarray(rows)])
        return part

    def apply(self, points: ArrayLike) -> np.ndarray:
        """Target points [B, N, 3] (float32) for deformed sources [B, V, 3].

        Raises:
            InputRejected: The shape is another.
        """
        shapes = np.asarray(points)
        self._check(shapes.shape)
        return ride(self.corners, self.coordinates, TRANSFER_MODES[self.mode], shapes)

    def apply_torch(self, points: torch.Tensor) -> torch.Tensor:
        """:meth:`apply` on a torch tensor, with gradients, in its dtype and on its device.

        Raises:
            InputRejected: The shape is another.
        """
        import torch

        self._check(tuple(points.shape))
        corners = torch.from_numpy(self.corners.astype(np.int64)).to(points.device)
        along = torch.from_numpy(self.coordinates).to(points)
        a, b, c = (points[:, corners[:, corner]] for corner in range(3))
        normal = torch.linalg.cross(b - a, c - a, dim=-1)
        if self.mode == "edge":
            size = sum(torch.linalg.vector_norm(side, dim=-1, keepdim=True) for side in (b - a, c - b, a - c)) / 3.0
            normal = normal * (size / torch.linalg.vector_norm(normal, dim=-1, keepdim=True).clamp_min(1e-30))
        return a + along[:, :1] * (b - a) + along[:, 1:2] * (c - a) + along[:, 2:] * normal

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[1:] != (self.source_count, 3):
            raise InputRejected(f"points has shape {shape}, expected (B, {self.source_count}, 3)")


def _coordinates(targets: np.ndarray, corners: np.ndarray, mode: str) -> np.ndarray:
    """Coordinates [N, 3] of points along two sides of their triangles and along the scaled normal."""
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    area = np.linalg.norm(normal, axis=1, keepdims=True)
    if (area <= 0.0).any():
        raise RigMismatch("a target vertex lies on a triangle without area")
    if mode == "edge":
        normal = (
            normal / area * np.mean([np.linalg.norm(side, axis=1) for side in (b - a, c - b, a - c)], axis=0)[:, None]
        )
    frames = np.stack([b - a, c - a, normal], axis=2)
    return np.linalg.solve(frames, (targets - a)[..., None])[..., 0]


def _facing_triangles(targets: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Closest triangle [N] of each target, ties settled in float64 among the neighbours of the one that was found."""
    found = closest_triangles(targets, vertices, triangles)
    offsets, incident = _incident_triangles(triangles, len(vertices))
    tie = _TIE * np.linalg.norm(vertices[triangles[:, 0]] - vertices[triangles[:, 1]], axis=1).mean()
    result = np.empty(len(targets), dtype=np.int64)
    for begin in range(0, len(targets), _CHUNK):
        rows = found[begin : begin + _CHUNK]
        starts, ends = offsets[triangles[rows]], offsets[triangles[rows] + 1]
        width = int((ends - starts).max(initial=0))
        slots = starts[..., None] + np.arange(width)
        slots = np.where(slots < ends[..., None], slots, starts[..., None]).reshape(len(rows), -1)
        candidates = np.concatenate([rows[:, None], incident[slots]], axis=1)
        distance, facing = _nearness(targets[begin : begin + _CHUNK, None], vertices[triangles[candidates]])
        near = distance <= distance.min(axis=1, keepdims=True) + tie
        facing = np.where(near, facing, -1.0)
        best = near & (facing >= facing.max(axis=1, keepdims=True) - 1e-6)
        result[begin : begin + _CHUNK] = np.where(best, candidates, len(triangles)).min(axis=1)
    return result


def _incident_triangles(triangles: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Triangles around each vertex as compressed rows: offsets [V + 1] and triangles [3 F]."""
    corners = triangles.ravel()
    order = np.argsort(corners, kind="stable")
    return np.searchsorted(corners[order], np.arange(vertex_count + 1)), order // 3


def _nearness(targets: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance [N, C] of targets [N, 1, 3] to triangles [N, C, 3, 3], and how squarely each faces its target [N, C].

    The latter is the cosine between the normal and the way to the target; 1 for a target on the surface.
    """
    a, b, c = np.moveaxis(corners, 2, 0)
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-300)
    height = ((targets - a) * normal).sum(-1)
    foot = targets - height[..., None] * normal
    inside = np.min([(np.cross(v - u, foot - u) * normal).sum(-1) for u, v in ((a, b), (b, c), (c, a))], axis=0) >= 0.0
    square = np.where(inside, height**2, np.inf)
    for u, v in ((a, b), (b, c), (c, a)):
        side = v - u
        share = ((targets - u) * side).sum(-1) / np.maximum((side * side).sum(-1), 1e-300)
        way = targets - u - np.clip(share, 0.0, 1.0)[..., None] * side
        square = np.minimum(square, (way * way).sum(-1))
    distance = np.sqrt(square)
    return distance, np.where(distance > 0.0, np.abs(height) / np.maximum(distance, 1e-300), 1.0)
