"""The ONNX file says what the network says."""

import json

import numpy as np
import pytest
import torch

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.pose_network import PoseNetworkFile
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.inference import NetworkPredictor
from soma_isaac.learned.network import NetworkConfig, PoseNetwork, initialise, rotation_from_6d
from soma_isaac.learned.onnx_export import INPUTS, export_onnx, onnx_bytes
from soma_isaac.learned.pose_tests import pose_test, random_bodies
from soma_isaac.learned.poses import PoseSet

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime belongs to the extra onnx")
pytest.importorskip("onnx", reason="onnx belongs to the extra onnx")


def poses() -> PoseSet:
    generator = torch.Generator().manual_seed(0)
    columns = torch.eye(3)[:, :2].T + 0.3 * torch.randn(20, 23, 2, 3, generator=generator)
    return PoseSet(rotation_from_6d(columns).numpy(), np.array(["a"] * 20))


@pytest.fixture(scope="module", params=[(2, 2), (3, 1), (1, 3)], ids=str)
def made(request) -> tuple[PoseNetwork, PoseNetworkFile]:
    blocks, layers = request.param
    torch.manual_seed(0)
    network = PoseNetwork(NetworkConfig(24, blocks, layers), poses().mean_pose())
    initialise(network)
    with torch.no_grad():
        for block in (*network.position_decoder.blocks, *network.rotation_decoder.blocks):
            block.get_parameter("forward_out.weight").mul_(10)
    card = {"network": {"width": 24, "blocks": blocks, "layers": layers, "canonical": True}}
    return network.eval(), PoseNetworkFile({name: v.numpy() for name, v in network.state_dict().items()}, card)


def inputs(sets: int, effectors: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(sets)
    weight = random.random((sets, effectors)).astype(np.float32)
    weight[:, 1:] *= random.random((sets, effectors - 1)) > 0.3
    values = (
        random.normal(size=(sets, effectors, 7)).astype(np.float32),
        random.integers(0, 23, (sets, effectors)),
        random.integers(0, 3, (sets, effectors)),
        weight,
        0.2 * random.normal(size=(sets, 22)).astype(np.float32),
    )
    return dict(zip(INPUTS, values, strict=True))


@pytest.mark.parametrize(("sets", "effectors"), [(1, 1), (1, 6), (33, 16)])
def test_onnxruntime_gives_what_torch_gives(made, sets: int, effectors: int, tmp_path) -> None:
    network, file = made
    export_onnx(file, tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    given = inputs(sets, effectors)
    positions, columns = session.run(None, given)
    with torch.no_grad():
        want = network.core(*(torch.from_numpy(given[name]) for name in INPUTS))
    np.testing.assert_allclose(positions, want[0].numpy(), atol=2e-5)
    np.testing.assert_allclose(columns, want[1].numpy(), atol=2e-5)
    assert np.abs(columns - columns[:1]).max() > 0.1 or sets == 1


def test_a_predictor_on_the_file_poses_the_same(made, monkeypatch) -> None:
    _, file = made
    session = onnxruntime.InferenceSession(onnx_bytes(file), providers=["CPUExecutionProvider"])
    predictor = NetworkPredictor(file.tensors, file.card)
    draws = FixedDraws.make(1, 30, 3)
    test = pose_test(poses(), draws, 0, "noisy", random_bodies(draws, 0))
    want = predictor.predict_bodies(test.effectors, test.rest_offsets)

    def core(tokens, effectors, shape):
        weight = effectors.weight.astype(np.float32)
        given = dict(zip(INPUTS, (tokens, effectors.joint, effectors.kind, weight, shape), strict=True))
        positions, columns = session.run(None, given)
        return positions[:, :3], columns

    monkeypatch.setattr(predictor, "_core", core)
    have = predictor.predict_bodies(test.effectors, test.rest_offsets)
    np.testing.assert_allclose(have.rotations, want.rotations, atol=2e-5)
    np.testing.assert_allclose(have.root_position, want.root_position, atol=2e-5)


def test_equal_networks_give_equal_bytes_with_their_card(made) -> None:
    import onnx

    _, file = made
    assert onnx_bytes(file) == onnx_bytes(file)
    model = onnx.load_from_string(onnx_bytes(file))
    assert json.loads({each.key: each.value for each in model.metadata_props}["card"]) == file.card


def test_what_is_missing_is_named(made, monkeypatch) -> None:
    _, file = made
    tensors = {name: value for name, value in file.tensors.items() if name != "encoder.0.layers.0.bias"}
    with pytest.raises(InputRejected, match=r"encoder\.0\.layers\.0\.bias"):
        onnx_bytes(PoseNetworkFile(tensors, file.card))
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingDependency, match=r"soma_isaac\[onnx\]"):
        onnx_bytes(file)
