"""``garment``: the statistical body of GarmentMeasurements, from the user's ``point.npz`` or ``point.pca``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from soma_isaac.body.identities.base import IdentitySpec, LinearIdentity
from soma_isaac.body.identities.soma_pca import SOMA_SPEC, asset_file, component_group, linear_shape, model_file
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import Transfer, pair_transfer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.asset_tree import FETCH_COMMAND, AssetTree
from soma_isaac.formats.pca_binary import PcaSpace, read_pca

_FOLDER = "GarmentMeasurements"
GARMENT_SPEC = IdentitySpec(
    name="garment",
    coefficients=SOMA_SPEC.coefficients,
    unit_metres=1.0,
    axes="+X +Y +Z",
    licence="the terms of https://github.com/mbotsch/GarmentMeasurements, which states none: ask its authors",
    origin=f"clone https://github.com/mbotsch/GarmentMeasurements and copy data/pca/point.pca into {_FOLDER}/",
    files=(f"{_FOLDER}/point.npz", f"{_FOLDER}/mean.obj", f"{_FOLDER}/SOMA_wrap.obj"),
)


class GarmentIdentity(LinearIdentity):
    """Principal components of bodies in metres, Y up; K is the file's.

    Args:
        target: SOMA vertices to deliver.
        space: The shape space, metres.
        transfer: From its mesh to the target.
        triangles: [N, 3] faces of its mesh.

    Raises:
        InputRejected: The transfer was built for another number of vertices.
    """

    transfer: Transfer

    def __init__(self, target: SomaTarget, space: PcaSpace, transfer: Transfer, triangles: np.ndarray) -> None:
        if transfer.native_count != len(space.mean):
            raise InputRejected(f"the transfer is for {transfer.native_count} vertices, the space {len(space.mean)}")
        self.target = target
        self.transfer = transfer
        self.native_triangles = triangles
        self.native_linear = linear_shape(space)
        self.spec = replace(GARMENT_SPEC, coefficients=component_group(len(space.eigenvalues)))

    @classmethod
    def load(
        cls,
        target: SomaTarget,
        *,
        assets: AssetTree | None = None,
        model_path: Path | None = None,
        transfer_mode: str = "edge",
    ) -> GarmentIdentity:
        """Read ``model_path``, else ``point.npz`` or ``point.pca`` of the assets, and ``mean.obj``, ``SOMA_wrap.obj``.

        As in SOMA-X, ``mean.obj`` gives the faces only; the correspondence is built on the space's own mean.

        Raises:
            InputRejected: A file is missing or not what it should be.
        """
        candidates = (f"{_FOLDER}/point.npz", f"{_FOLDER}/point.pca")
        space = read_pca(model_file(GARMENT_SPEC, candidates, assets, model_path))
        origin = f"{FETCH_COMMAND} --only garment"
        pair = [asset_file(GARMENT_SPEC, f"{_FOLDER}/{name}", assets, origin) for name in ("mean.obj", "SOMA_wrap.obj")]
        transfer, triangles = pair_transfer(
            target,
            pair[0],
            pair[1],
            unit_metres=GARMENT_SPEC.unit_metres,
            native_count=len(space.mean),
            native_points=space.mean,
            mode=transfer_mode,
        )
        return cls(target, space, transfer, triangles)
