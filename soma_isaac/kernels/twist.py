"""Twist helpers: how far a limb's joints are twisted, and where that puts the helper joints of its segments.

A channel is one scalar angle of one joint j seen from a reference joint r: the rotation
``left (W_r^T W_j) right`` is reduced to an angle in one of two ways. The sidecar's three modes are

* ``local_x_euler``: r is the parent, left and right are identities, an Euler XYZ angle;
* ``local_x_swing_twist``: the same rotation, its twist about a local axis;
* ``aligned_x_swing_twist``: r is the segment's other joint, ``left = A^T W_r,anchor`` and ``right = W_j,anchor^T A``
  with the segment frame A of the anchor pose, twist about its x; zero in the anchor pose.

A helper's angle is a weighted sum of channels; it turns the helper about an axis of its bind frame:
``W_h = W_parent [R_bind Rot(axis, sign angle), t_bind]``.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.rigid import position_part, rigid_transform, rotation_part
from soma_isaac.kernels.shapes import check_array, check_rows

wp.set_module_options({"enable_backward": False})

EULER = 0
TWIST = 1


class Channels(NamedTuple):
    """Device arrays of C channels.

    Attributes:
        joints: [C] int32, public joint.
        references: [C] int32, public joint from which it is seen.
        methods: [C] int32, ``EULER`` or ``TWIST``.
        axes: [C] int32, 0, 1 or 2.
        signs: [C] float32, +1 or -1.
        left: [1 or B, C] mat33.
        right: [1 or B, C] mat33.
    """

    joints: wp.array
    references: wp.array
    methods: wp.array
    axes: wp.array
    signs: wp.array
    left: wp.array
    right: wp.array


class Helpers(NamedTuple):
    """Device arrays of H helpers.

    Attributes:
        parents: [H] int32, public joint.
        axes: [H] int32, axis of the emitted rotation.
        signs: [H] float32, +1 or -1.
        entry_offsets: [H + 1] int32 into the entries.
        entry_channels: [E] int32.
        entry_factors: [E] float32.
        bind_rotations: [1 or B, H] mat33, in the parent's axes.
        bind_offsets: [1 or B, H] vec3, m, in the parent's axes.
    """

    parents: wp.array
    axes: wp.array
    signs: wp.array
    entry_offsets: wp.array
    entry_channels: wp.array
    entry_factors: wp.array
    bind_rotations: wp.array
    bind_offsets: wp.array


@wp.func
def twist_angle(rotation: wp.mat33, axis: int) -> float:
    """The sidecar's swing-twist angle about a coordinate axis [rad], in [-pi, pi].

    It is twice the twist of *half* the rotation, whose quaternion is ``normalize(q + 1)`` for w >= 0: no small
    denominator, also near a half turn. ``wp.quat_from_matrix`` divides by the largest component.
    """
    q = wp.quat_from_matrix(rotation)
    angle = 4.0 * wp.atan2(q[axis], 1.0 + wp.abs(q[3]))
    if q[3] < 0.0:
        angle = -angle
    return angle


@wp.func
def euler_angle(rotation: wp.mat33, axis: int) -> float:
    """One angle [rad] of the sidecar's XYZ Euler extraction; its X reads row 2, column 1 over row 1, column 1."""
    angle = wp.atan2(rotation[2, 1], rotation[1, 1])
    if axis == 1:
        angle = wp.asin(wp.clamp(-rotation[2, 0], -1.0, 1.0))
    if axis == 2:
        angle = wp.atan2(rotation[1, 0], rotation[0, 0])
    return angle


@wp.func
def axis_rotation(axis: int, angle: float) -> wp.mat33:
    """Rotation about a coordinate axis."""
    c = wp.cos(angle)
    s = wp.sin(angle)
    rotation = wp.mat33(1.0, 0.0, 0.0, 0.0, c, -s, 0.0, s, c)
    if axis == 1:
        rotation = wp.mat33(c, 0.0, s, 0.0, 1.0, 0.0, -s, 0.0, c)
    if axis == 2:
        rotation = wp.mat33(c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0)
    return rotation


@wp.kernel
def twist_channels_kernel(
    # rig
    joints: wp.array(dtype=wp.int32),
    references: wp.array(dtype=wp.int32),
    methods: wp.array(dtype=wp.int32),
    axes: wp.array(dtype=wp.int32),
    signs: wp.array(dtype=wp.float32),
    left: wp.array(dtype=wp.mat33, ndim=2),
    right: wp.array(dtype=wp.mat33, ndim=2),
    # pose in
    transforms: wp.array(dtype=wp.mat44, ndim=2),
    # out
    angles_out: wp.array(dtype=wp.float32, ndim=2),
):
    """One channel of one body."""
    body, channel = wp.tid()
    identity = body % left.shape[0]
    world = rotation_part(transforms[body, joints[channel]])
    reference = rotation_part(transforms[body, references[channel]])
    rotation = left[identity, channel] * (wp.transpose(reference) * world) * right[identity, channel]
    angle = twist_angle(rotation, axes[channel])
    if methods[channel] == EULER:
        angle = euler_angle(rotation, axes[channel])
    angles_out[body, channel] = signs[channel] * angle


@wp.kernel
def helpers_kernel(
    # rig
    parents: wp.array(dtype=wp.int32),
    axes: wp.array(dtype=wp.int32),
    signs: wp.array(dtype=wp.float32),
    entry_offsets: wp.array(dtype=wp.int32),
    entry_channels: wp.array(dtype=wp.int32),
    entry_factors: wp.array(dtype=wp.float32),
    bind_rotations: wp.array(dtype=wp.mat33, ndim=2),
    bind_offsets: wp.array(dtype=wp.vec3, ndim=2),
    # pose in
    transforms: wp.array(dtype=wp.mat44, ndim=2),
    angles: wp.array(dtype=wp.float32, ndim=2),
    # out
    helpers_out: wp.array(dtype=wp.mat44, ndim=2),
):
    """World transform of one helper of one body."""
    body, helper = wp.tid()
    angle = float(0.0)
    for entry in range(entry_offsets[helper], entry_offsets[helper + 1]):
        angle += entry_factors[entry] * angles[body, entry_channels[entry]]
    parent = transforms[body, parents[helper]]
    parent_rotation = rotation_part(parent)
    bind = bind_rotations[body % bind_rotations.shape[0], helper]
    turned = bind * axis_rotation(axes[helper], signs[helper] * angle)
    position = position_part(parent) + parent_rotation * bind_offsets[body % bind_offsets.shape[0], helper]
    helpers_out[body, helper] = rigid_transform(parent_rotation * turned, position)


def launch_twist_channels(
    channels: Channels, *, transforms: wp.array, angles_out: wp.array, record: bool = False
) -> wp.Launch | None:
    """Twist angles of B bodies.

    Args:
        channels: The C channels.
        transforms: [B, J] mat44, world transforms of the public joints.
        angles_out: [B, C] float32, rad.
        record: Do not run; return a recorded launch.

    Returns:
        The recorded launch, or ``None``.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = angles_out.shape
    for name in ("joints", "references", "methods", "axes", "signs"):
        check_array(name, getattr(channels, name), (count,), angles_out.device)
    for name in ("left", "right"):
        check_array(name, getattr(channels, name), (None, count), angles_out.device)
        check_rows(name, getattr(channels, name), batch)
    check_array("transforms", transforms, (batch, None), angles_out.device)
    return wp.launch(
        twist_channels_kernel,
        dim=(batch, count),
        inputs=[*channels, transforms],
        outputs=[angles_out],
        device=angles_out.device,
        record_cmd=record,
    )


def launch_helpers(
    helpers: Helpers, *, transforms: wp.array, angles: wp.array, helpers_out: wp.array, record: bool = False
) -> wp.Launch | None:
    """World transforms of the helper joints of B bodies.

    Args:
        helpers: The H helpers.
        transforms: [B, J] mat44, world transforms of the public joints.
        angles: [B, C] float32, rad, from :func:`launch_twist_channels`.
        helpers_out: [B, H] mat44.
        record: Do not run; return a recorded launch.

    Returns:
        The recorded launch, or ``None``.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = helpers_out.shape
    for name in ("parents", "axes", "signs"):
        check_array(name, getattr(helpers, name), (count,), helpers_out.device)
    check_array("entry_offsets", helpers.entry_offsets, (count + 1,), helpers_out.device)
    check_array("entry_factors", helpers.entry_factors, helpers.entry_channels.shape, helpers_out.device)
    for name in ("bind_rotations", "bind_offsets"):
        check_array(name, getattr(helpers, name), (None, count), helpers_out.device)
        check_rows(name, getattr(helpers, name), batch)
    check_array("transforms", transforms, (batch, None), helpers_out.device)
    check_array("angles", angles, (batch, None), helpers_out.device)
    return wp.launch(
        helpers_kernel,
        dim=(batch, count),
        inputs=[*helpers, transforms, angles],
        outputs=[helpers_out],
        device=helpers_out.device,
        record_cmd=record,
    )
