"""Training of learned IK from files to the file that ships, in seconds, on made-up poses."""

import csv
import importlib.util
import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch

from soma_isaac.batch.lock import OutputLocked, RunLock
from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.npz import npz_bytes, open_npz
from soma_isaac.formats.pose_network import read_pose_network
from soma_isaac.learned import finishing
from soma_isaac.learned.effectors import Effectors, position
from soma_isaac.learned.poser import NetworkPoser
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, template_skeleton
from soma_isaac.pipelines import train_ik, train_ik_curves
from soma_isaac.pipelines.config import ConfigRefused, check_overrides
from soma_isaac.pipelines.ik_data import named_split, read_clip_table, read_poses, split, subject_of
from soma_isaac.pipelines.train_ik import run_train_ik
from soma_isaac.pipelines.train_ik_config import DataConfig, EveryConfig, RecipeConfig, TrainIkConfig, recipe_of
from soma_isaac.rig.skeleton import data_path

CLIPS = ("cmu_a/02/02_01", "cmu_a/03/03_02", "amc/01_02", "train/salsa/01")
SHARED = Path(__file__).parents[3] / "shared" / "data"


def table(spread: float = 0.2, frames: int = 30) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    first = np.array([1.0, 0.0, 0.0]) + spread * random.normal(size=(frames * len(CLIPS), 23, 3))
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.array([0.0, 1.0, 0.0]) + spread * random.normal(size=first.shape)
    second -= (first * second).sum(axis=-1, keepdims=True) * first
    second /= np.linalg.norm(second, axis=-1, keepdims=True)
    return {
        "local_rotation_6d": np.concatenate([first, second], axis=-1).astype(np.float16),
        "clip": np.array(CLIPS),
        "length": np.full(len(CLIPS), frames),
        "joint_names": np.array(BODY_JOINT_NAMES),
    }


@pytest.fixture
def poses(tmp_path: Path) -> Path:
    path = tmp_path / "poses.npz"
    path.write_bytes(npz_bytes(table()))
    return path


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finishing, "PRIOR_SETS", 60)
    monkeypatch.setattr(finishing, "METRIC_SETS", 8)
    monkeypatch.setattr(train_ik, "VALIDATION_SETS", 8)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def config(poses: Path, out: Path, **changes) -> TrainIkConfig:
    settings = TrainIkConfig(
        data=DataConfig(paths=[str(poses)], split="own", validation=["03"], test=["02"]),
        recipe=RecipeConfig(width=16, batch=8, steps=6, bfloat16=False),
        every=EveryConfig(report=1, validate=3, checkpoint=2),
        plot=False,
        tensorboard=False,
    )
    settings.output.dir = str(out)
    return replace(settings, **changes)


def test_it_writes_a_network_that_poses_bodies_and_a_card_that_says_how(poses: Path, tmp_path: Path) -> None:
    report = run_train_ik(config(poses, tmp_path / "out", plot=True, tensorboard=True), StringIO())
    assert (report.exit_code, report.steps) == (0, 6)
    file = read_pose_network(tmp_path / "out" / "SOMA_pose_network.safetensors")
    solved = NetworkPoser(file).solve(Effectors.of([position("Hips", (0.0, 1.0, 0.0))]), template_skeleton())
    assert solved.residual.max() < 1e-3
    card = json.loads((tmp_path / "out" / "SOMA_pose_network.json").read_text())
    assert card["sha256"] == file.digest
    assert card["data"]["sha256"] == read_poses(poses).digest
    assert card["data"]["poses"] == {"train": 60, "validation": 30, "test": 30}
    assert card["split"] == {"train": ["01", "salsa"], "validation": ["03"], "test": ["02"]}
    assert card["recipe"]["width"] == 16
    assert card["metrics"]["test"]["six: network + exact stage"]["position_after_mm"] < 1.0
    assert (tmp_path / "out" / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert list((tmp_path / "out" / "tensorboard").glob("events.*"))
    rows = list(csv.DictReader((tmp_path / "out" / "curves.csv").open()))
    assert [row["step"] for row in rows] == list("123456")
    assert all(float(row["loss"]) > 0 for row in rows)
    assert [bool(row["validation/noisy_mm"]) for row in rows] == [False, False, True] * 2


@pytest.mark.parametrize("preset", ["ours", "paper"])
def test_a_stopped_training_goes_on_to_the_same_bytes(preset: str, poses: Path, tmp_path: Path, monkeypatch) -> None:
    whole = run_train_ik(config(poses, tmp_path / "whole", preset=preset), StringIO())
    done = train_ik._Run._report
    stopped = train_ik.StopRequest

    class StopAfterThree(stopped):
        """A signal after the third step."""

        latest = None

        def __enter__(self):
            type(self).latest = self
            return super().__enter__()

    def report(run, record) -> None:
        done(run, record)
        if record.step == 3:
            StopAfterThree.latest.received = 15

    with monkeypatch.context() as patch:
        patch.setattr(train_ik, "StopRequest", StopAfterThree)
        patch.setattr(train_ik._Run, "_report", report)
        first = run_train_ik(config(poses, tmp_path / "parts", preset=preset), StringIO())
    assert (first.exit_code, first.steps, first.weights) == (143, 3, None)
    early = run_train_ik(config(poses, tmp_path / "parts", preset=preset, finish=True), StringIO())
    assert (early.steps, read_pose_network(early.weights).card["steps"]) == (3, 3)
    second = run_train_ik(config(poses, tmp_path / "parts", preset=preset), StringIO())
    assert second.weights.read_bytes() == whole.weights.read_bytes()
    columns = [[row["loss"] for row in csv.DictReader((out / "curves.csv").open())] for out in (whole.out, second.out)]
    assert columns[0] == columns[1]


def test_there_is_nothing_to_finish_without_a_checkpoint(poses: Path, tmp_path: Path) -> None:
    with pytest.raises(InputRejected, match="no checkpoint"):
        run_train_ik(config(poses, tmp_path / "out", finish=True), StringIO())


def test_another_recipe_in_the_same_folder_is_refused(poses: Path, tmp_path: Path) -> None:
    run_train_ik(config(poses, tmp_path / "out"), StringIO())
    changed = config(poses, tmp_path / "out", recipe=RecipeConfig(width=24, batch=8, steps=6, bfloat16=False))
    with pytest.raises(InputRejected, match="another training .width"):
        run_train_ik(changed, StringIO())


@pytest.mark.parametrize("package", ["matplotlib", "tensorboard"])
def test_what_draws_curves_is_named_before_anything_is_trained(package, poses, tmp_path, monkeypatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        train_ik_curves.importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    with pytest.raises(MissingDependency, match=rf"{package}.*soma_isaac\[train\]"):
        run_train_ik(config(poses, tmp_path / "out", plot=True, tensorboard=True), StringIO())
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_settings_are_checked_by_name() -> None:
    check_overrides(["recipe.width=384", "data.paths=[a.npz]", "recipe.cosine=false"], TrainIkConfig)
    with pytest.raises(ConfigRefused, match="did you mean 'recipe.width'"):
        check_overrides(["recipe.widht=384"], TrainIkConfig)
    with pytest.raises(ConfigRefused, match="recipe.batch"):
        check_overrides(["recipe.batch=many"], TrainIkConfig)
    with pytest.raises(ConfigRefused, match="optimizer is 'sgd'"):
        recipe_of(TrainIkConfig(recipe=RecipeConfig(optimizer="sgd")))
    with pytest.raises(ConfigRefused, match="data.paths"):
        run_train_ik(TrainIkConfig(), StringIO())
    assert recipe_of(TrainIkConfig(preset="paper", recipe=RecipeConfig(width=1024))).loss == "paper"


@pytest.mark.parametrize(
    ("clip", "subject"),
    [
        ("cmu_a/05/05_01", "05"),
        ("amc/01_02", "01"),
        ("cmu_aclstm/train_data_bvh/martial/03", "martial"),
        ("walk", "walk"),
    ],
)
def test_the_subject_is_told_from_the_clips_name(clip: str, subject: str) -> None:
    assert subject_of(clip) == subject


def test_half_precision_columns_become_rotations_in_columns(poses: Path) -> None:
    rotations = read_poses(poses).poses.rotations.astype(np.float64)
    np.testing.assert_allclose(rotations[..., 0], table()["local_rotation_6d"][..., :3].astype(float), atol=2e-3)
    np.testing.assert_allclose(rotations[..., 1], table()["local_rotation_6d"][..., 3:].astype(float), atol=2e-3)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("length", np.array([30, 30, 30, 31]), "121 frames"),
        ("joint_names", np.array(BODY_JOINT_NAMES[::-1]), "joint names"),
        ("local_rotation_6d", np.zeros((120, 23, 6), np.float16), "unit vector"),
        ("local_rotation_6d", np.zeros((120, 24, 6), np.float16), "expected numbers"),
    ],
)
def test_tables_that_do_not_fit_are_refused(key: str, value: np.ndarray, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(npz_bytes({**table(), key: value}))
    with pytest.raises(InputRejected, match=message):
        read_clip_table(open_npz(path))


def test_splits_hold_out_whole_subjects(poses: Path) -> None:
    everybody = read_poses(poses).poses
    parts = split(everybody, ["03"], ["02", "salsa"])
    assert {name: sorted(set(part.subject.tolist())) for name, part in parts.items()} == {
        "train": ["01"],
        "validation": ["03"],
        "test": ["02", "salsa"],
    }
    assert sum(part.count for part in parts.values()) == everybody.count
    for validation, test, message in (
        (["03"], ["03"], "cannot be validated and tested"),
        (["03"], ["99"], "no poses of 99"),
        (["01", "03"], ["02", "salsa"], "nobody is left"),
    ):
        with pytest.raises(InputRejected, match=message):
            split(everybody, validation, test)


def test_a_named_split_takes_whoever_of_its_people_is_there(poses: Path) -> None:
    everybody = read_poses(poses).poses
    parts = named_split(everybody, "cmu")
    assert {name: sorted(set(part.subject.tolist())) for name, part in parts.items()} == {
        "train": ["01", "salsa"],
        "validation": ["03"],
        "test": ["02"],
    }
    with pytest.raises(InputRejected, match="Transitions_mocap, SSM_synced, and none of them"):
        named_split(everybody, "amass")
    with pytest.raises(InputRejected, match="there are cmu, amass"):
        named_split(everybody, "h36m")


def test_a_folder_of_motions_is_read_at_30_frames_per_second_by_data_set(tmp_path: Path) -> None:
    clip = data_path("demo_clips") / "wave.npz"
    for data_set in ("SFU", "KIT"):
        (tmp_path / data_set / "person").mkdir(parents=True)
        (tmp_path / data_set / "person" / "wave.npz").write_bytes(clip.read_bytes())
    (tmp_path / "SFU" / "person" / "neutral_stagei.npz").write_bytes(npz_bytes({"betas": np.zeros(16)}))
    found, alone = read_poses(tmp_path), read_poses(clip)
    assert found.files == 2
    assert found.poses.count == 2 * alone.poses.count
    assert set(found.poses.subject.tolist()) == {"SFU", "KIT"}
    assert read_poses(tmp_path / "SFU" / "person" / "wa*.npz").poses.count == alone.poses.count
    with pytest.raises(InputRejected, match="no motions"):
        read_poses(tmp_path / "SFU" / "person" / "x*.npz")


def test_the_cmu_file_is_split_as_announced() -> None:
    path = SHARED / "mocap" / "cmu_soma23.npz"
    if not path.is_file():
        pytest.skip("the shared CMU mocap is not beside this checkout")
    parts = named_split(read_poses(path).poses, "cmu")
    assert {name: part.count for name, part in parts.items()} == {"train": 43812, "validation": 3352, "test": 9199}


def test_other_data_another_split_or_seed_do_not_go_on(poses: Path, tmp_path: Path) -> None:
    """The card would else say of one training what is true of two."""
    out = tmp_path / "out"
    run_train_ik(config(poses, out), StringIO())
    other = tmp_path / "other.npz"
    other.write_bytes(npz_bytes(table(spread=0.1)))
    card = (out / "SOMA_pose_network.json").read_bytes()
    for changed, words in (
        (config(other, out), "data"),
        (config(poses, out, data=DataConfig(paths=[str(poses)], split="own", test=["02"])), "split"),
        (config(poses, out, seed=5), "seed"),
    ):
        with pytest.raises(InputRejected, match=f"another training .{words} differ"):
            run_train_ik(changed, StringIO())
    assert (out / "SOMA_pose_network.json").read_bytes() == card


def test_two_trainings_do_not_share_a_folder(poses: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with RunLock(out), pytest.raises(OutputLocked, match="another run works"):
        run_train_ik(config(poses, out), StringIO())
    assert [path.name for path in out.iterdir()] == [".lock"]


def test_devices_and_folders_that_are_not_there(poses: Path, tmp_path: Path) -> None:
    for device in ("foo", *(() if torch.cuda.is_available() else ("cuda",))):
        with pytest.raises(ConfigRefused, match=f"device: '{device}' cannot be used"):
            run_train_ik(config(poses, tmp_path / "out", device=device), StringIO())
    with pytest.raises(InputRejected, match="output.dir= takes a folder"):
        run_train_ik(config(poses, poses), StringIO())
    (tmp_path / "curves.csv").write_text("step,loss\nthree,4\n")
    curves = train_ik_curves.Curves(tmp_path, plot=False, tensorboard=False)
    with pytest.raises(InputRejected, match="no table of curves"):
        curves.resume(5)


def test_a_table_that_is_not_sound_is_named(tmp_path: Path) -> None:
    path = tmp_path / "poses.npz"
    for change, words in (
        ({"local_rotation_6d": np.zeros((120, 23, 6))}, "no unit vector"),
        ({"local_rotation_6d": np.tile([1.0, 0, 0, 1.0, 0, 0], (120, 23, 1))}, "not a rotation"),
        ({"local_rotation_6d": np.full((120, 23, 6), np.nan)}, "finite"),
        ({"length": np.full(len(CLIPS), 29)}, "116 frames in all"),
    ):
        path.write_bytes(npz_bytes(table() | change))
        with pytest.raises(InputRejected, match=words) as raised:
            read_poses(path)
        assert raised.value.path == str(path)
