"""Reference clips: velocities that integrate back to positions and describe one rigid robot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import RigMismatch
from soma_isaac.math.so3 import geodesic_angle, matrix_from_quat_wxyz, matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.retarget.clip import reference_clip, rotation_steps
from soma_isaac.retarget.robot import RobotModel, load_robot
from tests.oracles.random_motion import random_motion


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return load_robot()


def integrate(velocity: np.ndarray, fps: float) -> np.ndarray:
    """Trapezoid rule from zero, [T, ...]."""
    steps = 0.5 * (velocity[1:] + velocity[:-1]) / fps
    return np.concatenate([np.zeros_like(steps[:1]), np.cumsum(steps, axis=0)])


def test_joint_and_root_velocities_integrate_back_within_the_stated_bound(model: RobotModel) -> None:
    motion = random_motion(model, 400, speed=3.0)
    clip = reference_clip(motion, model)
    for position, velocity in ((clip.joint_pos, clip.joint_vel), (clip.body_pos_w[:, 0], clip.body_lin_vel_w[:, 0])):
        error = np.abs(integrate(velocity, clip.fps) - (position - position[0]))
        bound = 0.25 * np.abs(np.diff(position, 2, axis=0)).max(axis=0)
        assert (error.max(axis=0) <= bound + 1e-12).all()
        assert error.max() > 1e-6  # the bound is tested by a motion that bends


def integration_errors(model: RobotModel, fps: float, seconds: float = 6.0) -> tuple[float, float]:
    """Largest errors of integrated body positions [m] and rotations [rad] of one and the same motion."""
    clip = reference_clip(random_motion(model, round(seconds * fps) + 1, fps), model)
    error = np.abs(integrate(clip.body_lin_vel_w, fps) - (clip.body_pos_w - clip.body_pos_w[0])).max()
    rotations = matrix_from_quat_wxyz(clip.body_quat_wxyz)
    means = 0.5 * (clip.body_ang_vel_w[1:] + clip.body_ang_vel_w[:-1]) / fps
    steps = matrix_from_rotvec(means)
    turned, worst = rotations[0], 0.0
    for frame, step in enumerate(steps):
        turned = step @ turned
        worst = max(worst, geodesic_angle(turned, rotations[frame + 1]).max())
    return float(error), float(worst)


def test_body_velocities_integrate_back_to_second_order(model: RobotModel) -> None:
    coarse, fine = integration_errors(model, 50.0), integration_errors(model, 100.0)
    assert coarse[0] < 3e-3  # m after 6 s, over all 30 bodies
    assert coarse[1] < 0.04  # rad, at the end of chains of up to ten joints that all move
    assert coarse[0] / fine[0] > 3.5 and coarse[1] / fine[1] > 3.5


def test_velocities_of_a_motion_known_in_closed_form(model: RobotModel) -> None:
    rates = np.linspace(-1.0, 1.0, 29)

    def errors(fps: float) -> tuple[float, float]:
        time = np.arange(int(fps) + 1) / fps
        quats = np.tile([1.0, 0.0, 0.0, 0.0], (len(time), 1))
        still, contacts = np.zeros((len(time), 3)), np.zeros((len(time), 2), dtype=bool)
        found = []
        for angle, speed in ((0.5 * time, 0.5 + 0.0 * time), (0.3 * np.sin(6.0 * time), 1.8 * np.cos(6.0 * time))):
            motion = RobotMotion(fps, model.joint_names, still, quats, angle[:, None] * rates, contacts)
            exact = speed[:, None] * rates
            found.append(np.abs(reference_clip(motion, model).joint_vel - exact)[1:-1].max())
        return found[0], found[1]

    (steady, coarse), (_, fine) = errors(50.0), errors(100.0)
    assert steady < 1e-12
    assert coarse / fine == pytest.approx(4.0, rel=0.02)


def test_bodies_move_as_one_rigid_robot(model: RobotModel) -> None:
    pin = pytest.importorskip("pinocchio", reason="pinocchio is not installed")
    motion = random_motion(model, 20, speed=3.0)
    clip = reference_clip(motion, model)
    data = model.pinocchio.createData()
    for frame in range(20):
        rotation = matrix_from_quat_wxyz(clip.body_quat_wxyz[frame, 0])
        q = np.r_[clip.body_pos_w[frame, 0], clip.body_quat_wxyz[frame, 0][[1, 2, 3, 0]], clip.joint_pos[frame]]
        # Pinocchio's free-flyer velocity is in the root's own axes.
        v = np.r_[
            rotation.T @ clip.body_lin_vel_w[frame, 0],
            rotation.T @ clip.body_ang_vel_w[frame, 0],
            clip.joint_vel[frame],
        ]
        pin.forwardKinematics(model.pinocchio, data, q, v)
        for body in range(30):
            velocity = pin.getVelocity(model.pinocchio, data, body + 1, pin.LOCAL_WORLD_ALIGNED)
            np.testing.assert_allclose(data.oMi[body + 1].translation, clip.body_pos_w[frame, body], atol=1e-12)
            np.testing.assert_allclose(velocity.linear, clip.body_lin_vel_w[frame, body], atol=1e-9)
            np.testing.assert_allclose(velocity.angular, clip.body_ang_vel_w[frame, body], atol=1e-9)


def test_root_steps_do_not_wrap_at_high_speed() -> None:
    # 2.5 rad per frame: a logarithm over two frames would come out with the wrong sign.
    turns = Rotation.from_rotvec(np.arange(6)[:, None] * [0.0, 0.0, 2.5]).as_matrix()
    np.testing.assert_allclose(rotation_steps(turns), np.tile([0.0, 0.0, 2.5], (5, 1)), atol=1e-12)
    assert rotvec_from_matrix(turns[2] @ turns[0].T)[2] < 0.0


def test_joints_are_taken_by_name(model: RobotModel) -> None:
    motion = random_motion(model, 10)
    shuffled = np.random.default_rng(3).permutation(29)
    other = replace(
        motion,
        joint_names=tuple(motion.joint_names[i] for i in shuffled),
        joint_pos=motion.joint_pos[:, shuffled],
    )
    expected, clip = reference_clip(motion, model), reference_clip(other, model)
    np.testing.assert_array_equal(clip.joint_pos, expected.joint_pos)
    np.testing.assert_array_equal(clip.body_pos_w, expected.body_pos_w)
    wrong = replace(motion, joint_names=("x", *motion.joint_names[1:]))
    with pytest.raises(RigMismatch, match="left_hip_pitch_joint, x"):
        reference_clip(wrong, model)


@pytest.mark.parametrize("frames", [1, 2])
def test_very_short_clips(model: RobotModel, frames: int) -> None:
    motion = random_motion(model, frames)
    clip = reference_clip(motion, model)
    expected = (motion.joint_pos[-1] - motion.joint_pos[0]) * motion.fps
    np.testing.assert_allclose(clip.joint_vel, np.tile(expected, (frames, 1)), atol=1e-12)
    assert clip.robot_digest == model.digest


def test_quaternions_are_continuous_for_every_body(model: RobotModel) -> None:
    clip = reference_clip(random_motion(model, 400), model)
    dots = (clip.body_quat_wxyz[1:] * clip.body_quat_wxyz[:-1]).sum(-1)
    assert dots.min() > 0.9
    assert (clip.body_quat_wxyz[:, 0, 0] < 0.0).any()  # more than one turn: not merely w >= 0
