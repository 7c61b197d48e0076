"""From a solved robot motion to a reference clip: body poses and velocities that belong together.

:mod:`soma_isaac.motion.robot_clip` says how velocities follow from positions.
"""

from __future__ import annotations

from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.motion.robot_clip import clip_from_motion
from soma_isaac.motion.robot_clip import joints_in_order as joints_in_order
from soma_isaac.motion.robot_clip import rotation_steps as rotation_steps
from soma_isaac.retarget.robot import RobotModel


def reference_clip(motion: RobotMotion, model: RobotModel) -> ReferenceClip:
    """The reference clip of a motion, in the order of the model (depth first).

    Args:
        motion: Root and joints over time; joints in any order, by name.
        model: The robot it was solved for.

    Returns:
        The clip; linear velocities are those of the link origins.

    Raises:
        RigMismatch: The joint names are not those of the model.
    """
    return clip_from_motion(
        motion,
        model.tree,
        joint_names=model.joint_names,
        body_names=model.body_names,
        body_com_b=model.body_com_b,
        digest=model.digest,
    )
