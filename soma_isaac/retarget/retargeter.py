"""From a person's motion to a robot's: resample, build targets, solve coarsely, solve finely, hold the limits."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soma_isaac.math.so3 import continuous_quats
from soma_isaac.motion.resample import resample
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.retarget.human import HumanKeypoints, human_keypoints
from soma_isaac.retarget.initial import initial_configuration
from soma_isaac.retarget.jacobian import Configuration
from soma_isaac.retarget.refine import join, limit_speed, soften, window_spans
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.settings import RetargetConfig, check_settings
from soma_isaac.retarget.solve import ClipSolver, densify, largest_steps
from soma_isaac.retarget.targets import Targets, build_targets


def retarget_motion(
    motion: SomaMotion, robot: RobotModel, config: RetargetConfig | None = None, fps: float = 50.0
) -> RobotMotion:
    """Turn a person's motion into a robot's.

    Args:
        motion: The person, at any rate.
        robot: The robot.
        config: Settings; the defaults if not given.
        fps: Rate [Hz] of the result.

    Returns:
        A motion inside the robot's position and velocity limits, standing on z = 0. Equal input gives equal bytes.

    Raises:
        InputRejected: ``fps`` is outside 1 to 1000 Hz, or a setting out of its range.
        SolveFailed: The clip has no usable solution (never with the default settings).
    """
    return retarget_keypoints(human_keypoints(resample(motion, fps)), robot, config or RetargetConfig())


def retarget_keypoints(
    human: HumanKeypoints, robot: RobotModel, config: RetargetConfig, start: np.ndarray | None = None
) -> RobotMotion:
    """Solve a clip at the rate of its keypoints.

    Args:
        human: Keypoints [T].
        robot: The robot.
        config: Settings.
        start: [N] rad, joint positions with which the coarse solve begins in every frame; a closed-form guess per frame
            if not given. Where the solve finds the same valley, the result is the same within its tolerance.

    Raises:
        InputRejected: A setting is out of its range, or the person is no body.
        SolveFailed: The clip has no usable solution.
    """
    check_settings(config)
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
    """Solve window by window and blend where windows overlap."""
    stride = max(1, int(fps / config.solver.coarse_rate))
    last = len(targets) - 1
    # The last interval is shorter where the stride does not divide the length.
    knots = np.append(np.arange(0, last, stride), last)
    guess = initial_configuration(robot, targets.frames(knots))
    if start is not None:
        posture = np.clip(start, robot.lower, robot.upper)
        guess = replace(guess, joint_pos=np.tile(posture, (len(knots), 1)))
    done: Configuration | None = None
    window = max(2, config.solver.window // stride)  # of one knot no two could share any
    for first, stop in window_spans(len(knots), window, config.solver.overlap // stride):
        begin, end = knots[first], knots[stop - 1] + 1
        part = _solve_window(
            targets.frames(slice(begin, end)),
            knots[first:stop] - begin,
            guess.frames(slice(first, stop)),
            fps,
            robot,
            config,
        )
        done = part if done is None else join(done, part, begin)
    assert done is not None
    steps = largest_steps(robot, config.solver, fps)
    joints = soften(limit_speed(done.joint_pos, steps), config.solver.largest_acceleration / fps**2)
    # Sums of steps may be off by their last digit, which shows where no margin is kept.
    return replace(done, joint_pos=np.clip(joints, robot.lower, robot.upper))


def _solve_window(
    targets: Targets,
    knots: np.ndarray,
    guess: Configuration,
    fps: float,
    robot: RobotModel,
    config: RetargetConfig,
) -> Configuration:
    """Gauss-Newton on every few frames until it settles, then on all of them."""
    solver = config.solver
    parts = (config.weights, config.avoidance, solver)
    stride = int(knots[1] - knots[0]) if len(knots) > 1 else 1
    coarse = ClipSolver(robot, targets.frames(knots), fps / stride, *parts)
    configuration, encounters = guess, []
    for iteration in range(solver.coarse_iterations):
        if iteration >= solver.free_iterations:
            encounters = coarse.encounters(configuration)
        cohesion = solver.cohesion * solver.cohesion_decay**iteration
        configuration, move = coarse.iterate(configuration, encounters, cohesion)
        if move < solver.tolerance and iteration > solver.free_iterations:
            break
    fine = ClipSolver(robot, targets, fps, *parts)
    configuration = densify(configuration, knots, np.arange(len(targets)))
    encounters = fine.encounters(configuration)
    for _ in range(solver.fine_iterations):
        configuration, _ = fine.iterate(configuration, encounters)
    return configuration
