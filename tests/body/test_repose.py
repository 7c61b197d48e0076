"""Rest shapes in the template's bind pose: what reposing keeps, what it removes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body.repose import Repose
from soma_isaac.errors import InputRejected

LODS = ("mid", "low", "xlo")


@pytest.fixture(scope="module")
def repose(rig):
    return Repose(rig, "low")


def source_points(rig, lod):
    return rig.mesh("mid" if lod == "mid" else "low").points


def bone_lengths(bind, parents):
    joints = bind[..., :3, 3]
    return np.linalg.norm(joints[:, 2:] - joints[:, parents[2:78]], axis=-1)


@pytest.mark.parametrize("lod", LODS)
def test_the_template_is_only_moved(rig, lod):
    # Its Hips are moved over the origin; its joints are above the floor as they are.
    rest, bind = Repose(rig, lod).prepare_rest(source_points(rig, lod)[None])
    expected = rig.skeleton.bind_T_world_joint[:78].copy()
    shift = np.array([-expected[1, 0, 3], 0.0, -expected[1, 2, 3]])
    expected[1:, :3, 3] += shift
    assert rest.dtype == np.float32
    np.testing.assert_allclose(rest[0], rig.mesh(lod).points + shift, atol=2e-6)
    np.testing.assert_allclose(bind[0], expected, atol=1e-6)


@pytest.mark.parametrize("lod", LODS)
def test_without_reposing_shapes_stay_and_the_bind_is_the_fitted_one(rig, lod):
    repose, points = Repose(rig, lod), source_points(rig, lod)[None] * [1.1, 0.9, 1.0] + [0.1, 0.2, 0.3]
    rest, bind = repose.prepare_rest(points, repose=False)
    np.testing.assert_array_equal(bind, repose.fit.fit(points))
    if lod != "xlo":
        np.testing.assert_allclose(rest, points, atol=1e-6)
    else:
        # What rides on the low mesh follows it; affine maps shear its normals a little.
        expected = rig.mesh("xlo").points * [1.1, 0.9, 1.0] + [0.1, 0.2, 0.3]
        assert np.linalg.norm(rest[0] - expected, axis=1).max() < 5e-3


def test_a_turned_body_is_turned_back(rig, repose):
    points = rig.mesh("low").points
    turned = points @ Rotation.from_rotvec([0.2, 1.0, -0.4]).as_matrix().T
    rest, bind = repose.prepare_rest(np.stack([points, turned]))
    # All of it but for its height above the floor: the turned Hips lie lower.
    drop = rest[1] - rest[0]
    assert np.ptp(drop, axis=0).max() < 5e-6
    assert np.abs(drop[:, [0, 2]]).max() < 5e-6
    np.testing.assert_allclose(bind[1, :, :3, :3], bind[0, :, :3, :3], atol=1e-5)


def test_a_bent_arm_is_straightened(rig, body, identity):
    # The template with its left arm raised by 20 degrees is still the template.
    poses = np.zeros((2, 77, 3))
    bind, names = rig.skeleton.bind_T_world_joint, rig.public_joint_names
    local = np.stack(
        [np.linalg.inv(bind[rig.skeleton.parent_indices[j]])[:3, :3] @ bind[j, :3, :3] for j in range(1, 78)]
    )
    poses = np.stack([local, local])
    shoulder = names.index("LeftArm")
    above = bind[rig.skeleton.parent_indices[shoulder], :3, :3]
    raised = Rotation.from_rotvec([0.0, 0.0, np.radians(20.0)]).as_matrix()
    poses[1, shoulder - 1] = above.T @ raised @ bind[shoulder, :3, :3]
    posed = body.pose(identity, poses, bind[1, :3, 3][None], absolute=True).vertices.numpy()
    rest, _ = Repose(rig, "mid").prepare_rest(posed)
    raw, straightened = (np.linalg.norm(points[1] - points[0], axis=1) for points in (posed, rest))
    assert raw.max() > 0.15
    # Linear blending is not invertible around the shoulder; the arm itself is back to a few millimetres.
    assert np.median(straightened[raw > 0.05]) < 3e-3 and straightened.max() < 0.02


def test_bones_keep_their_fitted_lengths_and_take_the_templates_rotations(rig, repose):
    points = rig.mesh("low").points
    shape = (points * [1.2, 0.9, 1.1] + 0.03 * np.sin(5.0 * points[:, [1, 2, 0]]))[None]
    fitted = repose.fit.fit(shape)
    _, bind = repose.prepare_rest(shape)
    parents = rig.skeleton.parent_indices
    np.testing.assert_allclose(bone_lengths(bind, parents), bone_lengths(fitted, parents), atol=1e-12)
    np.testing.assert_array_equal(bind[0, 1:, :3, :3], rig.skeleton.bind_T_world_joint[1:78, :3, :3])
    np.testing.assert_array_equal(bind[0, 0], np.eye(4))
    np.testing.assert_array_equal(bind[0, 1, [0, 2], 3], 0.0)


def test_no_joint_is_below_the_floor(rig, repose):
    points = rig.mesh("low").points
    _, bind = repose.prepare_rest(np.stack([points - [0.0, 1.5, 0.0], points, points + [0.0, 0.4, 0.0]]))
    lowest = bind[:, 1:, 1, 3].min(axis=1)
    assert lowest[0] == pytest.approx(0.0, abs=1e-9)
    # A body above the floor stays where it is: the root, which is on the floor, counts.
    assert lowest[2] - lowest[1] == pytest.approx(0.4, abs=1e-6) and lowest[1] > 0.0


@pytest.mark.parametrize("lod", LODS)
def test_size_does_not_matter(rig, lod):
    repose, points = Repose(rig, lod), source_points(rig, lod)
    shape = (points * [1.2, 0.9, 1.1])[None]
    (rest, bind), (scaled_rest, scaled_bind) = (repose.prepare_rest(shape * scale) for scale in (1.0, 100.0))
    np.testing.assert_allclose(scaled_rest, rest * 100.0, atol=5e-4)
    np.testing.assert_allclose(scaled_bind[..., :3, 3], bind[..., :3, 3] * 100.0, atol=5e-4)


@pytest.mark.parametrize("lod", LODS)
def test_batch_and_single_agree_and_a_known_bind_changes_nothing(rig, lod):
    repose, points = Repose(rig, lod), source_points(rig, lod)
    shapes = points * np.random.default_rng(1).uniform(0.8, 1.2, size=(3, 1, 3))
    rest, bind = repose.prepare_rest(shapes)
    for row in range(3):
        single = repose.prepare_rest(shapes[row, None])
        np.testing.assert_allclose(single[0][0], rest[row], atol=1e-6)
        np.testing.assert_allclose(single[1][0], bind[row], atol=1e-12)
    known = repose.prepare_rest(shapes, bind=repose.fit.fit(shapes))
    np.testing.assert_array_equal(known[0], rest)
    np.testing.assert_array_equal(known[1], bind)
    assert repose.prepare_rest(shapes[:0])[0].shape == (0, rig.mesh(lod).vertex_count, 3)


def test_the_fitted_bind_is_left_as_it_was(rig, repose):
    fitted = repose.fit.fit(rig.mesh("low").points[None])
    before = fitted.copy()
    repose.prepare_rest(rig.mesh("low").points[None], bind=fitted)
    np.testing.assert_array_equal(fitted, before)


def test_wrong_input_is_refused(rig, repose):
    with pytest.raises(InputRejected, match="one bind for each of 2 shapes"):
        repose.prepare_rest(np.zeros((2, 4505, 3)), bind=np.zeros((1, 78, 4, 4)))
    with pytest.raises(InputRejected, match="expected"):
        repose.prepare_rest(np.zeros((2, 612, 3)))
