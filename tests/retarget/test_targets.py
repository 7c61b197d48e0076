"""Targets: scale, foot plan, and the closed-form first guess."""

from __future__ import annotations

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.retarget.contacts import ContactConfig, FootContacts
from soma_isaac.retarget.footplan import FootPlanConfig, extend_correction, plan_feet
from soma_isaac.retarget.human import KEYPOINT_NAMES, HumanKeypoints, human_keypoints
from soma_isaac.retarget.initial import initial_configuration
from soma_isaac.retarget.robot import load_robot
from soma_isaac.retarget.scoring_pose import pose_track
from soma_isaac.retarget.targets import ScaleConfig, build_targets
from soma_isaac.rig.skeleton import data_path

ROBOT = load_robot()
FPS = 50.0


def demo(name: str) -> HumanKeypoints:
    from soma_isaac.motion.resample import resample

    return human_keypoints(resample(load_motion(data_path(f"demo_clips/{name}.npz")), FPS))


def targets_of(human: HumanKeypoints, **scale: float):
    return build_targets(human, ROBOT, ScaleConfig(**scale), ContactConfig(), FootPlanConfig())


def corners(plan) -> np.ndarray:
    return plan.positions[:, :, None] + np.einsum("tfij,fcj->tfci", plan.rotations, ROBOT.sole_points)


def resized(human: HumanKeypoints, size: float, lift: float = 0.0) -> HumanKeypoints:
    return HumanKeypoints(human.fps, size * human.positions + [0, 0, lift], human.rotations, size * human.stature)


@pytest.mark.parametrize(("size", "lift"), [(0.75, 0.0), (1.2, 0.0), (1.0, 0.4), (1.0, -0.25)])
def test_size_and_floor_of_the_person_do_not_matter(size: float, lift: float):
    human = demo("squat")
    expected, found = targets_of(human), targets_of(resized(human, size, lift))
    assert found.scale * size == pytest.approx(expected.scale, rel=1e-9)
    np.testing.assert_allclose(found.hips, expected.hips, atol=2e-3)
    np.testing.assert_allclose(found.segments, expected.segments, atol=1e-9)
    np.testing.assert_allclose(found.reach, expected.reach, atol=1e-9)
    np.testing.assert_allclose(found.feet.positions, expected.feet.positions, atol=2e-3)


def test_segments_have_the_robots_lengths_and_the_persons_directions():
    human = demo("reach")
    targets = targets_of(human)
    lengths = np.linalg.norm(targets.segments, axis=2)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[:1], lengths.shape), rtol=1e-12)
    body = ROBOT.body_index
    pos, _ = ROBOT.body_poses(np.zeros((1, 3)), np.array([[1.0, 0, 0, 0]]), np.zeros((1, 29)))
    thigh = np.linalg.norm(pos[0, body("left_knee_link")] - pos[0, body("left_hip_roll_link")])
    assert lengths[0, 0] == pytest.approx(thigh, rel=1e-12)
    forearm = (
        human.positions[:, KEYPOINT_NAMES.index("left_wrist")] - human.positions[:, KEYPOINT_NAMES.index("left_elbow")]
    )
    cosine = np.einsum("ti,ti->t", forearm, targets.segments[:, 6]) / np.linalg.norm(forearm, axis=1) / lengths[:, 6]
    np.testing.assert_allclose(cosine, 1.0, atol=1e-12)


@pytest.mark.parametrize("name", ["walk", "sidestep", "turn_in_place"])
def test_planned_feet_stand_flat_on_the_floor_and_never_sink(name: str):
    plan = targets_of(demo(name)).feet
    points = corners(plan)
    assert plan.flat.any() and not plan.planted.all()
    assert np.abs(points[plan.flat][..., 2]).max() < 1e-9
    lowest = points[..., 2].min(axis=2)
    assert np.abs(lowest[plan.planted]).max() < 1e-9
    assert lowest.min() > -1e-9
    both = plan.flat[1:] & plan.flat[:-1]
    assert np.linalg.norm(np.diff(points, axis=0)[both], axis=-1).max() < 1e-9, "a flat foot moved"


def test_a_rolling_foot_does_not_slip():
    """Heel up to 40 degrees about the ball and back: the front edge stays."""
    frames = 120
    pitch = np.deg2rad(40.0) * np.sin(np.linspace(0.0, np.pi, frames)) ** 2
    rotation = matrix_from_rotvec(np.stack([0 * pitch, pitch, 0 * pitch], axis=1))
    raw_rot = np.stack([rotation, np.tile(np.eye(3), (frames, 1, 1))], axis=1)
    wander = 0.02 * np.sin(np.linspace(0.0, 9.0, frames))
    raw_pos = np.tile([[0.0, 0.1, 0.035], [0.0, -0.1, 0.035]], (frames, 1, 1))
    raw_pos[:, 0, 0] += wander  # the person's ankle sways; a planted sole must not
    down = pitch < np.deg2rad(1.0)
    contacts = FootContacts(0.0, np.stack([down, np.ones(frames, bool)], axis=1), np.ones((frames, 2), bool))
    plan = plan_feet(raw_pos, raw_rot, contacts, ROBOT.sole_points, FPS, FootPlanConfig())
    points = corners(plan)[:, 0]
    front = points[:, :2]
    assert np.abs(points[..., 2].min(axis=1)).max() < 1e-9
    moved = np.linalg.norm(front[..., :2] - front[0, :, :2], axis=-1)
    assert moved.max() < 2.5e-3
    assert np.rad2deg(geodesic_angle(plan.rotations[frames // 2, 0], rotation[frames // 2])) < 1.0


def test_corrections_end_smoothly_and_far_from_contacts_nothing_is_corrected():
    frames = 200
    held = np.zeros(frames, bool)
    held[40:80] = True
    t = np.arange(frames)[:, None] / 50.0
    correction = np.concatenate([0.02 + 0.1 * t, np.sin(t)], axis=1)
    out = extend_correction(correction, held, 15.0)
    np.testing.assert_array_equal(out[held], correction[held])
    assert np.abs(out[:25]).max() < 1e-12 and np.abs(out[96:]).max() < 1e-12
    second = np.abs(np.diff(out, n=2, axis=0))
    assert second.max() < 0.03, "a step in velocity would be 1 / 15"
    assert extend_correction(correction, np.zeros(frames, bool), 15.0).any() == False  # noqa: E712
    short = held.copy()
    short[85:90] = True
    bridged = extend_correction(correction, short, 15.0)
    assert np.abs(bridged[80:85] - correction[80:85]).max() < 1e-3, "a short gap is one polynomial"


def test_a_person_without_limbs_is_refused():
    human = demo("reach")
    positions = human.positions.copy()
    positions[:, KEYPOINT_NAMES.index("left_wrist")] = positions[:, KEYPOINT_NAMES.index("left_elbow")]
    with pytest.raises(InputRejected, match="left_elbow to left_wrist"):
        targets_of(HumanKeypoints(human.fps, positions, human.rotations, human.stature))
    with pytest.raises(InputRejected, match="metres"):
        targets_of(resized(human, 0.01))


def test_wrong_feet_are_not_believed():
    """A person whose feet are turned about by 180 degrees (it occurs in converted data) keeps its legs."""
    human = demo("walk")
    rotations = human.rotations.copy()
    feet = [KEYPOINT_NAMES.index(f"{side}_ankle") for side in ("left", "right")]
    rotations[:, feet] = rotations[:, feet] @ matrix_from_rotvec(np.array([np.pi, 0.0, 0.0]))
    targets = targets_of(HumanKeypoints(human.fps, human.positions, rotations, human.stature))
    shanks = human.rotations[:, [KEYPOINT_NAMES.index(f"{side}_knee") for side in ("left", "right")]]
    turn = np.linalg.norm(rotvec_from_matrix(shanks.swapaxes(-1, -2) @ targets.orientations[:, 2:4]), axis=-1)
    assert turn[~targets.feet.planted].max() < 2.5


@pytest.mark.parametrize("name", ["walk", "reach", "wave", "squat"])
def test_the_first_guess_is_near_and_inside_the_limits(name: str):
    human = demo(name)
    guess = initial_configuration(ROBOT, targets_of(human))
    assert (guess.joint_pos >= ROBOT.lower).all() and (guess.joint_pos <= ROBOT.upper).all()
    pos, rot = ROBOT.body_poses(guess.root_pos, guess.root_quat_wxyz, guess.joint_pos)
    track = pose_track(human, ROBOT, pos, rot)
    assert np.rad2deg(track.direction.mean()) < 8.0
    assert np.abs(np.diff(guess.joint_pos, axis=0)).max() < 1.0, "no limb flips"
