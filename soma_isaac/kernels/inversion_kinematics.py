"""Kinematics for pose inversion, in float64: turns and positions of all skinned joints, and how twist depends on turns.

A joint's turn is its rotation since the bind pose, ``W B^-1``. A public joint's turn is its parent's times its local
turn; it sits where its parent carries it. A helper turns further about an axis that its parent carries.
"""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})

_EULER = wp.constant(0)


@wp.struct
class RigTables:
    """Index lists of a rig; K skinned joints of which P are public, C channels, H helpers."""

    parents: wp.array(dtype=wp.int32)
    helper_parents: wp.array(dtype=wp.int32)
    channel_joints: wp.array(dtype=wp.int32)
    channel_references: wp.array(dtype=wp.int32)
    channel_methods: wp.array(dtype=wp.int32)
    channel_axes: wp.array(dtype=wp.int32)
    channel_signs: wp.array(dtype=wp.float64)
    entry_offsets: wp.array(dtype=wp.int32)
    entry_channels: wp.array(dtype=wp.int32)
    entry_factors: wp.array(dtype=wp.float64)


@wp.struct
class BodyTables:
    """Constants [I, .] of I bodies.

    ``left`` and ``right`` are the channels' constants in turns: ``left turn_r^T turn_j right``; ``axes`` are the
    helpers' axes in the bind pose, with their sign.
    """

    offsets: wp.array(dtype=wp.vec3d, ndim=2)
    zero_turns: wp.array(dtype=wp.mat33d, ndim=2)
    left: wp.array(dtype=wp.mat33d, ndim=2)
    right: wp.array(dtype=wp.mat33d, ndim=2)
    axes: wp.array(dtype=wp.vec3d, ndim=2)


@wp.struct
class PoseState:
    """Scratch memory [W, .] of W workers: local turns, and what follows from them."""

    locals: wp.array(dtype=wp.mat33d, ndim=2)
    shifts: wp.array(dtype=wp.vec3d)
    turns: wp.array(dtype=wp.mat33d, ndim=2)
    positions: wp.array(dtype=wp.vec3d, ndim=2)
    columns: wp.array(dtype=wp.mat44d, ndim=2)
    angles: wp.array(dtype=wp.float64, ndim=2)
    vectors: wp.array(dtype=wp.vec3d, ndim=2)


@wp.func
def rotation_about(vector: wp.vec3d) -> wp.mat33d:
    """Rodrigues' formula."""
    square = wp.dot(vector, vector)
    first = wp.float64(1.0) - square / wp.float64(6.0)
    second = wp.float64(0.5) - square / wp.float64(24.0)
    if square > wp.float64(1.0e-8):
        angle = wp.sqrt(square)
        first = wp.sin(angle) / angle
        second = (wp.float64(1.0) - wp.cos(angle)) / square
    skew = wp.skew(vector)
    return wp.identity(n=3, dtype=wp.float64) + skew * first + (skew * skew) * second


@wp.func
def rotation_vector(rotation: wp.mat33d) -> wp.vec3d:
    """The logarithm, stable near a half turn."""
    q = wp.quat_from_matrix(rotation)
    if q[3] < wp.float64(0.0):
        q = -q
    imaginary = wp.vec3d(q[0], q[1], q[2])
    size = wp.length(imaginary)
    if size < wp.float64(1.0e-12):
        return imaginary * wp.float64(2.0)
    return imaginary * (wp.float64(2.0) * wp.atan2(size, q[3]) / size)


@wp.func
def left_jacobian_inverse(vector: wp.vec3d) -> wp.mat33d:
    """Derivative of the logarithm by a small rotation from the left: ``log(exp(u) exp(r)) = r + J u``."""
    square = wp.dot(vector, vector)
    factor = wp.float64(1.0 / 12.0) + square / wp.float64(720.0)
    if square > wp.float64(1.0e-4):
        half = wp.float64(0.5) * wp.sqrt(square)
        factor = (wp.float64(1.0) - half * wp.cos(half) / wp.sin(half)) / square
    skew = wp.skew(vector)
    return wp.identity(n=3, dtype=wp.float64) - skew * wp.float64(0.5) + (skew * skew) * factor


@wp.func
def rigid_column(turn: wp.mat33d, position: wp.vec3d) -> wp.mat44d:
    """``D`` as a 4x4 matrix."""
    one = wp.float64(1.0)
    nil = wp.float64(0.0)
    return wp.mat44d(
        turn[0, 0], turn[0, 1], turn[0, 2], position[0],
        turn[1, 0], turn[1, 1], turn[1, 2], position[1],
        turn[2, 0], turn[2, 1], turn[2, 2], position[2],
        nil, nil, nil, one,
    )  # fmt: skip


@wp.func
def channel_angle(rotation: wp.mat33d, method: int, axis: int) -> wp.float64:
    """The sidecar's angle of a rotation [rad]; see :mod:`soma_isaac.kernels.twist`."""
    if method == _EULER:
        if axis == 1:
            return wp.asin(wp.clamp(-rotation[2, 0], wp.float64(-1.0), wp.float64(1.0)))
        if axis == 2:
            return wp.atan2(rotation[1, 0], rotation[0, 0])
        return wp.atan2(rotation[2, 1], rotation[1, 1])
    q = wp.quat_from_matrix(rotation)
    angle = wp.float64(4.0) * wp.atan2(q[axis], wp.float64(1.0) + wp.abs(q[3]))
    if q[3] < wp.float64(0.0):
        angle = -angle
    return angle


@wp.func
def channel_gradient(rotation: wp.mat33d, method: int, axis: int) -> wp.vec3d:
    """Derivative of :func:`channel_angle` by a small rotation from the left: ``angle(exp(u) R) = angle + g u``."""
    if method == _EULER:
        # exp(u) adds u x column to every column; an entry's derivative is a row of minus the column's cross matrix.
        if axis == 1:
            cosine = wp.sqrt(wp.max(wp.float64(1.0) - rotation[2, 0] * rotation[2, 0], wp.float64(1.0e-12)))
            return wp.vec3d(-rotation[1, 0], rotation[0, 0], wp.float64(0.0)) / cosine
        if axis == 2:
            x = rotation[0, 0]
            y = rotation[1, 0]
            z = rotation[2, 0]
            square = wp.max(x * x + y * y, wp.float64(1.0e-12))
            return wp.vec3d(-x * z, -y * z, x * x + y * y) / square
        x = rotation[0, 1]
        y = rotation[1, 1]
        z = rotation[2, 1]
        square = wp.max(y * y + z * z, wp.float64(1.0e-12))
        return wp.vec3d(y * y + z * z, -x * y, -x * z) / square
    q = wp.quat_from_matrix(rotation)
    if q[3] < wp.float64(0.0):
        q = -q
    imaginary = wp.vec3d(q[0], q[1], q[2])
    unit = wp.vec3d()
    unit[axis] = wp.float64(1.0)
    # dq_axis = (w u + u x v)_axis / 2 and dw = -u v / 2
    change = unit * q[3] + wp.cross(imaginary, unit)
    real = wp.float64(1.0) + q[3]
    return (change * real + imaginary * q[axis]) * (wp.float64(2.0) / (real * real + q[axis] * q[axis]))


@wp.func
def kinematics(rig: RigTables, body: BodyTables, pose: PoseState, which: int, worker: int):
    """Turns, positions, columns, channel angles and their gradients by the turn of their joint, in world axes."""
    public = rig.parents.shape[0]
    for joint in range(1, public):
        turn = pose.locals[worker, joint]
        position = pose.shifts[worker]
        if joint > 1:
            parent = rig.parents[joint]
            above = pose.turns[worker, parent]
            turn = above * turn
            position = pose.positions[worker, parent] + above * body.offsets[which, joint]
        pose.turns[worker, joint] = turn
        pose.positions[worker, joint] = position
        pose.columns[worker, joint] = rigid_column(turn, position)
    for channel in range(rig.channel_joints.shape[0]):
        back = body.left[which, channel] * wp.transpose(pose.turns[worker, rig.channel_references[channel]])
        rotation = back * pose.turns[worker, rig.channel_joints[channel]] * body.right[which, channel]
        method = rig.channel_methods[channel]
        axis = rig.channel_axes[channel]
        sign = rig.channel_signs[channel]
        pose.angles[worker, channel] = sign * channel_angle(rotation, method, axis)
        gradient = wp.transpose(back) * channel_gradient(rotation, method, axis)
        pose.vectors[worker, channel] = gradient * sign
    for helper in range(rig.helper_parents.shape[0]):
        parent = rig.helper_parents[helper]
        angle = wp.float64(0.0)
        for entry in range(rig.entry_offsets[helper], rig.entry_offsets[helper + 1]):
            angle += rig.entry_factors[entry] * pose.angles[worker, rig.entry_channels[entry]]
        above = pose.turns[worker, parent]
        turn = above * rotation_about(body.axes[which, helper] * angle)
        position = pose.positions[worker, parent] + above * body.offsets[which, public + helper]
        pose.turns[worker, public + helper] = turn
        pose.positions[worker, public + helper] = position
        pose.columns[worker, public + helper] = rigid_column(turn, position)
