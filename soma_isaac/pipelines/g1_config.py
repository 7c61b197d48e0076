"""Settings of the G1 reference job, as Hydra checks them and as the job uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from soma_isaac.errors import InputRejected
from soma_isaac.pipelines.config import ConfigRefused, nearest
from soma_isaac.pipelines.run_config import (
    FolderRunConfig,
    SmplConfig,
    check_rate,
    check_run_config,
    details_name,
)
from soma_isaac.retarget.settings import RetargetConfig, changed_settings, check_settings

# Repeats what formats.reference_clip.FORMATS says (a test holds them equal), see run_config.MOTION_SUFFIXES.
FORMAT_SUFFIXES = {"beyondmimic": ".npz", "mjlab": ".npz", "amp": ".npz", "csv": ".csv"}


@dataclass
class RobotConfig:
    """Which robot.

    Attributes:
        urdf: The user's own G1 URDF; ``null`` for the bundled one.
    """

    urdf: str | None = None


@dataclass
class G1RefsConfig(FolderRunConfig):
    """All keys of ``prepare_g1_refs.py``.

    Attributes:
        robot: Which robot.
        formats: Output formats, of ``FORMAT_SUFFIXES``.
        fps: Frame rate [Hz] of the results.
        smpl: The user's SMPL files; AMASS clips are then converted by mesh.
        retarget: What shapes the robot's motion.
    """

    robot: RobotConfig = field(default_factory=RobotConfig)
    formats: list[str] = field(default_factory=lambda: list(FORMAT_SUFFIXES))
    fps: float = 50.0
    smpl: SmplConfig = field(default_factory=SmplConfig)
    retarget: RetargetConfig = field(default_factory=RetargetConfig)


def check_config(config: G1RefsConfig) -> None:
    """Refuse values that no run can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    for name in config.formats:
        if name not in FORMAT_SUFFIXES:
            raise ConfigRefused(f"formats: unknown format {name!r}; {nearest(name, tuple(FORMAT_SUFFIXES))}")
    if not config.formats or len(set(config.formats)) != len(config.formats):
        raise ConfigRefused(f"formats: name one or more of {', '.join(FORMAT_SUFFIXES)}, each once")
    check_run_config(config)
    check_rate("fps", config.fps)
    try:
        check_settings(config.retarget)
    except InputRejected as error:
        raise ConfigRefused(f"retarget.{error.reason}") from error


def conversion_settings(config: G1RefsConfig) -> dict[str, Any]:
    """What the bytes of the outputs depend on, without the robot: JSON values for workers and for the digest.

    ``retarget`` holds what differs from the defaults and is left out where nothing does; the defaults themselves are in
    the digest of the code.
    """
    settings = {"fps": config.fps, "source_fps": config.source.fps, "up_axis": config.source.up_axis}
    changed = changed_settings(config.retarget)
    return {**settings, "retarget": changed} if changed else settings


def retarget_words(config: G1RefsConfig) -> str:
    """What the report says of the retargeting."""
    changed = changed_settings(config.retarget)
    return ", ".join(f"{part}.{name}={value!r}" for part, values in changed.items() for name, value in values.items())


def output_names(relative: str, formats: Sequence[str]) -> tuple[str, ...]:
    """Relative output paths of an input: one per format, in our order, and the details that the report is made from."""
    stem = relative.rpartition(".")[0]
    chosen = (name for name in FORMAT_SUFFIXES if name in formats)
    return (*(f"{name}/{stem}{FORMAT_SUFFIXES[name]}" for name in chosen), details_name(relative))
