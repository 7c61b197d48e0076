"""Closest triangles of a mesh, and points that ride on its triangles."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import numpy as np
import warp as wp

from soma_isaac.errors import InputRejected

wp.set_module_options({"enable_backward": False})

AREA, EDGE = range(2)
"""Scale of offsets along a triangle's normal: twice its area, or its mean edge length."""

_EDGE = wp.constant(EDGE)


@wp.kernel
def closest_triangle_kernel(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    reach: float,
    # out
    triangles_out: wp.array(dtype=wp.int32),
):
    """The triangle nearest to one point; -1 if none is within reach."""
    row = wp.tid()
    query = wp.mesh_query_point_no_sign(mesh, points[row], reach)
    triangles_out[row] = wp.where(query.result, query.face, -1)


@wp.kernel
def ride_kernel(
    corners: wp.array(dtype=wp.vec3i),
    coordinates: wp.array(dtype=wp.vec3),
    offset_scale: int,
    points: wp.array(dtype=wp.vec3, ndim=2),
    # out
    points_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """One point of one body on its triangle."""
    body, row = wp.tid()
    corner = corners[row]
    coordinate = coordinates[row]
    a = points[body, corner[0]]
    ab = points[body, corner[1]] - a
    ac = points[body, corner[2]] - a
    normal = wp.cross(ab, ac)
    if offset_scale == _EDGE:
        size = (wp.length(ab) + wp.length(ac - ab) + wp.length(ac)) / 3.0
        normal = normal * (size / wp.max(wp.length(normal), 1.0e-30))
    points_out[body, row] = a + coordinate[0] * ab + coordinate[1] * ac + coordinate[2] * normal


def closest_triangles(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Index [N] int32 of a triangle nearest to each point, by Warp's bounding volume hierarchy in float32.

    Where several are equally near, any of them.

    Args:
        points: [N, 3].
        vertices: [V, 3].
        triangles: [F, 3].

    Raises:
        InputRejected: A point has no triangle within reach (it or the mesh is not finite).
    """
    center = vertices.mean(axis=0)
    size = max(float(np.ptp(vertices, axis=0).max(initial=0.0)), 1e-30)
    # In units of the mesh's size, so that single precision has the same digits whatever the unit.
    scaled = [
        wp.array(((array - center) / size).astype(np.float32), dtype=wp.vec3, device="cpu")
        for array in (vertices, points)
    ]
    indices = wp.array(np.ascontiguousarray(triangles, dtype=np.int32).reshape(-1), dtype=wp.int32, device="cpu")
    mesh = wp.Mesh(points=scaled[0], indices=indices)
    found = wp.empty(len(points), dtype=wp.int32, device="cpu")
    wp.launch(
        closest_triangle_kernel, dim=len(points), inputs=[mesh.id, scaled[1], 1.0e6], outputs=[found], device="cpu"
    )
    result = found.numpy()
    if (result < 0).any():
        raise InputRejected(f"point {int(np.argmin(result))} has no nearest triangle")
    return result


def ride(corners: np.ndarray, coordinates: np.ndarray, offset_scale: int, points: np.ndarray) -> np.ndarray:
    """Points [B, N, 3] float32 that ride on the triangles of B deformed meshes.

    Args:
        corners: [N, 3] int32 vertices of the triangle that each point rides on.
        coordinates: [N, 3] along the triangle's sides from its first vertex, and along its normal.
        offset_scale: ``AREA`` or ``EDGE``: length of that normal.
        points: [B, V, 3] the deformed meshes.
    """
    shapes = np.ascontiguousarray(points, dtype=np.float32)
    result = np.empty((len(shapes), len(corners), 3), dtype=np.float32)
    wp.launch(
        ride_kernel,
        dim=result.shape[:2],
        inputs=[
            wp.array(np.ascontiguousarray(corners, dtype=np.int32), dtype=wp.vec3i, device="cpu"),
            wp.array(coordinates.astype(np.float32), dtype=wp.vec3, device="cpu"),
            offset_scale,
            wp.array(shapes, dtype=wp.vec3, device="cpu", copy=False),
        ],
        outputs=[wp.array(result, dtype=wp.vec3, device="cpu", copy=False)],
        device="cpu",
    )
    return result
