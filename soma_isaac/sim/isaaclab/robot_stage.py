"""A robot description as UsdPhysics prims, and its shapes as one mesh; only public USD schemas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdPhysics, Vt

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.urdf import UrdfJoint, UrdfLink, UrdfShape, read_urdf
from soma_isaac.math.so3 import quat_wxyz_from_matrix, shortest_arc
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.robot_tree import RobotTree, robot_tree

BUNDLED_ROBOT = "g1/g1_29dof.urdf"
_ROUND = 12
_STIFFNESS, _DAMPING = 1.0, 0.05


@lru_cache(maxsize=4)
def load_robot_tree(urdf: str) -> RobotTree:
    """The tree of a URDF file, or of the bundled G1 for an empty name.

    Raises:
        InputRejected: No sound URDF, or one whose joints are not all hinges.
    """
    path = Path(urdf) if urdf else data_path(BUNDLED_ROBOT)
    return robot_tree(read_urdf(read_source(path).data, str(path)))


def write_robot(stage: Usd.Stage, root: str, tree: RobotTree, *, self_collisions: bool, color: Sequence[float]) -> None:
    """Define an articulation below ``root``: a rigid body per link side by side, hinges under ``root/joints``.

    All joints are at zero and the root link is at ``root``.

    Args:
        stage: In metres, Z up.
        root: Path of a prim that exists.
        tree: The robot.
        self_collisions: Whether its links collide with each other.
        color: Display colour of its shapes.
    """
    for link, position, rotation in zip(tree.links, *tree.rest_poses(), strict=True):
        _write_link(stage, f"{root}/{link.name}", link, position, rotation, color)
    # On the root link, not above it: there PhysX would choose the link in the middle of the tree as the root.
    pelvis = stage.GetPrimAtPath(f"{root}/{tree.links[0].name}")
    UsdPhysics.ArticulationRootAPI.Apply(pelvis)
    # The two engines' own names for it; plain USD has none, and unknown attributes do no harm.
    for name in ("physxArticulation:enabledSelfCollisions", "newton:selfCollisionEnabled"):
        pelvis.CreateAttribute(name, Sdf.ValueTypeNames.Bool).Set(self_collisions)
    UsdGeom.Scope.Define(stage, f"{root}/joints")
    for joint in tree.joints:
        _write_hinge(stage, root, joint)


def _write_link(
    stage: Usd.Stage, path: str, link: UrdfLink, position: np.ndarray, rotation: np.ndarray, color: Sequence[float]
) -> None:
    prim = UsdGeom.Xform.Define(stage, path)
    place(prim, position, rotation)
    UsdPhysics.RigidBodyAPI.Apply(prim.GetPrim())
    mass = UsdPhysics.MassAPI.Apply(prim.GetPrim())
    moments, axes = np.linalg.eigh(link.inertia)
    if np.linalg.det(axes) < 0.0:
        axes[:, 0] *= -1.0
    mass.CreateMassAttr(link.mass)
    mass.CreateCenterOfMassAttr(Gf.Vec3f(*link.com.tolist()))
    mass.CreateDiagonalInertiaAttr(Gf.Vec3f(*moments.tolist()))
    mass.CreatePrincipalAxesAttr(_quatf(axes))
    for number, shape in enumerate(link.shapes):
        _write_shape(stage, f"{path}/collision_{number}", shape, color)


def _write_shape(stage: Usd.Stage, path: str, shape: UrdfShape, color: Sequence[float]) -> None:
    kinds = {"sphere": UsdGeom.Sphere, "capsule": UsdGeom.Capsule, "cylinder": UsdGeom.Cylinder}
    if shape.kind not in kinds:
        raise InputRejected(f"collision {shape.name} is a {shape.kind}; spheres, capsules and cylinders are written")
    prim = kinds[shape.kind].Define(stage, path)
    radius = shape.size[0]
    reach = radius
    prim.CreateRadiusAttr(radius)
    if shape.kind != "sphere":
        prim.CreateHeightAttr(shape.size[1])
        prim.CreateAxisAttr(UsdGeom.Tokens.z)
        reach = 0.5 * shape.size[1] + (radius if shape.kind == "capsule" else 0.0)
    prim.CreateExtentAttr(Vt.Vec3fArray([Gf.Vec3f(-radius, -radius, -reach), Gf.Vec3f(radius, radius, reach)]))
    prim.CreateDisplayColorAttr([Gf.Vec3f(*color)])
    place(prim, shape.translation, shape.rotation)
    UsdPhysics.CollisionAPI.Apply(prim.GetPrim())


def _write_hinge(stage: Usd.Stage, root: str, joint: UrdfJoint) -> None:
    # A revolute joint of USD turns about a coordinate axis of its own frame: that frame's x is laid on the hinge.
    frame = shortest_arc(np.array([1.0, 0.0, 0.0]), joint.axis)
    prim = UsdPhysics.RevoluteJoint.Define(stage, f"{root}/joints/{joint.name}")
    prim.CreateBody0Rel().SetTargets([f"{root}/{joint.parent}"])
    prim.CreateBody1Rel().SetTargets([f"{root}/{joint.child}"])
    prim.CreateAxisAttr("X")
    prim.CreateLocalPos0Attr(Gf.Vec3f(*joint.translation.tolist()))
    prim.CreateLocalRot0Attr(_quatf(joint.rotation @ frame))
    prim.CreateLocalPos1Attr(Gf.Vec3f(0.0))
    prim.CreateLocalRot1Attr(_quatf(frame))
    if np.isfinite([joint.lower, joint.upper]).all():
        prim.CreateLowerLimitAttr(float(np.degrees(joint.lower)))
        prim.CreateUpperLimitAttr(float(np.degrees(joint.upper)))
    drive = UsdPhysics.DriveAPI.Apply(prim.GetPrim(), "angular")
    drive.CreateTypeAttr("force")
    # In N m per degree. Actuators of Isaac Lab write their own gains over these; at zero Newton would make no drive.
    drive.CreateStiffnessAttr(_STIFFNESS)
    drive.CreateDampingAttr(_DAMPING)
    if np.isfinite(joint.effort):
        drive.CreateMaxForceAttr(joint.effort)


def place(prim: UsdGeom.Xformable, position: np.ndarray, rotation: np.ndarray) -> None:
    """Translate, orient and scale operations, which Isaac Lab and PhysX expect on what they move."""
    prim.AddTranslateOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Vec3d(*np.round(position, _ROUND).tolist()))
    w, x, y, z = quat_wxyz_from_matrix(rotation).tolist()
    prim.AddOrientOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Quatd(w, x, y, z))
    prim.AddScaleOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Vec3d(1.0))


def _quatf(rotation: np.ndarray) -> Gf.Quatf:
    w, x, y, z = quat_wxyz_from_matrix(rotation).tolist()
    return Gf.Quatf(w, x, y, z)


@dataclass(frozen=True, eq=False)
class RobotShell:
    """A robot's shapes as triangles.

    Attributes:
        points: [V, 3] float32 m, in the frame of each vertex's link.
        links: [V] int32, link of the tree that each vertex rides on.
        triangles: [F, 3] int32.
    """

    points: np.ndarray
    links: np.ndarray
    triangles: np.ndarray


def robot_shell(tree: RobotTree, segments: int = 12) -> RobotShell:
    """Triangles of all spheres, capsules and cylinders of a robot.

    Args:
        tree: The robot.
        segments: Edges around a shape; even.

    Raises:
        InputRejected: It has other shapes, or none.
    """
    points, links, triangles, start = [], [], [], 0
    for number, link in enumerate(tree.links):
        for shape in link.shapes:
            if shape.kind not in ("sphere", "capsule", "cylinder"):
                raise InputRejected(f"collision {shape.name} is a {shape.kind}; a ghost takes round shapes only")
            local, faces = _round_shape(shape, segments)
            points.append(local @ shape.rotation.T + shape.translation)
            links.append(np.full(len(local), number))
            triangles.append(faces + start)
            start += len(local)
    if not points:
        raise InputRejected("the robot has no shapes to show")
    return RobotShell(
        np.concatenate(points).astype(np.float32),
        np.concatenate(links).astype(np.int32),
        np.concatenate(triangles).astype(np.int32),
    )


def _round_shape(shape: UrdfShape, segments: int) -> tuple[np.ndarray, np.ndarray]:
    """Points and triangles of a shape about its own z axis: rings between two poles."""
    radius = shape.size[0]
    half = 0.0 if shape.kind == "sphere" else 0.5 * shape.size[1]
    if shape.kind == "cylinder":
        outline = np.array([[radius, -half], [radius, half]])
        tip = half
    else:
        polar = np.linspace(-0.5 * np.pi, 0.5 * np.pi, segments // 2 + 2)[1:-1]
        lift = np.where(polar < 0.0, -half, half)
        outline = np.stack([radius * np.cos(polar), radius * np.sin(polar) + lift], axis=1)
        tip = half + radius
    around = 2.0 * np.pi * np.arange(segments) / segments
    circle = np.stack([np.cos(around), np.sin(around)], axis=1)
    rings = np.concatenate(
        [np.concatenate([reach * circle, np.full((segments, 1), height)], axis=1) for reach, height in outline.tolist()]
    )
    points = np.concatenate([rings, [[0.0, 0.0, -tip], [0.0, 0.0, tip]]])
    count, bottom, top = len(outline), len(rings), len(rings) + 1
    here = np.arange(segments)
    following = (here + 1) % segments
    faces = [np.stack([following, here, np.full(segments, bottom)], axis=1)]
    for ring in range(count - 1):
        low, high = ring * segments, (ring + 1) * segments
        faces.append(np.stack([low + here, low + following, high + following], axis=1))
        faces.append(np.stack([low + here, high + following, high + here], axis=1))
    last = (count - 1) * segments
    faces.append(np.stack([last + here, last + following, np.full(segments, top)], axis=1))
    return points, np.concatenate(faces)
