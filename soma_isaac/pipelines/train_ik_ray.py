"""Training of learned IK on several GPUs or machines by Ray Train; Ray is an optional extra and does the rest."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from omegaconf import OmegaConf

from soma_isaac.errors import MissingDependency, SolveFailed
from soma_isaac.formats.pose_network import read_pose_network
from soma_isaac.pipelines.train_ik import CHECKPOINT_NAME, WEIGHTS_NAME, TrainIkReport, train_here
from soma_isaac.pipelines.train_ik_config import TrainIkConfig, recipe_of

INSTALL = "pip install 'soma_isaac[train,ray]'"


def train_with_ray(config: TrainIkConfig, stream: TextIO) -> TrainIkReport:
    """Train on ``config.workers`` workers, each with its share of the batch; all must see the output folder.

    Raises:
        MissingDependency: ray is not installed.
        SolveFailed: A worker failed.
    """
    try:
        from ray.train import RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise MissingDependency("ray", "training on several workers (workers=0 does without)", INSTALL) from error
    out = Path(config.output.dir).expanduser().resolve()
    settings = replace(
        config,
        output=replace(config.output, dir=str(out)),
        data=replace(config.data, paths=[str(Path(path).expanduser().resolve()) for path in config.data.paths]),
    )
    trainer = TorchTrainer(
        _worker,
        train_loop_config=_plain(settings),
        scaling_config=ScalingConfig(num_workers=config.workers, use_gpu=config.device != "cpu"),
        run_config=RunConfig(name="ray", storage_path=str(out)),
    )
    result = trainer.fit()
    if result.error is not None:
        raise SolveFailed(f"a training worker failed: {result.error}")
    stream.write(f"{config.workers} workers: checkpoints {CHECKPOINT_NAME} and Ray's own files in {out}\n")
    # Ray hands metrics back with checkpoints of its own only; the files say as much.
    card = read_pose_network(out / WEIGHTS_NAME).card
    return TrainIkReport(out, recipe_of(config).steps, out / WEIGHTS_NAME, metrics=card["metrics"])


def _worker(settings: dict[str, Any]) -> None:
    """What every worker does; Ray has set up torch's process group."""
    import ray.train
    from ray.train.torch import get_device, prepare_model

    config: TrainIkConfig = OmegaConf.to_object(  # type: ignore[assignment]
        OmegaConf.merge(OmegaConf.structured(TrainIkConfig), settings)
    )
    context = ray.train.get_context()
    rank = context.get_world_rank()
    device = get_device()
    train_here(
        replace(config, device=str(device)),
        io.StringIO(),
        # the last block of each stack has an output that nothing reads
        model=lambda network: prepare_model(network, parallel_strategy_kwargs={"find_unused_parameters": True}),
        rank=rank,
        size=context.get_world_size(),
    )


def _plain(config: TrainIkConfig) -> dict[str, Any]:
    recipe_of(config)
    return OmegaConf.to_container(OmegaConf.structured(config))  # type: ignore[return-value]
