"""Training: an interrupted run ends where an uninterrupted one does, and checkpoints are read with care."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from soma_isaac.errors import InputRejected
from soma_isaac.learned.network import rotation_from_6d
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.recipes import OURS, PAPER, Recipe
from soma_isaac.learned.training import StepRecord, Trainer

SMALL = {"width": 16, "batch": 16, "steps": 8, "dropout": 0.2, "bfloat16": False, "warmup": 2}
RECIPES = {"ours": replace(OURS, **SMALL), "paper": replace(PAPER, **{**SMALL, "blocks": 2, "layers": 2})}


def poses(count: int = 40, spread: float = 0.3) -> PoseSet:
    generator = torch.Generator().manual_seed(0)
    columns = torch.eye(3)[:, :2].T + spread * torch.randn(count, 23, 2, 3, generator=generator)
    return PoseSet(rotation_from_6d(columns).numpy(), np.array(["somebody"] * count))


@pytest.mark.parametrize("name", RECIPES)
def test_a_training_that_was_interrupted_ends_with_the_same_weights(name: str, tmp_path) -> None:
    recipe = RECIPES[name]
    whole = Trainer(poses(), recipe, seed=3)
    whole.run(8)
    first = Trainer(poses(), recipe, seed=3)
    first.run(3)
    first.save(tmp_path / "checkpoint.pt")
    torch.manual_seed(99)  # what else goes on in the process changes nothing
    second = Trainer(poses(), recipe, seed=4)
    second.load(tmp_path / "checkpoint.pt")
    second.run(100)
    assert second.step == 8
    for key, value in whole.weights().items():
        np.testing.assert_array_equal(second.weights()[key], value, err_msg=key)


def test_seeds_decide_everything() -> None:
    found = []
    for seed in (1, 1, 2):
        trainer = Trainer(poses(), RECIPES["ours"], seed=seed)
        trainer.run(2)
        found.append(trainer.weights()["encoder.0.layers.0.weight"])
    np.testing.assert_array_equal(found[0], found[1])
    assert np.abs(found[0] - found[2]).max() > 1e-3


@pytest.mark.parametrize("name", RECIPES)
def test_the_loss_falls(name: str) -> None:
    recipe = replace(RECIPES[name], steps=60, batch=64, learning_rate=3e-3)
    reports: list[StepRecord] = []
    Trainer(poses(spread=0.1), recipe).run(60, reports.append, 20)
    assert [report.step for report in reports] == [20, 40, 60]
    assert reports[-1].loss < 0.85 * reports[0].loss


def test_a_checkpoint_of_another_recipe_is_refused_by_name(tmp_path) -> None:
    Trainer(poses(), RECIPES["ours"]).save(tmp_path / "checkpoint.pt")
    changed: Recipe = replace(RECIPES["ours"], learning_rate=1e-3, steps=9)
    with pytest.raises(InputRejected, match="learning_rate, steps"):
        Trainer(poses(), changed).load(tmp_path / "checkpoint.pt")


def test_a_checkpoint_of_other_data_is_refused(tmp_path) -> None:
    path, recipe = tmp_path / "checkpoint.pt", RECIPES["ours"]
    Trainer(poses(), recipe, origin={"data": "a", "seed": 1}).save(path)
    Trainer(poses(), recipe, origin={"data": "a", "seed": 1}).load(path)
    for origin, words in (({"data": "b", "seed": 1}, "data"), ({"data": "b", "seed": 2}, "data, seed"), (None, "data")):
        with pytest.raises(InputRejected, match=f"another training .{words}"):
            Trainer(poses(), recipe, origin=origin).load(path)


def test_a_damaged_checkpoint_is_refused(tmp_path) -> None:
    """Of the right recipe, but with a part missing, of another shape or of another kind."""
    path = tmp_path / "checkpoint.pt"
    trainer = Trainer(poses(), RECIPES["ours"])
    trainer.save(path)
    good = torch.load(path, weights_only=True)
    for change in (
        {"network": {}},
        {"optimizers": []},
        {"average": None, "generator": 3},
        {"generator": torch.zeros(3, dtype=torch.uint8)},
        {"recipe": [1, 2]},
        {"origin": 4},
    ):
        torch.save({**good, **change}, path)
        with pytest.raises(InputRejected, match="start in another folder") as raised:
            Trainer(poses(), RECIPES["ours"]).load(path)
        assert raised.value.path == str(path)


@pytest.mark.parametrize(
    "change",
    [{"dropout": 1.0}, {"ema": 2.0}, {"learning_rate": -1.0}, {"muon_rate": 0.0}, {"warmup": -1}, {"clip": -1.0}],
)
def test_recipes_out_of_range(change) -> None:
    with pytest.raises(InputRejected, match=f"{next(iter(change))} is .* out of range"):
        replace(RECIPES["ours"], **change)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nonsense", b"\x80\x04\x95cos\nsystem\n."])
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(content)
    with pytest.raises(InputRejected, match="no checkpoint"):
        Trainer(poses(), RECIPES["ours"]).load(tmp_path / "checkpoint.pt")
