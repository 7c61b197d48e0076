"""The second layer of pose correctives: offsets of vertices from hidden units, and its gradient.

See :mod:`soma_isaac.kernels.correctives` for the network and for how bodies lie side by side in tiles.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.correctives import CPU_LANES
from soma_isaac.kernels.shapes import check_array, check_contiguous, check_rows

wp.set_module_options({"enable_backward": False})

_CORRECT_BODY = """
#ifndef __CUDA_ARCH__
    typedef float lanes4 __attribute__((vector_size(16), aligned(4)));
    typedef float lanes16 __attribute__((vector_size(64), aligned(4)));
    const int lanes = hidden.shape[2], vertex_count = points_out.shape[1], bodies = points_out.shape[0];
    const float* z = hidden.data + size_t(tile) * hidden.shape[1] * lanes;
    const float* value = (const float*)values.data;
    const float* rest = (const float*)points.data;
    float* moved = (float*)points_out.data;
    for (int v = 0; v < vertex_count; ++v) {
        const int begin = offsets.data[v], end = offsets.data[v + 1];
        if (lanes == 1) {
            // Four chains of multiply-adds; the fourth lane reads the next entry's first number (one is appended).
            lanes4 sum[4] = {};
            int i = begin;
            for (; i + 3 < end; i += 4)
                for (int k = 0; k < 4; ++k)
                    sum[k] += z[units.data[i + k]] * *(const lanes4*)(value + 3 * (i + k));
            for (; i < end; ++i)
                sum[0] += z[units.data[i]] * *(const lanes4*)(value + 3 * i);
            const lanes4 total = (sum[0] + sum[1]) + (sum[2] + sum[3]);
            const float scale = scales.data[tile % scales.shape[0]];
            const size_t from = (size_t(tile % points.shape[0]) * vertex_count + v) * 3;
            const size_t to = (size_t(tile) * vertex_count + v) * 3;
            for (int axis = 0; axis < 3; ++axis)
                moved[to + axis] = rest[from + axis] + scale * total[axis];
            continue;
        }
        lanes16 x = {}, y = {}, w = {};
        for (int i = begin; i < end; ++i) {
            const lanes16 unit = *(const lanes16*)(z + 16 * units.data[i]);
            x += value[3 * i] * unit;
            y += value[3 * i + 1] * unit;
            w += value[3 * i + 2] * unit;
        }
        for (int lane = 0; lane < 16 && 16 * tile + lane < bodies; ++lane) {
            const int body = 16 * tile + lane;
            const float scale = scales.data[body % scales.shape[0]];
            const size_t from = (size_t(body % points.shape[0]) * vertex_count + v) * 3;
            const size_t to = (size_t(body) * vertex_count + v) * 3;
            moved[to] = rest[from] + scale * x[lane];
            moved[to + 1] = rest[from + 1] + scale * y[lane];
            moved[to + 2] = rest[from + 2] + scale * w[lane];
        }
    }
#endif
"""


class OffsetTable(NamedTuple):
    """Device arrays of the second layer.

    Attributes:
        offsets: [V + 1] int32; vertex v owns the entries ``offsets[v]`` to ``offsets[v + 1]``.
        units: [E + 1] int32, hidden unit; the last entry is padding.
        values: [E + 1] vec3, m, offset for a unit of 1; the last entry is padding.
    """

    offsets: wp.array
    units: wp.array
    values: wp.array


class UnitTable(NamedTuple):
    """Device arrays of the second layer by hidden unit, for gradients.

    Attributes:
        offsets: [K + 1] int32; unit k owns the entries ``offsets[k]`` to ``offsets[k + 1]``.
        vertices: [E] int32.
        values: [E] vec3, m, offset for a unit of 1.
    """

    offsets: wp.array
    vertices: wp.array
    values: wp.array


@wp.func_native(_CORRECT_BODY)
def _correct_body(
    tile: int,
    offsets: wp.array(dtype=wp.int32),
    units: wp.array(dtype=wp.int32),
    values: wp.array(dtype=wp.vec3),
    scales: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3, ndim=2),
    hidden: wp.array(dtype=wp.float32, ndim=3),
    points_out: wp.array(dtype=wp.vec3, ndim=2),
): ...


@wp.kernel
def correct_tiles_kernel(
    # rig
    offsets: wp.array(dtype=wp.int32),
    units: wp.array(dtype=wp.int32),
    values: wp.array(dtype=wp.vec3),
    scales: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3, ndim=2),
    # pose in
    hidden: wp.array(dtype=wp.float32, ndim=3),
    # out
    points_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """All vertices of one tile of 1 or 16 lanes (CPU)."""
    tile = wp.tid()
    _correct_body(tile, offsets, units, values, scales, points, hidden, points_out)


@wp.kernel
def correct_vertices_kernel(
    # rig
    offsets: wp.array(dtype=wp.int32),
    units: wp.array(dtype=wp.int32),
    values: wp.array(dtype=wp.vec3),
    scales: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3, ndim=2),
    # pose in
    hidden: wp.array(dtype=wp.float32, ndim=3),
    # out
    points_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """One vertex of one body (GPU): the lanes of a warp share a vertex."""
    tile, vertex, lane = wp.tid()
    body = tile * hidden.shape[2] + lane
    if body >= points_out.shape[0]:
        return
    offset = wp.vec3()
    for entry in range(offsets[vertex], offsets[vertex + 1]):
        offset += hidden[tile, units[entry], lane] * values[entry]
    points_out[body, vertex] = points[body % points.shape[0], vertex] + scales[body % scales.shape[0]] * offset


@wp.kernel
def units_adjoint_kernel(
    # rig
    offsets: wp.array(dtype=wp.int32),
    vertices: wp.array(dtype=wp.int32),
    values: wp.array(dtype=wp.vec3),
    # forward in
    gradients: wp.array(dtype=wp.vec3, ndim=2),
    # out
    units_out: wp.array(dtype=wp.float32, ndim=2),
):
    """Gradient of one hidden unit of one body."""
    body, unit = wp.tid()
    total = float(0.0)
    for entry in range(offsets[unit], offsets[unit + 1]):
        total += wp.dot(values[entry], gradients[body, vertices[entry]])
    units_out[body, unit] = total


def launch_correct(
    table: OffsetTable,
    *,
    scales: wp.array,
    points: wp.array,
    hidden: wp.array,
    points_out: wp.array,
    record: bool = False,
) -> wp.Launch | None:
    """Rest points plus offsets of B bodies.

    Args:
        table: The second layer.
        scales: [1 or B] float32, factor on the offsets.
        points: [1 or B, V] vec3, m, rest points; contiguous.
        hidden: [T, K, L] float32; contiguous.
        points_out: [B, V] vec3, m; contiguous.
        record: Do not run; return a recorded launch.

    Returns:
        The recorded launch, or ``None``.

    Raises:
        InputRejected: A shape or a device does not fit, or an array is not contiguous.
    """
    batch, count = points_out.shape
    tiles, _, lanes = hidden.shape
    device = points_out.device
    check_array("offsets", table.offsets, (count + 1,), device)
    check_array("units", table.units, table.values.shape, device)
    check_array("points", points, (None, count), device)
    check_array("hidden", hidden, (-(-batch // lanes), None, lanes), device)
    for name, array in (("points", points), ("scales", scales)):
        check_rows(name, array, batch)
    for name, array in (("points", points), ("hidden", hidden), ("points_out", points_out)):
        check_contiguous(name, array)
    tiled = device.is_cpu and lanes in (1, CPU_LANES)
    return wp.launch(
        correct_tiles_kernel if tiled else correct_vertices_kernel,
        dim=tiles if tiled else (tiles, count, lanes),
        inputs=[*table, scales, points, hidden],
        outputs=[points_out],
        device=device,
        record_cmd=record,
    )


def launch_units_adjoint(table: UnitTable, *, gradients: wp.array, units_out: wp.array) -> None:
    """Gradients of the hidden units of B bodies.

    Args:
        table: The second layer by unit.
        gradients: [B, V] vec3, gradients of the offsets.
        units_out: [B, K] float32.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = units_out.shape
    check_array("offsets", table.offsets, (count + 1,), units_out.device)
    check_array("vertices", table.vertices, table.values.shape, units_out.device)
    check_array("gradients", gradients, (batch, None), units_out.device)
    wp.launch(
        units_adjoint_kernel,
        dim=(batch, count),
        inputs=[*table, gradients],
        outputs=[units_out],
        device=units_out.device,
    )
