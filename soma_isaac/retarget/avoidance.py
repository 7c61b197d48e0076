"""Keeping the robot's limbs out of its own body: a soft barrier on the distances of collision shapes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.retarget.collision import pair_distances, segment_closest
from soma_isaac.retarget.jacobian import BodyPoses, moving_rotations
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.settings import AvoidanceConfig
from soma_isaac.retarget.tasks import soft_excess


@dataclass(frozen=True, eq=False)
class Encounters:
    """Pairs of shapes that come near each other, ordered by frame.

    Attributes:
        frames: [M] int.
        pairs: [M, 2] shape indices.
    """

    frames: np.ndarray
    pairs: np.ndarray


class Avoidance:
    """Barrier terms for pairs that come near each other.

    Args:
        robot: The robot with its shapes.
        config: The barrier.
    """

    def __init__(self, robot: RobotModel, config: AvoidanceConfig) -> None:
        self.robot, self.config = robot, config
        self._moves = moving_rotations(robot.tree)[:, None]
        self._pairs = _watched_pairs(robot)

    def find(self, poses: BodyPoses, first_frame: int) -> Encounters:
        """Encounters in consecutive frames, the first of which is ``first_frame`` of the clip."""
        distance = pair_distances(self.robot.shapes, poses.positions, poses.rotations, self._pairs)
        frames, pairs = np.nonzero(distance < self.config.reach)
        return Encounters(frames + first_frame, self._pairs[pairs])

    def linearise(self, poses: BodyPoses, encounters: Encounters) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Residuals [M'], Jacobian [M', 6 + N] and frames [M'] (into ``poses``) of the encounters that matter now."""
        shapes, config = self.robot.shapes, self.config
        frames, (i, j) = encounters.frames, encounters.pairs.T
        ends = [self._ends(poses, frames, shape) for shape in (i, j)]
        s, t, gap = segment_closest(*ends[0], *ends[1])
        value, slope = soft_excess(config.margin - (gap - shapes.radius[i] - shapes.radius[j]), config.softness)
        keep = value > 1e-3 * config.softness
        frames, i, j, gap = frames[keep], i[keep], j[keep], gap[keep]
        first = ends[0][0][keep] + s[keep, None] * (ends[0][1] - ends[0][0])[keep]
        second = ends[1][0][keep] + t[keep, None] * (ends[1][1] - ends[1][0])[keep]
        normal = (first - second) / np.maximum(gap, 1e-9)[:, None]
        away = _along(poses, frames, first, normal, self._moves[shapes.bodies[i], 0])
        away -= _along(poses, frames, second, normal, self._moves[shapes.bodies[j], 0])
        jacobian = np.zeros((len(frames), away.shape[1] + 3))
        jacobian[:, 3:] = (-config.weight * slope[keep])[:, None] * away
        return config.weight * value[keep], jacobian, frames

    def _ends(self, poses: BodyPoses, frames: np.ndarray, shape: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shapes = self.robot.shapes
        body = shapes.bodies[shape]
        rotation, origin = poses.rotations[frames, body], poses.positions[frames, body]
        return (
            origin + (rotation @ shapes.p0[shape][:, :, None])[..., 0],
            origin + (rotation @ shapes.p1[shape][:, :, None])[..., 0],
        )


def _along(
    poses: BodyPoses, frames: np.ndarray, point: np.ndarray, normal: np.ndarray, moves: np.ndarray
) -> np.ndarray:
    """[M, 3 + N] speed of points along ``normal`` per radian of each rotation: ``n . (a x p - m)``."""
    axes, moments = poses.axes[frames], poses.moments[frames]
    lever = np.cross(point, normal)
    speed = np.einsum("mji,mi->mj", axes, lever) - np.einsum("mji,mi->mj", moments, normal)
    return speed * moves


def _watched_pairs(robot: RobotModel) -> np.ndarray:
    """Pairs worth watching: of the seven thin capsules under each sole only the two long outer ones, 2 and 6."""
    thin = [("foot" in name and "foot2" not in name and "foot6" not in name) for name in robot.shapes.names]
    pairs = robot.shapes.pairs
    return pairs[~np.array(thin)[pairs].any(axis=1)]
