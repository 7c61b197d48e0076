"""What the people of a plan wear: which piece covers which vertex of the skin, and in which colour."""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.render.parts import PART_NAMES, part_weights
from soma_isaac.render.plan import BodySpec
from soma_isaac.rig.rig import SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton

PIECES = ("skin", "shirt", "sleeves", "trousers", "legs", "shoes", "hair")
"""Pieces that have one colour each: sleeves are those of the forearms, legs those of the shins."""

_PIECE_OF_PART = {
    "chest": "shirt",
    "abdomen": "shirt",
    "upper_arm": "shirt",
    "forearm": "sleeves",
    "hips": "trousers",
    "thigh": "trousers",
    "shin": "legs",
    "foot": "shoes",
}
_HAIRLINE = np.array([0.055, -0.045])
"""Height above the eyes [m] of the hair's edge over the forehead, and at the nape 0.15 m behind it."""
_EAR_X, _EDGE_M = 0.073, 0.01


def piece_weights(mesh: SkinnedMesh, skeleton: Skeleton) -> np.ndarray:
    """How much of each vertex belongs to each of `PIECES` [V, 7] float32; rows add up to 1.

    A pixel shows the piece with the largest weight between its triangle's corners, so that hems are smooth lines across
    the triangles. Hair begins at a plane through the hairline of the rest pose and leaves the ears free.

    Args:
        mesh: A level of detail of the template, in its rest pose (Y up, facing +Z, m).
        skeleton: Of the rig.

    Raises:
        RigMismatch: The skeleton has no eyes.
    """
    if "LeftEye" not in skeleton.joint_names:
        raise RigMismatch("the skeleton has no joint LeftEye, above which the hair begins")
    parts = part_weights(mesh, skeleton.joint_names, skeleton.parent_indices)
    weights = np.zeros((mesh.vertex_count, len(PIECES)))
    for part, name in enumerate(PART_NAMES, start=1):
        piece = _PIECE_OF_PART.get(name.removeprefix("left_").removeprefix("right_"), "skin")
        weights[:, PIECES.index(piece)] += parts[:, part]
    eye = skeleton.bind_T_world_joint[skeleton.index("LeftEye"), :3, 3]
    x, up, ahead = mesh.points[:, 0], mesh.points[:, 1] - eye[1], mesh.points[:, 2] - eye[2]
    front, nape = _HAIRLINE
    above_line = up - (front + (nape - front) * -ahead / 0.15)
    beside_ear = _EAR_X - np.abs(x) + 2.0 * np.maximum(up - 0.02, 0.0)
    above = np.minimum(above_line, beside_ear)
    hair = np.clip(0.5 + above / (2.0 * _EDGE_M), 0.0, 1.0) * parts[:, 1 + PART_NAMES.index("head")]
    weights[:, PIECES.index("hair")] = hair
    weights[:, PIECES.index("skin")] -= hair
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def triangle_pieces(weights: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Piece [N] uint8 of each triangle, for renderers that colour whole triangles: the largest over its corners."""
    return np.argmax(weights[triangles].sum(axis=1), axis=1).astype(np.uint8)


def piece_colors(body: BodySpec) -> np.ndarray:
    """Linear colours [7, 3] of a body's pieces; what it does not wear has the colour of its skin."""
    colors = {
        "shirt": body.top_rgb,
        "sleeves": body.top_rgb if body.long_sleeves else body.skin_rgb,
        "trousers": body.bottom_rgb,
        "legs": body.skin_rgb if body.shorts else body.bottom_rgb,
        "shoes": body.shoe_rgb,
        "hair": body.hair_rgb,
    }
    return np.array([colors.get(piece, body.skin_rgb) for piece in PIECES])
