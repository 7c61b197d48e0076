"""A BVH character's own clip, changed on its SOMA approximation and taken back to its own joints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import BvhClip
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.character_motion import CharacterRig


def changed_bvh(clip: BvhClip, motion: SomaMotion, changed: np.ndarray) -> BvhClip:
    """The clip with some of its frames taken from a motion that was made from it.

    Joints without a SOMA counterpart keep what they do, as do all frames that did not change.

    Args:
        clip: The clip, Y-up.
        motion: Made from it by :func:`soma_isaac.inversion.bvh_joints.read_bvh_motion`, then changed.
        changed: [T] bool, frames that are taken.

    Raises:
        InputRejected: The frames differ in number, the file is Z-up, or its hips have no positions to change.
    """
    if motion.frame_count != clip.frame_count:
        raise InputRejected(f"{motion.frame_count} frames do not fit a clip of {clip.frame_count}")
    if motion.provenance.up_axis != "y":
        raise InputRejected("this BVH file is Z-up; write an .npz, which is Y-up")
    rig = CharacterRig.from_bvh(clip)
    hips = rig.matched["Hips"]
    slots = np.flatnonzero(clip.positioned_joints == hips)
    if not len(slots):
        raise InputRejected(f"{clip.joint_names[hips]} has no position channels: it cannot be moved in this file")
    local, places = rig.character_motion(motion, clip.rotations)
    rotations, positions = np.array(clip.rotations), np.array(clip.positions)
    rotations[changed] = local[changed]
    turn, origin = np.broadcast_to(np.eye(3), (clip.frame_count, 3, 3)), np.zeros((clip.frame_count, 3))
    for joint in _above(clip, hips):
        own = np.flatnonzero(clip.positioned_joints == joint)
        offset = positions[:, own[0]] if len(own) else np.broadcast_to(clip.offsets[joint], origin.shape)
        origin = origin + np.einsum("tab,tb->ta", turn, offset)
        turn = turn @ rotations[:, joint]
    wanted = np.einsum("tba,tb->ta", turn, places - origin)
    positions[changed, slots[0]] = wanted[changed]
    return replace(clip, rotations=rotations, positions=positions)


def _above(clip: BvhClip, joint: int) -> list[int]:
    """Joints above one, the root first."""
    found: list[int] = []
    while (parent := int(clip.parent_indices[joint])) >= 0:
        found.insert(0, parent)
        joint = parent
    return found
