"""Vertices into Fabric's arrays (the runtime copy of a USD stage), on the device."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import Any

import warp as wp

from soma_isaac.kernels.shapes import check_array

wp.set_module_options({"enable_backward": False})


@wp.kernel
def fabric_points_kernel(
    # pose in
    vertices: wp.array(dtype=wp.vec3, ndim=2),
    scale: float,
    # prims
    rows: wp.fabricarray(dtype=wp.int32),
    # out
    points_out: wp.fabricarrayarray(dtype=wp.vec3),
):
    """One point of one prim; a prim with another number of points than the body keeps what it has beyond."""
    prim, vertex = wp.tid()
    row = rows[prim]
    points = points_out[prim]
    if row >= 0 and row < vertices.shape[0] and vertex < points.shape[0]:
        points[vertex] = scale * vertices[row, vertex]


def launch_fabric_points(*, vertices: wp.array, scale: float, rows: Any, points_out: Any) -> None:
    """Write the vertices of B bodies to the points of M prims.

    Args:
        vertices: [B, V] vec3, m.
        scale: Units of the stage per metre.
        rows: [M] fabric array of int32: the body of each prim; prims without one are left alone.
        points_out: [M] fabric array of arrays of vec3.

    Raises:
        InputRejected: The vertices are on another device than the prims.
    """
    check_array("vertices", vertices, (None, None), points_out.device)
    wp.launch(
        fabric_points_kernel,
        dim=(len(rows), vertices.shape[1]),
        inputs=[vertices, scale, rows],
        outputs=[points_out],
        device=points_out.device,
    )
