"""Renderers of posed bodies: what they are given, what they give, and the one that needs nothing but Warp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import warp as wp

from soma_isaac.kernels.raycast_layers import CoatArrays, LayerArrays, LightArrays, launch_layers, vec_pieces
from soma_isaac.render.clothes import piece_colors, piece_weights
from soma_isaac.render.parts import triangle_parts
from soma_isaac.render.plan import BodySpec, LightSpec
from soma_isaac.render.scene import Camera
from soma_isaac.rig.rig import SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton

GAMMA = 1.0 / 2.2


@dataclass(frozen=True, eq=False)
class ImageLayers:
    """One picture and what each of its pixels shows.

    Attributes:
        rgb: [H, W, 3] uint8, sRGB.
        depth: [H, W] float32 m along the viewing direction; 0 where nothing was hit.
        normal: [H, W, 3] float32 unit, world, Z-up, on the side that is seen; 0 where nothing was hit.
        part: [H, W] uint8, 1 + index into ``PART_NAMES``; 0 where there is no body.
        instance: [H, W] uint16, 1 + index of the body; 0 where there is none.
    """

    rgb: np.ndarray
    depth: np.ndarray
    normal: np.ndarray
    part: np.ndarray
    instance: np.ndarray


class Renderer(Protocol):
    """Draws the bodies of one scene, frame by frame."""

    def render(
        self, vertices: np.ndarray, normals: np.ndarray, cameras: Sequence[Camera], size: tuple[int, int]
    ) -> list[ImageLayers]:
        """Pictures of one frame.

        Args:
            vertices: [B, V, 3] m, world, Z-up; the floor is z = 0.
            normals: [B, V, 3] unit vertex normals.
            cameras: Where from.
            size: (width, height) in pixels.

        Returns:
            One picture per camera.
        """
        ...

    def close(self) -> None:
        """Give back what the renderer took; it renders no more."""
        ...


@dataclass(frozen=True, eq=False)
class BodySurface:
    """What all bodies of a scene share, whatever their shape.

    Attributes:
        triangles: [N, 3] int32.
        parts: [N] uint8, 1 + index into ``PART_NAMES``.
        pieces: [V, 7] float32 weights of the pieces of clothing, see `piece_weights`.
    """

    triangles: np.ndarray
    parts: np.ndarray
    pieces: np.ndarray


def body_surface(mesh: SkinnedMesh, skeleton: Skeleton) -> BodySurface:
    """The surface of a level of detail of the template."""
    parts = triangle_parts(mesh, skeleton.joint_names, skeleton.parent_indices)
    return BodySurface(mesh.triangles, parts, piece_weights(mesh, skeleton))


MakeRenderer = Callable[[str, Sequence[BodySpec], BodySurface, LightSpec, str], Renderer]
"""Gives a renderer by name for a scene's bodies, their surface, its light and a Warp device."""


def make_renderer(
    name: str, bodies: Sequence[BodySpec], surface: BodySurface, light: LightSpec, device: str
) -> Renderer:
    """A renderer that runs without Isaac Sim: ``raycast`` or ``newton``.

    Raises:
        MissingDependency: Newton is not installed.
        ValueError: There is no such renderer.
    """
    if name == "raycast":
        return RayCastRenderer(bodies, surface, light, device)
    if name == "newton":
        from soma_isaac.render.newton_camera import NewtonRenderer

        return NewtonRenderer(bodies, surface, light, device)
    raise ValueError(f"{name!r} is neither raycast nor newton")


def check_frame(vertices: np.ndarray, normals: np.ndarray, body_count: int) -> None:
    """Refuse arrays that are not those of so many bodies.

    Raises:
        ValueError: They are not.
    """
    if vertices.ndim != 3 or len(vertices) != body_count or vertices.shape != normals.shape:
        raise ValueError(f"vertices {vertices.shape} and normals {normals.shape} of {body_count} bodies")


class RayCastRenderer:
    """Casts rays with Warp's own tree over one mesh that holds all bodies; the tree is built once and then refitted.

    The pictures of a scene depend on the order of its frames only through the tree's shape, that is where two
    triangles are hit at the very same distance. Whoever needs equal bytes renders the same frames in the same order.

    Args:
        bodies: The people, for their colours.
        surface: Topology that all bodies share.
        light: Sun and sky.
        device: Warp device.
    """

    def __init__(
        self,
        bodies: Sequence[BodySpec],
        surface: BodySurface,
        light: LightSpec,
        device: str = "cpu",
    ) -> None:
        self._device = wp.get_device(device)
        self._surface = surface
        self._body_count = len(bodies)
        colors = np.concatenate([piece_colors(body) for body in bodies]).astype(np.float32)
        self._coat = CoatArrays(
            len(surface.pieces),
            len(surface.triangles),
            wp.array(surface.pieces, dtype=vec_pieces, device=self._device),
            wp.array(colors, dtype=wp.vec3, device=self._device),
        )
        self._light = LightArrays(
            wp.vec3(*light.to_sun()), wp.vec3(*light.sun_rgb), wp.vec3(*light.sky_rgb), wp.vec3(*light.background_rgb)
        )
        self._mesh: wp.Mesh | None = None

    def render(
        self, vertices: np.ndarray, normals: np.ndarray, cameras: Sequence[Camera], size: tuple[int, int]
    ) -> list[ImageLayers]:
        """Pictures of one frame; see :class:`Renderer`.

        Raises:
            ValueError: The arrays do not fit the bodies.
        """
        check_frame(vertices, normals, self._body_count)
        points = np.ascontiguousarray(vertices, np.float32).reshape(-1, 3)
        if self._mesh is None:
            starts = np.arange(self._body_count, dtype=np.int32)[:, None, None] * vertices.shape[1]
            self._mesh = wp.Mesh(
                points=wp.array(points, dtype=wp.vec3, device=self._device),
                indices=wp.array(
                    (self._surface.triangles[None] + starts).reshape(-1), dtype=wp.int32, device=self._device
                ),
            )
        else:
            self._mesh.points.assign(points)
            self._mesh.refit()
        flat = np.ascontiguousarray(normals, np.float32).reshape(-1, 3)
        vertex_normals = wp.array(flat, dtype=wp.vec3, device=self._device)
        return [self._picture(self._mesh, vertex_normals, camera, size) for camera in cameras]

    def close(self) -> None:
        """Let go of the tree."""
        self._mesh = None

    def _picture(self, mesh: wp.Mesh, normals: wp.array, camera: Camera, size: tuple[int, int]) -> ImageLayers:
        width, height = size
        count = width * height
        kinds = (wp.vec3, wp.float32, wp.vec3, wp.int32)
        traced = LayerArrays(*(wp.empty(count, dtype=kind, device=self._device) for kind in kinds))
        color = wp.empty(count, dtype=wp.vec3, device=self._device)
        launch_layers(mesh, normals, self._coat, self._light, camera.axes(), size, True, traced, color)
        linear = color.numpy().reshape(height, width, 3)
        face = traced.face.numpy().reshape(height, width)
        shown = np.maximum(face, 0)
        faces_per_body = len(self._surface.triangles)
        return ImageLayers(
            rgb=display_rgb(linear),
            depth=traced.depth.numpy().reshape(height, width),
            normal=traced.normal.numpy().reshape(height, width, 3),
            part=np.where(face >= 0, self._surface.parts[shown % faces_per_body], 0).astype(np.uint8),
            instance=np.where(face >= 0, shown // faces_per_body + 1, 0).astype(np.uint16),
        )


def display_rgb(linear: np.ndarray) -> np.ndarray:
    """Bytes [..., 3] uint8 that show linear colours [..., 3]; what is brighter than 1 is 1."""
    return _SRGB[(np.clip(linear, 0.0, 1.0) * (len(_SRGB) - 1) + 0.5).astype(np.int32)]


_SRGB = (np.linspace(0.0, 1.0, 4096) ** GAMMA * 255.0 + 0.5).astype(np.uint8)
"""The display's response, tabulated: a power per pixel costs more than the rays of some pictures."""
