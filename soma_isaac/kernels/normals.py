"""Vertex normals of posed meshes: area vectors of triangles, then their sum around each vertex, without atomics."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.shapes import check_array

wp.set_module_options({"enable_backward": False})


class VertexTriangles(NamedTuple):
    """Device arrays of a triangle mesh and of the triangles around each vertex.

    Attributes:
        triangles: [N, 3] int32, counter-clockwise seen from outside.
        offsets: [V + 1] int32; vertex v owns the entries ``offsets[v]`` to ``offsets[v + 1]``.
        incident: [3 N] int32, triangles.
    """

    triangles: wp.array
    offsets: wp.array
    incident: wp.array


@wp.kernel
def triangle_areas_kernel(
    # mesh
    triangles: wp.array(dtype=wp.int32, ndim=2),
    # pose in
    vertices: wp.array(dtype=wp.vec3, ndim=2),
    # out
    areas_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """Area vector (twice the area long) of one triangle of one body."""
    body, triangle = wp.tid()
    corner = vertices[body, triangles[triangle, 0]]
    first = vertices[body, triangles[triangle, 1]] - corner
    second = vertices[body, triangles[triangle, 2]] - corner
    areas_out[body, triangle] = wp.cross(first, second)


@wp.kernel
def vertex_normals_kernel(
    # mesh
    offsets: wp.array(dtype=wp.int32),
    incident: wp.array(dtype=wp.int32),
    # pose in
    areas: wp.array(dtype=wp.vec3, ndim=2),
    # out
    normals_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """Unit normal of one vertex of one body; zero where there is no area."""
    body, vertex = wp.tid()
    total = wp.vec3()
    for entry in range(offsets[vertex], offsets[vertex + 1]):
        total += areas[body, incident[entry]]
    normals_out[body, vertex] = wp.normalize(total)


def launch_normals(mesh: VertexTriangles, *, vertices: wp.array, areas_out: wp.array, normals_out: wp.array) -> None:
    """Area-weighted unit vertex normals of B bodies.

    Args:
        mesh: N triangles over V vertices.
        vertices: [B, V] vec3, m.
        areas_out: [B, N] vec3, m^2: the triangles' area vectors, twice their area long.
        normals_out: [B, V] vec3.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = normals_out.shape
    device = normals_out.device
    triangle_count = mesh.triangles.shape[0]
    check_array("triangles", mesh.triangles, (None, 3), device)
    check_array("offsets", mesh.offsets, (count + 1,), device)
    check_array("incident", mesh.incident, (3 * triangle_count,), device)
    check_array("vertices", vertices, (batch, count), device)
    check_array("areas_out", areas_out, (batch, triangle_count), device)
    wp.launch(
        triangle_areas_kernel,
        dim=(batch, triangle_count),
        inputs=[mesh.triangles, vertices],
        outputs=[areas_out],
        device=device,
    )
    wp.launch(
        vertex_normals_kernel,
        dim=(batch, count),
        inputs=[mesh.offsets, mesh.incident, areas_out],
        outputs=[normals_out],
        device=device,
    )
