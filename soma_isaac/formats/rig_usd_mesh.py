"""Skinned meshes of a SOMA rig file: which prim is which level of detail, and its arrays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pxr import Sdf

from soma_isaac.errors import RigMismatch
from soma_isaac.formats.rig_usd_values import INTEGERS, MATRIX, POINTS, TOKENS, WEIGHTS, attribute_default
from soma_isaac.rig.mesh import fan_triangles
from soma_isaac.rig.rig import SkinnedMesh

_INDICES, _WEIGHTS = "primvars:skel:jointIndices", "primvars:skel:jointWeights"
_LOD_NAMES = {
    "mid": ("c_skin_mid", "c_bodyRig_mid", "c_skin"),
    "low": ("c_skin_lo", "c_bodyRig_lo", "c_skin_low", "c_bodyRig_low"),
    "xlo": ("c_skin_xlo", "c_bodyRig_xlo", "c_skin_extra_low", "c_bodyRig_extra_low", "c_body_xlo", "skin_xlo"),
}
_LOD_TOKENS = {"xlo": ("xlo", "extra_low", "extralow", "extra-low"), "low": ("_lo", "low"), "mid": ("mid",)}


def skin_mesh_specs(prims: Sequence[Sdf.PrimSpec]) -> dict[str, Sdf.PrimSpec]:
    """The Mesh prim of each level of detail that has one, by leaf name.

    Exact names win, in SOMA's order of preference. Otherwise a skinned mesh whose name contains the level's token is
    taken, one with "skin" before one with "body" before the shortest name. A mesh serves one level only.
    """
    skinned = [
        prim
        for prim in prims
        if prim.typeName == "Mesh" and _INDICES in prim.attributes and _WEIGHTS in prim.attributes
    ]
    by_name = {prim.name: prim for prim in reversed(skinned)}
    found = {}
    for lod, names in _LOD_NAMES.items():
        chosen = next((by_name[name] for name in names if name in by_name), None)
        if chosen is not None:
            found[lod] = chosen
    for lod, tokens in _LOD_TOKENS.items():
        taken = {prim.name for prim in found.values()}
        others = [prim for prim in skinned if prim.name not in taken and any(t in prim.name.lower() for t in tokens)]
        if lod not in found and others:
            found[lod] = min(others, key=_preference)
    return {lod: found[lod] for lod in _LOD_NAMES if lod in found}


def _preference(prim: Sdf.PrimSpec) -> tuple[bool, bool, int, str]:
    lower = prim.name.lower()
    return "skin" not in lower, "body" not in lower, len(lower), prim.name


def read_skinned_mesh(prim: Sdf.PrimSpec, joint_paths: Sequence[str], metres_per_unit: float) -> SkinnedMesh:
    """Arrays of one skin mesh.

    Args:
        prim: A Mesh prim with both skinning primvars.
        joint_paths: Joint paths of the rig's skeleton, in its order.
        metres_per_unit: Factor from the file's unit to metres.

    Raises:
        RigMismatch: Counts disagree, an index is out of range, or the mesh is moved by a ``geomBindTransform``.
    """
    points = _array(prim, "points", POINTS, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise RigMismatch(f"mesh {prim.name} has no finite points")
    counts = _array(prim, "faceVertexCounts", INTEGERS, np.int32)
    indices = _array(prim, "faceVertexIndices", INTEGERS, np.int32)
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < len(points):
        raise RigMismatch(f"mesh {prim.name}: a face index is outside the {len(points)} points")
    _check_geom_bind(prim)
    joint_indices, joint_weights = _skin(prim, joint_paths, len(points))
    triangles = fan_triangles(counts, indices)
    return SkinnedMesh(prim.name, points * metres_per_unit, counts, indices, triangles, joint_indices, joint_weights)


def _array(prim: Sdf.PrimSpec, name: str, types: tuple[str, ...], dtype: type) -> np.ndarray:
    value = attribute_default(prim, name, types)
    if value is None:
        raise RigMismatch(f"mesh {prim.name} has no default value of {name}")
    return np.asarray(value).astype(dtype)


def _check_geom_bind(prim: Sdf.PrimSpec) -> None:
    name = "primvars:skel:geomBindTransform"
    value = attribute_default(prim, name, MATRIX)
    if value is not None and not np.allclose(np.array(value), np.eye(4), rtol=0.0, atol=1e-6):
        raise RigMismatch(f"mesh {prim.name} has a geomBindTransform that is not the identity")


def _skin(prim: Sdf.PrimSpec, joint_paths: Sequence[str], vertex_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights in the skeleton's joint order: zero, negative and unknown ones dropped, repeated ones summed."""
    tables = []
    for name, types, dtype in ((_INDICES, INTEGERS, np.int64), (_WEIGHTS, WEIGHTS, np.float64)):
        spec = prim.attributes[name]
        size = int(spec.GetInfo("elementSize")) if spec.HasInfo("elementSize") else 1
        interpolation = spec.GetInfo("interpolation") if spec.HasInfo("interpolation") else "constant"
        flat = _array(prim, name, types, dtype)
        if interpolation != "vertex":
            raise RigMismatch(f"mesh {prim.name}: {name} has interpolation {interpolation!r}, expected 'vertex'")
        if size < 1 or flat.size != vertex_count * size:
            raise RigMismatch(
                f"mesh {prim.name}: {name} holds {flat.size} values, expected {vertex_count} vertices times {size}"
            )
        tables.append(flat.reshape(vertex_count, size))
    local, weights = tables
    if local.shape != weights.shape:
        raise RigMismatch(f"mesh {prim.name}: jointIndices and jointWeights differ in elementSize")
    if not np.isfinite(weights).all():
        raise RigMismatch(f"mesh {prim.name} has skin weights that are not finite")
    to_skeleton = _joint_remap(prim, joint_paths)
    valid = (weights > 0.0) & (local >= 0) & (local < len(to_skeleton))
    joints = to_skeleton[np.where(valid, local, 0)]
    valid &= joints >= 0
    keys, slot = np.unique((np.arange(vertex_count)[:, None] * len(joint_paths) + joints)[valid], return_inverse=True)
    return _packed(keys, np.bincount(slot.ravel(), weights[valid], len(keys)), vertex_count, len(joint_paths))


def _joint_remap(prim: Sdf.PrimSpec, joint_paths: Sequence[str]) -> np.ndarray:
    value = attribute_default(prim, "skel:joints", TOKENS)
    if value is None:
        return np.arange(len(joint_paths))
    position = {path: joint for joint, path in enumerate(joint_paths)}
    return np.array([position.get(str(path), -1) for path in value] or [-1])


def _packed(keys: np.ndarray, values: np.ndarray, vertex_count: int, joint_count: int) -> tuple[np.ndarray, np.ndarray]:
    vertex, joint = np.divmod(keys, joint_count)
    order = np.lexsort((-values, vertex))
    vertex, joint, values = vertex[order], joint[order], values[order]
    per_vertex = np.bincount(vertex, minlength=vertex_count)
    slot = np.arange(len(vertex)) - np.repeat(np.cumsum(per_vertex) - per_vertex, per_vertex)
    influences = max(int(per_vertex.max(initial=0)), 1)
    indices = np.zeros((vertex_count, influences), dtype=np.int32)
    weights = np.zeros((vertex_count, influences))
    indices[vertex, slot] = joint
    weights[vertex, slot] = values
    return indices, weights
