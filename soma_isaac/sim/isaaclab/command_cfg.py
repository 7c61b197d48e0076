"""Configuration of the command term that feeds reference clips to a policy."""

from __future__ import annotations

from isaaclab.managers import CommandTermCfg
from isaaclab.utils.configclass import configclass

from soma_isaac.sim.isaaclab.command import MotionReferenceCommand

TRACKED_BODIES = [
    "pelvis",
    "left_hip_roll_link",
    "left_knee_link",
    "left_ankle_roll_link",
    "right_hip_roll_link",
    "right_knee_link",
    "right_ankle_roll_link",
    "torso_link",
    "left_shoulder_roll_link",
    "left_elbow_link",
    "left_wrist_yaw_link",
    "right_shoulder_roll_link",
    "right_elbow_link",
    "right_wrist_yaw_link",
]
"""The 14 bodies of a G1 that BeyondMimic and mjlab compare."""


@configclass
class MotionReferenceCommandCfg(CommandTermCfg):
    """A clip per environment, at its own time; joints and bodies are always found by name."""

    class_type: type = MotionReferenceCommand

    resampling_time_range: tuple[float, float] = (1.0e9, 1.0e9)
    """Seconds after which another clip is drawn; by default only resets and ends of clips do."""

    asset_name: str = "robot"
    """The articulation in the scene."""

    clips: list[str] = []
    """Reference clips: npz of the layouts beyondmimic, mjlab and amp, or csv."""

    urdf: str = ""
    """Robot of csv clips; the bundled G1 if empty."""

    csv_fps: float = 50.0
    """Frame rate of csv clips, Hz."""

    joint_names: list[str] = [".*"]
    """Expressions of the robot's joints that the clips have; all others stay at their defaults at a reset."""

    body_names: list[str] = TRACKED_BODIES
    """Bodies to track, in this order."""

    anchor_body_name: str = "torso_link"
    """The body from which the others are seen."""

    choice: str = "random"
    """Which clip an environment gets: ``random`` (long ones more often where starts lie anywhere), or ``cycle``: number
    ``i`` the clip ``i`` modulo their number."""

    sampling: str = "uniform"
    """Where in the clip it starts: ``uniform`` (at any time), ``adaptive`` (more often where episodes were terminated;
    time-outs do not count) or ``start`` (at zero)."""

    adaptive_bin_width: float = 1.0
    """Failures are counted for stretches of about this length, s."""

    adaptive_uniform_ratio: float = 0.1
    """Share of the starts that stays even over all clips."""

    adaptive_kernel_size: int = 3
    """A failure counts for so many stretches: its own and those that lead there."""

    adaptive_lambda: float = 0.8
    """What a failure counts one stretch earlier, relative to its own."""

    adaptive_alpha: float = 0.001
    """Share of a step in the moving average of failures."""

    at_end: str = "resample"
    """What the end of a clip does: ``resample`` (a new start, the robot put there), ``loop`` or ``hold``."""

    reset_robot: bool = True
    """Put the robot into the reference's state whenever a clip starts."""

    pose_range: dict[str, tuple[float, float]] = {}
    """Disturbance of the root at a start: ``x``, ``y``, ``z`` in m, ``roll``, ``pitch``, ``yaw`` in rad."""

    velocity_range: dict[str, tuple[float, float]] = {}
    """The same of its velocity, m/s and rad/s."""

    joint_position_range: tuple[float, float] = (0.0, 0.0)
    """Disturbance of the joints at a start, rad; kept within the soft limits."""

    ghost: str | None = None
    """A :class:`ReferenceGhostCfg` in the scene that shows the reference."""
