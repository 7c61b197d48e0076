"""Vertex normals of posed meshes: area vectors of triangles, summed around each vertex without atomics.

On a GPU one thread per triangle, then one per vertex. On a CPU one thread per body walks the triangles once and adds to
their corners, with plain pointers: 45 instead of 210 microseconds per body at LOD low.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.activity import activity, is_idle
from soma_isaac.kernels.shapes import check_array, check_contiguous

wp.set_module_options({"enable_backward": False})


_NORMALS_BODY = """
#ifndef __CUDA_ARCH__
    const int* corner = triangles.data;
    const int triangle_count = triangles.shape[0], vertex_count = vertices.shape[1];
    const float* point = (const float*)vertices.data + size_t(body) * vertex_count * 3;
    float* normal = (float*)normals_out.data + size_t(body) * vertex_count * 3;
    for (int i = 0; i < 3 * vertex_count; ++i)
        normal[i] = 0.0f;
    for (int t = 0; t < triangle_count; ++t, corner += 3) {
        const float *a = point + 3 * corner[0], *b = point + 3 * corner[1], *c = point + 3 * corner[2];
        const float x1 = b[0] - a[0], y1 = b[1] - a[1], z1 = b[2] - a[2];
        const float x2 = c[0] - a[0], y2 = c[1] - a[1], z2 = c[2] - a[2];
        const float x = y1 * z2 - z1 * y2, y = z1 * x2 - x1 * z2, z = x1 * y2 - y1 * x2;
        for (int k = 0; k < 3; ++k) {
            float* sum = normal + 3 * corner[k];
            sum[0] += x;
            sum[1] += y;
            sum[2] += z;
        }
    }
    for (int v = 0; v < vertex_count; ++v, normal += 3) {
        const float length = wp::sqrt(normal[0] * normal[0] + normal[1] * normal[1] + normal[2] * normal[2]);
        const float scale = length > 0.0f ? 1.0f / length : 0.0f;
        normal[0] *= scale;
        normal[1] *= scale;
        normal[2] *= scale;
    }
#endif
"""


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


@wp.func_native(_NORMALS_BODY)
def _normals_body(
    body: int,
    triangles: wp.array(dtype=wp.int32, ndim=2),
    vertices: wp.array(dtype=wp.vec3, ndim=2),
    normals_out: wp.array(dtype=wp.vec3, ndim=2),
): ...


@wp.kernel
def body_normals_kernel(
    # mesh
    triangles: wp.array(dtype=wp.int32, ndim=2),
    # pose in
    vertices: wp.array(dtype=wp.vec3, ndim=2),
    active: wp.array(dtype=wp.int32),
    # out
    normals_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """All normals of one body (CPU)."""
    body = wp.tid()
    if is_idle(active, body):
        return
    _normals_body(body, triangles, vertices, normals_out)


@wp.kernel
def triangle_areas_kernel(
    # mesh
    triangles: wp.array(dtype=wp.int32, ndim=2),
    # pose in
    vertices: wp.array(dtype=wp.vec3, ndim=2),
    active: wp.array(dtype=wp.int32),
    # out
    areas_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """Area vector (twice the area long) of one triangle of one body."""
    body, triangle = wp.tid()
    if is_idle(active, body):
        return
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
    active: wp.array(dtype=wp.int32),
    # out
    normals_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """Unit normal of one vertex of one body; zero where there is no area."""
    body, vertex = wp.tid()
    if is_idle(active, body):
        return
    total = wp.vec3()
    for entry in range(offsets[vertex], offsets[vertex + 1]):
        total += areas[body, incident[entry]]
    normals_out[body, vertex] = wp.normalize(total)


def launch_normals(
    mesh: VertexTriangles,
    *,
    vertices: wp.array,
    areas_out: wp.array,
    normals_out: wp.array,
    active: wp.array | None = None,
) -> None:
    """Area-weighted unit vertex normals of B bodies.

    Args:
        mesh: N triangles over V vertices.
        vertices: [B, V] vec3, m; contiguous.
        areas_out: [B, N] vec3, m^2, scratch of a GPU: the triangles' area vectors, twice their area long. On a CPU
            it is not used and may have no rows.
        normals_out: [B, V] vec3; contiguous.
        active: [B] int32, 0 for bodies whose normals stay as they are; all are written without it.

    Raises:
        InputRejected: A shape or a device does not fit, or an array is not contiguous.
    """
    batch, count = normals_out.shape
    device = normals_out.device
    triangle_count = mesh.triangles.shape[0]
    check_array("triangles", mesh.triangles, (None, 3), device)
    check_array("offsets", mesh.offsets, (count + 1,), device)
    check_array("incident", mesh.incident, (3 * triangle_count,), device)
    check_array("vertices", vertices, (batch, count), device)
    mask = activity(active, batch, device)
    if device.is_cpu:
        for name, array in (("triangles", mesh.triangles), ("vertices", vertices), ("normals_out", normals_out)):
            check_contiguous(name, array)
        inputs = [mesh.triangles, vertices, mask]
        wp.launch(body_normals_kernel, dim=batch, inputs=inputs, outputs=[normals_out], device=device)
        return
    check_array("areas_out", areas_out, (batch, triangle_count), device)
    wp.launch(
        triangle_areas_kernel,
        dim=(batch, triangle_count),
        inputs=[mesh.triangles, vertices, mask],
        outputs=[areas_out],
        device=device,
    )
    wp.launch(
        vertex_normals_kernel,
        dim=(batch, count),
        inputs=[mesh.offsets, mesh.incident, areas_out, mask],
        outputs=[normals_out],
        device=device,
    )
