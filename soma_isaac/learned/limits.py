"""Ranges of the body joints, as boxes of local rotation vectors, and the rows that keep a solution inside them."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.rows import JOINTS, TANGENT, State, inverse_left_jacobian, logarithm
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix

WIDEST_RAD = 3.0
"""No limit lies further out: past a half turn a rotation vector jumps to the other side."""


@dataclass(frozen=True, eq=False)
class JointLimits:
    """Lowest and highest coordinates of each joint's local rotation vector; Hips are not limited.

    Attributes:
        lower: [23, 3] rad; row 0 is ``-inf`` whatever was given.
        upper: [23, 3] rad; row 0 is ``inf``.
    """

    lower: np.ndarray
    upper: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes, order and reach.

        Raises:
            InputRejected: A shape differs, a range is empty, or a limit is a half turn or more.
        """
        lower, upper = (np.array(frozen_array(n, getattr(self, n), (JOINTS, 3))) for n in ("lower", "upper"))
        if (lower[1:] > upper[1:]).any():
            joint = 1 + int(np.argwhere(lower[1:] > upper[1:])[0][0])
            raise InputRejected(f"joint {joint} has a lower limit above its upper one")
        if max(np.abs(lower[1:]).max(), np.abs(upper[1:]).max()) > WIDEST_RAD:
            raise InputRejected(f"joint limits reach beyond {WIDEST_RAD:g} rad")
        lower[0], upper[0] = -np.inf, np.inf
        for name, value in (("lower", lower), ("upper", upper)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @classmethod
    def from_poses(cls, rotations: np.ndarray, *, percentile: float = 0.1, margin: float = 0.1) -> JointLimits:
        """Ranges that people were seen to use.

        Args:
            rotations: [M, 23, 3, 3] local rotations.
            percentile: Share of poses [percent] cut off at either end of each coordinate.
            margin: Added at either end [rad].

        Raises:
            InputRejected: The rotations are none.
        """
        rotations = frozen_array("rotations", rotations, (None, JOINTS, 3, 3))
        check_rotations("rotations (pose, joint)", rotations)
        vectors = rotvec_from_matrix(rotations)
        low, high = np.percentile(vectors, [percentile, 100.0 - percentile], axis=0)
        lower, upper = (np.clip(v, -WIDEST_RAD, WIDEST_RAD) for v in (low - margin, high + margin))
        lower[0], upper[0] = -WIDEST_RAD, WIDEST_RAD
        return cls(lower, upper)

    @functools.cached_property
    def middle(self) -> np.ndarray:
        """[23, 3, 3] local rotations in the middle of the ranges; identity for Hips."""
        vectors = np.zeros((JOINTS, 3))
        vectors[1:] = 0.5 * (self.lower[1:] + self.upper[1:])
        return matrix_from_rotvec(vectors)

    def excess(self, rotations: np.ndarray) -> np.ndarray:
        """How far [B, 23, 3] rad local rotations [B, 23, 3, 3] are outside; 0 inside."""
        return _excess(self, logarithm(rotations.reshape(-1, 3, 3)).reshape(-1, JOINTS, 3))

    def clamp(self, rotations: np.ndarray) -> np.ndarray:
        """Local rotations [B, 23, 3, 3] with every rotation vector clipped into its box; others are not touched."""
        vectors = logarithm(rotations.reshape(-1, 3, 3)).reshape(-1, JOINTS, 3)
        inside = np.clip(vectors, self.lower, self.upper)
        outside = (inside != vectors).any(axis=-1)
        result = np.array(rotations)
        result[outside] = matrix_from_rotvec(inside[outside])
        return result


@dataclass(eq=False)
class LimitRows:
    """Which coordinates are held at which side, and the rows that hold them.

    Attributes:
        limits: The boxes.
        side: [B, 23, 3] +1 held at the upper, -1 at the lower limit, 0 free.
        vectors: [B, 23, 3] rad, local rotation vectors of the present state.
    """

    limits: JointLimits
    side: np.ndarray
    vectors: np.ndarray

    @classmethod
    def of(cls, limits: JointLimits, state: State) -> LimitRows:
        """Hold what is outside."""
        count = len(state.local)
        vectors = logarithm(state.local.reshape(-1, 3, 3)).reshape(count, JOINTS, 3)
        return cls(limits, _outside(limits, vectors), vectors)

    def merit(self, tolerance: np.ndarray) -> np.ndarray:
        """[B] squared excess in units of the tolerances [B] rad."""
        excess = _excess(self.limits, self.vectors)
        return np.einsum("bjc,bjc->b", excess, excess) / tolerance**2

    def rows(
        self, state: State, factor: np.ndarray, tolerance: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The whitened rows of what is held.

        Args:
            state: The pose.
            factor: [72, 72] Cholesky factor of the prior.
            tolerance: [B] rad, standard deviation of the rows.

        Returns:
            Rows [B, M, 72] and residuals [B, M], padded with zeros to the longest, and [B, M] the coordinate of each
            among the 69, -1 where padded.
        """
        held = self.side.reshape(len(self.side), -1)
        most = int((held != 0).sum(axis=1).max())
        coordinate = np.argsort(held == 0, axis=1, kind="stable")[:, :most]
        sign = np.take_along_axis(held, coordinate, axis=1)
        # d phi = J_r^-1(phi) J_r(w) dw, J_r^-1 being the transpose of J_l^-1
        change = inverse_left_jacobian(self.vectors).swapaxes(-1, -2) @ state.right
        pose = np.arange(len(held))[:, None]
        change = change.reshape(len(held), -1, 3)[pose, coordinate] * (sign / tolerance[:, None])[..., None]
        blocks = factor[3:].reshape(JOINTS, 3, TANGENT)[coordinate // 3]
        rows = (change[..., None, :] @ blocks)[..., 0, :]
        bound = np.where(held > 0, self.limits.upper.reshape(-1), np.where(held < 0, self.limits.lower.reshape(-1), 0))
        gap = held * (self.vectors.reshape(held.shape) - bound) / tolerance[:, None]
        return rows, np.take_along_axis(gap, coordinate, axis=1), np.where(sign == 0, -1, coordinate)

    def next(self, state: State, coordinate: np.ndarray, multiplier: np.ndarray) -> LimitRows:
        """What to hold at a new state: what is outside, and what pressed against its limit.

        Args:
            state: The new state.
            coordinate: [B, M] as of :meth:`rows`.
            multiplier: [B, M] of the last solution; negative where the limit pushed inwards.
        """
        rows = LimitRows.of(self.limits, state)
        pose, column = np.nonzero((coordinate >= 0) & (multiplier < 0.0))
        where = coordinate[pose, column]
        kept, old = rows.side.reshape(len(rows.side), -1), self.side.reshape(len(self.side), -1)
        kept[pose, where] = old[pose, where]
        return rows


def _excess(limits: JointLimits, vectors: np.ndarray) -> np.ndarray:
    return np.maximum(np.maximum(vectors - limits.upper, limits.lower - vectors), 0.0)


def _outside(limits: JointLimits, vectors: np.ndarray) -> np.ndarray:
    return (vectors > limits.upper).astype(np.int8) - (vectors < limits.lower).astype(np.int8)
