"""Newton's ``SensorCamera`` behind the renderer protocol: the plan's bodies as deformable triangles of a Newton model.

What Newton cannot give, and what stands in for it:

- it interpolates no normals over deformable triangles, so that shading and normals are those of flat triangles;
- it tells neither which triangle nor which body a pixel shows, only "a deformable triangle". A second picture without
  light, whose albedo is a code of body and part per triangle, tells both;
- it colours whole triangles, so that hems follow the triangles' edges; the floor has one colour and no haze;
- shadows leave 30 % of the sun.

Depth, the two segmentations and the cameras agree with the package's own ray caster.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import warp as wp

from soma_isaac.errors import MissingDependency
from soma_isaac.math.so3 import quat_xyzw_from_matrix
from soma_isaac.render.cameras import camera_transform
from soma_isaac.render.clothes import piece_colors, triangle_pieces
from soma_isaac.render.parts import PART_NAMES
from soma_isaac.render.plan import BodySpec, LightSpec
from soma_isaac.render.renderer import BodySurface, ImageLayers, check_frame, display_rgb
from soma_isaac.render.scene import Camera

FLOOR_RGB = (0.62, 0.62, 0.62)
SKY_UP, SKY_DOWN, SUN = 0.52, 0.16, 0.80
"""Shares of sky and sun in the light on a body, as the package's ray caster has them."""

SAMPLES = 4
"""Rays per pixel of the colours; the other layers are those of the pixel's centre."""

_TRIANGLE = 0xFFFFFFFD
_DIGITS = 32
"""Values per channel in the code of body and part: each is 8 steps of a byte wide, so that rounding changes none."""

_CODES = len(PART_NAMES) + 1
LARGEST_BODY_COUNT = _DIGITS**3 // _CODES


class NewtonRenderer:
    """Draws with Newton's ray-traced camera sensor.

    The model is built once per number of bodies and topology and kept for later scenes; each scene begins with a tree
    of its own, so that equal scenes give equal bytes whatever was drawn before.

    Args:
        bodies: The people, for their colours.
        surface: Topology that all bodies share.
        light: Sun and sky.
        device: Warp device.

    Raises:
        MissingDependency: Newton is not installed.
        ValueError: There are more than 1,820 bodies.
    """

    def __init__(self, bodies: Sequence[BodySpec], surface: BodySurface, light: LightSpec, device: str = "cpu") -> None:
        if len(bodies) > LARGEST_BODY_COUNT:
            raise ValueError(f"{len(bodies)} bodies; the code of bodies and parts has room for {LARGEST_BODY_COUNT}")
        self._body_count = len(bodies)
        self._light = light
        count, pieces = len(bodies), triangle_pieces(surface.pieces, surface.triangles)
        self._model = _model(count, len(surface.pieces), surface.triangles.astype(np.int32).tobytes(), device)
        colors = np.concatenate([piece_colors(body)[pieces] for body in bodies])
        codes = (np.arange(count)[:, None] * _CODES + surface.parts).reshape(-1)
        self._colors = _srgb(colors)
        # the middle of each digit's bytes; +1 because Newton cuts off the fraction when it packs bytes
        digits = np.stack([codes // _DIGITS**place % _DIGITS for place in range(3)], axis=1)
        self._codes = _srgb((digits * (256 // _DIGITS) + 128 // _DIGITS + 0.5) / 255.0)
        self._state = self._model.next_state()

    def render(
        self, vertices: np.ndarray, normals: np.ndarray, cameras: Sequence[Camera], size: tuple[int, int]
    ) -> list[ImageLayers]:
        """Pictures of one frame; see :class:`soma_isaac.render.renderer.Renderer`. The normals are not used.

        Raises:
            ValueError: The arrays do not fit the bodies.
        """
        check_frame(vertices, normals, self._body_count)
        model, light = self._model, self._light
        self._state.particle_q.assign(np.ascontiguousarray(vertices, np.float32).reshape(-1, 3))
        sensor = model.sensor
        sensor.create_default_light(
            direction=wp.vec3(*(-axis for axis in light.to_sun())), color=[SUN * value for value in light.sun_rgb]
        )
        sensor.set_ambient_light(*([share * value for value in light.sky_rgb] for share in (SKY_UP, SKY_DOWN)))
        sensor.sync_deformable_meshes(self._state)
        return [self._picture(camera, size) for camera in cameras]

    def close(self) -> None:
        """Nothing to give back: the model is kept for the next scene."""

    def _picture(self, camera: Camera, size: tuple[int, int]) -> ImageLayers:
        width, height = size
        sensor, model = self._model.sensor, self._model.model
        place = wp.array([_transform(camera)], dtype=wp.transformf, device=sensor.device)
        views = self._state, place
        options: dict[str, Any] = {
            "world_indices": wp.zeros(1, dtype=wp.int32, device=sensor.device),
            "sync_deformables": False,
        }
        color, hdr = sensor.allocate_image_color(1, width, height), sensor.allocate_image_color_hdr(1, width, height)
        model.tri_color.assign(self._colors)
        rays = self._model.rays(size, camera.vertical_fov, SAMPLES)
        sensor.update(*views, rays, color_image=color, hdr_color_image=hdr, render_config=self._model.lit, **options)
        depth, normal = sensor.allocate_image_depth(1, width, height), sensor.allocate_image_normal(1, width, height)
        albedo, shape = (
            sensor.allocate_image_albedo(1, width, height),
            sensor.allocate_image_shape_index(1, width, height),
        )
        model.tri_color.assign(self._codes)
        layers = {
            "forward_depth_image": depth,
            "normal_image": normal,
            "albedo_image": albedo,
            "shape_index_image": shape,
        }
        rays = self._model.rays(size, camera.vertical_fov, 1)
        sensor.update(*views, rays, render_config=self._model.coded, **layers, **options)
        # The background is laid under here: Newton compiles its kernel anew for each colour of it.
        covered = (color.numpy()[0] >> np.uint32(24)).astype(np.float64)[..., None] / 255.0
        linear = hdr.numpy()[0] + (1.0 - covered) * np.array(self._light.background_rgb)
        coded = np.where(shape.numpy()[0] == _TRIANGLE, _decoded(albedo.numpy()[0]), 0)
        hit = shape.numpy()[0] == _TRIANGLE
        return ImageLayers(
            rgb=display_rgb(linear),
            depth=depth.numpy()[0],
            normal=normal.numpy()[0],
            part=(coded % _CODES).astype(np.uint8),
            instance=np.where(hit, coded // _CODES + 1, 0).astype(np.uint16),
        )


class _Model:
    """A Newton model of bodies that share a topology, its camera sensor, and rays that were used last."""

    def __init__(self, body_count: int, vertex_count: int, triangles: np.ndarray, device: str) -> None:
        newton = _newton()
        camera = newton.sensors.SensorCamera
        builder = newton.ModelBuilder(up_axis=newton.Axis.Z)
        builder.add_ground_plane(color=tuple(_srgb(np.array(FLOOR_RGB)).tolist()))
        # Newton leaves triangles without area out, and their colours would move on: so it is built from any points.
        points = np.random.default_rng(0).uniform(0.0, 1.0, (body_count * vertex_count, 3)).astype(np.float32)
        count = len(points)
        builder.add_particles(list(points), [wp.vec3()] * count, [0.0] * count, [1e-3] * count, [0] * count)
        starts = np.arange(body_count)[:, None, None] * vertex_count
        builder.add_triangles(*(triangles[None] + starts).reshape(-1, 3).T)
        self.model: Any = builder.finalize(device=device)
        if self.model.tri_count != body_count * len(triangles):
            raise ValueError(f"Newton kept {self.model.tri_count} of {body_count * len(triangles)} triangles")
        self.sensor: Any = camera(self.model, load_textures=False)
        sides = {"enable_particles": False, "enable_backface_culling": False}
        self.lit: Any = camera.RenderConfig(enable_shadows=True, anti_aliasing=camera.AntiAliasing.SSAA, **sides)
        linear = type(self.lit.output_color_space).LINEAR
        self.coded: Any = camera.RenderConfig(output_color_space=linear, **sides)
        self._states = [self.model.state(), self.model.state()]
        self._rays: dict[tuple[tuple[int, int], float, int], Any] = {}

    def next_state(self) -> Any:
        """The state that was not used last: Newton builds a new tree for points that lie elsewhere in memory."""
        self._states.reverse()
        return self._states[0]

    def rays(self, size: tuple[int, int], vertical_fov: float, samples: int) -> Any:
        """Rays of a pinhole camera; those of the last few kinds are kept."""
        key = (size, vertical_fov, samples)
        if key not in self._rays:
            if len(self._rays) == 4:
                self._rays.clear()
            self._rays[key] = self.sensor.compute_camera_rays_pinhole(
                *size, camera_fov=vertical_fov, sample_count=samples, device=self.sensor.device
            )
        return self._rays[key]


@functools.lru_cache(maxsize=2)
def _model(body_count: int, vertex_count: int, triangles: bytes, device: str) -> _Model:
    return _Model(body_count, vertex_count, np.frombuffer(triangles, np.int32).reshape(-1, 3), device)


def _newton() -> Any:
    try:
        import newton
        import newton.sensors
    except ImportError as error:
        raise MissingDependency("newton", "renderer=newton", "pip install 'soma_isaac[newton]'") from error
    return newton


def _transform(camera: Camera) -> wp.transformf:
    """World pose of Newton's camera frame, which looks along -Z with +Y up."""
    rotation, _ = camera_transform(camera)
    axes = rotation.T * np.array([1.0, -1.0, -1.0])
    return wp.transformf(wp.vec3(*camera.position), wp.quat(*quat_xyzw_from_matrix(axes).tolist()))


def _srgb(linear: np.ndarray) -> np.ndarray:
    """Display values of linear colours by the sRGB curve, IEC 61966-2-1; Newton takes colours so."""
    linear = np.asarray(linear, np.float64)
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1.0 / 2.4) - 0.055).astype(np.float32)


def _decoded(packed: np.ndarray) -> np.ndarray:
    """Codes [H, W] of packed albedos, red first."""
    width = 256 // _DIGITS
    places = np.arange(3)
    channels = (packed[..., None] >> (8 * places).astype(np.uint32)) & np.uint32(255)
    return (channels.astype(np.int64) // width) @ _DIGITS**places
