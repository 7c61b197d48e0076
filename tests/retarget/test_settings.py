"""What users may tune: each setting has an effect, a unit, a range that holds, and its line in the documentation."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import re

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.resample import resample
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.retarget.human import HumanKeypoints, human_keypoints
from soma_isaac.retarget.jacobian import Configuration
from soma_isaac.retarget.refine import soften
from soma_isaac.retarget.retargeter import retarget_keypoints
from soma_isaac.retarget.robot import load_robot
from soma_isaac.retarget.settings import (
    RetargetConfig,
    TaskWeights,
    changed_settings,
    check_settings,
    config_with,
    settings,
)
from soma_isaac.retarget.targets import build_targets
from soma_isaac.retarget.tasks import PoseTasks
from soma_isaac.rig.skeleton import data_path

ROBOT = load_robot()
DEFAULTS = {f"{part}.{name}": (value, bounds) for part, name, value, bounds in settings(RetargetConfig())}


def config(**values: float) -> RetargetConfig:
    """Settings by ``part__name``."""
    changed: dict[str, dict[str, float]] = {}
    for key, value in values.items():
        part, name = key.split("__")
        changed.setdefault(part, {})[name] = value
    return config_with(changed)


def part(human: HumanKeypoints, frames: slice, fps: float = 50.0) -> HumanKeypoints:
    return HumanKeypoints(fps, human.positions[frames], human.rotations[frames], human.stature)


@functools.cache
def person(name: str) -> HumanKeypoints:
    """A person that walks, runs five times as fast, or a fifth as fast, lies on the floor, or turns in place."""
    clip = "turn_in_place" if name == "turn" else "walk"
    whole = human_keypoints(resample(load_motion(data_path(f"demo_clips/{clip}.npz")), 50.0))
    if name == "fast":
        return part(whole, slice(0, 300, 5))
    if name == "slow":
        return part(whole, slice(0, 80), fps=10.0)
    if name == "lying":
        down = matrix_from_rotvec(np.array([0.0, 1.5, 0.0]))
        turned = HumanKeypoints(50.0, whole.positions @ down.T, down @ whole.rotations, whole.stature)
        return part(turned, slice(0, 40))
    return part(whole, slice(20, 100) if name == "turn" else slice(0, 100))


@functools.cache
def usual(name: str) -> RobotMotion:
    return retarget_keypoints(person(name), ROBOT, RetargetConfig())


def differs(name: str, other: RobotMotion) -> bool:
    motion = usual(name)
    moved = max(np.abs(other.joint_pos - motion.joint_pos).max(), np.abs(other.root_pos - motion.root_pos).max())
    return bool(moved > 1e-6)


OTHER_VALUES: dict[str, float] = {
    "scale.ankle_turn": 0.05,
    "contact.speed_on": 0.0,
    "contact.speed_off": 2.0,
    "contact.ball_off": 0.3,
    "contact.heel_on": 0.0,
    "contact.heel_off": 0.3,
    "contact.gap": 0.5,
    "contact.shortest": 0.5,
    "foot_plan.slide": 0.0,
    "foot_plan.pivot": 0.01,
    "avoidance.reach": 0.003,
    "solver.tolerance": 0.1,
    "solver.damping": 1.0,
    "solver.posture": 2.0,
}
"""Values with which a setting shows; a quarter of the default for all others."""


@pytest.mark.parametrize("key", DEFAULTS)
def test_every_setting_has_an_effect(key: str):
    value, (smallest, largest) = DEFAULTS[key]
    other = OTHER_VALUES[key] if key in OTHER_VALUES else type(value)(max(0.25 * value, smallest))
    assert smallest <= other <= largest
    changed = {key.replace(".", "__"): other}
    if key in ("solver.window", "solver.overlap"):  # windows show where a clip is longer than one
        changed = {"solver__window": 40, "solver__overlap": 8 if key == "solver.window" else 30}
    chosen = config(**changed)
    clips = ("walk", "fast", "lying", "turn", "slow")
    assert any(differs(name, retarget_keypoints(person(name), ROBOT, chosen)) for name in clips)


WEIGHTS = [name for name in vars(TaskWeights()) if name not in (
    "bearable", "ground_radius", "sole_give", "softness", "settle")]  # fmt: skip
LEAST = {"foot_planted": 0.01, "foot_swing": 0.01, "sole_flat": 0.01, "sole_swing": 0.01}


def own_residual(name: str, motion: RobotMotion) -> float:
    """Root of the summed squares of one term's residuals, the others weighted by nothing."""
    base = RetargetConfig()
    targets = build_targets(person("walk"), ROBOT, base.scale, base.contact, base.foot_plan)
    configuration = Configuration(motion.root_pos, motion.root_quat_wxyz, motion.joint_pos)

    def squares(weights: dict[str, float]) -> float:
        tasks = PoseTasks(ROBOT, targets, TaskWeights(**{**dict.fromkeys(WEIGHTS, 0.0), **LEAST, **weights}), 50.0)
        return float((tasks.residual(configuration) ** 2).sum())

    return np.sqrt(squares({name: 1.0}) - squares({}))


@pytest.mark.parametrize("name", WEIGHTS)
def test_a_raised_weight_lowers_what_it_weighs(name: str):
    weight = getattr(TaskWeights(), name)
    raised = retarget_keypoints(person("walk"), ROBOT, config(**{f"weights__{name}": 4.0 * weight}))
    lowered = retarget_keypoints(person("walk"), ROBOT, config(**{f"weights__{name}": 0.25 * weight}))
    assert own_residual(name, raised) < own_residual(name, usual("walk")) < own_residual(name, lowered)


@pytest.mark.parametrize(
    "group,links",
    [("leg", ("hip", "knee", "ankle")), ("waist", ("waist",)), ("arm", ("shoulder", "elbow", "wrist"))],
)
def test_a_lowered_jerk_makes_the_joints_smoother(group: str, links: tuple[str, ...]):
    index = [i for i, joint in enumerate(ROBOT.joint_names) if any(link in joint for link in links)]
    default = DEFAULTS[f"solver.{group}_jerk"][0]
    calm = retarget_keypoints(person("walk"), ROBOT, config(**{f"solver__{group}_jerk": 0.25 * default}))

    def jerk(motion: RobotMotion) -> float:
        return float(np.abs(np.diff(motion.joint_pos[:, index], n=3, axis=0)).mean())

    assert jerk(calm) < 0.75 * jerk(usual("walk"))


def test_limits_are_where_the_settings_say():
    chosen = config(
        solver__limit_margin=0.1, solver__largest_speed=3.0, solver__largest_acceleration=100.0, solver__brake=0.0
    )
    for name in ("fast", "lying"):
        motion = retarget_keypoints(person(name), ROBOT, chosen)
        inside = np.minimum(motion.joint_pos - ROBOT.lower, ROBOT.upper - motion.joint_pos)
        assert inside.min() >= 0.1 - 1e-9
        assert np.abs(np.diff(motion.joint_pos, axis=0)).max() * 50.0 <= 3.0 * (1 + 1e-9)
        assert np.abs(np.diff(motion.joint_pos, n=2, axis=0)).max() * 50.0**2 <= 100.0 * (1 + 1e-9)


def test_a_joint_that_may_hardly_move_keeps_its_limits():
    """Its range is narrower than the two margins."""
    locked = ROBOT.joint_index("waist_yaw_joint")
    upper, lower = ROBOT.upper.copy(), ROBOT.lower.copy()
    lower[locked], upper[locked] = 0.1, 0.1005
    robot = dataclasses.replace(ROBOT, lower=lower, upper=upper)
    motion = retarget_keypoints(part(person("walk"), slice(0, 20)), robot, RetargetConfig())
    assert (motion.joint_pos[:, locked] >= 0.1).all() and (motion.joint_pos[:, locked] <= 0.1005).all()
    assert motion.joint_pos[:, locked] == pytest.approx(0.10025)


def test_corners_are_rounded_at_high_rates_too():
    """The averages that this takes grow with the square of the rate."""
    rng = np.random.default_rng(0)
    path = np.repeat(np.cumsum(rng.uniform(-0.3, 0.3, (12, 2)), axis=0), 40, axis=0)
    largest = RetargetConfig().solver.largest_acceleration / 1000.0**2
    assert np.abs(np.diff(soften(path, largest), n=2, axis=0)).max() <= largest
    assert np.abs(np.diff(soften(path, largest, rounds=100), n=2, axis=0)).max() > largest


def test_scale_of_the_paths():
    half = retarget_keypoints(person("walk"), ROBOT, config(scale__leg_fill=0.5 * 0.985, weights__hips=1000.0))
    walked = [np.linalg.norm((motion.root_pos[-1] - motion.root_pos[0])[:2]) for motion in (half, usual("walk"))]
    assert walked[0] == pytest.approx(0.5 * walked[1], rel=0.05)


@pytest.mark.parametrize("seed", range(8))
def test_limits_hold_with_any_settings(seed: int):
    """All settings at an end of their range, or anywhere in it, at once."""
    rng = np.random.default_rng(seed)
    chosen = RetargetConfig()
    for name, field, value, (smallest, largest) in settings(chosen):
        some = rng.choice([smallest, largest, rng.uniform(smallest, largest)])
        setattr(getattr(chosen, name), field, type(value)(min(some, 10) if field.endswith("iterations") else some))
    chosen.contact = RetargetConfig().contact
    chosen.avoidance.reach, chosen.solver.overlap = 1.0, 10
    human = person("fast") if seed % 2 else person("lying")
    motion = retarget_keypoints(part(human, slice(0, 30)), ROBOT, chosen)
    assert np.isfinite(motion.root_pos).all() and np.isfinite(motion.root_quat_wxyz).all()
    assert (motion.joint_pos >= ROBOT.lower).all() and (motion.joint_pos <= ROBOT.upper).all()
    assert (np.abs(np.diff(motion.joint_pos, axis=0)) * 50.0 <= ROBOT.velocity_limit * (1 + 1e-9)).all()


def test_windows_smaller_than_two_coarse_frames():
    """At 500 Hz a coarse frame stands for 40; a window of 20 frames has none of its own."""
    human = part(person("walk"), slice(0, 100), fps=500.0)
    motion = retarget_keypoints(human, ROBOT, config(solver__window=20, solver__overlap=10))
    assert motion.frame_count == 100 and np.isfinite(motion.joint_pos).all()


@pytest.mark.parametrize("key", DEFAULTS)
def test_values_out_of_range_are_refused_before_any_work(key: str):
    value, (smallest, largest) = DEFAULTS[key]
    for given in (smallest - 1, largest + 1, float("nan"), float("inf"), -float("inf")):
        with pytest.raises(InputRejected, match=re.escape(f"{key}: ") + r"\S+ is outside \S+ to \S+$"):
            check_settings(config(**{key.replace(".", "__"): given}))
    check_settings(config(**{key.replace(".", "__"): value}))


@pytest.mark.parametrize(
    "changed,words",
    [
        ({"contact__speed_on": 0.5}, "contact.speed_off: 0.42 must not be below speed_on, which is 0.5"),
        ({"contact__ball_off": 0.01}, "contact.ball_off: 0.01 must not be below ball_on"),
        ({"contact__heel_off": 0.01}, "contact.heel_off: 0.01 must not be below heel_on"),
        ({"avoidance__margin": 0.1}, "avoidance.reach: 0.08 must not be below margin"),
        ({"solver__window": 100}, "solver.window: 100 must not be below overlap"),
    ],
)
def test_settings_at_odds(changed: dict[str, float], words: str):
    with pytest.raises(InputRejected, match=re.escape(words)):
        retarget_keypoints(person("walk"), ROBOT, config(**changed))


def test_changes_survive_the_way_to_a_worker():
    assert changed_settings(RetargetConfig()) == {}
    chosen = config(weights__hand=0.1 + 0.2, solver__window=400, contact__gap=0.0)
    changed = json.loads(json.dumps(changed_settings(chosen)))
    assert changed == {"contact": {"gap": 0.0}, "weights": {"hand": 0.1 + 0.2}, "solver": {"window": 400}}
    assert config_with(changed) == chosen != RetargetConfig()


def documented() -> dict[str, tuple[str, float, float, float]]:
    """Unit, default, smallest and largest value by key, as docs/g1_refs.md has them."""
    text = (data_path("").parent / "docs" / "g1_refs.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| `(\w+\.\w+)` \| ([^|]+) \| (\S+) \| (\S+) to (\S+) \| [^|]{10,} \|$", re.MULTILINE)
    found = row.findall(text.split("| key under `retarget` |")[1].split("\n\n")[0])
    return {key: (unit, float(value), float(low), float(high)) for key, unit, value, low, high in found}


def units() -> dict[str, str]:
    """The first bracket of each attribute's text in the docstrings; ``-`` where there is none."""
    found = {}
    for name, values in vars(RetargetConfig()).items():
        text = inspect.cleandoc(type(values).__doc__ or "").split("Attributes:\n")[1]
        for attribute, meaning in re.findall(r"^    (\w+): (.*(?:\n        .*)*)", text, re.MULTILINE):
            unit = re.search(r"\[([^]]+)\]", meaning)
            found[f"{name}.{attribute}"] = "-" if unit is None else unit[1].removesuffix(", robot scale")
    return found


def test_documentation_is_that_of_the_settings():
    assert list(units()) == list(DEFAULTS)
    table = documented()
    assert list(table) == list(DEFAULTS)
    for key, (value, bounds) in DEFAULTS.items():
        unit, default, *documented_bounds = table[key]
        assert (unit, default) == (units()[key], value), key
        assert documented_bounds == pytest.approx(bounds, rel=1e-5), key
