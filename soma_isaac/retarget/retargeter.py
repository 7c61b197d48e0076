"""From a person's motion to a robot's: resample, build targets, solve coarsely, solve finely, hold the limits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from soma_isaac.math.so3 import continuous_quats, quat_wxyz_from_matrix
from soma_isaac.motion.resample import resample
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.retarget.avoidance import AvoidanceConfig
from soma_isaac.retarget.contacts import ContactConfig
from soma_isaac.retarget.footplan import FootPlanConfig
from soma_isaac.retarget.human import HumanKeypoints, human_keypoints
from soma_isaac.retarget.initial import initial_configuration
from soma_isaac.retarget.jacobian import Configuration
from soma_isaac.retarget.refine import limit_speed
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.solve import ClipSolver, SolverConfig, densify
from soma_isaac.retarget.targets import ScaleConfig, Targets, build_targets
from soma_isaac.retarget.tasks import TaskWeights


@dataclass(frozen=True)
class RetargetConfig:
    """Everything that shapes a retargeted clip; see each part."""

    scale: ScaleConfig = field(default_factory=ScaleConfig)
    contact: ContactConfig = field(default_factory=ContactConfig)
    foot_plan: FootPlanConfig = field(default_factory=FootPlanConfig)
    weights: TaskWeights = field(default_factory=TaskWeights)
    avoidance: AvoidanceConfig = field(default_factory=AvoidanceConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)


def retarget_motion(
    motion: SomaMotion, robot: RobotModel, config: RetargetConfig | None = None, fps: float = 50.0
) -> RobotMotion:
    """Turn a person's motion into a robot's.

    Args:
        motion: The person, at any rate.
        robot: The robot.
        config: Weights; the defaults if not given.
        fps: Rate [Hz] of the result.

    Returns:
        A motion inside the robot's position and velocity limits, standing on z = 0. Equal input gives equal bytes.

    Raises:
        InputRejected: ``fps`` is outside 1 to 1000 Hz.
        SolveFailed: The clip has no usable solution (only with weights that are not positive).
    """
    return retarget_keypoints(human_keypoints(resample(motion, fps)), robot, config or RetargetConfig())


def retarget_keypoints(
    human: HumanKeypoints, robot: RobotModel, config: RetargetConfig, start: np.ndarray | None = None
) -> RobotMotion:
    """Solve a clip at the rate of its keypoints.

    Args:
        human: Keypoints [T].
        robot: The robot.
        config: Weights.
        start: [N] rad, joint positions with which the coarse solve begins in every frame; a closed-form guess per frame if
            not given. Where the solve finds the same valley, the result is the same within its tolerance.
    """
    targets = build_targets(human, robot, config.scale, config.contact, config.foot_plan)
    configuration = _solve(targets, human.fps, robot, config, start)
    return RobotMotion(
        fps=human.fps,
        joint_names=robot.joint_names,
        root_pos=configuration.root_pos,
        root_quat_wxyz=continuous_quats(configuration.root_quat_wxyz),
        joint_pos=configuration.joint_pos,
        foot_contacts=targets.feet.planted,
    )


def _solve(
    targets: Targets, fps: float, robot: RobotModel, config: RetargetConfig, start: np.ndarray | None
) -> Configuration:
    solver = config.solver
    parts = (config.weights, config.avoidance, solver)
    frames = len(targets)
    stride = max(1, int(fps / solver.coarse_rate))
    # The last coarse frame repeats the clip's last frame where the stride does not divide the length.
    coarse_frames = (
        np.minimum(np.arange(0, frames - 1 + stride, stride), frames - 1) if frames > 1 else np.zeros(1, int)
    )
    coarse = ClipSolver(robot, targets.frames(coarse_frames), fps / stride, *parts)
    configuration = initial_configuration(robot, targets.frames(coarse_frames))
    if start is not None:
        posture = np.tile(np.clip(start, coarse.lower, coarse.upper), (len(coarse_frames), 1))
        configuration = replace(configuration, joint_pos=posture)
    encounters: list = []
    for iteration in range(solver.coarse_iterations):
        if iteration >= 3:
            encounters = coarse.encounters(configuration)
        cohesion = solver.cohesion * solver.cohesion_decay**iteration
        cohesion = cohesion if cohesion > 0.01 else 0.0
        configuration, move = coarse.iterate(configuration, encounters, cohesion)
        if move < solver.tolerance and encounters:
            break
    configuration = densify(configuration, np.arange(len(coarse_frames)) * float(stride), np.arange(frames))
    fine = ClipSolver(robot, targets, fps, *parts)
    encounters = fine.encounters(configuration)
    for _ in range(solver.fine_iterations):
        configuration, _ = fine.iterate(configuration, encounters)
    return replace(configuration, joint_pos=limit_speed(configuration.joint_pos, fine.largest_steps))
