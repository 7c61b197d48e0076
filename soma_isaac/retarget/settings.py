"""Every number that shapes a retargeted clip, with its default and the range in which it makes sense.

Plain dataclasses without numpy, so that a command can check them before anything heavy is loaded. They are not frozen:
OmegaConf takes a frozen dataclass for one that must not be set from the command line.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar

from soma_isaac.errors import InputRejected

Number = TypeVar("Number", int, float)
RANGE = "range"
"""Key of a field's smallest and largest value in its metadata."""


def _within(default: Number, smallest: float, largest: float) -> Number:
    """A field with a default and the range of its values, both ends included."""
    return field(default=default, metadata={RANGE: (smallest, largest)})  # type: ignore[return-value]


@dataclass
class ScaleConfig:
    """From the person's size to the robot's.

    Attributes:
        leg_fill: Share of the robot's straight leg that a straight human leg becomes; the rest is reserve for the
            knees. The paths of root and feet scale with it.
        stance: Share of the robot's wider hips that is added to the distance of the feet, along the pelvis' side: 0
            keeps the person's scaled steps, 1 the directions of the legs.
        ankle_turn: Largest turn [rad] of a person's foot against the shank that is believed; more is an error of the
            data.
    """

    leg_fill: float = _within(0.985, 0.1, 2.0)
    stance: float = _within(0.15, 0.0, 2.0)
    ankle_turn: float = _within(1.2, 0.0, math.pi)


@dataclass
class ContactConfig:
    """Thresholds of the contact detector: a phase must be below ``on`` once and lasts while it is below ``off``.

    Attributes:
        speed_on: Speed [m/s] of the joint.
        speed_off: Speed [m/s] of the joint.
        ball_on: Height [m] of the ball joint above where it is when the person stands, for the template body (1.767 m).
        ball_off: Height [m] of the same.
        heel_on: Height [m] of the ankle joint above where it is when the person stands, for the template body.
        heel_off: Height [m] of the same.
        gap: Interruptions shorter than this [s] are closed.
        shortest: Phases shorter than this [s] are dropped.
    """

    speed_on: float = _within(0.30, 0.0, 10.0)
    speed_off: float = _within(0.42, 0.0, 10.0)
    ball_on: float = _within(0.05, 0.0, 1.0)
    ball_off: float = _within(0.06, 0.0, 1.0)
    heel_on: float = _within(0.045, 0.0, 1.0)
    heel_off: float = _within(0.055, 0.0, 1.0)
    gap: float = _within(0.05, 0.0, 5.0)
    shortest: float = _within(0.05, 0.0, 5.0)


@dataclass
class FootPlanConfig:
    """Shape of the foot plan.

    Attributes:
        blend: Longest time [s] over which a correction fades out after, or grows before, a contact.
        slide: A contact in which the person's foot drifts further than this [m, robot scale] is not pinned but slides.
        pivot: A flat contact in which the person's foot turns further than this [rad] keeps turning.
        clearance: A swinging sole is lifted smoothly when lower than this [m].
        roll_over: Pitch [rad] at which all weight is on the front or rear edge of the sole.
    """

    blend: float = _within(0.2, 0.001, 10.0)
    slide: float = _within(0.12, 0.0, 10.0)
    pivot: float = _within(0.35, 0.0, math.pi)
    clearance: float = _within(0.004, 0.0001, 0.2)
    roll_over: float = _within(0.15, 0.01, 0.5 * math.pi)


@dataclass
class TaskWeights:
    """Weights of residuals: a residual of 1 / weight counts as much as one radian of a limb's direction.

    Attributes:
        hips: Place [1/m] of the middle of the hips.
        foot_planted: Position [1/m] of a planted foot.
        foot_swing: Position [1/m] of a swinging foot.
        sole_flat: Orientation [1/rad] of a flat foot.
        sole_swing: Orientation [1/rad] of any other foot.
        thigh: Direction [1/rad] of a thigh.
        shank: Direction [1/rad] of a shank.
        upper_arm: Direction [1/rad] of an upper arm.
        forearm: Direction [1/rad] of a forearm.
        trunk: Direction [1/rad] of the trunk.
        reach: Place [1/m] of elbows and wrists relative to the hips.
        pelvis: Orientation [1/rad] of the pelvis, all but the heading.
        heading: The part of it about the vertical [1/rad].
        torso: Orientation [1/rad] of the torso.
        hand: Orientation [1/rad] of a hand.
        bearable: Orientation error [rad] beyond which the cost grows linearly instead of with the square.
        ground: Depth [1/m] of knees, elbows and wrists too near the floor, and of corners of the soles below it.
        ground_radius: Distance [m] of the former that the floor should keep.
        sole_give: Depth [m] from which the latter are pushed up; planted soles are held at zero by their own terms.
        softness: Width [m] of the soft onset of contact terms.
        settle: Time [s] over which a foot's weights change between swinging and planted.
    """

    hips: float = _within(10.0, 0.0, 1e4)
    foot_planted: float = _within(300.0, 0.0, 1e4)
    foot_swing: float = _within(20.0, 0.01, 1e4)
    sole_flat: float = _within(30.0, 0.0, 1e4)
    sole_swing: float = _within(4.0, 0.01, 1e4)
    thigh: float = _within(1.5, 0.0, 1e4)
    shank: float = _within(1.5, 0.0, 1e4)
    upper_arm: float = _within(1.5, 0.0, 1e4)
    forearm: float = _within(1.5, 0.0, 1e4)
    trunk: float = _within(1.5, 0.0, 1e4)
    reach: float = _within(1.5, 0.0, 1e4)
    pelvis: float = _within(3.5, 0.0, 1e4)
    heading: float = _within(8.0, 0.0, 1e4)
    torso: float = _within(5.0, 0.0, 1e4)
    hand: float = _within(2.0, 0.0, 1e4)
    bearable: float = _within(0.5, 0.01, 10.0)
    ground: float = _within(60.0, 0.0, 1e4)
    ground_radius: float = _within(0.05, 0.0, 0.5)
    sole_give: float = _within(0.006, 0.0, 0.1)
    softness: float = _within(0.004, 0.0001, 0.1)
    settle: float = _within(0.08, 0.0, 5.0)


@dataclass
class AvoidanceConfig:
    """Self-collision barrier.

    Attributes:
        weight: Weight [1/m] of the excess.
        margin: Distance [m] that shapes should keep.
        softness: Width [m] of the soft onset.
        reach: Pairs further apart than this [m] when last looked at are not considered.
    """

    weight: float = _within(60.0, 0.0, 1e4)
    margin: float = _within(0.003, 0.0, 0.2)
    softness: float = _within(0.004, 0.0001, 0.1)
    reach: float = _within(0.08, 0.0, 1.0)


@dataclass
class SolverConfig:
    """The solver.

    Attributes:
        coarse_rate: Rate [Hz] of the first solve, on a subset of the frames.
        coarse_iterations: Most Gauss-Newton iterations there.
        free_iterations: How many of them ignore self-collision.
        fine_iterations: Gauss-Newton iterations at the full rate.
        cohesion: Weight [1/rad] on the joints' differences between coarse frames in the first coarse iteration. It
            keeps neighbours in one branch (a shoulder can be turned two ways) while all of them are still far away.
        cohesion_decay: Factor of that weight from one iteration to the next.
        tolerance: The coarse solve ends when no coordinate moves further [rad, m].
        window: Longer clips are solved in windows of about this many [frames], so that memory is bounded.
        overlap: How many [frames] neighbouring windows share.
        damping: Least addition to the diagonal of the normal equations.
        damping_onset: First addition around a frame whose cost has risen.
        posture: Weight [1/rad] that pulls joints to the posture of rest.
        limit_rounds: How often per iteration coordinates that would leave their limits are held there and the rest
            solved again.
        limit_margin: Distance [rad] kept from position limits.
        largest_step: Largest move [rad, m] per iteration and coordinate.
        speed_margin: Share of the robot's velocity limits that is used.
        largest_speed: No joint is faster than this [rad/s], whatever the robot allows.
        largest_acceleration: No joint accelerates more than this [rad/s^2]; corners of its path are rounded off.
        speed_onset: Share of the resulting largest speed at which braking begins.
        brake: Weight [1/rad] of a joint's step beyond that.
        root_jerk: Standard jerk [m/s^3] of the root that costs as much as one radian of a limb.
        root_turn_jerk: The same of its rotation [rad/s^3].
        leg_jerk: The same of leg joints [rad/s^3].
        waist_jerk: The same of waist joints [rad/s^3].
        arm_jerk: The same of arm joints [rad/s^3].
    """

    coarse_rate: float = _within(12.5, 0.1, 1000.0)
    coarse_iterations: int = _within(10, 0, 1000)
    free_iterations: int = _within(3, 0, 1000)
    fine_iterations: int = _within(2, 0, 1000)
    cohesion: float = _within(3.0, 0.0, 1e3)
    cohesion_decay: float = _within(0.4, 0.0, 1.0)
    tolerance: float = _within(3e-4, 0.0, 1.0)
    window: int = _within(1000, 10, 20000)
    overlap: int = _within(120, 1, 10000)
    damping: float = _within(1e-6, 0.0, 1e3)
    damping_onset: float = _within(0.3, 0.0, 1e3)
    posture: float = _within(0.02, 0.0, 1e3)
    limit_rounds: int = _within(2, 0, 100)
    limit_margin: float = _within(1e-3, 0.0, 0.1)
    largest_step: float = _within(0.4, 0.001, 10.0)
    speed_margin: float = _within(0.98, 0.01, 1.0)
    largest_speed: float = _within(19.5, 0.1, 1000.0)
    largest_acceleration: float = _within(1100.0, 50.0, 1e6)
    speed_onset: float = _within(0.8, 0.0, 1.0)
    brake: float = _within(30.0, 0.0, 1e4)
    root_jerk: float = _within(500.0, 10.0, 1e8)
    root_turn_jerk: float = _within(4000.0, 10.0, 1e8)
    leg_jerk: float = _within(48000.0, 10.0, 1e8)
    waist_jerk: float = _within(12000.0, 10.0, 1e8)
    arm_jerk: float = _within(36000.0, 10.0, 1e8)


@dataclass
class RetargetConfig:
    """Everything that shapes a retargeted clip.

    Attributes:
        scale: From the person's size to the robot's.
        contact: When the person's feet are on the floor.
        foot_plan: Where the robot's feet go.
        weights: What counts how much.
        avoidance: Keeping the robot's limbs out of its body.
        solver: Limits, smoothness and effort.
    """

    scale: ScaleConfig = field(default_factory=ScaleConfig)
    contact: ContactConfig = field(default_factory=ContactConfig)
    foot_plan: FootPlanConfig = field(default_factory=FootPlanConfig)
    weights: TaskWeights = field(default_factory=TaskWeights)
    avoidance: AvoidanceConfig = field(default_factory=AvoidanceConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)


ORDERED = (
    ("contact", "speed_on", "speed_off"),
    ("contact", "ball_on", "ball_off"),
    ("contact", "heel_on", "heel_off"),
    ("avoidance", "margin", "reach"),
    ("solver", "overlap", "window"),
)
"""Part and two of its settings, of which the first must not be above the second."""


def settings(config: RetargetConfig) -> Iterator[tuple[str, str, Any, tuple[float, float]]]:
    """Part, name, value, and smallest and largest value of every setting."""
    for part in fields(config):
        values = getattr(config, part.name)
        for item in fields(values):
            yield part.name, item.name, getattr(values, item.name), item.metadata[RANGE]


def check_settings(config: RetargetConfig) -> None:
    """Refuse values that no clip can be made with: out of range, not finite, or at odds with each other.

    Raises:
        InputRejected: Names the setting, the value and what would be accepted.
    """
    for part, name, value, (smallest, largest) in settings(config):
        if not smallest <= value <= largest:  # NaN is not, either
            raise InputRejected(f"{part}.{name}: {value!r} is outside {smallest:g} to {largest:g}")
    for part, lower, upper in ORDERED:
        least, most = (getattr(getattr(config, part), name) for name in (lower, upper))
        if least > most:
            raise InputRejected(f"{part}.{upper}: {most:g} must not be below {lower}, which is {least:g}")


def changed_settings(config: RetargetConfig) -> dict[str, dict[str, Any]]:
    """The values that are not the defaults, by part and name; JSON values, empty for the defaults."""
    usual = RetargetConfig()
    changed: dict[str, dict[str, Any]] = {}
    for part, name, value, _ in settings(config):
        if value != getattr(getattr(usual, part), name):
            changed.setdefault(part, {})[name] = value
    return changed


def config_with(changed: Mapping[str, Mapping[str, Any]]) -> RetargetConfig:
    """The settings of which `changed_settings` gave ``changed``."""
    config = RetargetConfig()
    for part, values in changed.items():
        for name, value in values.items():
            setattr(getattr(config, part), name, value)
    return config
