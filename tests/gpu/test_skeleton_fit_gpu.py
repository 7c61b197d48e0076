"""Skeletons fitted and bodies reposed on a CUDA device: the same figures as on the CPU."""

import numpy as np
import pytest
import warp as wp

from soma_isaac.body.repose import Repose
from soma_isaac.formats.rig_usd import load_template_rig

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device():
    if not wp.is_cuda_available():
        pytest.skip("no CUDA device")
    return "cuda:0"


@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
@pytest.mark.parametrize("reposed", [True, False])
def test_agrees_with_the_cpu(device, lod, reposed):
    rig = load_template_rig()
    gpu, cpu = (Repose(rig, lod, device=where) for where in (device, "cpu"))
    points = rig.mesh(gpu.fit.lod).points
    shapes = points * np.random.default_rng(0).uniform(0.8, 1.2, size=(5, 1, 3)) + 0.03 * np.sin(
        4.0 * points[:, [1, 2, 0]]
    )
    for ours, theirs in zip(
        gpu.prepare_rest(shapes, repose=reposed), cpu.prepare_rest(shapes, repose=reposed), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=5e-6)


def test_linear_fit_agrees_with_the_cpu(device):
    rig = load_template_rig()
    rng = np.random.default_rng(1)
    points, coefficients = rig.mesh("low").points, rng.normal(size=(7, 4))
    directions = rng.normal(size=(4, *points.shape)) * 1e-3
    binds = [
        Repose(rig, "low", device=where).fit.linear(points, directions).fit(coefficients) for where in (device, "cpu")
    ]
    np.testing.assert_allclose(*binds, atol=1e-9)
