"""The ray caster on a CUDA device shows what it shows on the CPU."""

import numpy as np
import pytest
import warp as wp

from soma_isaac.render.clothes import PIECES
from soma_isaac.render.plan import BodySpec, ClipFile, LightSpec
from soma_isaac.render.renderer import BodySurface, make_renderer
from soma_isaac.render.scene import Camera, vertex_normals
from soma_isaac.render.shapes import capsule_mesh

pytestmark = pytest.mark.gpu


def test_the_picture_is_that_of_the_cpu():
    if not wp.is_cuda_available():
        pytest.skip("no CUDA device")
    ball, triangles = capsule_mesh(np.array([0.0, 0.0, 0.4]), np.array([0.0, 0.0, 0.9]), 0.3, 64, 32)
    pieces = np.zeros((len(ball), len(PIECES)), np.float32)
    pieces[:, 0], pieces[:, 1] = ball[:, 2] > 0.6, ball[:, 2] <= 0.6
    surface = BodySurface(triangles, np.where(np.arange(len(triangles)) % 2, 3, 7).astype(np.uint8), pieces)
    rgb = ((0.8, 0.6, 0.5), (0.1, 0.2, 0.5), (0.3, 0.3, 0.3), (0.1, 0.1, 0.1), (0.1, 0.05, 0.0))
    clip = ClipFile("a", "/a", "0")
    bodies = [BodySpec("sampled", "x", "soma", (0.0,), clip, 0.0, 0.0, (0.0, 0.0), *rgb, False, False)] * 2
    light = LightSpec(0.6, 0.8, (0.9, 0.9, 0.8), (0.8, 0.8, 0.9), (0.8, 0.85, 0.9))
    vertices = np.stack([ball, ball + [0.4, 0.9, 0.0]])
    normals = np.repeat(vertex_normals(ball, triangles)[None], 2, axis=0)
    camera = Camera((3.0, -1.0, 1.6), (0.0, 0.3, 0.5), 0.7)
    cpu, gpu = (
        make_renderer("raycast", bodies, surface, light, device).render(vertices, normals, [camera], (256, 192))[0]
        for device in ("cpu", "cuda:0")
    )
    for layer in ("instance", "part"):
        assert (getattr(cpu, layer) != getattr(gpu, layer)).mean() < 1e-3
    same = cpu.instance == gpu.instance
    np.testing.assert_allclose(gpu.depth[same], cpu.depth[same], atol=1e-3, rtol=1e-4)
    assert np.abs(cpu.rgb.astype(int) - gpu.rgb).mean() < 0.2
