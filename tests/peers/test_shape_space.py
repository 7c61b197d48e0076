"""py-soma-x loads the open shape space and makes the same bodies of it."""

import shutil

import numpy as np
import pytest

from soma_isaac.body.identities.presets import open_shape_space, preset, preset_names
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.rig.skeleton import data_path

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("open_assets")
    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json", "SOMA_neutral.npz"):
        shutil.copy(data_path(name), root / name)
    return root


@pytest.mark.parametrize("lod", ["mid", "low"])
def test_rest_shapes(data_root, lod):
    torch = pytest.importorskip("torch")
    soma = pytest.importorskip("soma", reason="py-soma-x is not installed here")
    torch.set_num_threads(1)
    layer = soma.SOMALayer(data_root=str(data_root), lod=lod, device="cpu", identity_model_type="soma")
    coefficients = np.array([preset(name) for name in preset_names()])
    assert layer.num_shape_components == coefficients.shape[1]
    with torch.no_grad():
        theirs = layer.identity_model.get_rest_shape(torch.tensor(coefficients, dtype=torch.float32)).numpy()
    shape = read_neutral(open_shape_space())
    scaled = coefficients * np.sqrt(shape.space.eigenvalues)
    ours = 100.0 * (shape.space.mean + np.tensordot(scaled, shape.space.directions, 1))
    rows = slice(None) if lod == "mid" else shape.low_from_mid
    assert np.abs(theirs - ours[:, rows]).max() < 1e-3
    with torch.no_grad():
        layer.prepare_identity(torch.tensor(coefficients, dtype=torch.float32))
        posed = layer.pose(torch.zeros(len(coefficients), 77, 3), apply_correctives=False)["vertices"].numpy()
    stature = dict(zip(preset_names(), np.ptp(posed[..., 1], axis=1), strict=True))
    assert stature["toddler"] < 1.0 < stature["child"] < 1.3 and stature["tall"] > 1.95
