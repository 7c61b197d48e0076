"""What a clip says at a time, by scipy in float64."""

import numpy as np
from scipy.spatial.transform import Rotation, Slerp


def clip_pose(motion, time):
    """Rotations [77, 3, 3] and hips [3] of a motion at a time in s; before and after it, its first and last frame."""
    if motion.frame_count == 1:
        return motion.rotations[0], motion.root_translation[0]
    position = np.clip(time * motion.fps, 0.0, motion.frame_count - 1)
    frame = min(int(position), motion.frame_count - 2)
    share = position - frame
    rotations = [
        Slerp([0.0, 1.0], Rotation.from_matrix(motion.rotations[frame : frame + 2, joint]))(share).as_matrix()
        for joint in range(77)
    ]
    root = motion.root_translation
    return np.array(rotations), root[frame] * (1.0 - share) + root[frame + 1] * share
