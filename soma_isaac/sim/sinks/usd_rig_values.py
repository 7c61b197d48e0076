"""What a referenced rig is told, as USD values: shapes of identities and poses of joints.

Making these values takes most of the time and needs no stage, so that it can be done in another thread.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pxr import Vt

from soma_isaac.body import PreparedIdentity, SomaBody
from soma_isaac.body.launches import identity_rows
from soma_isaac.body.skin_animation import identity_mesh, identity_skeleton
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.rig_usd_write import CM_PER_M, local_transforms
from soma_isaac.formats.usd_stage_file import vectors
from soma_isaac.motion.skin import SkinAnimation, parent_relative
from soma_isaac.rig.mesh import vertex_normals

_PADDING_M = 0.25


@dataclass(frozen=True, eq=False, repr=False)
class RigShape:
    """An identity at one level of detail, in the rig file's joint order and in centimetres.

    Attributes:
        lod: Level of detail.
        mesh_name: Its mesh.
        bind: Bind transforms of the skeleton.
        rest: T-pose of the skeleton, relative to the parents.
        points: Rest points.
        extent: Their bounds.
        normals: At the points.
        influences: Joints per point.
        joint_indices: Per point.
        joint_weights: Per point.
    """

    lod: str
    mesh_name: str
    bind: Vt.Matrix4dArray
    rest: Vt.Matrix4dArray
    points: Vt.Vec3fArray
    extent: Vt.Vec3fArray
    normals: Vt.Vec3fArray
    influences: int
    joint_indices: Vt.IntArray
    joint_weights: Vt.FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class JointPose:
    """Joints of one moment, relative to their parents, in the rig file's order and in centimetres.

    Attributes:
        rotations: Of all joints.
        translations: Of all joints.
        extent: Bounds of the body around them.
    """

    rotations: Vt.QuatfArray
    translations: Vt.Vec3fArray
    extent: Vt.Vec3fArray


@dataclass(frozen=True, eq=False, repr=False)
class RigMotion:
    """A clip.

    Attributes:
        fps: Frame rate [Hz].
        poses: One per frame.
    """

    fps: float
    poses: tuple[JointPose, ...]

    @property
    def duration(self) -> float:
        """From the first frame to the last [s]."""
        return (len(self.poses) - 1) / self.fps


def rig_shape(body: SomaBody, identity: PreparedIdentity, member: int = 0) -> RigShape:
    """The shape of one identity.

    Args:
        body: The rig at the level of detail, with twist.
        identity: From ``body.prepare()``.
        member: Which one, where several are prepared.

    Raises:
        InputRejected: There is no such member.
        RigMismatch: The body was made without twist helpers.
    """
    order = rig_order(body)
    one = _member(identity, member)
    skeleton, mesh = identity_skeleton(body, one), identity_mesh(body, one)
    rest = skeleton.rest_T_world_joint[order]
    points = mesh.points * CM_PER_M
    joints = np.where(mesh.joint_weights > 0.0, np.argsort(order)[mesh.joint_indices], 0)
    return RigShape(
        lod=body.lod,
        mesh_name=mesh.name,
        bind=_matrices(skeleton.bind_T_world_joint[order]),
        rest=_matrices(local_transforms(rest, body.rig.skeleton.parent_indices)),
        points=vectors(points),
        extent=vectors(np.stack([points.min(0), points.max(0)])),
        normals=vectors(vertex_normals(mesh.points, mesh.triangles)),
        influences=mesh.joint_indices.shape[1],
        joint_indices=Vt.IntArray.FromNumpy(joints.astype(np.int32).ravel()),
        joint_weights=Vt.FloatArray.FromNumpy(mesh.joint_weights.astype(np.float32).ravel()),
    )


def rig_motion(body: SomaBody, animation: SkinAnimation) -> RigMotion:
    """A clip at its own frame rate.

    Args:
        body: What posed it, see :func:`soma_isaac.body.skin_animation.skin_animation`; with twist.
        animation: The clip, in the body's own Y-up world.

    Raises:
        RigMismatch: The body was made without twist helpers.
    """
    return RigMotion(animation.fps, tuple(joint_poses(body, animation.T_world_joint[:, rig_order(body)])))


def joint_poses(body: SomaBody, world: np.ndarray) -> list[JointPose]:
    """Poses of joint transforms [T, J, 4, 4] m in the rig file's order, in the body's own Y-up world."""
    quats_wxyz, translations = parent_relative(world, body.rig.skeleton.parent_indices)
    quats = np.ascontiguousarray(quats_wxyz[..., [1, 2, 3, 0]], dtype=np.float32)
    joints = world[:, 1:, :3, 3]
    bounds = np.stack([joints.min(axis=1) - _PADDING_M, joints.max(axis=1) + _PADDING_M], axis=1) * CM_PER_M
    return [
        JointPose(Vt.QuatfArray.FromNumpy(turns), vectors(places), vectors(extent))
        for turns, places, extent in zip(quats, translations * CM_PER_M, bounds, strict=True)
    ]


def rig_order(body: SomaBody) -> np.ndarray:
    """Skinned joint [J] of each joint of the rig file.

    Raises:
        RigMismatch: The body was made without twist helpers.
    """
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


def _matrices(columns: np.ndarray) -> Vt.Matrix4dArray:
    rows = np.swapaxes(columns, 1, 2).copy()
    rows[:, 3, :3] *= CM_PER_M
    return Vt.Matrix4dArray.FromNumpy(rows)
