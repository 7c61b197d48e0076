"""The rig on somebody's stage: referenced as a native UsdSkel body, given an identity, and moved by its joints.

Nothing of the rig file is copied. A stage holds a reference to it and, as opinions of its own, a variant set of levels
of detail, the bind pose and rest points of an identity, and the animation. Any UsdSkel viewer can open the stage.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdSkel

from soma_isaac.body import PreparedIdentity, SomaBody
from soma_isaac.body.identity import rigid_inverse
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.rig_usd_write import ANIMATION, CM_PER_M, MESHES, SKEL_ROOT, SKELETON
from soma_isaac.motion.skin import SkinAnimation
from soma_isaac.rig.rig import Rig
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from soma_isaac.sim.sinks.usd_rig_values import (
    JointPose,
    RigMotion,
    RigShape,
    joint_poses,
    rig_motion,
    rig_order,
    rig_shape,
)
from soma_isaac.sim.stepper import PosedGroup

LOD_VARIANTS = "lod"
"""The variant set of levels of detail on a body's prim."""


def reference_rig(
    stage: Usd.Stage,
    path: str,
    rig: Rig,
    *,
    asset: Path | str | None = None,
    relative: bool = False,
    T_world_body: np.ndarray | None = None,
    lod: str = "mid",
) -> Usd.Prim:
    """Put a body on a stage, in its T-pose; edits go to the stage's edit target.

    Args:
        stage: Any up axis and unit.
        path: Path of the new prim, a SkelRoot.
        rig: The rig of ``asset``.
        asset: The rig file; the template that ships with soma_isaac by default.
        relative: Refer to the file by its path from the edited layer's folder, so that both can be moved together;
            otherwise by its absolute path.
        T_world_body: [4, 4] rigid, m, where the body's Y-up world lies in the stage's; by default its up becomes the
            stage's.
        lod: Level of detail that is seen; the others are deactivated variants.

    Raises:
        InputRejected: The path is taken, the placement is no transform, or the edited layer is not a file that another
            one could lie beside.
        RigMismatch: The rig has no such level of detail.
    """
    rig.mesh(lod)
    if stage.GetPrimAtPath(path):
        raise InputRejected(f"the stage has a prim at {path} already")
    if T_world_body is None:
        z_up = UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z
        T_world_body = Z_UP_FROM_Y_UP if z_up else np.eye(4)
    if T_world_body.shape != (4, 4) or not np.isfinite(T_world_body).all():
        raise InputRejected("T_world_body must be a finite 4x4 transform")
    file = asset if asset is not None else data_path("SOMA_template_rig.usda")
    reference = _relative(stage, Path(file)) if relative else str(file)
    prim = stage.DefinePrim(path)
    prim.GetReferences().AddReference(reference)
    metres = UsdGeom.GetStageMetersPerUnit(stage)
    matrix = T_world_body.astype(np.float64).copy()
    matrix[:3, :3] /= CM_PER_M * metres
    matrix[:3, 3] /= metres
    UsdGeom.Xformable(prim).AddTransformOp().Set(Gf.Matrix4d(matrix.T.tolist()))
    variants = prim.GetVariantSets().AddVariantSet(LOD_VARIANTS)
    for name in rig.meshes:
        variants.AddVariant(name)
        variants.SetVariantSelection(name)
        with variants.GetVariantEditContext():
            for other, mesh in rig.meshes.items():
                over = stage.OverridePrim(_inside(prim, f"{MESHES}/{mesh.name}"))
                over.SetActive(other == name)
                if other == name:
                    UsdGeom.Imageable(over).CreateVisibilityAttr(UsdGeom.Tokens.inherited)
    variants.SetVariantSelection(lod)
    return prim


def author_identity(prim: Usd.Prim, body: SomaBody, identity: PreparedIdentity, member: int = 0) -> None:
    """Give a referenced body the shape of an identity, at the body's level of detail; see :func:`author_shape`.

    Args:
        prim: From :func:`reference_rig`.
        body: The rig at the level of detail, with twist.
        identity: From ``body.prepare()``.
        member: Which one, where several are prepared.

    Raises:
        InputRejected: There is no such member.
        RigMismatch: The body was made without twist helpers, or the level of detail is not on the stage.
    """
    author_shape(prim, rig_shape(body, identity, member))


def author_shape(prim: Usd.Prim, shape: RigShape) -> None:
    """Write bind and T-pose of the skeleton, rest points and skin, as opinions of one level of detail's variant.

    Other levels of detail keep theirs until they are authored too: each fits the skeleton to its own vertices, which
    differs by about a millimetre. Skin weights are authored with the points, because the body blends the 8 largest of
    up to 12 that the file has.

    Args:
        prim: From :func:`reference_rig`.
        shape: From :func:`soma_isaac.sim.sinks.usd_rig_values.rig_shape`.

    Raises:
        RigMismatch: The level of detail is not on the stage.
    """
    stage = prim.GetStage()
    variants = prim.GetVariantSets().GetVariantSet(LOD_VARIANTS)
    selected = variants.GetVariantSelection()
    variants.SetVariantSelection(shape.lod)
    try:
        mesh = UsdGeom.Mesh(stage.GetPrimAtPath(_inside(prim, f"{MESHES}/{shape.mesh_name}")))
        if not mesh:
            raise RigMismatch(f"the prim {prim.GetPath()} has no mesh {shape.mesh_name}")
        with variants.GetVariantEditContext():
            skeleton = UsdSkel.Skeleton(stage.GetPrimAtPath(_inside(prim, SKELETON)))
            skeleton.GetBindTransformsAttr().Set(shape.bind)
            skeleton.GetRestTransformsAttr().Set(shape.rest)
            mesh.GetPointsAttr().Set(shape.points)
            mesh.GetExtentAttr().Set(shape.extent)
            mesh.GetNormalsAttr().Set(shape.normals)
            binding = UsdSkel.BindingAPI(mesh.GetPrim())
            binding.CreateJointIndicesPrimvar(False, shape.influences).Set(shape.joint_indices)
            binding.CreateJointWeightsPrimvar(False, shape.influences).Set(shape.joint_weights)
    finally:
        variants.SetVariantSelection(selected)


def author_motion(prim: Usd.Prim, body: SomaBody, animation: SkinAnimation, *, start: float = 0.0) -> None:
    """Record a clip on a referenced body as time samples, at the clip's own pace.

    Args:
        prim: From :func:`reference_rig`.
        body: What posed the clip, see :func:`soma_isaac.body.skin_animation.skin_animation`.
        animation: The clip, in the body's own Y-up world.
        start: s, time of the first frame.

    Raises:
        RigMismatch: The body was made without twist helpers.
    """
    author_samples(prim, rig_motion(body, animation), start=start)


def author_samples(prim: Usd.Prim, motion: RigMotion, *, start: float = 0.0) -> None:
    """Write a clip that was made ready with :func:`soma_isaac.sim.sinks.usd_rig_values.rig_motion`.

    A single frame is written as the default value: it holds at all times.

    Args:
        prim: From :func:`reference_rig`.
        motion: The clip.
        start: s, time of the first frame.
    """
    codes = (start + np.arange(len(motion.poses)) / motion.fps) * prim.GetStage().GetTimeCodesPerSecond()
    attributes = pose_attributes(prim)
    with Sdf.ChangeBlock():
        for code, pose in zip(codes, motion.poses, strict=True):
            _set(attributes, pose, Usd.TimeCode(code) if len(codes) > 1 else Usd.TimeCode.Default())


class UsdSkelSink:
    """Moves referenced bodies by their joints, twist helpers included; whoever renders the stage skins them.

    Smallest data, and editable, but skin correctives are not part of it.
    """

    def __init__(self, prims: list[Usd.Prim], group: PosedGroup) -> None:
        """Take the bodies of a group.

        Args:
            prims: From :func:`reference_rig`, one per member, in the group's order.
            group: One group of a stepper, with twist.

        Raises:
            InputRejected: There is another number of prims than of members.
            RigMismatch: The body was made without twist helpers.
        """
        if len(prims) != len(group.rows):
            raise InputRejected(f"{len(prims)} prims do not fit {len(group.rows)} bodies")
        self._attributes = [pose_attributes(prim) for prim in prims]
        self._order = rig_order(group.body)
        self._T_body_world = [rigid_inverse(_placement(prim)) for prim in prims]

    def write(self, group: PosedGroup, time_code: float | None = None) -> None:
        """Write rotations, translations and bounds of all bodies as one change.

        Args:
            group: The group of the constructor.
            time_code: Write a time sample there; the default value otherwise.
        """
        time = Usd.TimeCode.Default() if time_code is None else Usd.TimeCode(time_code)
        world = np.concatenate([group.pose.transforms.numpy(), group.helpers.numpy()], axis=1)[:, self._order]
        with Sdf.ChangeBlock():
            for attributes, inverse, transforms in zip(self._attributes, self._T_body_world, world, strict=True):
                placed = inverse @ transforms.astype(np.float64)
                placed[0] = transforms[0]
                _set(attributes, joint_poses(group.body, placed[None])[0], time)


def author_pose(prim: Usd.Prim, pose: JointPose) -> None:
    """Hold a referenced body in a pose, as default values of the stage's edit target.

    Args:
        prim: From :func:`reference_rig`.
        pose: One of :func:`soma_isaac.sim.sinks.usd_rig_values.joint_poses`.
    """
    with Sdf.ChangeBlock():
        _set(pose_attributes(prim), pose, Usd.TimeCode.Default())


def open_rig() -> Sdf.Layer:
    """Read the rig file that ships with soma_isaac; stages find it read already as long as the layer is held.

    Raises:
        InputRejected: USD cannot read it.
    """
    file = str(data_path("SOMA_template_rig.usda"))
    layer = Sdf.Layer.FindOrOpen(file)
    if layer is None:
        raise InputRejected("is no USD file", file)
    return layer


def pose_attributes(prim: Usd.Prim) -> tuple[Usd.Attribute, Usd.Attribute, Usd.Attribute]:
    """Rotations, translations and bounds of a referenced body: what a pose is written to."""
    animation = UsdSkel.Animation(prim.GetStage().GetPrimAtPath(_inside(prim, ANIMATION)))
    return animation.GetRotationsAttr(), animation.GetTranslationsAttr(), UsdGeom.Boundable(prim).GetExtentAttr()


def _set(attributes: tuple[Usd.Attribute, Usd.Attribute, Usd.Attribute], pose: JointPose, time: Usd.TimeCode) -> None:
    for attribute, value in zip(attributes, (pose.rotations, pose.translations, pose.extent), strict=True):
        attribute.Set(value, time)


def relative_to_rig(layer: Sdf.Layer, file: Path) -> None:
    """Let a layer refer to the rig that ships with soma_isaac by its path from the folder of ``file``.

    For layers that are written to a file later: until then the relative path leads nowhere.

    Args:
        layer: With references by absolute path, as :func:`reference_rig` makes them.
        file: Where the layer will lie.

    Raises:
        InputRejected: There is no relative path between them.
    """
    rig = data_path("SOMA_template_rig.usda")
    layer.UpdateCompositionAssetDependency(str(rig), _path_from(file.parent, rig))


def _relative(stage: Usd.Stage, file: Path) -> str:
    """Path of a file from the folder of the stage's edited layer, as USD anchors it there."""
    layer = stage.GetEditTarget().GetLayer()
    if layer.anonymous or not layer.realPath:
        raise InputRejected("the edited layer is in memory only; save it before files are referred to relative to it")
    return _path_from(Path(layer.realPath).parent, file)


def _path_from(folder: Path, file: Path) -> str:
    try:
        path = Path(os.path.relpath(file.resolve(), folder.resolve())).as_posix()
    except ValueError as error:  # another drive, on Windows
        raise InputRejected("cannot be referred to by a relative path from the stage's folder", str(file)) from error
    return path if path.startswith("../") else f"./{path}"


def _placement(prim: Usd.Prim) -> np.ndarray:
    """Rigid transform [4, 4], m, from a body's world to the stage's."""
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default())).T
    matrix[:3, :3] /= np.cbrt(np.linalg.det(matrix[:3, :3]))
    matrix[:3, 3] *= UsdGeom.GetStageMetersPerUnit(prim.GetStage())
    return matrix


def _inside(prim: Usd.Prim, path: str) -> str:
    """A path of the rig file below a prim that references it."""
    return str(prim.GetPath()) + path.removeprefix(SKEL_ROOT)
