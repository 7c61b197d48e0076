"""What speaks against keypoints being what they are taken for (sides exchanged, another axis up); how they are met."""

from __future__ import annotations

import numpy as np

from soma_isaac.learned.effectors import joint_index
from soma_isaac.learned.skeleton import POSE_INDICES, BodySkeleton, body_kinematics
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.keypoints import COCO_17, LIMB_JOINTS, Keypoints

LEVEL_COSINE = 0.5
"""A trunk further from the vertical than this is level rather than upright."""


def keypoint_doubts(keypoints: Keypoints, least_confidence: float) -> tuple[str, ...]:
    """Sentences about keypoints that most frames speak against; none where too little is seen to say.

    Args:
        keypoints: The keypoints.
        least_confidence: Of those that count.
    """
    seen = keypoints.confidence >= least_confidence
    points = {name: keypoints.points[:, column] for column, name in enumerate(COCO_17)}
    known = {name: seen[:, column] for column, name in enumerate(COCO_17)}
    trunk = [f"{side}_{part}" for side in ("left", "right") for part in ("shoulder", "hip")]
    whole = np.all([known[name] for name in trunk], axis=0)
    left = 0.5 * (points["left_shoulder"] + points["left_hip"] - points["right_shoulder"] - points["right_hip"])
    up = 0.5 * (points["left_shoulder"] + points["right_shoulder"] - points["left_hip"] - points["right_hip"])
    doubts = []
    for face in ("nose", "left_eye"):
        usable = whole & known[face] & known["left_ear"] & known["right_ear"]
        ahead = points[face] - 0.5 * (points["left_ear"] + points["right_ear"])
        # Nobody looks behind for most of a clip; whose left and right are exchanged does.
        if usable.any() and np.mean((np.cross(left, up) * ahead).sum(axis=-1)[usable] < 0.0) > 0.5:
            doubts.append("the face is on the back of the body: are left and right exchanged, or is an axis mirrored?")
            break
    lengths = np.maximum(np.linalg.norm(up, axis=-1), 1e-9)
    if whole.any() and np.mean((up[:, 1] / lengths)[whole] < LEVEL_COSINE) > 0.5:
        doubts.append("the trunk is not upright in most frames: unless somebody lies or bends there, up_axis= is wrong")
    return tuple(doubts)


def keypoint_distances(keypoints: Keypoints, motion: SomaMotion, least_confidence: float) -> np.ndarray:
    """Distances [N] m of the limb keypoints that are seen from the joints that stand for them."""
    skeleton = BodySkeleton.from_public_offsets(motion.identity.rest_offsets)
    rotations = motion.rotations[:, list(POSE_INDICES)]
    positions, _ = body_kinematics(rotations, motion.root_translation, skeleton.rest_offsets)
    found = []
    for column, name in enumerate(COCO_17):
        side, _, part = name.partition("_")
        if part in LIMB_JOINTS:
            joint = positions[:, joint_index(side.capitalize() + LIMB_JOINTS[part])]
            away = np.linalg.norm(joint - keypoints.points[:, column], axis=-1)
            found.append(away[keypoints.confidence[:, column] >= least_confidence])
    return np.concatenate(found)
