"""A motion at another rate keeps its body, its origin and its duration, and says so."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.motion.resample import resample
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import template_rest_offsets

pytestmark = pytest.mark.py312


def standing(frames: int, fps: float) -> SomaMotion:
    rotations = np.broadcast_to(np.eye(3), (frames, 77, 3, 3))
    place = np.stack([np.zeros(frames), np.ones(frames), np.arange(frames) / fps], axis=-1)
    identity = MotionIdentity("soma", np.zeros(0), None, template_rest_offsets(), "template")
    return SomaMotion(
        fps, rotations, place, identity, Provenance("a", "0" * 64, "kimodo", "fps", "y", "format", ("n",))
    )


@pytest.mark.parametrize(("fps", "target", "frames"), [(120.0, 50.0, 251), (59.94, 50.0, 501), (30.0, 50.0, 1001)])
def test_rate_place_and_note(fps, target, frames):
    motion = standing(601, fps)
    result = resample(motion, target)
    assert (result.fps, result.frame_count) == (target, frames)
    np.testing.assert_allclose(result.root_translation[:, 2], np.arange(frames) / target, atol=1e-9)
    np.testing.assert_allclose(result.rotations, np.broadcast_to(np.eye(3), result.rotations.shape), atol=1e-12)
    assert result.identity is motion.identity
    assert result.provenance.notes == ("n", f"resampled from {fps:g} to {target:g} Hz")


def test_the_same_rate_is_the_same_motion():
    motion = standing(4, 59.94)
    assert resample(motion, 59.94) is motion


def test_rates_out_of_range():
    for fps in (0.0, 1e6, float("nan")):
        with pytest.raises(InputRejected, match="frame rate"):
            resample(standing(4, 30.0), fps)
