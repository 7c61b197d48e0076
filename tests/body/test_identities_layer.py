"""The whole path with every backend: its files, SOMA topology, the fitted skeleton, the bind pose and back."""

import numpy as np
import pytest

from soma_isaac.body.layer import SomaLayer
from tests.body import model_files

pytestmark = pytest.mark.py312


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assets")
    model_files.write_neutral(folder)
    model_files.write_garment(folder)
    for kind, form in (("smpl", "pkl0"), ("smplh", "npz"), ("smplx", "pkl")):
        model_files.write_smpl(folder, kind, form)
    return folder


def posed(layer, coefficients=None):
    scales = layer.identity_model.spec.scales
    layer.prepare_identity(coefficients, None if scales is None else scales.defaults())
    return layer.pose(np.zeros((1, 77, 3)))


@pytest.mark.parametrize("lod", ["mid", "low"])
@pytest.mark.parametrize("name", ["smpl", "smplh", "smplx", "garment", "mhr"])
def test_a_body_wrapped_in_the_t_pose_comes_back_in_the_t_pose(root, name, lod):
    """The files hold the template in its T-pose: fitted, brought to the bind pose and posed again it is itself.

    Linear blend skinning cannot be undone exactly at bent joints, hence millimetres and not micrometres.
    """
    if name == "mhr":
        pytest.importorskip("torch", reason="mhr needs torch")
        model_files.write_mhr(root)
    layer = SomaLayer(identity=name, assets=root, lod=lod, threads=1)
    pose = posed(layer)
    error = np.linalg.norm(
        pose.vertices.numpy()[0] - model_files.native().wrap[layer.identity_model.target.mid_rows], axis=1
    )
    assert error.mean() < 0.004 and error.max() < 0.025
    joints = dict(zip(layer.joint_names[1:], pose.joints.numpy()[0], strict=True))
    for joint in ("Head", "LeftForeArm", "RightHand", "LeftShin", "RightFoot"):
        np.testing.assert_allclose(joints[joint], model_files.native().joints[joint], atol=0.01)


@pytest.mark.parametrize("name", ["smpl", "garment", "mhr"])
def test_a_larger_body_is_larger_to_its_joints(root, name):
    if name == "mhr":
        pytest.importorskip("torch", reason="mhr needs torch")
        model_files.write_mhr(root)
    layer = SomaLayer(identity=name, assets=root, lod="low", threads=1)
    coefficients = layer.identity_model.spec.coefficients.defaults()
    plain = posed(layer, coefficients).joints.numpy()[0]
    coefficients[0, 0] = 1.0
    larger = posed(layer, coefficients).joints.numpy()[0]
    growth = 1.0 + 0.05 * (np.sqrt(2.0) if name == "garment" else 1.0)
    np.testing.assert_allclose(larger - larger[0], (plain - plain[0]) * growth, atol=5e-5)


@pytest.mark.parametrize(("lod", "height"), [("mid", 1.636), ("low", 1.633), ("xlo", 1.626)])
def test_annys_average_is_as_tall_as_in_soma_x(root, lod, height):
    """py-soma-x 0.2.1 gives these heights in the T-pose for phenotypes of 0.5."""
    pytest.importorskip("anny", reason="anny belongs to the anny extra")
    points = posed(SomaLayer(identity="anny", assets=root, lod=lod, threads=1)).vertices.numpy()[0]
    assert np.ptp(points[:, 1]) == pytest.approx(height, abs=0.002)
