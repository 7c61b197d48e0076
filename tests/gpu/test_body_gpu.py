"""Bodies on a CUDA device: the same figures as on the CPU, through plain launches and through a captured graph."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.formats.rig_usd import load_template_rig

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def device():
    if not wp.is_cuda_available():
        pytest.skip("no CUDA device")
    return "cuda:0"


@pytest.fixture(scope="module")
def rig():
    return load_template_rig()


def random_batch(batch, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(scale=0.5, size=(batch, 77, 3)), rng.normal(size=(batch, 3))


def assert_same(ours, theirs):
    for name in ("vertices", "joints", "transforms"):
        np.testing.assert_allclose(getattr(ours, name).numpy(), getattr(theirs, name).numpy(), atol=5e-6)


@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
@pytest.mark.parametrize("twist", [True, False], ids=["twist", "folded"])
@pytest.mark.parametrize("batch", [1, 5, 128])
def test_agrees_with_the_cpu(device, rig, lod, twist, batch):
    poses, transl = random_batch(batch, 1)
    gpu, cpu = (SomaBody(rig, device=where, lod=lod, twist=twist) for where in (device, "cpu"))
    out = gpu.allocate(batch)
    for array in (out.vertices, out.joints, out.transforms):
        array.fill_(np.inf)
    assert_same(gpu.pose(gpu.prepare(), poses, transl, out=out), cpu.pose(cpu.prepare(), poses, transl))


@pytest.mark.parametrize("absolute", [False, True])
def test_matrices_on_the_device(device, rig, absolute):
    poses, transl = random_batch(3, 2)
    matrices = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(3, 77, 3, 3).astype(np.float32)
    gpu, cpu = (SomaBody(rig, device=where) for where in (device, "cpu"))
    ours = gpu.pose(
        gpu.prepare(),
        wp.array(matrices, dtype=wp.mat33, device=device),
        wp.array(transl.astype(np.float32), dtype=wp.vec3, device=device),
        absolute=absolute,
    )
    assert_same(ours, cpu.pose(cpu.prepare(), matrices, transl, absolute=absolute))


def test_the_captured_graph_poses_what_is_new(device, rig):
    # The second call with the same outputs captures, the third and later ones replay.
    gpu, cpu = (SomaBody(rig, device=where, lod="low") for where in (device, "cpu"))
    identity, reference = gpu.prepare(), cpu.prepare()
    out = gpu.allocate(4)
    for seed in range(5):
        poses, transl = random_batch(4, seed)
        assert_same(gpu.pose(identity, poses, transl, out=out), cpu.pose(reference, poses, transl))
    other = gpu.allocate(4)
    poses, transl = random_batch(4, 9)
    assert_same(gpu.pose(identity, poses, transl, out=other), cpu.pose(reference, poses, transl))
    assert np.abs(out.vertices.numpy() - other.vertices.numpy()).max() > 0.1


def test_bind_pose_reproduces_the_rest_mesh(device, rig):
    bind = rig.skeleton.bind_T_world_joint[:78]
    above = bind[rig.skeleton.parent_indices[1:78]]
    local = np.swapaxes(above[:, :3, :3], -1, -2) @ bind[1:, :3, :3]
    body = SomaBody(rig, device=device)
    vertices = body.pose(body.prepare(), local[None], bind[None, 1, :3, 3], absolute=True).vertices.numpy()
    assert np.linalg.norm(vertices[0] - rig.mesh("mid").points, axis=1).max() < 1e-5


def test_normals_agree_with_the_cpu(device, rig):
    poses, transl = random_batch(2, 3)
    normals = []
    for where in (device, "cpu"):
        body = SomaBody(rig, device=where, lod="low")
        normals.append(body.normals(body.pose(body.prepare(), poses * 0.3, transl).vertices).numpy())
    np.testing.assert_allclose(*normals, atol=5e-3)
