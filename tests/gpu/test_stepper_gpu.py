"""The stepper on a CUDA device: the CPU's figures, from a replayed graph, without allocation or host copy."""

import numpy as np
import pytest
import warp as wp

from soma_isaac.body import SomaBody
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from tests.sim.conftest import make_motion

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def rig():
    if not wp.is_cuda_available():
        pytest.skip("no CUDA device")
    return load_template_rig()


def stepper_on(device, rig, count, **options):
    body = SomaBody(rig, device=device, lod="low")
    library = ClipLibrary([make_motion(7, 30.0, 1), make_motion(4, 120.0, 2)], device=device)
    phases, speeds = np.linspace(0.0, 0.1, count), np.linspace(-1.0, 2.0, count)
    groups = [BodyGroup(body, body.prepare(), count)]
    return BodyStepper(library, groups, phases=phases, speeds=speeds, placements=Z_UP_FROM_Y_UP, **options)


def test_agrees_with_the_cpu_through_graph_subsets_and_resets(rig):
    gpu, cpu = (stepper_on(device, rig, 37, proxies=True) for device in ("cuda:0", "cpu"))
    masks = {device: wp.array((np.arange(37) % 3 == 0).astype(np.int32), device=device) for device in ("cuda:0", "cpu")}
    for step in range(12):
        for stepper, device in ((gpu, "cuda:0"), (cpu, "cpu")):
            if step == 6:
                stepper.reset([1, 5, 36])
            stepper.step(0.013 if step < 9 else 0.02, ids=masks[device] if step in (4, 7) else None)
        assert (gpu._graph is not None) == (step > 0)
        ours, theirs = gpu.groups[0], cpu.groups[0]
        np.testing.assert_allclose(gpu.times.numpy(), cpu.times.numpy(), atol=1e-12)
        np.testing.assert_allclose(ours.pose.vertices.numpy(), theirs.pose.vertices.numpy(), atol=1e-5)
        np.testing.assert_allclose(ours.normals.numpy(), theirs.normals.numpy(), atol=5e-3)
        np.testing.assert_allclose(ours.proxies.numpy()[..., :3], theirs.proxies.numpy()[..., :3], atol=1e-5)


def test_a_step_allocates_and_copies_nothing(rig, monkeypatch):
    stepper = stepper_on("cuda:0", rig, 64)
    for _ in range(3):
        stepper.step(0.02)
    pointer = stepper.groups[0].pose.vertices.ptr
    used = wp.get_mempool_used_mem_current("cuda:0")

    def forbidden(*_args, **_kwargs):
        raise AssertionError("a step allocated or copied")

    for name in ("__init__", "numpy", "assign", "to", "list"):
        monkeypatch.setattr(wp.array, name, forbidden)
    for _ in range(50):
        stepper.step(0.02)
    wp.synchronize_device("cuda:0")
    assert wp.get_mempool_used_mem_current("cuda:0") == used
    assert stepper.groups[0].pose.vertices.ptr == pointer


def test_four_thousand_bodies_step(rig):
    stepper = stepper_on("cuda:0", rig, 4096, normals=False)
    for _ in range(5):
        stepper.step(0.01)
    vertices = stepper.groups[0].pose.vertices.numpy()
    assert np.isfinite(vertices).all()
    few = stepper_on("cuda:0", rig, 4096, normals=False)
    few.step(0.05)
    assert np.abs(few.groups[0].pose.vertices.numpy() - vertices).max() < 1e-3
