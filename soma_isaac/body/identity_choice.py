"""The identity model that a layer asks for by name, and the vertices that it has to deliver."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soma_isaac.body.identities.base import IdentityModel
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.rig.rig import Rig

TEMPLATE = "template"
"""The rig's own body: no model at all."""


def shape_file(identity: str | IdentityModel, assets: Path | str | None, model_path: Path | str | None) -> Path | None:
    """The ``SOMA_neutral.npz`` that a layer works with: the named one, the folder's, else the open one.

    Returns:
        Its path, which need not be a file where the user named it; ``None`` for a folder without one.
    """
    from soma_isaac.body.identities.presets import open_shape_space
    from soma_isaac.body.identities.soma_pca import FILE
    from soma_isaac.formats.asset_tree import FETCH_COMMAND, AssetTree

    if identity == "soma" and model_path is not None:
        return Path(model_path)
    if assets is None:
        return open_shape_space()
    tree = AssetTree(Path(assets))
    return tree.file(FILE, purpose="SOMA's shape", origin=FETCH_COMMAND) if tree.has(FILE) else None


def choose_identity(
    rig: Rig,
    lod: str,
    identity: str | IdentityModel,
    assets: Path | str | None,
    model_path: Path | str | None,
    options: Mapping[str, Any],
) -> tuple[SomaTarget | None, IdentityModel | None]:
    """The target's vertices and the loaded model; both ``None`` for the template."""
    if isinstance(identity, IdentityModel):
        return identity.target, identity
    if identity == TEMPLATE:
        return None, None
    from soma_isaac.body.identities import load_identity
    from soma_isaac.body.identities.soma_pca import SomaIdentity
    from soma_isaac.formats.neutral_npz import read_neutral

    path = shape_file(identity, assets, model_path)
    neutral = read_neutral(path) if path is not None and path.is_file() else None
    target = SomaTarget.of(rig, lod, neutral)
    if identity == "soma" and neutral is not None:
        return target, SomaIdentity(target, neutral)
    return target, load_identity(identity, target, assets=assets, model_path=model_path, **options)
