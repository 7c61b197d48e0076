"""How far from a proposed pose a true pose may lie, and steps between poses in the axes that this is told in."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.rows import JOINTS, TANGENT, exponential, logarithm
from soma_isaac.learned.skeleton import BodyPose, log_bone_ratios
from soma_isaac.math.arrays import frozen_array


@dataclass(frozen=True, eq=False)
class PosePrior:
    """How far from the proposed pose a true pose may lie.

    Attributes:
        covariance: [72, 72], tangent order: the root's place (3; m in the Hips' own axes, divided by the body's scale),
            then a local rotation vector per joint (23 x 3; rad, ``R_j exp(w)``).
    """

    covariance: np.ndarray

    def __post_init__(self) -> None:
        """Check that it is a covariance, and find its factor.

        Raises:
            InputRejected: The shape differs, it is not symmetric, or not positive definite.
        """
        covariance = frozen_array("covariance", self.covariance, (TANGENT, TANGENT))
        object.__setattr__(self, "covariance", covariance)
        if np.abs(covariance - covariance.T).max() > 1e-6 * np.abs(covariance).max():
            raise InputRejected("the covariance of a pose prior is not symmetric")
        try:
            factor = np.linalg.cholesky(covariance)
        except np.linalg.LinAlgError as error:
            raise InputRejected("the covariance of a pose prior is not positive definite") from error
        factor.setflags(write=False)
        object.__setattr__(self, "_factor", factor)

    @property
    def factor(self) -> np.ndarray:
        """[72, 72] lower Cholesky factor."""
        return self.__dict__["_factor"]

    @classmethod
    def isotropic(cls, *, root: float = 0.3, rotation: float = 0.3, hips_rotation: float = 0.3) -> PosePrior:
        """Independent errors.

        Args:
            root: Standard deviation of the root's place [m on the template body], per axis.
            rotation: Of the local rotations [rad], per axis.
            hips_rotation: Of the turn of the whole body [rad], per axis.
        """
        deviations = np.full(TANGENT, rotation)
        deviations[:3], deviations[3:6] = root, hips_rotation
        return cls(np.diag(deviations**2))

    @classmethod
    def from_steps(cls, steps: np.ndarray, *, floor: float = 0.02) -> PosePrior:
        """Second moments of the steps [M, 72] from proposed to true poses, ``floor`` (m, rad) added per axis.

        The moments are about zero, not about the mean: the proposal is where the solution is drawn to.
        """
        steps = frozen_array("steps", steps, (None, TANGENT))
        return cls(steps.T @ steps / len(steps) + floor**2 * np.eye(TANGENT))

    def shrunk(self, share: float) -> PosePrior:
        """The same deviations with all correlations less by this share [0 to 1]: shrinkage towards the diagonal."""
        return PosePrior((1.0 - share) * self.covariance + share * np.diag(np.diag(self.covariance)))


@functools.lru_cache(maxsize=1)
def default_prior() -> PosePrior:
    """Equal errors of all joints: what is taken where no prior is given."""
    return PosePrior.isotropic()


def body_scale(rest_offsets: np.ndarray) -> np.ndarray:
    """Size [...] of bodies of offsets [..., 23, 3] m relative to the template: geometric mean of the bone ratios."""
    return np.exp(log_bone_ratios(rest_offsets).mean(axis=-1))


def tangent(start: np.ndarray, end: np.ndarray, move: np.ndarray) -> np.ndarray:
    """Tangent steps [B, 72] from local rotations to local rotations [B, 23, 3, 3] and of the root by ``move`` [B, 3].

    The move is in the world, divided by the body's scale.
    """
    vectors = logarithm((start.swapaxes(-1, -2) @ end).reshape(-1, 3, 3)).reshape(len(start), TANGENT - 3)
    return np.concatenate([(move[:, None] @ start[:, 0])[:, 0], vectors], axis=-1)


def steps_between(start: BodyPose, end: BodyPose, rest_offsets: np.ndarray) -> np.ndarray:
    """Tangent steps [B, 72] from poses to poses, in the order of :class:`PosePrior`.

    Args:
        start: B poses.
        end: B poses.
        rest_offsets: [23, 3] or [B, 23, 3] m, whose scale divides the root's move.
    """
    move = (end.root_position - start.root_position) / np.reshape(body_scale(rest_offsets), (-1, 1))
    return tangent(start.rotations, end.rotations, move)


def pose_after(start: BodyPose, steps: np.ndarray, rest_offsets: np.ndarray) -> BodyPose:
    """The poses that tangent steps [B, 72] lead to: undoes :func:`steps_between`.

    Args:
        start: B poses.
        steps: Steps.
        rest_offsets: [23, 3] or [B, 23, 3] m.
    """
    turns, _ = exponential(steps[:, 3:].reshape(-1, JOINTS, 3))
    move = (start.rotations[:, 0] @ steps[:, :3, None])[..., 0] * np.reshape(body_scale(rest_offsets), (-1, 1))
    return BodyPose(start.rotations @ turns, start.root_position + move)
