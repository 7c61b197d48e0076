"""One door for every format; what comes through it has a name, a digest and a frame rate."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import npz_bytes
from soma_isaac.formats.soma_npz import soma_npz_bytes
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import data_path
from tests.oracles.smpl import npz, random_clip

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
pytestmark = pytest.mark.py312


def test_formats_are_told_by_their_keys(tmp_path):
    path = tmp_path / "clip.npz"
    path.write_bytes(npz(random_clip()))
    motion = load_motion(path, name="folder/clip.npz")
    assert (motion.provenance.format, motion.provenance.source) == ("amass", "folder/clip.npz")
    assert motion.provenance.source_digest == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes(soma_npz_bytes(motion))
    again = load_motion(path)
    assert (again.provenance.format, again.provenance.source) == ("soma_npz", str(path))
    np.testing.assert_array_equal(again.rotations, motion.rotations)


def test_source_fps_reaches_every_npz_format(tmp_path):
    path = tmp_path / "clip.npz"
    path.write_bytes(npz(random_clip(), mocap_framerate=None))
    assert load_motion(path, source_fps=60.0).fps == 60.0
    with pytest.raises(InputRejected, match="frame rate"):
        load_motion(path, source_fps=0.0)


@pytest.mark.parametrize("frames", [1, 2])
def test_one_and_two_frames_are_motions(frames, tmp_path):
    path = tmp_path / "short.npz"
    path.write_bytes(npz({k: v[:frames] if v.ndim == 2 else v for k, v in random_clip().items()}))
    assert load_motion(path).frame_count == frames


def test_what_is_no_motion(tmp_path):
    path = tmp_path / "other.npz"
    path.write_bytes(npz_bytes({"weights": np.zeros(3), "bias": np.zeros(1)}))
    with pytest.raises(InputRejected, match=r"no motion format.*weights, bias"):
        load_motion(path)
    path.write_bytes(npz_bytes({"betas": np.zeros(16), "gender": np.array("male")}))
    with pytest.raises(InputRejected, match="body shape"):
        load_motion(path)
    with pytest.raises(InputRejected, match=r"suffix '\.pkl'; expected \.npz or \.bvh"):
        load_motion(tmp_path / "body.pkl")
    with pytest.raises(InputRejected, match="no such file") as caught:
        load_motion(tmp_path / "absent.npz", name="walks/absent.npz")
    assert caught.value.path == "walks/absent.npz"  # what the user knows, not where it lies


def test_bundled_clips_load():
    for path in sorted(data_path("demo_clips").glob("*.npz")):
        motion = load_motion(path)
        assert (motion.fps, motion.provenance.fps_key, motion.identity.gender) == (120.0, "mocap_framerate", "neutral")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared sample data are not here")
def test_every_shared_motion_loads():
    formats = {
        path.name: load_motion(path).provenance.format
        for path in [*SHARED.glob("amass/*.npz"), *SHARED.glob("soma_motion/*.npz")]
    }
    assert len(formats) == 9
    assert sorted(formats.values()) == ["amass", *["kimodo"] * 5, *["seed"] * 3]
