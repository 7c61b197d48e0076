"""The public surface of SomaBody: batches, identities, threads, outputs, and what it refuses."""

import dataclasses
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import warp as wp

from soma_isaac.body import SomaBody
from soma_isaac.body.identity import prepare_identity
from soma_isaac.errors import InputRejected, RigMismatch
from tests.oracles import body as oracle


@pytest.fixture(scope="module")
def low(rig):
    return SomaBody(rig, lod="low", threads=1)


@pytest.fixture(scope="module")
def low_identity(low):
    return low.prepare()


def family(body, count):
    """Bodies of different sizes: the template scaled about the origin."""
    one = body.prepare()
    sizes = 1.0 + 0.1 * np.arange(count)[:, None, None]
    bind = np.repeat(one.bind_T_world_joint, count, axis=0)
    bind[:, :, :3, 3] *= sizes
    return prepare_identity(
        one.rest_points * sizes,
        bind,
        rig_digest="family",
        lod=body.lod,
        layout=body.layout,
        program=body.program,
        anchor="bind",
        device=body.device,
    )


def arrays_of(pose):
    return [pose.vertices.numpy(), pose.joints.numpy(), pose.transforms.numpy()]


@pytest.mark.parametrize("batch", [1, 2, 17])
def test_every_row_of_a_batch_is_the_pose_alone(low, low_identity, batch, random_poses, inf_outputs):
    rotvecs, _, transl = random_poses(batch, seed=1)
    together = arrays_of(low.pose(low_identity, rotvecs, transl, out=inf_outputs(low, batch)))
    alone = [arrays_of(low.pose(low_identity, rotvecs[row, None], transl[row, None])) for row in range(batch)]
    for number, values in enumerate(together):
        np.testing.assert_array_equal(values, np.concatenate([rows[number] for rows in alone]))


def test_an_empty_batch_gives_empty_arrays(low, low_identity):
    shapes = [array.shape for array in arrays_of(low.pose(low_identity, np.zeros((0, 77, 3)), np.zeros((0, 3))))]
    assert shapes == [(0, 4505, 3), (0, 77, 3), (0, 78, 4, 4)]


@pytest.mark.parametrize("threads", [2, 3])
@pytest.mark.parametrize("batch", [12, 33])
def test_threads_change_no_bit(rig, body, identity, batch, threads, random_poses, inf_outputs):
    rotvecs, _, transl = random_poses(batch, seed=2)
    threaded = SomaBody(rig, threads=threads)
    results = [
        arrays_of(each.pose(prepared, rotvecs, transl, out=inf_outputs(each, batch)))
        for each, prepared in ((body, identity), (threaded, threaded.prepare()))
    ]
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("identities", "poses"), [(3, 3), (3, 1), (1, 3)])
def test_identities_and_poses_combine(rig, low, identities, poses, random_poses):
    rotvecs, matrices, transl = random_poses(poses, seed=3)
    prepared = family(low, identities)
    out = low.pose(prepared, rotvecs, transl[:1])
    template = low.prepare()
    for row in range(3):
        size = 1.0 + 0.1 * (row % identities)
        expected = low.pose(template, rotvecs[row % poses, None], transl[:1] / size)
        np.testing.assert_allclose(out.vertices.numpy()[row], size * expected.vertices.numpy()[0], atol=5e-6)
        np.testing.assert_allclose(out.joints.numpy()[row], size * expected.joints.numpy()[0], atol=5e-6)


def test_many_identities_are_shared_out_over_threads(rig, random_poses):
    count = 13
    single, threaded = (SomaBody(rig, threads=threads) for threads in (1, 2))
    rotvecs, _, transl = random_poses(count, seed=4)
    results = []
    for body in (single, threaded):
        prepared = family(body, count)
        results.append(arrays_of(body.pose(prepared, rotvecs, transl)))
        results.append(arrays_of(body.pose(prepared, rotvecs[:1], transl)))
    assert [len(b._bounds) for _, b in threaded._buffers.values()] == [2, 2]
    assert [len(b._bounds) for _, b in single._buffers.values()] == [1, 1]
    for ours, theirs in zip(results[:2], results[2:], strict=True):
        for values, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(values, other)


def test_results_stay_as_they_are_unless_out_is_given(low, low_identity, random_poses):
    rotvecs, _, transl = random_poses(2, seed=5)
    first = low.pose(low_identity, rotvecs, transl)
    kept = [values.copy() for values in arrays_of(first)]
    second = low.pose(low_identity, -rotvecs, transl)
    for values, copy in zip(arrays_of(first), kept, strict=True):
        np.testing.assert_array_equal(values, copy)
    returned = low.pose(low_identity, rotvecs, transl, out=second)
    assert returned is second
    for values, copy in zip(arrays_of(second), kept, strict=True):
        np.testing.assert_array_equal(values, copy)


def test_arrays_of_every_kind_are_accepted(low, low_identity, random_poses):
    rotvecs, matrices, transl = random_poses(2, seed=6)
    expected = low.pose(low_identity, rotvecs, transl).vertices.numpy()
    single = rotvecs.astype(np.float32)
    strided = np.zeros((2, 77, 6), dtype=np.float32)
    strided[..., ::2] = single
    for poses, place in (
        (single, transl.astype(np.float32)),
        (strided[..., ::2], np.asfortranarray(transl)),
        (rotvecs.tolist(), transl.tolist()),
        (wp.array(single, dtype=wp.vec3, device="cpu"), wp.array(transl, dtype=wp.vec3, device="cpu")),
    ):
        np.testing.assert_array_equal(low.pose(low_identity, poses, place).vertices.numpy(), expected)
    as_matrices = wp.array(matrices.astype(np.float32), dtype=wp.mat33, device="cpu")
    np.testing.assert_allclose(low.pose(low_identity, as_matrices, transl).vertices.numpy(), expected, atol=5e-6)


def test_calls_from_several_threads_do_not_mix(low, low_identity, random_poses):
    batches = [random_poses(3, seed=seed) for seed in range(12)]
    expected = [low.pose(low_identity, rotvecs, transl).vertices.numpy() for rotvecs, _, transl in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: low.pose(low_identity, batch[0], batch[2]).vertices.numpy(), batches))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_memory_of_many_batch_sizes_is_let_go(low, low_identity, random_poses):
    for batch in range(1, 12):
        rotvecs, _, transl = random_poses(batch, seed=7)
        low.pose(low_identity, rotvecs, transl)
    assert len(low._buffers) <= 4


def test_large_results_are_not_kept_alive(rig):
    body = SomaBody(rig, lod="low", threads=2)
    identity, poses = body.prepare(), np.zeros((1200, 77, 3))
    gone = weakref.ref(body.pose(identity, poses).vertices)
    gc.collect()
    assert gone() is None
    kept = body.allocate(1200)
    body.pose(identity, poses, out=kept)
    assert len(body._buffers) == 1


def test_the_digest_tells_identities_apart(rig, low, low_identity):
    digests = {
        low_identity.digest,
        family(low, 1).digest,
        family(low, 2).digest,
        SomaBody(rig, lod="xlo").prepare().digest,
        SomaBody(rig, lod="low", twist=False).prepare().digest,
        SomaBody(rig, lod="low", twist_anchor="rest").prepare().digest,
        SomaBody(dataclasses.replace(rig, digest="other"), lod="low").prepare().digest,
    }
    assert len(digests) == 7
    assert low.prepare().digest == low_identity.digest
    assert low_identity.count == 1 and not low_identity.rest_points.flags.writeable


def test_normals_agree_with_the_oracle(rig, low, low_identity, random_poses):
    rotvecs, _, transl = random_poses(2, spread=0.3, seed=8)
    vertices = low.pose(low_identity, rotvecs, transl).vertices
    normals = low.normals(vertices).numpy()
    for row in range(2):
        expected = oracle.vertex_normals(vertices.numpy()[row].astype(np.float64), rig.mesh("low").triangles)
        np.testing.assert_allclose(normals[row], expected, atol=2e-3)


def test_what_does_not_fit_is_refused_with_a_reason(rig, low, low_identity):
    zeros = np.zeros((2, 77, 3))
    broken = zeros.copy()
    broken[1, 5, 2] = np.nan
    for arguments, message in (
        ((np.zeros((2, 78, 3)),), r"poses has shape \(2, 78, 3\), expected \(B, 77, 3\)"),
        ((np.zeros((77, 3)),), "poses has shape"),
        ((zeros, np.zeros((3, 3))), r"transl has shape \(3, 3\), expected \(2, 3\)"),
        ((broken,), r"poses is not finite at index \(1, 5, 2\)"),
        ((zeros, np.full((2, 3), np.inf)), r"transl is not finite at index \(0, 0\)"),
        ((wp.zeros((2, 77, 3), dtype=wp.float32, device="cpu"),), "poses is a Warp array"),
        ((zeros, wp.zeros(3, dtype=wp.vec3, device="cpu")), "transl is a Warp array"),
    ):
        with pytest.raises(InputRejected, match=message):
            low.pose(low_identity, *arguments)
    with pytest.raises(InputRejected, match="out has the shapes"):
        low.pose(low_identity, zeros, out=low.allocate(3))
    with pytest.raises(InputRejected, match="2 poses do not fit 3 identities"):
        low.pose(family(low, 3), zeros)
    with pytest.raises(InputRejected, match="prepared for LOD low on cpu, this body is xlo"):
        SomaBody(rig, lod="xlo").pose(low_identity, zeros)


def test_bodies_that_cannot_be_set_up_are_refused(rig):
    with pytest.raises(RigMismatch, match="no LOD 'high'"):
        SomaBody(rig, lod="high")
    with pytest.raises(RigMismatch, match="no twist table"):
        SomaBody(dataclasses.replace(rig, twist=None))
    with pytest.raises(InputRejected, match="Warp has no device 'tpu'"):
        SomaBody(rig, device="tpu")
    with pytest.raises(InputRejected, match="threads must be at least 1"):
        SomaBody(rig, threads=0)
    with pytest.raises(RigMismatch, match="no twist anchor 'a-pose'"):
        SomaBody(rig, twist_anchor="a-pose").prepare()


@pytest.mark.parametrize(("declared", "expected"), [("3", 3), ("2,4", 2)])
def test_thread_count_follows_the_policy_of_the_environment(rig, monkeypatch, declared, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", declared)
    assert SomaBody(rig, lod="xlo").threads == expected
