"""The coupling of frames: penalties on velocity, acceleration and jerk, and the banded system they make."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from soma_isaac.errors import SolveFailed
from soma_isaac.math.so3 import matrix_from_quat_wxyz, rotvec_from_matrix
from soma_isaac.retarget.jacobian import ROOT_DOF, Configuration

STENCILS = {1: np.array([-1.0, 1.0]), 2: np.array([1.0, -2.0, 1.0]), 3: np.array([-1.0, 3.0, -3.0, 1.0])}


@dataclass(frozen=True, eq=False)
class Smoothing:
    """Diagonal weights of finite differences in time.

    Attributes:
        weights: Order of the difference (1, 2, 3) to weights [6 + N] of squared differences per frame step.
    """

    weights: dict[int, np.ndarray]

    def with_velocity(self, weight: float) -> Smoothing:
        """The same with ``weight`` [1/rad] on the joints' first differences on top."""
        extra = np.where(np.arange(len(self.weights[1])) < ROOT_DOF, 0.0, weight**2)
        return Smoothing(self.weights | {1: self.weights[1] + extra})

    def gradient(self, configuration: Configuration) -> np.ndarray:
        """Gradient [T, 6 + N] of half the penalty; for the root's rotation to first order in its turn per frame."""
        frames, joints = configuration.joint_pos.shape
        out = np.zeros((frames, ROOT_DOF + joints))
        if frames < 2:
            return out
        rotation = matrix_from_quat_wxyz(configuration.root_quat_wxyz)
        first = np.concatenate(
            [
                np.diff(configuration.root_pos, axis=0),
                rotvec_from_matrix(rotation[1:] @ rotation[:-1].swapaxes(1, 2)),
                np.diff(configuration.joint_pos, axis=0),
            ],
            axis=1,
        )
        for order, weight in self.weights.items():
            if frames <= order:
                continue
            difference = weight * np.diff(first, n=order - 1, axis=0)
            for lag, factor in enumerate(STENCILS[order]):
                out[lag : lag + len(difference)] += factor * difference
        return out

    def bands(self, frames: int) -> np.ndarray:
        """Hessian of half the penalty: [K + 1, T, 6 + N], entry k couples frame t with t + k."""
        width = min(max(self.weights), frames - 1)
        dof = len(next(iter(self.weights.values())))
        bands = np.zeros((width + 1, frames, dof))
        for order, weight in self.weights.items():
            stencil = STENCILS[order]
            count = frames - order
            for lag in range(min(order, width) + 1):
                for start in range(order + 1 - lag):
                    if count > 0:
                        bands[lag, start : start + count] += stencil[start] * stencil[start + lag] * weight
        return bands


class BandedSystem:
    """Normal equations of a clip: dense blocks per frame, diagonal coupling between frames.

    Args:
        blocks: [T, D, D] symmetric positive definite, per frame.
        bands: [K + 1, T, D] diagonal coupling, from :meth:`Smoothing.bands`.
        gradient: [T, D].
    """

    def __init__(self, blocks: np.ndarray, bands: np.ndarray, gradient: np.ndarray) -> None:
        self.blocks, self.bands, self.gradient = blocks, bands, gradient

    def step(self, fixed: np.ndarray, moves: np.ndarray) -> np.ndarray:
        """Minimise the quadratic model over the coordinates that are not fixed.

        Args:
            fixed: [T, D] bool.
            moves: [T, D] what the fixed coordinates move; not read elsewhere.

        Returns:
            Step [T, D].

        Raises:
            SolveFailed: The system is not positive definite.
        """
        given = np.where(fixed, moves, 0.0)
        rhs = np.where(fixed, given, -(self.gradient + self._coupled(given)))
        free = (~fixed).astype(np.float64)
        frames, dof = rhs.shape
        width = max((len(self.bands) - 1) * dof, dof - 1) + 1
        # LAPACK's lower band storage read as [column, distance below the diagonal]; column (t, b) is coordinate b of
        # frame t, and frame t + k begins k D below it.
        storage = np.zeros((frames, dof, width))
        rows, columns = np.tril_indices(dof)
        storage[:, columns, rows - columns] = (self.blocks * free[:, :, None] * free[:, None, :])[:, rows, columns]
        storage[:, :, 0] += self.bands[0] * free + (1.0 - free)
        for lag in range(1, len(self.bands)):
            storage[:-lag, :, lag * dof] = self.bands[lag, :-lag] * free[:-lag] * free[lag:]
        factor, info = lapack.dpbtrf(storage.reshape(frames * dof, width).T, lower=1, overwrite_ab=1)
        if info != 0:
            raise SolveFailed("the normal equations are not positive definite", frame=int(info - 1) // dof)
        return lapack.dpbtrs(factor, rhs.reshape(-1, 1), lower=1, overwrite_b=1)[0].reshape(frames, dof)

    def _coupled(self, step: np.ndarray) -> np.ndarray:
        """Hessian times ``step``."""
        if not step.any():
            return step
        out = (self.blocks @ step[..., None])[..., 0] + self.bands[0] * step
        for lag in range(1, len(self.bands)):
            out[lag:] += self.bands[lag, :-lag] * step[:-lag]
            out[:-lag] += self.bands[lag, :-lag] * step[lag:]
        return out
