"""Shape inversion: coefficients from rest meshes and joints, on every identity model that tests can have."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body.identities import SomaTarget, load_identity
from soma_isaac.body.identities.presets import open_shape_space
from soma_isaac.body.skeleton_fit import SkeletonFit
from soma_isaac.errors import InputRejected
from soma_isaac.inversion.shape_inversion import fit_shape
from soma_isaac.inversion.shape_solver import procrustes
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS
from tests.body import model_files


@pytest.fixture(scope="module")
def target(rig):
    return SomaTarget.of(rig, "low")


@pytest.fixture(scope="module")
def soma(target):
    return load_identity("soma", target, model_path=open_shape_space())


@pytest.fixture(scope="module")
def skeleton(rig, target):
    fit = SkeletonFit(rig, "low", excluded_vertices=target.bag_vertices)
    return lambda points: fit.fit(points)[:, :, :3, 3]


@pytest.fixture(scope="module")
def assets(tmp_path_factory):
    root = tmp_path_factory.mktemp("assets")
    model_files.write_smpl(root)
    model_files.write_garment(root)
    return root


def drawn(model, batch, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, model.spec.coefficients.count)).astype(np.float32)


def bones(joints):
    """Bone lengths [B, 76] from Hips on."""
    return np.linalg.norm(joints[:, 2:] - joints[:, np.array(PUBLIC_PARENTS[2:])], axis=-1)


def distance(a, b):
    return np.linalg.norm(np.asarray(a, dtype=np.float64) - b, axis=-1)


MOVED = Rotation.from_rotvec([[0.3, 2.5, -0.4], [1.0, -0.2, 0.1]]).as_matrix()


def test_open_space_round_trip(soma):
    coefficients = drawn(soma, 3)
    points = soma.rest_points(coefficients)
    fit = fit_shape(soma, points, prior_weight=0.0, free_similarity=False)
    assert np.abs(fit.coefficients - coefficients).max() < 1e-3
    assert fit.vertex_error is not None and fit.vertex_error.max() < 1e-6
    assert fit.joint_error is None and fit.scales is None
    np.testing.assert_array_equal(fit.rotation, np.tile(np.eye(3), (3, 1, 1)))
    assert [part.steps for part in fit.residuals] == [1, 1, 1]
    assert all(part.converged and abs(part.determined - 64.0) < 0.1 for part in fit.residuals)


def test_the_closed_form_is_the_ridge_regression(soma):
    points = soma.rest_points(drawn(soma, 1)) + np.random.default_rng(1).normal(scale=0.003, size=(1, 4505, 3))
    weights = np.random.default_rng(2).uniform(size=4505)
    prior = 1e-6
    fit = fit_shape(soma, points, prior_weight=prior, free_similarity=False, vertex_weights=weights)
    share = np.repeat(np.sqrt(weights / weights.sum()), 3)
    directions = soma.linear.directions.reshape(64, -1).astype(np.float64)
    rows = np.vstack([(directions * share).T, np.sqrt(prior) * np.eye(64)])
    right = np.concatenate([(points[0] - soma.linear.mean).reshape(-1) * share, np.zeros(64)])
    expected = np.linalg.lstsq(rows, right, rcond=None)[0]
    np.testing.assert_allclose(fit.coefficients[0], expected, atol=2e-5)
    curvature = (directions * share) @ (directions * share).T
    determined = np.trace(curvature @ np.linalg.inv(curvature + prior * np.eye(64)))
    assert fit.residuals[0].determined == pytest.approx(determined, abs=1e-4)


def test_moved_and_turned_bodies_are_recovered_with_their_place(soma, skeleton):
    coefficients = drawn(soma, 2, seed=3)
    points = soma.rest_points(coefficients)
    joints = skeleton(points)
    shift = np.array([[[1.0, -3.0, 0.5]], [[-0.2, 0.9, 7.0]]])
    moved = [part @ np.swapaxes(MOVED, 1, 2) + shift for part in (points, joints)]
    fit = fit_shape(soma, *moved, prior_weight=0.0)
    assert np.abs(fit.coefficients - coefficients).max() < 1e-2
    assert np.abs(fit.rotation - MOVED).max() < 1e-4
    assert distance(fit.placed(soma.rest_points(fit.coefficients)), moved[0]).max() < 1e-5
    assert fit.joint_error is not None and fit.joint_error[:, 1:].max() < 1e-5


def test_scaled_bodies_in_another_unit(soma):
    points = soma.rest_points(drawn(soma, 1, seed=4))
    moved = 100.0 * points @ MOVED[0].T + 30.0
    fit = fit_shape(soma, moved, free_scale=True)
    assert distance(fit.placed(soma.rest_points(fit.coefficients)), moved).mean() < 0.01  # cm
    # How much of the size is the body's own is left open, but not the unit.
    assert 85.0 < fit.similarity_scale[0] < 115.0
    assert fit_shape(soma, moved / 100.0).similarity_scale[0] == 1.0


@pytest.mark.parametrize("scaled", [False, True])
def test_coefficients_and_place_are_at_the_minimum_together(soma, scaled):
    points = soma.rest_points(drawn(soma, 1)) + np.random.default_rng(1).normal(scale=0.01, size=(1, 4505, 3))
    fit = fit_shape(soma, points @ MOVED[0].T, prior_weight=1e-7, free_scale=scaled)
    body = soma.rest_points(fit.coefficients)[0].astype(np.float64)
    best = procrustes(body, points[0] @ MOVED[0].T, np.ones(4505), scaled)
    np.testing.assert_allclose(best.rotation, fit.rotation[0], atol=1e-6)
    np.testing.assert_allclose(best.translation, fit.translation[0], atol=1e-6)
    assert best.scale == pytest.approx(fit.similarity_scale[0], abs=1e-6)


def test_noise_shrinks_towards_the_mean_and_the_prior_helps(soma):
    coefficients = drawn(soma, 4, seed=5)
    noise = 0.02
    points = soma.rest_points(coefficients) + np.random.default_rng(6).normal(scale=noise, size=(4, 4505, 3))
    lengths, errors = [], []
    for prior in (0.0, noise**2 / 4505, 1e-5, 1e-3, 1.0):
        fit = fit_shape(soma, points, prior_weight=prior, free_similarity=False)
        lengths.append(np.linalg.norm(fit.coefficients))
        errors.append(np.linalg.norm(fit.coefficients - coefficients))
    assert all(more > less for more, less in zip(lengths, lengths[1:], strict=False))
    assert lengths[-1] < 0.01 * lengths[0]
    assert np.argmin(errors) == 1  # the prior that belongs to the noise


def test_joints_alone_give_stature_and_limbs_to_the_millimetre(soma, skeleton):
    points = soma.rest_points(drawn(soma, 6, seed=7))
    joints = skeleton(points)
    fit = fit_shape(soma, joints=joints, prior_weight=1e-10)
    body = soma.rest_points(fit.coefficients)
    assert fit.vertex_error is None
    assert np.abs(bones(skeleton(body)) - bones(joints)).max() < 0.001
    assert np.abs(np.ptp(body[..., 1], axis=1) - np.ptp(points[..., 1], axis=1)).max() < 0.003
    assert all(part.determined < 64 for part in fit.residuals)  # joints do not tell everything, and the report says so
    without_root = fit_shape(soma, joints=joints[:, 1:])  # and with the default's millimetre of noise
    assert np.abs(bones(skeleton(soma.rest_points(without_root.coefficients))) - bones(joints)).max() < 0.002
    assert distance(soma.rest_points(without_root.coefficients), body).mean() < 0.003


def test_joint_errors_belong_to_the_skeleton_that_is_fitted_later(soma, skeleton):
    """The regressor's joints are those of the skeleton fit, but for Root, which both regress."""
    joints = skeleton(soma.rest_points(drawn(soma, 2)))
    fit = fit_shape(soma, joints=joints + [0.0, 0.0, 0.05], prior_weight=1e-4, free_similarity=False)
    body = skeleton(soma.rest_points(fit.coefficients))
    assert fit.joint_error is not None
    np.testing.assert_allclose(fit.joint_error, distance(joints + [0.0, 0.0, 0.05], body), atol=2e-6)
    assert PUBLIC_JOINT_NAMES[0] == "Root"


def test_parts_that_are_not_seen(soma):
    coefficients = drawn(soma, 2, seed=8)
    points = soma.rest_points(coefficients).astype(np.float64)
    seen = soma.linear.mean[:, 1] > 0.9
    holed = np.where(seen[:, None], points, np.nan)
    fit = fit_shape(soma, holed)
    masked = fit_shape(soma, points + np.where(seen, 0.0, 5.0)[:, None], vertex_weights=seen)
    np.testing.assert_allclose(fit.coefficients, masked.coefficients, atol=1e-5)
    assert fit.vertex_error is not None and np.isnan(fit.vertex_error[:, ~seen]).all()
    assert fit.vertex_error[:, seen].mean() < 5e-5
    body = fit.placed(soma.rest_points(fit.coefficients))
    assert distance(body, points)[:, ~seen].mean() < 0.02


def test_outliers(soma):
    points = soma.rest_points(drawn(soma, 1, seed=9)).astype(np.float64)
    rng = np.random.default_rng(10)
    wrong = rng.permutation(4505)[:900]
    scan = points.copy()
    scan[:, wrong] += rng.uniform(0.1, 0.6, size=(1, 900, 3))
    plain, robust = fit_shape(soma, scan), fit_shape(soma, scan, robust=0.01)
    errors = [distance(fit.placed(soma.rest_points(fit.coefficients)), points).mean() for fit in (plain, robust)]
    assert errors[0] > 0.02 and errors[1] < 0.0005
    assert robust.residuals[0].outliers == pytest.approx(0.2, abs=0.005)
    assert plain.residuals[0].outliers == 0.0


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_every_body_of_a_batch_is_fitted_as_alone(soma, skeleton, batch):
    points = soma.rest_points(drawn(soma, 3, seed=11))
    joints = skeleton(points)
    fit = fit_shape(soma, points[:batch], joints[:batch])
    assert fit.coefficients.shape == (batch, 64) and len(fit.residuals) == batch
    assert fit.vertex_error is not None and fit.vertex_error.shape == (batch, 4505)
    assert fit.rotation.shape == (batch, 3, 3) and fit.translation.shape == (batch, 3)
    for body in range(batch):
        alone = fit_shape(soma, points[body : body + 1], joints[body : body + 1])
        np.testing.assert_allclose(fit.coefficients[body], alone.coefficients[0], atol=1e-5)


@pytest.mark.parametrize("name", ["smpl", "garment"])
def test_other_linear_models_in_their_own_topology_and_in_somas(target, assets, skeleton, name):
    model = load_identity(name, target, assets=assets)
    coefficients = drawn(model, 2, seed=12)
    native, points = model.native_points(coefficients), model.rest_points(coefficients)
    joints = skeleton(points)
    for mesh, seen in ((native, None), (points, None), (native, joints), (points, joints), (None, joints)):
        fit = fit_shape(model, mesh, seen, prior_weight=0.0, free_similarity=False)
        assert np.abs(fit.coefficients - coefficients).max() < 1e-3
        assert all(part.converged for part in fit.residuals)
    assert fit_shape(model, native, prior_weight=0.0, free_similarity=False).residuals[0].steps == 1


def test_a_coefficient_that_only_moves_the_body_is_left_to_the_prior(target, assets):
    model = load_identity("smpl", target, assets=assets)  # its second direction is a shift
    coefficients = drawn(model, 1, seed=13)
    fit = fit_shape(model, model.native_points(coefficients), prior_weight=1e-10)
    assert abs(fit.coefficients[0, 1]) < 0.2
    assert fit.residuals[0].determined == pytest.approx(9.0, abs=0.05)
    assert fit.residuals[0].vertex_max < 1e-5


def test_anny_phenotypes():
    pytest.importorskip("anny", reason="anny belongs to the anny extra")
    from soma_isaac.formats.rig_usd import load_template_rig

    model = load_identity("anny", SomaTarget.of(load_template_rig(), "low"), local_changes=False)
    phenotypes = np.array([[0.9, 0.55, 0.7, 0.3, 0.6, 0.5], [0.0, 0.8, 1.0, 0.6, 0.5, 0.4]])
    points = model.rest_points(phenotypes) @ MOVED[0].T.astype(np.float32)
    fit = fit_shape(model, points)
    assert distance(fit.placed(model.rest_points(fit.coefficients)), points).max() < 2e-4
    assert np.abs(fit.coefficients - phenotypes).max() < 0.02
    larger = fit_shape(model, 1.5 * points[:1])  # a giant: phenotypes stay within their range
    limits = model.spec.coefficients.limits
    assert ((larger.coefficients >= limits[0]) & (larger.coefficients <= limits[1])).all()
    assert larger.residuals[0].at_bounds and larger.residuals[0].vertex_mean > 0.01


def test_mhr_shape_and_scales(target, tmp_path):
    pytest.importorskip("torch", reason="torch belongs to the torch extra")
    model_files.write_mhr(tmp_path)
    model = load_identity("mhr", target, assets=tmp_path)
    assert model.spec.scales is not None
    coefficients = drawn(model, 1, seed=14)
    points = model.native_points(coefficients, model.spec.scales.defaults())
    fit = fit_shape(model, points)
    assert fit.residuals[0].vertex_max < 0.001 and fit.scales is None
    sizes = np.full((1, 68), 0.2)
    scaled = model.native_points(coefficients, sizes)
    held = fit_shape(model, scaled, scales=sizes)
    assert held.residuals[0].vertex_max < 0.001
    both = fit_shape(model, scaled, fit_scales=True)
    assert both.scales is not None and both.scales.shape == (1, 68) and both.residuals[0].vertex_max < 0.001


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "neither points nor joints"),
        ({"points": np.zeros((1, 7, 3))}, "7 vertices"),
        ({"points": np.zeros((4505, 3))}, r"expected \(B, N, 3\)"),
        ({"joints": np.zeros((1, 24, 3))}, "24 joints"),
        ({"points": np.zeros((2, 4505, 3)), "joints": np.zeros((1, 78, 3))}, "2 meshes and 1"),
        ({"points": np.full((1, 4505, 3), np.nan)}, "body 0 has 0 seen points"),
        ({"points": np.zeros((1, 4505, 3)), "vertex_weights": np.full(4505, -1.0)}, "negative"),
        ({"points": np.zeros((1, 4505, 3)), "vertex_weights": np.ones(3)}, "vertex_weights have shape"),
        ({"points": np.zeros((1, 4505, 3)), "prior_weight": np.nan}, "prior_weight"),
        ({"points": np.zeros((1, 4505, 3)), "robust": 0.0}, "robust"),
        ({"points": np.zeros((1, 4505, 3)), "fit_scales": True}, "no scales"),
        ({"points": np.zeros((1, 4505, 3)), "scales": np.ones((1, 3))}, "takes no scales"),
        ({"points": np.zeros((1, 4505, 3)), "topology": "smpl"}, "no topology"),
        ({"points": np.zeros((1, 4505, 3)), "free_scale": True, "free_similarity": False}, "free_scale"),
    ],
)
def test_what_cannot_be_fitted_is_refused(soma, arguments, message):
    with pytest.raises(InputRejected, match=message):
        fit_shape(soma, **arguments)
