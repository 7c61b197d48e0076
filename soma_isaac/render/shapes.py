"""Triangle meshes of the primitive shapes that collision models are made of."""

from __future__ import annotations

import numpy as np


def capsule_mesh(
    start: np.ndarray, end: np.ndarray, radius: float, segments: int = 16, rings: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """A capsule from ``start`` to ``end`` [3] with ``radius`` [m]; a sphere where both are equal.

    Returns:
        Vertices [V, 3] m and triangles [N, 3] int32, outward winding.
    """
    axis = np.asarray(end, np.float64) - np.asarray(start, np.float64)
    length = float(np.linalg.norm(axis))
    z = axis / length if length > 1e-9 else np.array([0.0, 0.0, 1.0])
    x = np.cross(z, (1.0, 0.0, 0.0) if abs(z[0]) < 0.9 else (0.0, 1.0, 0.0))
    x /= np.linalg.norm(x)
    y = np.cross(z, x)
    # Rings from pole to pole; the two hemispheres share no ring, so the cylinder lies between them.
    lower = np.linspace(-0.5 * np.pi, 0.0, rings)
    latitude = np.concatenate([lower, -lower[::-1]])
    centre = np.concatenate([np.zeros(rings), np.full(rings, length)])
    longitude = np.arange(segments) * (2.0 * np.pi / segments)
    ring_radius = radius * np.cos(latitude)[:, None]
    points = (
        (ring_radius * np.cos(longitude))[..., None] * x
        + (ring_radius * np.sin(longitude))[..., None] * y
        + (centre + radius * np.sin(latitude))[:, None, None] * z
        + np.asarray(start, np.float64)
    )
    i = np.arange(2 * rings - 1)[:, None] * segments
    j, k = np.arange(segments), (np.arange(segments) + 1) % segments
    quads = np.stack([i + j, i + k, i + segments + k, i + segments + j], axis=-1).reshape(-1, 4)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return points.reshape(-1, 3), triangles
