"""An environment to start from: a G1 that follows a clip, the clip's ghost, and a person that the policy can see."""

from __future__ import annotations

from typing import Any

import isaaclab.envs.mdp as base_mdp
from isaaclab.actuators import ImplicitActuatorCfg
from isaaclab.assets import ArticulationCfg, AssetBaseCfg
from isaaclab.envs import ManagerBasedRLEnvCfg
from isaaclab.managers import ObservationGroupCfg, ObservationTermCfg, RewardTermCfg, SceneEntityCfg, TerminationTermCfg
from isaaclab.scene import InteractiveSceneCfg
from isaaclab.sim import SimulationCfg
from isaaclab.utils.configclass import configclass

from soma_isaac.sim.isaaclab import mdp
from soma_isaac.sim.isaaclab.bodies_cfg import SomaBodiesCfg
from soma_isaac.sim.isaaclab.command_cfg import MotionReferenceCommandCfg
from soma_isaac.sim.isaaclab.compat import DIALECT
from soma_isaac.sim.isaaclab.engines import physics_cfg
from soma_isaac.sim.isaaclab.ghost_cfg import ReferenceGhostCfg
from soma_isaac.sim.isaaclab.spawners_cfg import FloorSpawnerCfg, RobotSpawnerCfg

LEGS_AND_WAIST = [".*_hip_.*", ".*_knee_.*", "waist_.*"]
ANKLES = [".*_ankle_.*"]
ENDS = ["left_ankle_roll_link", "right_ankle_roll_link", "left_wrist_yaw_link", "right_wrist_yaw_link"]
ARMS = [".*_shoulder_.*", ".*_elbow_.*", ".*_wrist_.*"]

G1_CFG = ArticulationCfg(
    prim_path="{ENV_REGEX_NS}/Robot",
    spawn=RobotSpawnerCfg(),
    init_state=ArticulationCfg.InitialStateCfg(pos=(0.0, 0.0, 0.8)),
    soft_joint_pos_limit_factor=0.95,
    actuators={
        "body": ImplicitActuatorCfg(joint_names_expr=LEGS_AND_WAIST, stiffness=200.0, damping=8.0, armature=0.02),
        "ankles": ImplicitActuatorCfg(joint_names_expr=ANKLES, stiffness=80.0, damping=4.0, armature=0.01),
        "arms": ImplicitActuatorCfg(joint_names_expr=ARMS, stiffness=60.0, damping=3.0, armature=0.01),
    },
)
"""The bundled G1 with gains that hold a pose; tune them for training."""


@configclass
class PeopleSceneCfg(InteractiveSceneCfg):
    """A floor, a G1, its ghost and a person per environment."""

    floor = AssetBaseCfg(prim_path="/World/Floor", spawn=FloorSpawnerCfg())
    robot: ArticulationCfg = G1_CFG
    people: SomaBodiesCfg = SomaBodiesCfg(motions=["wave", "squat", "reach"], pos=(0.4, -1.2, 0.0), heading=1.0)
    ghost: ReferenceGhostCfg | None = ReferenceGhostCfg(pos=(0.0, 0.8, 0.0))
    camera: Any = None


@configclass
class CommandsCfg:
    """The reference."""

    motion: MotionReferenceCommandCfg = MotionReferenceCommandCfg(ghost="ghost", sampling="adaptive")


@configclass
class ActionsCfg:
    """Joint targets around the pose at zero."""

    joint_pos = base_mdp.JointPositionActionCfg(asset_name="robot", joint_names=[".*"], scale=1.0)


@configclass
class PolicyObsCfg(ObservationGroupCfg):
    """What the policy sees."""

    reference = ObservationTermCfg(func=base_mdp.generated_commands, params={"command_name": "motion"})
    anchor_pos = ObservationTermCfg(func=mdp.reference_anchor_pos_b, params={"command_name": "motion"})
    anchor_ori = ObservationTermCfg(func=mdp.reference_anchor_ori_b, params={"command_name": "motion"})
    phase = ObservationTermCfg(func=mdp.reference_phase, params={"command_name": "motion"})
    people = ObservationTermCfg(
        func=mdp.people_pos_b,
        params={"people_cfg": SceneEntityCfg("people", body_names=["Hips", "Head", "LeftHand", "RightHand"])},
    )
    joint_pos = ObservationTermCfg(func=base_mdp.joint_pos_rel)
    joint_vel = ObservationTermCfg(func=base_mdp.joint_vel_rel)
    actions = ObservationTermCfg(func=base_mdp.last_action)


@configclass
class ObservationsCfg:
    """One group."""

    policy: PolicyObsCfg = PolicyObsCfg()


@configclass
class RewardsCfg:
    """Follow the reference, smoothly and within the joints' limits."""

    anchor_pos = RewardTermCfg(
        func=mdp.anchor_position_reward, weight=0.5, params={"command_name": "motion", "std": 0.3}
    )
    anchor_ori = RewardTermCfg(
        func=mdp.anchor_orientation_reward, weight=0.5, params={"command_name": "motion", "std": 0.4}
    )
    body_pos = RewardTermCfg(func=mdp.body_position_reward, weight=1.0, params={"command_name": "motion", "std": 0.3})
    body_ori = RewardTermCfg(
        func=mdp.body_orientation_reward, weight=1.0, params={"command_name": "motion", "std": 0.4}
    )
    body_lin_vel = RewardTermCfg(
        func=mdp.body_linear_velocity_reward, weight=1.0, params={"command_name": "motion", "std": 1.0}
    )
    body_ang_vel = RewardTermCfg(
        func=mdp.body_angular_velocity_reward, weight=1.0, params={"command_name": "motion", "std": 3.14}
    )
    action_rate = RewardTermCfg(func=base_mdp.action_rate_l2, weight=-0.1)
    joint_limits = RewardTermCfg(func=base_mdp.joint_pos_limits, weight=-10.0)


@configclass
class TerminationsCfg:
    """Too long, or fallen."""

    time_out = TerminationTermCfg(func=base_mdp.time_out, time_out=True)
    fallen = TerminationTermCfg(func=mdp.anchor_lost, params={"command_name": "motion", "threshold": 0.4})
    tilted = TerminationTermCfg(func=mdp.anchor_tilted, params={"command_name": "motion", "threshold": 0.8})
    limbs = TerminationTermCfg(
        func=mdp.bodies_lost, params={"command_name": "motion", "threshold": 0.4, "body_names": ENDS}
    )


@configclass
class EventsCfg:
    """None: the command puts the robot where it starts, and the scene resets the people."""


@configclass
class PeopleEnvCfg(ManagerBasedRLEnvCfg):
    """50 Hz control of a G1 beside a person. Name clips: ``cfg.commands.motion.clips = [...]``."""

    scene: PeopleSceneCfg = PeopleSceneCfg(num_envs=2, env_spacing=5.0)
    sim: SimulationCfg = SimulationCfg(dt=0.005)
    commands: CommandsCfg = CommandsCfg()
    actions: ActionsCfg = ActionsCfg()
    observations: ObservationsCfg = ObservationsCfg()
    rewards: RewardsCfg = RewardsCfg()
    terminations: TerminationsCfg = TerminationsCfg()
    events: EventsCfg = EventsCfg()
    decimation: int = 4
    episode_length_s: float = 10.0

    def use(self, engine: str, device: str) -> PeopleEnvCfg:
        """Choose where this runs; returns itself.

        Args:
            engine: See :func:`soma_isaac.sim.isaaclab.engines.physics_cfg`.
            device: ``cpu`` or ``cuda:0``.

        Raises:
            InputRejected: There is no such engine in this Isaac Lab.
        """
        physics = physics_cfg(engine, device=device)
        self.sim.device = device
        self.sim.render_interval = self.decimation
        if DIALECT.generation == 3:
            self.sim.physics = physics
        return self
