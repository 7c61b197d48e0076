"""The pose network: torch and numpy agree, and what it must be invariant to."""

import numpy as np
import pytest
import torch

from soma_isaac.errors import InputRejected
from soma_isaac.formats.pose_network import PoseNetworkFile, read_pose_network, write_pose_network
from soma_isaac.learned.inference import NetworkPredictor
from soma_isaac.learned.network import EffectorTensors, NetworkConfig, PoseNetwork, initialise, kinematics
from soma_isaac.learned.network import rotation_from_6d as from_columns
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.sampler import COUNTS, matrix_from_euler_xyz, random_offsets, random_sets, six_points
from soma_isaac.learned.skeleton import body_kinematics, template_skeleton

CARD = {"network": {"width": 32, "blocks": 2, "layers": 2, "canonical": True}}


def poses(count: int = 12) -> np.ndarray:
    """Random local rotations [count, 23, 3, 3]."""
    generator = torch.Generator().manual_seed(0)
    return from_columns(torch.eye(3)[:, :2].T + 0.4 * torch.randn(count, 23, 2, 3, generator=generator)).numpy()


@pytest.fixture(scope="module")
def network() -> PoseNetwork:
    torch.manual_seed(0)
    made = PoseNetwork(NetworkConfig(32, 2, 2), PoseSet(poses(), np.array(["a"] * 12)).mean_pose())
    initialise(made)
    with torch.no_grad():  # outputs that differ from set to set
        for block in (*made.position_decoder.blocks, *made.rotation_decoder.blocks):
            block.get_parameter("forward_out.weight").mul_(10)
    return made.eval()


def asked(count: int = 12) -> tuple[EffectorTensors, torch.Tensor]:
    """Random sets about random poses of random bodies."""
    generator = torch.Generator().manual_seed(3)
    offsets = random_offsets(torch.from_numpy(np.array(template_skeleton().rest_offsets)).float(), count, generator)
    positions, world = kinematics(torch.from_numpy(poses(count)), torch.randn(count, 3, generator=generator), offsets)
    return random_sets(positions, world, generator), offsets


def as_file(network: PoseNetwork) -> PoseNetworkFile:
    return PoseNetworkFile({name: value.numpy() for name, value in network.state_dict().items()}, CARD)


def ratios(offsets: torch.Tensor) -> torch.Tensor:
    template = torch.from_numpy(np.array(template_skeleton().rest_offsets)).float()
    return torch.log(offsets[:, 1:].norm(dim=-1) / template[1:].norm(dim=-1))


def test_numpy_says_what_torch_says(network: PoseNetwork) -> None:
    effectors, offsets = asked()
    with torch.no_grad():
        there = network(effectors, ratios(offsets), offsets)
    here = NetworkPredictor(as_file(network).tensors, CARD).predict_bodies(
        effectors.effectors(), offsets.double().numpy()
    )
    np.testing.assert_allclose(here.rotations, there.rotations.numpy(), atol=2e-5)
    np.testing.assert_allclose(here.root_position, there.drawn[:, 0].numpy(), atol=2e-5)
    assert there.rotations[:, 1:].std(dim=0).max() > 0.05  # the sets do make a difference


def test_heading_place_size_and_padding_change_nothing_else(network: PoseNetwork) -> None:
    effectors, offsets = asked()
    with torch.no_grad():
        plain = network(effectors, ratios(offsets), offsets)
        turn = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
        place, size = torch.tensor([3.0, -1.0, 2.0]), 1.7
        moved = effectors._replace(
            target=size * effectors.target @ turn.T + place,
            rotation=turn @ effectors.rotation,
            tolerance=torch.where(effectors.kind == 0, size * effectors.tolerance, effectors.tolerance),
        )
        far = network(moved, ratios(size * offsets), size * offsets)
        np.testing.assert_allclose(far.positions, size * plain.positions @ turn.T + place, atol=2e-4)
        padding = EffectorTensors(*(each[:, :2] for each in effectors))._replace(weight=torch.zeros(12, 2))
        padded = EffectorTensors(*(torch.cat(pair, 1) for pair in zip(effectors, padding, strict=True)))
        np.testing.assert_allclose(network(padded, ratios(offsets), offsets).positions, plain.positions, atol=1e-5)


def test_a_network_file_comes_back_and_foreign_ones_are_refused(network: PoseNetwork, tmp_path) -> None:
    path = tmp_path / "net.safetensors"
    write_pose_network(path, as_file(network))
    first = path.read_bytes()
    back = read_pose_network(path)
    assert back.card == CARD
    np.testing.assert_array_equal(
        back.tensors["encoder.0.layers.0.weight"], network.encoder[0].layers[0].weight.detach()
    )
    write_pose_network(path, back)
    assert path.read_bytes() == first
    with pytest.raises(InputRejected, match="lacks kind_embedding.weight"):
        NetworkPredictor({k: v for k, v in back.tensors.items() if k != "kind_embedding.weight"}, CARD)
    with pytest.raises(InputRejected, match=r"is \[23, 32\], not \[23, 8\]|joint_embedding"):
        NetworkPredictor(back.tensors | {"joint_embedding.weight": np.zeros((23, 8), np.float32)}, CARD)
    for card in ({}, {"network": [1]}, {"network": {**CARD["network"], "blocks": 0}}):
        with pytest.raises(InputRejected, match="gives no width|0 blocks"):
            NetworkPredictor(back.tensors, card)
    path.write_bytes(b"\x80\x04garbage that is no safetensors file")
    with pytest.raises(InputRejected, match="no pose network") as raised:
        read_pose_network(path)
    assert raised.value.path == str(path)


def test_kinematics_equal_the_numpy_ones() -> None:
    generator = torch.Generator().manual_seed(5)
    local, root = torch.from_numpy(poses()), torch.randn(12, 3, generator=generator)
    offsets = random_offsets(torch.from_numpy(np.array(template_skeleton().rest_offsets)).float(), 12, generator)
    positions, world = kinematics(local, root, offsets)
    want, turns = body_kinematics(local.numpy(), root.numpy(), offsets.numpy())
    np.testing.assert_allclose(positions, want, atol=1e-5)
    np.testing.assert_allclose(world, turns, atol=1e-5)


def test_six_d_are_columns_and_euler_angles_are_xyz() -> None:
    turn = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])  # a quarter turn about z: rows differ from columns
    np.testing.assert_allclose(
        from_columns(torch.stack([2 * turn[:, 0], 3 * turn[:, 1] + turn[:, 0]])), turn, atol=1e-6
    )
    x, y, z = (matrix_from_euler_xyz(angle * torch.eye(3)[i]) for i, angle in enumerate((0.3, 0.5, -0.7)))
    np.testing.assert_allclose(matrix_from_euler_xyz(torch.tensor([0.3, 0.5, -0.7])), x @ y @ z, atol=1e-6)


def test_the_sampler_keeps_the_papers_rules() -> None:
    generator = torch.Generator().manual_seed(1)
    local = torch.from_numpy(poses(400))
    offsets = torch.from_numpy(np.array(template_skeleton().rest_offsets)).float().expand(400, 23, 3)
    positions, world = kinematics(local, torch.zeros(400, 3), offsets)
    sizes, tolerances = [], []
    for _ in range(60):
        sets = random_sets(positions, world, generator)
        placed = sets.kind[0] == 0
        assert placed.sum() >= 3
        assert all(len(set(row.tolist())) == placed.sum() for row in sets.joint[:20, placed])
        turned = sets.kind[0] == 1
        assert all(len(set(row.tolist())) == turned.sum() for row in sets.joint[:20, turned])
        assert (sets.tolerance[:, sets.kind[0] == 2] == 0).all()
        sizes.append(sets.kind.shape[1])
        tolerances.append(sets.tolerance[:, sets.kind[0] != 2].flatten())
        errors = sets.target[:, placed] - positions.gather(1, sets.joint[:, placed, None].expand(-1, -1, 3))
        big = sets.tolerance[:, placed] > 0.03
        ratio = errors[big] / sets.tolerance[:, placed][big][:, None]
        assert big.sum() < 20 or 0.8 < float(ratio.std()) < 1.2
    assert min(sizes) >= COUNTS[0] and max(sizes) <= COUNTS[1] + 2
    drawn = torch.cat(tolerances)
    # 0.1 u^13: mean 0.1 / 14, a share 0.5^(1/13) below 0.05
    assert abs(float(drawn.mean()) - 0.1 / 14) < 5e-4
    assert abs(float((drawn < 0.05).float().mean()) - 0.5 ** (1 / 13)) < 5e-3


def test_six_points_are_where_the_joints_are() -> None:
    positions = torch.arange(46 * 3).reshape(2, 23, 3).float()
    sets = six_points(positions)
    np.testing.assert_array_equal(sets.target[1, :, 0], positions[1, [0, 4, 10, 14, 17, 21], 0])
