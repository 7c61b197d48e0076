"""SOMA bodies: prepare an identity once, pose it many times.

:class:`SomaBody` poses one rig; :class:`SomaLayer` adds identity models, scales, units and correctives;
:class:`TorchSomaLayer` adds gradients and is the only one that imports torch. The latter two load when asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.launches import BodyPose
from soma_isaac.body.soma import SomaBody

if TYPE_CHECKING:
    from soma_isaac.body.layer import SomaLayer
    from soma_isaac.body.torch_layer import TorchSomaLayer

__all__ = ["BodyPose", "PreparedIdentity", "SomaBody", "SomaLayer", "TorchSomaLayer"]

_LAZY = {"SomaLayer": "layer", "TorchSomaLayer": "torch_layer"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
