"""The skeleton of any UsdSkel character in a text USD file (``.usda``), read spec by spec, nothing composed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pxr import Sdf

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.character_skeleton import MAX_JOINTS, CharacterSkeleton, world_matrices
from soma_isaac.formats.rig_usd import read_layer, walk_prims
from soma_isaac.formats.rig_usd_values import MATRICES, TOKENS, attribute_default, nearest_ancestors


def read_usd_character(path: Path) -> CharacterSkeleton:
    """Read the ``Skeleton`` prim with the most joints: its rest pose, or where it has none its bind pose.

    Args:
        path: A text USD file. Binary ones are refused (``usdcat -o character.usda`` converts them), because the native
            reader of that format is not robust.

    Raises:
        InputRejected: Not a readable text USD file, without a skeleton, or one that is not sound.
    """
    _, layer = read_layer(path)
    try:
        prims = [prim for prim in walk_prims(layer.rootPrims) if prim.typeName == "Skeleton"]
        skeletons = [(_paths(prim), prim) for prim in prims]
        if not any(paths for paths, _ in skeletons):
            raise InputRejected("has no Skeleton prim with joints")
        paths, prim = max(skeletons, key=lambda entry: len(entry[0]))
        return _skeleton(paths, prim, _metres_per_unit(layer))
    except (InputRejected, RigMismatch) as error:
        raise InputRejected(str(error), str(path)) from error


def _paths(prim: Sdf.PrimSpec) -> tuple[str, ...]:
    return tuple(str(path) for path in attribute_default(prim, "joints", TOKENS) or ())


def _metres_per_unit(layer: Sdf.Layer) -> float | None:
    root = layer.pseudoRoot
    value = float(root.GetInfo("metersPerUnit")) if root.HasInfo("metersPerUnit") else 0.01
    return value if np.isfinite(value) and value > 0.0 else None


def _skeleton(paths: tuple[str, ...], prim: Sdf.PrimSpec, metres_per_unit: float | None) -> CharacterSkeleton:
    if len(paths) > MAX_JOINTS or len(set(paths)) != len(paths):
        raise InputRejected(f"lists {len(paths)} joints, some twice or more than {MAX_JOINTS}")
    parents = np.array(nearest_ancestors(paths))
    for name in ("restTransforms", "bindTransforms"):
        value = attribute_default(prim, name, MATRICES)
        if value is None:
            continue
        matrices = np.array(value, dtype=np.float64)
        if matrices.shape != (len(paths), 4, 4) or not np.isfinite(matrices).all():
            raise InputRejected(f"has {name} of shape {matrices.shape} for {len(paths)} joints, or not finite")
        columns = np.swapaxes(matrices, 1, 2)
        world = world_matrices(columns, parents) if name == "restTransforms" else columns
        names = tuple(path.rsplit("/", 1)[-1] for path in paths)
        return CharacterSkeleton(names, parents, world[:, :3, 3], metres_per_unit, name)
    raise InputRejected(f"skeleton {prim.name} has neither restTransforms nor bindTransforms")
