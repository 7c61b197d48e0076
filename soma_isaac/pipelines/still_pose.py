"""The T-pose and the bind pose of the template as motions of one frame."""

from __future__ import annotations

import numpy as np

from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import POSE_PARENTS, template_rest_offsets

STILL_FPS = 30.0


def still_pose(bind: bool) -> SomaMotion:
    """The T-pose, or the bind pose told relative to it."""
    rotations = np.tile(np.eye(3), (1, 77, 1, 1))
    hips = template_rest_offsets()[1]
    if bind:
        from soma_isaac.formats.rig_usd import load_template_rig

        skeleton = load_template_rig().skeleton
        rest, world = (pose[1:78, :3, :3] for pose in (skeleton.rest_T_world_joint, skeleton.bind_T_world_joint))
        turns = world @ np.swapaxes(rest, -1, -2)
        above = np.concatenate([np.eye(3)[None], turns[list(POSE_PARENTS[1:])]])
        rotations = (np.swapaxes(above, -1, -2) @ turns)[None]
        hips = skeleton.bind_T_world_joint[1, :3, 3]
    name = "bind pose" if bind else "T-pose"
    identity = MotionIdentity("soma", np.zeros(0), None, template_rest_offsets(), "template")
    return SomaMotion(STILL_FPS, rotations, hips[None], identity, Provenance(name, "", "pose", "none", "y", "format"))
