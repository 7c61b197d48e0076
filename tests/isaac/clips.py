"""A reference clip of the bundled G1, made without a solver, in the layouts that trainers load."""

import numpy as np

from soma_isaac.formats.reference_clip import FORMATS, reference_clip_bytes
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.sim.isaaclab.robot_stage import load_robot_tree

FPS = 30.0
FRAMES = 46


def swaying_clip():
    """Every joint swings at its own rate while the robot turns and drifts."""
    tree = load_robot_tree("")
    times = np.arange(FRAMES) / FPS
    numbers = np.arange(len(tree.joints))
    low = np.array([joint.lower for joint in tree.joints])
    high = np.array([joint.upper for joint in tree.joints])
    swing = 0.25 * np.sin(2.0 * np.pi * times[:, None] * (0.4 + 0.03 * numbers) + numbers)
    joint_pos = 0.5 * (low + high) + np.minimum(0.4 * (high - low), 1.0) * swing
    yaw = 0.8 * times
    motion = RobotMotion(
        fps=FPS,
        joint_names=tree.joint_names,
        root_pos=np.stack([0.3 * times, 0.1 * np.sin(times), 1.0 + 0.1 * np.cos(2.0 * times)], axis=1),
        root_quat_wxyz=np.stack([np.cos(yaw / 2), 0 * yaw, 0 * yaw, np.sin(yaw / 2)], axis=1),
        joint_pos=joint_pos,
        foot_contacts=np.zeros((FRAMES, 2), dtype=bool),
    )
    return tree.clip(motion)


def write_layouts(folder, clip):
    """The clip in every layout; paths by its name."""
    paths = {}
    for name, form in FORMATS.items():
        paths[name] = folder / f"{name}{form.extension}"
        paths[name].write_bytes(reference_clip_bytes(clip, name))
    return paths
