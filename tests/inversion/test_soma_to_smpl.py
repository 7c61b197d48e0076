"""SMPL family bodies from meshes, and SMPL to SOMA to SMPL by mesh."""

from dataclasses import replace

import numpy as np
import pytest

from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import pair_transfer, read_pair
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.smpl_forward import SmplBody
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.formats.smpl_model import SMPL_KINDS, read_smpl_model
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.smpl_inversion import SmplInversion
from soma_isaac.inversion.smpl_mesh import SmplMeshConverter
from soma_isaac.inversion.soma_to_smpl import SomaToSmpl
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from soma_isaac.motion.soma import MotionIdentity
from soma_isaac.rig.skeleton import template_rest_offsets
from tests.body.model_files import write_smpl
from tests.inversion.test_smpl_mesh import clip


@pytest.mark.parametrize("kind", list(SMPL_KINDS))
def test_the_models_own_meshes_come_back(kind, tmp_path):
    """Pose blend shapes included: without taking them off the error would be a thousand times as large."""
    body = SmplBody(read_smpl_model(write_smpl(tmp_path, kind), kind))
    inversion = SmplInversion(body)
    source = clip(kind)
    poses = body.full_pose(source.body, source.hands, source.face)
    poses[:, body.joint_count - 30 :] *= 0.4 if kind != "smpl" else 1.0
    subject = inversion.subject(source.betas)
    target = body.pose(subject.person, poses, source.trans).vertices.numpy()
    found = inversion.fit(target, subject)
    assert found.per_vertex_error.mean() < 3e-5 and found.per_vertex_error.max() < 1e-3
    np.testing.assert_allclose(found.trans, source.trans, atol=1e-4)
    turned = np.degrees(geodesic_angle(found.rotations, matrix_from_rotvec(poses)))
    weighty = (body.model.weights > 0.3).sum(axis=0) >= 15
    assert turned[:, weighty].max() < 0.5
    with pytest.raises(InputRejected):
        inversion.fit(target[:, 1:], subject)


@pytest.fixture(scope="module")
def both_ways(tmp_path_factory):
    layer = SomaLayer(load_template_rig(), lod="low", threads=1)
    inversion = PoseInversion(layer.body)
    path = write_smpl(tmp_path_factory.mktemp("smplh"), "smplh", gender="MALE")
    smpl = SmplBody(read_smpl_model(path, "smplh"))
    target = SomaTarget.of(layer.rig, "low")
    pair = (path.with_name("base_body.obj"), path.with_name("SOMA_wrap.obj"))
    transfer, _ = pair_transfer(target, *pair, unit_metres=1.0, native_count=smpl.vertex_count)
    there = SmplMeshConverter(smpl, transfer, layer, inversion, "male")
    base, wrap = read_pair(*pair, 1.0)
    return there, SomaToSmpl(there, TopologyTransfer(wrap[target.mid_rows], target.triangles, base.points))


def test_smpl_to_soma_to_smpl_is_bounded(both_ways):
    there, back = both_ways
    source = replace(clip(), hands=None)
    found = back.convert(there.convert(source, "c").motion)
    assert (found.clip.model, found.clip.gender, found.clip.fps) == ("smplh", "male", 120.0)
    np.testing.assert_array_equal(found.clip.betas, source.betas)
    assert found.mean_error.max() < 6e-3
    assert np.linalg.norm(found.clip.trans - source.trans, axis=1).max() < 0.01
    person = there.smpl.shape(source.betas)
    posed = [there.smpl.pose(person, there.smpl.full_pose(c.body, c.hands), c.trans) for c in (source, found.clip)]
    mesh, joints = (
        np.linalg.norm(getattr(posed[0], name).numpy() - getattr(posed[1], name).numpy(), axis=-1)
        for name in ("vertices", "joints")
    )
    print(f"mesh {1e3 * mesh.mean():.2f} mm in the mean, body joints {1e3 * joints[:, :22].mean():.2f} mm")
    assert mesh.mean() < 4e-3
    # rotations are not compared: a mesh hardly tells how a limb's twist is shared, and the two rigs share it otherwise
    assert joints[:, :22].mean() < 6e-3 and joints[:, :22].max() < 0.03


def test_another_identity_takes_the_mean_person_and_says_so(both_ways):
    there, back = both_ways
    motion = there.convert(replace(clip(), hands=None), "c").motion
    own = replace(motion, identity=MotionIdentity("kimodo", np.zeros(0), None, template_rest_offsets(), "file"))
    found = back.convert(own)
    assert found.clip.betas.size == 0 and found.mean_error.max() < 8e-3
    assert any("the mean smplh person took its place" in note for note in found.clip.notes)
