"""``data/SOMA_skeleton.json``: the template's 78 joints in a few kilobytes, for code that needs no mesh.

Read by :func:`soma_isaac.rig.skeleton.template_rest_offsets`.
"""

from __future__ import annotations

import json

import numpy as np

from soma_isaac.math.so3 import quat_xyzw_from_matrix
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS

_DECIMALS = 9


def skeleton_json(bind_T_world_joint: np.ndarray, rest_T_world_joint: np.ndarray, source_digest: str) -> str:
    """Text of the file.

    Args:
        bind_T_world_joint: [78, 4, 4] bind pose, translations in m.
        rest_T_world_joint: [78, 4, 4] T-pose, translations in m.
        source_digest: sha256 of the rig that the figures come from.

    Returns:
        JSON with ``joint_names``, ``parents``, ``rest_offsets_m`` (T-pose offset from the parent in world-aligned
        axes; row 0 zero, row 1 the T-pose Hips position), the world rotations of both poses as quaternions x, y, z, w,
        and the bind positions; one row per line.
    """
    rest = rest_T_world_joint[:, :3, 3]
    parents = np.array(PUBLIC_PARENTS)
    offsets = rest - np.where(parents[:, None] < 0, 0.0, rest[parents])
    fields = {
        "description": "The public SOMA skeleton: metres, +Y up, +Z ahead, +X left; see data/README.md",
        "source_digest": source_digest,
        "joint_names": list(PUBLIC_JOINT_NAMES),
        "parents": list(PUBLIC_PARENTS),
        "rest_offsets_m": offsets,
        "rest_rotations_world_xyzw": quat_xyzw_from_matrix(rest_T_world_joint[:, :3, :3]),
        "bind_positions_world_m": bind_T_world_joint[:, :3, 3],
        "bind_rotations_world_xyzw": quat_xyzw_from_matrix(bind_T_world_joint[:, :3, :3]),
    }
    return "{\n" + ",\n".join(f"  {json.dumps(key)}: {_rows(value)}" for key, value in fields.items()) + "\n}\n"


def _rows(value: object) -> str:
    if not isinstance(value, np.ndarray):
        return json.dumps(value)
    rows = (np.round(value, _DECIMALS) + 0.0).tolist()
    return "[\n    " + ",\n    ".join(json.dumps(row) for row in rows) + "\n  ]"
