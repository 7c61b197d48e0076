"""The best rotation between two sets of vectors, also where sets are flat, thin, mirrored or single."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body.align import ALIGN_METHODS, align, rotations_from_covariances
from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec, project_to_so3


def random_turns(count, seed=0):
    return matrix_from_rotvec(np.random.default_rng(seed).normal(size=(count, 3)))


@pytest.mark.parametrize("method", ALIGN_METHODS)
@pytest.mark.parametrize("flatness", [1.0, 1e-2, 1e-4])
def test_a_turned_set_is_turned_back(method, flatness):
    turns = random_turns(200)
    source = np.random.default_rng(1).normal(size=(200, 12, 3)) * [1.0, 0.7, flatness]
    found = align(source @ np.swapaxes(turns, -1, -2), source, method)
    assert geodesic_angle(found, turns).max() < 1e-7


@pytest.mark.parametrize("thinness", [1.0, 1e-3, 1e-6, 1e-9])
def test_kabsch_is_the_nearest_rotation_for_full_thin_and_mirrored_covariances(thinness):
    rng = np.random.default_rng(2)
    u, _, vt = np.linalg.svd(rng.normal(size=(500, 3, 3)))
    covariances = u @ (np.array([1.0, 0.4, thinness * 0.2])[:, None] * vt)
    assert (np.linalg.det(covariances) < 0).any() and (np.linalg.det(covariances) > 0).any()
    found = rotations_from_covariances(covariances, "kabsch")
    np.testing.assert_allclose(found, project_to_so3(covariances), atol=1e-12)


def test_noise_is_averaged_as_scipy_does_it():
    rng = np.random.default_rng(3)
    source = rng.normal(size=(30, 3))
    target = source @ random_turns(1, seed=4)[0].T + rng.normal(size=(30, 3)) * 0.1
    normals = [np.cross(vectors[0], vectors[1]) for vectors in (target, source)]
    a, b = (
        np.vstack([vectors, normal / np.linalg.norm(normal) * np.linalg.norm(vectors[0])])
        for vectors, normal in zip((target, source), normals, strict=True)
    )
    expected = Rotation.align_vectors(a, b)[0].as_matrix()
    for method in ("auto", "kabsch"):
        np.testing.assert_allclose(align(target, source, method), expected, atol=1e-9)


def test_two_vectors_are_enough():
    turns = random_turns(50, seed=5)
    source = np.random.default_rng(6).normal(size=(50, 2, 3))
    assert geodesic_angle(align(source @ np.swapaxes(turns, -1, -2), source), turns).max() < 1e-7


def test_parallel_vectors_lean_towards_no_turn():
    # Nothing tells the turn about the common direction; SOMA-X settles it with a little of the identity.
    direction = np.array([0.0, 0.0, 1.0])
    source = np.outer([1.0, 2.0, -0.5], direction)
    np.testing.assert_allclose(align(source, source), np.eye(3), atol=1e-9)
    tilted = source @ matrix_from_rotvec(np.array([0.4, 0.0, 0.0])).T
    found = align(tilted, source)
    covariance = tilted.T @ source
    size = np.abs(covariance).sum(axis=1).max()
    np.testing.assert_allclose(found, project_to_so3(covariance + 0.05 * size * np.eye(3)), atol=1e-9)
    assert found[1, 2] < -0.3
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)


def test_reflections_differ_between_methods_as_documented():
    source = np.random.default_rng(7).normal(size=(40, 3)) * [1.0, 0.8, 0.6]
    mirrored = source * [-1.0, 1.0, 1.0]
    covariance = mirrored.T @ source
    best, flipped = (rotations_from_covariances(covariance, method) for method in ("auto", "newton-schulz"))
    np.testing.assert_allclose(best, project_to_so3(covariance), atol=1e-10)
    u, _, vt = np.linalg.svd(covariance)
    np.testing.assert_allclose(flipped, (u @ vt) * [1.0, 1.0, -1.0], atol=1e-10)
    for found in (best, flipped):
        assert np.linalg.det(found) > 0.999
    assert np.trace(best.T @ covariance) > np.trace(flipped.T @ covariance) + 1.0


def test_one_vector_takes_the_shortest_arc_and_none_stays():
    start, end = np.array([[[1.0, 0.0, 0.0]]]), np.array([[[0.0, 2.0, 0.0]]])
    np.testing.assert_allclose(align(end, start)[0], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    np.testing.assert_array_equal(align(np.zeros((2, 0, 3)), np.zeros((2, 0, 3))), np.tile(np.eye(3), (2, 1, 1)))


def test_results_do_not_depend_on_the_unit():
    rng = np.random.default_rng(8)
    target, source = rng.normal(size=(2, 20, 9, 3))
    np.testing.assert_allclose(align(target * 1e-4, source * 1e3), align(target, source), atol=1e-12)


def test_wrong_input_is_refused():
    with pytest.raises(InputRejected, match="no alignment method 'svd'"):
        rotations_from_covariances(np.eye(3), "svd")
    with pytest.raises(InputRejected, match="not finite"):
        rotations_from_covariances(np.full((3, 3), np.nan))
    with pytest.raises(InputRejected, match="expected"):
        rotations_from_covariances(np.zeros((3, 4)))
