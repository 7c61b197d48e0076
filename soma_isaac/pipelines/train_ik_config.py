"""Settings of the training of learned IK, as Hydra checks them and as the job uses them."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass, replace
from typing import Optional, get_type_hints

from soma_isaac.errors import InputRejected
from soma_isaac.learned.recipes import RECIPES, Recipe
from soma_isaac.pipelines.config import ConfigRefused, nearest
from soma_isaac.pipelines.run_config import OutputConfig

SPLIT_NAMES = ("cmu", "amass", "own")

RecipeConfig = make_dataclass(
    "RecipeConfig",
    # typing's own form: omegaconf reads it, and the fields are made from values
    [(each.name, Optional[get_type_hints(Recipe)[each.name]], None) for each in fields(Recipe)],  # noqa: UP045
    namespace={"__doc__": Recipe.__doc__},  # --help shows it
)
"""The fields of :class:`~soma_isaac.learned.recipes.Recipe`; ``null`` leaves what the preset says."""


@dataclass
class DataConfig:
    """Whose poses.

    Attributes:
        paths: Files in the layout of ``pipelines.ik_data.read_clip_table``, motions, or folders of motions (AMASS, SOMA
            npz, BVH, ...).
        split: ``cmu`` or ``amass`` (the papers' split) hold out the people or data sets that these name; ``own`` those
            named next.
        validation: Subjects that are looked at during training and not trained on.
        test: Subjects that are not looked at until the end.
    """

    paths: list[str] = field(default_factory=list)
    split: str = "cmu"
    validation: list[str] = field(default_factory=list)
    test: list[str] = field(default_factory=list)


@dataclass
class EveryConfig:
    """How often something is done [steps].

    Attributes:
        report: A row in the curves.
        validate: Validation, and a picture of the curves.
        checkpoint: A checkpoint, from which an interrupted training goes on.
    """

    report: int = 100
    validate: int = 1000
    checkpoint: int = 1000


@dataclass
class TrainIkConfig:
    """All keys of ``train_ik.py``.

    Attributes:
        data: Whose poses.
        preset: ``ours``, or ``paper``: as SMPL-IK was trained, for comparison.
        recipe: What shall differ from the preset, by the names of its fields.
        seed: Of weights, batches and noise.
        device: ``cpu`` or ``cuda``, ``cuda:1``, ...
        threads: CPU threads of torch.
        tf32: Let a GPU multiply float32 matrices in TF32.
        workers: GPUs (or CPU processes) to train on together, by Ray Train; 0 trains in this process without Ray.
        every: How often what is done.
        plot: Draw the curves (the extra ``train``).
        tensorboard: Write them for TensorBoard (the extra ``train``).
        resume: Go on from the checkpoint in the output folder, if there is one.
        finish: Do no more steps: make the file of the checkpoint as it is.
        output: Where everything goes.
        quiet: No progress lines.
    """

    data: DataConfig = field(default_factory=DataConfig)
    preset: str = "ours"
    recipe: RecipeConfig = field(default_factory=RecipeConfig)  # type: ignore[valid-type]
    seed: int = 0
    device: str = "cpu"
    threads: int = 1
    tf32: bool = True
    workers: int = 0
    every: EveryConfig = field(default_factory=EveryConfig)
    plot: bool = True
    tensorboard: bool = True
    resume: bool = True
    finish: bool = False
    output: OutputConfig = field(default_factory=lambda: OutputConfig("out/train_ik"))
    quiet: bool = False


def check_train_config(config: TrainIkConfig) -> None:
    """Refuse what cannot be done before anything is read.

    Raises:
        ConfigRefused: Names the key and what it takes.
    """
    if not config.data.paths:
        raise ConfigRefused("data.paths=[FILE] is missing: what shall be trained on?")
    for key, value, known in (
        ("preset", config.preset, tuple(RECIPES)),
        ("data.split", config.data.split, SPLIT_NAMES),
    ):
        if value not in known:
            raise ConfigRefused(f"{key}={value!r}: {nearest(value, known)}")
    if config.data.split != "own" and (config.data.validation or config.data.test):
        raise ConfigRefused("data.validation= and data.test= name people of your own choice; add data.split=own")
    for key in ("report", "validate", "checkpoint"):
        if getattr(config.every, key) < 1:
            raise ConfigRefused(f"every.{key} must be at least 1")
    if config.threads < 1 or config.workers < 0:
        raise ConfigRefused("threads must be at least 1 and workers at least 0")
    if config.finish and (config.workers or not config.resume):
        raise ConfigRefused("finish=true takes a checkpoint as it is: no workers=, no resume=false")
    recipe_of(config)


def recipe_of(config: TrainIkConfig) -> Recipe:
    """The preset with what shall differ.

    Raises:
        ConfigRefused: A value is out of range.
    """
    changed = {name: value for name, value in vars(config.recipe).items() if value is not None}
    try:
        return replace(RECIPES[config.preset], **changed)
    except InputRejected as error:
        raise ConfigRefused(f"recipe: {error}") from error
