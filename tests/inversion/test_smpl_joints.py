"""SMPL joint rotations on the SOMA skeleton: planted feet stay planted, bones keep their directions, up is up."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import read_amass
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.inversion.smpl_body import PELVIS_FROM_TRANS, BodySize, rest_offsets
from soma_isaac.inversion.smpl_joints import rotvec_between, soma_from_amass
from soma_isaac.math.frames import yup_from_zup_points, zup_from_yup_points
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from soma_isaac.retarget.human import KEYPOINT_JOINTS
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, forward_kinematics
from tests.oracles.smpl import joint_positions, npz, random_clip

SAMPLE = Path(__file__).resolve().parents[3] / "shared" / "data" / "amass" / "amass_sample_male.npz"
SMPL_NAMES = list(KEYPOINT_JOINTS)
pytestmark = pytest.mark.py312


MEAN = BodySize.uniform(1.05, "given")


def convert(arrays, up_axis=None, size=None, **changes):
    clip = read_amass(NpzArchive(SourceBytes.of(npz(arrays, **changes), "a.npz")))
    return soma_from_amass(clip, "a.npz", up_axis, size)


def positions(motion):
    return forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)[0]


def at(places, name):
    return places[:, POSE_JOINT_NAMES.index(KEYPOINT_JOINTS.get(name, name))]


def scale_of(motion):
    """Leg length over the mean person's."""
    return motion.identity.rest_offsets[1, 1] / rest_offsets(BodySize.uniform(1.0, ""), motion.identity.model)[1, 1]


@pytest.mark.parametrize(("seed", "width"), [(0, 156), (1, 165), (2, 72)])
def test_legs_stand_where_smpl_has_them(seed, width):
    arrays = random_clip(seed, width=width)
    motion = convert(arrays, size=MEAN)
    smpl = yup_from_zup_points(
        joint_positions(arrays["poses"], arrays["trans"], scale_of(motion), motion.identity.model)
    )
    soma = positions(motion)
    for name in ("hip", "knee", "ankle", "foot"):
        for side in ("left", "right"):
            wanted = smpl[:, SMPL_NAMES.index(f"{side}_{name}")]
            # the foot's bone is taken level with the sole; a millimetre is what that changes
            limit = 2e-3 if name == "foot" else 1e-6
            assert np.linalg.norm(at(soma, f"{side}_{name}") - wanted, axis=-1).max() < limit


@pytest.mark.parametrize(("seed", "width"), [(0, 156), (1, 165), (2, 72)])
def test_arms_point_where_smpls_point(seed, width):
    arrays = random_clip(seed, amplitude=0.8, width=width)
    motion = convert(arrays, size=MEAN)
    smpl = yup_from_zup_points(
        joint_positions(arrays["poses"], arrays["trans"], scale_of(motion), motion.identity.model)
    )
    soma = positions(motion)
    for side in ("left", "right"):
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist")):
            bone = at(soma, f"{side}_{end}") - at(soma, f"{side}_{start}")
            wanted = smpl[:, SMPL_NAMES.index(f"{side}_{end}")] - smpl[:, SMPL_NAMES.index(f"{side}_{start}")]
            np.testing.assert_allclose(bone, wanted, atol=1e-9)


def test_the_zero_pose_has_the_shape_of_smpls():
    arrays = random_clip(frames=3, amplitude=0.0)
    motion = convert(arrays, size=MEAN)
    smpl = yup_from_zup_points(joint_positions(arrays["poses"], arrays["trans"], scale_of(motion)))
    soma = positions(motion)
    for name, limit in (("left_shoulder", 0.02), ("right_wrist", 0.02), ("neck", 0.04), ("head", 0.07)):
        assert np.linalg.norm(at(soma, name) - smpl[:, SMPL_NAMES.index(name)], axis=-1).max() < limit
    fingers = at(soma, "LeftHandMiddle4") - at(soma, "LeftHandMiddle2")
    np.testing.assert_allclose(fingers[0, 1], 0.0, atol=0.01)  # palms down, fingers along the arm
    assert at(soma, "LeftHandThumb3")[0, 2] > at(soma, "LeftHandPinky3")[0, 2] + 0.05


def test_a_bent_trunk_carries_the_shoulders_along():
    arrays = random_clip(frames=3, amplitude=0.0)
    poses = arrays["poses"].copy()
    for joint in (3, 6, 9):
        poses[:, 3 * joint] = np.radians(20.0)
    motion = convert(arrays, size=MEAN, poses=poses)
    smpl = yup_from_zup_points(joint_positions(poses, arrays["trans"], scale_of(motion)))
    for name in ("left_shoulder", "right_shoulder"):
        error = np.linalg.norm(at(positions(motion), name) - smpl[:, SMPL_NAMES.index(name)], axis=-1).max()
        assert error < 0.07, "60 degrees of bend, spread over joints that sit lower than SMPL's"
    _, world = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    bend = geodesic_angle(world[:, POSE_JOINT_NAMES.index("Hips")], world[:, POSE_JOINT_NAMES.index("Chest")])
    np.testing.assert_allclose(np.degrees(bend), 60.0, atol=1e-6)


@pytest.mark.parametrize("scale", [0.9, 1.0, 1.12])
def test_size_is_found_where_the_soles_meet_the_floor(scale):
    """A person of another size who stands on the floor and bends the knees: only then does the height fit."""
    arrays = random_clip(frames=60, amplitude=0.0)
    poses, bend = arrays["poses"].copy(), np.linspace(0.0, 0.8, 60)
    for joint, share in ((1, -1.0), (4, 2.0), (7, -1.0)):
        poses[:, 3 * joint] = poses[:, 3 * joint + 3] = share * bend
    joints = joint_positions(poses, np.zeros((60, 3)), scale)
    trans = np.zeros((60, 3))
    trans[:, 2] = scale * 0.064 - joints[:, 7, 2]
    motion = convert(arrays, poses=poses, trans=trans)
    np.testing.assert_allclose(scale_of(motion), scale, rtol=0.01)
    assert "fitted to 2 stances" in " ".join(motion.provenance.notes)
    ankles = at(positions(motion), "left_ankle")
    np.testing.assert_allclose(ankles[:, 1], 0.064 * scale, atol=0.01)
    assert motion.identity.rest_source == "estimated"


def test_without_a_stance_the_mean_of_the_gender_is_taken():
    arrays = random_clip(frames=30, amplitude=0.0)
    flying = convert(arrays, trans=arrays["trans"] + np.outer(np.arange(30.0) / 10.0, [1.0, 0.0, 0.0]))
    np.testing.assert_allclose(scale_of(flying), 1.64 / 1.70, rtol=1e-9)
    assert "no stance was found" in " ".join(flying.provenance.notes)
    assert (flying.identity.gender, len(flying.identity.coefficients)) == ("female", 16)


def test_feet_on_a_ledge_say_nothing_about_size():
    arrays = random_clip(frames=30, amplitude=0.0)
    motion = convert(arrays, trans=np.broadcast_to([0.0, 0.0, 2.9], (30, 3)), gender=np.array("male"))
    np.testing.assert_allclose(scale_of(motion), 1.77 / 1.70, rtol=1e-6)
    assert "none of them at the file's zero height" in " ".join(motion.provenance.notes)


def test_y_up_files_are_told_apart():
    arrays = random_clip(frames=50, amplitude=0.2)
    as_z = convert(arrays)
    assert (as_z.provenance.up_axis, as_z.provenance.up_axis_source) == ("z", "format")
    poses = arrays["poses"].copy()
    turn = Rotation.from_matrix([[0, 1, 0], [0, 0, 1], [1, 0, 0]])
    poses[:, :3] = (turn * Rotation.from_rotvec(poses[:, :3])).as_rotvec()
    # the pelvis stands off trans by a constant of the file's own axes, so the same person has another trans
    pelvis = yup_from_zup_points(arrays["trans"] + scale_of(as_z) * np.array(PELVIS_FROM_TRANS["smplh"]))
    trans = pelvis - scale_of(as_z) * np.array(PELVIS_FROM_TRANS["smplh"])
    as_y = convert(arrays, poses=poses, trans=trans)
    assert (as_y.provenance.up_axis, as_y.provenance.up_axis_source) == ("y", "detected")
    np.testing.assert_allclose(positions(as_y), positions(as_z), atol=1e-6)
    assert convert(arrays, poses=poses, trans=trans, up_axis="y").provenance.up_axis_source == "option"
    with pytest.raises(InputRejected, match="up axis 'x'"):
        convert(arrays, up_axis="x")


def test_someone_who_lies_down_is_still_z_up():
    arrays = random_clip(frames=50, amplitude=0.1)
    poses = arrays["poses"].copy()
    lying = Rotation.from_rotvec([-np.pi / 2, 0.0, 0.0])  # on the back, head towards +y
    poses[:, :3] = (lying * Rotation.from_rotvec(poses[:, :3])).as_rotvec()
    still = np.array([0.0, 0.0, 0.15]) + np.linspace(0, 1, 50)[:, None] * [0.02, 0.3, 0.01]
    motion = convert(arrays, poses=poses, trans=still)
    assert motion.provenance.up_axis == "z"


def test_shares_of_a_rotation_do_not_jump_at_half_a_turn():
    angle = np.linspace(2.5, 4.0, 60)
    turning = matrix_from_rotvec(np.outer(angle, [0.0, 0.6, 0.8]))
    rotvecs = rotvec_between(np.broadcast_to(np.eye(3), turning.shape), turning)
    np.testing.assert_allclose(np.linalg.norm(rotvecs, axis=-1), angle, atol=1e-9)
    assert np.abs(np.diff(rotvecs, axis=0)).max() < 0.05
    still = rotvec_between(turning, turning)
    np.testing.assert_allclose(still, 0.0, atol=1e-6)


@pytest.mark.skipif(not SAMPLE.is_file(), reason="the shared AMASS sample is not here")
def test_a_real_clip_lands_at_its_markers():
    """Joints against the middle of the markers around them: unknown betas and skin in between, so centimetres."""
    archive = NpzArchive(SourceBytes.of(SAMPLE.read_bytes(), "a.npz"))
    motion = soma_from_amass(read_amass(archive), "a.npz")
    labels = archive.texts("marker_labels")
    markers = archive.numbers("marker_data", (None, len(labels), 3))
    places = zup_from_yup_points(positions(motion))
    around = {
        "left_knee": ("LKNE", "LKNI"),
        "right_knee": ("RKNE", "RKNI"),
        "left_elbow": ("LIEL", "LELB"),
        "right_elbow": ("RIEL", "RELB"),
        "left_wrist": ("LOWR", "LIWR"),
        "right_wrist": ("ROWR", "RIWR"),
        "left_foot": ("LMT1", "LMT5"),
        "right_foot": ("RMT1", "RMT5"),
        "head": ("LFHD", "LBHD", "RFHD", "RBHD"),
    }
    error = {}
    for name, near in around.items():
        middle = np.mean([markers[:, labels.index(label)] for label in near], axis=0)
        error[name] = float(np.linalg.norm(at(places, name) - middle, axis=-1).mean())
    assert max(error.values()) < 0.09, error
    assert np.mean(list(error.values())) < 0.06, error
    # a person on a chair: the size comes from the feet on the floor all the same
    assert 1.5 < 1.7 * scale_of(motion) < 1.95
    assert motion.identity.gender == "male" and len(motion.identity.coefficients) == 16
