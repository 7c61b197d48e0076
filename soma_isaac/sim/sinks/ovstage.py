"""Posed vertices into an ovstage scene, which PhysX and the Omniverse renderer share outside Kit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.sim.stepper import PosedGroup


class OvStageSink:
    """Writes a group's vertices to the ``points`` of mesh prims, from the stepper's own memory (CPU or GPU).

    The stage must be in metres.
    """

    def __init__(self, stage: Any, group: PosedGroup, paths: Sequence[str]) -> None:
        """Take the meshes, e.g. those of a file that :class:`~soma_isaac.sim.sinks.usd_points.UsdPointsSink` filled.

        Args:
            stage: ``ovstage.Stage`` with the prims in it.
            group: One group of a stepper.
            paths: One mesh prim per member, in the group's order.

        Raises:
            InputRejected: There is another number of paths than of members.
            MissingDependency: ``ovstage`` is not installed.
        """
        try:
            import ovstage
        except ImportError as error:
            raise MissingDependency("ovstage", "writing to an ovstage scene", "pip install ovstage") from error
        if len(paths) != len(group.rows):
            raise InputRejected(f"{len(paths)} prims do not fit {len(group.rows)} bodies")
        self._stage = stage
        self._dictionary = ovstage.PathDictionary(stage)
        self._paths = self._dictionary.create_path_list_from_strings(list(paths))
        self._query = stage.query_from_path_list(self._paths)
        lanes = ovstage.DLDataType(code=ovstage.DLDataTypeCode.kDLFloat, bits=32, lanes=3)
        vertices = group.pose.vertices
        self._rows = [vertices[member] for member in range(len(paths))]
        self._tensors = [ovstage.make_dltensor(row, dtype=lanes) for row in self._rows]

    def write(self, group: PosedGroup, ordinal: int) -> None:
        """Write all bodies' points and wait until they are in.

        Args:
            group: The group of the constructor.
            ordinal: The scene's number of this change, not below those before.
        """
        del group  # its arrays never move, so the tensors made of them stay good
        self._stage.write_attribute(self._query, "points", ordinal, self._tensors, is_array=True).wait()
