"""Plain facts of a polygon mesh: fan triangles, corner tables, vertex normals, edges, closedness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from soma_isaac.errors import RigMismatch


@dataclass(frozen=True, eq=False)
class FaceUv:
    """Texture coordinates of a mesh, indexed per face corner; origin at the texture's lower left.

    Attributes:
        points: [U, 2].
        indices: [sum of face counts] into ``points``.
    """

    points: np.ndarray
    indices: np.ndarray


def fan_triangles(face_vertex_counts: np.ndarray, face_vertex_indices: np.ndarray) -> np.ndarray:
    """Triangles [N, 3] int32 of the fans around each face's first corner, in face order.

    Args:
        face_vertex_counts: [F] corners per face, at least 3 each.
        face_vertex_indices: [sum of counts] vertex indices.

    Raises:
        RigMismatch: A face has fewer than three corners, or counts and indices disagree.
    """
    counts = np.asarray(face_vertex_counts, dtype=np.int64)
    indices = np.asarray(face_vertex_indices, dtype=np.int64)
    if counts.size and counts.min() < 3:
        raise RigMismatch(f"face {int(counts.argmin())} has {int(counts.min())} corners, a face needs three")
    if int(counts.sum()) != len(indices):
        raise RigMismatch(f"face vertex counts sum to {int(counts.sum())}, but there are {len(indices)} indices")
    first = np.cumsum(counts) - counts
    face = np.repeat(np.arange(len(counts)), counts - 2)
    step = np.arange(len(face)) - np.repeat(np.cumsum(counts - 2) - (counts - 2), counts - 2)
    corner = first[face]
    return np.stack((indices[corner], indices[corner + step + 1], indices[corner + step + 2]), axis=1).astype(np.int32)


def vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V, 3] of a triangle mesh; zero where a vertex has no area around it."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    weighted = np.cross(b - a, c - a)
    normals = np.stack(
        [np.bincount(triangles.ravel(), np.repeat(weighted[:, axis], 3), len(points)) for axis in range(3)], axis=1
    )
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.divide(normals, length, out=np.zeros_like(normals), where=length > 0.0)


def edge_use(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Undirected edges [E, 2] (smaller index first) and how many triangles use each [E]."""
    corners = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return np.unique(np.sort(corners, axis=1), axis=0, return_counts=True)


def closed_genus(triangles: np.ndarray, vertex_count: int) -> int:
    """Genus of one closed, consistently oriented, connected manifold surface.

    Raises:
        RigMismatch: The mesh is open, non-manifold, inconsistently oriented, disconnected, or has unused vertices.
    """
    directed = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]).astype(np.int64)
    keys = directed[:, 0] * vertex_count + directed[:, 1]
    if len(np.unique(keys)) != len(keys):
        raise RigMismatch("an edge is used twice in one direction")
    if not np.array_equal(np.sort(keys), np.sort(directed[:, 1] * vertex_count + directed[:, 0])):
        raise RigMismatch("the surface has a border")
    if len(np.unique(triangles)) != vertex_count:
        raise RigMismatch("a vertex belongs to no triangle")
    if _component_count(directed, vertex_count) != 1:
        raise RigMismatch("the surface has several parts")
    # One fan per vertex: walking the directed edges around a vertex must visit all its triangles.
    degree = np.bincount(directed[:, 0], minlength=vertex_count)
    follow = dict(
        zip(
            zip(triangles.ravel().tolist(), np.roll(triangles, -1, 1).ravel().tolist(), strict=True),
            np.roll(triangles, -2, 1).ravel().tolist(),
            strict=True,
        )
    )
    start = {vertex: neighbour for vertex, neighbour in follow}
    for vertex in range(vertex_count):
        neighbour, steps = start[vertex], 0
        while steps == 0 or neighbour != start[vertex]:
            neighbour, steps = follow[(vertex, neighbour)], steps + 1
        if steps != degree[vertex]:
            raise RigMismatch(f"vertex {vertex} joins several fans")
    euler = vertex_count - len(directed) // 2 + len(triangles)
    return (2 - euler) // 2


def closest_surface_points(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Closest points [N, 3] of a triangle mesh to ``points`` [N, 3].

    Looks at the 64 triangles with the nearest centroids, which is exact for points near a mesh of even triangles.
    """
    corners = vertices[triangles]
    nearest = cKDTree(corners.mean(axis=1)).query(points, k=min(64, len(triangles)))[1]
    nearest = nearest.reshape(len(points), -1)  # one triangle alone comes without its axis
    a, b, c = np.moveaxis(corners[nearest], 2, 0)
    target = points[:, None, :]
    normal = np.cross(b - a, c - a)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-18)
    foot = target - ((target - a) * normal).sum(-1, keepdims=True) * normal
    sides = [(np.cross(v - u, foot - u) * normal).sum(-1) for u, v in ((a, b), (b, c), (c, a))]
    inside = np.min(sides, axis=0) >= 0.0
    candidates = [np.where(inside[..., None], foot, np.inf)]
    for u, v in ((a, b), (b, c), (c, a)):
        edge = v - u
        share = ((target - u) * edge).sum(-1) / np.maximum((edge * edge).sum(-1), 1e-18)
        candidates.append(u + np.clip(share, 0.0, 1.0)[..., None] * edge)
    found = np.concatenate(candidates, axis=1)
    best = np.argmin(((found - target) ** 2).sum(-1), axis=1)
    return found[np.arange(len(points)), best]


def _component_count(edges: np.ndarray, vertex_count: int) -> int:
    graph = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(vertex_count, vertex_count))
    return int(connected_components(graph, directed=False)[0])
