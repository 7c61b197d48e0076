"""SMPL family files: npz and both pickle protocols hold one model; nothing is unpickled."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.smpl_model import read_smpl_model, smpl_npz_bytes
from tests.body.model_files import joints_of, native, npz, smpl_arrays, smpl_pickle

pytestmark = pytest.mark.py312

FIELDS = ("points", "shape_directions", "triangles", "joint_regressor", "weights", "parents", "pose_directions")


def read(tmp_path, data, kind="smpl", **options):
    path = tmp_path / "model.bin"  # the content decides, not the name
    path.write_bytes(data)
    return read_smpl_model(path, kind, **options)


@pytest.fixture(scope="module")
def arrays():
    return smpl_arrays()


@pytest.fixture(scope="module")
def model(tmp_path_factory, arrays):
    return read(tmp_path_factory.mktemp("smpl"), npz(arrays))


def test_the_file_as_arrays(model, arrays):
    np.testing.assert_array_equal(model.points, arrays["v_template"])
    np.testing.assert_allclose(model.shape_directions, np.moveaxis(arrays["shapedirs"], 2, 0), atol=1e-7)
    np.testing.assert_allclose(model.pose_directions, np.moveaxis(arrays["posedirs"], 2, 0), atol=1e-7)
    assert model.pose_directions.shape == (207, len(model.points), 3)
    assert model.parents.tolist() == joints_of("smpl")[1]
    joints = model.joint_regressor @ model.points
    np.testing.assert_allclose(joints[18], native().joints["LeftForeArm"], atol=1e-9)
    np.testing.assert_allclose(model.weights.sum(axis=1), 1.0, atol=1e-9)


@pytest.mark.parametrize("protocol", [0, 2])
def test_a_python_2_pickle_with_chumpy_objects_is_the_same_model(tmp_path, model, protocol):
    other = read(tmp_path, smpl_pickle(protocol=protocol))
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(other, field), getattr(model, field), err_msg=field)


def test_writing_as_npz_and_reading_again_loses_nothing(tmp_path, model):
    again = read(tmp_path, smpl_npz_bytes(model))
    for field in FIELDS:
        np.testing.assert_array_equal(getattr(again, field), getattr(model, field), err_msg=field)


def test_both_orders_of_shape_and_pose_directions(tmp_path, model, arrays):
    shapes, poses = np.moveaxis(arrays["shapedirs"], 2, 0), np.moveaxis(arrays["posedirs"], 2, 0)
    for poses_form in (poses, poses.reshape(207, -1), poses.reshape(207, -1).T):
        other = read(tmp_path, npz({**arrays, "shapedirs": shapes, "posedirs": poses_form}))
        np.testing.assert_array_equal(other.shape_directions, model.shape_directions)
        np.testing.assert_array_equal(other.pose_directions, model.pose_directions)


def test_betas_are_counted_and_smplx_expressions_are_none(tmp_path, arrays):
    assert len(read(tmp_path, npz(arrays), betas=4, pose=False).shape_directions) == 4
    with pytest.raises(InputRejected, match="holds 10 shape components; 11"):
        read(tmp_path, npz(arrays), betas=11)
    expressive = smpl_arrays("smplx")
    assert expressive["shapedirs"].shape[2] == 20  # ten shapes, ten expressions
    assert len(read(tmp_path, npz(expressive), "smplx", pose=False).shape_directions) == 10
    with pytest.raises(InputRejected, match="holds 10 shape components; 11"):
        read(tmp_path, npz(expressive), "smplx", betas=11, pose=False)


@pytest.mark.parametrize("kind", ["smplh", "smplx"])
def test_hands_and_faces_have_their_joints(tmp_path, kind):
    other = read(tmp_path, smpl_pickle(kind), kind)
    names, parents = joints_of(kind)
    assert other.parents.tolist() == parents and len(other.joint_regressor) == {"smplh": 52, "smplx": 55}[kind]
    wrist = names.index("LeftHand")
    thumb = other.joint_regressor[names.index("LeftHandThumb1")] @ other.points
    assert np.linalg.norm(thumb - other.joint_regressor[wrist] @ other.points) < 0.1
    with pytest.raises(InputRejected, match="a smpl model has 24"):
        read(tmp_path, smpl_pickle(kind), "smpl")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"v_template": None}, "v_template"),
        ({"f": np.array([[0, 1, 999999]])}, "faces point outside"),
        ({"shapedirs": np.zeros((5, 3, 10))}, "shapedirs"),
        ({"posedirs": np.zeros((612, 3, 9))}, "posedirs"),
        ({"weights": np.zeros((612, 23))}, "weights"),
        ({"J_regressor": np.full((24, 612), np.nan)}, "not finite"),
        ({"kintree_table": np.array([[9] * 24, range(24)])}, "joint 1 of the kintree_table"),
        ({"v_template": np.array([{}], dtype=object)}, "v_template"),
    ],
)
def test_files_that_are_no_model_are_refused(tmp_path, arrays, change, reason):
    data = npz({key: value for key, value in {**arrays, **change}.items() if value is not None})
    with pytest.raises(InputRejected, match=reason):
        read(tmp_path, data)
