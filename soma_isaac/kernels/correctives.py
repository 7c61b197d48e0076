"""Pose correctives: a small network from joint rotations to offsets of the rest shape, evaluated sparse.

``x`` holds six numbers per joint, the first two columns of ``bind_j^T R_j - I``; ``z = f(x W1)`` are hidden units
with ``f = relu`` or ``tanh(relu)``; the offset of a vertex is a weighted sum of a few dozen units. Bodies lie side by
side in tiles of L lanes ``[tile, row, lane]``: one weight then serves L bodies, with vector instructions on a CPU and
coalesced reads on a GPU. Lanes without a body hold zeros.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.rigid import rotation_part
from soma_isaac.kernels.shapes import check_array, check_contiguous

wp.set_module_options({"enable_backward": False})

CPU_LANES = 16
GPU_LANES = 32

_HIDDEN_BODY = """
#ifndef __CUDA_ARCH__
    typedef float lanes16 __attribute__((vector_size(64), aligned(4)));
    const int lanes = features.shape[2];
    const float* x = features.data + size_t(tile) * features.shape[1] * lanes;
    float* z = hidden_out.data + size_t(tile) * hidden_out.shape[1] * lanes;
    for (int unit = 0; unit < hidden_out.shape[1]; ++unit) {
        if (lanes == 1) {
            float sum = 0.0f;
            for (int i = offsets.data[unit]; i < offsets.data[unit + 1]; ++i)
                sum += weights.data[i] * x[inputs.data[i]];
            sum = sum > 0.0f ? sum : 0.0f;
            z[unit] = squash ? wp::tanh(sum) : sum;
            continue;
        }
        lanes16 sums = {};
        for (int i = offsets.data[unit]; i < offsets.data[unit + 1]; ++i)
            sums += weights.data[i] * *(const lanes16*)(x + 16 * inputs.data[i]);
        for (int lane = 0; lane < 16; ++lane) {
            const float sum = sums[lane] > 0.0f ? sums[lane] : 0.0f;
            z[16 * unit + lane] = squash ? wp::tanh(sum) : sum;
        }
    }
#endif
"""


class HiddenTable(NamedTuple):
    """Device arrays of the first layer.

    Attributes:
        parents: [P] int32, public parent of each joint; -1 for the root.
        bind_rotations: [P] mat33, the local rotations at which the inputs are zero.
        offsets: [K + 1] int32; hidden unit k owns the entries ``offsets[k]`` to ``offsets[k + 1]``.
        inputs: [E] int32, input row.
        weights: [E] float32.
        squash: Apply tanh after relu.
    """

    parents: wp.array
    bind_rotations: wp.array
    offsets: wp.array
    inputs: wp.array
    weights: wp.array
    squash: bool


def lane_count(batch: int, device: wp.Device) -> int:
    """Bodies per tile L: 1 for a single body."""
    if batch == 1:
        return 1
    return CPU_LANES if device.is_cpu else GPU_LANES


@wp.kernel
def inputs_kernel(
    # rig
    parents: wp.array(dtype=wp.int32),
    bind_rotations: wp.array(dtype=wp.mat33),
    # pose in
    transforms: wp.array(dtype=wp.mat44, ndim=2),
    # out
    features_out: wp.array(dtype=wp.float32, ndim=3),
):
    """The six inputs of one joint of one body."""
    body, joint = wp.tid()
    rotation = wp.identity(n=3, dtype=wp.float32)
    if parents[joint] >= 0:
        above = rotation_part(transforms[body, parents[joint]])
        rotation = wp.transpose(above) * rotation_part(transforms[body, joint])
    turned = wp.transpose(bind_rotations[joint]) * rotation - wp.identity(n=3, dtype=wp.float32)
    lanes = features_out.shape[2]
    for row in range(3):
        for column in range(2):
            features_out[body // lanes, 6 * joint + 2 * row + column, body % lanes] = turned[row, column]


@wp.func_native(_HIDDEN_BODY)
def _hidden_body(
    tile: int,
    offsets: wp.array(dtype=wp.int32),
    inputs: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    squash: bool,
    features: wp.array(dtype=wp.float32, ndim=3),
    hidden_out: wp.array(dtype=wp.float32, ndim=3),
): ...


@wp.kernel
def hidden_tiles_kernel(
    # rig
    offsets: wp.array(dtype=wp.int32),
    inputs: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    squash: bool,
    # pose in
    features: wp.array(dtype=wp.float32, ndim=3),
    # out
    hidden_out: wp.array(dtype=wp.float32, ndim=3),
):
    """All hidden units of one tile of 1 or 16 lanes (CPU)."""
    tile = wp.tid()
    _hidden_body(tile, offsets, inputs, weights, squash, features, hidden_out)


@wp.kernel
def hidden_units_kernel(
    # rig
    offsets: wp.array(dtype=wp.int32),
    inputs: wp.array(dtype=wp.int32),
    weights: wp.array(dtype=wp.float32),
    squash: bool,
    # pose in
    features: wp.array(dtype=wp.float32, ndim=3),
    # out
    hidden_out: wp.array(dtype=wp.float32, ndim=3),
):
    """One hidden unit of one body (GPU)."""
    tile, unit, lane = wp.tid()
    total = float(0.0)
    for entry in range(offsets[unit], offsets[unit + 1]):
        total += weights[entry] * features[tile, inputs[entry], lane]
    total = wp.max(total, 0.0)
    if squash:
        total = wp.tanh(total)
    hidden_out[tile, unit, lane] = total


def launch_inputs(
    table: HiddenTable, *, transforms: wp.array, features_out: wp.array, record: bool = False
) -> wp.Launch | None:
    """Network inputs of B bodies.

    Args:
        table: The first layer.
        transforms: [B, P] mat44, world transforms of the public joints.
        features_out: [T, 6 P, L] float32; lanes without a body are not written.
        record: Do not run; return a recorded launch.

    Returns:
        The recorded launch, or ``None``.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = transforms.shape
    device = transforms.device
    check_array("parents", table.parents, (count,), device)
    check_array("bind_rotations", table.bind_rotations, (count,), device)
    check_array("features_out", features_out, (-(-batch // features_out.shape[2]), 6 * count, None), device)
    return wp.launch(
        inputs_kernel,
        dim=(batch, count),
        inputs=[table.parents, table.bind_rotations, transforms],
        outputs=[features_out],
        device=device,
        record_cmd=record,
    )


def launch_hidden(
    table: HiddenTable, *, features: wp.array, hidden_out: wp.array, record: bool = False
) -> wp.Launch | None:
    """Hidden units of T tiles.

    Args:
        table: The first layer.
        features: [T, 6 P, L] float32; contiguous.
        hidden_out: [T, K, L] float32; contiguous. On a CPU L is 1 or 16.
        record: Do not run; return a recorded launch.

    Returns:
        The recorded launch, or ``None``.

    Raises:
        InputRejected: A shape or a device does not fit, or an array is not contiguous.
    """
    tiles, units, lanes = hidden_out.shape
    device = hidden_out.device
    check_array("offsets", table.offsets, (units + 1,), device)
    check_array("inputs", table.inputs, table.weights.shape, device)
    check_array("features", features, (tiles, None, lanes), device)
    for name, array in (("features", features), ("hidden_out", hidden_out)):
        check_contiguous(name, array)
    tiled = device.is_cpu and lanes in (1, CPU_LANES)
    return wp.launch(
        hidden_tiles_kernel if tiled else hidden_units_kernel,
        dim=tiles if tiled else (tiles, units, lanes),
        inputs=[table.offsets, table.inputs, table.weights, table.squash, features],
        outputs=[hidden_out],
        device=device,
        record_cmd=record,
    )
