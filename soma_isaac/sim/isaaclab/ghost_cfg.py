"""Configuration of a robot's ghost."""

from __future__ import annotations

from isaaclab.sensors import SensorBaseCfg
from isaaclab.utils.configclass import configclass

from soma_isaac.sim.isaaclab.ghost import ReferenceGhost
from soma_isaac.sim.isaaclab.spawners_cfg import RobotShellSpawnerCfg


@configclass
class ReferenceGhostCfg(SensorBaseCfg):
    """A copy of the robot in the reference's pose: seen by cameras, felt by nobody, without a body in the physics.

    :class:`MotionReferenceCommandCfg` names it as its ``ghost`` and moves it.
    """

    class_type: type = ReferenceGhost

    prim_path: str = "{ENV_REGEX_NS}/Ghost"
    """Directly below the environment."""

    spawn: RobotShellSpawnerCfg = RobotShellSpawnerCfg()
    """Which robot, and its colour."""

    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Shift from where the reference is, m: a ghost beside the robot is easier to see."""

    stage_points: str = "auto"
    """Also write the vertices to the stage: ``usd``, ``none``, or ``auto``: where Kit runs."""
