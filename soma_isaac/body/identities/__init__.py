"""Identity models: every body model in, one rest mesh in SOMA topology out.

Example::

    target = SomaTarget.of(load_template_rig(), "mid")
    anny = load_identity("anny", target)
    points = anny.rest_points(anny.spec.coefficients.defaults())  # (1, 18056, 3) m
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from soma_isaac.body.identities.anny import ANNY_SPEC, AnnyIdentity
from soma_isaac.body.identities.base import Coefficients, IdentityModel, IdentitySpec, LinearShape
from soma_isaac.body.identities.garment import GARMENT_SPEC, GarmentIdentity
from soma_isaac.body.identities.mhr import MHR_SPEC, MhrIdentity
from soma_isaac.body.identities.smpl import SMPL_SPECS, SmplIdentity
from soma_isaac.body.identities.soma_pca import SOMA_SPEC, SomaIdentity
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.errors import InputRejected
from soma_isaac.formats.asset_tree import AssetTree

__all__ = [
    "IDENTITY_SPECS",
    "Coefficients",
    "IdentityModel",
    "IdentitySpec",
    "LinearShape",
    "SomaTarget",
    "load_identity",
]

IDENTITY_SPECS: Mapping[str, IdentitySpec] = MappingProxyType(
    {spec.name: spec for spec in (SOMA_SPEC, ANNY_SPEC, MHR_SPEC, *SMPL_SPECS.values(), GARMENT_SPEC)}
)
"""What can be loaded. Counts that only a file tells (soma, garment, anny's local changes) are empty here."""

_LOADERS: Mapping[str, Callable[..., IdentityModel]] = {
    "soma": SomaIdentity.load,
    "anny": AnnyIdentity.load,
    "mhr": MhrIdentity.load,
    "garment": GarmentIdentity.load,
}

_OPTIONS: Mapping[str, tuple[str, ...]] = {
    "soma": (),
    "anny": ("local_changes", "device", "transfer_mode"),
    "mhr": ("device", "transfer_mode"),
    "garment": ("transfer_mode",),
    **{kind: ("gender", "num_betas", "transfer_mode") for kind in SMPL_SPECS},
}


def load_identity(
    name: str,
    target: SomaTarget,
    *,
    assets: Path | str | None = None,
    model_path: Path | str | None = None,
    **options: Any,
) -> IdentityModel:
    """Load an identity model. Nothing is downloaded.

    Args:
        name: Key of :data:`IDENTITY_SPECS`.
        target: SOMA vertices to deliver.
        assets: Folder in SOMA-X layout, e.g. :func:`soma_isaac.assets.default_assets`. Without it and ``model_path``,
            ``soma`` is the open shape space.
        model_path: The model's own file, where it does not lie in the assets folder.
        **options: The backend's own: ``gender``, ``num_betas`` (SMPL family), ``local_changes`` (anny), ``device``
            (anny, mhr), ``transfer_mode`` (all but soma).

    Raises:
        InputRejected: The name or an option is unknown, or a file is missing or not what it should be; the message
            names the file, where to get it, and the option.
        MissingDependency: The backend needs a package that is not installed.
    """
    if name not in IDENTITY_SPECS:
        raise InputRejected(f"no identity model {name!r}; there are {', '.join(IDENTITY_SPECS)}")
    known = _OPTIONS[name]
    unknown = [option for option in options if option not in known]
    if unknown:
        offered = ", ".join(known) or "none"
        raise InputRejected(f"the {name} identity model has no option {unknown[0]!r}; it has {offered}")
    arguments: dict[str, Any] = {"assets": None if assets is None else AssetTree(Path(assets)), **options}
    if model_path is not None:
        if name == "anny":
            raise InputRejected("the anny identity model comes from the installed package; it takes no model_path")
        arguments["model_path"] = Path(model_path).expanduser()
    if name in SMPL_SPECS:
        return SmplIdentity.load(target, kind=name, **arguments)
    return _LOADERS[name](target, **arguments)
