"""The schedule against textbook matrices; smoothing against least squares, noise, turned worlds and half turns."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.math.rts import (
    OneEuroGains,
    RtsGains,
    one_euro_points,
    one_euro_rotations,
    rts_points,
    rts_rotations,
    rts_schedule,
)
from soma_isaac.math.so3 import geodesic_angle

pytestmark = pytest.mark.py312
GAINS = RtsGains(0.06, 0.1, 4.5)


def textbook(fps, gains, frames):
    """Kalman and RTS gains with 2 x 2 matrices."""
    dt = 1.0 / fps
    f = np.array([[1.0, dt], [0.0, 1.0]])
    q = np.diag([gains.q_pos * dt, gains.q_vel * dt])
    p = np.diag([gains.r_obs, max(gains.q_vel * dt, 1e-2)])
    forward, backward = [np.zeros(2)], []
    for _ in range(1, frames):
        ahead = f @ p @ f.T + q
        backward.append(p @ f.T @ np.linalg.inv(ahead))
        forward.append(ahead[:, 0] / (ahead[0, 0] + gains.r_obs))
        p = ahead - np.outer(forward[-1], ahead[0])
    return np.array(forward), np.array(backward)


@pytest.mark.parametrize("fps", [10.0, 30.0, 120.0])
def test_schedule_is_the_textbook_recursion(fps):
    sets = [GAINS, RtsGains(0.005, 0.1, 35.0)]
    schedule = rts_schedule(80, fps, sets)
    for column, gains in enumerate(sets):
        forward, backward = textbook(fps, gains, 80)
        np.testing.assert_allclose(schedule.filter[:, column], forward, rtol=1e-9)
        np.testing.assert_allclose(schedule.smoother[:-1, column], backward, rtol=1e-8, atol=1e-12)


def test_points_are_the_posterior_mean():
    """RTS is exact for linear models: the same as solving the whole clip's least squares problem at once."""
    rng = np.random.default_rng(0)
    frames, fps = 30, 25.0
    seen, dt = rng.normal(size=frames), 1.0 / fps
    rows, values = [], []

    def add(row, value, variance):
        rows.append(row / np.sqrt(variance))
        values.append(value / np.sqrt(variance))

    eye = np.eye(2 * frames)
    # The first observation is the prior; it is used once.
    add(eye[0], seen[0], GAINS.r_obs)
    add(eye[1], 0.0, max(GAINS.q_vel * dt, 1e-2))
    for frame in range(1, frames):
        place, rate, before, before_rate = (eye[k] for k in (2 * frame, 2 * frame + 1, 2 * frame - 2, 2 * frame - 1))
        add(place - before - dt * before_rate, 0.0, GAINS.q_pos * dt)
        add(rate - before_rate, 0.0, GAINS.q_vel * dt)
        add(place, seen[frame], GAINS.r_obs)
    expected = np.linalg.lstsq(np.array(rows), np.array(values), rcond=None)[0][::2]
    np.testing.assert_allclose(rts_points(seen[:, None], fps, GAINS)[:, 0], expected, atol=1e-10)


def swinging(frames=200, fps=60.0):
    time = np.arange(frames) / fps
    rotvecs = np.stack([0.8 * np.sin(2 * time), 0.5 * np.cos(3 * time), 2.5 * time], axis=1)
    return Rotation.from_rotvec(rotvecs)


def test_rotations_lose_noise_and_keep_motion():
    rng = np.random.default_rng(1)
    clean = swinging()
    noisy = clean * Rotation.from_rotvec(rng.normal(scale=0.05, size=(200, 3)))
    smoothed = rts_rotations(noisy.as_matrix()[:, None], 60.0, [GAINS])[:, 0]
    before = geodesic_angle(clean.as_matrix(), noisy.as_matrix())
    after = geodesic_angle(clean.as_matrix(), smoothed)
    assert np.sqrt(np.mean(after[10:-10] ** 2)) < 0.6 * np.sqrt(np.mean(before[10:-10] ** 2))


def test_steady_turning_comes_back_exactly_also_through_half_turns():
    turning = Rotation.from_rotvec(np.outer(np.arange(120) * 0.15, [0.0, 0.6, 0.8])).as_matrix()[:, None]
    smoothed = rts_rotations(turning, 30.0, [GAINS])
    assert geodesic_angle(turning, smoothed)[30:].max() < 0.01
    assert np.diff(geodesic_angle(smoothed[:-1], smoothed[1:])[40:, 0]).max() < 1e-3


@pytest.mark.parametrize(
    "smoother",
    [
        lambda m: rts_rotations(m, 60.0, [GAINS] * m.shape[1]),
        lambda m: one_euro_rotations(m, 60.0, OneEuroGains(3.0, 1.0)),
    ],
    ids=["rts", "one_euro"],
)
def test_turned_worlds_and_bodies_give_turned_results(smoother):
    rng = np.random.default_rng(2)
    noisy = (swinging() * Rotation.from_rotvec(rng.normal(scale=0.05, size=(200, 3)))).as_matrix()[:, None]
    left, right = Rotation.random(2, random_state=3).as_matrix()
    np.testing.assert_allclose(smoother(left @ noisy @ right), left @ smoother(noisy) @ right, atol=1e-9)


def test_joints_do_not_mix():
    rng = np.random.default_rng(4)
    matrices = Rotation.from_rotvec(rng.normal(scale=0.3, size=(3, 40, 3)).reshape(-1, 3)).as_matrix()
    matrices = matrices.reshape(40, 3, 3, 3)
    gains = [GAINS, RtsGains(0.005, 0.1, 35.0), GAINS]
    together = rts_rotations(matrices, 30.0, gains)
    for joint in range(3):
        alone = rts_rotations(matrices[:, joint : joint + 1], 30.0, gains[joint : joint + 1])
        np.testing.assert_allclose(together[:, joint], alone[:, 0], atol=1e-12)


def test_one_euro_follows_fast_motion_and_calms_rest():
    rng = np.random.default_rng(5)
    gains = OneEuroGains(1.0, 2.0)
    still = rng.normal(scale=0.01, size=(300, 3))
    assert one_euro_points(still, 60.0, gains)[60:].std() < 0.4 * still.std()
    ramp = np.outer(np.arange(300) / 60.0, [3.0, 0.0, 0.0])
    quick = np.abs(one_euro_points(ramp, 60.0, gains) - ramp)[100:].max()
    slow = np.abs(one_euro_points(ramp, 60.0, OneEuroGains(1.0, 0.0)) - ramp)[100:].max()
    assert quick < 0.25 * slow
    # the vector's whole speed sets the cutoff: axes do not matter
    turn = Rotation.random(random_state=6).as_matrix()
    np.testing.assert_allclose(
        one_euro_points(still @ turn.T, 60.0, gains), one_euro_points(still, 60.0, gains) @ turn.T
    )


def test_one_frame_and_wrong_gains():
    one = np.eye(3)[None, None]
    np.testing.assert_array_equal(rts_rotations(one, 30.0, [GAINS]), one)
    np.testing.assert_array_equal(rts_points(np.ones((1, 3)), 30.0, GAINS), np.ones((1, 3)))
    with pytest.raises(InputRejected, match="2 sets of gains for 1"):
        rts_rotations(one, 30.0, [GAINS] * 2)
    with pytest.raises(InputRejected, match="no noise variances"):
        RtsGains(0.0, 0.1, 1.0)
