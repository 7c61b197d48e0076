"""What a retargeted clip should reach: each at or beyond the best of GMR, soma-retargeter and our prototype."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Threshold:
    """A figure of :class:`~soma_isaac.retarget.metrics.ClipMetrics` and the largest value it should have.

    Attributes:
        metric: Name of the figure.
        label: For people.
        limit: Largest good value, in the figure's own unit.
        unit: Unit in which it is shown; empty for counts.
        factor: From the figure's own unit to the shown one.
        over: ``mean`` over clips, or ``max`` (``total`` for counts) where one bad clip is one too many.
        feet: The figure means nothing for a person whose feet do not carry (sitting).
    """

    metric: str
    label: str
    limit: float
    unit: str = ""
    factor: float = 1.0
    over: str = "mean"
    feet: bool = False


THRESHOLDS = (
    Threshold("jl_frac", "Joint limit violations", 0.0, "%", 100.0, "max"),
    Threshold("vl_frac", "Velocity limit violations", 0.0, "%", 100.0, "max"),
    Threshold("jumps", "Joint jumps", 0.0, "", 1.0, "total"),
    Threshold("step_max", "Largest joint step", 0.4, "rad", 1.0, "max"),
    Threshold("skate_H", "Foot slide in contact", 0.016, "cm/s", 100.0, feet=True),
    Threshold("pen_frac", "Frames with a foot in the ground", 0.001, "%", 100.0, feet=True),
    Threshold("float_frac", "Contacts floating", 0.002, "%", 100.0, feet=True),
    Threshold("tilt_deg", "Sole tilt when flat", 0.1, "deg", 1.0, feet=True),
    Threshold("sc_frac", "Frames in self-collision", 0.01, "%", 100.0),
    Threshold("kp2_mean", "Keypoint error", 0.042, "cm", 100.0),
    Threshold("dir_mean", "Limb direction error", 3.7, "deg"),
    Threshold("ori_mean", "Orientation error", 2.6, "deg"),
    Threshold("head_deg", "Heading error", 0.3, "deg"),
)


def reached(threshold: Threshold, metrics: Sequence[Mapping[str, float | None]]) -> float | None:
    """The value of a threshold's figure over clips (``ClipMetrics.as_dict``); ``None`` where no clip has it."""
    values = [value for value in (clip.get(threshold.metric) for clip in metrics) if value is not None]
    if not values:
        return None
    reduce = {"mean": np.mean, "max": np.max, "total": np.sum}[threshold.over]
    return float(reduce(values))


def met(threshold: Threshold, value: float | None) -> bool | None:
    """Whether a value is good; ``None`` if there is none."""
    return None if value is None else value <= threshold.limit
