"""SMPL parameters under the names of body estimators: every form of a rotation gives the same clip, or a reason."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.npz import NpzArchive, npz_bytes
from soma_isaac.formats.smpl_params import is_smpl_params, read_smpl_params
from soma_isaac.math.so3 import matrix_from_rotvec

pytestmark = pytest.mark.py312
RNG = np.random.default_rng(4)
BODY, ROOT, TRANS = RNG.normal(scale=0.5, size=(6, 23, 3)), RNG.normal(size=(6, 1, 3)), RNG.normal(size=(6, 3))
BASE = {
    "body_pose": BODY.reshape(6, 69),
    "global_orient": ROOT[:, 0],
    "transl": TRANS,
    "betas": np.arange(10.0)[None],
    "gender": np.array("female"),
    "fps": np.array(30.0),
}


def archive(**changes):
    arrays = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    return NpzArchive(SourceBytes.of(npz_bytes(arrays), "params.npz"))


def matrices(rotvecs):
    return Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_matrix().reshape(*rotvecs.shape[:-1], 3, 3)


FORMS = {
    "rotvec": {},
    "rotvec per joint": {"body_pose": BODY, "global_orient": ROOT},
    "matrix": {"body_pose": matrices(BODY), "global_orient": matrices(ROOT)},
    "six": {
        "body_pose": None,
        "global_orient": None,
        "body_pose_6d": matrices(BODY)[..., :2, :].reshape(6, 23, 6),
        "global_orient_6d": matrices(ROOT)[:, 0, :2].reshape(6, 6),
    },
    "six in one row": {
        "body_pose": None,
        "global_orient": None,
        "body_pose_6d": matrices(BODY)[..., :2, :].reshape(6, 138),
        "global_orient_6d": matrices(ROOT)[:, 0, :2].reshape(6, 6),
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_the_same_clip(form):
    source = archive(**FORMS[form])
    assert is_smpl_params(source)
    clip = read_smpl_params(source)
    assert (clip.model, clip.fps, clip.gender) == ("smpl", 30.0, "female")
    np.testing.assert_array_equal(clip.betas, np.arange(10.0))
    expected = matrices(np.concatenate([ROOT, BODY[:, :21]], axis=1))
    np.testing.assert_allclose(matrix_from_rotvec(clip.body), expected, atol=1e-9)
    np.testing.assert_array_equal(clip.trans, TRANS)


def test_models_are_told_by_their_parts():
    hands = {f"{side}_hand_pose": RNG.normal(size=(6, 45)) for side in ("left", "right")}
    smplh = read_smpl_params(archive(body_pose=BODY[:, :21].reshape(6, 63), **hands))
    assert smplh.model == "smplh" and smplh.hands.shape == (6, 2, 15, 3) and smplh.face is None
    smplx = read_smpl_params(archive(body_pose=BODY[:, :21], jaw_pose=RNG.normal(size=(6, 3)), **hands))
    assert smplx.model == "smplx" and not smplx.face[:, 1:].any()


def test_amass_files_are_read_too():
    poses = np.zeros((2, 156))
    amass = {"poses": poses, "trans": np.zeros((2, 3)), "mocap_framerate": np.array(60.0)}
    clip = read_smpl_params(NpzArchive(SourceBytes.of(npz_bytes(amass), "a.npz")))
    assert (clip.model, clip.fps) == ("smplh", 60.0)


@pytest.mark.parametrize(
    "changes,words",
    [
        ({"body_pose": BODY[:, :20]}, "20 joints"),
        ({"global_orient": ROOT[:3, 0]}, "expected 1 in 6"),
        ({"transl": None}, "no translation"),
        ({"fps": None}, "no frame rate"),
        ({"fps": None, "mocap_framerate": np.array(30.0), "mocap_frame_rate": np.array(60.0)}, "contradicts itself"),
        ({"body_pose": matrices(BODY) * 2.0}, "not a rotation"),
        ({"body_pose": np.full((6, 69), np.nan)}, "body_pose"),
        ({"left_hand_pose": np.zeros((6, 12)), "right_hand_pose": np.zeros((6, 12))}, "components are not read"),
        (
            {"body_pose": None, "body_pose_6d": np.zeros((6, 23, 6))},
            "span no rotation",
        ),
        ({"global_orient": None}, "global_orient"),
    ],
)
def test_what_is_refused(changes, words):
    with pytest.raises(InputRejected, match=words):
        read_smpl_params(archive(**changes))
