"""What the shape space loses by being written, and what readers get back."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.neutral_npz_write import ShapeSpace, neutral_npz, stored_space
from soma_isaac.formats.rig_usd import load_template_rig


@pytest.fixture(scope="module")
def rig():
    return load_template_rig()


@pytest.fixture(scope="module")
def space(rig):
    random = np.random.default_rng(3)
    mean = rig.mesh("mid").points
    rows = np.linalg.qr(random.normal(size=(mean.size, 3)))[0].T
    return ShapeSpace(mean, rows.reshape(3, -1, 3), np.array([30.0, 1.5, 0.02]))


def encoded(space, rig, **changes):
    arguments = {
        "rig": rig,
        "mirror": np.arange(len(space.mean)),
        "segments": {"eye_bags": np.arange(5, dtype=np.int32), "mouth_bag": np.arange(7, dtype=np.int32)},
        "presets": {"one": np.array([1.0, -2.0, 0.5])},
        "metadata": {"name": "test"},
    }
    return neutral_npz(space, **{**arguments, **changes})


def test_readers_get_the_stored_space_back(space, rig, tmp_path):
    path = tmp_path / "SOMA_neutral.npz"
    stored = stored_space(space, 2e-5)
    path.write_bytes(encoded(stored, rig))
    read = read_neutral(path)
    coefficients = np.array([[1.0, -2.0, 3.0]])
    scaled = coefficients * np.sqrt(read.space.eigenvalues)
    body = read.space.mean + np.tensordot(scaled, read.space.directions, 1)[0]
    assert np.abs(body - stored.bodies(coefficients)[0]).max() < 1e-6
    assert np.array_equal(read.triangles, rig.mesh("mid").triangles)
    assert np.array_equal(read.triangles_low, rig.mesh("low").triangles)
    assert read.bag_vertices.tolist() == list(range(7))


def test_rounding_is_as_small_as_promised(space):
    """Half a grid step, and beyond that what 16 bits hold of the largest displacement."""
    step = 2e-5
    stored = stored_space(space, step)
    for row in range(3):
        deviation = space.standard_deviations[row]
        error = np.abs(stored.directions[row] - space.directions[row]) * deviation
        largest = np.abs(space.directions[row]).max() * deviation
        assert error.max() <= 0.5 * step + largest * 2.0**-11
        assert error.max() > 0.0


def test_grid_is_a_power_of_two_and_compresses(space, rig):
    coarse = stored_space(space, 1e-3)
    step = 2.0 ** np.floor(np.log2(1e-3 / 30.0))
    multiples = coarse.directions[0].astype(np.float64) / step
    assert np.array_equal(multiples, np.rint(multiples))
    assert len(encoded(coarse, rig)) < len(encoded(stored_space(space, 1e-6), rig))


def test_coefficients_invert_bodies(space):
    stored = stored_space(space, 2e-5)
    coefficients = np.array([[1.0, -2.0, 0.5], [0.0, 3.0, 0.0]])
    assert np.abs(stored.coefficients(stored.bodies(coefficients)) - coefficients).max() < 1e-2
    near = stored.coefficients(stored.bodies(coefficients))
    assert np.abs(stored.bodies(near) - stored.bodies(coefficients)).max() < 1e-5


def test_same_space_same_bytes(space, rig):
    stored = stored_space(space, 2e-5)
    assert encoded(stored, rig) == encoded(stored, rig)


def test_refusals(space, rig):
    with pytest.raises(InputRejected, match="metadata"):
        encoded(space, rig, metadata={"name": "x" * 2000})
    small = ShapeSpace(np.zeros((4, 3)), np.ones((1, 4, 3)), np.ones(1))
    with pytest.raises(InputRejected, match="4 vertices"):
        encoded(small, rig)
    with pytest.raises(InputRejected, match="positive"):
        ShapeSpace(np.zeros((4, 3)), np.ones((1, 4, 3)), np.zeros(1))
