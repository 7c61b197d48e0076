"""The only passes over vertices that pose inversion needs: sums of a body, and moments of its targets.

A vertex moves to ``sum_k w_vk D_k xi_vk`` with ``xi_vk = (x_v - b_k, 1)``, ``b_k`` the bind position of joint k and
``D_k = [R_k | p_k]`` (3x4), its rotation since the bind pose and its position. The squared distance to targets y is

    E = sum_kl tr(D_k G_kl D_l^T) - 2 sum_k tr(D_k M_k^T) + sum_v u_v |y_v|^2,
    G_kl = sum_v u_v w_vk w_vl xi_vk xi_vl^T,   M_k = sum_v u_v w_vk y_v xi_vk^T

with vertex weights u, exactly. Nothing else of the mesh is needed to solve for a pose.
"""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.shapes import check_array, check_rows

wp.set_module_options({"enable_backward": False})

_RUN = wp.constant(64)
"""Vertices that are summed in float32 before they go into a float64 sum."""


class NodeEntries(NamedTuple):
    """Device arrays: the vertices of N joints that move any, as compressed rows.

    Attributes:
        offsets: [N + 1] int32.
        vertices: [E] int32.
        weights: [E] float32, skin weights.
    """

    offsets: wp.array
    vertices: wp.array
    weights: wp.array


class PairEntries(NamedTuple):
    """Device arrays: the vertices of pairs of joints that share any, as compressed rows.

    Attributes:
        offsets: [Q + 1] int32.
        vertices: [F] int32.
        weights: [F] float32, products of two skin weights.
        first: [Q] int32, node.
        second: [Q] int32, node.
    """

    offsets: wp.array
    vertices: wp.array
    weights: wp.array
    first: wp.array
    second: wp.array


@wp.kernel
def levers_kernel(
    offsets: wp.array(dtype=wp.int32),
    vertices: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    points: wp.array(dtype=wp.vec3, ndim=2),
    centres: wp.array(dtype=wp.vec3, ndim=2),
    vertex_weights: wp.array(dtype=wp.float32, ndim=2),
    # out
    levers_out: wp.array(dtype=wp.vec4, ndim=2),
):
    """Weighted levers ``u_v w_vk xi_vk`` of one joint's vertices with one weighting."""
    row, node = wp.tid()
    body = row % points.shape[0]
    weighting = row % vertex_weights.shape[0]
    centre = centres[row % centres.shape[0], node]
    for entry in range(offsets[node], offsets[node + 1]):
        vertex = vertices[entry]
        weight = weights[entry] * vertex_weights[weighting, vertex]
        lever = (points[body, vertex] - centre) * weight
        levers_out[row, entry] = wp.vec4(lever[0], lever[1], lever[2], weight)


@wp.kernel
def moments_kernel(
    offsets: wp.array(dtype=wp.int32),
    vertices: wp.array(dtype=wp.int32),
    levers: wp.array(dtype=wp.vec4, ndim=2),
    targets: wp.array(dtype=wp.vec3, ndim=2),
    origins: wp.array(dtype=wp.vec3),
    # out
    moments_out: wp.array(dtype=wp.float64, ndim=3),
):
    """Moments ``M_k`` of one joint in one frame; targets are taken from the frame's origin."""
    frame, node = wp.tid()
    row = frame % levers.shape[0]
    origin = origins[frame]
    x = wp.vec4d()
    y = wp.vec4d()
    z = wp.vec4d()
    begin = offsets[node]
    end = offsets[node + 1]
    while begin < end:
        stop = wp.min(begin + _RUN, end)
        x_part = wp.vec4()
        y_part = wp.vec4()
        z_part = wp.vec4()
        for entry in range(begin, stop):
            target = targets[frame, vertices[entry]] - origin
            lever = levers[row, entry]
            x_part += lever * target[0]
            y_part += lever * target[1]
            z_part += lever * target[2]
        x += wp.vec4d(x_part)
        y += wp.vec4d(y_part)
        z += wp.vec4d(z_part)
        begin = stop
    for column in range(4):
        moments_out[frame, 0, 4 * node + column] = x[column]
        moments_out[frame, 1, 4 * node + column] = y[column]
        moments_out[frame, 2, 4 * node + column] = z[column]


@wp.kernel
def pair_sums_kernel(
    offsets: wp.array(dtype=wp.int32),
    vertices: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    first: wp.array(dtype=wp.int32),
    second: wp.array(dtype=wp.int32),
    points: wp.array(dtype=wp.vec3, ndim=2),
    centres: wp.array(dtype=wp.vec3, ndim=2),
    vertex_weights: wp.array(dtype=wp.float32, ndim=2),
    # out
    sums_out: wp.array(dtype=wp.mat44d, ndim=2),
):
    """Sums ``G_kl`` of one pair of joints with one weighting."""
    row, pair = wp.tid()
    body = row % points.shape[0]
    weighting = row % vertex_weights.shape[0]
    centre = wp.vec3d(centres[body, first[pair]])
    other = wp.vec3d(centres[body, second[pair]])
    sums = wp.mat44d()
    for entry in range(offsets[pair], offsets[pair + 1]):
        vertex = vertices[entry]
        weight = wp.float64(weights[entry] * vertex_weights[weighting, vertex])
        if weight > wp.float64(0.0):
            point = wp.vec3d(points[body, vertex])
            a = point - centre
            b = point - other
            left = wp.vec4d(a[0], a[1], a[2], wp.float64(1.0)) * weight
            sums += wp.outer(left, wp.vec4d(b[0], b[1], b[2], wp.float64(1.0)))
    sums_out[row, pair] = sums


def _check_bodies(
    points: wp.array, centres: wp.array, vertex_weights: wp.array, rows: int, nodes: int | None, device: wp.Device
) -> None:
    """What describes bodies has one row or as many as are asked for, and fits together."""
    for name, array, size in (
        ("points", points, points.shape[1]),
        ("centres", centres, nodes),
        ("vertex_weights", vertex_weights, points.shape[1]),
    ):
        check_array(name, array, (None, size), device)
        check_rows(name, array, rows)


def launch_levers(
    entries: NodeEntries, *, points: wp.array, centres: wp.array, vertex_weights: wp.array, levers_out: wp.array
) -> None:
    """Weighted levers of R bodies, or of one body with R weightings.

    Args:
        entries: The vertices of N joints.
        points: [1 or R, V] vec3, m, rest shapes.
        centres: [1 or R, N] vec3, m, bind positions of the joints.
        vertex_weights: [1 or R, V] float32.
        levers_out: [R, E] vec4.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    rows, count = levers_out.shape
    nodes = len(entries.offsets) - 1
    device = levers_out.device
    _check_bodies(points, centres, vertex_weights, rows, nodes, device)
    check_array("vertices", entries.vertices, (count,), device)
    wp.launch(
        levers_kernel,
        dim=(rows, nodes),
        inputs=[*entries, points, centres, vertex_weights],
        outputs=[levers_out],
        device=device,
    )


def launch_moments(
    entries: NodeEntries, *, levers: wp.array, targets: wp.array, origins: wp.array, moments_out: wp.array
) -> None:
    """Moments of B frames.

    Args:
        entries: The vertices of N joints.
        levers: [1 or B, E] vec4, see :func:`launch_levers`.
        targets: [B, V] vec3, m, finite.
        origins: [B] vec3, m, a point near each frame's body.
        moments_out: [B, 3, 4 N] float64.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, _, width = moments_out.shape
    device = moments_out.device
    for name, array, shape in (
        ("levers", levers, (None, len(entries.vertices))),
        ("targets", targets, (batch, None)),
        ("origins", origins, (batch,)),
        ("offsets", entries.offsets, (width // 4 + 1,)),
    ):
        check_array(name, array, shape, device)
    check_rows("levers", levers, batch)
    wp.launch(
        moments_kernel,
        dim=(batch, width // 4),
        inputs=[entries.offsets, entries.vertices, levers, targets, origins],
        outputs=[moments_out],
        device=device,
    )


def launch_pair_sums(
    entries: PairEntries, *, points: wp.array, centres: wp.array, vertex_weights: wp.array, sums_out: wp.array
) -> None:
    """Sums of R bodies, or of one body with R weightings.

    Args:
        entries: The vertices of Q pairs of joints.
        points: [1 or R, V] vec3, m, rest shapes.
        centres: [1 or R, N] vec3, m, bind positions of the joints.
        vertex_weights: [1 or R, V] float32.
        sums_out: [R, Q] mat44d.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    rows, pairs = sums_out.shape
    device = sums_out.device
    _check_bodies(points, centres, vertex_weights, rows, None, device)
    check_array("offsets", entries.offsets, (pairs + 1,), device)
    wp.launch(
        pair_sums_kernel,
        dim=(rows, pairs),
        inputs=[*entries, points, centres, vertex_weights],
        outputs=[sums_out],
        device=device,
    )
