"""Whether a robot could make a clip as it stands, in a few figures: hints for training, no targets.

None of them is a gate: a policy may leave its reference, and need not reproduce its forces. But of two clips the one
with smaller figures asks less of the policy, and a clip far off (a person who sits on a chair that is not there, a jump
that hovers) is worth a look before days of training.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from soma_isaac.retarget.dynamics import ClipDynamics

PERCENTILE = 95.0


@dataclass(frozen=True)
class ClipFeasibility:
    """Figures of one clip; NaN where it has no frame to judge (never in flight, never on the ground).

    Attributes:
        flight_frac: Share of frames in which no foot is on the ground.
        zmp_out_frac: Share of grounded frames whose zero moment point is outside the support polygon, or that need so
            little load, or a pull, that there is none.
        zmp_out_p95: 95th percentile over grounded frames of its distance from the polygon, 0 inside [m].
        zmp_out_max: Largest such distance [m].
        load_max: Largest vertical force over the weight, grounded frames.
        friction_p95: 95th percentile of horizontal over vertical force, grounded frames with a zero moment point.
        flight_residual: Mean force over the weight in flight, where a thrown body needs none; 1 is hovering.
        torque_use_p95: 95th percentile over frames of ``|torque| / effort limit``, of the joint where it is largest.
        torque_use_max: Largest ``|torque| / effort limit`` of any joint and frame.
        torque_joint: The joint of ``torque_use_p95``.
    """

    flight_frac: float
    zmp_out_frac: float
    zmp_out_p95: float
    zmp_out_max: float
    load_max: float
    friction_p95: float
    flight_residual: float
    torque_use_p95: float
    torque_use_max: float
    torque_joint: str

    def as_dict(self) -> dict[str, float | str | None]:
        """All figures by name; ``None`` for NaN, so that it is valid JSON."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: None if isinstance(value, float) and np.isnan(value) else value for name, value in values}


@dataclass(frozen=True)
class Hint:
    """How a figure of :class:`ClipFeasibility` is shown.

    Attributes:
        figure: Its name.
        label: For people.
        unit: Unit in which it is shown; empty for ratios.
        factor: From the figure's own unit to the shown one.
    """

    figure: str
    label: str
    unit: str = ""
    factor: float = 1.0


HINTS = (
    Hint("zmp_out_frac", "Zero moment point off the feet", "% of frames", 100.0),
    Hint("zmp_out_p95", "Its distance, 95th percentile", "cm", 100.0),
    Hint("zmp_out_max", "Its distance, largest", "cm", 100.0),
    Hint("friction_p95", "Friction needed, 95th percentile"),
    Hint("load_max", "Load on the ground, largest", "x weight"),
    Hint("torque_use_p95", "Torque, 95th percentile", "% of limit", 100.0),
    Hint("torque_use_max", "Torque, largest", "% of limit", 100.0),
    Hint("flight_frac", "No foot on the ground", "% of frames", 100.0),
    Hint("flight_residual", "Force needed in flight", "x weight"),
)


def feasibility(dynamics: ClipDynamics) -> ClipFeasibility:
    """Reduce the dynamics of a clip to its figures."""
    grounded, up = dynamics.grounded, dynamics.force[:, 2]
    outside = dynamics.outside[grounded]
    has_point = np.isfinite(outside)
    distance = np.maximum(outside[has_point], 0.0)
    pressed = grounded & np.isfinite(dynamics.zmp[:, 0])
    friction = np.hypot(*dynamics.force[pressed, :2].T) / up[pressed]
    flight = np.linalg.norm(dynamics.force[~grounded], axis=1) / dynamics.weight
    often = torque_use_often(dynamics)
    return ClipFeasibility(
        flight_frac=float(np.mean(~grounded)),
        zmp_out_frac=_reduced(np.mean, ~has_point | (outside > 0.0)),
        zmp_out_p95=_percentile(distance),
        zmp_out_max=_reduced(np.max, distance),
        load_max=_reduced(np.max, up[grounded] / dynamics.weight),
        friction_p95=_percentile(friction),
        flight_residual=_reduced(np.mean, flight),
        torque_use_p95=float(often.max()),
        torque_use_max=float(dynamics.torque_use.max()),
        torque_joint=dynamics.joint_names[int(often.argmax())],
    )


def torque_use_often(dynamics: ClipDynamics) -> np.ndarray:
    """95th percentile over frames of the torque use of each joint, [N]."""
    return np.percentile(dynamics.torque_use, PERCENTILE, axis=0)


def over_clips(hint: Hint, clips: Sequence[tuple[str, Mapping[str, float | None]]]) -> tuple[float, float, str] | None:
    """Mean, worst value and the clip that has it; ``None`` where no clip has the figure.

    Args:
        hint: The figure.
        clips: (name, :meth:`ClipFeasibility.as_dict`).
    """
    found = ((name, clip.get(hint.figure)) for name, clip in clips)
    values = [(value, name) for name, value in found if value is not None]
    if not values:
        return None
    worst, name = max(values, key=lambda item: item[0])
    return float(np.mean([value for value, _ in values])), worst, name


def _reduced(reduce: Callable[[np.ndarray], np.floating], values: np.ndarray) -> float:
    return float(reduce(values)) if values.size else float("nan")


def _percentile(values: np.ndarray) -> float:
    return float(np.percentile(values, PERCENTILE)) if values.size else float("nan")
