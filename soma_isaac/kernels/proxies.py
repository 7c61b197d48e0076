"""Collision capsules that ride on a body's joints."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.rigid import position_part, rotation_part
from soma_isaac.kernels.shapes import check_array, check_rows

wp.set_module_options({"enable_backward": False})

# m/s: nobody's limb is faster.
_TELEPORT = wp.constant(20.0)


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


@wp.kernel
def drive_kinematic_kernel(
    # pose in
    poses: wp.array(dtype=wp.transform, ndim=2),
    dt: float,
    # bodies
    bodies: wp.array(dtype=wp.int32, ndim=2),
    q_starts: wp.array(dtype=wp.int32, ndim=2),
    qd_starts: wp.array(dtype=wp.int32, ndim=2),
    # out
    body_q_out: wp.array(dtype=wp.transform),
    body_qd_out: wp.array(dtype=wp.spatial_vector),
    joint_q_out: wp.array(dtype=wp.float32),
    joint_qd_out: wp.array(dtype=wp.float32),
):
    """Pose and velocity of one kinematic body with a free joint to the world."""
    row, proxy = wp.tid()
    pose = poses[row, proxy]
    body = bodies[row, proxy]
    before = body_q_out[body]
    linear = wp.vec3()
    angular = wp.vec3()
    if dt > 0.0:
        linear = (wp.transform_get_translation(pose) - wp.transform_get_translation(before)) / dt
        turn = wp.transform_get_rotation(pose) * wp.quat_inverse(wp.transform_get_rotation(before))
        half = wp.vec3(turn[0], turn[1], turn[2])
        sine = wp.length(half)
        angle = 2.0 * wp.atan2(sine, wp.abs(turn[3]))
        if sine > 1.0e-9:
            angular = half * (wp.where(turn[3] < 0.0, -angle, angle) / (sine * dt))
        if wp.length(linear) > _TELEPORT:
            linear = wp.vec3()
            angular = wp.vec3()
    body_q_out[body] = pose
    body_qd_out[body] = wp.spatial_vector(linear, angular)
    for k in range(7):
        joint_q_out[q_starts[row, proxy] + k] = pose[k]
    for k in range(3):
        joint_qd_out[qd_starts[row, proxy] + k] = linear[k]
        joint_qd_out[qd_starts[row, proxy] + 3 + k] = angular[k]


def launch_drive_kinematic(
    *,
    poses: wp.array,
    dt: float,
    bodies: wp.array,
    q_starts: wp.array,
    qd_starts: wp.array,
    body_q_out: wp.array,
    body_qd_out: wp.array,
    joint_q_out: wp.array,
    joint_qd_out: wp.array,
) -> None:
    """Move kinematic bodies to the capsules' poses, with the velocity since their last pose.

    A body that would be faster than 20 m/s has been put elsewhere (a reset): its velocity is zero.

    Args:
        poses: [B, K] transform, m.
        dt: s since the last call; 0 gives zero velocities.
        bodies: [B, K] int32, rigid bodies.
        q_starts: [B, K] int32, first coordinate of each body's free joint.
        qd_starts: [B, K] int32, first velocity of each body's free joint.
        body_q_out: [N] transform, m.
        body_qd_out: [N] spatial vector, linear m/s, then angular rad/s, world.
        joint_q_out: joint coordinates.
        joint_qd_out: joint velocities.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = body_q_out.device
    for name, array in (("bodies", bodies), ("q_starts", q_starts), ("qd_starts", qd_starts)):
        check_array(name, array, poses.shape, device)
    check_array("poses", poses, (None, None), device)
    check_array("body_qd_out", body_qd_out, body_q_out.shape, device)
    wp.launch(
        drive_kinematic_kernel,
        dim=poses.shape,
        inputs=[poses, dt, bodies, q_starts, qd_starts],
        outputs=[body_q_out, body_qd_out, joint_q_out, joint_qd_out],
        device=device,
    )
