"""What a ray tracer needs of moving meshes: bounds, poses of their bones, and meshes that ride on rigid bodies."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.rigid import position_part, rotation_part
from soma_isaac.kernels.shapes import check_array

wp.set_module_options({"enable_backward": False})

_FAR = wp.constant(1.0e6)


@wp.kernel
def clear_bounds_kernel(
    shapes: wp.array(dtype=wp.int32),
    # out
    bounds_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """Bounds of one mesh that contain nothing yet."""
    shape = shapes[wp.tid()]
    bounds_out[shape, 0] = wp.vec3(_FAR, _FAR, _FAR)
    bounds_out[shape, 1] = wp.vec3(-_FAR, -_FAR, -_FAR)


@wp.kernel
def grow_bounds_kernel(
    vertices: wp.array(dtype=wp.vec3, ndim=2),
    shapes: wp.array(dtype=wp.int32),
    # out
    bounds_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """Bounds of one mesh, grown to one of its vertices."""
    body, vertex = wp.tid()
    point = vertices[body, vertex]
    wp.atomic_min(bounds_out, shapes[body], 0, point)
    wp.atomic_max(bounds_out, shapes[body], 1, point)


def launch_mesh_bounds(*, vertices: wp.array, shapes: wp.array, bounds_out: wp.array) -> None:
    """Axis-aligned bounds of B meshes, each written to its own row of a larger table.

    Args:
        vertices: [B, V] vec3, m.
        shapes: [B] int32, rows of the table, all different.
        bounds_out: [S, 2] vec3, lower and upper corners.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = bounds_out.device
    check_array("vertices", vertices, (None, None), device)
    check_array("shapes", shapes, (vertices.shape[0],), device)
    check_array("bounds_out", bounds_out, (None, 2), device)
    wp.launch(clear_bounds_kernel, dim=len(shapes), inputs=[shapes], outputs=[bounds_out], device=device)
    wp.launch(grow_bounds_kernel, dim=vertices.shape, inputs=[vertices, shapes], outputs=[bounds_out], device=device)


@wp.kernel
def bone_poses_kernel(
    transforms: wp.array(dtype=wp.mat44, ndim=2),
    first: wp.int32,
    origins: wp.array(dtype=wp.vec3),
    # out
    poses_out: wp.array(dtype=wp.transform, ndim=2),
):
    """Position and quaternion of one bone of one body, shifted to its environment."""
    body, bone = wp.tid()
    world = transforms[body, first + bone]
    rotation = wp.normalize(wp.quat_from_matrix(rotation_part(world)))
    poses_out[body, bone] = wp.transform(position_part(world) + origins[body], rotation)


def launch_bone_poses(*, transforms: wp.array, origins: wp.array, poses_out: wp.array) -> None:
    """Poses of the last P bones of B bodies.

    Args:
        transforms: [B, J] mat44, m, J at least P.
        origins: [B] vec3, m, added to the positions.
        poses_out: [B, P] transform (position, quaternion xyzw).

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = poses_out.device
    check_array("transforms", transforms, (poses_out.shape[0], None), device)
    check_array("origins", origins, (poses_out.shape[0],), device)
    first = transforms.shape[1] - poses_out.shape[1]
    wp.launch(
        bone_poses_kernel,
        dim=poses_out.shape,
        inputs=[transforms, first, origins],
        outputs=[poses_out],
        device=device,
    )


@wp.kernel
def rigid_vertices_kernel(
    points: wp.array(dtype=wp.vec3),
    links: wp.array(dtype=wp.int32),
    positions: wp.array(dtype=wp.vec3, ndim=2),
    quats: wp.array(dtype=wp.quat, ndim=2),
    shifts: wp.array(dtype=wp.vec3),
    # out
    vertices_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """One vertex of one copy of a rigid robot."""
    copy, vertex = wp.tid()
    link = links[vertex]
    place = positions[copy, link] + shifts[copy]
    vertices_out[copy, vertex] = wp.quat_rotate(quats[copy, link], points[vertex]) + place


def launch_rigid_vertices(
    *,
    points: wp.array,
    links: wp.array,
    positions: wp.array,
    quats: wp.array,
    shifts: wp.array,
    vertices_out: wp.array,
) -> None:
    """Vertices of B copies of a robot whose V vertices each ride on one of its L links.

    Args:
        points: [V] vec3, m, in the frame of the vertex's link.
        links: [V] int32.
        positions: [B, L] vec3, m, link origins.
        quats: [B, L] quat (xyzw), link to world.
        shifts: [B] vec3, m, added to a copy.
        vertices_out: [B, V] vec3, m.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = vertices_out.device
    batch, count = vertices_out.shape
    check_array("points", points, (count,), device)
    check_array("links", links, (count,), device)
    check_array("positions", positions, (batch, None), device)
    check_array("quats", quats, positions.shape, device)
    check_array("shifts", shifts, (batch,), device)
    wp.launch(
        rigid_vertices_kernel,
        dim=(batch, count),
        inputs=[points, links, positions, quats, shifts],
        outputs=[vertices_out],
        device=device,
    )
