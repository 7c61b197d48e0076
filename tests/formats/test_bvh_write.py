"""Written BVH is read back as it was: branches, ends, joints with positions, any rotation."""

import numpy as np
import pytest

from soma_isaac.formats.bvh import BvhClip, parse_bvh
from soma_isaac.formats.bvh_write import bvh_bytes
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec


def test_clip_comes_back():
    generator = np.random.default_rng(0)
    rotations = matrix_from_rotvec(generator.normal(size=(6, 5, 3)))
    rotations[2, 1] = matrix_from_rotvec(np.array([np.pi / 2, 0.0, 0.0]))  # the middle angle at a right angle
    clip = BvhClip(
        ("root", "left arm", "left:hand", "right", "tail"),
        np.array([-1, 0, 1, 0, 0]),
        generator.normal(size=(5, 3)) * 50.0,
        np.array([2, 3]),
        generator.normal(size=(2, 3)),
        rotations,
        np.array([0, 3]),
        generator.normal(size=(6, 2, 3)) * 100.0,
        120.0,
        "Frame Time",
        "",
        (),
    )
    back = parse_bvh(SourceBytes.of(bvh_bytes(clip), "clip.bvh"))
    assert back.joint_names == clip.joint_names and back.fps == 120.0
    for name in ("parent_indices", "end_parents", "positioned_joints"):
        assert getattr(back, name).tolist() == getattr(clip, name).tolist(), name
    for name in ("offsets", "end_offsets", "positions"):
        assert getattr(back, name) == pytest.approx(getattr(clip, name), abs=1e-6), name
    assert geodesic_angle(back.rotations, clip.rotations).max() < 1e-7
