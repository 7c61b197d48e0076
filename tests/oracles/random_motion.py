"""Smooth random robot motions inside the limits, for tests that need no solver."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.math.so3 import continuous_quats
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.retarget.robot import RobotModel


def random_motion(
    model: RobotModel, frames: int = 150, fps: float = 50.0, seed: int = 0, share: float = 0.5, speed: float = 1.0
) -> RobotMotion:
    """Sines up to ``0.8 * speed`` Hz in the middle ``share`` of each joint's range; the root turns and wanders."""
    rng = np.random.default_rng(seed)
    time = np.arange(frames) / fps

    def waves(count: int) -> np.ndarray:
        rates = rng.uniform(0.1, 0.8, (3, count)) * speed
        phases = rng.uniform(0.0, 2.0 * np.pi, (3, count))
        return np.sin(2.0 * np.pi * rates * time[:, None, None] + phases).mean(axis=1)

    middle, half = 0.5 * (model.upper + model.lower), 0.5 * (model.upper - model.lower)
    joint_pos = middle + share * half * waves(len(model.joint_names))
    tilt = 0.3 * waves(2)
    yaw = 1.5 * time * speed  # more than one turn, so that quaternion signs and wrapping matter
    root_rot = Rotation.from_euler("xyz", np.column_stack([tilt, yaw]))
    root_pos = np.array([0.0, 0.0, 0.78]) + waves(3) * np.array([1.0, 1.0, 0.1])
    contacts = rng.random((frames, 2)) > 0.5
    quats = continuous_quats(root_rot.as_quat()[:, [3, 0, 1, 2]])
    return RobotMotion(fps, model.joint_names, root_pos, quats, joint_pos, contacts)
