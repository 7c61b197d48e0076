"""Two CPU workers train one network by Ray Train."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.formats.npz import npz_bytes
from soma_isaac.formats.pose_network import read_pose_network
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None,
        reason="ray is not installed; make peers builds an environment that has it",
    ),
]


def write_poses(path: Path) -> None:
    random = np.random.default_rng(0)
    first = np.array([1.0, 0.0, 0.0]) + 0.2 * random.normal(size=(60, 23, 3))
    second = np.array([0.0, 1.0, 0.0]) + 0.2 * random.normal(size=first.shape)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second -= (first * second).sum(axis=-1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=-1, keepdims=True)
    arrays = {
        "local_rotation_6d": np.concatenate([first, second], axis=-1).astype(np.float16),
        "clip": np.array(["a/01/01_01", "a/02/02_01"]),
        "length": np.array([40, 20]),
        "joint_names": np.array(BODY_JOINT_NAMES),
    }
    path.write_bytes(npz_bytes(arrays))


def test_two_workers_end_with_one_network_and_the_file_that_ships(tmp_path: Path, monkeypatch) -> None:
    import ray
    import torch

    from soma_isaac.pipelines.train_ik import run_train_ik
    from soma_isaac.pipelines.train_ik_config import DataConfig, EveryConfig, RecipeConfig, TrainIkConfig

    write_poses(tmp_path / "poses.npz")
    config = TrainIkConfig(
        data=DataConfig(paths=[str(tmp_path / "poses.npz")], split="own", validation=["02"]),
        recipe=RecipeConfig(width=16, batch=8, steps=4, bfloat16=False),
        every=EveryConfig(report=1, validate=4, checkpoint=4),
        plot=False,
        tensorboard=False,
        workers=2,
    )
    config.output.dir = str(tmp_path / "out")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    ray.init(num_cpus=3)
    try:
        report = run_train_ik(config, io.StringIO())
    finally:
        ray.shutdown()
    assert (report.exit_code, report.steps) == (0, 4)
    assert report.weights is not None
    card = read_pose_network(report.weights).card
    assert (card["workers"], card["recipe"]["batch"]) == (2, 8)
    states = [torch.load(tmp_path / "out" / name, weights_only=True) for name in ("checkpoint.pt", "1.checkpoint.pt")]
    for name, value in states[0]["network"].items():
        torch.testing.assert_close(states[1]["network"][name], value, msg=name)
    # each worker saw batches of its own
    assert not torch.equal(states[0]["generator"], states[1]["generator"])
