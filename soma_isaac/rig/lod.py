"""Levels of detail of the SOMA skin: the mid mesh is one Catmull-Clark step of the low mesh.

A Catmull-Clark step numbers the old vertices first, then one point per edge, then one per face, and makes one quad
(edge point, vertex, edge point, face point) per face corner. That numbering makes the step reversible from the quads.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import RigMismatch


def unsubdivide(quads: np.ndarray, low_vertex_count: int, face_point_start: int) -> tuple[np.ndarray, np.ndarray]:
    """Faces of the mesh whose Catmull-Clark step has the topology ``quads``.

    Args:
        quads: [Q, 4] mid faces; each has one low vertex, two edge points and one face point.
        low_vertex_count: Vertices below this index are the low mesh's.
        face_point_start: Vertices from this index on are face points; those between are edge points.

    Returns:
        Face vertex counts [F] and indices of the low mesh; face k has the face point ``face_point_start + k``.

    Raises:
        RigMismatch: The quads are not a Catmull-Clark step in this numbering.
    """
    quads = np.asarray(quads, dtype=np.int64)
    rank = (quads >= low_vertex_count).astype(int) + (quads >= face_point_start)
    if not (np.sort(rank, axis=1) == [0, 1, 1, 2]).all():
        raise RigMismatch("a quad is not made of one vertex, two edge points and one face point")
    vertex_first = np.take_along_axis(quads, (np.argmin(rank, axis=1)[:, None] + np.arange(4)) % 4, axis=1)
    corner_vertex, edge_out, face_point, edge_in = vertex_first.T
    if (face_point < face_point_start).any():
        raise RigMismatch("a quad has its face point beside its vertex")
    counts: list[int] = []
    indices: list[int] = []
    order = np.argsort(face_point, kind="stable")
    bounds = np.flatnonzero(np.diff(face_point[order], prepend=-1, append=-1))
    for begin, end in zip(bounds[:-1], bounds[1:], strict=True):
        rows = order[begin:end]
        by_entry = {int(edge_in[row]): int(row) for row in rows}
        row, corners = int(rows[0]), []
        for _ in rows:
            corners.append(int(corner_vertex[row]))
            row = by_entry.get(int(edge_out[row]), -1)
            if row < 0:
                raise RigMismatch(f"the quads around face point {int(face_point[rows[0]])} do not close")
        counts.append(len(corners))
        indices.extend(corners)
    low = np.array(counts), np.array(indices)
    if not same_quads(
        catmull_clark_quads(*low, low_vertex_count, _edge_points(corner_vertex, edge_in, edge_out)), quads
    ):
        raise RigMismatch("a Catmull-Clark step of the low mesh does not give the mid mesh back")
    return low


def _edge_points(corner_vertex: np.ndarray, edge_in: np.ndarray, edge_out: np.ndarray) -> dict[tuple[int, int], int]:
    """Edge point of every low edge, from the two low vertices that share it."""
    ends: dict[int, set[int]] = {}
    for edge, vertex in zip(
        np.concatenate([edge_in, edge_out]).tolist(), np.tile(corner_vertex, 2).tolist(), strict=True
    ):
        ends.setdefault(edge, set()).add(vertex)
    table = {}
    for edge, vertices in ends.items():
        if len(vertices) != 2:
            raise RigMismatch(f"edge point {edge} joins {len(vertices)} vertices instead of two")
        table[(min(vertices), max(vertices))] = edge
    if len(table) != len(ends):
        raise RigMismatch("two edge points lie on one edge")
    return table


def catmull_clark_quads(
    face_vertex_counts: np.ndarray,
    face_vertex_indices: np.ndarray,
    vertex_count: int,
    edge_points: dict[tuple[int, int], int],
) -> np.ndarray:
    """Quads [sum of counts, 4] of one Catmull-Clark step, (edge point, vertex, edge point, face point) each.

    Args:
        face_vertex_counts: [F] corners per face.
        face_vertex_indices: [sum of counts] vertex indices.
        vertex_count: Number of vertices V.
        edge_points: Index of the new point of each edge (smaller vertex first); face points follow the edge points.
    """
    face_point = vertex_count + len(edge_points)
    quads, begin = [], 0
    for count in face_vertex_counts.tolist():
        corners = face_vertex_indices[begin : begin + count].tolist()
        for position, vertex in enumerate(corners):
            before, after = corners[position - 1], corners[(position + 1) % count]
            edge_in = edge_points[(min(before, vertex), max(before, vertex))]
            edge_out = edge_points[(min(after, vertex), max(after, vertex))]
            quads.append((edge_in, vertex, edge_out, face_point))
        face_point += 1
        begin += count
    return np.array(quads)


def same_quads(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two quad tables hold the same oriented faces, whatever their order and first corners."""

    def canonical(quads: np.ndarray) -> np.ndarray:
        turned = np.take_along_axis(quads, (quads.argmin(axis=1)[:, None] + np.arange(4)) % 4, axis=1)
        return turned[np.lexsort(turned.T[::-1])]

    return a.shape == b.shape and bool((canonical(np.asarray(a)) == canonical(np.asarray(b))).all())


def turn_to_diagonals(quads: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Number of corners [Q] by which to turn each quad so that its fan has the given diagonals.

    Args:
        quads: [Q, 4].
        triangles: [2 Q, 3], two per quad in quad order.

    Raises:
        RigMismatch: A pair of triangles is not a split of its quad.
    """
    pairs = np.asarray(triangles).reshape(-1, 2, 3)
    if len(pairs) != len(quads):
        raise RigMismatch(f"{len(triangles)} triangles for {len(quads)} quads")
    held = (pairs[:, None] == quads[:, :, None, None]).any(axis=3).sum(axis=2)  # [Q, 4] triangles that hold a corner
    along_02 = (held[:, [0, 2]] == 2).all(axis=1)
    along_13 = (held[:, [1, 3]] == 2).all(axis=1)
    split = (along_02 ^ along_13) & (held >= 1).all(axis=1)
    if not split.all():
        raise RigMismatch(f"triangles of quad {int(np.flatnonzero(~split)[0])} do not split it")
    return np.where(along_13, 1, 0)


def shorter_diagonals(points: np.ndarray, quads: np.ndarray) -> np.ndarray:
    """Number of corners [Q] (0 or 1) by which to turn each quad so that its fan splits the shorter diagonal."""
    corners = points[quads]
    length_02 = np.linalg.norm(corners[:, 0] - corners[:, 2], axis=1)
    length_13 = np.linalg.norm(corners[:, 1] - corners[:, 3], axis=1)
    return np.where(length_13 < length_02 - 1e-6, 1, 0)


def turned(rows: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Rows [Q, 4] with their entries rotated left by ``turns`` [Q]."""
    return np.take_along_axis(rows, (turns[:, None] + np.arange(4)) % 4, axis=1)


def turned_to_shorter(
    points: np.ndarray, face_vertex_counts: np.ndarray, face_vertex_indices: np.ndarray, corner_values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Turn quads of a mixed mesh so that their fans split the shorter diagonal.

    Args:
        points: [V, 3].
        face_vertex_counts: [F].
        face_vertex_indices: [sum of counts].
        corner_values: [sum of counts], turned along (indices of texture coordinates).

    Returns:
        The turned vertex indices and corner values.
    """
    first = np.cumsum(face_vertex_counts) - face_vertex_counts
    corners = first[face_vertex_counts == 4][:, None] + np.arange(4)
    quads = face_vertex_indices[corners]
    turns = shorter_diagonals(points, quads)
    results = []
    for values in (face_vertex_indices, corner_values):
        result = values.copy()
        result[corners] = turned(values[corners], turns)
        results.append(result)
    return results[0], results[1]


def low_corner_values(
    quads: np.ndarray,
    quad_values: np.ndarray,
    face_vertex_counts: np.ndarray,
    face_vertex_indices: np.ndarray,
    face_point_start: int,
) -> np.ndarray:
    """Per-corner values of the low mesh, from the corners of the mid quads that hold its vertices.

    Args:
        quads: [Q, 4] mid faces.
        quad_values: [Q, 4] a value per mid corner.
        face_vertex_counts: [F] of the low mesh; face k has the face point ``face_point_start + k``.
        face_vertex_indices: [sum of counts] of the low mesh.
        face_point_start: First face point.
    """
    vertex, face_point = quads.min(axis=1), quads.max(axis=1)
    value = np.take_along_axis(quad_values, quads.argmin(axis=1)[:, None], axis=1)[:, 0]
    table = dict(zip(zip(face_point.tolist(), vertex.tolist(), strict=True), value.tolist(), strict=True))
    faces = np.repeat(np.arange(len(face_vertex_counts)), face_vertex_counts) + face_point_start
    return np.array([table[key] for key in zip(faces.tolist(), face_vertex_indices.tolist(), strict=True)])
