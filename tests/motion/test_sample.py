"""A motion between its frames, against scipy's Slerp."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.motion.sample import pose_at
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import template_rest_offsets
from tests.oracles.clip_pose import clip_pose

pytestmark = pytest.mark.py312


def wild(frames):
    rng = np.random.default_rng(7)
    identity = MotionIdentity("soma", np.zeros(0), None, template_rest_offsets(), "template")
    provenance = Provenance("wild", "0" * 64, "generated", "option", "y", "format")
    rotations = Rotation.random(frames * 77, rng).as_matrix().reshape(frames, 77, 3, 3)
    return SomaMotion(30.0, rotations, rng.normal(size=(frames, 3)), identity, provenance)


@pytest.mark.parametrize("time", [-1.0, 0.0, 0.01, 0.1, 4.0 / 30.0, 0.149, 0.2, 9.0])
def test_it_is_the_great_circle_between_the_frames_and_holds_the_ends(time):
    motion = wild(7)
    rotations, hips = pose_at(motion, time)
    expected, place = clip_pose(motion, time)
    np.testing.assert_allclose(rotations, expected, atol=1e-12)
    np.testing.assert_allclose(hips, place, atol=1e-12)


def test_a_single_frame_is_held():
    motion = wild(1)
    rotations, hips = pose_at(motion, 0.3)
    np.testing.assert_array_equal(rotations, motion.rotations[0])
    np.testing.assert_array_equal(hips, motion.root_translation[0])
