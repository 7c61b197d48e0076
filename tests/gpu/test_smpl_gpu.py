"""The SMPL family's forward pass on a CUDA device, beside the same on the CPU."""

import numpy as np
import pytest
import warp as wp

from soma_isaac.body.smpl_forward import SmplBody
from soma_isaac.formats.smpl_model import SMPL_KINDS, read_smpl_model
from tests.body.model_files import npz, smpl_arrays

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _needs_cuda():
    wp.init()
    if not wp.is_cuda_available():
        pytest.skip("no CUDA device")


@pytest.mark.parametrize("kind", list(SMPL_KINDS))
def test_gpu_gives_the_cpu_bodies(kind, tmp_path):
    path = tmp_path / "model.npz"
    path.write_bytes(npz(smpl_arrays(kind)))
    model = read_smpl_model(path, kind)
    rng = np.random.default_rng(3)
    poses, trans = rng.normal(scale=0.6, size=(19, SMPL_KINDS[kind], 3)), rng.normal(size=(19, 3))
    found = []
    for device in ("cpu", "cuda:0"):
        body = SmplBody(model, device=device)
        pose = body.pose(body.shape(np.full(10, 0.7)), poses, trans)
        found.append((pose.vertices.numpy(), pose.joints.numpy()))
    np.testing.assert_allclose(found[1][0], found[0][0], atol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], atol=1e-5)
