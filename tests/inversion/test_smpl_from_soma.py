"""SMPL to SOMA to SMPL by joint rotations: what comes back exactly, and what is bounded."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import read_amass
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.formats.smpl_params import amass_npz_bytes
from soma_isaac.inversion.smpl_from_soma import amass_from_soma
from soma_isaac.inversion.smpl_joints import soma_from_amass
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS
from tests.oracles.smpl import npz, random_clip

EXACT = [joint for joint in range(22) if joint not in (6, 9)]


def clip(width=156, **changes):
    data = npz(random_clip(seed=width, width=width), **changes)
    return read_amass(NpzArchive(SourceBytes.of(data, "clip.npz")))


def angles(first, second):
    return geodesic_angle(matrix_from_rotvec(first), matrix_from_rotvec(second))


@pytest.mark.parametrize("width", [66, 156, 165])
def test_there_and_back(width):
    source = clip(width)
    back = amass_from_soma(soma_from_amass(source, "c"), source.model)
    assert (back.model, back.fps, back.gender) == (source.model, source.fps, source.gender)
    np.testing.assert_array_equal(back.betas, source.betas)
    np.testing.assert_allclose(back.trans, source.trans, atol=1e-9)
    error = angles(back.body, source.body)
    assert error[:, EXACT].max() < 1e-6
    # spine2 and spine3 turn against each other, their sum is exact
    spine = [matrix_from_rotvec(c.body[:, 3]) @ matrix_from_rotvec(c.body[:, 6]) @ matrix_from_rotvec(c.body[:, 9])
             for c in (source, back)]  # fmt: skip
    assert geodesic_angle(*spine).max() < 1e-6
    if source.hands is not None:
        assert angles(back.hands, source.hands).max() < 1e-6
    if source.face is not None:
        assert angles(back.face, source.face).max() < 1e-6


@pytest.mark.parametrize("model", ["smpl", "smplh", "smplx"])
def test_soma_comes_back_bounded(model):
    """SOMA, SMPL, SOMA: limbs are exact, the spine's joints share their sum anew."""
    first = soma_from_amass(clip(), "c")
    clip_there = amass_from_soma(first, model)
    data = NpzArchive(SourceBytes.of(amass_npz_bytes(clip_there), "there.npz"))
    again = soma_from_amass(read_amass(data), "d")
    world = []
    for motion in (first, again):
        turned = motion.rotations.copy()
        for joint, parent in enumerate(POSE_PARENTS):
            if parent >= 0:
                turned[:, joint] = turned[:, parent] @ motion.rotations[:, joint]
        world.append(turned)
    error = geodesic_angle(*world)
    fingers = np.array(["Hand" in name and not name.endswith("Hand") for name in POSE_JOINT_NAMES])
    assert error[:, ~fingers].max() < 1e-6
    if model != "smpl":
        assert error.max() < 1e-6


def test_foreign_identities_bring_no_betas():
    motion = soma_from_amass(clip(165), "c")
    there = amass_from_soma(motion, "smplh")
    assert there.betas.size == 0 and there.gender is None
    assert any("betas and gender are unknown" in note for note in there.notes)
    with pytest.raises(InputRejected, match="no SMPL model 'mano'"):
        amass_from_soma(motion, "mano")


def test_written_clips_are_read_back(tmp_path):
    for width in (156, 165):
        source = clip(width)
        data = amass_npz_bytes(source)
        back = read_amass(NpzArchive(SourceBytes.of(data, "clip.npz")))
        assert (back.model, back.fps, back.gender) == (source.model, source.fps, source.gender)
        for name in ("betas", "body", "hands", "face", "trans"):
            mine, theirs = getattr(back, name), getattr(source, name)
            assert (mine is None) == (theirs is None)
            if mine is not None:
                np.testing.assert_array_equal(mine, theirs)
        assert amass_npz_bytes(back) == data
