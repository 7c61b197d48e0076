"""Bind transforms moved into the template's rotations, and the skin matrices that take a shape there."""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.rigid import position_part, rigid_transform, rotation_part
from soma_isaac.kernels.shapes import check_array

wp.set_module_options({"enable_backward": False, "max_unroll": 1})


@wp.kernel
def repose_kernel(
    # rig
    parents: wp.array(dtype=wp.int32),
    rotations: wp.array(dtype=wp.mat33d),
    # shape in
    bind: wp.array(dtype=wp.mat44d, ndim=2),
    # out
    bind_out: wp.array(dtype=wp.mat44d, ndim=2),
    columns_out: wp.array(dtype=wp.mat44, ndim=2),
):
    """All joints of one body: down the tree to place them, then up by the depth of the lowest."""
    body = wp.tid()
    zero = wp.float64(0.0)
    lowest = zero
    for joint in range(parents.shape[0]):
        position = wp.vec3d()
        if joint > 0:
            parent = parents[joint]
            above = bind[body, parent]
            offset = wp.transpose(rotation_part(above)) * (position_part(bind[body, joint]) - position_part(above))
            if joint == 1:
                offset = wp.vec3d(zero, offset[1], zero)
            position = position_part(bind_out[body, parent]) + rotations[parent] * offset
        lowest = wp.min(lowest, position[1])
        turn = rotations[joint]
        bind_out[body, joint] = rigid_transform(turn, position)
    for joint in range(parents.shape[0]):
        target = bind_out[body, joint]
        target[1, 3] = target[1, 3] - lowest
        bind_out[body, joint] = target
        fitted = bind[body, joint]
        turn = rotations[joint] * wp.transpose(rotation_part(fitted))
        shift = position_part(target) - turn * position_part(fitted)
        columns_out[body, joint] = wp.transpose(rigid_transform(wp.mat33(turn), wp.vec3(shift)))
    bind_out[body, 0] = wp.identity(n=4, dtype=wp.float64)


def launch_repose(
    *, parents: wp.array, rotations: wp.array, bind: wp.array, bind_out: wp.array, columns_out: wp.array
) -> None:
    """Move B fitted bodies of J joints into the template's bind rotations.

    Bones keep their lengths; joint 1 (the Hips) stands above the origin at its fitted height, and all is lifted until
    no joint is below the floor, on which joint 0 (the root) lies. The root itself ends at the identity.

    Args:
        parents: [J] int32; every joint but 0 has a parent before it.
        rotations: [J] mat33d, the template's bind rotations.
        bind: [B, J] mat44d, m, fitted bind transforms.
        bind_out: [B, J] mat44d, m, the moved ones.
        columns_out: [B, J] mat44, transposed skin matrices from ``bind`` to ``bind_out`` (the root moving along), for
            :func:`soma_isaac.kernels.lbs.launch_blend`.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = bind_out.shape
    device = bind_out.device
    check_array("parents", parents, (count,), device)
    check_array("rotations", rotations, (count,), device)
    check_array("bind", bind, (batch, count), device)
    check_array("columns_out", columns_out, (batch, count), device)
    wp.launch(
        repose_kernel,
        dim=batch,
        inputs=[parents, rotations, bind],
        outputs=[bind_out, columns_out],
        device=device,
    )
