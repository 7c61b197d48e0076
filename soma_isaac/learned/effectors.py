"""Effectors: what a user asks of a pose. Positions, rotations and look-at targets, each with tolerance and weight.

After Voleti et al., SMPL-IK (arXiv 2208.08274) and Oreshkin et al., ProtoRes (ICLR 2022). An effector of weight zero
drops out exactly, so that sets of different sizes share one padded batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES
from soma_isaac.math.arrays import check_rotations, frozen_array

POSITION, ROTATION, LOOK_AT = 0, 1, 2
KIND_NAMES = ("position", "rotation", "look_at")


@dataclass(frozen=True, eq=False)
class Effectors:
    """B sets of N effectors, padded with zero weights, in the Y-up world.

    Attributes:
        kind: [B, N] int64, ``POSITION``, ``ROTATION`` or ``LOOK_AT``.
        joint: [B, N] int64, index into ``BODY_JOINT_NAMES``.
        target: [B, N, 3] m, where the joint shall be (position) or look (look-at); zero for rotations.
        rotation: [B, N, 3, 3] world rotation relative to the T-pose; identity for the other kinds.
        direction: [B, N, 3] unit direction in the joint's own T-pose-relative axes that shall point at ``target``;
            zero for the other kinds.
        tolerance: [B, N] standard deviation of the target, m (position) or rad; 0 = exact.
        weight: [B, N] blend weight, at least 0; 0 = padding, drops out exactly.
    """

    kind: np.ndarray
    joint: np.ndarray
    target: np.ndarray
    rotation: np.ndarray
    direction: np.ndarray
    tolerance: np.ndarray
    weight: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes, ranges, rotations, unit directions, and that each set fixes a place.

        Raises:
            InputRejected: Any of these fails; the message names the set and the effector.
        """
        shape = np.shape(self.kind)
        if len(shape) != 2:
            raise InputRejected(f"effector kinds are [sets, effectors], not {list(shape)}")
        for name, tail, dtype in (
            ("kind", (), np.int64),
            ("joint", (), np.int64),
            ("target", (3,), np.float64),
            ("rotation", (3, 3), np.float64),
            ("direction", (3,), np.float64),
            ("tolerance", (), np.float64),
            ("weight", (), np.float64),
        ):
            object.__setattr__(self, name, frozen_array(name, getattr(self, name), (*shape, *tail), dtype))
        check_rotations("effector rotations (set, effector)", self.rotation)
        used = self.weight > 0
        look = used & (self.kind == LOOK_AT)
        checks = (
            (self.weight < 0, "has a negative weight"),
            (self.tolerance < 0, "has a negative tolerance"),
            ((self.kind < 0) | (self.kind > LOOK_AT), "is of no known kind"),
            ((self.joint < 0) | (self.joint >= len(BODY_JOINT_NAMES)), "names no body joint"),
            (
                look & (np.abs(np.linalg.norm(self.direction, axis=-1) - 1) > 1e-3),
                "has no unit direction to look along",
            ),
        )
        for wrong, why in checks:
            if wrong.any():
                row, column = np.argwhere(wrong)[0]
                raise InputRejected(f"effector {column} of set {row} {why}")
        placed = (used & (self.kind == POSITION)).any(axis=1)
        if not placed.all():
            raise InputRejected(f"set {int(np.argmin(placed))} has no position effector: the pose would have no place")

    @property
    def count(self) -> int:
        """Number of sets B."""
        return len(self.kind)

    @property
    def size(self) -> int:
        """Effectors per set N, padding included."""
        return self.kind.shape[1]

    def rows(self, rows: np.ndarray | slice, size: int | None = None) -> Effectors:
        """Some of the sets, and of these the first ``size`` effectors."""
        return Effectors(*(getattr(self, each.name)[rows, :size] for each in fields(self)))

    @classmethod
    def of(cls, *sets: Sequence[Effector]) -> Effectors:
        """Sets of effectors made by :func:`position`, :func:`rotation` and :func:`look_at`, padded to the longest.

        Raises:
            InputRejected: A set is not valid.
        """
        size = max((len(each) for each in sets), default=0)
        if size == 0:
            raise InputRejected("there are no effectors")
        padding = Effector(POSITION, 0, weight=0.0)
        rows = [[*each, *[padding] * (size - len(each))] for each in sets]
        return cls(
            *(
                np.array([[getattr(effector, name) for effector in row] for row in rows])
                for name in ("kind", "joint", "target", "rotation", "direction", "tolerance", "weight")
            )
        )


@dataclass(frozen=True)
class Effector:
    """One effector; the fields are those of :class:`Effectors`."""

    kind: int
    joint: int
    target: tuple[float, float, float] = (0.0, 0.0, 0.0)
    rotation: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    direction: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tolerance: float = 0.0
    weight: float = 1.0


def position(joint: str, target: Sequence[float], *, tolerance: float = 0.0, weight: float = 1.0) -> Effector:
    """An effector that puts ``joint`` at ``target`` [m, Y-up world], within ``tolerance`` [m].

    Raises:
        InputRejected: There is no such body joint, or the target is no point.
    """
    return Effector(POSITION, joint_index(joint), target=_point(target), tolerance=tolerance, weight=weight)


def rotation(joint: str, matrix: np.ndarray, *, tolerance: float = 0.0, weight: float = 1.0) -> Effector:
    """An effector that turns ``joint`` to the world rotation ``matrix`` [3, 3] (identity = T-pose), within rad.

    Raises:
        InputRejected: There is no such body joint, or the matrix is no rotation.
    """
    rows = frozen_array("matrix", matrix, (3, 3))
    check_rotations("matrix", rows)
    return Effector(
        ROTATION, joint_index(joint), rotation=tuple(map(tuple, rows.tolist())), tolerance=tolerance, weight=weight
    )


def look_at(
    joint: str,
    target: Sequence[float],
    *,
    direction: Sequence[float] = (0.0, 0.0, 1.0),
    tolerance: float = 0.0,
    weight: float = 1.0,
) -> Effector:
    """An effector that points ``direction`` (in the joint's T-pose axes; +Z is ahead) of ``joint`` at ``target`` [m].

    Raises:
        InputRejected: There is no such body joint, or a vector is none.
    """
    ahead = np.asarray(_point(direction))
    length = float(np.linalg.norm(ahead))
    if length < 1e-6:
        raise InputRejected(f"look-at of {joint}: the direction has no length")
    return Effector(
        LOOK_AT,
        joint_index(joint),
        target=_point(target),
        direction=_point(ahead / length),
        tolerance=tolerance,
        weight=weight,
    )


def joint_index(name: str) -> int:
    """Index of the body joint ``name``.

    Raises:
        InputRejected: There is no such joint; the message lists them.
    """
    if name not in BODY_JOINT_NAMES:
        raise InputRejected(f"no body joint named {name!r}; there are {', '.join(BODY_JOINT_NAMES)}")
    return BODY_JOINT_NAMES.index(name)


def _point(values: Sequence[float] | np.ndarray) -> tuple[float, float, float]:
    x, y, z = frozen_array("vector", values, (3,)).tolist()
    return x, y, z
