"""Posed vertices into Fabric by a Warp kernel: what RTX renders, without a copy to the host."""

from __future__ import annotations

from typing import Any, Protocol

import warp as wp

from soma_isaac.errors import MissingDependency
from soma_isaac.kernels.fabric import launch_fabric_points
from soma_isaac.sim.sinks import ROW_ATTRIBUTE
from soma_isaac.sim.stepper import PosedGroup


class Selection(Protocol):
    """What ``usdrt.Usd.Stage.SelectPrims`` returns; Warp reads its ``__fabric_arrays_interface__``."""

    def PrepareForReuse(self) -> bool:
        """Bring the selection up to date; true if arrays made from it must be made anew."""
        ...


class FabricSink:
    """Writes a group's vertices to the points of the mesh prims that carry :data:`ROW_ATTRIBUTE`.

    The prims must exist in USD with the mesh's number of points, because Fabric cannot change the length of an array;
    :class:`soma_isaac.sim.sinks.usd_points.UsdPointsSink` makes and marks such prims.
    """

    def __init__(self, selection: Selection, *, units_per_metre: float = 1.0) -> None:
        """Take a selection of prims with ``points`` (read and write) and :data:`ROW_ATTRIBUTE` (read).

        Args:
            selection: From :func:`select_bodies`.
            units_per_metre: 1 for a stage in metres.
        """
        self._selection = selection
        self._scale = units_per_metre
        self._arrays: tuple[Any, Any] | None = None

    def write(self, group: PosedGroup) -> None:
        """Queue the kernel that writes all bodies' points."""
        if self._selection.PrepareForReuse() or self._arrays is None:
            self._arrays = (
                wp.fabricarray(data=self._selection, attrib=ROW_ATTRIBUTE, dtype=wp.int32),
                wp.fabricarrayarray(data=self._selection, attrib="points", dtype=wp.vec3),
            )
        rows, points = self._arrays
        launch_fabric_points(vertices=group.pose.vertices, scale=self._scale, rows=rows, points_out=points)


def select_bodies(stage_id: int, device: str = "cuda:0") -> Selection:
    """Select the marked mesh prims of an attached stage, inside Kit.

    Args:
        stage_id: ``omni.usd.get_context().get_stage_id()``.
        device: Where Fabric keeps the arrays.

    Raises:
        MissingDependency: ``usdrt`` is not there: this runs inside Isaac Sim only.
    """
    try:
        import usdrt
    except ImportError as error:
        raise MissingDependency("usdrt", "writing to Fabric", "it is part of Isaac Sim; run inside it") from error
    stage = usdrt.Usd.Stage.Attach(stage_id)
    types = usdrt.Sdf.ValueTypeNames
    return stage.SelectPrims(
        require_attrs=[
            (types.Point3fArray, "points", usdrt.Usd.Access.ReadWrite),
            (types.Int, ROW_ATTRIBUTE, usdrt.Usd.Access.Read),
        ],
        device=device,
    )
