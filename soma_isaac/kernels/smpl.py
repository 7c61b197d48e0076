"""Forward kinematics and pose blend shapes of the SMPL family; the blend itself is :mod:`soma_isaac.kernels.lbs`.

A family's bind pose has no rotations: ``inv(bind_j)`` is the translation by ``-rest_j``, so that the skin matrix of a
joint with world rotation ``G_j`` at ``p_j`` is ``[G_j, p_j - G_j rest_j]``. Pose features are the elements of
``R_j - I`` of all joints but the root, row by row.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp

from soma_isaac.kernels.fk import rotation_matrix
from soma_isaac.kernels.rigid import rigid_transform
from soma_isaac.kernels.shapes import check_array, check_contiguous, check_rows

wp.set_module_options({"enable_backward": False})

BODIES_PER_THREAD = 8


@wp.kernel
def smpl_fk_kernel(
    # model
    parents: wp.array(dtype=wp.int32),
    rest_joints: wp.array(dtype=wp.vec3, ndim=2),
    # pose in
    rotations: wp.array(dtype=Any, ndim=2),
    translations: wp.array(dtype=wp.vec3),
    # out
    turns_out: wp.array(dtype=wp.mat33, ndim=2),
    joints_out: wp.array(dtype=wp.vec3, ndim=2),
    columns_out: wp.array(dtype=wp.mat44, ndim=2),
    features_out: wp.array(dtype=wp.float32, ndim=2),
):
    """World rotations, joints, transposed skin matrices and pose features of one body."""
    body = wp.tid()
    person = body % rest_joints.shape[0]
    pose = body % rotations.shape[0]
    for joint in range(parents.shape[0]):
        rotation = rotation_matrix(rotations[pose, joint])
        rest = rest_joints[person, joint]
        turn = rotation
        position = rest + translations[body % translations.shape[0]]
        if joint > 0:
            parent = parents[joint]
            turn_parent = turns_out[body, parent]
            turn = turn_parent * rotation
            position = joints_out[body, parent] + turn_parent * (rest - rest_joints[person, parent])
            at = 9 * (joint - 1)
            for row in range(3):
                for column in range(3):
                    value = rotation[row, column]
                    if row == column:
                        value -= 1.0
                    features_out[body, at + 3 * row + column] = value
        turns_out[body, joint] = turn
        joints_out[body, joint] = position
        columns_out[body, joint] = wp.transpose(rigid_transform(turn, position - turn * rest))


for _rotation_type in (wp.vec3, wp.mat33):
    wp.overload(smpl_fk_kernel, {"rotations": wp.array(dtype=_rotation_type, ndim=2)})


@wp.kernel
def pose_blend_kernel(
    # model
    directions: wp.array(dtype=wp.vec3, ndim=2),
    # pose in
    features: wp.array(dtype=wp.float32, ndim=2),
    points: wp.array(dtype=wp.vec3, ndim=2),
    # out
    points_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """One vertex of eight bodies, so that each direction is read once for all of them (GPU)."""
    tile, vertex = wp.tid()
    begin = tile * 8
    count = wp.min(8, points_out.shape[0] - begin)
    sums = wp.matrix(shape=(8, 3), dtype=wp.float32)
    for feature in range(directions.shape[0]):
        direction = directions[feature, vertex]
        for lane in range(8):
            if lane < count:
                value = features[begin + lane, feature]
                sums[lane, 0] += value * direction[0]
                sums[lane, 1] += value * direction[1]
                sums[lane, 2] += value * direction[2]
    for lane in range(8):
        if lane < count:
            moved = points[(begin + lane) % points.shape[0], vertex]
            points_out[begin + lane, vertex] = moved + wp.vec3(sums[lane, 0], sums[lane, 1], sums[lane, 2])


def launch_smpl_fk(
    *,
    parents: wp.array,
    rest_joints: wp.array,
    rotations: wp.array,
    translations: wp.array,
    turns_out: wp.array,
    joints_out: wp.array,
    columns_out: wp.array,
    features_out: wp.array,
) -> None:
    """Pose the J joints of B bodies.

    Args:
        parents: [J] int32; -1 for joint 0, every other joint has a parent before it.
        rest_joints: [1 or B, J] vec3, m, joints of the shaped template.
        rotations: [1 or B, J] vec3 (rotation vectors, rad) or mat33, local.
        translations: [1 or B] vec3, m, added to everything.
        turns_out: [B, J] mat33, world rotations.
        joints_out: [B, J] vec3, m.
        columns_out: [B, J] mat44, transposed skin matrices.
        features_out: [B, 9 (J - 1)] float32.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = joints_out.shape
    device = joints_out.device
    for name, array, shape in (
        ("parents", parents, (count,)),
        ("rest_joints", rest_joints, (None, count)),
        ("rotations", rotations, (None, count)),
        ("translations", translations, (None,)),
        ("turns_out", turns_out, (batch, count)),
        ("columns_out", columns_out, (batch, count)),
        ("features_out", features_out, (batch, 9 * (count - 1))),
    ):
        check_array(name, array, shape, device)
    for name, array in (("rest_joints", rest_joints), ("rotations", rotations), ("translations", translations)):
        check_rows(name, array, batch)
    wp.launch(
        smpl_fk_kernel,
        dim=batch,
        inputs=[parents, rest_joints, rotations, translations],
        outputs=[turns_out, joints_out, columns_out, features_out],
        device=device,
    )


def launch_pose_blend(*, directions: wp.array, features: wp.array, points: wp.array, points_out: wp.array) -> None:
    """Rest points plus pose blend shapes of B bodies.

    Args:
        directions: [F, V] vec3, m per unit feature; contiguous.
        features: [B, F] float32; contiguous.
        points: [1 or B, V] vec3, m, shaped template; contiguous.
        points_out: [B, V] vec3, m; contiguous.

    Raises:
        InputRejected: A shape or a device does not fit, or an array is not contiguous.
    """
    batch, count = points_out.shape
    device = points_out.device
    check_array("directions", directions, (None, count), device)
    check_array("features", features, (batch, directions.shape[0]), device)
    check_array("points", points, (None, count), device)
    check_rows("points", points, batch)
    for name, array in (
        ("directions", directions),
        ("features", features),
        ("points", points),
        ("points_out", points_out),
    ):
        check_contiguous(name, array)
    if device.is_cpu:
        # One matrix product; numpy's BLAS works on the arrays where they are.
        flat = directions.numpy().reshape(directions.shape[0], 3 * count)
        moved = points_out.numpy().reshape(batch, 3 * count)
        np.matmul(features.numpy(), flat, out=moved)
        moved += points.numpy().reshape(-1, 3 * count)
        return
    wp.launch(
        pose_blend_kernel,
        dim=(-(-batch // BODIES_PER_THREAD), count),
        inputs=[directions, features, points],
        outputs=[points_out],
        device=device,
    )
