"""The human side of retargeting: 22 SMPL-like keypoints of a SOMA motion in the Z-up robot world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.math.frames import zup_from_yup_points, zup_from_yup_rotations
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, forward_kinematics

KEYPOINT_JOINTS = {
    "pelvis": "Hips",
    "left_hip": "LeftLeg",
    "right_hip": "RightLeg",
    "spine1": "Spine1",
    "left_knee": "LeftShin",
    "right_knee": "RightShin",
    "spine2": "Spine2",
    "left_ankle": "LeftFoot",
    "right_ankle": "RightFoot",
    "spine3": "Chest",
    "left_foot": "LeftToeBase",
    "right_foot": "RightToeBase",
    "neck": "Neck1",
    "left_collar": "LeftShoulder",
    "right_collar": "RightShoulder",
    "head": "Head",
    "left_shoulder": "LeftArm",
    "right_shoulder": "RightArm",
    "left_elbow": "LeftForeArm",
    "right_elbow": "RightForeArm",
    "left_wrist": "LeftHand",
    "right_wrist": "RightHand",
}
"""The 22 body joints of SMPL, in SMPL's order, and the SOMA joint that stands at the same place."""

KEYPOINT_NAMES = tuple(KEYPOINT_JOINTS)


@dataclass(frozen=True, eq=False)
class HumanKeypoints:
    """Keypoints of a person over time, Z-up world, floor wherever the clip has it.

    Attributes:
        fps: Frame rate [Hz].
        positions: [T, 22, 3] m.
        rotations: [T, 22, 3, 3] world rotations in robot-like body axes: identity when the person stands in the T-pose
            facing +X (local x ahead, y left, z up).
        stature: Standing height [m], head top above the floor in the T-pose (ankle-to-head offsets x 1.0).
    """

    fps: float
    positions: np.ndarray
    rotations: np.ndarray
    stature: float

    def index(self, name: str) -> int:
        """Index of a keypoint."""
        return KEYPOINT_NAMES.index(name)


def human_keypoints(motion: SomaMotion) -> HumanKeypoints:
    """Keypoints of ``motion`` for its own body (``identity.rest_offsets``), turned to the Z-up world."""
    offsets = motion.identity.rest_offsets
    positions, world = forward_kinematics(motion.rotations, motion.root_translation, offsets)
    indices = [POSE_JOINT_NAMES.index(joint) for joint in KEYPOINT_JOINTS.values()]
    # T-pose axes are Y-up; conjugating (not only left-multiplying) gives bodies robot-like local axes as well.
    rotations = zup_from_yup_rotations(world[:, indices]) @ zup_from_yup_rotations(np.eye(3)).T
    identity = np.broadcast_to(np.eye(3), (1, 77, 3, 3)).copy()
    rest, _ = forward_kinematics(identity, offsets[1:2], offsets)
    stature = float(rest[0, :, 1].max() - rest[0, :, 1].min())
    return HumanKeypoints(motion.fps, zup_from_yup_points(positions[:, indices]), rotations, stature)
