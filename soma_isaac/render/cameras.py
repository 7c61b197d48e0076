"""Cameras around a scene: where they stand, how far away, and where points fall in their pictures."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.render.scene import Camera

RIGS = "front, turn, orbitN or randomN with N from 1 to 64, e.g. orbit4"
TURN = "turn"
"""The rig of one camera that goes once around the bodies while the scene's frames pass."""

FILL = 0.95
"""Share of the picture that the bodies fill at most."""

TURN_SAMPLES = 48
"""Azimuths, at most, at which a turning camera's distance is found; between them `FILL` leaves room."""


def view_angles(rig: str, generator: np.random.Generator) -> list[tuple[float, float]]:
    """Azimuth and elevation [rad] of each camera of a rig.

    Args:
        rig: ``front`` for one camera on the +X side, ``turn`` for one that begins there and goes around them,
            ``orbitN`` for N around them at one elevation, ``randomN`` for N anywhere between 0 and 60 degrees above
            the floor.
        generator: Source of chance.

    Raises:
        InputRejected: There is no such rig.
    """
    match = re.fullmatch(r"(?:(front|turn)|(orbit|random)([1-9]\d?))", rig)
    count = int(match[3]) if match is not None and match[3] else 1
    if match is None or count > 64:
        raise InputRejected(f"{rig!r} is none of {RIGS}")
    start = float(generator.uniform(-np.pi, np.pi))
    elevation = float(np.deg2rad(generator.uniform(4.0, 22.0)))
    if match[1]:
        return [(0.0, elevation)]
    if match[2] == "orbit":
        return [(start + 2.0 * np.pi * number / count, elevation) for number in range(count)]
    # uniform over the sphere's surface between the two elevations
    sines = generator.uniform(np.sin(np.deg2rad(0.0)), np.sin(np.deg2rad(60.0)), count)
    return [(float(generator.uniform(-np.pi, np.pi)), float(np.arcsin(sine))) for sine in sines]


def fitted_camera(
    points: np.ndarray, azimuth: float, elevation: float, vertical_fov: float, size: tuple[int, int], margin: float
) -> Camera:
    """The camera at these angles that has all points in its picture.

    Args:
        points: [N, 3] m, world, Z-up.
        azimuth: From +X towards +Y [rad], seen from the bodies.
        elevation: Above the horizon [rad].
        vertical_fov: Field of view [rad].
        size: (width, height) in pixels.
        margin: What to leave around each point [m].
    """
    return turning_cameras(points, [azimuth], elevation, vertical_fov, size, margin)[0]


def turning_cameras(
    points: np.ndarray,
    azimuths: Sequence[float],
    elevation: float,
    vertical_fov: float,
    size: tuple[int, int],
    margin: float,
) -> list[Camera]:
    """Cameras at these azimuths, all as far away as the one that needs it most; see `fitted_camera`."""
    low, high = points.min(axis=0), points.max(axis=0)
    aim = 0.5 * (low + high)
    local = points - aim
    half = np.tan(0.5 * vertical_fov)
    backs = [_back(azimuth, elevation) for azimuth in azimuths]
    distance = 0.0
    for back in backs[:: -(-len(backs) // TURN_SAMPLES)]:
        _, right, up, _ = Camera(_triple(aim + back), _triple(aim), vertical_fov).axes()
        right, up = right / half, up / half
        # A point is in the picture if its distance from the axis is at most half the field's width at its depth.
        across = (np.abs(local @ right) + margin) * size[1] / size[0]
        reach = np.maximum(np.abs(local @ up) + margin, across) / (half * FILL) + local @ back
        distance = max(distance, float(reach.max()))
    return [Camera(_triple(aim + back * distance), _triple(aim), vertical_fov) for back in backs]


def _back(azimuth: float, elevation: float) -> np.ndarray:
    flat = np.cos(elevation)
    return np.array([flat * np.cos(azimuth), flat * np.sin(azimuth), np.sin(elevation)])


def camera_points(points: np.ndarray, camera: Camera) -> np.ndarray:
    """World points [..., 3] in the camera's frame (x right, y down, z ahead, as OpenCV), m."""
    rotation, translation = camera_transform(camera)
    return points @ rotation.T + translation


def camera_transform(camera: Camera) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] and translation [3] m from the world to the camera's frame (x right, y down, z ahead)."""
    origin, right, up, ahead = camera.axes()
    scale = np.tan(0.5 * camera.vertical_fov)
    rotation = np.stack([right / scale, -up / scale, ahead])
    return rotation, -rotation @ origin


def intrinsics(camera: Camera, size: tuple[int, int]) -> Mapping[str, Any]:
    """``fx``, ``fy``, ``cx``, ``cy`` in pixels; the centre of the upper left pixel is (0, 0)."""
    focal = 0.5 * size[1] / np.tan(0.5 * camera.vertical_fov)
    return {"fx": focal, "fy": focal, "cx": 0.5 * (size[0] - 1), "cy": 0.5 * (size[1] - 1)}


def project(points: np.ndarray, camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """Pixels of world points: the inverse of the rays that the renderers cast.

    Args:
        points: [..., 3] m, world, Z-up.
        camera: Where from.
        size: (width, height) in pixels.

    Returns:
        [..., 2] column and row, fractional, pixel centres at whole numbers; NaN behind the camera.
    """
    local = camera_points(np.asarray(points, np.float64), camera)
    depth = np.where(local[..., 2] > 1e-6, local[..., 2], np.nan)
    lens = intrinsics(camera, size)
    column = local[..., 0] / depth * lens["fx"] + lens["cx"]
    row = local[..., 1] / depth * lens["fy"] + lens["cy"]
    return np.stack([column, row], axis=-1)


def _triple(point: np.ndarray) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in point)
    return x, y, z
