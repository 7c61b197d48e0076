"""Ray casting with everything a data set asks for: colour, depth, normal and face per pixel, in two passes.

The first pass casts one ray through each pixel's centre; depth, normals and faces are those of the centre, never
blends. The second casts four more rays where the colour differs from a neighbour's and replaces the colour alone: that
smooths edges at a fraction of the price of four rays everywhere.
"""

# pyright: reportInvalidTypeForm=false

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import warp as wp

NOTHING, FLOOR = -1, -2
"""Faces of pixels that show the sky or the floor."""

FLOOR_TILE = wp.constant(0.5)
HAZE = wp.constant(22.0)
"""Distance [m] at which a third of the floor's colour is left."""

CONTRAST = wp.constant(0.05)
"""Largest difference of a colour channel between neighbours that is left as it is."""


PIECE_COUNT = 7
vec_pieces = wp.types.vector(length=PIECE_COUNT, dtype=wp.float32)
"""How much of a vertex belongs to each piece that has a colour of its own."""


class CoatArrays(NamedTuple):
    """The colours of bodies that share one topology.

    Attributes:
        vertex_count: Vertices of one body.
        face_count: Triangles of one body.
        weights: [V] vec_pieces of one body.
        colors: [B * PIECE_COUNT] vec3 linear RGB, body by body.
    """

    vertex_count: int
    face_count: int
    weights: wp.array
    colors: wp.array


class LightArrays(NamedTuple):
    """One sun and the sky, linear RGB.

    Attributes:
        to_sun: Unit vector towards the sun.
        sun: Colour times strength.
        sky: Colour times strength of the light from above.
        background: What rays that hit nothing show.
    """

    to_sun: wp.vec3
    sun: wp.vec3
    sky: wp.vec3
    background: wp.vec3


class LayerArrays(NamedTuple):
    """What the passes write, one value per pixel, row by row from the top.

    Attributes:
        color: [N] vec3 linear RGB.
        depth: [N] float32 m along the viewing direction (not along the ray); 0 where nothing was hit.
        normal: [N] vec3 unit, world, on the face's side that is seen; 0 where nothing was hit.
        face: [N] int32 triangle, or ``NOTHING`` or ``FLOOR``.
    """

    color: wp.array
    depth: wp.array
    normal: wp.array
    face: wp.array


@wp.func
def _in_sun(mesh: wp.uint64, point: wp.vec3, normal: wp.vec3, to_sun: wp.vec3) -> float:
    blocked = wp.mesh_query_ray_anyhit(mesh, point + normal * 0.004, to_sun, 20.0)
    return wp.where(blocked, 0.0, 1.0)


@wp.func
def _ray(column: float, row: float, right: wp.vec3, up: wp.vec3, ahead: wp.vec3, width: int, height: int) -> wp.vec3:
    x = (2.0 * column / float(width) - 1.0) * float(width) / float(height)
    y = 1.0 - 2.0 * row / float(height)
    return wp.normalize(ahead + right * x + up * y)


@wp.func
def _floor_reach(origin: wp.vec3, direction: wp.vec3, draw_floor: int) -> float:
    reach = float(1.0e4)
    if draw_floor == 1 and direction[2] < -1.0e-4:
        reach = -origin[2] / direction[2]
    return reach


@wp.func
def _floor_color(
    mesh: wp.uint64,
    point: wp.vec3,
    reach: float,
    to_sun: wp.vec3,
    sun: wp.vec3,
    sky: wp.vec3,
    background: wp.vec3,
) -> wp.vec3:
    tile = int(wp.floor(point[0] / FLOOR_TILE)) + int(wp.floor(point[1] / FLOOR_TILE))
    shade = wp.where((tile & 1) == 0, 0.66, 0.58)
    lit = _in_sun(mesh, point, wp.vec3(0.0, 0.0, 1.0), to_sun)
    color = (sky * 0.40 + sun * (0.62 * lit * to_sun[2])) * shade
    clear = wp.exp(-(reach / HAZE) * (reach / HAZE))
    return color * clear + background * (1.0 - clear)


@wp.func
def _skin_color(
    mesh: wp.uint64,
    albedo: wp.vec3,
    point: wp.vec3,
    normal: wp.vec3,
    direction: wp.vec3,
    to_sun: wp.vec3,
    sun: wp.vec3,
    sky: wp.vec3,
) -> wp.vec3:
    diffuse = wp.max(wp.dot(normal, to_sun), 0.0)
    if diffuse > 0.0:
        diffuse *= _in_sun(mesh, point, normal, to_sun)
    light = sky * (0.34 + 0.18 * normal[2]) + sun * (0.80 * diffuse)
    rim = wp.pow(1.0 - wp.max(-wp.dot(normal, direction), 0.0), 3.0)
    return wp.cw_mul(albedo, light) + sky * (0.08 * rim)


@wp.func
def _albedo(
    triangles: wp.array(dtype=wp.int32),
    vertex_count: int,
    face_count: int,
    piece_weights: wp.array(dtype=vec_pieces),
    piece_colors: wp.array(dtype=wp.vec3),
    face: int,
    u: float,
    v: float,
) -> wp.vec3:
    weights = piece_weights[triangles[3 * face] % vertex_count] * u
    weights += piece_weights[triangles[3 * face + 1] % vertex_count] * v
    weights += piece_weights[triangles[3 * face + 2] % vertex_count] * (1.0 - u - v)
    largest = int(0)
    for piece in range(1, PIECE_COUNT):
        if weights[piece] > weights[largest]:
            largest = piece
    return piece_colors[(face // face_count) * PIECE_COUNT + largest]


@wp.func
def _surface_normal(
    triangles: wp.array(dtype=wp.int32),
    normals: wp.array(dtype=wp.vec3),
    face: int,
    u: float,
    v: float,
    flat: wp.vec3,
    direction: wp.vec3,
) -> wp.vec3:
    normal = normals[triangles[3 * face]] * u + normals[triangles[3 * face + 1]] * v
    normal = wp.normalize(normal + normals[triangles[3 * face + 2]] * (1.0 - u - v) + flat * 1.0e-3)
    # by the face's side: near the outline a smooth normal may lean away a little, and must not be turned over for it
    if wp.dot(flat, direction) > 0.0:
        normal = -normal
    return normal


@wp.kernel
def trace_kernel(
    # scene
    mesh: wp.uint64,
    triangles: wp.array(dtype=wp.int32),
    normals: wp.array(dtype=wp.vec3),
    vertex_count: int,
    face_count: int,
    piece_weights: wp.array(dtype=vec_pieces),
    piece_colors: wp.array(dtype=wp.vec3),
    draw_floor: int,
    # light
    to_sun: wp.vec3,
    sun: wp.vec3,
    sky: wp.vec3,
    background: wp.vec3,
    # camera
    origin: wp.vec3,
    right: wp.vec3,
    up: wp.vec3,
    ahead: wp.vec3,
    width: int,
    height: int,
    # out
    color_out: wp.array(dtype=wp.vec3),
    depth_out: wp.array(dtype=wp.float32),
    normal_out: wp.array(dtype=wp.vec3),
    face_out: wp.array(dtype=wp.int32),
):
    """One ray through the centre of each pixel."""
    pixel = wp.tid()
    direction = _ray(float(pixel % width) + 0.5, float(pixel // width) + 0.5, right, up, ahead, width, height)
    color = background
    depth = float(0.0)
    normal = wp.vec3(0.0, 0.0, 0.0)
    face = int(-1)
    reach = _floor_reach(origin, direction, draw_floor)
    query = wp.mesh_query_ray(mesh, origin, direction, reach)
    if query.result:
        face = query.face
        depth = query.t * wp.dot(direction, ahead)
        normal = _surface_normal(triangles, normals, face, query.u, query.v, query.normal, direction)
        point = origin + direction * query.t
        albedo = _albedo(triangles, vertex_count, face_count, piece_weights, piece_colors, face, query.u, query.v)
        color = _skin_color(mesh, albedo, point, normal, direction, to_sun, sun, sky)
    elif reach < 1.0e4:
        face = -2
        depth = reach * wp.dot(direction, ahead)
        normal = wp.vec3(0.0, 0.0, 1.0)
        color = _floor_color(mesh, origin + direction * reach, reach, to_sun, sun, sky, background)
    color_out[pixel] = color
    depth_out[pixel] = depth
    normal_out[pixel] = normal
    face_out[pixel] = face


@wp.kernel
def smooth_kernel(
    # scene
    mesh: wp.uint64,
    triangles: wp.array(dtype=wp.int32),
    normals: wp.array(dtype=wp.vec3),
    vertex_count: int,
    face_count: int,
    piece_weights: wp.array(dtype=vec_pieces),
    piece_colors: wp.array(dtype=wp.vec3),
    draw_floor: int,
    # light
    to_sun: wp.vec3,
    sun: wp.vec3,
    sky: wp.vec3,
    background: wp.vec3,
    # camera
    origin: wp.vec3,
    right: wp.vec3,
    up: wp.vec3,
    ahead: wp.vec3,
    width: int,
    height: int,
    color: wp.array(dtype=wp.vec3),
    # out
    color_out: wp.array(dtype=wp.vec3),
):
    """Four rays where the colour of the centres differs from a neighbour's; a copy elsewhere."""
    pixel = wp.tid()
    column = pixel % width
    row = pixel // width
    own = color[pixel]
    contrast = float(0.0)
    if column > 0:
        contrast = wp.max(contrast, wp.max(wp.abs(color[pixel - 1] - own)))
    if column + 1 < width:
        contrast = wp.max(contrast, wp.max(wp.abs(color[pixel + 1] - own)))
    if row > 0:
        contrast = wp.max(contrast, wp.max(wp.abs(color[pixel - width] - own)))
    if row + 1 < height:
        contrast = wp.max(contrast, wp.max(wp.abs(color[pixel + width] - own)))
    if contrast <= CONTRAST:
        color_out[pixel] = own
        return
    total = wp.vec3(0.0, 0.0, 0.0)
    for sample in range(4):
        x = float(column) + 0.25 + 0.5 * float(sample % 2)
        y = float(row) + 0.25 + 0.5 * float(sample // 2)
        direction = _ray(x, y, right, up, ahead, width, height)
        reach = _floor_reach(origin, direction, draw_floor)
        query = wp.mesh_query_ray(mesh, origin, direction, reach)
        if query.result:
            normal = _surface_normal(triangles, normals, query.face, query.u, query.v, query.normal, direction)
            point = origin + direction * query.t
            albedo = _albedo(
                triangles, vertex_count, face_count, piece_weights, piece_colors, query.face, query.u, query.v
            )
            total += _skin_color(mesh, albedo, point, normal, direction, to_sun, sun, sky)
        elif reach < 1.0e4:
            total += _floor_color(mesh, origin + direction * reach, reach, to_sun, sun, sky, background)
        else:
            total += background
    color_out[pixel] = total * 0.25


def launch_layers(
    mesh: wp.Mesh,
    normals: wp.array,
    coat: CoatArrays,
    light: LightArrays,
    camera_axes: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    size: tuple[int, int],
    draw_floor: bool,
    traced: LayerArrays,
    color_out: wp.array,
) -> None:
    """Cast the rays of one picture of a mesh over the floor z = 0.

    Args:
        mesh: The triangles, world, Z-up, m, with an up-to-date tree.
        normals: [V] vec3 unit vertex normals.
        coat: Colours; the mesh holds whole bodies, one after the other.
        light: Sun and sky.
        camera_axes: origin, right, up (both scaled by tan of half the vertical field of view) and ahead, each [3].
        size: (width, height) in pixels.
        draw_floor: Whether rays stop at the floor.
        traced: Written: the first pass's layers, [width * height] each.
        color_out: [width * height] vec3, written: the smoothed colour.

    Raises:
        ValueError: An array has another length.
    """
    width, height = size
    bodies, rest = divmod(len(coat.colors), PIECE_COUNT)
    if rest or len(normals) != len(mesh.points) or len(coat.weights) != coat.vertex_count:
        raise ValueError(
            f"{len(normals)} normals, {len(coat.colors)} colours and {len(coat.weights)} weights do not fit"
        )
    if (bodies * coat.vertex_count, bodies * coat.face_count * 3) != (len(mesh.points), len(mesh.indices)):
        raise ValueError(f"{bodies} bodies of {coat.vertex_count} vertices do not make the mesh")
    if any(len(array) != width * height for array in (*traced, color_out)):
        raise ValueError(f"the layers do not have {width} x {height} pixels")
    inputs = [mesh.id, mesh.indices, normals, *coat, int(draw_floor), *light]
    inputs += [wp.vec3(*(float(value) for value in axis)) for axis in camera_axes]
    inputs += [width, height]
    wp.launch(trace_kernel, dim=width * height, inputs=inputs, outputs=list(traced), device=mesh.device)
    wp.launch(
        smooth_kernel,
        dim=width * height,
        inputs=[*inputs, traced.color],
        outputs=[color_out],
        device=mesh.device,
    )
