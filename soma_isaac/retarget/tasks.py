"""The terms of the retargeting cost, each a weighted residual with its exact Jacobian, for many frames at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.math.so3 import rotvec_from_matrix
from soma_isaac.retarget.jacobian import (
    BodyPoses,
    Configuration,
    height_jacobian,
    log_left_inverse,
    moving_rotations,
    point_jacobian,
    pose_bodies,
    rotation_jacobian,
)
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.settings import TaskWeights
from soma_isaac.retarget.targets import BODIES, POINTS, REACHED, SEGMENTS, SIDES, Targets, robot_sites

GROUND_POINTS = tuple(f"{side}_{point}" for point in ("knee", "elbow", "wrist") for side in SIDES)


@dataclass(frozen=True, eq=False)
class Linearisation:
    """Weighted residuals of some frames and how they change.

    Attributes:
        residual: [T, R].
        jacobian: [T, R, 6 + N] with respect to the tangent of ``jacobian.Configuration``.
    """

    residual: np.ndarray
    jacobian: np.ndarray


class PoseTasks:
    """All terms that look at one frame at a time, except self-collision.

    Args:
        robot: The robot.
        targets: Targets of all T frames.
        weights: Weights.
        fps: Frame rate of the targets [Hz].
    """

    def __init__(self, robot: RobotModel, targets: Targets, weights: TaskWeights, fps: float) -> None:
        sites = robot_sites(robot)
        moves = moving_rotations(robot.tree)
        self.robot, self.targets, self.weights = robot, targets, weights
        self._bodies, self._offsets = sites.bodies, sites.offsets
        self._oriented = sites.oriented
        self._point_moves, self._oriented_moves = moves[sites.bodies], moves[sites.oriented]
        ground = [POINTS.index(name) for name in GROUND_POINTS]
        corners = robot.sole_points.shape[1]
        self._low_bodies = np.concatenate([sites.bodies[ground], np.repeat(robot.foot_bodies, corners)])
        self._low_offsets = np.concatenate([sites.offsets[ground], robot.sole_points.reshape(-1, 3)])
        self._clearance = np.repeat([weights.ground_radius, -weights.sole_give], [len(ground), 2 * corners])
        self._low_moves = moves[self._low_bodies].astype(np.float64)
        self._combine = _combinations()
        lengths = np.linalg.norm(targets.segments, axis=-1).max(axis=0)
        self._goals = np.concatenate(
            [targets.hips[:, None], targets.feet.positions, targets.trunk[:, None], targets.segments, targets.reach],
            axis=1,
        )
        planted = settle(targets.feet.planted, weights.settle * fps)
        flat = settle(targets.feet.flat, weights.settle * fps)
        self._position_weights = self._weigh_positions(planted, lengths)
        self._turn_weights = self._weigh_orientations(flat)

    def _weigh_positions(self, planted: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """[T, 16] for hips, feet, trunk, segments and reached points; directions become angles by their length."""
        w = self.weights
        out = np.empty((len(planted), self._goals.shape[1]))
        out[:, 0] = w.hips
        # Geometric in between: the weights span orders of magnitude.
        out[:, 1:3] = w.foot_swing * (w.foot_planted / w.foot_swing) ** planted
        out[:, 3] = w.trunk / np.linalg.norm(self.targets.trunk, axis=-1).max()
        limbs = np.repeat([w.thigh, w.shank, w.upper_arm, w.forearm], len(SIDES))
        out[:, 4 : 4 + len(SEGMENTS)] = limbs / lengths
        out[:, 4 + len(SEGMENTS) :] = w.reach
        return out

    def _weigh_orientations(self, flat: np.ndarray) -> np.ndarray:
        """[T, 6, 3] by body and world axis."""
        w = self.weights
        out = np.empty((len(flat), len(BODIES), 3))
        feet = [BODIES.index(f"{side}_foot") for side in SIDES]
        out[:, BODIES.index("pelvis")] = w.pelvis, w.pelvis, w.heading
        out[:, BODIES.index("torso")] = w.torso
        out[:, feet] = (w.sole_swing * (w.sole_flat / w.sole_swing) ** flat)[..., None]
        out[:, [BODIES.index(f"{side}_hand") for side in SIDES]] = w.hand
        return out

    def linearise(self, poses: BodyPoses, which: slice) -> Linearisation:
        """Residuals and Jacobians of the frames ``which`` whose body poses are given."""
        w = self.weights
        points = self._points(poses, self._bodies, self._offsets)
        jacobian = point_jacobian(poses, points, self._point_moves)
        frames, _, _, dof = jacobian.shape
        combined = (self._combine @ jacobian.reshape(frames, len(POINTS), -1)).reshape(frames, -1, 3, dof)
        weight = self._position_weights[which, :, None]
        residuals = [(weight * (self._combine @ points - self._goals[which])).reshape(frames, -1)]
        rows = [(weight[..., None] * combined).reshape(frames, -1, dof)]

        wanted = self.targets.orientations[which]
        error = rotvec_from_matrix(poses.rotations[:, self._oriented] @ wanted.swapaxes(-1, -2))
        # Pseudo-Huber: an orientation that cannot be reached (or is wrong) must not bend the whole limb.
        share = (1.0 + np.einsum("tki,tki->tk", error, error) / w.bearable**2) ** -0.25
        turn = self._turn_weights[which] * share[..., None]
        residuals.append((turn * error).reshape(frames, -1))
        turning = log_left_inverse(error) @ rotation_jacobian(poses, self._oriented_moves)
        rows.append((turn[..., None] * turning).reshape(frames, -1, dof))

        low = self._points(poses, self._low_bodies, self._low_offsets)
        value, slope = soft_excess(self._clearance - low[:, :, 2], w.softness)
        residuals.append(w.ground * value)
        rows.append((-w.ground * slope)[..., None] * height_jacobian(poses, low, self._low_moves))
        return Linearisation(np.concatenate(residuals, axis=1), np.concatenate(rows, axis=1))

    def _points(self, poses: BodyPoses, bodies: np.ndarray, offsets: np.ndarray) -> np.ndarray:
        return poses.positions[:, bodies] + (poses.rotations[:, bodies] @ offsets[:, :, None])[..., 0]

    def residual(self, configuration: Configuration) -> np.ndarray:
        """Residuals [T, R] of all frames."""
        return self.linearise(pose_bodies(self.robot, configuration), slice(None)).residual


AHEAD = 0.4
"""How much further inside [widths of the knee] the curvature of soft penalties is taken."""


def soft_excess(value: np.ndarray, softness: float) -> tuple[np.ndarray, np.ndarray]:
    """Soft one-sided penalty ``0.5 softplus(value)^2`` as a residual r and its slope s, for Gauss-Newton.

    ``r s`` is the penalty's gradient. ``s^2`` is its curvature a little further inside: a hard hinge, or the plain
    slope of the softplus, underrates the curvature ahead and makes the steps chatter with period 2.
    """
    scaled = np.maximum(value / softness, -30.0)  # nothing is felt there, and slopes stay above zero
    plus, gate = _softplus(scaled)
    ahead, ahead_gate = _softplus(scaled + AHEAD)
    slope = np.sqrt(ahead_gate**2 + ahead * ahead_gate * (1.0 - ahead_gate))
    return softness * plus * gate / slope, slope


def _softplus(value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``log(1 + exp(value))`` and its slope, without overflow."""
    decay = np.exp(-np.abs(value))
    return np.maximum(value, 0.0) + np.log1p(decay), np.where(value >= 0.0, 1.0, decay) / (1.0 + decay)


def settle(flags: np.ndarray, frames: float) -> np.ndarray:
    """[T, F] 1 where a flag is set, falling smoothly to 0 within ``frames`` outside."""
    count = len(flags)
    distance = np.full(flags.shape, np.inf)
    index = np.arange(count, dtype=float)[:, None]
    last = np.maximum.accumulate(np.where(flags, index, -np.inf), axis=0)
    coming = np.minimum.accumulate(np.where(flags, index, np.inf)[::-1], axis=0)[::-1]
    distance = np.minimum(index - last, coming - index)
    left = np.clip(1.0 - distance / max(frames, 1e-9), 0.0, 1.0)
    return np.where(flags, 1.0, left * left * (3.0 - 2.0 * left))


def _combinations() -> np.ndarray:
    """[16, P]: hips' middle, feet, trunk, limb segments and reached points as sums of keypoints."""
    rows = []

    def row(**parts: float) -> None:
        rows.append([parts.get(name, 0.0) for name in POINTS])

    row(left_hip=0.5, right_hip=0.5)
    row(left_ankle=1.0)
    row(right_ankle=1.0)
    row(left_hip=-0.5, right_hip=-0.5, left_shoulder=0.5, right_shoulder=0.5)
    for start, end in SEGMENTS:
        row(**{start: -1.0, end: 1.0})
    for name in REACHED:
        row(**{"left_hip": -0.5, "right_hip": -0.5, name: 1.0})
    return np.array(rows)
