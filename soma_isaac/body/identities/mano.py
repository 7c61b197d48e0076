"""``mano``: the user's own MANO hands, read without unpickling, brought to the topology of SOMA's hands.

Left and right are two models, each with an OBJ pair of its own. Betas mean what they mean in each file:
``MANO_LEFT.pkl`` is known to carry the right hand's shape directions unmirrored (github.com/vchoutas/smplx, issue 48),
so equal betas do not give mirrored hands.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from soma_isaac.body.identities.base import IdentitySpec, LinearIdentity, LinearShape
from soma_isaac.body.identities.smpl import betas_group
from soma_isaac.body.identities.soma_pca import asset_file, model_file
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import Transfer, pair_transfer
from soma_isaac.formats.asset_tree import FETCH_COMMAND, AssetTree
from soma_isaac.formats.smpl_model import SmplModel, read_smpl_model
from soma_isaac.rig.rig import SkinnedMesh

MANO_BETAS = 10
HAND_FILE = "SOMAHand.npz"
PAIR_ORIGIN = f"{FETCH_COMMAND} --only hands"

MANO_SPEC = IdentitySpec(
    name="mano",
    coefficients=betas_group(MANO_BETAS),
    unit_metres=1.0,
    axes="+X +Y +Z",
    licence="the MANO licence of https://mano.is.tue.mpg.de (registration; non-commercial unless licensed otherwise)",
    origin="register at https://mano.is.tue.mpg.de, put MANO_LEFT.pkl and MANO_RIGHT.pkl into MANO/ of the assets",
    files=(
        "MANO/MANO_LEFT.pkl",
        "MANO/MANO_RIGHT.pkl",
        "MANO/base_hand_left.obj",
        "MANO/base_hand_right.obj",
        "MANO/SOMA_wrap_left.obj",
        "MANO/SOMA_wrap_right.obj",
        HAND_FILE,
    ),
)
"""Of hands, not bodies: :class:`soma_isaac.body.hands.SomaHand` takes it."""


class ManoIdentity(LinearIdentity):
    """Betas of one MANO hand: template and shape directions in the flat pose, metres, the wrist joint at the origin.

    Args:
        target: SOMA's mid hand.
        model: The model; :class:`ManoIdentity` keeps all betas it holds.
        transfer: From its mesh to the target.
        triangles: Faces of the native mesh.
    """

    transfer: Transfer

    def __init__(self, target: SomaTarget, model: SmplModel, transfer: Transfer, triangles: np.ndarray) -> None:
        self.target = target
        self.transfer = transfer
        self.native_triangles = triangles
        # The wrist is linear in the betas too, and a transfer moves with its source: both may be centred beforehand.
        wrist = model.joint_regressor[0]
        directions = model.shape_directions.astype(np.float64)
        self.native_linear = LinearShape(
            np.ascontiguousarray(model.points - wrist @ model.points, dtype=np.float32),
            np.ascontiguousarray(directions - np.einsum("v,kvc->kc", wrist, directions)[:, None], dtype=np.float32),
        )
        self.spec = replace(MANO_SPEC, coefficients=betas_group(len(directions)))

    @classmethod
    def load(
        cls,
        mesh: SkinnedMesh,
        side: str,
        *,
        assets: AssetTree | None = None,
        model_path: Path | None = None,
        num_betas: int = MANO_BETAS,
        transfer_mode: str = "edge",
    ) -> ManoIdentity:
        """Read ``model_path``, else ``MANO/MANO_<SIDE>.npz`` or ``.pkl`` of the assets, and the side's OBJ pair.

        Args:
            mesh: SOMA's mid hand, in the order of the hand file.
            side: ``left`` or ``right``.
            assets: Folder in SOMA-X layout; the OBJ pair is always read from it.
            model_path: The model file of this side.
            num_betas: Shape components to keep.
            transfer_mode: ``edge`` or ``area``, see :class:`~soma_isaac.body.identities.transfer.Transfer`.

        Raises:
            InputRejected: A file is missing or not what it should be, or an option is unknown.
        """
        stem = f"MANO/MANO_{side.upper()}"
        path = model_file(MANO_SPEC, (f"{stem}.npz", f"{stem}.pkl"), assets, model_path)
        model = read_smpl_model(path, "mano", betas=num_betas, pose=False)
        pair = [
            asset_file(MANO_SPEC, f"MANO/{name}_{side}.obj", assets, PAIR_ORIGIN) for name in ("base_hand", "SOMA_wrap")
        ]
        count = mesh.vertex_count
        target = SomaTarget("mid", count, np.arange(count), mesh.triangles, np.zeros(0, dtype=np.int32))
        transfer, triangles = pair_transfer(
            target, pair[0], pair[1], unit_metres=1.0, native_count=len(model.points), mode=transfer_mode, fill=False
        )
        return cls(target, model, transfer, triangles)


def hand_file(assets: AssetTree | None) -> Path:
    """``SOMAHand.npz`` of the assets: the vertices of SOMA's hands in the order of the MANO wraps.

    Raises:
        InputRejected: It is not there; the message names it, its origin and the options.
    """
    return asset_file(MANO_SPEC, HAND_FILE, assets, f"{PAIR_ORIGIN}; or name it with hand_file=FILE")
