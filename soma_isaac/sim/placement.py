"""Where bodies stand in the simulation's world, and how long their steps are."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body import PreparedIdentity, SomaBody
from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import frozen_array
from soma_isaac.math.so3 import quat_xyzw_from_matrix

Z_UP_FROM_Y_UP = np.array([[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
"""Stands a SOMA body (Y up, facing z) in a Z-up world; it faces -y."""


def placement_rows(placements: ArrayLike) -> np.ndarray:
    """Positions and quaternions [N, 7] (xyzw) of rigid transforms [N, 4, 4] or [4, 4].

    Raises:
        InputRejected: A shape does not fit, a value is not finite, or a transform is not rigid.
    """
    values = np.asarray(placements, dtype=np.float64)
    if values.ndim == 2:
        values = values[None]
    values = frozen_array("placements", values, (None, 4, 4))
    turned = values[:, :3, :3]
    if np.abs(turned @ np.swapaxes(turned, 1, 2) - np.eye(3)).max() > 1e-4 or (np.linalg.det(turned) < 0.0).any():
        raise InputRejected("placements are not rigid transforms")
    return np.concatenate([values[:, :3, 3], quat_xyzw_from_matrix(turned)], axis=1)


def hips_heights(body: SomaBody, identity: PreparedIdentity) -> np.ndarray:
    """Height [I] m of the hips above the floor in the T-pose, bone scales included.

    As high above the lowest joint as in the template, in proportion to the legs; divided by the height of the person in
    a clip it is the factor on the clip's path with which feet stay on the floor.
    """
    layout = body.layout
    offsets = identity.arrays.relative_offsets.numpy()[..., 1]
    heights = np.zeros(offsets.shape)
    for joint in range(2, layout.public_count):
        heights[:, joint] = heights[:, layout.parents[joint]] + offsets[:, joint]
    template = layout.rest_T_world_joint[1:, 1, 3]
    return -heights[:, 1:].min(axis=1) * template[0] / (template[0] - template.min())
