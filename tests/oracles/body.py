"""Float64 oracle of posing: the body model's specification written down once more, slowly and without our tables.

Everything goes by joint name and one body at a time, so that an index mistake in the product cannot be repeated here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.rig.rig import Rig
from soma_isaac.rig.twist import TwistSegment

Transforms = dict[str, np.ndarray]


def public_parent(rig: Rig, name: str) -> str | None:
    """Nearest public ancestor by name."""
    joint = rig.skeleton.index(name)
    while True:
        joint = int(rig.skeleton.parent_indices[joint])
        if joint < 0:
            return None
        if rig.skeleton.joint_names[joint] in rig.public_joint_names:
            return rig.skeleton.joint_names[joint]


def template_bind(rig: Rig) -> Transforms:
    """Bind transforms of all joints; helpers moved to where the translation entries put them."""
    bind = {name: rig.skeleton.bind_T_world_joint[rig.skeleton.index(name)].copy() for name in rig.skeleton.joint_names}
    if rig.twist is not None:
        origins = {name: transform[:3, 3].copy() for name, transform in bind.items()}
        for helper in rig.twist.joint_names:
            bind[helper][:3, 3] = sum(w * origins[j] for h, j, w in rig.twist.translation_entries if h == helper)
    return bind


def template_rest(rig: Rig) -> Transforms:
    """T-pose transforms of all joints."""
    return {name: rig.skeleton.rest_T_world_joint[rig.skeleton.index(name)] for name in rig.skeleton.joint_names}


def public_transforms(
    rig: Rig,
    rotations: np.ndarray,
    transl: np.ndarray,
    *,
    absolute: bool = False,
    scales: Mapping[str, float] | None = None,
) -> Transforms:
    """World transforms of the public joints of one body by ``W_j = W_p [R_abs, t_j]``.

    Args:
        rig: The rig.
        rotations: [77, 3, 3].
        transl: [3] m, Hips.
        absolute: The rotations are local ones; else ``R_abs = O_p^T R O_j``, O from the T-pose, ``O_Root = I``.
        scales: Factors on the translations of joints from their parents, by name.
    """
    bind, rest = template_bind(rig), template_rest(rig)
    orient = {name: rest[name][:3, :3] for name in rig.public_joint_names}
    root = rig.public_joint_names[0]
    orient[root] = np.eye(3)
    world: Transforms = {root: np.eye(4)}
    for name, rotation in zip(rig.public_joint_names[1:], rotations, strict=True):
        parent = public_parent(rig, name)
        assert parent is not None
        local = np.eye(4)
        local[:3, :3] = rotation if absolute else orient[parent].T @ rotation @ orient[name]
        offset = (np.linalg.inv(bind[parent]) @ bind[name])[:3, 3] * (scales or {}).get(name, 1.0)
        local[:3, 3] = transl if parent == root else offset
        world[name] = world[parent] @ local
    return world


def swing_twist_angle(rotation: np.ndarray, axis: int) -> float:
    """The sidecar's swing-twist angle: twice the twist of *half* the rotation (not the twist of the rotation)."""
    half = Rotation.from_rotvec(0.5 * Rotation.from_matrix(rotation).as_rotvec()).as_quat(canonical=True)
    return float(4.0 * np.arctan2(half[axis], half[3]))


def euler_angle(rotation: np.ndarray, axis: int) -> float:
    """The sidecar's Euler XYZ extraction."""
    if axis == 0:
        return float(np.arctan2(rotation[2, 1], rotation[1, 1]))
    if axis == 1:
        return float(np.arcsin(np.clip(-rotation[2, 0], -1.0, 1.0)))
    return float(np.arctan2(rotation[1, 0], rotation[0, 0]))


def segment_frame(segment: TwistSegment, anchor: Transforms) -> np.ndarray:
    """The segment's frame in the anchor pose, axes as columns."""
    start = anchor[segment.start_joint]
    x = anchor[segment.end_joint][:3, 3] - start[:3, 3]
    x /= np.linalg.norm(x)
    if x @ start[:3, 0] < 0.0:
        x = -x
    y = start[:3, 1] - (start[:3, 1] @ x) * x
    y /= np.linalg.norm(y)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def channel(rig: Rig, mode: str, segment: TwistSegment, joint: str, world: Transforms, anchor: Transforms) -> float:
    """One channel angle of a segment's start or end joint."""
    if mode == "aligned_x_swing_twist":
        if joint == segment.start_joint:
            reference = segment.parent_joint or public_parent(rig, joint)
        else:
            reference = segment.start_joint
        frame = segment_frame(segment, anchor)
        virtual = {j: world[j][:3, :3] @ anchor[j][:3, :3].T @ frame for j in (reference, joint)}
        return swing_twist_angle(virtual[reference].T @ virtual[joint], 0)
    local = world[public_parent(rig, joint)][:3, :3].T @ world[joint][:3, :3]
    read = euler_angle if mode == "local_x_euler" else swing_twist_angle
    return segment.source_sign * read(local, segment.source_axis)


def helper_transforms(
    rig: Rig, world: Transforms, anchor: Transforms, scales: Mapping[str, float] | None = None
) -> Transforms:
    """World transforms of the twist helpers: parent, bind-local transform, turn about the segment's axis."""
    bind = template_bind(rig)
    helpers: Transforms = {}
    for segment in rig.twist.segments:
        for helper in segment.twist_joints:
            angle = sum(
                factor * channel(rig, rig.twist.modes[helper], segment, joint, world, anchor)
                for name, joint, factor in rig.twist.rotation_entries
                if name == helper
            )
            parent = public_parent(rig, helper)
            local = np.linalg.inv(bind[parent]) @ bind[helper]
            axis = np.eye(3)[segment.source_axis]
            local[:3, 3] *= (scales or {}).get(segment.end_joint, 1.0)
            local[:3, :3] = local[:3, :3] @ Rotation.from_rotvec(segment.source_sign * angle * axis).as_matrix()
            helpers[helper] = world[parent] @ local
    return helpers


def skin(rig: Rig, lod: str, world: Mapping[str, np.ndarray]) -> np.ndarray:
    """Vertices [V, 3] m: the 8 largest weights of each vertex, renormalised, sum of transformed points.

    Joints without a transform in ``world`` move with their nearest ancestor that has one.
    """
    mesh, bind = rig.mesh(lod), template_bind(rig)
    matrices = []
    for joint, name in enumerate(rig.skeleton.joint_names):
        while rig.skeleton.joint_names[joint] not in world:
            joint = int(rig.skeleton.parent_indices[joint])
        mover = rig.skeleton.joint_names[joint]
        matrices.append(world[mover] @ np.linalg.inv(bind[mover]) if mover in bind else bind[name])
    order = np.argsort(-mesh.joint_weights, axis=1, kind="stable")[:, :8]
    weights = np.take_along_axis(mesh.joint_weights, order, axis=1)
    weights = weights / weights.sum(axis=1, keepdims=True)
    joints = np.take_along_axis(mesh.joint_indices, order, axis=1)
    points = np.concatenate([mesh.points, np.ones((mesh.vertex_count, 1))], axis=1)
    moved = np.einsum("jab,vb->jva", np.stack(matrices)[:, :3], points)
    return np.einsum("vk,vka->va", weights, moved[joints, np.arange(mesh.vertex_count)[:, None]])


def posed(
    rig: Rig,
    lod: str,
    rotations: np.ndarray,
    transl: np.ndarray,
    *,
    absolute: bool = False,
    anchor: str = "bind",
    scales: Mapping[str, float] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Vertices [V, 3] and public transforms [78, 4, 4] of one body with twist helpers."""
    world = public_transforms(rig, rotations, transl, absolute=absolute, scales=scales)
    public = np.stack([world[name] for name in rig.public_joint_names])
    if rig.twist is not None:
        frames = template_bind(rig) if anchor == "bind" else template_rest(rig)
        world |= helper_transforms(rig, world, frames, scales)
    return skin(rig, lod, world), public


def vertex_normals(vertices: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Unit sums [V, 3] of the area vectors of the triangles around each vertex; zero where there is none."""
    area = np.cross(
        vertices[triangles[:, 1]] - vertices[triangles[:, 0]], vertices[triangles[:, 2]] - vertices[triangles[:, 0]]
    )
    total = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(total, triangles[:, corner], area)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    return total / np.where(length > 0.0, length, 1.0)
