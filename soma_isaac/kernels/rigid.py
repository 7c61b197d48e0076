"""Rigid transforms as 4x4 matrices: put together and taken apart, in float32 and in float64."""

# pyright: reportInvalidTypeForm=false, reportRedeclaration=false
from __future__ import annotations

import warp as wp

wp.set_module_options({"enable_backward": False})


@wp.func
def rigid_transform(rotation: wp.mat33, position: wp.vec3) -> wp.mat44:
    """The 4x4 matrix of a rotation and a position."""
    return wp.mat44(
        rotation[0, 0], rotation[0, 1], rotation[0, 2], position[0],
        rotation[1, 0], rotation[1, 1], rotation[1, 2], position[1],
        rotation[2, 0], rotation[2, 1], rotation[2, 2], position[2],
        0.0, 0.0, 0.0, 1.0,
    )  # fmt: skip


@wp.func
def rigid_transform(rotation: wp.mat33d, position: wp.vec3d) -> wp.mat44d:  # noqa: F811 - an overload
    """The 4x4 matrix of a rotation and a position."""
    zero = wp.float64(0.0)
    return wp.mat44d(
        rotation[0, 0], rotation[0, 1], rotation[0, 2], position[0],
        rotation[1, 0], rotation[1, 1], rotation[1, 2], position[1],
        rotation[2, 0], rotation[2, 1], rotation[2, 2], position[2],
        zero, zero, zero, wp.float64(1.0),
    )  # fmt: skip


@wp.func
def rotation_part(transform: wp.mat44) -> wp.mat33:
    """The upper left 3x3 block."""
    return wp.mat33(
        transform[0, 0], transform[0, 1], transform[0, 2],
        transform[1, 0], transform[1, 1], transform[1, 2],
        transform[2, 0], transform[2, 1], transform[2, 2],
    )  # fmt: skip


@wp.func
def rotation_part(transform: wp.mat44d) -> wp.mat33d:  # noqa: F811 - an overload
    """The upper left 3x3 block."""
    return wp.mat33d(
        transform[0, 0], transform[0, 1], transform[0, 2],
        transform[1, 0], transform[1, 1], transform[1, 2],
        transform[2, 0], transform[2, 1], transform[2, 2],
    )  # fmt: skip


@wp.func
def position_part(transform: wp.mat44) -> wp.vec3:
    """The translation column."""
    return wp.vec3(transform[0, 3], transform[1, 3], transform[2, 3])


@wp.func
def position_part(transform: wp.mat44d) -> wp.vec3d:  # noqa: F811 - an overload
    """The translation column."""
    return wp.vec3d(transform[0, 3], transform[1, 3], transform[2, 3])
