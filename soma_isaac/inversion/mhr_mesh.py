"""MHR samples to SOMA by mesh: every sample is another person, in one pose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.identities.mhr import MhrIdentity
from soma_isaac.body.layer import SomaLayer
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.smpl_mesh import SETTINGS

CHUNK = 64
SCALES, FLEXIBLES = slice(136, 204), slice(130, 136)


@dataclass(frozen=True, eq=False)
class MeshSamples:
    """Poses of N persons.

    Attributes:
        rotations: [N, 77, 3, 3] relative to the T-pose.
        root_translation: [N, 3] m, Hips.
        per_vertex_error: [N, V] float16 m.
        mean_error: [N] m.
        largest_error: [N] m.
    """

    rotations: np.ndarray
    root_translation: np.ndarray
    per_vertex_error: np.ndarray
    mean_error: np.ndarray
    largest_error: np.ndarray


def convert_samples(
    model: MhrIdentity,
    layer: SomaLayer,
    inversion: PoseInversion,
    shapes: np.ndarray,
    parameters: np.ndarray,
    *,
    flexibles: bool = True,
) -> MeshSamples:
    """Convert samples, 64 at a time.

    Args:
        model: The MHR model for the layer's LOD.
        layer: SOMA layer of the template identity.
        inversion: Of the layer's body.
        shapes: [N, 45].
        parameters: [N, 204].
        flexibles: Shape the persons with parameters 130 to 135 as bone lengths (SOMA-X 0.3), not with zeros (0.1).

    Raises:
        InputRejected: A shape does not fit.
    """
    count = len(shapes)
    rotations, place = np.empty((count, 77, 3, 3)), np.empty((count, 3))
    errors = np.empty((count, layer.vertex_count), dtype=np.float16)
    mean, largest = np.empty(count), np.empty(count)
    for begin in range(0, count, CHUNK):
        rows = slice(begin, min(begin + CHUNK, count))
        extras = {"bone_length_flexibles": parameters[rows, FLEXIBLES]} if flexibles else {}
        rest = model.rest_points(shapes[rows], parameters[rows, SCALES], **extras)
        identity = layer.prepare_shape(rest)
        target = model.transfer.apply(model.posed_points(shapes[rows], parameters[rows]))
        result = inversion.fit(target, inversion.prepare(identity), SETTINGS)
        rotations[rows] = result.rotations
        place[rows] = result.root_translation
        errors[rows] = result.per_vertex_error
        mean[rows], largest[rows] = result.per_vertex_error.mean(axis=1), result.per_vertex_error.max(axis=1)
    return MeshSamples(rotations, place, errors, mean, largest)
