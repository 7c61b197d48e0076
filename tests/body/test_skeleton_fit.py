"""Skeletons fitted to shapes: the identities that a fit must keep, and the float64 oracle."""

import dataclasses

import numpy as np
import pytest

from soma_isaac.body.regressor import interpolation_weights, regressor_vertices
from soma_isaac.body.skeleton_fit import SkeletonFit, fit_tables
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from tests.oracles import skeleton_fit as oracle

TURN = matrix_from_rotvec(np.array([0.3, -1.1, 0.6]))
SHIFT = np.array([0.4, -0.2, 1.3])


@pytest.fixture(scope="module")
def fit(rig):
    return SkeletonFit(rig, "low")


@pytest.fixture(scope="module")
def template(rig):
    return rig.mesh("low").points


@pytest.fixture(scope="module")
def directions(template):
    """Smooth deformations [12, V, 3] m."""
    rng = np.random.default_rng(0)
    centers, widths = template[rng.integers(len(template), size=12)], rng.uniform(0.05, 0.4, size=12)
    bumps = np.exp(-((template - centers[:, None]) ** 2).sum(2) / (2 * widths[:, None] ** 2))
    return bumps[..., None] * rng.normal(size=(12, 1, 3)) * 0.02


@pytest.fixture(scope="module")
def shapes(template, directions):
    return template + np.tensordot(np.random.default_rng(1).normal(size=(6, 12)), directions, 1)


def joints_with_children(rig):
    return np.unique(rig.skeleton.parent_indices[1:78])


def test_the_template_fits_itself(rig, fit, template):
    bind = fit.fit(template[None])[0]
    expected = rig.skeleton.bind_T_world_joint[:78]
    np.testing.assert_allclose(bind[:, :3, 3], expected[:, :3, 3], atol=1e-7)
    inner = joints_with_children(rig)
    np.testing.assert_allclose(bind[inner, :3, :3], expected[inner, :3, :3], atol=1e-5)


def test_joints_without_children_take_their_parents_rotation(rig, fit, shapes):
    bind, parents = fit.fit(shapes), rig.skeleton.parent_indices[:78]
    leaves = np.setdiff1d(np.arange(78), joints_with_children(rig))
    assert len(leaves) == 16
    np.testing.assert_array_equal(bind[:, leaves, :3, :3], bind[:, parents[leaves], :3, :3])
    np.testing.assert_array_equal(bind[:, 0], np.broadcast_to(np.eye(4), (6, 4, 4)))


def test_affine_maps_carry_the_joints_along(rig, fit, template):
    matrix = TURN @ np.diag([1.3, 0.8, 1.1]) @ np.array([[1, 0.2, 0], [0, 1, -0.1], [0.3, 0, 1]])
    bind = fit.fit((template @ matrix.T + SHIFT)[None])[0]
    expected = rig.skeleton.bind_T_world_joint[1:78, :3, 3] @ matrix.T + SHIFT
    np.testing.assert_allclose(bind[1:, :3, 3], expected, atol=1e-6)


def test_rigid_motions_carry_the_fit_along(fit, shapes):
    before, after = fit.fit(shapes), fit.fit(shapes @ TURN.T + SHIFT)
    np.testing.assert_allclose(after[:, 1:, :3, 3], before[:, 1:, :3, 3] @ TURN.T + SHIFT, atol=2e-6)
    assert geodesic_angle(after[:, 1:, :3, :3], TURN @ before[:, 1:, :3, :3]).max() < 1e-4


@pytest.mark.parametrize("scale", [0.001, 0.7, 100.0])
def test_units_do_not_matter(fit, shapes, scale):
    before, after = fit.fit(shapes), fit.fit(shapes * scale)
    np.testing.assert_allclose(after[..., :3, 3], before[..., :3, 3] * scale, atol=2e-6 * scale)
    assert geodesic_angle(after[..., :3, :3], before[..., :3, :3]).max() < 1e-4


def test_batch_and_single_agree(fit, shapes):
    together = fit.fit(shapes)
    for row, shape in enumerate(shapes):
        np.testing.assert_array_equal(fit.fit(shape[None])[0], together[row])
    assert fit.fit(shapes[:0]).shape == (0, 78, 4, 4)


def test_linear_fit_is_the_fit_of_the_linear_shape(fit, template, directions):
    coefficients = np.random.default_rng(2).normal(size=(5, 12))
    linear = fit.linear(template, directions)
    assert linear.coefficient_count == 12
    direct = fit.fit(template + np.tensordot(coefficients, directions, 1))
    np.testing.assert_allclose(linear.fit(coefficients), direct, atol=3e-6)
    scales = np.array([0.5, 1.0, 2.0, 1.3, 0.9])
    direct = fit.fit(scales[:, None, None] * (template + np.tensordot(coefficients, directions, 1)))
    np.testing.assert_allclose(linear.fit(coefficients, scales), direct, atol=6e-6)


@pytest.mark.parametrize("lod", ["low", "xlo"])
def test_agrees_with_the_oracle(rig, lod):
    points = rig.mesh(lod).points
    rng = np.random.default_rng(3)
    center = points[rng.integers(len(points))]
    shape = points * [1.1, 0.95, 1.2] + 0.05 * np.sin(4.0 * (points - center)[:, [1, 2, 0]])
    bind = SkeletonFit(rig, lod).fit(shape[None])[0]
    turns = oracle.rotations(rig, lod, shape, dict(zip(rig.public_joint_names, bind[:, :3, 3], strict=True)))
    expected = np.stack([turns[name] for name in rig.public_joint_names])
    # The points are rounded to float32; turns of several degrees are compared to 0.002 degrees.
    assert geodesic_angle(expected, rig.skeleton.bind_T_world_joint[:78, :3, :3]).max() > 0.1
    assert geodesic_angle(bind[:, :3, :3], expected).max() < 4e-5


def test_regressed_joints_agree_with_the_saddle_point_system(rig, template, shapes):
    tables = fit_tables(rig, "low")
    for name in ("LeftForeArm", "Spine2", "RightHandIndex2", "LeftToeEnd"):
        joint = rig.public_joint_names.index(name)
        row = tables.regressor[[joint]]
        query = rig.skeleton.bind_T_world_joint[joint, :3, 3]
        weights = oracle.regression(template[row.indices], query)
        np.testing.assert_allclose(row @ shapes[0], (weights @ shapes[0][row.indices])[None], atol=1e-7)


def test_single_and_double_precision_regressions_agree(template, shapes, monkeypatch):
    rows = np.flatnonzero(template[:, 1] > 1.4)
    query = template[rows].mean(axis=0, keepdims=True)
    results = []
    for limit in (64, 10**9):
        monkeypatch.setattr("soma_isaac.body.regressor._SINGLE_FROM", limit)
        results.append(interpolation_weights(template[rows], query) @ shapes[0][rows])
    np.testing.assert_allclose(*results, atol=1e-7)
    assert not np.array_equal(*results)


def test_degenerate_control_points_keep_what_precision_they_can():
    for points in (np.array([[1.0, 2.0, 3.0]]), np.array([[0.0, 0, 0], [1, 0, 0]]), np.eye(3), np.zeros((4, 3))):
        weights = interpolation_weights(points, np.array([[0.2, 0.3, 0.1]]))
        assert weights.sum() == pytest.approx(1.0, abs=1e-9)
    plane = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0], [0.3, 0.6, 0]])
    weights = interpolation_weights(plane, np.array([[0.4, 0.5, 0.7]]))
    np.testing.assert_allclose(weights @ plane, [[0.4, 0.5, 0.0]], atol=1e-9)
    # A query at a control point is that point; coincident control points share its weight.
    points = np.vstack([np.random.default_rng(4).normal(size=(10, 3))] * 2)
    weights = interpolation_weights(points, points[:1])[0]
    assert weights[0] + weights[10] == pytest.approx(1.0, abs=1e-5)
    assert np.abs(np.delete(weights, [0, 10])).max() < 1e-5


def test_excluded_vertices_have_no_say(rig, template, shapes):
    joint = rig.public_joint_names.index("Jaw")
    bag = fit_tables(rig, "low").regressor[[joint]].indices[::3]
    fit = SkeletonFit(rig, "low", excluded_vertices=bag)
    moved = shapes.copy()
    moved[:, bag] += 0.3
    np.testing.assert_array_equal(fit.fit(moved)[..., :3, 3], fit.fit(shapes)[..., :3, 3])
    assert np.abs(SkeletonFit(rig, "low").fit(moved)[:, joint, :3, 3] - fit.fit(moved)[:, joint, :3, 3]).max() > 1e-3


def test_vertex_sets_of_joints_without_skin_of_their_own():
    # root - a - b - c - d: only a and b move skin; c and d look upwards, a has no skinned parent.
    weights = np.array([[0, 1.0, 0, 0, 0], [0, 0.5, 0.5, 0, 0], [0, 0, 1.0, 0, 0]])
    found = regressor_vertices(weights, np.array([-1, 0, 1, 2, 3]))
    assert [rows.tolist() for rows in found] == [[], [0, 1], [1], [1, 2], [1, 2]]
    kept = regressor_vertices(weights, np.array([-1, 0, 1, 2, 3]), np.array([1]))
    assert [rows.tolist() for rows in kept] == [[], [0], [1], [2], [2]]
    with pytest.raises(RigMismatch, match="no skin"):
        regressor_vertices(np.zeros((3, 5)), np.array([-1, 0, 1, 2, 3]))


def test_tables_are_made_once_per_rig(rig):
    assert fit_tables(rig, "low") is fit_tables(rig, "low")
    assert fit_tables(rig, "low", [3]) is not fit_tables(rig, "low")
    # Another rig with the same digest is another rig.
    assert fit_tables(dataclasses.replace(rig), "low") is not fit_tables(rig, "low")


def test_wrong_input_is_refused(rig, fit, shapes):
    with pytest.raises(InputRejected, match=r"expected \(B, 4505, 3\)"):
        fit.fit(shapes[0])
    broken = shapes[:2].copy()
    broken[1, 7, 2] = np.nan
    with pytest.raises(InputRejected, match=r"\(1, 7, 2\)"):
        fit.fit(broken)
    with pytest.raises(InputRejected, match="outside the 4505"):
        SkeletonFit(rig, "low", excluded_vertices=[4505])
    with pytest.raises(InputRejected, match="no alignment method"):
        SkeletonFit(rig, "low", method="horn")
    linear = fit.linear(shapes[0], shapes[:2])
    with pytest.raises(InputRejected, match=r"expected \(B, 2\)"):
        linear.fit(np.zeros((1, 3)))
    with pytest.raises(InputRejected, match="scale"):
        linear.fit(np.zeros((2, 2)), np.ones(3))
