"""The SMPL family's forward pass as the papers write it: float64, one body, one joint, one matrix at a time."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def smpl_forward(arrays, betas, pose, trans):
    """Vertices [V, 3] and joints [J, 3] m of one body.

    Args:
        arrays: A model file's arrays with their official names, (V, 3, K) and (V, 3, P).
        betas: [K] or fewer.
        pose: [J, 3] rad.
        trans: [3] m.
    """
    shaped = arrays["v_template"] + arrays["shapedirs"][..., : len(betas)] @ betas
    rest = arrays["J_regressor"] @ shaped
    local = Rotation.from_rotvec(pose).as_matrix()
    feature = (local[1:] - np.eye(3)).ravel()
    posed = shaped + arrays["posedirs"] @ feature
    parents = arrays["kintree_table"][0].astype(np.int64)
    world = []
    for joint in range(len(rest)):
        step = np.eye(4)
        step[:3, :3] = local[joint]
        step[:3, 3] = rest[joint] if joint == 0 else rest[joint] - rest[parents[joint]]
        world.append(step if joint == 0 else world[parents[joint]] @ step)
    vertices = np.zeros_like(posed)
    for joint, transform in enumerate(world):
        moved = (posed - rest[joint]) @ transform[:3, :3].T + transform[:3, 3]
        vertices += arrays["weights"][:, joint : joint + 1] * moved
    return vertices + trans, np.array([transform[:3, 3] for transform in world]) + trans
