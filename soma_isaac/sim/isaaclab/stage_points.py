"""Vertices as points of the environments' own mesh prims: what RTX and a saved stage see."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import warp as wp
from pxr import Sdf, Usd, UsdGeom, Vt

from soma_isaac.errors import InputRejected
from soma_isaac.sim.isaaclab.compat import DIALECT
from soma_isaac.sim.sinks import ROW_ATTRIBUTE, VertexSink
from soma_isaac.sim.sinks.fabric import FabricSink, select_bodies
from soma_isaac.sim.stepper import PosedGroup

WAYS = ("auto", "usd", "fabric", "none")


class StagePoints:
    """Writes moving vertices to the prims that an entity spawned, in each prim's own frame; one host copy per call.

    With Newton's replication without Kit only environment 0 is on the stage; then only that one is written.
    """

    def __init__(self, stage: Usd.Stage, path: str, count: int) -> None:
        """Find the prims and mark them for Fabric.

        Args:
            stage: The simulation's.
            path: Expression of the mesh prims, with one ``.*`` where the environment's number stands.
            count: Environments.

        Raises:
            InputRejected: None of them is there.
        """
        self.meshes: dict[int, UsdGeom.Mesh] = {}
        for env in range(count):
            prim = stage.GetPrimAtPath(path.replace(".*", str(env)))
            if prim.IsValid():
                prim.CreateAttribute(ROW_ATTRIBUTE, Sdf.ValueTypeNames.Int).Set(env)
                self.meshes[env] = UsdGeom.Mesh(prim)
        if not self.meshes:
            raise InputRejected(f"there are no prims at {path!r}")

    def write(self, group: PosedGroup) -> None:
        """Write a stepper's group."""
        self.write_vertices(group.pose.vertices)

    def write_vertices(self, vertices: wp.array) -> None:
        """Write points and extents as one change.

        Args:
            vertices: [N, V] vec3, m.
        """
        points = vertices.numpy()
        with Sdf.ChangeBlock():
            for env, mesh in self.meshes.items():
                corners = np.stack([points[env].min(axis=0), points[env].max(axis=0)])
                mesh.GetPointsAttr().Set(Vt.Vec3fArray.FromNumpy(points[env]))
                mesh.GetExtentAttr().Set(Vt.Vec3fArray.FromNumpy(corners))


def chosen_way(way: str, device: str) -> str:
    """``usd``, ``fabric`` or ``none`` for one of :data:`WAYS`.

    ``auto`` is nothing without Kit, where viewers read the Newton model; inside Kit it is Fabric on a GPU and USD
    points otherwise.

    Raises:
        InputRejected: There is no such way.
    """
    if way not in WAYS:
        raise InputRejected(f"stage_points={way!r}; there are {', '.join(WAYS)}")
    if way != "auto":
        return way
    if DIALECT.generation == 3 and "omni.kit.app" not in sys.modules:
        return "none"
    return "usd" if device == "cpu" else "fabric"


def stage_sink(way: str, *, stage: Usd.Stage, stage_id: Any, path: str, count: int, device: str) -> VertexSink | None:
    """The sink for a body's prims, or ``None``.

    Args:
        way: One of :data:`WAYS`.
        stage: The simulation's.
        stage_id: Gives the number by which Fabric knows it, when called.
        path: As for :class:`StagePoints`.
        count: Environments.
        device: Where the vertices are.

    Raises:
        InputRejected: There is no such way, or there are no prims.
        MissingDependency: Fabric is asked for outside Kit.
    """
    chosen = chosen_way(way, device)
    if chosen == "none":
        return None
    points = StagePoints(stage, path, count)
    return points if chosen == "usd" else FabricSink(select_bodies(stage_id(), device))
