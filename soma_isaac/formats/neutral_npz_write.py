"""Write ``SOMA_neutral.npz``, the shape space of the SOMA body, in SOMA-X's own layout (centimetres, bind pose).

Directions are stored as 16-bit floats on a grid: each row's step is the largest power of two that moves no vertex by
more than a given length per standard deviation. Readers multiply them as they are, and the zeros that the grid leaves
in the low bits compress well. Two arrays are ours: ``preset_names`` and ``preset_coefficients``, named bodies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.limits import DEFAULT_LIMITS
from soma_isaac.formats.npz import npz_bytes
from soma_isaac.math.arrays import frozen_array
from soma_isaac.rig.rig import Rig

CM_PER_M = 100.0


@dataclass(frozen=True, eq=False)
class ShapeSpace:
    """A linear space of bodies: ``mean + (coefficients * standard_deviations) @ directions``.

    Attributes:
        mean: [V, 3] m, bind pose.
        directions: [K, V, 3], unit rows.
        standard_deviations: [K] m; a coefficient of 1 is one standard deviation of the population.
    """

    mean: np.ndarray
    directions: np.ndarray
    standard_deviations: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes.

        Raises:
            InputRejected: An array has another shape or is not finite, or a deviation is not positive.
        """
        count = len(self.standard_deviations)
        mean = frozen_array("mean", self.mean, (None, 3))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(
            self, "directions", frozen_array("directions", self.directions, (count, len(mean), 3), np.float32)
        )
        object.__setattr__(
            self, "standard_deviations", frozen_array("standard_deviations", self.standard_deviations, (count,))
        )
        if (self.standard_deviations <= 0.0).any():
            raise InputRejected("standard_deviations must be positive")

    def coefficients(self, points: np.ndarray) -> np.ndarray:
        """Coefficients [B, K] of the nearest bodies of the space to ``points`` [B, V, 3] m (least squares)."""
        rows = self.directions.reshape(len(self.directions), -1).astype(np.float64) * self.standard_deviations[:, None]
        offsets = (points - self.mean).reshape(len(points), -1)
        return np.linalg.solve(rows @ rows.T, rows @ offsets.T).T

    def bodies(self, coefficients: np.ndarray) -> np.ndarray:
        """Bodies [B, V, 3] m of coefficients [B, K]."""
        scaled = (coefficients * self.standard_deviations).astype(np.float32)
        rows = self.directions.reshape(len(self.directions), -1)
        return self.mean + (scaled @ rows).reshape(-1, *self.mean.shape)


def stored_space(space: ShapeSpace, step_m: float) -> ShapeSpace:
    """The space as the file holds it: 32-bit mean and deviations, directions as 16-bit floats on a grid.

    Args:
        space: The space.
        step_m: Grid step of a vertex coordinate at one standard deviation [m]; the step that is used is the power of
            two below it.
    """
    steps = np.exp2(np.floor(np.log2(step_m / space.standard_deviations))).astype(np.float32)[:, None, None]
    gridded = (np.rint(space.directions / steps) * steps).astype(np.float16)
    eigenvalues = np.square(space.standard_deviations * CM_PER_M).astype(np.float32)
    mean = (space.mean * CM_PER_M).astype(np.float32)
    return ShapeSpace(mean.astype(np.float64) / CM_PER_M, gridded, np.sqrt(eigenvalues, dtype=np.float64) / CM_PER_M)


def neutral_npz(
    space: ShapeSpace,
    *,
    rig: Rig,
    mirror: np.ndarray,
    segments: Mapping[str, np.ndarray],
    presets: Mapping[str, np.ndarray],
    metadata: Mapping[str, object],
) -> bytes:
    """Encode the file; the same arguments give the same bytes.

    Args:
        space: From :func:`stored_space`.
        rig: The rig whose mid and low meshes the space is for; low is the first vertices of mid.
        mirror: [V] left-right permutation of the mid vertices.
        segments: Mid vertex indices by name.
        presets: Coefficients [K] by name.
        metadata: Goes into the file as JSON.

    Raises:
        InputRejected: The space is not of the rig's mid mesh, or the metadata are longer than readers accept.
    """
    mid, low = rig.mesh("mid"), rig.mesh("low")
    if len(space.mean) != mid.vertex_count:
        raise InputRejected(f"the space has {len(space.mean)} vertices, the rig's mid mesh {mid.vertex_count}")
    text = json.dumps(metadata, sort_keys=True)
    if len(text) > DEFAULT_LIMITS.text_length:
        raise InputRejected(f"metadata of {len(text)} characters, readers accept {DEFAULT_LIMITS.text_length}")
    count = len(space.directions)
    deviations_cm = space.standard_deviations * CM_PER_M
    return npz_bytes(
        {
            "mean": (space.mean * CM_PER_M).astype(np.float32),
            "shapedirs": space.directions.reshape(count, -1).astype(np.float16),
            "eigenvalues": np.square(deviations_cm).astype(np.float32),
            "triangles": mid.triangles,
            "face_vert_indices": mid.face_vertex_indices,
            "face_vert_counts": mid.face_vertex_counts,
            "mirror_vert_indices": mirror.astype(np.int32),
            "lod_mid_to_low": np.arange(low.vertex_count, dtype=np.int32),
            "triangles_low": low.triangles,
            "face_vert_indices_low": low.face_vertex_indices,
            "face_vert_counts_low": low.face_vertex_counts,
            **{f"segment_{name}": indices for name, indices in segments.items()},
            "preset_names": np.array(list(presets)),
            "preset_coefficients": np.array(list(presets.values()), dtype=np.float32).reshape(len(presets), count),
            "metadata": np.array(text),
        }
    )
