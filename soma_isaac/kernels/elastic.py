"""Local steps of an elastic solve, and which points lie inside a closed mesh.

Projective dynamics (Bouaziz et al. 2014, "Projective Dynamics: Fusing Constraint Projections for Fast Simulation"):
each tetrahedron asks for the nearest deformation that is a rotation, and for the nearest that keeps its volume.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import numpy as np
import warp as wp

from soma_isaac.errors import InputRejected

wp.set_module_options({"enable_backward": False})

_VOLUME_STEPS = wp.constant(10)


@wp.kernel
def inside_kernel(
    mesh: wp.uint64,
    points: wp.array(dtype=wp.vec3),
    reach: float,
    # out
    inside_out: wp.array(dtype=wp.bool),
):
    """Whether one point lies inside, by the winding number."""
    row = wp.tid()
    query = wp.mesh_query_point_sign_winding_number(mesh, points[row], reach)
    inside_out[row] = query.result and query.sign < 0.0


@wp.kernel
def project_kernel(
    gradients: wp.array(dtype=wp.mat33d),
    volume_share: wp.float64,
    # out
    targets_out: wp.array(dtype=wp.mat33d),
):
    """The weighted mean of the nearest rotation and the nearest deformation of determinant 1."""
    cell = wp.tid()
    left, stretch, right = wp.svd3(gradients[cell])
    one = wp.float64(1.0)
    if wp.determinant(left) * wp.determinant(right) < wp.float64(0.0):
        # an inverted cell: the smallest stretch is negative
        smallest = wp.int32(wp.argmin(stretch))
        stretch[smallest] = -stretch[smallest]
        for row in range(3):
            left[row, smallest] = -left[row, smallest]
    change = wp.vec3d()
    for _ in range(_VOLUME_STEPS):
        s = stretch + change
        slope = wp.vec3d(s[1] * s[2], s[0] * s[2], s[0] * s[1])
        excess = s[0] * s[1] * s[2] - one
        change = slope * ((wp.dot(slope, change) - excess) / (wp.dot(slope, slope) + wp.float64(1.0e-9)))
    kept = stretch + change
    mixed = wp.vec3d(one, one, one) * (one - volume_share) + kept * volume_share
    targets_out[cell] = left * wp.diag(mixed) * wp.transpose(right)


def points_inside(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Which points [N, 3] lie inside a closed mesh, bool [N].

    Args:
        points: [N, 3] m.
        vertices: [V, 3] m.
        triangles: [M, 3] int32, outward.
    """
    mesh = wp.Mesh(
        points=wp.array(np.ascontiguousarray(vertices, np.float32), dtype=wp.vec3, device="cpu"),
        indices=wp.array(np.ascontiguousarray(triangles, np.int32).ravel(), dtype=wp.int32, device="cpu"),
        support_winding_number=True,
    )
    queries = wp.array(np.ascontiguousarray(points, np.float32), dtype=wp.vec3, device="cpu")
    inside = wp.zeros(len(points), dtype=wp.bool, device="cpu")
    wp.launch(inside_kernel, dim=len(points), inputs=[mesh.id, queries, 10.0], outputs=[inside], device="cpu")
    return inside.numpy().astype(bool)


def launch_project(gradients: np.ndarray, volume_share: float) -> np.ndarray:
    """Target deformations [N, 3, 3] of deformation gradients [N, 3, 3].

    Args:
        gradients: [N, 3, 3] float64.
        volume_share: Weight of volume against shape, 0 to 1.

    Raises:
        InputRejected: The shape is another.
    """
    if gradients.ndim != 3 or gradients.shape[1:] != (3, 3):
        raise InputRejected(f"gradients has shape {gradients.shape}, expected (N, 3, 3)")
    values = np.ascontiguousarray(gradients, np.float64)
    targets = np.empty_like(values)
    wp.launch(
        project_kernel,
        dim=len(values),
        inputs=[wp.array(values, dtype=wp.mat33d, device="cpu", copy=False), wp.float64(volume_share)],
        outputs=[wp.array(targets, dtype=wp.mat33d, device="cpu", copy=False)],
        device="cpu",
    )
    return targets
