"""Posed vertices as ordinary USD meshes: works in every USD program, with one copy to the host per step."""

from __future__ import annotations

import numpy as np
from pxr import Sdf, Usd, UsdGeom, Vt

from soma_isaac.formats.rig_usd_write import write_faces
from soma_isaac.sim.sinks import ROW_ATTRIBUTE
from soma_isaac.sim.stepper import PosedGroup


class UsdPointsSink:
    """One ``UsdGeom.Mesh`` per body, in the stage's world and units.

    The meshes ignore their parents' transforms, because the stepper's vertices are placed in the world already. Good
    for up to about eight bodies in a viewport: Hydra takes in each changed mesh anew.
    """

    def __init__(self, stage: Usd.Stage, group: PosedGroup, root: str, *, normals: bool = True) -> None:
        """Define the meshes and write the group's present pose.

        Args:
            stage: Where to; edits go to its edit target. Its up axis should be that of the stepper's placements.
            group: One group of a stepper.
            root: Path of the prim above the meshes, made if there is none; they are called ``body_0`` and so on, by
                their number in the stepper.
            normals: Write normals too, where the stepper computes them.
        """
        self._scale = np.float32(1.0 / UsdGeom.GetStageMetersPerUnit(stage))
        self._normals = normals and group.normals is not None
        mesh = group.body.rig.mesh(group.body.lod)
        if not stage.GetPrimAtPath(root):
            UsdGeom.Xform.Define(stage, root)
        self.meshes: list[UsdGeom.Mesh] = []
        for member, row in enumerate(group.rows):
            prim = UsdGeom.Mesh.Define(stage, f"{root}/body_{row}")
            prim.SetResetXformStack(True)
            write_faces(prim, mesh, None)
            for attribute in (prim.CreatePointsAttr(), prim.CreateExtentAttr()):
                attribute.Set(Vt.Vec3fArray())
            if self._normals:
                prim.CreateNormalsAttr().Set(Vt.Vec3fArray())
                prim.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
            prim.GetPrim().CreateAttribute(ROW_ATTRIBUTE, Sdf.ValueTypeNames.Int).Set(member)
            self.meshes.append(prim)
        self.write(group)

    def write(self, group: PosedGroup, time_code: float | None = None) -> None:
        """Write points, extents and normals of all bodies as one change.

        Args:
            group: The group of the constructor.
            time_code: Write a time sample there; the default value otherwise.
        """
        time = Usd.TimeCode.Default() if time_code is None else Usd.TimeCode(time_code)
        points = group.pose.vertices.numpy() * self._scale
        extents = np.stack([points.min(axis=1), points.max(axis=1)], axis=1)
        normals = group.normals.numpy() if self._normals and group.normals is not None else None
        with Sdf.ChangeBlock():
            for row, mesh in enumerate(self.meshes):
                mesh.GetPointsAttr().Set(Vt.Vec3fArray.FromNumpy(points[row]), time)
                mesh.GetExtentAttr().Set(Vt.Vec3fArray.FromNumpy(extents[row]), time)
                if normals is not None:
                    mesh.GetNormalsAttr().Set(Vt.Vec3fArray.FromNumpy(normals[row]), time)
