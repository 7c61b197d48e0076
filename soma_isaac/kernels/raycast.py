"""Ray casting against a triangle mesh: one ray per pixel, Lambert shading with smooth normals, a floor with shadows.

Warp's BVH queries do the work (``wp.mesh_query_ray``), so the same kernel draws on a CPU and on a GPU.
"""

# pyright: reportInvalidTypeForm=false

from __future__ import annotations

import numpy as np
import warp as wp

wp.set_module_options({"enable_backward": False})

BACKGROUND = wp.constant(wp.vec3(0.93, 0.94, 0.96))
SUN = wp.constant(wp.vec3(0.32, -0.42, 0.85))
FLOOR_TILE = wp.constant(0.5)


@wp.func
def _shade(albedo: wp.vec3, normal: wp.vec3, view: wp.vec3, lit: float) -> wp.vec3:
    sun = wp.normalize(SUN)
    diffuse = wp.max(wp.dot(normal, sun), 0.0) * lit
    sky = 0.5 + 0.5 * normal[2]
    rim = wp.pow(1.0 - wp.max(-wp.dot(normal, view), 0.0), 3.0)
    return albedo * (0.28 + 0.22 * sky + 0.55 * diffuse) + wp.vec3(0.10, 0.10, 0.12) * rim


@wp.func
def in_sun(mesh: wp.uint64, point: wp.vec3, normal: wp.vec3, to_sun: wp.vec3) -> float:
    """1 where the sun reaches a point of a surface, 0 where the mesh is in between."""
    blocked = wp.mesh_query_ray_anyhit(mesh, point + normal * 0.004, to_sun, 20.0)
    return wp.where(blocked, 0.0, 1.0)


@wp.kernel
def _raycast_kernel(
    # scene
    mesh: wp.uint64,
    triangles: wp.array(dtype=wp.int32),
    vertex_normals: wp.array(dtype=wp.vec3),
    vertex_colors: wp.array(dtype=wp.vec3),
    floor_height: float,
    draw_floor: int,
    # camera
    origin: wp.vec3,
    right: wp.vec3,
    up: wp.vec3,
    ahead: wp.vec3,
    width: int,
    height: int,
    # out
    colors_out: wp.array(dtype=wp.vec3),
):
    pixel = wp.tid()
    x = (2.0 * (float(pixel % width) + 0.5) / float(width) - 1.0) * float(width) / float(height)
    y = 1.0 - 2.0 * (float(pixel // width) + 0.5) / float(height)
    direction = wp.normalize(ahead + right * x + up * y)
    color = BACKGROUND
    reach = float(1.0e4)
    if draw_floor == 1 and direction[2] < -1.0e-4:
        reach = (floor_height - origin[2]) / direction[2]
        point = origin + direction * reach
        tile = int(wp.floor(point[0] / FLOOR_TILE)) + int(wp.floor(point[1] / FLOOR_TILE))
        shade = wp.where((tile & 1) == 0, 0.83, 0.76)
        lit = 0.62 + 0.38 * in_sun(mesh, point, wp.vec3(0.0, 0.0, 1.0), wp.normalize(SUN))
        fade = wp.min(1.0, reach / 14.0)
        color = wp.vec3(shade, shade, shade * 1.02) * lit * (1.0 - fade) + BACKGROUND * fade
    query = wp.mesh_query_ray(mesh, origin, direction, reach)
    if query.result:
        a = triangles[3 * query.face]
        b = triangles[3 * query.face + 1]
        c = triangles[3 * query.face + 2]
        w = 1.0 - query.u - query.v
        normal = wp.normalize(
            vertex_normals[a] * query.u + vertex_normals[b] * query.v + vertex_normals[c] * w + query.normal * 1.0e-3
        )
        if wp.dot(normal, direction) > 0.0:
            normal = -normal
        point = origin + direction * query.t
        albedo = vertex_colors[a] * query.u + vertex_colors[b] * query.v + vertex_colors[c] * w
        color = _shade(albedo, normal, direction, in_sun(mesh, point, normal, wp.normalize(SUN)))
    colors_out[pixel] = color


def launch_raycast(
    vertices: np.ndarray,
    triangles: np.ndarray,
    vertex_normals: np.ndarray,
    vertex_colors: np.ndarray,
    camera_axes: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    size: tuple[int, int],
    floor_height: float | None,
    device: str = "cpu",
) -> np.ndarray:
    """Cast one ray per pixel.

    Args:
        vertices: [V, 3] m, world, Z-up.
        triangles: [N, 3] int.
        vertex_normals: [V, 3] unit.
        vertex_colors: [V, 3] linear RGB in [0, 1].
        camera_axes: origin, right, up (both scaled by tan of half the vertical field of view) and ahead, each [3].
        size: (width, height) in pixels.
        floor_height: z of the floor [m], or ``None`` for none.
        device: Warp device.

    Returns:
        Colors [height, width, 3] float32, row 0 on top.

    Raises:
        ValueError: An array has another shape.
    """
    count = len(vertices)
    if any(array.shape != (count, 3) for array in (vertices, vertex_normals, vertex_colors)):
        raise ValueError(f"vertices, normals and colors must all be ({count}, 3)")
    width, height = size
    indices = wp.array(np.ascontiguousarray(triangles, np.int32).reshape(-1), dtype=wp.int32, device=device)
    as_vec3 = [
        wp.array(np.ascontiguousarray(array, np.float32), dtype=wp.vec3, device=device)
        for array in (vertices, vertex_normals, vertex_colors)
    ]
    mesh = wp.Mesh(points=as_vec3[0], indices=indices)
    colors_out = wp.empty(width * height, dtype=wp.vec3, device=device)
    wp.launch(
        _raycast_kernel,
        dim=width * height,
        inputs=[mesh.id, indices, as_vec3[1], as_vec3[2], float(floor_height or 0.0), int(floor_height is not None)]
        + [wp.vec3(*(float(v) for v in axis)) for axis in camera_axes]
        + [width, height],
        outputs=[colors_out],
        device=device,
    )
    return colors_out.numpy().reshape(height, width, 3)
