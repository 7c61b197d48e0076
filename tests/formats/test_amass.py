"""AMASS clips in every layout, with the frame rate of either spelling and none made up."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import is_amass, read_amass
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.npz import NpzArchive
from tests.oracles.smpl import npz, random_clip

pytestmark = pytest.mark.py312

CLIP = random_clip(frames=8)


def read(source_fps=None, base=CLIP, **changes):
    archive = NpzArchive(SourceBytes.of(npz(base, **changes), "a.npz"))
    assert is_amass(archive)
    return read_amass(archive, source_fps)


def test_smplh_is_read_as_stored():
    clip = read()
    assert (clip.model, clip.fps, clip.fps_key, clip.gender) == ("smplh", 120.0, "mocap_framerate", "female")
    np.testing.assert_array_equal(clip.body.reshape(8, 66), CLIP["poses"][:, :66])
    np.testing.assert_array_equal(clip.hands.reshape(8, 90), CLIP["poses"][:, 66:])
    np.testing.assert_array_equal(clip.trans, CLIP["trans"])
    assert clip.face is None and not clip.body.flags.writeable


def test_smplx_hands_come_after_the_face():
    wide = np.arange(8.0 * 165).reshape(8, 165) * 1e-4
    clip = read(poses=wide)
    assert clip.model == "smplx"
    np.testing.assert_array_equal(clip.face.reshape(8, 9), wide[:, 66:75])
    np.testing.assert_array_equal(clip.hands.reshape(8, 90), wide[:, 75:])


def test_split_keys_equal_the_joined_layout():
    wide = np.arange(8.0 * 165).reshape(8, 165) * 1e-4
    parts = {"root_orient": wide[:, :3], "pose_body": wide[:, 3:66], "pose_jaw": wide[:, 66:69]}
    parts |= {"pose_eye": wide[:, 69:75], "pose_hand": wide[:, 75:]}
    joined, split = read(poses=wide), read(poses=None, **parts)
    assert split.model == "smplx"
    for name in ("body", "hands", "face"):
        np.testing.assert_array_equal(getattr(split, name), getattr(joined, name))
    plain = read(poses=None, root_orient=wide[:, :3], pose_body=wide[:, 3:66])
    assert plain.model == "smpl" and plain.hands is None


@pytest.mark.parametrize("width", [66, 72])
def test_body_only_layouts(width):
    clip = read(poses=CLIP["poses"][:, :width])
    assert clip.model == "smpl" and clip.hands is None and clip.body.shape == (8, 22, 3)


def test_both_spellings_of_the_frame_rate():
    other = read(mocap_framerate=None, mocap_frame_rate=np.array(60))
    assert (other.fps, other.fps_key) == (60.0, "mocap_frame_rate")
    assert read(mocap_frame_rate=np.array([120])).fps == 120.0
    with pytest.raises(InputRejected, match="mocap_framerate = 120, mocap_frame_rate = 60"):
        read(mocap_frame_rate=np.array(60.0))
    with pytest.raises(InputRejected, match="mocap_framerate, mocap_frame_rate"):
        read(mocap_framerate=None)
    told = read(source_fps=100.0, mocap_framerate=None)
    assert (told.fps, told.fps_key, told.notes) == (100.0, "option", ())
    assert "mocap_framerate = 120" in read(source_fps=100.0).notes[0]


@pytest.mark.parametrize(
    ("stored", "gender"),
    [
        (np.array("male"), "male"),
        (np.array(b"female"), "female"),
        (np.array(["Neutral"]), "neutral"),
        (np.array("b'male'"), "male"),
        (np.array("unknown"), None),
        (None, None),
    ],
)
def test_gender_in_its_encodings(stored, gender):
    clip = read(gender=stored)
    assert clip.gender == gender
    assert bool(clip.notes) == (gender is None)


def test_betas_are_kept():
    np.testing.assert_array_equal(read(betas=np.arange(10.0)).betas, np.arange(10.0))
    np.testing.assert_array_equal(read(betas=np.arange(10.0)[None]).betas, np.arange(10.0))
    varying = read(betas=np.arange(80.0).reshape(8, 10))
    assert len(varying.betas) == 10 and "vary" in varying.notes[0]
    assert read(betas=None).betas.shape == (0,)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"poses": CLIP["poses"][:, :69]}, "69 columns"),
        ({"poses": CLIP["poses"][:5]}, "expected numbers"),
        ({"trans": CLIP["trans"][:, :2]}, "expected numbers"),
        ({"poses": np.full((8, 156), 1e5)}, "beyond 100 at frame 0, joint 0"),
        ({"gender": np.array(["male", "male"])}, "one"),
        ({"gender": np.array(1.0)}, "text"),
        ({"mocap_framerate": np.array(0)}, "1 to 1000"),
    ],
)
def test_what_is_refused(changes, reason):
    with pytest.raises(InputRejected, match=reason) as caught:
        read(**changes)
    assert caught.value.path == "a.npz"
