"""``smpl``, ``smplh``, ``smplx``: the user's own model files, read without unpickling, brought to SOMA topology."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from soma_isaac.body.identities.base import Coefficients, IdentitySpec, LinearIdentity, LinearShape
from soma_isaac.body.identities.soma_pca import asset_file, model_file
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import Transfer, pair_transfer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.asset_tree import FETCH_COMMAND, AssetTree
from soma_isaac.formats.smpl_model import SMPL_KINDS, SmplModel, read_smpl_model

GENDERS = ("neutral", "female", "male")
DEFAULT_BETAS = 10
_SITES = {"smpl": "smpl.is.tue.mpg.de", "smplh": "mano.is.tue.mpg.de", "smplx": "smpl-x.is.tue.mpg.de"}


def betas_group(count: int) -> Coefficients:
    """The shape coefficients of a model that keeps ``count`` betas."""
    return Coefficients(
        names=tuple(f"beta_{k}" for k in range(count)), default=0.0, low=-3.0, high=3.0, unit="standard deviations"
    )


def _spec(kind: str) -> IdentitySpec:
    folder = kind.upper()
    return IdentitySpec(
        name=kind,
        coefficients=betas_group(DEFAULT_BETAS),
        unit_metres=1.0,
        axes="+X +Y +Z",
        licence=f"the model licence of https://{_SITES[kind]} (registration; non-commercial unless licensed otherwise)",
        origin=f"register at https://{_SITES[kind]}, put the model into {folder}/ of the assets folder",
        files=(f"{folder}/{folder}_NEUTRAL.npz", f"{folder}/base_body.obj", f"{folder}/SOMA_wrap.obj"),
    )


SMPL_SPECS = {kind: _spec(kind) for kind in SMPL_KINDS}


class SmplIdentity(LinearIdentity):
    """Betas of an SMPL family model: template and shape directions in the zero pose, metres, Y up.

    Args:
        target: SOMA vertices to deliver.
        model: The model; :class:`SmplIdentity` keeps all betas it holds.
        transfer: From its mesh to the target.
        triangles: Faces of the native mesh; the model's own by default.

    Raises:
        InputRejected: The transfer was built for another number of vertices.
    """

    transfer: Transfer

    def __init__(
        self, target: SomaTarget, model: SmplModel, transfer: Transfer, triangles: np.ndarray | None = None
    ) -> None:
        if transfer.native_count != len(model.points):
            raise InputRejected(f"the transfer is for {transfer.native_count} vertices, the model {len(model.points)}")
        self.target = target
        self.transfer = transfer
        self.native_triangles = model.triangles if triangles is None else triangles
        self.native_linear = LinearShape(
            np.ascontiguousarray(model.points, dtype=np.float32), np.ascontiguousarray(model.shape_directions)
        )
        self.spec = replace(SMPL_SPECS[model.kind], coefficients=betas_group(len(model.shape_directions)))

    @classmethod
    def load(
        cls,
        target: SomaTarget,
        *,
        kind: str = "smpl",
        assets: AssetTree | None = None,
        model_path: Path | None = None,
        gender: str = "neutral",
        num_betas: int = DEFAULT_BETAS,
        transfer_mode: str = "edge",
    ) -> SmplIdentity:
        """Read ``model_path``, else ``<KIND>/<KIND>_<GENDER>.npz`` or ``.pkl`` of the assets, and the OBJ pair.

        Args:
            target: SOMA vertices to deliver.
            kind: ``smpl``, ``smplh`` or ``smplx``.
            assets: Folder in SOMA-X layout; the OBJ pair is always read from it.
            model_path: The model file.
            gender: ``neutral``, ``female`` or ``male``; chooses the file in the assets.
            num_betas: Shape components to keep.
            transfer_mode: ``edge`` or ``area``, see :class:`~soma_isaac.body.identities.transfer.Transfer`.

        Raises:
            InputRejected: A file is missing or not what it should be, or an option is unknown.
        """
        if kind not in SMPL_SPECS:
            raise InputRejected(f"no SMPL model {kind!r}; there are {', '.join(SMPL_SPECS)}")
        if gender.lower() not in GENDERS:
            raise InputRejected(f"no gender {gender!r}; there are {', '.join(GENDERS)}")
        spec, folder = SMPL_SPECS[kind], kind.upper()
        stem = f"{folder}/{folder}_{gender.upper()}"
        model = read_smpl_model(
            model_file(spec, (f"{stem}.npz", f"{stem}.pkl"), assets, model_path), kind, betas=num_betas, pose=False
        )
        origin = f"{FETCH_COMMAND} --only {kind}" if kind != "smplh" else "SOMA-X ships no pair for smplh; make one"
        pair = [asset_file(spec, f"{folder}/{name}", assets, origin) for name in ("base_body.obj", "SOMA_wrap.obj")]
        transfer, triangles = pair_transfer(
            target,
            pair[0],
            pair[1],
            unit_metres=spec.unit_metres,
            native_count=len(model.points),
            mode=transfer_mode,
        )
        return cls(target, model, transfer, triangles)
