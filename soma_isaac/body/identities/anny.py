"""``anny``: phenotypes (age, gender, weight, ...) and local changes, from the PyPI package ``anny``; nothing to fetch.

anny writes its preprocessed data (about 1.2 GB, 0.6 GB per further configuration) to ``~/.cache/anny`` when a model is
built for the first time, which takes about 40 s of CPU; ``ANNY_CACHE_DIR`` moves that folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.identities.base import Coefficients, IdentityModel, IdentitySpec
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import Transfer, pair_transfer
from soma_isaac.errors import MissingDependency
from soma_isaac.formats.asset_tree import FETCH_COMMAND, AssetTree

if TYPE_CHECKING:
    import torch

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
HIDDEN_CHANGES = ("mouth", "eye", "nipple", "cheek", "chin", "ear", "lip", "nose")
"""Local changes whose names contain one of these are not offered: they move what the SOMA mesh cannot follow."""

_LOCAL_CHANGES = Coefficients(names=(), default=0.0, low=-1.0, high=1.0, unit="share of the local change", bounded=True)
ANNY_SPEC = IdentitySpec(
    name="anny",
    coefficients=Coefficients(
        names=PHENOTYPES,
        default=0.5,
        low=0.0,
        high=1.0,
        unit="position between the phenotype's extremes (gender: 0 male, 1 female; "
        "age: -1/3 newborn, 0 baby, 1/3 child, 2/3 young adult, 1 old)",
        bounded=True,
        ranges={"age": (-1 / 3, 1.0)},
    ),
    scales=_LOCAL_CHANGES,
    unit_metres=1.0,
    axes="+X +Z -Y",
    licence="Apache-2.0 (naver/anny), data CC0 (MakeHuman)",
    origin="pip install 'soma_isaac[anny]'",
    files=(),
)


class AnnyIdentity(IdentityModel):
    """Six phenotypes and about 140 local changes, linear blend shapes in metres.

    Args:
        target: SOMA vertices to deliver.
        model: An ``anny.Anny`` of topology ``anny`` with the default phenotypes.
        transfer: From its mesh (13718 vertices) to the target.
        triangles: [N, 3] faces of its mesh.
    """

    transfer: Transfer

    def __init__(self, target: SomaTarget, model: Any, transfer: Transfer, triangles: np.ndarray) -> None:
        self.target = target
        self.transfer = transfer
        self.native_triangles = triangles
        labels = list(dict.fromkeys(model.local_change_labels))
        self._labels = tuple(name for name in labels if not any(hidden in name for hidden in HIDDEN_CHANGES))
        self.spec = replace(ANNY_SPEC, scales=replace(_LOCAL_CHANGES, names=self._labels))
        self._model = model

    @classmethod
    def load(
        cls,
        target: SomaTarget,
        *,
        assets: AssetTree | None = None,
        local_changes: bool = True,
        device: str = "cpu",
        transfer_mode: str = "edge",
    ) -> AnnyIdentity:
        """Build the model from the installed package.

        Args:
            target: SOMA vertices to deliver.
            assets: A folder whose ``Anny/`` has the OBJ pair; the package's own pair by default.
            local_changes: Load the local changes too (``scales``).
            device: torch device to evaluate on.
            transfer_mode: ``edge`` or ``area``, see :class:`~soma_isaac.body.identities.transfer.Transfer`.

        Raises:
            MissingDependency: anny or torch is not installed.
            InputRejected: The OBJ pair of ``assets`` is missing or does not fit.
        """
        anny, torch = _packages()
        model = anny.Anny(topology="anny", local_changes="all" if local_changes else "none")
        model = model.to(device=device, dtype=torch.float32)
        folder = Path(anny.__file__).parent / "data" / "soma"
        if assets is not None and assets.has("Anny/base_body.obj"):
            origin = f"{FETCH_COMMAND} --only anny"
            names = ("Anny/base_body.obj", "Anny/SOMA_wrap.obj")
            base, wrap = (assets.file(name, purpose="the anny identity model", origin=origin) for name in names)
        else:
            base, wrap = folder / "base_body.obj", folder / "SOMA_wrap.obj"
        transfer, triangles = pair_transfer(
            target,
            base,
            wrap,
            unit_metres=ANNY_SPEC.unit_metres,
            native_count=len(model.template_vertices),
            mode=transfer_mode,
            fill=False,  # its mesh has eye and mouth bags of its own
        )
        return cls(target, model, transfer, triangles)

    def blend_weights(self, coefficients: ArrayLike) -> np.ndarray:
        """Weights [B, D] (float64) of the phenotypes' blend shapes.

        Raises:
            InputRejected: As :meth:`rest_points`.
        """
        import torch

        values = torch.from_numpy(super().blend_weights(coefficients)).to(self._model.template_vertices.device)
        phenotypes = {name: values[:, k] for k, name in enumerate(PHENOTYPES)}
        with torch.no_grad():
            weights = self._model.get_phenotype_blendshape_coefficients(**phenotypes)
        return weights[:, : self._model.phenotype_blendshape_projection.shape[1]].double().cpu().numpy()

    def _native(self, coefficients: np.ndarray, groups: Mapping[str, np.ndarray]) -> np.ndarray:
        import torch

        device = self._model.template_vertices.device

        def tensor(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.array(values, dtype=np.float32)).to(device)

        with torch.no_grad():
            points = self._native_torch(tensor(coefficients), {name: tensor(value) for name, value in groups.items()})
        return points.cpu().numpy()

    def _native_torch(self, coefficients: torch.Tensor, groups: Mapping[str, torch.Tensor]) -> torch.Tensor:
        import torch

        model = self._model
        changes = {}
        if "scales" in groups:
            changes = {name: groups["scales"][:, k] for k, name in enumerate(self._labels)}
        phenotypes = {name: coefficients[:, k] for k, name in enumerate(PHENOTYPES)}
        weights = model.get_phenotype_blendshape_coefficients(**phenotypes, local_changes=changes or None)
        if not changes:  # the local changes are three quarters of the blend shapes, and all zero
            count = model.phenotype_blendshape_projection.shape[1]
            weights, shapes = weights[:, :count], model.blendshapes[:count]
        else:
            shapes = model.blendshapes
        flat = weights @ shapes.reshape(len(shapes), -1) + model.template_vertices.reshape(-1)
        points = flat.reshape(len(coefficients), -1, 3)
        return torch.stack([points[..., 0], points[..., 2], -points[..., 1]], dim=-1)


def _packages() -> tuple[Any, Any]:
    try:
        import anny
        import torch
    except ImportError as error:
        raise MissingDependency("anny", "the anny identity model", ANNY_SPEC.origin) from error
    return anny, torch
