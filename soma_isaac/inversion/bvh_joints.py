"""BVH joint rotations to SOMA joint rotations.

A BVH file tells no T-pose; it tells a zero pose (all channels 0), which is one in some families and a heap of bones
along one axis in others. A family's T-pose is therefore written as the joints' own axes ``A_j`` in it (columns, seen
from the person: x left, y up, z ahead); for a zero pose that is a T-pose all ``A_j`` are the same and are read off the
skeleton. With the file's world rotation ``W_j``, ``G_j = W_j A_j^T`` is the rotation since the T-pose.

The two T-poses still differ (CMU's has its legs apart, others their arms low). A SOMA limb that moves rigidly with
joint j has ``G_soma = G_j C_j``, where the constant ``C_j`` turns the SOMA T-pose bone into the file's. The person's
offsets are the file's own bones, turned back by ``C_j``, so that our forward kinematics gives the file's joint
positions exactly.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import BvhClip, read_bvh
from soma_isaac.inversion.bvh_names import match_family
from soma_isaac.inversion.bvh_skeleton import bone_offsets, decide_unit, leg_length, rest_offsets, rest_turns, t_pose
from soma_isaac.math.frames import yup_from_zup_points, yup_from_zup_rotations
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS


def read_bvh_motion(
    path: Path, source_fps: float | None = None, name: str | None = None, up_axis: str | None = None
) -> SomaMotion:
    """Read a BVH file as a SOMA motion.

    Args:
        path: The file.
        source_fps: Frame rate given by the user [Hz]; it wins over the file's.
        name: What to call the source in the provenance; the path if ``None``.
        up_axis: ``y`` or ``z`` if the user says so; ``None`` decides.

    Raises:
        InputRejected: The file is malformed, or its skeleton is none that we know.
    """
    try:
        return soma_from_bvh(read_bvh(path, source_fps), str(path) if name is None else name, up_axis)
    except InputRejected as error:
        if error.path is not None:
            raise
        raise InputRejected(error.reason, str(path)) from error


def soma_from_bvh(clip: BvhClip, source: str, up_axis: str | None = None) -> SomaMotion:
    """Convert a BVH clip.

    Args:
        clip: The clip in its own unit and world.
        source: Name of the source for the provenance.
        up_axis: ``y`` or ``z`` if the user says so; ``None`` decides (BVH is Y-up unless people plainly stand along Z).

    Returns:
        The motion in the Y-up SOMA world, metres, with the person's own bones. Joints that the file lacks are at rest.

    Raises:
        InputRejected: The skeleton is none that we know, its size fits no unit, its zero pose is no T-pose, or
            ``up_axis`` is neither ``y`` nor ``z``.
    """
    family, matched = match_family(clip.joint_names)
    offsets, bone_notes = bone_offsets(clip, matched["Hips"])
    pose = t_pose(clip, family, matched, offsets)
    metres, unit_note = decide_unit(leg_length(clip, matched, offsets))
    world, hips = _world(clip, matched["Hips"])
    axis, axis_source = _decide_up_axis(world[:, matched["Hips"]], pose.axes[matched["Hips"]], up_axis)
    if axis == "z":
        world, hips = yup_from_zup_rotations(world), yup_from_zup_points(hips)
    turns = rest_turns(pose, matched)
    since_rest = {
        joint: world[:, index] @ pose.axes[index].T @ turns.get(joint, np.eye(3)) for joint, index in matched.items()
    }
    rotations = _local(since_rest, clip.frame_count)
    offsets_m = rest_offsets(clip, matched, pose, turns, metres)
    ignored = [name for index, name in enumerate(clip.joint_names) if index not in matched.values()]
    notes = (
        *clip.notes,
        f"skeleton family {family.name}; {pose.what} (limbs within {np.degrees(pose.error):.0f} deg of SOMA's T-pose)",
        unit_note,
        *bone_notes,
        *((f"joints of the file without a SOMA counterpart: {', '.join(ignored[:12])}",) if ignored else ()),
    )
    return SomaMotion(
        clip.fps,
        rotations,
        hips * metres,
        MotionIdentity("bvh", np.zeros(0), None, offsets_m, "file"),
        Provenance(source, clip.digest, "bvh", clip.fps_key, axis, axis_source, notes),
    )


def _world(clip: BvhClip, hips: int) -> tuple[np.ndarray, np.ndarray]:
    """World rotations [T, J, 3, 3] and the hips' position [T, 3] in the file's world and unit."""
    world = np.array(clip.rotations)
    for joint, parent in enumerate(clip.parent_indices):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ clip.rotations[:, joint]
    position, walk = np.zeros((clip.frame_count, 3)), hips
    slots = {int(joint): slot for slot, joint in enumerate(clip.positioned_joints)}
    while walk >= 0:
        parent = int(clip.parent_indices[walk])
        own = clip.positions[:, slots[walk]] if walk in slots else clip.offsets[walk]
        local = np.broadcast_to(own, position.shape)
        position = position + (np.einsum("tab,tb->ta", world[:, parent], local) if parent >= 0 else local)
        walk = parent
    return world, position


def _decide_up_axis(hips: np.ndarray, axes: np.ndarray, up_axis: str | None) -> tuple[str, str]:
    if up_axis is not None:
        if up_axis not in ("y", "z"):
            raise InputRejected(f"up axis {up_axis!r} is neither 'y' nor 'z'")
        return up_axis, "option"
    up = hips @ axes.T[:, 1]
    upright_y, upright_z = float(np.mean(up[:, 1] > 0.7)), float(np.mean(up[:, 2] > 0.7))
    return ("z", "detected") if upright_z > 0.8 and upright_y < 0.05 else ("y", "format")


def _local(since_rest: dict[str, np.ndarray], frames: int) -> np.ndarray:
    """Local rotations [T, 77, 3, 3]; joints that the file lacks do not move against their parents."""
    world = np.empty((frames, len(POSE_JOINT_NAMES), 3, 3))
    local = np.empty_like(world)
    for joint, (name, parent) in enumerate(zip(POSE_JOINT_NAMES, POSE_PARENTS, strict=True)):
        inherited = world[:, parent] if parent >= 0 else np.eye(3)
        world[:, joint] = since_rest.get(name, inherited)
        local[:, joint] = np.swapaxes(inherited, -1, -2) @ world[:, joint]
    return local
