"""Where posed bodies go after a step: one sink per engine, each imported only where its library is."""

from __future__ import annotations

from typing import Protocol

from soma_isaac.sim.stepper import PosedGroup

ROW_ATTRIBUTE = "soma:row"
"""Integer attribute of a mesh prim: which member of the group it shows; Fabric orders prims in its own way."""


class VertexSink(Protocol):
    """Takes one group's pose after every step."""

    def write(self, group: PosedGroup) -> None:
        """Hand the group's arrays to an engine."""
        ...


class NullSink:
    """Drops everything: a stepper without a viewer, for training and for measuring."""

    def write(self, group: PosedGroup) -> None:
        """Do nothing."""
