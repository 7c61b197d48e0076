"""Posed bodies as skinned animations and point sequences: what the exporters write."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import warp as wp

from soma_isaac.body.identity import PreparedIdentity, empty_array
from soma_isaac.body.layout import JointLayout, top_influences
from soma_isaac.body.soma import SomaBody
from soma_isaac.body.twist import TwistProgram, compile_twist, expanded_bind
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.twist import launch_helpers, launch_twist_channels
from soma_isaac.motion.skin import SkinAnimation
from soma_isaac.rig.rig import SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton

_CHUNK = 64


def skin_animation(
    body: SomaBody,
    identity: PreparedIdentity,
    rotations: np.ndarray,
    transl: np.ndarray,
    *,
    fps: float,
    name: str,
    absolute: bool = False,
) -> SkinAnimation:
    """Pose one body over a motion and keep its joints, the twist helpers included.

    Args:
        body: The body; without twist its skeleton has the public joints only.
        identity: One identity of ``body``.
        rotations: [T, 77, 3, 3], see :meth:`SomaBody.pose`.
        transl: [T, 3] m, Hips.
        fps: Frame rate [Hz].
        name: What to call the animation.
        absolute: ``rotations`` are the rig's local rotations.

    Raises:
        InputRejected: There are several identities, or poses do not fit.
    """
    skeleton = identity_skeleton(body, identity)
    world = []
    for begin in range(0, len(rotations), _CHUNK):
        rows = slice(begin, begin + _CHUNK)
        pose = body.pose(identity, rotations[rows], transl[rows], absolute=absolute, fk_only=True)
        world.append(joint_transforms(body, identity, pose.transforms))
    return SkinAnimation(
        name=name,
        fps=fps,
        skeleton=skeleton,
        mesh=identity_mesh(body, identity),
        T_world_joint=np.concatenate(world).astype(np.float64),
    )


def posed_points(
    body: SomaBody,
    identity: PreparedIdentity,
    rotations: np.ndarray,
    transl: np.ndarray,
    *,
    absolute: bool = False,
) -> Iterator[np.ndarray]:
    """Posed vertices [V, 3] m (float32), frame by frame, a few dozen at a time in memory.

    See :func:`skin_animation` for the arguments and errors.
    """
    for begin in range(0, len(rotations), _CHUNK):
        pose = body.pose(identity, rotations[begin : begin + _CHUNK], transl[begin : begin + _CHUNK], absolute=absolute)
        yield from pose.vertices.numpy()


def joint_transforms(body: SomaBody, identity: PreparedIdentity, transforms: wp.array) -> np.ndarray:
    """World transforms [B, P + H, 4, 4] m (float32) of the public joints and the twist helpers.

    Args:
        body: The body that posed.
        identity: What it posed.
        transforms: [B, P] mat44 of :class:`soma_isaac.body.BodyPose`.
    """
    arrays = identity.arrays
    if arrays.channels is None or arrays.helpers is None:
        return transforms.numpy()
    batch = transforms.shape[0]
    angles = wp.empty((batch, len(arrays.channels.joints)), dtype=wp.float32, device=body.device)
    helpers = empty_array((batch, len(arrays.helpers.parents)), wp.mat44, body.device)
    launch_twist_channels(arrays.channels, transforms=transforms, angles_out=angles)
    launch_helpers(arrays.helpers, transforms=transforms, angles=angles, helpers_out=helpers)
    return np.concatenate([transforms.numpy(), helpers.numpy()], axis=1)


def identity_skeleton(body: SomaBody, identity: PreparedIdentity) -> Skeleton:
    """Public joints and twist helpers of one identity, with its bind pose and its T-pose.

    In the T-pose helpers move rigidly with their parents. The Hips are as high above the lowest joint as in the
    template, in proportion to the legs; for the template identity this is the rig's own T-pose.

    Raises:
        InputRejected: There are several identities.
    """
    if identity.count != 1:
        raise InputRejected(f"{identity.count} identities are prepared; a skeleton is that of one")
    layout = body.layout
    bind = expanded_bind(identity.bind_T_world_joint[0], layout, _program(body))
    public = _rest_pose(bind[: layout.public_count], layout)
    helpers = public[layout.helper_parents] @ np.linalg.solve(bind[layout.helper_parents], bind[layout.public_count :])
    parents = np.concatenate([layout.parents, layout.helper_parents])
    return Skeleton(layout.joint_names, parents, bind, np.concatenate([public, helpers]))


def _rest_pose(bind: np.ndarray, layout: JointLayout) -> np.ndarray:
    """T-pose [P, 4, 4] of fitted public joints [P, 4, 4]: the template's orientations, the fitted bone lengths."""
    rest = layout.rest_T_world_joint.copy()
    local = np.linalg.solve(bind[np.maximum(layout.parents, 0)], bind)[:, :3, 3]
    rest[1, :3, 3] = 0.0
    for joint in range(2, layout.public_count):
        parent = layout.parents[joint]
        rest[joint, :3, 3] = rest[parent, :3, 3] + rest[parent, :3, :3] @ local[joint]
    template = layout.rest_T_world_joint[:, :3, 3]
    drop = template[1, 1] - template[1:, 1].min()
    rest[1:, :3, 3] += template[1] * (-rest[1:, 1, 3].min() / drop)
    return rest


def identity_mesh(body: SomaBody, identity: PreparedIdentity) -> SkinnedMesh:
    """The skin of one identity on the joints of :func:`identity_skeleton`, as the body skins it: 8 largest weights.

    Raises:
        InputRejected: There are several identities.
    """
    if identity.count != 1:
        raise InputRejected(f"{identity.count} identities are prepared; a mesh is that of one")
    mesh = body.rig.mesh(body.lod)
    offsets, joints, weights = top_influences(mesh, body.layout)
    counts = np.diff(offsets)
    vertex = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-weights, vertex))
    slot = np.arange(len(vertex)) - np.repeat(offsets[:-1], counts)
    packed_joints = np.zeros((len(counts), int(counts.max())), dtype=np.int32)
    packed_weights = np.zeros(packed_joints.shape)
    packed_joints[vertex, slot] = joints[order]
    packed_weights[vertex, slot] = weights[order]
    return SkinnedMesh(
        mesh.name,
        identity.rest_points[0],
        mesh.face_vertex_counts,
        mesh.face_vertex_indices,
        mesh.triangles,
        packed_joints,
        packed_weights,
    )


def _program(body: SomaBody) -> TwistProgram | None:
    twist = body.rig.twist
    return compile_twist(twist, body.layout) if body.layout.twisted and twist is not None else None
