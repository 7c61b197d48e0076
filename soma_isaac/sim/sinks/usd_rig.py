"""The rig on somebody's stage: referenced as a native UsdSkel body, given an identity, and moved by its joints.

Nothing of the rig file is copied. A stage holds a reference to it and, as opinions of its own, a variant set of levels
of detail, the bind pose and rest points of an identity, and the animation. Any UsdSkel viewer can open the stage.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pxr import Gf, Sdf, Usd, UsdGeom, UsdSkel, Vt

from soma_isaac.body import PreparedIdentity, SomaBody
from soma_isaac.body.identity import rigid_inverse
from soma_isaac.body.launches import identity_rows
from soma_isaac.body.skin_animation import identity_mesh, identity_skeleton
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.rig_usd_write import ANIMATION, CM_PER_M, MESHES, SKEL_ROOT, SKELETON, local_transforms
from soma_isaac.formats.usd_stage_file import vectors
from soma_isaac.motion.skin import SkinAnimation, parent_relative
from soma_isaac.rig.mesh import vertex_normals
from soma_isaac.rig.rig import Rig
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from soma_isaac.sim.stepper import PosedGroup

LOD_VARIANTS = "lod"
"""The variant set of levels of detail on a body's prim."""

_PADDING_M = 0.25


def reference_rig(
    stage: Usd.Stage,
    path: str,
    rig: Rig,
    *,
    asset: Path | str | None = None,
    T_world_body: np.ndarray | None = None,
    lod: str = "mid",
) -> Usd.Prim:
    """Put a body on a stage, in its T-pose; edits go to the stage's edit target.

    Args:
        stage: Any up axis and unit.
        path: Path of the new prim, a SkelRoot.
        rig: The rig of ``asset``.
        asset: The rig file; the template that ships with soma_isaac by default.
        T_world_body: [4, 4] rigid, m, where the body's Y-up world lies in the stage's; by default its up becomes the
            stage's.
        lod: Level of detail that is seen; the others are deactivated variants.

    Raises:
        InputRejected: The path is taken, or the placement is no transform.
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
    prim = stage.DefinePrim(path)
    prim.GetReferences().AddReference(str(asset if asset is not None else data_path("SOMA_template_rig.usda")))
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
    """Give a referenced body the shape of an identity: bind and T-pose of the skeleton; rest points, skin of one LOD.

    Other levels of detail keep their shape until an identity of theirs is authored. Skin weights are authored with the
    points, because the body blends the 8 largest of up to 12 that the file has.

    Args:
        prim: From :func:`reference_rig`.
        body: The rig at the level of detail, with twist.
        identity: From ``body.prepare()``.
        member: Which one, where several are prepared.

    Raises:
        RigMismatch: The body was made without twist helpers, or the level of detail is not on the stage.
    """
    order = _rig_order(body)
    one = _member(identity, member)
    skeleton = identity_skeleton(body, one)
    mesh = identity_mesh(body, one)
    stage = prim.GetStage()
    target = prim.GetVariantSets().GetVariantSet(LOD_VARIANTS)
    selected = target.GetVariantSelection()
    target.SetVariantSelection(body.lod)
    shown = UsdGeom.Mesh(stage.GetPrimAtPath(_inside(prim, f"{MESHES}/{mesh.name}")))
    if not shown:
        raise RigMismatch(f"the prim {prim.GetPath()} has no mesh {mesh.name}")
    bind, rest = skeleton.bind_T_world_joint[order], skeleton.rest_T_world_joint[order]
    parents = body.rig.skeleton.parent_indices
    skel = UsdSkel.Skeleton(stage.GetPrimAtPath(_inside(prim, SKELETON)))
    skel.GetBindTransformsAttr().Set(_matrices(bind))
    skel.GetRestTransformsAttr().Set(_matrices(local_transforms(rest, parents)))
    points = mesh.points * CM_PER_M
    shown.GetPointsAttr().Set(vectors(points))
    shown.GetExtentAttr().Set(vectors(np.stack([points.min(0), points.max(0)])))
    shown.GetNormalsAttr().Set(vectors(vertex_normals(mesh.points, mesh.triangles)))
    binding = UsdSkel.BindingAPI(shown.GetPrim())
    place = np.argsort(order)
    width = mesh.joint_indices.shape[1]
    joints = np.where(mesh.joint_weights > 0.0, place[mesh.joint_indices], 0).astype(np.int32)
    binding.CreateJointIndicesPrimvar(False, width).Set(Vt.IntArray.FromNumpy(joints.ravel()))
    weights = mesh.joint_weights.astype(np.float32)
    binding.CreateJointWeightsPrimvar(False, width).Set(Vt.FloatArray.FromNumpy(weights.ravel()))
    target.SetVariantSelection(selected)


def author_motion(prim: Usd.Prim, body: SomaBody, animation: SkinAnimation, *, start: float = 0.0) -> None:
    """Record a clip on a referenced body as time samples, at the clip's own pace.

    Args:
        prim: From :func:`reference_rig`.
        body: What posed the clip, see :func:`soma_isaac.body.skin_animation.skin_animation`.
        animation: The clip, in the body's own Y-up world.
        start: s, time of the first frame.
    """
    codes = (start + np.arange(animation.frame_count) / animation.fps) * prim.GetStage().GetTimeCodesPerSecond()
    world = animation.T_world_joint[:, _rig_order(body)]
    with Sdf.ChangeBlock():
        _write_pose(prim, body, world, [Usd.TimeCode(code) for code in codes])


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
        self._prims = prims
        self._order = _rig_order(group.body)
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
            for prim, inverse, transforms in zip(self._prims, self._T_body_world, world, strict=True):
                placed = inverse @ transforms.astype(np.float64)
                placed[0] = transforms[0]
                _write_pose(prim, group.body, placed[None], [time])


def _write_pose(prim: Usd.Prim, body: SomaBody, world: np.ndarray, times: list[Usd.TimeCode]) -> None:
    """Write joint transforms [T, J, 4, 4] m in the rig's order, and UsdSkel's bounds, at some times."""
    quats_wxyz, translations = parent_relative(world, body.rig.skeleton.parent_indices)
    stage = prim.GetStage()
    animation = UsdSkel.Animation(stage.GetPrimAtPath(_inside(prim, ANIMATION)))
    rotations_attr, translations_attr = animation.GetRotationsAttr(), animation.GetTranslationsAttr()
    extent_attr = UsdGeom.Boundable(prim).GetExtentAttr()
    joints = world[:, 1:, :3, 3]
    bounds = np.stack([joints.min(axis=1) - _PADDING_M, joints.max(axis=1) + _PADDING_M], axis=1) * CM_PER_M
    for frame, time in enumerate(times):
        quats = np.ascontiguousarray(quats_wxyz[frame][:, [1, 2, 3, 0]], dtype=np.float32)
        rotations_attr.Set(Vt.QuatfArray.FromNumpy(quats), time)
        translations_attr.Set(vectors(translations[frame] * CM_PER_M), time)
        extent_attr.Set(vectors(bounds[frame]), time)


def _rig_order(body: SomaBody) -> np.ndarray:
    """Skinned joint [J] of each joint of the rig file."""
    names = {name: slot for slot, name in enumerate(body.layout.joint_names)}
    missing = [name for name in body.rig.skeleton.joint_names if name not in names]
    if missing:
        raise RigMismatch(f"the body does not pose the joint {missing[0]!r}; make it with twist")
    return np.array([names[name] for name in body.rig.skeleton.joint_names])


def _member(identity: PreparedIdentity, member: int) -> PreparedIdentity:
    if not 0 <= member < identity.count:
        raise InputRejected(f"{identity.count} identities are prepared; there is no number {member}")
    if identity.count == 1:
        return identity
    bind = identity.bind_T_world_joint[member : member + 1]
    arrays = identity_rows(identity.arrays, member, member + 1)
    return PreparedIdentity(bind, identity.lod, arrays, f"{identity.source} {member}")


def _placement(prim: Usd.Prim) -> np.ndarray:
    """Rigid transform [4, 4], m, from a body's world to the stage's."""
    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default())).T
    matrix[:3, :3] /= np.cbrt(np.linalg.det(matrix[:3, :3]))
    matrix[:3, 3] *= UsdGeom.GetStageMetersPerUnit(prim.GetStage())
    return matrix


def _inside(prim: Usd.Prim, path: str) -> str:
    """A path of the rig file below a prim that references it."""
    return str(prim.GetPath()) + path.removeprefix(SKEL_ROOT)


def _matrices(columns: np.ndarray) -> Vt.Matrix4dArray:
    rows = np.swapaxes(columns, 1, 2).copy()
    rows[:, 3, :3] *= CM_PER_M
    return Vt.Matrix4dArray.FromNumpy(rows)
