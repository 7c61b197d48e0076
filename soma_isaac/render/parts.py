"""Which part of the body a joint and a triangle belong to: the classes of the segmentation."""

from __future__ import annotations

import numpy as np

from soma_isaac.rig.rig import SkinnedMesh
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS

PART_NAMES = (
    "head", "neck", "chest", "abdomen", "hips",
    "left_upper_arm", "left_forearm", "left_hand", "right_upper_arm", "right_forearm", "right_hand",
    "left_thigh", "left_shin", "left_foot", "right_thigh", "right_shin", "right_foot",
)  # fmt: skip
"""Part ``k + 1`` in the pictures; 0 is everything that is no body."""

_SPINE = {
    "Head": "head",
    "Neck1": "neck",
    "Neck2": "neck",
    "Chest": "chest",
    "Spine1": "abdomen",
    "Spine2": "abdomen",
    "Hips": "hips",
}
_LIMBS = {
    "Shoulder": "chest",
    "Arm": "upper_arm",
    "ForeArm": "forearm",
    "Hand": "hand",
    "Leg": "thigh",
    "Shin": "shin",
    "Foot": "foot",
}


def _parts_of_joints() -> np.ndarray:
    parts: list[int] = []
    for joint, name in enumerate(POSE_JOINT_NAMES):
        side = "left" if name.startswith("Left") else "right"
        limb = _LIMBS.get(name.removeprefix("Left").removeprefix("Right"))
        if name in _SPINE:
            part = _SPINE[name]
        elif limb is not None:
            part = limb if limb == "chest" else f"{side}_{limb}"
        else:  # fingers, toes, eyes, jaw: what they hang on
            parts.append(parts[POSE_PARENTS[joint]])
            continue
        parts.append(PART_NAMES.index(part) + 1)
    return np.array(parts, np.uint8)


JOINT_PARTS = _parts_of_joints()
"""Part [77] of each joint of a pose."""
JOINT_PARTS.setflags(write=False)


def part_weights(mesh: SkinnedMesh, joint_names: tuple[str, ...], parents: np.ndarray) -> np.ndarray:
    """How much of each vertex belongs to each part [V, 1 + parts]: the sum of the weights of the part's joints.

    Args:
        mesh: A skin with its weights.
        joint_names: Names of the skeleton's joints, the twist helpers among them.
        parents: [J] their parents; -1 for the root.
    """
    known = {name: int(part) for name, part in zip(POSE_JOINT_NAMES, JOINT_PARTS, strict=True)}
    part_of: list[int] = []
    for name, parent in zip(joint_names, parents, strict=True):
        part_of.append(known.get(name, part_of[parent] if parent >= 0 else known["Hips"]))
    weights = np.zeros((mesh.vertex_count, len(PART_NAMES) + 1))
    rows = np.repeat(np.arange(mesh.vertex_count), mesh.joint_indices.shape[1])
    np.add.at(weights, (rows, np.array(part_of)[mesh.joint_indices.ravel()]), mesh.joint_weights.ravel())
    return weights


def triangle_parts(mesh: SkinnedMesh, joint_names: tuple[str, ...], parents: np.ndarray) -> np.ndarray:
    """Part [N] uint8 of each triangle: that of the joint with the largest weight over its three corners.

    Args:
        mesh: A skin with its weights.
        joint_names: Names of the skeleton's joints, the twist helpers among them.
        parents: [J] their parents; -1 for the root.
    """
    weights = part_weights(mesh, joint_names, parents)
    return np.argmax(weights[mesh.triangles].sum(axis=1), axis=1).astype(np.uint8)
