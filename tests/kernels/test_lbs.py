"""Skinning kernels against a dense float64 blend; the CPU kernel and the GPU kernel are held to the same table."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.kernels.lbs import (
    Influences,
    blend_bodies_kernel,
    blend_vertices_kernel,
    launch_blend,
    launch_skin_matrices,
)

JOINTS = 6


def array(values, dtype):
    return wp.array(np.asarray(values, np.int32 if dtype is wp.int32 else np.float32), dtype=dtype, device="cpu")


def random_transforms(*shape, seed):
    rng = np.random.default_rng(seed)
    transforms = np.tile(np.eye(4), (*shape, 1, 1))
    transforms[..., :3, :3] = Rotation.random(int(np.prod(shape)), random_state=seed).as_matrix().reshape(*shape, 3, 3)
    transforms[..., :3, 3] = rng.normal(size=(*shape, 3))
    return transforms


def influences_of(weights):
    used = weights > 0.0
    return Influences(
        offsets=array(np.concatenate([[0], np.cumsum(used.sum(axis=1))]), wp.int32),
        joints=array(np.nonzero(used)[1], wp.int32),
        weights=array(weights[used], wp.float32),
    )


def random_weights(vertices, seed):
    """Rows with one to JOINTS - 1 joints; the last joint moves nothing."""
    rng = np.random.default_rng(seed)
    weights = np.zeros((vertices, JOINTS))
    for vertex in range(vertices):
        joints = rng.permutation(JOINTS - 1)[: 1 + vertex % (JOINTS - 1)]
        weights[vertex, joints] = rng.uniform(0.1, 1.0, len(joints))
    return weights / weights.sum(axis=1, keepdims=True)


def blend_with(kernel, influences, points, columns, batch, active=()):
    """Launch one of the two kernels on the CPU, outputs filled with inf."""
    count = points.shape[1]
    out = wp.full((batch, count), wp.vec3(*[np.inf] * 3), dtype=wp.vec3, device="cpu")
    dim = batch if kernel is blend_bodies_kernel else (batch, count)
    wp.launch(
        kernel,
        dim=dim,
        inputs=[*influences, array(points, wp.vec3), array(columns, wp.mat44), wp.array(active, dtype=wp.int32)],
        outputs=[out],
        device="cpu",
    )
    return out.numpy()


@pytest.mark.parametrize("kernel", [blend_bodies_kernel, blend_vertices_kernel], ids=["cpu", "gpu"])
@pytest.mark.parametrize(("batch", "vertices", "identities"), [(1, 1, 1), (1, 64, 1), (3, 37, 3), (5, 11, 1)])
def test_blend_agrees_with_a_dense_sum(kernel, batch, vertices, identities):
    rng = np.random.default_rng(batch)
    weights = random_weights(vertices, seed=batch)
    points = rng.normal(size=(identities, vertices, 3))
    matrices = random_transforms(batch, JOINTS, seed=batch + 1)
    matrices[:, -1] = np.nan  # A joint without weights must not reach any vertex.
    out = blend_with(kernel, influences_of(weights), points, np.swapaxes(matrices, -1, -2), batch)
    for body in range(batch):
        homogeneous = np.concatenate([points[body % identities], np.ones((vertices, 1))], axis=1)
        blend = np.einsum("vj,jab->vab", weights[:, :-1], matrices[body, :-1])
        np.testing.assert_allclose(out[body], np.einsum("vab,vb->va", blend, homogeneous)[:, :3], atol=2e-6)


def test_a_vertex_without_joints_lands_at_the_origin_in_both_kernels():
    weights = np.zeros((2, JOINTS))
    weights[1, 0] = 1.0
    matrices = random_transforms(1, JOINTS, seed=3)
    for kernel in (blend_bodies_kernel, blend_vertices_kernel):
        out = blend_with(kernel, influences_of(weights), np.ones((1, 2, 3)), np.swapaxes(matrices, -1, -2), 1)
        np.testing.assert_array_equal(out[0, 0], 0.0)


@pytest.mark.parametrize("kernel", [blend_bodies_kernel, blend_vertices_kernel], ids=["cpu", "gpu"])
def test_idle_bodies_keep_their_vertices(kernel):
    matrices = random_transforms(3, JOINTS, seed=3)
    table = influences_of(random_weights(5, seed=1)), np.ones((1, 5, 3)), np.swapaxes(matrices, -1, -2), 3
    everyone, some = blend_with(kernel, *table), blend_with(kernel, *table, active=[0, 1, 0])
    np.testing.assert_array_equal(some[1], everyone[1])
    assert np.isinf(some[[0, 2]]).all() and np.isfinite(everyone).all()


@pytest.mark.parametrize("helper_count", [0, 2])
def test_skin_matrices_are_transposed_products(helper_count):
    batch, public = 3, 4
    binds = random_transforms(1, public + helper_count, seed=1)
    worlds = random_transforms(batch, public + helper_count, seed=2)
    out = wp.full((batch, public + helper_count), wp.mat44(*[np.inf] * 16), dtype=wp.mat44, device="cpu")
    launch_skin_matrices(
        inverse_binds=array(np.linalg.inv(binds), wp.mat44),
        transforms=array(worlds[:, :public], wp.mat44),
        helpers=array(worlds[:, public:], wp.mat44),
        columns_out=out,
    )
    np.testing.assert_allclose(out.numpy(), np.swapaxes(worlds @ np.linalg.inv(binds), -1, -2), atol=2e-6)


def test_the_launch_runs_and_refuses_misfits_by_name():
    weights = random_weights(5, seed=1)
    points, columns = array(np.zeros((1, 5, 3)), wp.vec3), array(np.zeros((2, JOINTS, 4, 4)), wp.mat44)
    out = wp.full((2, 5), wp.vec3(*[np.inf] * 3), dtype=wp.vec3, device="cpu")
    launch_blend(influences_of(weights), points=points, columns=columns, vertices_out=out)
    np.testing.assert_array_equal(out.numpy(), 0.0)
    with pytest.raises(InputRejected, match="offsets"):
        launch_blend(influences_of(weights[1:]), points=points, columns=columns, vertices_out=out)
    with pytest.raises(InputRejected, match="columns"):
        launch_blend(influences_of(weights), points=points, columns=columns[:1], vertices_out=out)
    wide = wp.zeros((2, 10), dtype=wp.vec3, device="cpu")
    with pytest.raises(InputRejected, match="vertices_out is not contiguous"):
        launch_blend(influences_of(weights), points=points, columns=columns, vertices_out=wide[:, ::2])
