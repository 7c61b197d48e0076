"""The G1 results of NVIDIA's soma-retargeter that ship inside BONES-SEED samples, as robot motions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soma_isaac.math.so3 import (
    continuous_quats,
    matrix_from_quat_wxyz,
    matrix_from_quat_xyzw,
    matrix_from_rotvec,
    quat_wxyz_from_matrix,
)
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.retarget.robot import RobotModel

QUARTER_TURN = matrix_from_rotvec(np.array([0.0, 0.0, 0.5 * np.pi]))
"""The sample's robot faces -Y where the person, and our robots, face +X."""


def read_seed_result(path: Path, robot: RobotModel) -> RobotMotion | None:
    """The ``robot_*`` arrays of a sample; ``None`` if the file has none."""
    with np.load(path, allow_pickle=False) as file:
        if "robot_joint_pos" not in file:
            return None
        order = [file["robot_joint_names"].tolist().index(name) for name in robot.joint_names]
        to_matrix = matrix_from_quat_wxyz if bool(file["scalar_first"]) else matrix_from_quat_xyzw
        position = file["robot_root_pos"].astype(np.float64) @ QUARTER_TURN.T
        quats = quat_wxyz_from_matrix(QUARTER_TURN @ to_matrix(file["robot_root_quat"]))
        return RobotMotion(
            float(file["fps"]),
            robot.joint_names,
            position,
            continuous_quats(quats),
            file["robot_joint_pos"][:, order],
            np.zeros((len(position), 2), bool),
        )
