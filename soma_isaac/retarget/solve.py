"""Whole-clip inverse kinematics: one Gauss-Newton problem over all frames, with hard joint limits.

All frames are unknowns of one least-squares problem; penalties on acceleration and jerk couple neighbours, so that the
normal equations are banded and one Cholesky factorisation solves them. Joint limits are an active set: coordinates at a
limit that the gradient pushes outwards are taken out of the step, and steps are projected (Bertsekas, 1982).
"""

from __future__ import annotations

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.ndimage import maximum_filter1d

from soma_isaac.math.so3 import continuous_quats
from soma_isaac.retarget.avoidance import Avoidance, Encounters
from soma_isaac.retarget.jacobian import ROOT_DOF, BodyPoses, Configuration, pose_bodies
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.settings import AvoidanceConfig, SolverConfig, TaskWeights
from soma_isaac.retarget.smoothing import BandedSystem, Smoothing
from soma_isaac.retarget.targets import Targets
from soma_isaac.retarget.tasks import PoseTasks

BLOCK = 128
"""Frames that are linearised together: their arrays stay in the processor's cache."""


def largest_steps(robot: RobotModel, config: SolverConfig, fps: float) -> np.ndarray:
    """[N] rad, how far each joint may move between frames."""
    return np.minimum(config.speed_margin * robot.velocity_limit, config.largest_speed) / fps


def smoothing_for(robot: RobotModel, config: SolverConfig, fps: float) -> Smoothing:
    """Weights of jerk (and, far weaker, of velocity, which settles what no other term decides)."""
    scales = [_jerk_scale(name, config) for name in robot.joint_names]
    jerk = (fps**3 / np.array([config.root_jerk] * 3 + [config.root_turn_jerk] * 3 + scales)) ** 2
    slow = (fps * 1e-3) ** 2 * np.ones(len(jerk))
    return Smoothing({1: slow, 3: jerk})


def _jerk_scale(joint: str, config: SolverConfig) -> float:
    if "waist" in joint:
        return config.waist_jerk
    return config.leg_jerk if any(part in joint for part in ("hip", "knee", "ankle")) else config.arm_jerk


class ClipSolver:
    """Gauss-Newton on all frames of a clip.

    Args:
        robot: The robot.
        targets: Targets of T frames.
        fps: Their rate [Hz].
        weights: Weights of the tasks.
        avoidance: Self-collision barrier.
        config: The solver.
    """

    def __init__(
        self,
        robot: RobotModel,
        targets: Targets,
        fps: float,
        weights: TaskWeights,
        avoidance: AvoidanceConfig,
        config: SolverConfig,
    ) -> None:
        self.robot, self.config = robot, config
        self.tasks = PoseTasks(robot, targets, weights, fps)
        self.avoidance = Avoidance(robot, avoidance)
        self.smoothing = smoothing_for(robot, config, fps)
        self.bands = self.smoothing.bands(len(targets))
        margin = np.minimum(config.limit_margin, 0.5 * (robot.upper - robot.lower))  # a joint may hardly move
        self.lower, self.upper = robot.lower + margin, robot.upper - margin
        self.rest = rest_posture(robot)
        self.largest_steps = largest_steps(robot, config, fps)
        self.damping = np.full(len(targets), config.damping)
        self._cost: np.ndarray | None = None

    def iterate(
        self, configuration: Configuration, encounters: list[Encounters], cohesion: float = 0.0
    ) -> tuple[Configuration, float]:
        """One projected Gauss-Newton step; returns the new configuration and the largest move.

        Args:
            configuration: Where to start.
            encounters: Pairs of shapes to keep apart, from :meth:`encounters`; none are watched if empty.
            cohesion: Extra weight [1/rad] on the joints' differences between frames.
        """
        blocks, gradient, cost = self._normal_equations(configuration, encounters)
        smoothing, bands = self.smoothing, self.bands
        if cohesion > 0.01:
            smoothing = smoothing.with_velocity(cohesion)
            bands = smoothing.bands(len(configuration))
        gradient += smoothing.gradient(configuration)
        bands = self._brake(configuration.joint_pos, gradient, bands)
        self._adapt_damping(cost)
        diagonal = np.arange(blocks.shape[1])
        blocks[:, diagonal, diagonal] += self.damping[:, None]
        step = self._bounded_step(BandedSystem(blocks, bands, gradient), configuration.joint_pos)
        return configuration.moved(step), float(np.abs(step).max())

    def _bounded_step(self, system: BandedSystem, joints: np.ndarray) -> np.ndarray:
        """The model's minimum within the limits: coordinates that would leave are held at their limit, and again."""
        config = self.config
        least = np.full(system.gradient.shape, -config.largest_step)
        most = np.full(system.gradient.shape, config.largest_step)
        least[:, ROOT_DOF:] = np.maximum(self.lower - joints, -config.largest_step)
        most[:, ROOT_DOF:] = np.minimum(self.upper - joints, config.largest_step)
        fixed = ((least >= 0.0) & (system.gradient > 0.0)) | ((most <= 0.0) & (system.gradient < 0.0))
        step = system.step(fixed, np.zeros_like(least))
        for _ in range(config.limit_rounds):
            outside = ((step < least) | (step > most)) & ~fixed
            outside[:, :ROOT_DOF] = False
            if not outside.any():
                break
            fixed |= outside
            step = system.step(fixed, np.clip(step, least, most))
        return np.clip(step, least, most)

    def _brake(self, joints: np.ndarray, gradient: np.ndarray, bands: np.ndarray) -> np.ndarray:
        """Add the penalty on joint speeds near their limits to ``gradient``; returns the bands with its curvature."""
        steps = np.diff(joints, axis=0)
        excess = np.abs(steps) - self.config.speed_onset * self.largest_steps
        fast = excess > 0.0
        if not fast.any():
            return bands
        stiffness = self.config.brake**2
        pull = np.where(fast, stiffness * excess * np.sign(steps), 0.0)
        gradient[:-1, ROOT_DOF:] -= pull
        gradient[1:, ROOT_DOF:] += pull
        bands = bands.copy()
        curvature = stiffness * fast
        bands[0, :-1, ROOT_DOF:] += curvature
        bands[0, 1:, ROOT_DOF:] += curvature
        bands[1, :-1, ROOT_DOF:] -= curvature
        return bands

    def _adapt_damping(self, cost: np.ndarray) -> None:
        """Raise the damping around frames that the last step made worse, lower it elsewhere (Levenberg-Marquardt)."""
        config = self.config
        if self._cost is not None:
            worse = maximum_filter1d(cost > 1.01 * self._cost + 1e-4, 3)
            up = np.maximum(4.0 * self.damping, config.damping_onset)
            self.damping = np.where(worse, up, np.maximum(0.3 * self.damping, config.damping))
        self._cost = cost

    def encounters(self, configuration: Configuration) -> list[Encounters]:
        """Pairs of shapes near each other, block by block, frames counted within the block."""
        return [self.avoidance.find(poses, 0) for _, poses in self._blocks(configuration)]

    def _blocks(self, configuration: Configuration) -> list[tuple[slice, BodyPoses]]:
        spans = [slice(start, min(start + BLOCK, len(configuration))) for start in range(0, len(configuration), BLOCK)]
        return [(span, pose_bodies(self.robot, configuration.frames(span))) for span in spans]

    def _normal_equations(
        self, configuration: Configuration, encounters: list[Encounters]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Blocks [T, D, D], gradient [T, D] and cost [T] of all terms that look at one frame."""
        frames, joints = configuration.joint_pos.shape
        dof = ROOT_DOF + joints
        blocks, gradient, cost = np.empty((frames, dof, dof)), np.empty((frames, dof)), np.empty(frames)
        for index, (span, poses) in enumerate(self._blocks(configuration)):
            linear = self.tasks.linearise(poses, span)
            transposed = linear.jacobian.swapaxes(1, 2)
            np.matmul(transposed, linear.jacobian, out=blocks[span])
            gradient[span] = (transposed @ linear.residual[..., None])[..., 0]
            cost[span] = np.einsum("tr,tr->t", linear.residual, linear.residual)
            if encounters and len(encounters[index].frames):
                self._add_encounters(poses, encounters[index], blocks[span], gradient[span], cost[span])
        diagonal = np.arange(dof)
        posture = np.where(diagonal < ROOT_DOF, 0.0, self.config.posture**2)
        blocks[:, diagonal, diagonal] += posture
        gradient[:, ROOT_DOF:] += self.config.posture**2 * (configuration.joint_pos - self.rest)
        return blocks, gradient, cost

    def _add_encounters(
        self,
        poses: BodyPoses,
        encounters: Encounters,
        blocks: np.ndarray,
        gradient: np.ndarray,
        cost: np.ndarray,
    ) -> None:
        residual, jacobian, frames = self.avoidance.linearise(poses, encounters)
        if not len(frames):
            return
        hit, starts = np.unique(frames, return_index=True)
        blocks[hit] += np.add.reduceat(jacobian[:, :, None] * jacobian[:, None, :], starts, axis=0)
        gradient[hit] += np.add.reduceat(jacobian * residual[:, None], starts, axis=0)
        cost[hit] += np.add.reduceat(residual**2, starts)


def rest_posture(robot: RobotModel) -> np.ndarray:
    """[N] rad: slightly bent knees and elbows, arms down; zero for joints not named here. Inside the limits."""
    bends = {"hip_pitch": -0.2, "knee": 0.4, "ankle_pitch": -0.2, "elbow": 1.0}
    rest = np.array([next((v for k, v in bends.items() if k in name), 0.0) for name in robot.joint_names])
    for index, name in enumerate(robot.joint_names):
        if "shoulder_roll" in name:
            rest[index] = 0.2 if name.startswith("left") else -0.2
    return np.clip(rest, robot.lower, robot.upper)


def densify(configuration: Configuration, times: np.ndarray, wanted: np.ndarray) -> Configuration:
    """A configuration at other times, by cubic splines (root rotation: splined and normalised quaternions)."""
    if len(times) < 2:
        return configuration.frames(np.zeros(len(wanted), dtype=int))

    def spline(values: np.ndarray) -> np.ndarray:
        return CubicSpline(times, values, axis=0)(wanted)

    quats = spline(continuous_quats(configuration.root_quat_wxyz))
    quats /= np.linalg.norm(quats, axis=1, keepdims=True)
    # A spline may overshoot; what was inside the limits at its knots stays between them.
    low, high = configuration.joint_pos.min(axis=0), configuration.joint_pos.max(axis=0)
    return Configuration(spline(configuration.root_pos), quats, np.clip(spline(configuration.joint_pos), low, high))
