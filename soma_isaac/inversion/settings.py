"""What can be asked of pose inversion, and the penalties on joint rotations that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.align import rotations_from_covariances
from soma_isaac.body.layout import JointLayout
from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix

HINGES: Mapping[str, tuple[float, float, float]] = {
    "LeftForeArm": (0.0, 1.0, 0.0),
    "RightForeArm": (0.0, 1.0, 0.0),
    "LeftShin": (1.0, 0.0, 0.0),
    "RightShin": (1.0, 0.0, 0.0),
}
"""Elbows bend about the vertical of the T-pose, knees about its lateral axis."""

_HARD = 1e-2
"""Share that stands for a hinge without play; more would only make the equations stiff."""

_SOFT = 1e-7


@dataclass(frozen=True)
class InversionSettings:
    """How poses are solved for.

    Penalties are shares of what the whole body would pay: a share s makes a rotation by 1 rad cost as much as moving
    every vertex by ``sqrt(s)`` times the body's height.

    Attributes:
        steps: Gauss-Newton steps per frame at most; 0 keeps the closed form. A mesh of this body takes 3 or 4, one of
            another body more.
        damping: Marquardt's factor of the first step; 10 times less after every step that helps, 100 times more after
            one that does not.
        tolerance: Stop once no joint turns by more than this [rad] and the body shifts by less than as many metres.
        hinge: Share that a turn of elbows and knees off their hinge costs. A mesh hardly tells how the turn of a
            forearm about the bone is shared between shoulder and elbow; the small default decides it where the mesh
            does not. 0 leaves it open, ``inf`` allows no other turn.
        hinges: Axes of hinge joints by name, in T-pose-relative (world-aligned) axes.
        prior: Share of turns away from ``prior_pose``.
        prior_pose: [77, 3, 3] T-pose-relative rotations; the T-pose by default.
        smoothness: Share of turns between neighbouring frames, which are then taken for a clip.
        smoothing_rounds: How often neighbours are passed on; the first half goes to neighbours further away.
        robust: Distance [m] from which on vertices count ever less (Geman and McClure); ``None`` for least squares.
        robust_rounds: How often weights are renewed.
        corrective_rounds: How often pose correctives are taken off the targets, if the body has them.
    """

    steps: int = 15
    damping: float = 1e-6
    tolerance: float = 1e-5
    hinge: float = _SOFT
    hinges: Mapping[str, ArrayLike] = field(default_factory=lambda: HINGES)
    prior: float = 0.0
    prior_pose: ArrayLike | None = None
    smoothness: float = 0.0
    smoothing_rounds: int = 24
    robust: float | None = None
    robust_rounds: int = 8
    corrective_rounds: int = 2

    def __post_init__(self) -> None:
        """Check signs and kinds.

        Raises:
            InputRejected: A number is negative or NaN, or ``robust`` is not positive.
        """
        for name in ("steps", "damping", "tolerance", "hinge", "prior", "smoothness", "smoothing_rounds",
                     "robust_rounds", "corrective_rounds"):  # fmt: skip
            value = getattr(self, name)
            if not value >= 0:
                raise InputRejected(f"{name} must be at least 0, not {value!r}")
        if self.robust is not None and not self.robust > 0.0:
            raise InputRejected(f"robust must be a distance above 0, not {self.robust!r}")

    def eased(self) -> InversionSettings | None:
        """Settings to solve with first, where stiff hinges would lead astray from a start that violates them."""
        return replace(self, hinge=_SOFT) if self.hinge > 10.0 * _SOFT else None


@dataclass(frozen=True, eq=False)
class Penalties:
    """T quadratic penalties on T-pose-relative joint rotations.

    Attributes:
        references: [T, 1 or B, P, 3, 3].
        weights: [T, 1 or B, P, 3, 3] m^2 / rad^2.
    """

    references: np.ndarray
    weights: np.ndarray

    def joined(self, other: Penalties) -> Penalties:
        """Both together."""
        return Penalties(*(_joined(getattr(self, name), getattr(other, name)) for name in ("references", "weights")))


def _joined(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    batch = max(first.shape[1], second.shape[1])
    wide = [np.broadcast_to(part, (len(part), batch, *part.shape[2:])) for part in (first, second)]
    return np.concatenate(wide)


def static_penalties(settings: InversionSettings, layout: JointLayout, unit: float) -> Penalties:
    """Hinges and prior.

    Args:
        settings: What is asked.
        layout: The joints.
        unit: What a share of 1 costs: total vertex weight times squared height [m^2].

    Raises:
        InputRejected: A hinge's joint is unknown or its axis has no direction, or the prior pose is none.
    """
    public = layout.public_count
    references, weights = [], []
    if settings.hinge > 0.0 and settings.hinges:
        free = np.zeros((public, 3, 3))
        for joint, axis in hinge_axes(settings, layout):
            free[joint] = np.eye(3) - np.outer(axis, axis)
        references.append(np.broadcast_to(np.eye(3), (public, 3, 3)))
        weights.append(free * unit * min(settings.hinge, _HARD))
    if settings.prior > 0.0:
        pose = np.broadcast_to(np.eye(3), (public, 3, 3)).copy()
        if settings.prior_pose is not None:
            pose[1:] = frozen_array("prior_pose", settings.prior_pose, (public - 1, 3, 3))
            check_rotations("prior_pose", pose)
        references.append(pose)
        weights.append(np.broadcast_to(np.eye(3) * unit * settings.prior, (public, 3, 3)))
    shape = (len(references), 1, public, 3, 3)
    return Penalties(np.array(references).reshape(shape), np.array(weights).reshape(shape))


def hinge_axes(settings: InversionSettings, layout: JointLayout) -> list[tuple[int, np.ndarray]]:
    """Hinge joints and their unit axes.

    Raises:
        InputRejected: A joint is unknown or an axis has no direction.
    """
    axes = []
    for name, axis in settings.hinges.items():
        if name not in layout.joint_names[1 : layout.public_count]:
            raise InputRejected(f"hinges names {name!r}, which is no joint of a pose")
        direction = frozen_array(f"hinges[{name!r}]", axis, (3,))
        length = float(np.linalg.norm(direction))
        if length <= 0.0:
            raise InputRejected(f"the hinge axis of {name!r} has no direction")
        axes.append((layout.joint_names.index(name), direction / length))
    return axes


def on_hinges(rotations: np.ndarray, settings: InversionSettings, layout: JointLayout) -> np.ndarray:
    """Rotations [B, P - 1, 3, 3] with hinge joints turned about their axes only."""
    result = rotations.copy()
    for joint, axis in hinge_axes(settings, layout):
        angle = rotvec_from_matrix(rotations[:, joint - 1]) @ axis
        result[:, joint - 1] = matrix_from_rotvec(angle[:, None] * axis)
    return result


def neighbour_penalties(rotations: np.ndarray, weight: float, stride: int = 1) -> Penalties:
    """Every joint is drawn to the mean of a frame before and one after, and half to where it is.

    Without the latter, even and odd frames would part; with twice the weight, the same pose is at rest.

    Args:
        rotations: [B, P - 1, 3, 3] T-pose-relative.
        weight: [m^2 / rad^2] of one neighbour next by.
        stride: How many frames away the neighbours are; their weight falls with its square.
    """
    batch, count = rotations.shape[:2]
    frames = np.arange(batch)
    before, after = frames - stride, frames + stride
    # Beyond the ends a frame is its own neighbour, without weight.
    held = np.stack([before >= 0, after < batch]).astype(np.float64)
    pair = rotations[np.where(held[0] > 0, before, frames)] * held[0][:, None, None, None]
    pair = pair + rotations[np.where(held[1] > 0, after, frames)] * held[1][:, None, None, None]
    means = np.broadcast_to(np.eye(3), (1, batch, count + 1, 3, 3)).copy()
    both = held.sum(axis=0)
    pair = pair + rotations * both[:, None, None, None]
    means[0, both > 0, 1:] = rotations_from_covariances(pair[both > 0], "kabsch")
    weights = np.zeros((1, batch, count + 1, 3, 3))
    weights[0, :, 1:] = (2.0 * weight / stride**2) * both[:, None, None, None] * np.eye(3)
    return Penalties(means, weights)


def smoothing_strides(rounds: int, frames: int) -> list[int]:
    """Strides of smoothing rounds: far neighbours first, so that gaps are bridged in few rounds, then the next ones."""
    powers = [2**power for power in range(1, 11) if 2 ** (power + 1) < frames]
    repeats = max((rounds // 2) // max(len(powers), 1), 1)
    coarse = np.repeat(powers[::-1], repeats)[: rounds // 2].tolist()
    return coarse + [1] * (rounds - len(coarse))
