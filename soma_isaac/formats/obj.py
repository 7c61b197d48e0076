"""Wavefront OBJ meshes: points in file order, faces, one UV set. Nothing is merged, reordered or triangulated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes, read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.rig.mesh import fan_triangles

_MOST_POINTS = 4_000_000
_LONGEST_FACE = 64
_LONGEST_NUMBER = 32


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """One mesh as the file has it.

    Attributes:
        points: [V, 3] float64, in the file's own unit and axes, in file order (an extra weight or colour is dropped).
        face_vertex_counts: [F] int32.
        face_vertex_indices: [sum of counts] int32 into ``points``.
        uv_points: [U, 2] float64; empty where there are none.
        uv_indices: [sum of counts] int32 into ``uv_points``, or ``None`` unless every corner has one.
        digest: sha256 of the file.
    """

    points: np.ndarray
    face_vertex_counts: np.ndarray
    face_vertex_indices: np.ndarray
    uv_points: np.ndarray
    uv_indices: np.ndarray | None
    digest: str

    @property
    def triangles(self) -> np.ndarray:
        """Triangles [N, 3] int32: fans around each face's first corner."""
        return fan_triangles(self.face_vertex_counts, self.face_vertex_indices)


def parse_obj(source: SourceBytes) -> ObjMesh:
    """Parse ``v``, ``vt`` and ``f`` lines; other lines are skipped. Negative (relative) indices are understood.

    Raises:
        InputRejected: A line is malformed, a value is not finite, an index is out of range, or there are no points.
    """
    points: list[list[bytes]] = []
    uvs: list[list[bytes]] = []
    counts: list[int] = []
    corners: list[int] = []
    uv_corners: list[int] = []
    for number, line in enumerate(source.data.split(b"\n"), 1):
        words = line.split()
        if not words or words[0] not in (b"v", b"vt", b"f"):
            continue
        try:
            if words[0] == b"v":
                points.append(words[1:4])
            elif words[0] == b"vt":
                uvs.append(words[1:3])
            else:
                counts.append(_face(words[1:], len(points), len(uvs), corners, uv_corners))
        except ValueError as error:
            raise InputRejected(f"line {number} is malformed: {error}", source.path) from error
        if len(points) > _MOST_POINTS or len(corners) > 8 * _MOST_POINTS:
            raise InputRejected(f"has more than {_MOST_POINTS} points or as many faces", source.path)
    if not points:
        raise InputRejected("holds no points (v lines)", source.path)
    table = _numbers(points, 3, "v", source.path)
    uv_table = _numbers(uvs, 2, "vt", source.path)
    return ObjMesh(
        points=table,
        face_vertex_counts=np.array(counts, dtype=np.int32),
        face_vertex_indices=_checked(corners, len(table), "point", source.path),
        uv_points=uv_table,
        uv_indices=_checked(uv_corners, len(uv_table), "vt", source.path) if len(uv_corners) == len(corners) else None,
        digest=source.digest,
    )


def _face(words: list[bytes], point_count: int, uv_count: int, corners: list[int], uv_corners: list[int]) -> int:
    if not 3 <= len(words) <= _LONGEST_FACE:
        raise ValueError(f"a face with {len(words)} corners")
    for word in words:
        point, _, rest = word.partition(b"/")
        corners.append(_index(point, point_count))
        uv = rest.partition(b"/")[0]
        if uv:
            uv_corners.append(_index(uv, uv_count))
    return len(words)


def _index(word: bytes, count: int) -> int:
    if len(word) > 10:
        raise ValueError("an index of more than ten digits")
    index = int(word)
    if index == 0:
        raise ValueError("index 0; OBJ counts from 1")
    return index - 1 if index > 0 else count + index


def _numbers(rows: list[list[bytes]], width: int, what: str, path: str) -> np.ndarray:
    if not rows:
        return np.zeros((0, width))
    if any(len(word) > _LONGEST_NUMBER for row in rows for word in row):  # numpy would cut it off
        raise InputRejected(f"a {what} line has a number of more than {_LONGEST_NUMBER} characters", path)
    try:
        table = np.array(rows, dtype=f"S{_LONGEST_NUMBER}").astype(np.float64)
    except ValueError as error:
        raise InputRejected(f"a {what} line does not hold {width} numbers ({str(error)[:80]})", path) from error
    if table.shape != (len(rows), width) or not np.isfinite(table).all():
        raise InputRejected(f"a {what} line does not hold {width} finite numbers", path)
    return table


def _checked(indices: list[int], count: int, what: str, path: str) -> np.ndarray:
    table = np.array(indices, dtype=np.int64)
    if table.size and (table.min() < 0 or table.max() >= count):
        raise InputRejected(f"a face points outside the {count} {what} lines", path)
    return table.astype(np.int32)


def read_obj(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> ObjMesh:
    """Read one OBJ file; see :func:`parse_obj`.

    Raises:
        InputRejected: It cannot be read or is malformed.
    """
    return parse_obj(read_source(path, limits))
