"""Collision capsules that ride on a body's joints."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.fk import position_part, rotation_part
from soma_isaac.kernels.shapes import check_array, check_rows

wp.set_module_options({"enable_backward": False})


@wp.kernel
def pose_proxies_kernel(
    # rig
    joints: wp.array(dtype=wp.int32),
    offsets: wp.array(dtype=wp.transform, ndim=2),
    # pose in
    transforms: wp.array(dtype=wp.mat44, ndim=2),
    # out
    poses_out: wp.array(dtype=wp.transform, ndim=2),
):
    """World pose of one capsule of one body."""
    body, proxy = wp.tid()
    world = transforms[body, joints[proxy]]
    joint = wp.transform(position_part(world), wp.quat_from_matrix(rotation_part(world)))
    poses_out[body, proxy] = wp.transform_multiply(joint, offsets[body % offsets.shape[0], proxy])


def launch_pose_proxies(*, joints: wp.array, offsets: wp.array, transforms: wp.array, poses_out: wp.array) -> None:
    """World poses of the K capsules of B bodies.

    Args:
        joints: [K] int32, public joint that each capsule moves with.
        offsets: [1 or B, K] transform, capsule in the joint's frame.
        transforms: [B, P] mat44, world transforms of the public joints.
        poses_out: [B, K] transform, m; the capsule's axis is its local z.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = poses_out.shape
    device = poses_out.device
    check_array("joints", joints, (count,), device)
    check_array("offsets", offsets, (None, count), device)
    check_rows("offsets", offsets, batch)
    check_array("transforms", transforms, (batch, None), device)
    wp.launch(
        pose_proxies_kernel,
        dim=(batch, count),
        inputs=[joints, offsets, transforms],
        outputs=[poses_out],
        device=device,
    )
