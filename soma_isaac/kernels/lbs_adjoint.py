"""Gradients of linear blend skinning with respect to rest points and skin matrices.

With the loss's gradient ``g_v`` of a posed vertex, that of its rest point is the blended matrix transposed times
``g_v``, and that of a joint's transposed skin matrix the sum of ``w g_v`` times the rest point's homogeneous
coordinates. On a CPU one pass over the vertices of a body gives both; on a GPU a joint's vertices are summed in
chunks, because a few joints own thousands.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import numpy as np
import warp as wp

from soma_isaac.kernels.lbs import Influences, blended
from soma_isaac.kernels.shapes import check_array, check_contiguous, check_rows

wp.set_module_options({"enable_backward": False})

CHUNK = 64

_ADJOINT_BODY = """
#ifndef __CUDA_ARCH__
    typedef float lanes16 __attribute__((vector_size(64), aligned(4)));
    const float* point = (const float*)points.data + size_t(body % points.shape[0]) * points.shape[1] * 3;
    const float* column = (const float*)columns.data + size_t(body) * columns.shape[1] * 16;
    const float* gradient = (const float*)gradients.data + size_t(body) * points.shape[1] * 3;
    float* point_out = (float*)points_out.data + size_t(body) * points_out.shape[1] * 3;
    float* column_out = (float*)columns_out.data + size_t(body) * columns.shape[1] * 16;
    for (int i = 0; i < 16 * columns.shape[1]; ++i)
        column_out[i] = 0.0f;
    for (int v = 0; v < points.shape[1]; ++v, point += 3, gradient += 3) {
        const float x = point[0], y = point[1], z = point[2];
        const float a = gradient[0], b = gradient[1], c = gradient[2];
        const lanes16 outer = {a * x, b * x, c * x, 0, a * y, b * y, c * y, 0, a * z, b * z, c * z, 0, a, b, c, 0};
        lanes16 blend = {};
        for (int i = offsets.data[v]; i < offsets.data[v + 1]; ++i) {
            const int at = 16 * joints.data[i];
            const float weight = weights.data[i];
            blend += weight * *(const lanes16*)(column + at);
            *(lanes16*)(column_out + at) += weight * outer;
        }
        if (with_points) {
            blend *= lanes16{a, b, c, 0, a, b, c, 0, a, b, c, 0, 0, 0, 0, 0};
            point_out[3 * v] = blend[0] + blend[1] + blend[2];
            point_out[3 * v + 1] = blend[4] + blend[5] + blend[6];
            point_out[3 * v + 2] = blend[8] + blend[9] + blend[10];
        }
    }
#endif
"""


class JointVertices(NamedTuple):
    """Device arrays of the vertices that each joint moves, cut into chunks of one joint each.

    Attributes:
        chunk_offsets: [C + 1] int32 into the entries.
        chunk_joints: [C] int32.
        vertices: [E] int32.
        weights: [E] float32.
    """

    chunk_offsets: wp.array
    chunk_joints: wp.array
    vertices: wp.array
    weights: wp.array


def joint_vertices(influences: Influences) -> JointVertices:
    """The transpose of an influence table, on its device."""
    offsets, joints, weights = (array.numpy() for array in influences)
    vertices = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.argsort(joints, kind="stable")
    counts = np.bincount(joints)
    starts = np.cumsum(counts) - counts
    chunks = [
        (begin, joint)
        for joint, (start, count) in enumerate(zip(starts, counts, strict=True))
        for begin in range(start, start + count, CHUNK)
    ]
    table = np.array(chunks, dtype=np.int32).reshape(-1, 2)
    device = influences.offsets.device
    return JointVertices(
        chunk_offsets=wp.array(np.append(table[:, 0], len(joints)).astype(np.int32), dtype=wp.int32, device=device),
        chunk_joints=wp.array(np.ascontiguousarray(table[:, 1]), dtype=wp.int32, device=device),
        vertices=wp.array(vertices[order].astype(np.int32), dtype=wp.int32, device=device),
        weights=wp.array(weights[order], dtype=wp.float32, device=device),
    )


@wp.func_native(_ADJOINT_BODY)
def _adjoint_body(
    body: int,
    offsets: wp.array(dtype=wp.int32),
    joints: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3, ndim=2),
    columns: wp.array(dtype=wp.mat44, ndim=2),
    gradients: wp.array(dtype=wp.vec3, ndim=2),
    with_points: bool,
    points_out: wp.array(dtype=wp.vec3, ndim=2),
    columns_out: wp.array(dtype=wp.mat44, ndim=2),
): ...


@wp.kernel
def adjoint_bodies_kernel(
    # rig
    offsets: wp.array(dtype=wp.int32),
    joints: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    # forward in
    points: wp.array(dtype=wp.vec3, ndim=2),
    columns: wp.array(dtype=wp.mat44, ndim=2),
    gradients: wp.array(dtype=wp.vec3, ndim=2),
    with_points: bool,
    # out
    points_out: wp.array(dtype=wp.vec3, ndim=2),
    columns_out: wp.array(dtype=wp.mat44, ndim=2),
):
    """All vertices of one body (CPU)."""
    body = wp.tid()
    _adjoint_body(body, offsets, joints, weights, points, columns, gradients, with_points, points_out, columns_out)


@wp.kernel
def points_adjoint_kernel(
    # rig
    offsets: wp.array(dtype=wp.int32),
    joints: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    # forward in
    columns: wp.array(dtype=wp.mat44, ndim=2),
    gradients: wp.array(dtype=wp.vec3, ndim=2),
    # out
    points_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """One vertex of one body (GPU)."""
    body, vertex = wp.tid()
    g = gradients[body, vertex]
    moved = blended(offsets, joints, weights, columns, body, vertex) * wp.vec4(g[0], g[1], g[2], 0.0)
    points_out[body, vertex] = wp.vec3(moved[0], moved[1], moved[2])


@wp.kernel
def columns_adjoint_kernel(
    # rig
    chunk_offsets: wp.array(dtype=wp.int32),
    chunk_joints: wp.array(dtype=wp.int32),
    vertices: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    # forward in
    points: wp.array(dtype=wp.vec3, ndim=2),
    gradients: wp.array(dtype=wp.vec3, ndim=2),
    # out
    columns_out: wp.array(dtype=wp.mat44, ndim=2),
):
    """One chunk of one joint's vertices of one body (GPU)."""
    chunk, body = wp.tid()
    total = wp.mat44()
    for entry in range(chunk_offsets[chunk], chunk_offsets[chunk + 1]):
        vertex = vertices[entry]
        p = points[body % points.shape[0], vertex]
        g = weights[entry] * gradients[body, vertex]
        total += wp.outer(wp.vec4(p[0], p[1], p[2], 1.0), wp.vec4(g[0], g[1], g[2], 0.0))
    wp.atomic_add(columns_out, body, chunk_joints[chunk], total)


def launch_blend_adjoint(
    influences: Influences,
    transposed: JointVertices | None,
    *,
    points: wp.array,
    columns: wp.array,
    gradients: wp.array,
    points_out: wp.array | None,
    columns_out: wp.array,
) -> None:
    """Gradients of :func:`soma_isaac.kernels.lbs.launch_blend`.

    Args:
        influences: The joints that move each of the V vertices.
        transposed: The vertices that each joint moves; ``None`` is enough on a CPU.
        points: [1 or B, V] vec3, m, rest points; contiguous.
        columns: [B, J] mat44, transposed skin matrices; contiguous.
        gradients: [B, V] vec3 of the posed vertices; contiguous.
        points_out: [B, V] vec3, gradients of each body's rest points; ``None`` if not wanted.
        columns_out: [B, J] mat44, gradients of the transposed skin matrices; their last column is zero.

    Raises:
        InputRejected: A shape or a device does not fit, or an array is not contiguous.
    """
    batch, count = gradients.shape
    device = gradients.device
    check_array("offsets", influences.offsets, (count + 1,), device)
    check_array("points", points, (None, count), device)
    check_rows("points", points, batch)
    check_array("columns", columns, (batch, None), device)
    check_array("columns_out", columns_out, columns.shape, device)
    arrays = {"points": points, "columns": columns, "gradients": gradients, "columns_out": columns_out}
    if points_out is not None:
        check_array("points_out", points_out, (batch, count), device)
        arrays["points_out"] = points_out
    for name, array in arrays.items():
        check_contiguous(name, array)
    if transposed is None:
        wp.launch(
            adjoint_bodies_kernel,
            dim=batch,
            inputs=[*influences, points, columns, gradients, points_out is not None],
            outputs=[gradients if points_out is None else points_out, columns_out],
            device=device,
        )
        return
    if points_out is not None:
        wp.launch(
            points_adjoint_kernel,
            dim=(batch, count),
            inputs=[*influences, columns, gradients],
            outputs=[points_out],
            device=device,
        )
    columns_out.zero_()
    wp.launch(
        columns_adjoint_kernel,
        dim=(len(transposed.chunk_joints), batch),
        inputs=[*transposed, points, gradients],
        outputs=[columns_out],
        device=device,
    )
