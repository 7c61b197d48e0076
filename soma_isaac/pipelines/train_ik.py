"""Training of learned IK: read, split, train, look at people not trained on, and write the file that ships."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from soma_isaac import __version__
from soma_isaac.batch.lock import RunLock
from soma_isaac.batch.stop import StopRequest
from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.pose_network import read_pose_network, write_pose_network
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.recipes import Recipe
from soma_isaac.pipelines.config import ConfigRefused, config_yaml, settings_digest
from soma_isaac.pipelines.folder_run import EXIT_DONE, EXIT_SIGNAL
from soma_isaac.pipelines.ik_data import named_split, read_poses, split
from soma_isaac.pipelines.train_ik_config import TrainIkConfig, check_train_config, recipe_of
from soma_isaac.pipelines.train_ik_curves import Curves

if TYPE_CHECKING:
    from torch import nn

    from soma_isaac.learned.training import Trainer

WEIGHTS_NAME, CARD_NAME, CHECKPOINT_NAME = "SOMA_pose_network.safetensors", "SOMA_pose_network.json", "checkpoint.pt"
VALIDATION_SETS, VALIDATION_ENTROPY = 256, 13


@dataclass(frozen=True)
class TrainIkReport:
    """How a training ended.

    Attributes:
        out: Output folder.
        steps: Steps done in all.
        weights: The file that ships, ``None`` where the training was stopped early.
        stop_signal: Number of the signal that stopped it.
        metrics: The figures of the card.
    """

    out: Path
    steps: int
    weights: Path | None = None
    stop_signal: int | None = None
    metrics: Mapping[str, Any] | None = None

    @property
    def exit_code(self) -> int:
        """0 trained to the end, 128 + n stopped by signal n."""
        return EXIT_DONE if self.stop_signal is None else EXIT_SIGNAL + self.stop_signal


@dataclass(frozen=True, eq=False)
class Material:
    """What is trained on.

    Attributes:
        parts: Poses ``train``, ``validation``, ``test``.
        digest: sha256 of all files.
        files: Their number.
    """

    parts: Mapping[str, PoseSet]
    digest: str
    files: int

    @property
    def split_digest(self) -> str:
        """sha256 of who is in which part."""
        return settings_digest({name: sorted(set(part.subject.tolist())) for name, part in self.parts.items()})


def run_train_ik(config: TrainIkConfig, stream: TextIO) -> TrainIkReport:
    """Train as the config says; goes on where an earlier run in the same folder stopped.

    Raises:
        ConfigRefused: A setting is wrong.
        InputRejected: The data cannot be read, or the checkpoint is of another training.
        MissingDependency: torch, or what draws the curves, is not installed.
    """
    check_train_config(config)
    _check_torch()
    if config.workers:
        from soma_isaac.pipelines.train_ik_ray import train_with_ray

        return train_with_ray(config, stream)
    return train_here(config, stream)


def train_here(
    config: TrainIkConfig,
    stream: TextIO,
    *,
    model: Callable[[nn.Module], nn.Module] | None = None,
    rank: int = 0,
    size: int = 1,
) -> TrainIkReport:
    """Train in this process, as one of ``size`` that share every batch; only rank 0 writes.

    Args:
        config: What to do, checked already.
        stream: Where progress is shown.
        model: Wraps the network for several devices.
        rank: Which process this is.
        size: How many there are.

    Raises:
        ConfigRefused, InputRejected: As :func:`run_train_ik`.
        OutputLocked: Another training works in the output folder.
    """
    import torch

    from soma_isaac.learned.training import Trainer

    torch.set_num_threads(config.threads)
    _check_device(config.device)
    if config.device != "cpu":
        torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    out, recipe = Path(config.output.dir).expanduser().resolve(), recipe_of(config)
    if out.exists() and not out.is_dir():
        raise InputRejected("is a file; output.dir= takes a folder", str(out))
    material = read_material(config)
    shared = recipe if size == 1 else _share(recipe, size)
    # The wrapper gives all processes the weights of rank 0; their batches shall differ.
    seed = config.seed + 1000 * rank
    origin = {"data": material.digest, "split": material.split_digest, "seed": config.seed, "workers": size}
    poses = material.parts["train"]
    trainer = Trainer(poses, shared, seed=seed, device=config.device, model=model, origin=origin)
    out.mkdir(parents=True, exist_ok=True)
    with RunLock(out) if rank == 0 else contextlib.nullcontext():
        return _train(config, stream, recipe, trainer, material, out, rank)


def _train(
    config: TrainIkConfig, stream: TextIO, recipe: Recipe, trainer: Trainer, material: Material, out: Path, rank: int
) -> TrainIkReport:
    checkpoint = out / (CHECKPOINT_NAME if rank == 0 else f"{rank}.{CHECKPOINT_NAME}")
    if config.resume and (config.finish or checkpoint.is_file()):
        trainer.load(checkpoint)
    if config.finish:
        return _finish(config, recipe, trainer, material, out)
    run = _Run(config, trainer, material, checkpoint, stream if rank == 0 and not config.quiet else None)
    if rank == 0:
        write_file(out / "config.yaml", config_yaml(config, settings_digest({"recipe": asdict(recipe)})))
        run.curves = Curves(out, plot=config.plot, tensorboard=config.tensorboard)
        run.curves.resume(trainer.step)
    try:
        stop = run.to_the_end()
    finally:
        if run.curves is not None:
            run.curves.close()
    if stop is not None:
        return TrainIkReport(out, trainer.step, stop_signal=stop)
    if rank:
        return TrainIkReport(out, trainer.step)
    return _finish(config, recipe, trainer, material, out)


def _check_device(device: str) -> None:
    """Refuse a device that is not here.

    Raises:
        ConfigRefused: Names what is wrong with it.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigRefused(f"device: {device!r} cannot be used: {str(error).splitlines()[0][:200]}") from error


def read_material(config: TrainIkConfig) -> Material:
    """Read and split.

    Raises:
        InputRejected: There is nothing to read, or nobody is left to train on.
    """
    found = [read_poses(Path(path).expanduser()) for path in config.data.paths]
    poses = PoseSet(
        np.concatenate([each.poses.rotations for each in found]), np.concatenate([each.poses.subject for each in found])
    )
    if config.data.split == "own":
        parts = split(poses, config.data.validation, config.data.test)
    else:
        parts = named_split(poses, config.data.split)
    digest = hashlib.sha256("".join(each.digest for each in found).encode()).hexdigest()
    one = found[0].digest if len(found) == 1 else digest
    return Material(parts, one, sum(each.files for each in found))


class _Run:
    """One process's way through the steps."""

    def __init__(
        self, config: TrainIkConfig, trainer: Trainer, material: Material, checkpoint: Path, stream: TextIO | None
    ) -> None:
        self.config, self.trainer, self.material, self.checkpoint = config, trainer, material, checkpoint
        self.stream, self.curves = stream, None

    curves: Curves | None

    def to_the_end(self) -> int | None:
        """Do what steps are left; the signal that ended it early."""
        every, total = self.config.every, self.trainer.recipe.steps
        stop = StopRequest()
        with stop if threading.current_thread() is threading.main_thread() else contextlib.nullcontext():
            while self.trainer.step < total and stop.received is None:
                due = min(_next(self.trainer.step, each) for each in (every.report, every.validate, every.checkpoint))
                self.trainer.run(min(due, total) - self.trainer.step, self._report, every.report)
                step, last = self.trainer.step, self.trainer.step == total
                if self.curves is not None and (step % every.validate == 0 or last):
                    self._validate(self.curves)
                if step % every.checkpoint == 0 or last:
                    self._save()
        if stop.received is not None:
            self._save()
        return stop.received

    def _report(self, record: Any) -> None:
        if self.curves is None:
            return
        terms = {f"term/{name}": value for name, value in record.terms.items()}
        self.curves.add(record.step, {"loss": record.loss, "samples_per_second": record.samples_per_second, **terms})
        if self.stream is not None and record.step % self.config.every.report == 0:
            self.stream.write(
                f"step {record.step}/{self.trainer.recipe.steps}: loss {record.loss:.3f}, "
                f"{record.samples_per_second:.0f} poses/s\n"
            )

    def _validate(self, curves: Curves) -> None:
        values = validation(self.trainer.weights(), self.trainer.recipe, self.material.parts)
        curves.add(self.trainer.step, values)
        curves.write()
        if self.stream is not None and values:
            shown = ", ".join(f"{name.removeprefix('validation/')} {value:.1f}" for name, value in values.items())
            self.stream.write(f"step {self.trainer.step}: {shown}\n")

    def _save(self) -> None:
        self.trainer.save(self.checkpoint)
        if self.curves is not None:
            self.curves.write()


@functools.lru_cache(maxsize=1)
def _validation_draws() -> Any:
    from soma_isaac.learned.fixed_draws import FixedDraws

    return FixedDraws.make(1, VALIDATION_SETS, VALIDATION_ENTROPY)


def validation(weights: Mapping[str, np.ndarray], recipe: Recipe, parts: Mapping[str, PoseSet]) -> dict[str, float]:
    """Errors [mm] of the network alone on people that it is not trained on, if there are any."""
    if "validation" not in parts:
        return {}
    from soma_isaac.learned.evaluation import alone, measure
    from soma_isaac.learned.finishing import network_card
    from soma_isaac.learned.pose_tests import pose_test
    from soma_isaac.learned.torch_predictor import predictor_of

    contestant = alone(predictor_of(weights, network_card(recipe)).predict_bodies)
    values = {}
    for ask in ("noisy", "six"):
        test = pose_test(parts["validation"], _validation_draws(), 0, ask)
        values[f"validation/{ask}_mm"] = float(1e3 * measure(test, contestant).root_aligned.mean())
    return values


def _finish(config: TrainIkConfig, recipe: Recipe, trainer: Trainer, material: Material, out: Path) -> TrainIkReport:
    from soma_isaac.learned import sampler
    from soma_isaac.learned.finishing import finished

    parts = material.parts
    about = {
        "soma_isaac": __version__,
        "data": {
            "sha256": material.digest,
            "files": material.files,
            "poses": {name: poses.count for name, poses in parts.items()},
        },
        "split": {name: sorted(set(poses.subject.tolist())) for name, poses in parts.items()},
        "sampler": {
            "effectors": list(sampler.COUNTS),
            "least_positions": sampler.LEAST_POSITIONS,
            "largest_tolerance": sampler.LARGEST_TOLERANCE,
            "tolerance_power": sampler.TOLERANCE_POWER,
            "body_sizes": list(sampler.SIZE_RANGE),
        },
        "preset": config.preset,
        "recipe": asdict(recipe),
        "seed": config.seed,
        "steps": trainer.step,
        "workers": max(config.workers, 1),
        "finished": time.strftime("%Y-%m-%d", time.gmtime()),
    }
    file = finished(trainer.weights(), recipe, parts, about)
    write_pose_network(out / WEIGHTS_NAME, file)
    written = read_pose_network(out / WEIGHTS_NAME)
    card = {"file": WEIGHTS_NAME, "sha256": written.digest, **written.card}
    write_file(out / CARD_NAME, (json.dumps(card, indent=1, sort_keys=True) + "\n").encode())
    return TrainIkReport(out, trainer.step, out / WEIGHTS_NAME, metrics=file.card["metrics"])


def _share(recipe: Recipe, size: int) -> Recipe:
    if recipe.batch % size:
        raise InputRejected(f"a batch of {recipe.batch} poses cannot be shared out over {size} workers")
    return replace(recipe, batch=recipe.batch // size)


def _next(step: int, every: int) -> int:
    return (step // every + 1) * every


def _check_torch() -> None:
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependency("torch", "training the pose network", "pip install 'soma_isaac[train]'") from error
