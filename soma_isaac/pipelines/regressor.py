"""Writes ``data/SOMA_regressor.npz``: the template's joint regressor, factorised once for everybody."""

from __future__ import annotations

from pathlib import Path

from soma_isaac.body.identities.presets import open_shape_space
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.layout import joint_layout
from soma_isaac.body.regressor import factorised_groups, folded_weights, regressor_vertices
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.regressor_npz import REGRESSOR_FILE, regressor_bytes
from soma_isaac.formats.rig_usd import load_template_rig

SMALLEST_GROUP = 64
"""Groups of fewer vertices are factorised faster than read."""


def build_regressor(folder: Path) -> Path:
    """Factorise the template's regressor at mid and low LOD, with and without its eye and mouth bags.

    Args:
        folder: Where the file goes.

    Returns:
        The file.
    """
    rig, neutral = load_template_rig(), read_neutral(open_shape_space())
    layout = joint_layout(rig, twist=False)
    entries = {}
    for lod in ("mid", "low"):
        mesh = rig.mesh(lod)
        weights = folded_weights(mesh, layout)
        joints = layout.bind_T_world_joint[:, :3, 3]
        for excluded in (None, SomaTarget.of(rig, lod, neutral).bag_vertices):
            vertices = regressor_vertices(weights, layout.parents, excluded)
            entries |= factorised_groups(mesh.points, joints, vertices, SMALLEST_GROUP)
    path = folder / REGRESSOR_FILE
    write_file(path, regressor_bytes(entries))
    return path
