"""The complete layer on a CUDA device: the CPU's figures, correctives and gradients."""

import numpy as np
import pytest
import warp as wp

from soma_isaac.body.layer import SomaLayer
from soma_isaac.formats.corrective_model import CorrectiveWeights
from soma_isaac.formats.rig_usd import load_template_rig
from tests.oracles.correctives import random_checkpoint

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device():
    if not wp.is_cuda_available():
        pytest.skip("no CUDA device")
    return "cuda:0"


@pytest.fixture(scope="module")
def weights():
    checkpoint = random_checkpoint(load_template_rig().mesh("mid").vertex_count, 1)
    first, second = checkpoint.masked()
    return CorrectiveWeights.from_matrices(checkpoint.bind[:, :3, :3], first, second * 0.01, squash=True)


def inputs(batch, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "coefficients": rng.normal(size=(batch, 64)).astype(np.float32),
        "bone_scales": rng.uniform(0.85, 1.15, size=(batch, 60)).astype(np.float32),
        "poses": rng.normal(scale=0.4, size=(batch, 77, 3)).astype(np.float32),
        "transl": rng.normal(size=(batch, 3)).astype(np.float32),
    }


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
@pytest.mark.parametrize("batch", [1, 5, 70])
def test_agrees_with_the_cpu(device, weights, lod, batch, corrected):
    given, results = inputs(batch), []
    for where in (device, "cpu"):
        layer = SomaLayer(identity="soma", lod=lod, device=where, correctives=weights if corrected else None)
        layer.prepare_identity(given["coefficients"], given["bone_scales"])
        for _ in range(3):  # plain launches, then a captured graph
            out = layer.allocate(batch)
            pose = layer.pose(given["poses"], given["transl"], out=out)
            layer.pose(given["poses"], given["transl"], out=out)
        results.append(pose)
    for name in ("vertices", "joints", "transforms"):
        ours, theirs = (getattr(result, name).numpy() for result in results)
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("corrected", [False, True])
def test_gradients_agree_with_the_cpu(device, weights, corrected):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not torch.cuda.is_available():
        pytest.skip("this torch has no CUDA")
    from soma_isaac.body.torch_layer import TorchSomaLayer

    values, gradients = inputs(6), []
    for where in (device, "cpu"):
        plain = SomaLayer(identity="soma", lod="low", device=where, correctives=weights if corrected else None)
        layer = TorchSomaLayer(plain)
        given = {name: torch.tensor(value, device=where, requires_grad=True) for name, value in values.items()}
        identity = layer.prepare_identity(given["coefficients"], bone_scales=given["bone_scales"])
        posed = layer.pose(given["poses"], given["transl"], identity=identity)
        (posed.vertices.square().mean() + posed.joints.square().mean()).backward()
        gradients.append({name: value.grad.cpu().numpy() for name, value in given.items()})
    for name, ours in gradients[0].items():
        theirs = gradients[1][name]
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * np.abs(theirs).max())
