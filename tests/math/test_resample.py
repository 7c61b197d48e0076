"""Resampling: exact where it can be, smooth between frames, free of aliases, indifferent to axes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation, Slerp

from soma_isaac.errors import InputRejected
from soma_isaac.math.resample import resample_points, resample_rotations, resample_times
from soma_isaac.math.so3 import geodesic_angle, quat_xyzw_from_matrix, shortest_arc

pytestmark = pytest.mark.py312

RATES = [(120.0, 50.0), (59.94, 50.0), (30.0, 50.0), (50.0, 30.0), (24.0, 1000.0), (1000.0, 50.0)]


def smooth_rotations(times: np.ndarray) -> np.ndarray:
    """Two joints turning about moving axes with up to 2 Hz; the second makes whole turns."""
    first = np.stack([np.sin(3 * times), 0.5 * np.cos(5 * times), 0.3 * np.sin(12 * times)], axis=-1)
    spin = Rotation.from_rotvec(np.outer(6.0 * times, [0.6, 0.0, 0.8]))
    return np.stack([Rotation.from_rotvec(first).as_matrix(), (Rotation.from_rotvec(first) * spin).as_matrix()], axis=1)


def clip(fps: float, seconds: float = 2.0) -> np.ndarray:
    return smooth_rotations(np.arange(round(seconds * fps) + 1) / fps)


def test_the_same_rate_returns_the_same_array():
    rotations, points = clip(50.0), np.random.default_rng(0).normal(size=(9, 3))
    assert resample_rotations(rotations, 59.94, 59.94) is rotations
    assert resample_points(points, 59.94, 59.94) is points


@given(st.integers(1, 3000), st.floats(1.0, 1000.0), st.floats(1.0, 1000.0))
@settings(max_examples=300, deadline=None)
def test_duration_is_kept_at_any_ratio(frames, fps, target):
    times = resample_times(frames, fps, target)
    duration = (frames - 1) / fps
    assert times[0] == 0.0
    assert times[-1] <= duration + 1e-6 / target
    assert duration - times[-1] < 1.0 / target + 1e-9


@pytest.mark.parametrize(("fps", "target"), RATES)
def test_a_smooth_motion_is_followed(fps, target):
    result = resample_rotations(clip(fps), fps, target)
    truth = smooth_rotations(resample_times(len(clip(fps)), fps, target))
    inner = slice(len(truth) // 8, -len(truth) // 8)  # a filter has less to go by at the ends
    limit = np.radians(0.15 if target < fps else 0.5 if fps < 25 else 0.1)
    assert geodesic_angle(result, truth)[inner].max() < limit
    np.testing.assert_allclose(
        result @ np.swapaxes(result, -1, -2), np.broadcast_to(np.eye(3), result.shape), atol=1e-12
    )


def test_source_frames_are_kept_when_the_rate_is_multiplied():
    rotations = clip(30.0)
    np.testing.assert_allclose(resample_rotations(rotations, 30.0, 90.0)[::3], rotations, atol=1e-12)


def test_the_result_has_no_kinks():
    """Jerk of a joint angle, 30 to 50 Hz: slerp's velocity jumps at the source frames, the spline's does not."""
    fps, target = 30.0, 50.0
    rotations = clip(fps)[:, 0]
    times = resample_times(len(rotations), fps, target)

    def jerk(matrices):
        rotvecs = Rotation.from_matrix(matrices).as_rotvec()
        return np.abs(np.diff(rotvecs, n=3, axis=0)).mean() * target**3

    truth = jerk(smooth_rotations(times)[:, 0])
    ours = jerk(resample_rotations(rotations, fps, target))
    slerp = Slerp(np.arange(len(rotations)) / fps, Rotation.from_matrix(rotations))(times).as_matrix()
    assert ours < 1.1 * truth
    assert jerk(slerp) > 1.7 * truth


def test_axes_do_not_matter():
    """Turning the world before or the body after resampling gives the same as doing it afterwards."""
    rotations = clip(30.0)
    world, body = Rotation.random(2, rng=np.random.default_rng(3)).as_matrix()
    turned = resample_rotations(world @ rotations @ body, 30.0, 50.0)
    np.testing.assert_allclose(turned, world @ resample_rotations(rotations, 30.0, 50.0) @ body, atol=1e-12)


def test_what_the_target_cannot_hold_is_filtered_off():
    """45 Hz on a 120 Hz clip would show up as 5 Hz at 50 Hz."""
    times = np.arange(600) / 120.0
    slow, fast = np.sin(2 * np.pi * 3.0 * times), 0.1 * np.sin(2 * np.pi * 45.0 * times)
    result = resample_points((slow + fast)[:, None], 120.0, 50.0)[:, 0]
    truth = np.sin(2 * np.pi * 3.0 * resample_times(600, 120.0, 50.0))
    assert np.abs(result - truth)[20:-20].max() < 0.005
    assert np.abs((slow + fast)[::2] - slow[::2]).max() > 0.09  # plain decimation would keep it


def test_steady_values_and_steady_speeds_pass_exactly():
    times = np.arange(200) / 120.0
    line = np.outer(times, [1.0, -2.0, 0.0]) + [0.0, 1.0, 5.0]
    expected = np.outer(resample_times(200, 120.0, 50.0), [1.0, -2.0, 0.0]) + [0.0, 1.0, 5.0]
    np.testing.assert_allclose(resample_points(line, 120.0, 50.0), expected, atol=1e-12)
    spin = Rotation.from_rotvec(np.outer(times, [0.0, 3.0, 0.0])).as_matrix()
    result = resample_rotations(spin, 120.0, 50.0)
    expected = Rotation.from_rotvec(np.outer(resample_times(200, 120.0, 50.0), [0.0, 3.0, 0.0])).as_matrix()
    assert geodesic_angle(result, expected).max() < 1e-3


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(("fps", "target"), RATES)
def test_very_short_clips(frames, fps, target):
    rotations, points = clip(fps)[:frames], np.arange(frames * 3.0).reshape(frames, 3)
    times = resample_times(frames, fps, target)
    result, moved = resample_rotations(rotations, fps, target), resample_points(points, fps, target)
    assert len(result) == len(moved) == len(times)
    assert np.isfinite(result).all()
    np.testing.assert_allclose(moved, times[:, None] * fps * 3.0 + [0.0, 1.0, 2.0], atol=1e-9)


def test_a_single_glitch_is_survived_and_a_blur_is_refused():
    flipped = clip(120.0)
    flipped[60, 0] = flipped[60, 0] @ np.diag([1.0, -1.0, -1.0])
    result = resample_rotations(flipped, 120.0, 50.0)
    np.testing.assert_allclose(
        result @ np.swapaxes(result, -1, -2), np.broadcast_to(np.eye(3), result.shape), atol=1e-9
    )
    blur = Rotation.from_rotvec(np.outer(np.arange(200) * np.radians(170.0), [1.0, 0.0, 0.0])).as_matrix()
    with pytest.raises(InputRejected, match=r"turns too fast to be told at 50 Hz"):
        resample_rotations(blur, 120.0, 50.0)


def test_no_frames():
    with pytest.raises(InputRejected, match="without frames"):
        resample_points(np.zeros((0, 3)), 30.0, 50.0)


def test_quaternions_agree_with_scipy_everywhere():
    rng = np.random.default_rng(0)
    near_pi = rng.normal(size=(500, 3))
    near_pi *= (np.pi - 1e-9) / np.linalg.norm(near_pi, axis=1, keepdims=True)
    rotvecs = np.concatenate([rng.normal(size=(2000, 3)), near_pi, 1e-9 * near_pi, np.pi * np.eye(3), np.zeros((1, 3))])
    matrices = Rotation.from_rotvec(rotvecs).as_matrix()
    ours = quat_xyzw_from_matrix(matrices)
    theirs = Rotation.from_matrix(matrices).as_quat()
    assert np.abs(np.abs(np.sum(ours * theirs, axis=1)) - 1.0).max() < 1e-12
    assert ours[:, 3].min() >= 0.0
    assert quat_xyzw_from_matrix(matrices.reshape(-1, 1, 3, 3)).shape == (len(matrices), 1, 4)


def test_shortest_arc():
    rng = np.random.default_rng(1)
    for start, end in (*rng.normal(size=(20, 2, 3)), (np.eye(3)[0], -np.eye(3)[0]), (np.ones(3), -2.0 * np.ones(3))):
        turn = shortest_arc(start, end)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        np.testing.assert_allclose(turn @ start / np.linalg.norm(start), end / np.linalg.norm(end), atol=1e-9)
        angle = np.arccos(np.clip(start @ end / np.linalg.norm(start) / np.linalg.norm(end), -1, 1))
        np.testing.assert_allclose(geodesic_angle(np.eye(3), turn), angle, atol=1e-6)
