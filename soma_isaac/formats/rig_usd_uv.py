"""Texture coordinates of a rig file: which part of a texture each face corner of a skin mesh shows."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.formats.rig_usd import TEMPLATE_RIG, read_layer, walk_prims
from soma_isaac.formats.rig_usd_mesh import skin_mesh_specs
from soma_isaac.formats.rig_usd_values import INTEGERS, attribute_default
from soma_isaac.rig.mesh import FaceUv
from soma_isaac.rig.skeleton import data_path

_UV, _UV_INDICES = "primvars:st", "primvars:st:indices"
_UV_TYPES = ("texCoord2f[]", "texCoord2d[]", "float2[]", "double2[]")


@functools.lru_cache(maxsize=1)
def template_uvs() -> dict[str, FaceUv]:
    """Texture coordinates of the template rig by level of detail; ``xlo`` has none."""
    return read_rig_uvs(data_path(TEMPLATE_RIG))


def read_rig_uvs(path: Path | str) -> dict[str, FaceUv]:
    """Texture coordinates by level of detail, for the meshes that have a set ``st`` per face corner.

    Raises:
        InputRejected: Not a readable text USD file.
        RigMismatch: Counts disagree, or an index is out of range.
    """
    _, layer = read_layer(Path(path))
    uvs = {}
    for lod, prim in skin_mesh_specs(list(walk_prims(layer.rootPrims))).items():
        points = attribute_default(prim, _UV, _UV_TYPES)
        spec = prim.attributes.get(_UV)
        if points is None or spec.GetInfo("interpolation") != "faceVarying":
            continue
        points = np.asarray(points, dtype=np.float64)
        corners = len(attribute_default(prim, "faceVertexIndices", INTEGERS) or ())
        indices = attribute_default(prim, _UV_INDICES, INTEGERS)
        indices = np.arange(len(points)) if indices is None else np.asarray(indices, dtype=np.int64)
        if len(indices) != corners or (corners and not 0 <= indices.min() <= indices.max() < len(points)):
            raise RigMismatch(f"mesh {prim.name}: the texture coordinates do not fit the {corners} face corners")
        uvs[lod] = FaceUv(points, indices)
    return uvs
