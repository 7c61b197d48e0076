"""Pose inversion on a CUDA device: the same poses as on the CPU."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.settings import InversionSettings

pytestmark = pytest.mark.gpu

SETTINGS = {
    "plain": InversionSettings(),
    "closed form": InversionSettings(steps=0),
    "hinges": InversionSettings(hinge=np.inf),
    "smooth": InversionSettings(smoothness=1e-7, prior=1e-8),
    "robust": InversionSettings(robust=0.01),
}


@pytest.fixture(scope="module")
def sides():
    if not wp.is_cuda_available():
        pytest.skip("no CUDA device")
    rig = load_template_rig()
    bodies = [SomaBody(rig, device=device, lod="low") for device in ("cpu", "cuda:0")]
    inversions = [PoseInversion(body) for body in bodies]
    return bodies, inversions, [i.prepare(b.prepare()) for i, b in zip(inversions, bodies, strict=True)]


def meshes(body, count):
    rng = np.random.default_rng(0)
    rotations = Rotation.from_rotvec(rng.normal(scale=0.2, size=(count * 77, 3))).as_matrix()
    return body.pose(body.prepare(), rotations.reshape(count, 77, 3, 3), rng.normal(size=(count, 3))).vertices


@pytest.mark.parametrize("name", list(SETTINGS))
@pytest.mark.parametrize("torn", [False, True], ids=["whole", "torn"])
def test_agrees_with_the_cpu(sides, name, torn):
    bodies, inversions, prepared = sides
    vertices = meshes(bodies[0], 9).numpy().copy()
    if torn:
        vertices[4:, 3000:3100] = np.nan
    cpu, gpu = (i.fit(vertices, p, SETTINGS[name]) for i, p in zip(inversions, prepared, strict=True))
    np.testing.assert_allclose(gpu.per_vertex_error, cpu.per_vertex_error, atol=2e-5)
    np.testing.assert_allclose(gpu.root_translation, cpu.root_translation, atol=2e-5)


def test_targets_on_the_device(sides):
    bodies, inversions, prepared = sides
    vertices = meshes(bodies[1], 5)
    result = inversions[1].fit(vertices, prepared[1])
    assert result.per_vertex_error.max() < 5e-5
