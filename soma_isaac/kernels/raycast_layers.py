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

from soma_isaac.kernels.raycast import FLOOR_TILE, in_sun

wp.set_module_options({"enable_backward": False})

NOTHING, FLOOR = -1, -2
"""Faces of pixels that show the sky or the floor."""

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


@wp.struct
class Scene:
    """What both passes read: triangles and their colours, light, and the camera."""

    mesh: wp.uint64
    triangles: wp.array(dtype=wp.int32)
    normals: wp.array(dtype=wp.vec3)
    vertex_count: int
    face_count: int
    piece_weights: wp.array(dtype=vec_pieces)
    piece_colors: wp.array(dtype=wp.vec3)
    draw_floor: int
    to_sun: wp.vec3
    sun: wp.vec3
    sky: wp.vec3
    background: wp.vec3
    origin: wp.vec3
    right: wp.vec3
    up: wp.vec3
    ahead: wp.vec3
    width: int
    height: int


@wp.struct
class Seen:
    """What one ray shows; ``distance`` is along the ray, 0 where it hits nothing."""

    color: wp.vec3
    distance: float
    normal: wp.vec3
    face: int


@wp.func
def _ray(scene: Scene, column: float, row: float) -> wp.vec3:
    x = (2.0 * column / float(scene.width) - 1.0) * float(scene.width) / float(scene.height)
    y = 1.0 - 2.0 * row / float(scene.height)
    return wp.normalize(scene.ahead + scene.right * x + scene.up * y)


@wp.func
def _floor_color(scene: Scene, point: wp.vec3, reach: float) -> wp.vec3:
    tile = int(wp.floor(point[0] / FLOOR_TILE)) + int(wp.floor(point[1] / FLOOR_TILE))
    shade = wp.where((tile & 1) == 0, 0.66, 0.58)
    lit = in_sun(scene.mesh, point, wp.vec3(0.0, 0.0, 1.0), scene.to_sun)
    color = (scene.sky * 0.40 + scene.sun * (0.62 * lit * scene.to_sun[2])) * shade
    clear = wp.exp(-(reach / HAZE) * (reach / HAZE))
    return color * clear + scene.background * (1.0 - clear)


@wp.func
def _skin_color(scene: Scene, albedo: wp.vec3, point: wp.vec3, normal: wp.vec3, direction: wp.vec3) -> wp.vec3:
    diffuse = wp.max(wp.dot(normal, scene.to_sun), 0.0)
    if diffuse > 0.0:
        diffuse *= in_sun(scene.mesh, point, normal, scene.to_sun)
    light = scene.sky * (0.34 + 0.18 * normal[2]) + scene.sun * (0.80 * diffuse)
    rim = wp.pow(1.0 - wp.max(-wp.dot(normal, direction), 0.0), 3.0)
    return wp.cw_mul(albedo, light) + scene.sky * (0.08 * rim)


@wp.func
def _albedo(scene: Scene, face: int, u: float, v: float) -> wp.vec3:
    weights = scene.piece_weights[scene.triangles[3 * face] % scene.vertex_count] * u
    weights += scene.piece_weights[scene.triangles[3 * face + 1] % scene.vertex_count] * v
    weights += scene.piece_weights[scene.triangles[3 * face + 2] % scene.vertex_count] * (1.0 - u - v)
    largest = int(0)
    for piece in range(1, PIECE_COUNT):
        if weights[piece] > weights[largest]:
            largest = piece
    return scene.piece_colors[(face // scene.face_count) * PIECE_COUNT + largest]


@wp.func
def _surface_normal(scene: Scene, face: int, u: float, v: float, flat: wp.vec3, direction: wp.vec3) -> wp.vec3:
    normal = scene.normals[scene.triangles[3 * face]] * u + scene.normals[scene.triangles[3 * face + 1]] * v
    normal = wp.normalize(normal + scene.normals[scene.triangles[3 * face + 2]] * (1.0 - u - v) + flat * 1.0e-3)
    # by the face's side: near the outline a smooth normal may lean away a little, and must not be turned over for it
    if wp.dot(flat, direction) > 0.0:
        normal = -normal
    return normal


@wp.func
def _cast(scene: Scene, direction: wp.vec3) -> Seen:
    seen = Seen()
    seen.color = scene.background
    seen.face = -1
    reach = float(1.0e4)
    if scene.draw_floor == 1 and direction[2] < -1.0e-4:
        reach = -scene.origin[2] / direction[2]
    query = wp.mesh_query_ray(scene.mesh, scene.origin, direction, reach)
    if query.result:
        seen.face = query.face
        seen.distance = query.t
        seen.normal = _surface_normal(scene, query.face, query.u, query.v, query.normal, direction)
        point = scene.origin + direction * query.t
        albedo = _albedo(scene, query.face, query.u, query.v)
        seen.color = _skin_color(scene, albedo, point, seen.normal, direction)
    elif reach < 1.0e4:
        seen.face = -2
        seen.distance = reach
        seen.normal = wp.vec3(0.0, 0.0, 1.0)
        seen.color = _floor_color(scene, scene.origin + direction * reach, reach)
    return seen


@wp.kernel
def trace_kernel(
    scene: Scene,
    # out
    color_out: wp.array(dtype=wp.vec3),
    depth_out: wp.array(dtype=wp.float32),
    normal_out: wp.array(dtype=wp.vec3),
    face_out: wp.array(dtype=wp.int32),
):
    """One ray through the centre of each pixel."""
    pixel = wp.tid()
    direction = _ray(scene, float(pixel % scene.width) + 0.5, float(pixel // scene.width) + 0.5)
    seen = _cast(scene, direction)
    color_out[pixel] = seen.color
    depth_out[pixel] = seen.distance * wp.dot(direction, scene.ahead)
    normal_out[pixel] = seen.normal
    face_out[pixel] = seen.face


@wp.kernel
def smooth_kernel(
    scene: Scene,
    color: wp.array(dtype=wp.vec3),
    # out
    color_out: wp.array(dtype=wp.vec3),
):
    """Four rays where the colour of the centres differs from a neighbour's; a copy elsewhere."""
    pixel = wp.tid()
    width = scene.width
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
    if row + 1 < scene.height:
        contrast = wp.max(contrast, wp.max(wp.abs(color[pixel + width] - own)))
    if contrast <= CONTRAST:
        color_out[pixel] = own
        return
    total = wp.vec3(0.0, 0.0, 0.0)
    for sample in range(4):
        x = float(column) + 0.25 + 0.5 * float(sample % 2)
        y = float(row) + 0.25 + 0.5 * float(sample // 2)
        seen = _cast(scene, _ray(scene, x, y))
        total += seen.color
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
    scene = Scene()
    scene.mesh, scene.triangles, scene.normals = mesh.id, mesh.indices, normals
    scene.vertex_count, scene.face_count, scene.piece_weights, scene.piece_colors = coat
    scene.to_sun, scene.sun, scene.sky, scene.background = light
    scene.origin, scene.right, scene.up, scene.ahead = (wp.vec3(*map(float, axis)) for axis in camera_axes)
    scene.width, scene.height, scene.draw_floor = width, height, int(draw_floor)
    wp.launch(trace_kernel, dim=width * height, inputs=[scene], outputs=list(traced), device=mesh.device)
    wp.launch(
        smooth_kernel,
        dim=width * height,
        inputs=[scene, traced.color],
        outputs=[color_out],
        device=mesh.device,
    )
