"""Mirror-symmetric decimation of a skinned body by quadric edge collapse.

Garland and Heckbert, "Surface simplification using quadric error metrics" (SIGGRAPH 1997), with area-weighted plane
quadrics, a small pull towards the original vertices that keeps flat regions well shaped, and three vetoes: the link
condition (the surface stays a closed manifold), no face turns over, no sliver appears. Every collapse is done together
with its mirror image. Skin weights travel with the vertices, so that they never jump to a neighbouring finger.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence

import numpy as np
from scipy.spatial import ConvexHull, cKDTree

from soma_isaac.errors import SolveFailed

PULL = 0.02
"""Weight of the pull towards original vertices relative to the area around them; larger gives more even triangles."""

MIN_NORMAL_COSINE = 0.3
MIN_QUALITY = 0.12
"""Smallest triangle quality that a collapse may create, 4 sqrt(3) area / sum of squared edges (1 is equilateral)."""

MIRROR_TOLERANCE_M = 1e-3

HIDDEN_DEPTH_M = 0.02
"""A head vertex this deep inside the head's convex hull is in the mouth, behind an eye or behind an ear."""


def decimated_body(
    points: np.ndarray,
    triangles: np.ndarray,
    weights: np.ndarray,
    regions: np.ndarray,
    targets: Sequence[int],
    importance: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Collapse edges until each region has its target number of vertices.

    Args:
        points: [V, 3] m, symmetric about the plane x = 0 within a millimetre.
        triangles: [N, 3] one closed manifold surface.
        weights: [V, J] skin weights.
        regions: [V] region number of each vertex; edges between regions are kept.
        targets: Vertices to keep per region.
        importance: [V] factor on the error that a vertex's surroundings may cost; small where nobody looks.

    Returns:
        Points [W, 3], triangles [M, 3] int32 and weights [W, J] with rows that sum to what the sources' sum to.

    Raises:
        SolveFailed: No permitted collapse is left before the targets are reached.
    """
    work = _Decimation(points, triangles, weights, regions, targets, importance)
    work.run()
    return work.result()


def mirror_indices(points: np.ndarray) -> np.ndarray:
    """Index [V] of the vertex at the mirror image of each vertex about x = 0; -1 where there is none."""
    distance, nearest = cKDTree(points).query(points * [-1.0, 1.0, 1.0])
    own = np.arange(len(points))
    return np.where((distance < MIRROR_TOLERANCE_M) & (nearest[nearest] == own), nearest, -1)


def head_importance(points: np.ndarray, on_head: np.ndarray) -> np.ndarray:
    """Factors [V] for :func:`decimated_body`: faces are looked at, the insides of mouth and eye sockets are not.

    Args:
        points: [V, 3] m.
        on_head: [V] bool.
    """
    head = points[on_head]
    equations = ConvexHull(head).equations
    depth = -(equations[:, :3] @ head.T + equations[:, 3:]).max(axis=0)
    importance = np.ones(len(points))
    importance[on_head] = np.where(depth > HIDDEN_DEPTH_M, 0.02, 6.0)
    return importance


class _Decimation:
    """The mesh while edges are being collapsed."""

    def __init__(
        self,
        points: np.ndarray,
        triangles: np.ndarray,
        weights: np.ndarray,
        regions: np.ndarray,
        targets: Sequence[int],
        importance: np.ndarray,
    ) -> None:
        self.points = points.astype(np.float64)
        self.weights = weights.astype(np.float64)
        self.regions = regions
        self.targets = targets
        self.faces: list[list[int] | None] = triangles.tolist()
        self.around: list[set[int]] = [set() for _ in points]
        for face, corners in enumerate(triangles.tolist()):
            for vertex in corners:
                self.around[vertex].add(face)
        self.mirror = mirror_indices(self.points)
        self.alive = np.ones(len(points), dtype=bool)
        self.counts = np.bincount(regions, minlength=len(targets))
        self.stamp = np.zeros(len(points), dtype=np.int64)
        self.quadrics = _vertex_quadrics(self.points, triangles, importance)
        self.heap: list[tuple[float, int, int, int, int]] = []

    def run(self) -> None:
        """Collapse the cheapest permitted edges until every region has reached its target."""
        for vertex in range(len(self.points)):
            self._push(vertex, only_later=True)
        while (self.counts > self.targets).any():
            if not self.heap:
                raise SolveFailed(f"decimation stopped at {self.counts.tolist()} vertices, wanted {list(self.targets)}")
            _, u, v, stamp_u, stamp_v = heapq.heappop(self.heap)
            if not (self.alive[u] and self.alive[v]) or (self.stamp[u], self.stamp[v]) != (stamp_u, stamp_v):
                continue
            self._collapse_symmetric(u, v)

    def result(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compacted arrays."""
        number = np.cumsum(self.alive) - 1
        triangles = number[np.array([corners for corners in self.faces if corners is not None])]
        return self.points[self.alive], triangles.astype(np.int32), self.weights[self.alive]

    def _neighbours(self, vertex: int) -> set[int]:
        return {corner for face in self.around[vertex] for corner in self.faces[face] or ()} - {vertex}

    def _push(self, vertex: int, only_later: bool = False) -> None:
        for other in self._neighbours(vertex):
            if only_later and other < vertex:
                continue
            if (
                self.regions[other] != self.regions[vertex]
                or self.counts[self.regions[vertex]] <= self.targets[self.regions[vertex]]
            ):
                continue
            u, v = min(vertex, other), max(vertex, other)
            position = self._best_position(u, v)
            cost = _cost(self.quadrics[u] + self.quadrics[v], position)
            heapq.heappush(self.heap, (cost, u, v, int(self.stamp[u]), int(self.stamp[v])))

    def _best_position(self, u: int, v: int) -> np.ndarray:
        quadric = self.quadrics[u] + self.quadrics[v]
        matrix, vector = quadric[:3, :3], -quadric[:3, 3]
        on_plane = {u, v} == {self.mirror[u], self.mirror[v]}
        if on_plane:
            position = np.zeros(3)
            position[1:] = np.linalg.solve(matrix[1:, 1:], vector[1:])
        else:
            position = np.linalg.solve(matrix, vector)
        middle, length = 0.5 * (self.points[u] + self.points[v]), np.linalg.norm(self.points[u] - self.points[v])
        return (
            position if np.linalg.norm(position - middle) < length else middle * ([0.0, 1.0, 1.0] if on_plane else 1.0)
        )

    def _collapse_symmetric(self, u: int, v: int) -> None:
        mu, mv = int(self.mirror[u]), int(self.mirror[v])
        if mu < 0 or mv < 0:
            return
        region = self.regions[u]
        position = self._best_position(u, v)
        if {u, v} == {mu, mv}:
            if self.counts[region] > self.targets[region] and self._permitted(u, v, position):
                self._collapse(u, v, position)
                self.mirror[u] = u
                self._push(u)
            return
        other_region = self.regions[mu]
        room = 2 if other_region == region else 1
        reflected = position * [-1.0, 1.0, 1.0]
        apart = not {u, v} & {mu, mv} and not (self._neighbours(u) | self._neighbours(v)) & {mu, mv}
        if not apart or self.counts[region] - self.targets[region] < room or self.regions[mv] != other_region:
            return
        if mv not in self._neighbours(mu):
            return
        if self._permitted(u, v, position) and self._permitted(mu, mv, reflected):
            self._collapse(u, v, position)
            self._collapse(mu, mv, reflected)
            self._push(u)
            self._push(mu)

    def _permitted(self, u: int, v: int, position: np.ndarray) -> bool:
        if len(self._neighbours(u) & self._neighbours(v)) != 2:
            return False
        changed = sorted(self.around[u] ^ self.around[v])
        corners = np.array([self.faces[face] for face in changed])
        before = self.points[corners]
        after = np.where(((corners == u) | (corners == v))[..., None], position, before)
        normal_before, normal_after = (np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]) for p in (before, after))
        size_before, size_after = (np.linalg.norm(normal, axis=1) for normal in (normal_before, normal_after))
        if (np.einsum("fi,fi->f", normal_before, normal_after) < MIN_NORMAL_COSINE * size_before * size_after).any():
            return False
        return bool((_quality(after, size_after) >= np.minimum(MIN_QUALITY, _quality(before, size_before))).all())

    def _collapse(self, u: int, v: int, position: np.ndarray) -> None:
        edge = self.points[v] - self.points[u]
        share = float(np.clip((position - self.points[u]) @ edge / max(edge @ edge, 1e-18), 0.0, 1.0))
        self.weights[u] = (1.0 - share) * self.weights[u] + share * self.weights[v]
        self.points[u] = position
        self.quadrics[u] = self.quadrics[u] + self.quadrics[v]
        for face in self.around[u] & self.around[v]:
            for corner in self.faces[face] or ():
                self.around[corner].discard(face)
            self.faces[face] = None
        for face in self.around[v]:
            self.faces[face] = [u if corner == v else corner for corner in self.faces[face] or ()]
            self.around[u].add(face)
        self.around[v] = set()
        self.alive[v] = False
        self.counts[self.regions[v]] -= 1
        self.stamp[u] += 1


def _vertex_quadrics(points: np.ndarray, triangles: np.ndarray, importance: np.ndarray) -> np.ndarray:
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    weighted = np.cross(b - a, c - a)
    area = 0.5 * np.linalg.norm(weighted, axis=1)
    normal = weighted / np.maximum(2.0 * area, 1e-18)[:, None]
    plane = np.concatenate([normal, -np.einsum("fi,fi->f", normal, a)[:, None]], axis=1)
    per_face = area[:, None, None] * plane[:, :, None] * plane[:, None, :]
    quadrics = np.zeros((len(points), 4, 4))
    vertex_area = np.zeros(len(points))
    for corner in range(3):
        np.add.at(quadrics, triangles[:, corner], per_face)
        np.add.at(vertex_area, triangles[:, corner], area / 3.0)
    pull = PULL * vertex_area
    quadrics[:, range(3), range(3)] += pull[:, None]
    quadrics[:, :3, 3] -= pull[:, None] * points
    quadrics[:, 3, :3] -= pull[:, None] * points
    quadrics[:, 3, 3] += pull * np.einsum("vi,vi->v", points, points)
    return quadrics * importance[:, None, None]


def _cost(quadric: np.ndarray, position: np.ndarray) -> float:
    homogeneous = np.append(position, 1.0)
    return float(homogeneous @ quadric @ homogeneous)


def _quality(corners: np.ndarray, double_area: np.ndarray) -> np.ndarray:
    edges = np.roll(corners, -1, axis=1) - corners
    return 2.0 * np.sqrt(3.0) * double_area / np.maximum((edges**2).sum(axis=(1, 2)), 1e-18)
