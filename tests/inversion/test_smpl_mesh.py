"""AMASS clips by mesh, on models in the official layouts with a topology, blend shapes and proportions of their own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import pair_transfer
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.smpl_forward import SmplBody
from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import AmassClip, read_amass
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.formats.smpl_model import read_smpl_model
from soma_isaac.inversion.amass_resample import resample_clip
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.smpl_mesh import SmplMeshConverter
from soma_isaac.math.frames import yup_from_zup_points, yup_from_zup_rotations
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS
from tests.body.model_files import write_smpl
from tests.oracles.smpl import random_clip

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "amass" / "amass_sample_male.npz"


@pytest.fixture(scope="module")
def soma():
    layer = SomaLayer(load_template_rig(), lod="low", threads=1)
    return layer, PoseInversion(layer.body)


@pytest.fixture(scope="module")
def converters(soma, tmp_path_factory):
    made = {}

    def get(kind):
        if kind not in made:
            layer, inversion = soma
            path = write_smpl(tmp_path_factory.mktemp(kind), kind, gender="MALE")
            smpl = SmplBody(read_smpl_model(path, kind))
            target = SomaTarget.of(layer.rig, "low")
            pair = (path.with_name("base_body.obj"), path.with_name("SOMA_wrap.obj"))
            transfer, _ = pair_transfer(target, *pair, unit_metres=1.0, native_count=smpl.vertex_count)
            made[kind] = SmplMeshConverter(smpl, transfer, layer, inversion, "male")
        return made[kind]

    return get


def clip(model="smplh", frames=12, amplitude=0.3):
    arrays = random_clip(seed=3, frames=frames, amplitude=amplitude)
    joints = arrays["poses"].reshape(frames, -1, 3)
    hands = None if model == "smpl" else 0.5 * joints[:, 22:52].reshape(frames, 2, 15, 3)
    face = 0.2 * joints[:, 22:25] if model == "smplx" else None
    betas = np.array([1.0, -0.5, 0.8, 0.3])
    return AmassClip(model, 120.0, "fps", "male", betas, joints[:, :22], hands, face, arrays["trans"], (), "0" * 64)


@pytest.mark.skipif(not REAL.is_file(), reason="the real AMASS clip is not here")
def test_the_real_clip_on_a_24_joint_model_stays_within_5_3_mm_in_every_frame(converters):
    source = resample_clip(read_amass(open_npz(REAL)), 30.0)
    found = converters("smpl").convert(source, "c")
    print(f"mean {1e3 * found.mean_error.mean():.2f} mm, worst frame {1e3 * found.mean_error.max():.2f} mm")
    assert len(found.mean_error) == len(source.trans)
    assert found.mean_error.max() <= 5.3e-3
    # SOMA-X's figure is the mean; the worst vertex is held too, so that no limb can come off unseen
    assert found.largest_error.max() < 0.08


@pytest.mark.parametrize("kind", ["smpl", "smplh", "smplx"])
def test_errors_are_those_of_the_poses(converters, kind):
    """Posed again with what was found, the body is as far from the carried mesh as it says."""
    converter, source = converters(kind), clip(kind)
    found = converter.convert(source, "c")
    assert found.mean_error.max() < 6e-3
    person = converter.person(source.betas)
    smpl = converter.smpl.pose(
        person.smpl, converter.smpl.full_pose(source.body, source.hands, source.face), source.trans
    )
    carried = yup_from_zup_points(converter.transfer.apply(smpl.vertices.numpy()))
    motion = found.motion
    posed = converter.layer.pose(motion.rotations, motion.root_translation, identity=person.identity)
    error = np.linalg.norm(posed.vertices.numpy() - carried, axis=-1)
    np.testing.assert_allclose(found.per_vertex_error, error, atol=5e-5)
    np.testing.assert_allclose(found.mean_error, error.mean(axis=1), atol=2e-6)


def test_bones_are_the_persons_own(converters):
    """Joints of the motion, by its own rest offsets, are the posed layer's; taller betas give longer legs."""
    converter, source = converters("smplh"), clip()
    found = converter.convert(source, "c")
    motion, identity = found.motion, found.motion.identity
    assert (identity.model, identity.gender, identity.rest_source) == ("smplh", "male", "mesh")
    np.testing.assert_array_equal(identity.coefficients, source.betas)
    posed = converter.layer.pose(
        motion.rotations, motion.root_translation, identity=converter.person(source.betas).identity
    )
    world = np.tile(np.eye(3), (motion.frame_count, 78, 1, 1))
    place = np.zeros((motion.frame_count, 78, 3))
    for joint in range(1, 78):
        parent = PUBLIC_PARENTS[joint]
        world[:, joint] = world[:, parent] @ motion.rotations[:, joint - 1]
        place[:, joint] = place[:, parent] + world[:, parent] @ identity.rest_offsets[joint]
    place[:, 1:] += (motion.root_translation - place[:, 1])[:, None]
    np.testing.assert_allclose(place[:, 1:], posed.joints.numpy(), atol=1e-5)
    shin = PUBLIC_JOINT_NAMES.index("LeftShin")
    tall = converter.person(np.array([3.0])).rest_offsets
    assert np.linalg.norm(tall[shin]) > 1.05 * np.linalg.norm(converter.person(np.zeros(1)).rest_offsets[shin])
    assert 0.8 < tall[1, 1] < 1.5


def test_a_person_is_prepared_once(converters):
    converter = converters("smplh")
    betas = np.array([0.25, 0.5])
    assert converter.person(betas) is converter.person(betas.copy())
    for k in range(12):
        converter.person(np.array([0.01 * k]))
    assert len(converter._persons) <= 8


def test_z_up_and_y_up_files_of_one_motion_give_one_motion(converters):
    converter, source = converters("smplh"), clip()
    turned = source.body.copy()
    root = matrix_from_rotvec(source.body[:, 0])
    turned[:, 0] = rotvec_from_matrix(yup_from_zup_rotations(root))
    # SMPL turns about the pelvis, which stands off the origin by a constant in the file's axes
    pelvis = converter.smpl.shape(source.betas).rest_joints[0, 0].astype(np.float64)
    trans = yup_from_zup_points(source.trans + pelvis) - pelvis
    first = converter.convert(source, "c", "z").motion
    second = converter.convert(replace(source, body=turned, trans=trans), "c", "y").motion
    np.testing.assert_allclose(second.root_translation, first.root_translation, atol=1e-4)
    bodies = ("Hips", "Chest", "Head", "LeftArm", "LeftShin", "RightFoot")
    rows = [PUBLIC_JOINT_NAMES.index(name) - 1 for name in bodies]
    assert geodesic_angle(first.rotations[:, rows], second.rotations[:, rows]).max() < 2e-3
    with pytest.raises(InputRejected, match="neither 'y' nor 'z'"):
        converter.convert(source, "c", "x")


def test_what_the_model_lacks_is_said(converters):
    long = replace(clip(), betas=np.ones(16))
    notes = " ".join(converters("smpl").convert(long, "c").motion.provenance.notes)
    assert "6 more of the clip are left out" in notes and "no fingers" in notes
    silent = " ".join(converters("smplh").convert(clip(), "c").motion.provenance.notes)
    assert "left out" not in silent and "converted by mesh" in silent


def test_resampling_comes_first_and_the_same_rate_changes_nothing():
    source = clip(frames=40)
    assert resample_clip(source, 120.0) is source
    slower = resample_clip(source, 50.0)
    assert len(slower.trans) == len(slower.body) == len(slower.hands) == 17 and slower.fps == 50.0
    assert slower.notes == ("resampled from 120 to 50 Hz",)
