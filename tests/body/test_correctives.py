"""Pose correctives against dense float64 matrices: every batch shape, LOD, file format, and what is refused."""

import dataclasses

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.body.correctives import compile_correctives, level_correctives, ride_jacobian
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.corrective_model import CorrectiveWeights, read_correctives, write_correctives
from soma_isaac.kernels.corrective_offsets import launch_correct
from soma_isaac.kernels.correctives import GPU_LANES, launch_hidden, launch_inputs
from tests.oracles.correctives import random_checkpoint


def weights_of(checkpoint):
    first, second = checkpoint.masked()
    return CorrectiveWeights.from_matrices(
        checkpoint.bind[:, :3, :3], first, second * 0.01, squash=checkpoint.use_tanh, note="random"
    )


@pytest.fixture(scope="module")
def checkpoint(rig):
    return random_checkpoint(rig.mesh("mid").vertex_count, 1)


@pytest.fixture(scope="module")
def weights(checkpoint):
    return weights_of(checkpoint)


def absolute_poses(count, seed):
    """Local rotations [count, 77, 3, 3] and with the root's identity before them."""
    rng = np.random.default_rng(seed)
    local = Rotation.from_rotvec(rng.normal(scale=0.5, size=(count * 77, 3))).as_matrix().reshape(count, 77, 3, 3)
    return local, np.concatenate([np.tile(np.eye(3), (count, 1, 1, 1)), local], axis=1)


def rest_offsets(layer, poses, **options):
    """Offsets in the bind frame: what the corrected rest points of a call differ by."""
    layer.pose(poses, absolute=True, **options)
    (_, buffers) = next(reversed(layer.body._buffers.values()))
    return buffers._scratch["points"].numpy() - layer.identity.rest_points


@pytest.mark.parametrize("batch", [1, 2, 16, 35])
@pytest.mark.parametrize("squash", [True, False])
def test_offsets_are_those_of_dense_matrices(rig, checkpoint, batch, squash):
    model = dataclasses.replace(checkpoint, use_tanh=squash)
    layer = SomaLayer(rig, correctives=weights_of(model), threads=2)
    layer.prepare_identity()
    local, full = absolute_poses(batch, batch)
    expected = model.offsets(full)
    assert np.linalg.norm(expected, axis=-1).mean() > 3e-4
    np.testing.assert_allclose(rest_offsets(layer, local), expected, atol=2e-6)


def test_relative_and_absolute_poses_are_corrected_alike(rig, weights):
    layer = SomaLayer(rig, correctives=weights)
    layer.prepare_identity()
    relative = np.random.default_rng(3).normal(scale=0.4, size=(3, 77, 3))
    first = layer.pose(relative)
    transforms = first.transforms.numpy().astype(np.float64)
    above = transforms[:, rig.skeleton.parent_indices[1:78], :3, :3]
    local = np.swapaxes(above, -1, -2) @ transforms[:, 1:, :3, :3]
    second = layer.pose(local, absolute=True)
    np.testing.assert_allclose(second.vertices.numpy(), first.vertices.numpy(), atol=1e-5)
    plain = layer.pose(relative, correctives=False).vertices.numpy()
    assert np.abs(plain - first.vertices.numpy()).max() > 1e-3
    np.testing.assert_array_equal(SomaLayer(rig).body.pose(layer.identity, relative).vertices.numpy(), plain)


def test_offsets_follow_size_and_unit(rig, weights):
    layer = SomaLayer(rig, correctives=weights, output_unit="cm")
    local, _ = absolute_poses(2, 4)
    layer.prepare_identity()
    centimetres = rest_offsets(layer, local)
    layer.prepare_identity(global_scale=[1.0, 2.0])
    both = rest_offsets(layer, local)
    np.testing.assert_allclose(both[0], centimetres[0], atol=2e-4)
    np.testing.assert_allclose(both[1], 2.0 * centimetres[1], atol=4e-4)


def test_low_takes_its_rows_and_xlo_rides_on_low(rig, checkpoint, weights):
    local, full = absolute_poses(2, 5)
    low = SomaLayer(rig, lod="low", correctives=weights)
    low.prepare_identity()
    expected = checkpoint.offsets(full)[:, : low.vertex_count]
    np.testing.assert_allclose(rest_offsets(low, local), expected, atol=2e-6)
    xlo = SomaLayer(rig, lod="xlo", correctives=weights)
    xlo.prepare_identity()
    mesh = rig.mesh("low")
    transfer = TopologyTransfer(mesh.points, mesh.triangles, rig.mesh("xlo").points)
    smooth = 0.02 * expected  # linear around the template: exact for small offsets
    riding = transfer.apply(mesh.points + smooth) - rig.mesh("xlo").points
    found = 0.02 * rest_offsets(xlo, local)
    assert np.linalg.norm(found - riding, axis=-1).mean() < 0.05 * np.linalg.norm(riding, axis=-1).mean()


def test_the_riding_derivative_is_that_of_finite_differences():
    rng = np.random.default_rng(6)
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0.3]]) + rng.normal(scale=0.05, size=(4, 3))
    targets = points[[0, 1, 3]] * 0.5 + [0.2, 0.2, 0.15]
    transfer = TopologyTransfer(points, np.array([[0, 1, 2], [1, 3, 2]]), targets)
    jacobian = ride_jacobian(transfer, points)
    turn = np.cross([0.3, -0.2, 0.5], points)  # a rigid motion: lengths are held
    step = 1e-3
    moved = (transfer.apply((points + step * turn)[None]) - transfer.apply((points - step * turn)[None]))[0] / (
        2 * step
    )
    np.testing.assert_allclose((jacobian @ turn.ravel()).reshape(-1, 3), moved, atol=5e-4)


def test_kernels_for_a_gpu_give_the_same(rig, checkpoint, weights):
    # Tiles of 32 lanes run the kernels that a GPU runs.
    layer = SomaLayer(rig, correctives=weights)
    identity = layer.prepare_identity()
    local, full = absolute_poses(5, 7)
    pose = layer.pose(local, absolute=True)
    hidden_table, offset_table = layer.body._arrays.correctives
    features = wp.zeros((1, 6 * 78, GPU_LANES), dtype=wp.float32, device="cpu")
    hidden = wp.full((1, weights.unit_count, GPU_LANES), np.inf, dtype=wp.float32, device="cpu")
    points = wp.full((5, layer.vertex_count), wp.vec3(np.inf), dtype=wp.vec3, device="cpu")
    launch_inputs(hidden_table, transforms=pose.transforms, features_out=features)
    launch_hidden(hidden_table, features=features, hidden_out=hidden)
    launch_correct(
        offset_table,
        scales=identity.arrays.corrective_scales,
        points=identity.arrays.points,
        hidden=hidden,
        points_out=points,
    )
    np.testing.assert_allclose(points.numpy() - identity.rest_points, checkpoint.offsets(full), atol=2e-6)


@pytest.mark.parametrize("masks", [True, False])
def test_checkpoints_are_read_without_torch_and_kept_by_safetensors(rig, tmp_path, masks):
    pytest.importorskip("torch", reason="the checkpoint is written with torch")
    checkpoint = random_checkpoint(40, 8, masks=masks)
    checkpoint.save(tmp_path / "correctives_model.pt")
    read = read_correctives(tmp_path / "correctives_model.pt")
    for found, expected in zip(read.matrices(), checkpoint.masked(), strict=True):
        scale = 1.0 if found.shape[1] == read.unit_count else 0.01
        np.testing.assert_allclose(found.toarray(), scale * expected, atol=1e-7)
    assert read.squash is True
    write_correctives(tmp_path / "kept.safetensors", read)
    again = read_correctives(tmp_path / "kept.safetensors")
    for field in dataclasses.fields(CorrectiveWeights):
        np.testing.assert_array_equal(getattr(again, field.name), getattr(read, field.name))


def test_what_is_not_a_corrective_model_is_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="the checkpoint is written with torch")
    path = tmp_path / "model.pt"
    good = {"C_max": 2, "bindpose": torch.eye(3).repeat(3, 1, 1), "W1": torch.zeros(18, 6), "W2": torch.zeros(6, 12)}
    torch.save(good, path)
    assert read_correctives(path).vertex_count == 4
    for change, message in (
        ({"W1": torch.zeros(18, 5)}, "'W1' has shape"),
        ({"W2": torch.full((6, 12), float("nan"))}, "'W2' is not finite"),
        ({"C_max": "2"}, "'C_max'"),
        ({"unit": "parsecs"}, "unit 'parsecs'"),
        ({"M1_mask": torch.zeros(2, 2)}, "'M1_mask' has shape"),
    ):
        torch.save({**good, **change}, path)
        with pytest.raises(InputRejected, match=message):
            read_correctives(path)
    path.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(InputRejected, match="safetensors"):
        read_correctives(path)


def test_models_of_other_bodies_and_bodies_without_a_model_are_refused(rig, weights):
    other = CorrectiveWeights.from_matrices(
        np.tile(np.eye(3), (78, 1, 1)), np.zeros((468, 78)), np.zeros((78, 30)), squash=True
    )
    with pytest.raises(RigMismatch, match="for 10 vertices"):
        level_correctives(other, rig, "mid")
    fewer = CorrectiveWeights.from_matrices(
        np.tile(np.eye(3), (77, 1, 1)), np.zeros((462, 77)), np.zeros((77, 30)), squash=True
    )
    with pytest.raises(RigMismatch, match="for 77 joints"):
        level_correctives(fewer, rig, "mid")
    layer = SomaLayer(rig, lod="low")
    layer.prepare_identity()
    with pytest.raises(InputRejected, match="without a corrective model"):
        layer.pose(np.zeros((1, 77, 3)), correctives=True)
    body = SomaBody(rig, lod="low")
    assert compile_correctives(level_correctives(weights, rig, "low"), body.layout, body.device).hidden.squash


@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
def test_the_open_correctives_move_the_skin_of_a_bent_elbow_and_nothing_at_the_bind_pose(rig, lod, bind_pose):
    layer = SomaLayer(rig, lod=lod, correctives="open")
    layer.prepare_identity()
    assert np.abs(rest_offsets(layer, bind_pose[0])).max() < 1e-5
    bent = np.zeros((1, 77, 3))
    bent[0, layer.joint_names.index("LeftForeArm") - 1] = [0.0, -1.8, 0.0]
    moved, plain = (layer.pose(bent, correctives=on).vertices.numpy()[0] for on in (True, False))
    distance = np.linalg.norm(moved - plain, axis=1)
    straight = layer.pose(np.zeros((1, 77, 3)))
    others = layer.pose(np.zeros((1, 77, 3)), correctives=False)
    change = np.linalg.norm(straight.vertices.numpy()[0] - others.vertices.numpy()[0], axis=1)
    assert 1e-3 < distance.max() < 0.05
    # The head's skin does not follow an elbow.
    head = layer.rig.mesh(lod).points[:, 1] > 1.6
    np.testing.assert_allclose(distance[head], change[head], atol=1e-6)
