"""``mhr``: Meta's Momentum Human Rig, a TorchScript file that the user has fetched.

A TorchScript archive is a program. Loading it unpickles nothing into Python, but running it runs the operators that its
author chose, and some of them read and write files. Load only archives that you trust: those that ``fetch`` verified
against the hub's own digests, or your own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soma_isaac.body.identities.base import Coefficients, IdentityModel, IdentitySpec
from soma_isaac.body.identities.soma_pca import asset_file, model_file
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import Transfer, pair_transfer
from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.asset_tree import FETCH_COMMAND, AssetTree

if TYPE_CHECKING:
    import torch

_ZIP_MARK = b"PK"
_POSE_COUNT, _FACE_COUNT = 136, 72
_FLEXIBLES = slice(130, 136)
_SCALE_NAMES = {8: "right_hand", 9: "left_hand"}


def _scale_name(index: int) -> str:
    part = "right_finger" if 18 <= index <= 42 else "left_finger" if index >= 43 else "body"
    return _SCALE_NAMES.get(index, f"{part}_{index}")


# The ranges are ours, for sliders and samplers: neither the model nor SOMA-X states any.
MHR_SPEC = IdentitySpec(
    name="mhr",
    coefficients=Coefficients(
        names=tuple(f"shape_{k}" for k in range(45)), default=0.0, low=-3.0, high=3.0, unit="MHR shape parameters"
    ),
    scales=Coefficients(
        names=tuple(_scale_name(k) for k in range(68)),
        default=0.0,
        low=-1.0,
        high=1.0,
        unit="MHR body part scale parameters",
        required=True,
    ),
    extras={
        "bone_length_flexibles": Coefficients(
            names=("spine", "neck", "shoulder", "arm", "hip", "leg"),
            default=0.0,
            low=-1.0,
            high=1.0,
            unit="MHR pose parameters 130 to 135",
        )
    },
    unit_metres=0.01,
    axes="+X +Y +Z",
    licence="Apache-2.0 (facebookresearch/MHR)",
    origin=f"{FETCH_COMMAND} --only mhr",
    files=("MHR/mhr_model_lod1.pt", "MHR/base_body_lod1.obj", "MHR/SOMA_wrap_lod1.obj"),
)


class MhrIdentity(IdentityModel):
    """45 shape coefficients and 68 scales, evaluated by the user's TorchScript module.

    Args:
        target: SOMA vertices to deliver.
        module: Called with (shape [B, 45], pose and scales [B, 204], face [B, 72]); gives points [B, Vn, 3] cm first.
        transfer: From its mesh to the target.
        triangles: [N, 3] faces of its mesh.
        device: torch device of the module.
    """

    spec = MHR_SPEC
    transfer: Transfer

    def __init__(
        self, target: SomaTarget, module: Any, transfer: Transfer, triangles: np.ndarray, device: str = "cpu"
    ) -> None:
        self.target = target
        self.transfer = transfer
        self.native_triangles = triangles
        self._module = module
        self._device = device

    @classmethod
    def load(
        cls,
        target: SomaTarget,
        *,
        assets: AssetTree | None = None,
        model_path: Path | None = None,
        device: str = "cpu",
        transfer_mode: str = "edge",
    ) -> MhrIdentity:
        """Load ``model_path``, else ``mhr_model_lod1.pt`` (low target: ``lod6``) of the assets, and the OBJ pair.

        Raises:
            InputRejected: A file is missing or not what it should be.
            MissingDependency: torch is not installed.
        """
        level = "lod1" if target.lod == "mid" else "lod6"
        path = model_file(MHR_SPEC, (f"MHR/mhr_model_{level}.pt",), assets, model_path)
        base = asset_file(MHR_SPEC, f"MHR/base_body_{level}.obj", assets, MHR_SPEC.origin)
        wrap = asset_file(MHR_SPEC, "MHR/SOMA_wrap_lod1.obj", assets, MHR_SPEC.origin)
        module = _load_module(path, device)
        native_count = _vertex_count(module, path, device)
        transfer, triangles = pair_transfer(
            target, base, wrap, unit_metres=MHR_SPEC.unit_metres, native_count=native_count, mode=transfer_mode
        )
        return cls(target, module, transfer, triangles, device)

    def posed_points(self, coefficients: np.ndarray, parameters: np.ndarray) -> np.ndarray:
        """Posed native meshes [B, Vn, 3] float32 m of shape coefficients [B, 45] and model parameters [B, 204].

        Model parameters are MHR's own: translation, pose, and the scales from 136 on.
        """
        import torch

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.array(values, dtype=np.float32)).to(self._device)

        with torch.no_grad():
            face = torch.zeros(len(coefficients), _FACE_COUNT, device=self._device)
            points, _ = self._module(tensor(coefficients), tensor(parameters), face)
        return points.cpu().numpy() * np.float32(MHR_SPEC.unit_metres)

    def _native(self, coefficients: np.ndarray, groups: Mapping[str, np.ndarray]) -> np.ndarray:
        import torch

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.array(values, dtype=np.float32)).to(self._device)

        with torch.no_grad():
            points = self._native_torch(tensor(coefficients), {name: tensor(value) for name, value in groups.items()})
        return points.cpu().numpy()

    def _native_torch(self, coefficients: torch.Tensor, groups: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        batch = len(coefficients)
        pose = coefficients.new_zeros(batch, _POSE_COUNT)
        if "bone_length_flexibles" in groups:
            flexibles = groups["bone_length_flexibles"]
            pose = torch.cat([pose[:, : _FLEXIBLES.start], flexibles, pose[:, _FLEXIBLES.stop :]], dim=1)
        parameters = torch.cat([pose, groups["scales"]], dim=1)
        points, _ = self._module(coefficients, parameters, coefficients.new_zeros(batch, _FACE_COUNT))
        return points * MHR_SPEC.unit_metres


def _load_module(path: Path, device: str) -> Any:
    try:
        import torch
    except ImportError as error:
        raise MissingDependency("torch", "the mhr identity model", "pip install 'soma_isaac[torch]'") from error
    with path.open("rb") as stream:
        if stream.read(2) != _ZIP_MARK:
            raise InputRejected("is no TorchScript archive (a zip)", str(path))
    try:
        return torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError, EOFError) as error:
        raise InputRejected(
            f"is no TorchScript archive that this torch loads ({str(error)[:200]})", str(path)
        ) from error


def _vertex_count(module: Any, path: Path, device: str) -> int:
    import torch

    sizes = (MHR_SPEC.coefficients.count, _POSE_COUNT + 68, _FACE_COUNT)
    try:
        with torch.no_grad():
            points, _ = module(*(torch.zeros(1, size, device=device) for size in sizes))
        shape = tuple(points.shape)
    except (RuntimeError, ValueError, TypeError, AttributeError) as error:
        raise InputRejected(f"does not evaluate like an MHR model ({str(error)[:200]})", str(path)) from error
    if len(shape) != 3 or shape[0] != 1 or shape[2] != 3:
        raise InputRejected(f"gives points of shape {shape}, expected (1, V, 3)", str(path))
    return shape[1]
