"""Inverse dynamics of clips: statics, free fall, Newton's law for the whole body, mirrors, the figures."""

from __future__ import annotations

import dataclasses
import functools
import sys

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

from soma_isaac.errors import MissingDependency, RigMismatch
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.retarget.clip import reference_clip
from soma_isaac.retarget.dynamics import (
    CUTOFF,
    GRAVITY,
    TOUCH,
    ClipDynamics,
    dynamics,
    inverse_dynamics,
    robot_states,
)
from soma_isaac.retarget.feasibility import HINTS, feasibility, over_clips
from soma_isaac.retarget.pinocchio_model import require_pinocchio
from soma_isaac.retarget.retargeter import retarget_motion
from soma_isaac.retarget.robot import RobotModel, load_robot
from soma_isaac.retarget.support import distance_outside, foot_soles, share_load
from soma_isaac.rig.skeleton import data_path

pin = pytest.importorskip("pinocchio", reason="pinocchio is not installed")

ROBOT = load_robot()
MODEL = ROBOT.pinocchio
MASS = float(ROBOT.body_mass.sum())
WEIGHT = MASS * GRAVITY
CROUCH = {"hip_pitch": -0.4, "knee": 0.8, "ankle_pitch": -0.4}


def joints(**angles: float) -> np.ndarray:
    """Joint positions [N]: a crouch with flat feet, and what is named on top."""
    out = np.zeros(len(ROBOT.joint_names))
    for part, value in CROUCH.items():
        for side in ("left", "right"):
            out[ROBOT.joint_index(f"{side}_{part}_joint")] = value
    for name, value in angles.items():
        out[ROBOT.joint_index(f"{name}_joint")] = value
    return out


def motion(
    root_pos: np.ndarray, joint_pos: np.ndarray, *, fps: float = 50.0, rotvec: np.ndarray | None = None, planted=True
) -> RobotMotion:
    frames = len(root_pos)
    quats = Rotation.from_rotvec(np.zeros((frames, 3)) if rotvec is None else rotvec).as_quat()[:, [3, 0, 1, 2]]
    flags = np.broadcast_to(np.asarray(planted, dtype=bool), (frames, 2))
    return RobotMotion(fps, ROBOT.joint_names, root_pos, quats, np.broadcast_to(joint_pos, (frames, 29)), flags)


def standing(frames: int = 20, turn: float = 0.0, at=(0.0, 0.0), **angles: float) -> RobotMotion:
    """A robot that stands still with its soles on z = 0, turned about the vertical."""
    posture = joints(**angles)
    rotvec = np.tile([0.0, 0.0, turn], (frames, 1))
    start = motion(np.zeros((1, 3)), posture, rotvec=rotvec[:1])
    pos, rot = ROBOT.body_poses(start.root_pos, start.root_quat_wxyz, start.joint_pos)
    height = -ROBOT.sole_corners(pos, rot)[..., 2].min()
    return motion(np.tile([*at, height], (frames, 1)), posture, rotvec=rotvec)


def q_of(clip: ReferenceClip, frame: int) -> np.ndarray:
    return np.r_[clip.body_pos_w[frame, 0], clip.body_quat_wxyz[frame, 0][[1, 2, 3, 0]], clip.joint_pos[frame]]


def com(q: np.ndarray) -> np.ndarray:
    return np.array(pin.centerOfMass(MODEL, MODEL.createData(), q))


def waving(fps: float, seconds: float = 2.0) -> RobotMotion:
    """A smooth motion of everything: the root turns and travels, every joint swings, nothing below 0.4 s per swing."""
    time = np.arange(int(seconds * fps) + 1) / fps
    phases = np.linspace(0.0, 5.0, 29)
    angles = 0.3 * np.sin(2.0 * np.pi * 0.8 * time[:, None] + phases)
    root = np.stack([0.3 * np.sin(3.0 * time), 0.2 * np.cos(2.0 * time), 0.75 + 0.05 * np.sin(5.0 * time)], axis=1)
    rotvec = np.stack([0.2 * np.sin(2.0 * time), 0.3 * np.cos(3.0 * time), 1.5 * time], axis=1)
    return motion(root, joints() + angles, fps=fps, rotvec=rotvec)


@functools.cache
def solved(name: str) -> RobotMotion:
    return retarget_motion(load_motion(data_path(f"demo_clips/{name}.npz")), ROBOT)


@pytest.mark.parametrize("turn", [0.0, 2.0])
def test_who_stands_still_presses_with_the_weight_under_the_centre_of_mass(turn: float):
    still = standing(turn=turn, at=(0.7, -0.4), left_shoulder_roll=0.8)
    found = dynamics(still, ROBOT)
    centre = com(q_of(reference_clip(still, ROBOT), 0))
    assert found.weight == pytest.approx(WEIGHT) and pytest.approx(33.341, abs=1e-3) == MASS
    np.testing.assert_allclose(found.force, np.tile([0.0, 0.0, WEIGHT], (20, 1)), atol=1e-9)
    np.testing.assert_allclose(found.zmp, np.tile(centre[:2], (20, 1)), atol=1e-12)
    assert found.grounded.all() and (found.outside < 0.0).all()
    figures = feasibility(found)
    assert figures.zmp_out_frac == 0.0 and figures.zmp_out_max == 0.0
    assert figures.load_max == pytest.approx(1.0) and figures.friction_p95 == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(figures.flight_residual) and figures.as_dict()["flight_residual"] is None


@pytest.mark.parametrize("frame", [40, 90, 200])
def test_torques_are_those_of_pinocchio_with_the_feet_pushed(frame: int):
    """`tau = rnea(q, v, a) - J^T f` with Pinocchio's own Jacobian at the centres of pressure."""
    clip = reference_clip(solved("walk"), ROBOT)
    found, states = dynamics(clip, ROBOT), robot_states(clip, ROBOT)
    data = MODEL.createData()
    expected = np.array(pin.rnea(MODEL, data, states.q[frame], states.v[frame], states.a[frame]))
    pin.computeJointJacobians(MODEL, data, states.q[frame])
    loads, _ = loads_of(clip, found)
    for foot, body in enumerate(ROBOT.foot_bodies):
        jacobian = pin.getJointJacobian(MODEL, data, body + 1, pin.LOCAL_WORLD_ALIGNED)
        arm = loads.centres[frame, foot] - data.oMi[body + 1].translation
        moment = np.cross(arm, loads.forces[frame, foot]) + [0.0, 0.0, loads.twists[frame, foot]]
        expected -= jacobian.T @ np.r_[loads.forces[frame, foot], moment]
    np.testing.assert_allclose(found.joint_torque[frame], expected[6:], atol=1e-9)
    np.testing.assert_allclose(expected[:3], 0.0, atol=1e-9)  # all force goes through the feet
    assert np.abs(found.joint_torque[frame, :12]).max() > 5.0


def loads_of(clip: ReferenceClip, found: ClipDynamics):
    feet = list(ROBOT.foot_bodies)
    rotation = Rotation.from_quat(clip.body_quat_wxyz[:, feet][..., [1, 2, 3, 0]].reshape(-1, 4)).as_matrix()
    rotation = rotation.reshape(-1, 2, 3, 3)
    soles = foot_soles(clip.body_pos_w[:, feet], rotation, ROBOT.sole_points, clip.foot_contacts, TOUCH)
    return share_load(soles, found.zmp, found.force, found.moment), soles


def test_feet_of_who_stands_well_carry_everything():
    """Inside the support force and moment of the feet are the ground's, so that nothing is left for the root."""
    clip = reference_clip(standing(left_shoulder_roll=0.8, waist_yaw=0.3), ROBOT)
    found = dynamics(clip, ROBOT)
    loads, _ = loads_of(clip, found)
    np.testing.assert_allclose(loads.forces.sum(axis=1), found.force, atol=1e-9)
    moment = np.cross(loads.centres, loads.forces).sum(axis=1)
    moment[:, 2] += loads.twists.sum(axis=1)
    np.testing.assert_allclose(moment, found.moment, atol=1e-9)
    assert (loads.forces[..., 2] > 0.4 * WEIGHT).all()  # shared, near the middle


@pytest.mark.parametrize("name", ["walk", "sidestep"])
def test_no_foot_pulls_and_centres_of_pressure_stay_in_the_soles(name: str):
    clip = reference_clip(solved(name), ROBOT)
    found = dynamics(clip, ROBOT)
    loads, soles = loads_of(clip, found)
    assert (loads.forces[..., 2] >= 0.0).all()
    np.testing.assert_allclose(loads.forces.sum(axis=1)[soles.grounded], found.force[soles.grounded], atol=1e-9)
    for foot in range(2):
        down = soles.down[:, foot]
        apart = distance_outside(
            loads.centres[down, foot, :2], soles.corners[down, foot, :, :2], soles.carries[down, foot]
        )
        assert apart.max() < 1e-3  # boxes around two corners of a foot that is not quite level
        assert not loads.forces[~down, foot].any()


def test_who_falls_free_needs_nothing():
    """A limp robot thrown up, tumbling, simulated with Pinocchio's forward dynamics: no force, no torque."""

    def residuals(fps: float) -> tuple[float, float]:
        steps = int(2000 / fps)
        q = pin.neutral(MODEL)
        q[:7], q[7:] = [0, 0, 2.0, 0, 0, 0, 1], joints()
        v = np.r_[0.5, 0.2, 2.0, 1.0, 2.0, 0.5, 0.4 * np.sin(np.arange(29.0))]
        data, states = MODEL.createData(), []
        for step in range(1201):
            if step % steps == 0:
                states.append(q)
            middle = v + 0.5 / 2000.0 * pin.aba(MODEL, data, q, v, np.zeros(35))
            half = pin.integrate(MODEL, q, 0.5 / 2000.0 * v)
            v = v + pin.aba(MODEL, data, half, middle, np.zeros(35)) / 2000.0
            q = pin.integrate(MODEL, q, middle / 2000.0)
        states = np.array(states)
        quats = states[:, [6, 3, 4, 5]]
        fall = RobotMotion(fps, ROBOT.joint_names, states[:, :3], quats, states[:, 7:], np.zeros((len(quats), 2), bool))
        clip = reference_clip(fall, ROBOT)
        generalised = inverse_dynamics(robot_states(clip, ROBOT, cutoff=None), ROBOT)[2:-2]
        return np.linalg.norm(generalised[:, :3], axis=1).max() / WEIGHT, np.abs(generalised[:, 6:]).max()

    (force, torque), (force2, _) = residuals(100.0), residuals(200.0)
    assert force < 0.01 and torque < 0.5
    assert force / force2 == pytest.approx(4.0, rel=0.15)  # what is left is the differences', second order


def test_flight_residual_tells_a_throw_from_a_hover():
    time = np.arange(40)[:, None] / 50.0
    thrown = np.concatenate([0.5 * time, 0.0 * time, 1.5 + 3.0 * time - 0.5 * GRAVITY * time**2], axis=1)
    figures = feasibility(dynamics(motion(thrown, joints(), planted=False), ROBOT))
    assert figures.flight_frac == 1.0 and figures.flight_residual < 1e-9
    # Hanging in the air, with no acceleration at all, takes the whole weight.
    hover = np.tile([0.0, 0.0, 1.5], (40, 1))
    assert feasibility(dynamics(motion(hover, joints(), planted=False), ROBOT)).flight_residual == pytest.approx(1.0)
    assert figures.as_dict()["zmp_out_frac"] is None and figures.as_dict()["load_max"] is None


def test_force_is_mass_times_the_acceleration_of_the_centre_of_mass():
    """Newton and Euler for the whole body, from Pinocchio's centre of mass and angular momentum; second order in dt."""

    def errors(fps: float) -> tuple[float, float]:
        clip = reference_clip(waving(fps), ROBOT)
        states = robot_states(clip, ROBOT, cutoff=None)
        found = inverse_dynamics(states, ROBOT)
        force = np.einsum("tij,tj->ti", states.root_rot, found[:, :3])
        moment = np.einsum("tij,tj->ti", states.root_rot, found[:, 3:6])
        centres = np.array([com(q) for q in states.q])
        data = MODEL.createData()
        spin = np.array(
            [
                np.array(pin.computeCentroidalMomentum(MODEL, data, q, v).angular)
                for q, v in zip(states.q, states.v, strict=True)
            ]
        )
        newton = MASS * (np.diff(centres, n=2, axis=0) * fps**2 + [0.0, 0.0, GRAVITY])
        euler = (spin[2:] - spin[:-2]) * 0.5 * fps
        about_com = moment + np.cross(states.q[:, :3] - centres, force)
        inner = slice(2, -2)
        linear = np.abs(force[1:-1] - newton)[inner].max() / WEIGHT
        return linear, np.abs(about_com[1:-1] - euler)[inner].max()

    (linear, angular), (linear2, angular2) = errors(50.0), errors(100.0)
    assert linear < 0.01 and angular < 2.0
    assert linear / linear2 == pytest.approx(4.0, rel=0.1) and angular / angular2 == pytest.approx(4.0, rel=0.15)


def test_velocities_are_the_clips_and_accelerations_belong_to_them():
    clip = reference_clip(waving(50.0), ROBOT)
    states = robot_states(clip, ROBOT, cutoff=None)
    np.testing.assert_array_equal(states.v[:, 6:], clip.joint_vel)
    world = np.einsum("tij,tkj->tki", states.root_rot, states.v[:, :6].reshape(-1, 2, 3))
    np.testing.assert_allclose(world[:, 0], clip.body_lin_vel_w[:, 0], atol=1e-12)
    np.testing.assert_allclose(world[:, 1], clip.body_ang_vel_w[:, 0], atol=1e-12)
    central = (clip.joint_vel[2:] - clip.joint_vel[:-2]) * 0.5 * clip.fps
    mean = 0.25 * (states.a[2:, 6:] + 2.0 * states.a[1:-1, 6:] + states.a[:-2, 6:])
    np.testing.assert_allclose(mean[1:-1], central[1:-1], atol=1e-9)
    # For the root the same in Pinocchio's terms: its classical acceleration is that of the root's origin.
    data, frame = MODEL.createData(), 33
    pin.forwardKinematics(MODEL, data, states.q[frame], states.v[frame], states.a[frame])
    classical = pin.getClassicalAcceleration(MODEL, data, 1, pin.LOCAL_WORLD_ALIGNED)
    second = np.diff(clip.body_pos_w[:, 0], n=2, axis=0)[frame - 1] * clip.fps**2
    np.testing.assert_allclose(classical.linear, second, atol=1e-9)


def test_smoothing_cuts_to_its_gain_and_leaves_constant_acceleration():
    time = np.arange(400) / 200.0
    hum = joints()[None] + 1e-3 * np.sin(2.0 * np.pi * CUTOFF * time)[:, None]
    clip = reference_clip(motion(np.tile([0, 0, 1.0], (400, 1)), hum, fps=200.0), ROBOT)
    plain, smooth = (robot_states(clip, ROBOT, cutoff=cutoff).a[100:300, 6] for cutoff in (None, CUTOFF))
    assert np.ptp(smooth) / np.ptp(plain) == pytest.approx(np.sqrt(0.5), rel=0.01)
    pushed = joints()[None] + 0.1 * time[:, None] ** 2
    clip = reference_clip(motion(np.tile([0, 0, 1.0], (400, 1)), pushed, fps=200.0), ROBOT)
    np.testing.assert_allclose(robot_states(clip, ROBOT).a[:, 6:], 0.2, atol=1e-8)


def mirrored_robot() -> RobotModel:
    """The robot in a mirror at y = 0: not quite itself, as its inertias are not symmetric."""
    flip = np.diag([1.0, -1.0, 1.0])
    swap = [ROBOT.body_index(other_side(name)) for name in ROBOT.body_names]
    return dataclasses.replace(
        ROBOT,
        body_translations=ROBOT.body_translations[swap] @ flip,
        body_rotations=flip @ ROBOT.body_rotations[swap] @ flip,
        effort_limit=ROBOT.effort_limit[[body - 1 for body in swap[1:]]],
        body_mass=ROBOT.body_mass[swap],
        body_com_b=ROBOT.body_com_b[swap] @ flip,
        body_inertia_b=flip @ ROBOT.body_inertia_b[swap] @ flip,
        sole_points=(ROBOT.sole_points @ flip)[::-1],
    )


def other_side(name: str) -> str:
    for side, other in (("left_", "right_"), ("right_", "left_")):
        if name.startswith(side):
            return other + name.removeprefix(side)
    return name


def test_mirrored_motion_has_mirrored_figures():
    original = solved("sidestep")
    swap = [ROBOT.joint_index(other_side(name)) for name in ROBOT.joint_names]
    signs = np.array(
        [1.0 if "pitch" in name or "knee" in name or "elbow" in name else -1.0 for name in ROBOT.joint_names]
    )
    mirrored = RobotMotion(
        original.fps,
        original.joint_names,
        original.root_pos * [1, -1, 1],
        original.root_quat_wxyz * [1, -1, 1, -1],
        original.joint_pos[:, swap] * signs,
        original.foot_contacts[:, ::-1],
    )
    here, there = dynamics(original, ROBOT), dynamics(mirrored, mirrored_robot())
    np.testing.assert_allclose(there.force, here.force * [1, -1, 1], atol=1e-8)
    np.testing.assert_allclose(there.moment, here.moment * [-1, 1, -1], atol=1e-8)
    np.testing.assert_allclose(there.zmp, here.zmp * [1, -1], atol=1e-10)
    np.testing.assert_allclose(there.outside, here.outside, atol=1e-9)
    np.testing.assert_allclose(there.joint_torque, here.joint_torque[:, swap] * signs, atol=1e-7)
    ours, theirs = (
        {name: value for name, value in feasibility(found).as_dict().items() if isinstance(value, float)}
        for found in (here, there)
    )
    assert ours == pytest.approx(theirs) and ours["zmp_out_frac"] > 0.0


def test_distance_from_a_support_polygon_agrees_with_a_hull():
    random = np.random.default_rng(5)
    corners = random.normal(size=(300, 8, 2))
    carries = np.ones((300, 8), dtype=bool)
    carries[:, 5:] = random.random((300, 3)) < 0.5
    points = random.normal(size=(300, 2)) * 1.5
    found = distance_outside(points, corners, carries)
    for point, own, flags, value in zip(points, corners, carries, found, strict=True):
        own = own[flags]
        hull = ConvexHull(own)
        depth = (hull.equations[:, :2] @ point + hull.equations[:, 2]).max()
        if depth <= 0.0:
            assert value == pytest.approx(depth)
            continue
        ring = own[hull.vertices]
        assert value == pytest.approx(
            min(to_segment(point, a, b) for a, b in zip(ring, np.roll(ring, -1, axis=0), strict=True))
        )


def to_segment(point: np.ndarray, a: np.ndarray, b: np.ndarray) -> float:
    along = np.clip((point - a) @ (b - a) / ((b - a) @ (b - a)), 0.0, 1.0)
    return float(np.linalg.norm(point - a - along * (b - a)))


def test_support_of_a_line_or_a_point_is_no_special_case():
    corners = np.tile([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]], (4, 1, 1))
    line = np.tile([True, True, False], (4, 1))
    points = np.array([[0.5, 0.2], [2.0, 0.0], [0.3, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(distance_outside(points, corners, line), [0.2, 1.0, 0.0, 0.0], atol=1e-15)
    point = np.tile([True, False, False], (4, 1))
    np.testing.assert_allclose(distance_outside(points, corners, point), np.linalg.norm(points, axis=1), atol=1e-15)


def test_leaning_robot_is_off_its_feet_by_what_it_leans():
    """Standing on one foot with the other lifted, the zero moment point is off the sole by what geometry says."""
    still = standing(left_hip_pitch=-0.9, left_knee=1.2)
    found = dynamics(dataclasses.replace(still, foot_contacts=np.tile([False, True], (20, 1))), ROBOT)
    pos, rot = ROBOT.body_poses(still.root_pos, still.root_quat_wxyz, still.joint_pos)
    sole = ROBOT.sole_corners(pos, rot)[0, 1]
    centre = com(q_of(reference_clip(still, ROBOT), 0))
    assert found.outside[0] == pytest.approx(centre[1] - sole[:, 1].max(), abs=1e-9)
    assert found.outside[0] > 0.03
    figures = feasibility(found)
    assert figures.zmp_out_frac == 1.0 and figures.zmp_out_max == pytest.approx(found.outside[0])


def test_ground_that_would_have_to_pull_counts_as_off_the_feet():
    down = standing(40)
    falling = down.root_pos.copy()
    falling[:, 2] -= 0.5 * 2.0 * GRAVITY * (np.arange(40) / 50.0) ** 2  # twice as fast as a stone
    found = dynamics(dataclasses.replace(down, root_pos=falling), ROBOT)
    assert (found.force[:, 2] < 0.0).all() and np.isnan(found.zmp).all() and np.isnan(found.outside).all()
    figures = feasibility(found)
    assert figures.zmp_out_frac == 1.0
    assert figures.as_dict()["zmp_out_p95"] is None and figures.as_dict()["friction_p95"] is None


def test_friction_needed_to_be_pushed_along():
    slide = standing(60)
    moved = slide.root_pos.copy()
    moved[:, 0] += 0.5 * 2.0 * (np.arange(60) / 50.0) ** 2
    figures = feasibility(dynamics(dataclasses.replace(slide, root_pos=moved), ROBOT))
    assert figures.friction_p95 == pytest.approx(2.0 / GRAVITY, rel=1e-6)


def test_clips_in_another_order_give_the_same():
    clip = reference_clip(solved("walk"), ROBOT)
    turned = [0, *range(13, 30), *range(1, 13)]  # arms before legs: parents still come first
    where = {body: index for index, body in enumerate(turned)}
    changed = dataclasses.replace(
        clip,
        joint_names=tuple(clip.joint_names[body - 1] for body in turned[1:]),
        body_names=tuple(clip.body_names[body] for body in turned),
        body_parents=tuple(where.get(clip.body_parents[body], -1) for body in turned),
        joint_pos=clip.joint_pos[:, [body - 1 for body in turned[1:]]],
        joint_vel=clip.joint_vel[:, [body - 1 for body in turned[1:]]],
        **{
            name: getattr(clip, name)[:, turned]
            for name in ("body_pos_w", "body_quat_wxyz", "body_lin_vel_w", "body_ang_vel_w")
        },
        body_com_b=clip.body_com_b[turned],
    )
    ours, theirs = dynamics(clip, ROBOT), dynamics(changed, ROBOT)
    for field in dataclasses.fields(ClipDynamics):
        np.testing.assert_array_equal(getattr(ours, field.name), getattr(theirs, field.name))
    with pytest.raises(RigMismatch, match="the same bodies"):
        dynamics(dataclasses.replace(clip, body_names=("x", *clip.body_names[1:])), ROBOT)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_shortest_clips(frames: int):
    found = dynamics(standing(frames), ROBOT)
    assert found.force[:, 2] == pytest.approx(WEIGHT)
    assert feasibility(found).zmp_out_frac == 0.0


def test_standing_demo_clips_are_feasible_and_the_squat_works_hard():
    for name in ("reach", "wave", "squat"):
        figures = feasibility(dynamics(solved(name), ROBOT))
        assert figures.zmp_out_frac == 0.0 and figures.friction_p95 < 0.1 and figures.flight_frac == 0.0


def test_hints_cover_the_figures_and_name_the_worst_clip():
    figures = {field.name for field in dataclasses.fields(feasibility(dynamics(standing(), ROBOT)))}
    assert {hint.figure for hint in HINTS} == figures - {"torque_joint"}
    clips = [("a", {"load_max": 1.0}), ("b", {"load_max": 3.0}), ("c", {"load_max": None})]
    load = next(hint for hint in HINTS if hint.figure == "load_max")
    assert over_clips(load, clips) == (2.0, 3.0, "b")
    assert over_clips(load, clips[2:]) is None


def test_missing_pinocchio_is_said(monkeypatch: pytest.MonkeyPatch):
    fresh = dataclasses.replace(ROBOT)
    monkeypatch.setitem(sys.modules, "pinocchio", None)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[retarget\]"):
        dynamics(standing(), fresh)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[retarget\]"):
        require_pinocchio()
