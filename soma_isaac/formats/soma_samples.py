"""Many single poses, each of another person, as a SOMA animation npz without a frame rate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from soma_isaac.formats.npz import npz_bytes
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.motion.soma import Provenance
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, template_rest_rotations


def soma_samples_bytes(
    rotations: np.ndarray,
    root_translation: np.ndarray,
    model: str,
    coefficients: np.ndarray,
    provenance: Provenance,
    extras: Mapping[str, np.ndarray],
) -> bytes:
    """Encode poses; SOMA-X reads them (``identity_coeffs`` has one row per pose).

    Args:
        rotations: [N, 77, 3, 3] relative to the T-pose.
        root_translation: [N, 3] m, Hips, Y-up.
        model: Identity model.
        coefficients: [N, K].
        provenance: The source; its ``fps_key`` is empty.
        extras: Further arrays, e.g. ``scale_params`` and ``per_vertex_error``.

    Raises:
        InputRejected: A shape does not fit, a value is not finite or a rotation is none.
    """
    rotations = frozen_array("rotations", rotations, (None, 77, 3, 3))
    check_rotations("rotations (sample, joint)", rotations)
    place = frozen_array("root_translation", root_translation, (len(rotations), 3))
    return npz_bytes(
        {
            "poses": rotations,
            "transl": place,
            "root_translation": place,
            "joint_names": np.array(POSE_JOINT_NAMES),
            "identity_model_type": np.array(model),
            "identity_coeffs": frozen_array("coefficients", coefficients, (len(rotations), None)),
            "keep_root": np.array(False),
            "absolute_pose": np.array(False),
            "rotation_repr": np.array("matrix"),
            "unit": np.array("meters"),
            "joint_orient": template_rest_rotations(),
            "up_axis": np.array("y"),
            "provenance": np.array(json.dumps(asdict(provenance), sort_keys=True)),
            **extras,
        }
    )
