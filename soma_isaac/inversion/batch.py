"""Frames on their way to a pose, and what comes of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import warp as wp

from soma_isaac.inversion.prepared import InversionBody


@dataclass(frozen=True, eq=False)
class PoseInversionResult:
    """Poses of B frames.

    Attributes:
        rotations: [B, 77, 3, 3] relative to the T-pose in world-aligned axes, as ``SomaBody.pose`` takes them.
        absolute_rotations: [B, 77, 3, 3] the rig's local rotations.
        root_translation: [B, 3] m, Hips.
        per_vertex_error: [B, V] m, distance of the posed body, twist helpers and correctives included, from the target;
            NaN where the target has no vertex. Weights play no part in it.
        vertex_weights: [1 or B, V] what each vertex counted in the end.
        steps: [B] Gauss-Newton steps that helped.
    """

    rotations: np.ndarray
    absolute_rotations: np.ndarray
    root_translation: np.ndarray
    per_vertex_error: np.ndarray
    vertex_weights: np.ndarray
    steps: np.ndarray


@dataclass(eq=False)
class PoseBatch:
    """Frames on their way to a pose.

    Attributes:
        body: Bodies and weights: of 1 or B rows.
        targets: [B, V] vec3 m, without correctives.
        origins: [B] vec3 m, a point near each frame's body.
        moments: [B, 3, 4 N] float64.
        locals: [B, P] mat33d, local turns.
        shifts: [B] vec3d m, Hips from the origin.
        steps: [B].
    """

    body: InversionBody
    targets: wp.array
    origins: wp.array
    moments: wp.array
    locals: wp.array
    shifts: wp.array
    steps: np.ndarray
