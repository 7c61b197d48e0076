"""SOMA bodies and motion references inside Isaac Lab: 3.0 (Newton, OvPhysX, with or without Kit) and 2.3.2.

Names are looked up when they are first used, so that importing this package needs no Isaac Lab.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOMES = {
    "SomaBodies": "bodies",
    "SomaBodiesCfg": "bodies_cfg",
    "SomaBodiesData": "bodies",
    "SomaBodySpawnerCfg": "spawners_cfg",
    "RobotSpawnerCfg": "spawners_cfg",
    "FloorSpawnerCfg": "spawners_cfg",
    "ReferenceGhost": "ghost",
    "ReferenceGhostCfg": "ghost_cfg",
    "MotionReferenceCommand": "command",
    "MotionReferenceCommandCfg": "command_cfg",
    "PeopleEnvCfg": "example_env",
}


def __getattr__(name: str) -> Any:
    """Import the module that has the name.

    Raises:
        AttributeError: There is no such name.
    """
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """The names that can be imported from here."""
    return sorted(_HOMES)
