"""SOMA_neutral.npz: centimetres become metres, indices are checked, optional parts may be absent."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.neutral_npz import read_neutral
from tests.body.model_files import neutral_arrays, npz

pytestmark = pytest.mark.py312


@pytest.fixture(scope="module")
def arrays():
    return neutral_arrays()


def read(tmp_path, arrays, **changes):
    path = tmp_path / "SOMA_neutral.npz"
    path.write_bytes(npz({key: value for key, value in {**arrays, **changes}.items() if value is not None}))
    return read_neutral(path)


def test_the_file_in_metres(tmp_path, arrays):
    shape = read(tmp_path, arrays)
    np.testing.assert_allclose(shape.space.mean, arrays["mean"] * 0.01, rtol=1e-7)
    np.testing.assert_allclose(shape.space.directions.reshape(4, -1), arrays["shapedirs"] * 0.01, rtol=1e-6)
    np.testing.assert_array_equal(shape.triangles_low, arrays["triangles_low"])
    bags = np.union1d(arrays["segment_eye_bags"], arrays["segment_mouth_bag"])
    np.testing.assert_array_equal(shape.bag_vertices, bags)
    reference = shape.reference_poses["t_pose__v1.0.0"]
    assert reference.rotations.shape == (78, 3, 3) and reference.joint_names[0] == "Root"
    assert shape.metadata == '{"made": "for tests"}'


def test_only_the_shape_space_and_faces_are_needed(tmp_path, arrays):
    needed = {key: arrays[key] for key in ("mean", "shapedirs", "eigenvalues", "triangles")}
    shape = read(tmp_path, needed)
    assert shape.low_from_mid is None and shape.triangles_low is None and shape.bag_vertices.size == 0
    for key in needed:
        with pytest.raises(InputRejected, match=key):
            read(tmp_path, needed, **{key: None})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"triangles": np.array([[0, 1, 18056]])}, "outside the 18056"),
        ({"segment_eye_bags": np.array([-1])}, "outside"),
        ({"lod_mid_to_low": np.array([0.5])}, "outside"),
        ({"shapedirs": np.zeros((4, 12))}, "shapedirs"),
        ({"eigenvalues": np.array([1.0, -1.0, 1.0, 1.0])}, "negative"),
        ({"eigenvalues": np.array([1.0, np.nan, 1.0, 1.0])}, "not finite"),
        ({"t_pose__v1.0.0": np.zeros((78, 3, 3))}, "not a rotation"),
        ({"t_pose__v1.0.0__parent_ids": None}, "lacks its joint names or parents"),
    ],
)
def test_files_that_contradict_themselves_are_refused(tmp_path, arrays, change, reason):
    with pytest.raises(InputRejected, match=reason):
        read(tmp_path, arrays, **change)
