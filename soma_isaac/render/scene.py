"""A scene of coloured triangle meshes over a floor, and its picture.

Everything is in the Z-up world, metres, as the robot motions are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SAMPLES_PER_AXIS = 2


@dataclass(frozen=True, eq=False)
class SceneMesh:
    """A mesh with one colour, or one for each vertex.

    Attributes:
        vertices: [V, 3] m, world.
        triangles: [N, 3] int.
        rgb: Colour, three values in [0, 1], or [V, 3].
    """

    vertices: np.ndarray
    triangles: np.ndarray
    rgb: tuple[float, float, float] | np.ndarray


@dataclass(frozen=True)
class Camera:
    """A pinhole camera.

    Attributes:
        position: [3] m, world.
        target: [3] m, the point in the middle of the picture.
        vertical_fov: Field of view [rad].
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    vertical_fov: float = 0.6

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Origin, right and up (scaled by tan(fov / 2)) and the unit viewing direction, each [3]."""
        origin = np.asarray(self.position, np.float64)
        ahead = np.asarray(self.target, np.float64) - origin
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, (0.0, 0.0, 1.0))
        right /= np.linalg.norm(right)
        up = np.cross(right, ahead)
        scale = np.tan(0.5 * self.vertical_fov)
        return origin, right * scale, up * scale, ahead


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Area-weighted unit normals [V, 3]; vertices without triangles get +Z."""
    corners = vertices[triangles]
    face = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros((len(vertices), 3))
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], face)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-12, normals / np.maximum(length, 1e-12), (0.0, 0.0, 1.0))


def render_scene(
    meshes: Sequence[SceneMesh],
    camera: Camera,
    size: tuple[int, int] = (320, 320),
    floor_height: float | None = 0.0,
    device: str = "cpu",
) -> np.ndarray:
    """Draw ``meshes`` with smooth shading and shadows on a tiled floor, anti-aliased by 2 x 2 samples.

    Args:
        meshes: At least one mesh.
        camera: Where from.
        size: (width, height) in pixels.
        floor_height: z of the floor [m], or ``None`` for none.
        device: Warp device.

    Returns:
        sRGB image [height, width, 3] uint8.

    Raises:
        ValueError: ``meshes`` is empty.
    """
    # Imported here so that describing a scene does not need Warp.
    from soma_isaac.kernels.raycast import launch_raycast

    if not meshes:
        raise ValueError("a scene needs at least one mesh")
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    vertices = np.concatenate([np.asarray(mesh.vertices, np.float64) for mesh in meshes])
    triangles = np.concatenate([mesh.triangles + start for mesh, start in zip(meshes, starts, strict=True)])
    normals = np.concatenate([vertex_normals(np.asarray(mesh.vertices), mesh.triangles) for mesh in meshes])
    colors = np.concatenate([np.broadcast_to(mesh.rgb, (len(mesh.vertices), 3)) for mesh in meshes])
    width, height = size[0] * SAMPLES_PER_AXIS, size[1] * SAMPLES_PER_AXIS
    linear = launch_raycast(vertices, triangles, normals, colors, camera.axes(), (width, height), floor_height, device)
    linear = linear.reshape(size[1], SAMPLES_PER_AXIS, size[0], SAMPLES_PER_AXIS, 3).mean(axis=(1, 3))
    return (np.clip(linear, 0.0, 1.0) ** (1.0 / 1.6) * 255.0 + 0.5).astype(np.uint8)
