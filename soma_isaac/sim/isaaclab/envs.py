"""Where the environments of a scene are."""

from __future__ import annotations

import isaaclab.sim as sim_utils
import numpy as np
from pxr import UsdGeom

from soma_isaac.errors import InputRejected


def env_origins(prim_path: str, count: int) -> np.ndarray:
    """World positions [count, 3] m of the prims above an entity, which exist even where the entity is not cloned.

    Args:
        prim_path: Expression of the entity, directly below the environments.
        count: Environments.

    Raises:
        InputRejected: There is another number of prims above it, or one is turned or scaled.
    """
    above = prim_path.rsplit("/", 1)[0]
    prims = sim_utils.find_matching_prims(above)
    if len(prims) != count:
        raise InputRejected(f"{above!r} matches {len(prims)} prims for {count} environments; put the entity below them")
    numbered = sorted(prims, key=lambda prim: (len(prim.GetName()), prim.GetName()))
    cache = UsdGeom.XformCache()
    matrices = np.array([cache.GetLocalToWorldTransform(prim) for prim in numbered])
    if np.abs(matrices[:, :3, :3] - np.eye(3)).max() > 1e-6:
        raise InputRejected(f"{above!r} matches prims that are turned or scaled")
    return matrices[:, 3, :3]
