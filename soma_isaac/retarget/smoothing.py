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


def solve_banded(blocks: np.ndarray, bands: np.ndarray, gradient: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Step [T, D] that minimises the quadratic model over the free coordinates; the others stay.

    Args:
        blocks: [T, D, D] symmetric positive definite, per frame.
        bands: [K + 1, T, D] diagonal coupling, from :meth:`Smoothing.bands`.
        gradient: [T, D].
        free: [T, D] bool.

    Raises:
        SolveFailed: The system is not positive definite.
    """
    frames, dof = gradient.shape
    mask = free.astype(np.float64)
    blocks = blocks * (mask[:, :, None] * mask[:, None, :])
    blocks[:, range(dof), range(dof)] += bands[0] * mask + (1.0 - mask)
    width = (len(bands) - 1) * dof
    # LAPACK's lower band storage, read as [column, distance from the diagonal]: column (t, b) holds rows b.. of block t.
    storage = np.zeros((frames, dof, max(width, dof - 1) + 1))
    rows, columns = np.tril_indices(dof)
    storage[:, columns, rows - columns] = blocks[:, rows, columns]
    for lag in range(1, len(bands)):
        storage[:-lag, :, lag * dof] = bands[lag, :-lag] * mask[:-lag] * mask[lag:]
    band = storage.reshape(frames * dof, -1).T
    factor, info = lapack.dpbtrf(band, lower=1, overwrite_ab=1)
    if info != 0:
        raise SolveFailed(f"the normal equations are not positive definite (order {info})", frame=int(info - 1) // dof)
    step, _ = lapack.dpbtrs(factor, -(gradient * mask).reshape(-1, 1), lower=1, overwrite_b=1)
    return step.reshape(frames, dof)
