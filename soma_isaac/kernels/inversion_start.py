"""Pose inversion's first guess and last word: rotations from affine turns, local turns, T-pose-relative ones."""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.align import aligned_rotation

wp.set_module_options({"enable_backward": False})

_KABSCH = wp.constant(1)


@wp.kernel
def turns_kernel(
    joints: wp.array(dtype=wp.int32),
    information: wp.array(dtype=wp.mat33d, ndim=2),
    affine: wp.array(dtype=wp.float64, ndim=3),
    # out
    turns_out: wp.array(dtype=wp.mat33d, ndim=2),
    shifts_out: wp.array(dtype=wp.vec3d),
):
    """The rotation closest to one joint's affine turn [B, 3, 3 S + 1], weighted by what is known of it."""
    frame, solved = wp.tid()
    turn = wp.mat33d()
    for row in range(3):
        for column in range(3):
            turn[row, column] = affine[frame, row, 3 * solved + column]
    known = information[frame % information.shape[0], solved]
    turns_out[frame, joints[solved]] = aligned_rotation(turn * known, _KABSCH)
    if solved == 0:
        last = affine.shape[2] - 1
        shifts_out[frame] = wp.vec3d(affine[frame, 0, last], affine[frame, 1, last], affine[frame, 2, last])


@wp.kernel
def locals_kernel(
    parents: wp.array(dtype=wp.int32),
    solved: wp.array(dtype=wp.int32),
    zero_turns: wp.array(dtype=wp.mat33d, ndim=2),
    turns: wp.array(dtype=wp.mat33d, ndim=2),
    # out
    locals_out: wp.array(dtype=wp.mat33d, ndim=2),
):
    """Local turn of one joint; joints that were not solved for get their zero pose."""
    frame, entry = wp.tid()
    joint = entry + 1
    body = frame % zero_turns.shape[0]
    parent = parents[joint]
    if solved[joint] == 0:
        turn = zero_turns[body, joint]
        if joint > 1:
            turn = wp.transpose(zero_turns[body, parent]) * turn
        locals_out[frame, joint] = turn
    elif joint == 1:
        locals_out[frame, joint] = turns[frame, joint]
    else:
        locals_out[frame, joint] = wp.transpose(turns[frame, parent]) * turns[frame, joint]


@wp.kernel
def rotations_kernel(
    parents: wp.array(dtype=wp.int32),
    zero_turns: wp.array(dtype=wp.mat33d, ndim=2),
    locals: wp.array(dtype=wp.mat33d, ndim=2),
    # out
    rotations_out: wp.array(dtype=wp.mat33d, ndim=2),
):
    """T-pose-relative rotation [B, P - 1] of one joint from its local turn."""
    frame, entry = wp.tid()
    joint = entry + 1
    body = frame % zero_turns.shape[0]
    rotation = locals[frame, joint] * wp.transpose(zero_turns[body, joint])
    if joint > 1:
        rotation = zero_turns[body, parents[joint]] * rotation
    rotations_out[frame, entry] = rotation


@wp.kernel
def affine_kernel(
    moments: wp.array(dtype=wp.float64, ndim=3),
    matrices: wp.array(dtype=wp.float64, ndim=3),
    # out
    affine_out: wp.array(dtype=wp.float64, ndim=3),
):
    """One number of the affine solution: moments [B, 3, 4 N] times the body's matrix [1 or B, 4 N, 3 S + 1]."""
    column, row, frame = wp.tid()
    body = frame % matrices.shape[0]
    total = wp.float64(0.0)
    for entry in range(moments.shape[2]):
        total += moments[frame, row, entry] * matrices[body, entry, column]
    affine_out[frame, row, column] = total


@wp.kernel
def origins_kernel(
    samples: wp.array(dtype=wp.int32),
    targets: wp.array(dtype=wp.vec3, ndim=2),
    # out
    origins_out: wp.array(dtype=wp.vec3),
):
    """A point near the body of one frame: the mean of some vertices."""
    frame = wp.tid()
    total = wp.vec3()
    for entry in range(samples.shape[0]):
        total += targets[frame, samples[entry]]
    origins_out[frame] = total / float(samples.shape[0])


@wp.kernel
def distances_kernel(
    points: wp.array(dtype=wp.vec3, ndim=2),
    targets: wp.array(dtype=wp.vec3, ndim=2),
    run: int,
    # out
    distances_out: wp.array(dtype=wp.float32, ndim=2),
):
    """Distances of a run of vertices of one frame."""
    frame, part = wp.tid()
    for vertex in range(part * run, wp.min((part + 1) * run, points.shape[1])):
        distances_out[frame, vertex] = wp.length(points[frame, vertex] - targets[frame, vertex])


@wp.kernel
def finite_kernel(
    points: wp.array(dtype=wp.vec3, ndim=2),
    run: int,
    # out
    finite_out: wp.array(dtype=wp.int32, ndim=2),
):
    """Whether a run of vertices of one frame is finite."""
    frame, part = wp.tid()
    # A sum is finite only if all its terms are, and no branch is taken per vertex.
    total = wp.vec3()
    for vertex in range(part * run, wp.min((part + 1) * run, points.shape[1])):
        total += points[frame, vertex]
    finite_out[frame, part] = int(wp.isfinite(total))
