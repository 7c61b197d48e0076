"""Posing the SMPL family, against the papers' formulas in float64."""

import numpy as np
import pytest

from soma_isaac.body.smpl_forward import SmplBody
from soma_isaac.errors import InputRejected
from soma_isaac.formats.smpl_model import SMPL_KINDS, read_smpl_model, smpl_npz_bytes
from soma_isaac.math.so3 import matrix_from_rotvec
from tests.body.model_files import npz, smpl_arrays
from tests.oracles.smpl_forward import smpl_forward


@pytest.fixture(scope="module", params=list(SMPL_KINDS))
def body(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / f"{request.param}.npz"
    path.write_bytes(npz(smpl_arrays(request.param)))
    return SmplBody(read_smpl_model(path, request.param))


def test_vertices_and_joints_are_the_papers(body):
    rng = np.random.default_rng(5)
    poses = rng.normal(scale=0.6, size=(5, body.joint_count, 3))
    poses[1] = 0.0
    poses[2, 3] *= np.pi / np.linalg.norm(poses[2, 3])  # half a turn
    trans, betas = rng.normal(size=(5, 3)), rng.normal(size=8)
    found = body.pose(body.shape(betas), poses, trans)
    arrays = smpl_arrays(body.model.kind)
    for row in range(5):
        vertices, joints = smpl_forward(arrays, betas, poses[row], trans[row])
        np.testing.assert_allclose(found.vertices.numpy()[row], vertices, atol=6e-6)
        np.testing.assert_allclose(found.joints.numpy()[row], joints, atol=4e-6)


def test_pose_blend_shapes_matter(body):
    """A body without them is another one, by more than the tolerance above: the test there can fail."""
    pose = np.zeros((1, body.joint_count, 3))
    pose[0, 18] = [0.0, 1.2, 0.0]
    arrays = smpl_arrays(body.model.kind)
    plain = smpl_forward({**arrays, "posedirs": 0 * arrays["posedirs"]}, np.zeros(1), pose[0], np.zeros(3))[0]
    assert np.abs(body.pose(body.shape(), pose).vertices.numpy()[0] - plain).max() > 1e-3


def test_one_person_many_poses_or_many_persons(body):
    rng = np.random.default_rng(6)
    betas, poses = rng.normal(size=(3, 10)), rng.normal(scale=0.3, size=(3, body.joint_count, 3))
    trans = rng.normal(size=(3, 3))
    together = body.pose(body.shape(betas), poses, trans).vertices.numpy()
    for row in range(3):
        alone = body.pose(body.shape(betas[row]), poses[row : row + 1], trans[row : row + 1])
        np.testing.assert_allclose(alone.vertices.numpy()[0], together[row], atol=2e-6)
    person = body.shape(betas[0])
    many = body.pose(person, poses, trans).vertices.numpy()
    chunks = [pose.vertices.numpy().copy() for _, pose in body.stream(person, poses, trans, chunk=2)]
    np.testing.assert_allclose(np.concatenate(chunks), many, atol=2e-6)
    same = body.pose(person, matrix_from_rotvec(poses), trans).vertices.numpy()
    np.testing.assert_allclose(same, many, atol=2e-6)


def test_no_betas_are_the_mean_body(body):
    np.testing.assert_array_equal(body.shape(np.zeros(0)).rest_points, body.shape().rest_points)


def test_parts_of_a_pose_find_their_joints(body):
    rng = np.random.default_rng(7)
    parts, hands, face = rng.normal(size=(2, 22, 3)), rng.normal(size=(2, 2, 15, 3)), rng.normal(size=(2, 3, 3))
    full = body.full_pose(parts, hands, face)
    np.testing.assert_array_equal(full[:, :22], parts)
    if body.model.kind == "smpl":
        assert not full[:, 22:].any()
        return
    np.testing.assert_array_equal(full[:, -30:].reshape(2, 2, 15, 3), hands)
    if body.model.kind == "smplx":
        np.testing.assert_array_equal(full[:, 22:25], face)
    assert not body.full_pose(parts)[:, 22:].any()


def test_mean_hands_come_from_the_file(tmp_path):
    means = np.random.default_rng(8).normal(size=(2, 45))
    path = tmp_path / "hands.npz"
    path.write_bytes(npz({**smpl_arrays("smplh"), "hands_meanl": means[0], "hands_meanr": means[1]}))
    model = read_smpl_model(path, "smplh")
    body = SmplBody(model)
    np.testing.assert_array_equal(body.full_pose(np.zeros((1, 22, 3)), flat=False)[0, 22:].ravel(), means.ravel())
    assert not body.full_pose(np.zeros((1, 22, 3)))[0, 22:].any()
    path.write_bytes(smpl_npz_bytes(model))
    np.testing.assert_array_equal(read_smpl_model(path, "smplh").hand_means, means.reshape(2, 15, 3))


def test_what_does_not_fit_is_refused(body, tmp_path):
    person = body.shape()
    with pytest.raises(InputRejected, match="poses has shape"):
        body.pose(person, np.zeros((1, body.joint_count + 1, 3)))
    with pytest.raises(InputRejected, match="not finite"):
        body.pose(person, np.full((1, body.joint_count, 3), np.nan))
    with pytest.raises(InputRejected, match="10 components"):
        body.shape(np.zeros(11))
    path = tmp_path / "model.npz"
    path.write_bytes(npz(smpl_arrays(body.model.kind)))
    with pytest.raises(InputRejected, match="pose=True"):
        SmplBody(read_smpl_model(path, body.model.kind, pose=False))
