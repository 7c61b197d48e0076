"""A person's size from standing feet: other proportions, other floors, and what must not fool it."""

import numpy as np
import pytest

from soma_isaac.formats.amass import read_amass
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.npz import NpzArchive, npz_bytes
from soma_isaac.inversion import smpl_body
from soma_isaac.inversion.smpl_joints import soma_from_amass
from soma_isaac.pipelines.demo_clips import CLIPS
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, forward_kinematics

pytestmark = pytest.mark.py312
FPS = 120.0


def walked_by(monkeypatch, clip: str, thigh: float = 1.0, shank: float = 1.0, rise: float = 0.0):
    """A demo clip made with other legs, on a floor at another height, read as if by nobody in particular."""
    other = dict(smpl_body.ZERO_POSES["smplh"])
    other["knee"] = tuple(np.array(other["knee"]) * thigh)
    other["ankle"] = tuple(np.array(other["ankle"]) * shank)
    with monkeypatch.context() as patch:
        for key, value in other.items():
            patch.setitem(smpl_body.ZERO_POSES["smplh"], key, value)
        arrays = CLIPS[clip]()
    arrays["trans"] = arrays["trans"] + np.float32([0.0, 0.0, rise])
    return arrays


def read(arrays, **changes):
    return soma_from_amass(read_amass(NpzArchive(SourceBytes.of(npz_bytes({**arrays, **changes}), "a.npz"))), "a.npz")


def lengths(motion) -> np.ndarray:
    offsets = motion.identity.rest_offsets
    return np.array([np.linalg.norm(offsets[POSE_JOINT_NAMES.index(name) + 1]) for name in ("LeftShin", "LeftFoot")])


def slip(motion) -> float:
    """Ninth decile of the level speed of ball joints that stand [m/s]."""
    places, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    balls = places[:, [POSE_JOINT_NAMES.index(f"{side}ToeBase") for side in ("Left", "Right")]]
    speed = np.linalg.norm(np.diff(balls, axis=0)[..., [0, 2]], axis=-1) * FPS
    return float(np.quantile(speed[speed < 0.15], 0.9))


@pytest.mark.parametrize("clip", ["walk", "squat", "turn_in_place"])
@pytest.mark.parametrize(
    ("thigh", "shank", "rise"), [(1.0, 1.0, 0.0), (1.04, 0.96, 0.0), (0.95, 0.95, 0.0), (1.03, 1.0, 0.03)]
)
def test_legs_are_found_from_standing_feet(monkeypatch, clip, thigh, shank, rise):
    motion = read(walked_by(monkeypatch, clip, thigh, shank, rise))
    true = np.array([0.381 * thigh, 0.4006 * shank])
    assert np.abs(lengths(motion) / true - 1.0).max() < 0.035  # within 14 mm
    assert slip(motion) < 0.016


def test_mean_legs_would_slip(monkeypatch):
    """What the fit is for: with legs that do not fit, the same feet slide."""
    arrays = walked_by(monkeypatch, "walk", 1.04, 0.96)
    clip = read_amass(NpzArchive(SourceBytes.of(npz_bytes(arrays), "a.npz")))
    mean = soma_from_amass(clip, "a.npz", size=smpl_body.BodySize.uniform(1.0, "given"))
    assert slip(mean) > 2.0 * slip(read(arrays))


def test_gender_is_only_where_the_search_begins(monkeypatch):
    arrays = walked_by(monkeypatch, "walk")
    found = [lengths(read(arrays, gender=np.array(gender))) for gender in ("male", "female")]
    np.testing.assert_allclose(found[0], found[1], rtol=0.02)


def test_a_moving_belt_is_no_floor(monkeypatch):
    """On a treadmill no foot stands still in the file's world: the mean person is taken, and that is said."""
    arrays = walked_by(monkeypatch, "walk")
    belt = arrays["trans"] - np.outer(np.arange(len(arrays["trans"])) / FPS, [1.0, 0.0, 0.0]).astype(np.float32)
    motion = read(arrays, trans=belt)
    np.testing.assert_allclose(lengths(motion), [0.381, 0.4006], rtol=0.06)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_few_frames(monkeypatch, frames):
    arrays = walked_by(monkeypatch, "walk")
    cut = {key: value[:frames] if value.ndim == 2 else value for key, value in arrays.items()}
    np.testing.assert_allclose(lengths(read(cut)), [0.381, 0.4006], rtol=0.03)
