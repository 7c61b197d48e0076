"""MHR: a TorchScript stand-in that is called and answers like the real one."""

import numpy as np
import pytest

from soma_isaac.body.identities import SomaTarget, load_identity
from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.rig_usd import load_template_rig
from tests.body import model_files

torch = pytest.importorskip("torch", reason="MHR needs torch")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mhr")
    model_files.write_mhr(folder)
    return folder


@pytest.fixture(scope="module")
def target():
    return SomaTarget.of(load_template_rig(), "low")


@pytest.fixture(scope="module")
def model(root, target):
    return load_identity("mhr", target, assets=root)


def test_scales_are_needed_and_reach_the_module_behind_136_pose_values(model):
    shape, scales = model.spec.coefficients.defaults(), model.spec.scales.defaults()
    with pytest.raises(InputRejected, match=r"needs scales of shape \(B, 68\)"):
        model.rest_points(shape)
    neutral = model.native_points(shape, scales)
    for index, growth in ((0, 0.01), (67, 0.05)):
        changed = scales.copy()
        changed[0, index] = 1.0
        np.testing.assert_allclose(model.native_points(shape, changed), neutral * (1.0 + growth), atol=2e-6)
    assert (model.spec.scales.names[8], model.spec.scales.names[9]) == ("right_hand", "left_hand")


def test_bone_lengths_go_into_the_last_six_pose_values(model):
    shape, scales = model.spec.coefficients.defaults(2), model.spec.scales.defaults()
    flexibles = np.zeros((2, 6))
    flexibles[1] = 0.1
    points = model.native_points(shape, scales, bone_length_flexibles=flexibles)
    np.testing.assert_allclose(points[1], points[0] * 1.06, atol=2e-6)
    with pytest.raises(InputRejected, match=r"expected \(B, 6\)"):
        model.native_points(shape, scales, bone_length_flexibles=flexibles[:, :5])


def test_gradients_reach_scales_and_bone_lengths(model):
    shape, scales = torch.zeros(1, 45), torch.zeros(1, 68, requires_grad=True)
    flexibles = torch.zeros(1, 6, requires_grad=True)
    model.rest_points_torch(shape, scales, bone_length_flexibles=flexibles)[..., 1].square().sum().backward()
    assert scales.grad.abs().min() > 0 and flexibles.grad.abs().min() > 0


def test_each_target_has_its_own_model_file(tmp_path, root, target):
    for name in ("base_body_lod6.obj", "mhr_model_lod6.pt", "SOMA_wrap_lod1.obj"):
        (tmp_path / "MHR").mkdir(exist_ok=True)
        (tmp_path / "MHR" / name).write_bytes((root / "MHR" / name).read_bytes())
    load_identity("mhr", target, assets=tmp_path)
    with pytest.raises(InputRejected, match="mhr_model_lod1.pt"):
        load_identity("mhr", SomaTarget.of(load_template_rig(), "mid"), assets=tmp_path)


def test_files_that_are_no_mhr_model_are_refused(tmp_path, root, target):
    path = tmp_path / "model.pt"
    path.write_bytes(b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00truetR.")  # torch.load would unpickle this
    with pytest.raises(InputRejected, match="no TorchScript archive"):
        load_identity("mhr", target, assets=root, model_path=path)
    torch.save({"weights": torch.zeros(3)}, path)
    with pytest.raises(InputRejected, match="no TorchScript archive that this torch loads"):
        load_identity("mhr", target, assets=root, model_path=path)
    data = (root / "MHR" / "mhr_model_lod6.pt").read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(InputRejected, match="no TorchScript archive that this torch loads"):
        load_identity("mhr", target, assets=root, model_path=path)

    class Other(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.save(torch.jit.script(Other()), str(path))
    with pytest.raises(InputRejected, match="does not evaluate like an MHR model"):
        load_identity("mhr", target, assets=root, model_path=path)


def test_without_torch_the_error_names_the_extra(root, target, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[torch\]"):
        load_identity("mhr", target, assets=root)
