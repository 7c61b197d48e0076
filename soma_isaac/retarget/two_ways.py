"""One clip retargeted from two readings of the same motion: how far apart the results are."""

from __future__ import annotations

from typing import Any

import numpy as np

from soma_isaac.motion.robot import RobotMotion
from soma_isaac.retarget.human import HumanKeypoints
from soma_isaac.retarget.metrics import score_clip
from soma_isaac.retarget.robot import RobotModel

COMPARED = ("kp2_mean", "dir_mean", "ori_mean", "skate_H", "pen_frac", "sc_frac", "jl_frac", "vl_frac")
"""Figures of :class:`~soma_isaac.retarget.metrics.ClipMetrics` that stand for both ways."""


def way_comparison(
    name: str, human: HumanKeypoints, other: RobotMotion, chosen: RobotMotion, robot: RobotModel
) -> dict[str, Any]:
    """What a clip's record says of the way that was not taken.

    Args:
        name: What the other way is called.
        human: The person as the other way reads the motion.
        other: The robot motion of the other way.
        chosen: The robot motion that the clip is made of; same rate and joints.
        robot: The robot.

    Returns:
        JSON values: ``way``, ``stature`` [m] of the person it follows, ``metrics`` (:data:`COMPARED`), and the ``mean``
        and ``largest`` difference of the joints [deg] over the frames that both have.
    """
    frames = min(other.frame_count, chosen.frame_count)
    apart = np.degrees(np.abs(other.joint_pos[:frames] - chosen.joint_pos[:frames]))
    metrics = score_clip(human, other, robot).as_dict()
    return {
        "way": name,
        "stature": float(f"{human.stature:.4g}"),
        "metrics": {figure: float(f"{metrics[figure]:.6g}") for figure in COMPARED},
        "joint_difference_deg": {"mean": float(f"{apart.mean():.4g}"), "largest": float(f"{apart.max():.4g}")},
    }
