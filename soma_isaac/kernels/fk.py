"""Forward kinematics of the public joints: one thread per body walks the tree once.

With ``turn_j = turn_parent R_j`` and ``p_j = p_parent + turn_parent o_j`` the world transform of a joint is
``W_j = [turn_j O_j, p_j]``. Two choices of the constants give the two pose conventions of SOMA-X:

* relative to the T-pose: ``O_j`` is the joint's T-pose world rotation and ``o_j`` its offset from the parent turned by
  the parent's ``O``; zero pose is then the T-pose;
* absolute: ``O_j`` is the identity and ``o_j`` the offset in the parent's own axes; ``R_j`` is the local rotation.

Joint 0 (``Root``) stays at the origin, joint 1 (``Hips``) sits at the root translation.
"""

# pyright: reportInvalidTypeForm=false, reportRedeclaration=false
from __future__ import annotations

from typing import Any

import warp as wp

from soma_isaac.kernels.rigid import rigid_transform
from soma_isaac.kernels.shapes import check_array, check_rows

wp.set_module_options({"enable_backward": False})


@wp.func
def rotation_matrix(rotation: wp.mat33) -> wp.mat33:
    """A rotation matrix as it is."""
    return rotation


@wp.func
def rotation_matrix(rotation: wp.vec3) -> wp.mat33:  # noqa: F811 - an overload
    """Rodrigues' formula in half angles, so that small angles do not cancel in float32."""
    square = wp.dot(rotation, rotation)
    first = 1.0 - square / 6.0
    second = 0.5 - square / 24.0
    if square > 1.0e-6:
        angle = wp.sqrt(square)
        sine = wp.sin(0.5 * angle)
        first = 2.0 * sine * wp.cos(0.5 * angle) / angle
        second = 2.0 * sine * sine / square
    cosine = 1.0 - second * square
    x = rotation[0]
    y = rotation[1]
    z = rotation[2]
    return wp.mat33(
        cosine + second * x * x,
        second * x * y - first * z,
        second * x * z + first * y,
        second * x * y + first * z,
        cosine + second * y * y,
        second * y * z - first * x,
        second * x * z - first * y,
        second * y * z + first * x,
        cosine + second * z * z,
    )


@wp.kernel
def fk_kernel(
    # rig
    parents: wp.array(dtype=wp.int32),
    orientations: wp.array(dtype=wp.mat33),
    offsets: wp.array(dtype=wp.vec3, ndim=2),
    # pose in
    rotations: wp.array(dtype=Any, ndim=2),
    translations: wp.array(dtype=wp.vec3),
    # out
    turns_out: wp.array(dtype=wp.mat33, ndim=2),
    transforms_out: wp.array(dtype=wp.mat44, ndim=2),
    joints_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """World transforms of one body's public joints."""
    body = wp.tid()
    identity = body % offsets.shape[0]
    pose = body % rotations.shape[0]
    turns_out[body, 0] = wp.identity(n=3, dtype=wp.float32)
    transforms_out[body, 0] = wp.identity(n=4, dtype=wp.float32)
    for joint in range(1, parents.shape[0]):
        parent = parents[joint]
        turn_parent = turns_out[body, parent]
        turn = turn_parent * rotation_matrix(rotations[pose, joint - 1])
        position = translations[body % translations.shape[0]]
        if joint > 1:
            position = joints_out[body, parent - 1] + turn_parent * offsets[identity, joint]
        turns_out[body, joint] = turn
        joints_out[body, joint - 1] = position
        transforms_out[body, joint] = rigid_transform(turn * orientations[joint], position)


# Both overloads are registered here so that the module compiles once, whichever pose format comes first.
for _rotation_type in (wp.vec3, wp.mat33):
    wp.overload(fk_kernel, {"rotations": wp.array(dtype=_rotation_type, ndim=2)})


def launch_fk(
    *,
    parents: wp.array,
    orientations: wp.array,
    offsets: wp.array,
    rotations: wp.array,
    translations: wp.array,
    turns_out: wp.array,
    transforms_out: wp.array,
    joints_out: wp.array,
    record: bool = False,
) -> wp.Launch | None:
    """World transforms of the J public joints of B bodies.

    Args:
        parents: [J] int32; every joint but 0 has a parent before it, and only joint 1 has joint 0 as parent.
        orientations: [J] mat33, ``O_j`` of the module's docstring.
        offsets: [1 or B, J] vec3, m, ``o_j`` of the module's docstring; entries 0 and 1 are not read.
        rotations: [1 or B, J - 1] vec3 (rotation vectors, rad) or mat33, for joints 1 to J - 1.
        translations: [1 or B] vec3, m, world position of joint 1.
        turns_out: [B, J] mat33, world rotations before ``O_j``.
        transforms_out: [B, J] mat44, ``W_j``.
        joints_out: [B, J - 1] vec3, m, positions of joints 1 to J - 1.
        record: Do not run; return a recorded launch.

    Returns:
        The recorded launch, or ``None``.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    batch, count = transforms_out.shape
    device = transforms_out.device
    for name, array, shape in (
        ("parents", parents, (count,)),
        ("orientations", orientations, (count,)),
        ("offsets", offsets, (None, count)),
        ("rotations", rotations, (None, count - 1)),
        ("translations", translations, (None,)),
        ("turns_out", turns_out, (batch, count)),
        ("joints_out", joints_out, (batch, count - 1)),
    ):
        check_array(name, array, shape, device)
    for name, array in (("offsets", offsets), ("rotations", rotations), ("translations", translations)):
        check_rows(name, array, batch)
    return wp.launch(
        fk_kernel,
        dim=batch,
        inputs=[parents, orientations, offsets, rotations, translations],
        outputs=[turns_out, transforms_out, joints_out],
        device=device,
        record_cmd=record,
    )
