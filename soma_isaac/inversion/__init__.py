"""Posed vertices or foreign joint rotations to SOMA pose.

:class:`PoseInversion` finds the poses of meshes; :func:`refine` goes on from there by gradients and is the only one
that loads torch, when it is called; :func:`fit_shape` finds bodies. All load when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from soma_isaac.inversion.autograd_refinement import RefinementSettings, refine
    from soma_isaac.inversion.pose_inversion import PoseInversion, PoseInversionResult
    from soma_isaac.inversion.settings import InversionSettings
    from soma_isaac.inversion.shape_inversion import ShapeFit, fit_shape

__all__ = [
    "InversionSettings",
    "PoseInversion",
    "PoseInversionResult",
    "RefinementSettings",
    "ShapeFit",
    "fit_shape",
    "refine",
]

_LAZY = {
    "InversionSettings": "settings",
    "PoseInversion": "pose_inversion",
    "PoseInversionResult": "pose_inversion",
    "RefinementSettings": "autograd_refinement",
    "ShapeFit": "shape_inversion",
    "fit_shape": "shape_inversion",
    "refine": "autograd_refinement",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
