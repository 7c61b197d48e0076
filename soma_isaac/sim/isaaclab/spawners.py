"""Spawner functions: each makes one prim and what is below it, and returns it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from isaaclab.sim.utils import clone, get_current_stage
from pxr import Gf, Usd, UsdGeom, UsdPhysics, Vt

from soma_isaac.errors import OutputConflict
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.math.so3 import matrix_from_quat_xyzw
from soma_isaac.sim.isaaclab.compat import DIALECT
from soma_isaac.sim.isaaclab.robot_stage import load_robot_tree, place, robot_shell, write_robot
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP

if TYPE_CHECKING:
    from soma_isaac.sim.isaaclab.spawners_cfg import (
        FloorSpawnerCfg,
        RobotShellSpawnerCfg,
        RobotSpawnerCfg,
        SomaBodySpawnerCfg,
    )

MESH = "mesh"
"""Name of the one mesh below a spawned body or ghost."""
CAPSULES = "capsules"
"""Name of what its colliders lie below."""


@clone
def spawn_soma_body(
    prim_path: str, cfg: SomaBodySpawnerCfg, translation: Any = None, orientation: Any = None, **_: Any
) -> Usd.Prim:
    """A SOMA body in its bind pose, standing on the prim's origin.

    Args:
        prim_path: Where.
        cfg: Level of detail and colour.
        translation: Of the prim, m.
        orientation: Of the prim, in Isaac Lab's order.

    Raises:
        OutputConflict: There is a prim already.
    """
    stage, prim = _new_prim(prim_path, translation, orientation)
    mesh = load_template_rig().mesh(cfg.lod)
    points = mesh.points @ Z_UP_FROM_Y_UP[:3, :3].T
    _write_visual(stage, prim_path, points, mesh.triangles, cfg.color)
    _write_capsules(stage, f"{prim_path}/{CAPSULES}", cfg.capsules)
    return prim


@clone
def spawn_robot(
    prim_path: str, cfg: RobotSpawnerCfg, translation: Any = None, orientation: Any = None, **_: Any
) -> Usd.Prim:
    """A robot as an articulation; arguments as for :func:`spawn_soma_body`.

    Raises:
        InputRejected: The URDF is not sound.
        OutputConflict: There is a prim already.
    """
    stage, prim = _new_prim(prim_path, translation, orientation)
    write_robot(stage, prim_path, load_robot_tree(cfg.urdf), self_collisions=cfg.self_collisions, color=cfg.color)
    return prim


@clone
def spawn_robot_shell(
    prim_path: str, cfg: RobotShellSpawnerCfg, translation: Any = None, orientation: Any = None, **_: Any
) -> Usd.Prim:
    """A robot's shapes as one mesh, all joints at zero; arguments as for :func:`spawn_soma_body`.

    Raises:
        InputRejected: The URDF is not sound.
        OutputConflict: There is a prim already.
    """
    stage, prim = _new_prim(prim_path, translation, orientation)
    tree = load_robot_tree(cfg.urdf)
    shell = robot_shell(tree)
    positions, rotations = tree.rest_poses()
    points = np.einsum("vij,vj->vi", rotations[shell.links], shell.points) + positions[shell.links]
    _write_visual(stage, prim_path, points, shell.triangles, cfg.color)
    return prim


@clone
def spawn_floor(
    prim_path: str, cfg: FloorSpawnerCfg, translation: Any = None, orientation: Any = None, **_: Any
) -> Usd.Prim:
    """A plane with a collider; arguments as for :func:`spawn_soma_body`.

    Raises:
        OutputConflict: There is a prim already.
    """
    stage, prim = _new_prim(prim_path, translation, orientation)
    plane = UsdGeom.Plane.Define(stage, f"{prim_path}/plane")
    plane.CreateAxisAttr(UsdGeom.Tokens.z)
    plane.CreateWidthAttr(cfg.size)
    plane.CreateLengthAttr(cfg.size)
    plane.CreateDisplayColorAttr([Gf.Vec3f(*cfg.color)])
    UsdPhysics.CollisionAPI.Apply(plane.GetPrim())
    return prim


def _new_prim(path: str, translation: Any, orientation: Any) -> tuple[Usd.Stage, Usd.Prim]:
    stage = get_current_stage()
    if stage.GetPrimAtPath(path).IsValid():
        raise OutputConflict(f"there is a prim at {path} already")
    xform = UsdGeom.Xform.Define(stage, path)
    place(xform, np.zeros(3), np.eye(3))
    if translation is not None:
        xform.GetPrim().GetAttribute("xformOp:translate").Set(Gf.Vec3d(*(float(value) for value in translation)))
    if orientation is not None:
        values = [float(value) for value in orientation]
        w, x, y, z = values if DIALECT.generation == 2 else (values[3], *values[:3])
        xform.GetPrim().GetAttribute("xformOp:orient").Set(Gf.Quatd(w, x, y, z))
    return stage, xform.GetPrim()


def _write_visual(stage: Usd.Stage, path: str, points: np.ndarray, triangles: np.ndarray, color: Any) -> None:
    """A mesh with a disabled collider: public USD, imported as a visual shape by Newton, ignored by PhysX."""
    mesh = UsdGeom.Mesh.Define(stage, f"{path}/{MESH}")
    vertices = points.astype(np.float32)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(vertices))
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(np.stack([vertices.min(axis=0), vertices.max(axis=0)])))
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(triangles), 3, dtype=np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(np.ascontiguousarray(triangles, dtype=np.int32).ravel()))
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreateDisplayColorAttr([Gf.Vec3f(*color)])
    UsdPhysics.CollisionAPI.Apply(mesh.GetPrim()).CreateCollisionEnabledAttr(False)


def _write_capsules(stage: Usd.Stage, path: str, capsules: Mapping[str, Sequence[float]]) -> None:
    """Kinematic bodies that nobody sees."""
    for name, values in capsules.items():
        capsule = UsdGeom.Capsule.Define(stage, f"{path}/{name}")
        turn = matrix_from_quat_xyzw(np.asarray(values[3:7]))
        place(UsdGeom.Xform(capsule.GetPrim()), np.asarray(values[:3]), turn)
        capsule.CreateAxisAttr(UsdGeom.Tokens.z)
        capsule.CreateRadiusAttr(values[7])
        capsule.CreateHeightAttr(2.0 * values[8])
        capsule.MakeInvisible()
        UsdPhysics.RigidBodyAPI.Apply(capsule.GetPrim()).CreateKinematicEnabledAttr(True)
        UsdPhysics.CollisionAPI.Apply(capsule.GetPrim())
