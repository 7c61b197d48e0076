"""Settings of the comparison, as Hydra checks them and as the comparison uses them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from soma_isaac.errors import InputRejected
from soma_isaac.motion.soma import check_fps
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.run_config import SmplConfig

FRAMES_MOST = 12
SIZE_RANGE = (64, 1024)


@dataclass
class CompareOutputConfig:
    """Where the sheet goes.

    Attributes:
        dir: Folder, made if need be; the files are named like the result: ``.png``, ``.html`` and ``.json``.
    """

    dir: str = "out/compare"


@dataclass
class CompareConfig:
    """All keys of ``compare.py``.

    Attributes:
        result: A motion, e.g. one that ``convert.py`` wrote.
        source: What it shall be compared with; for a result of ``convert.py`` also the folder that was converted.
        output: Where the sheet goes.
        frames: Frames on the sheet: the worst, the first, the middle, the last, then others at even distances.
        size: Width and height of a picture in pixels.
        top_mm: Error at the end of the colour scale [mm]; ``null`` takes the next round value above 99 of 100 vertices
            on the sheet.
        align: ``world`` compares where the bodies are, ``hips`` puts their Hips at one place first.
        source_fps: Frame rate [Hz] of the source where its file does not say it; it wins where it does.
        up_axis: ``y`` or ``z`` where the source's world is known; ``null`` lets its content decide.
        smpl: The user's SMPL files, for a source of that family: its own mesh is then the reference.
        replace: Overwrite files that have other bytes.
    """

    result: str | None = None
    source: str | None = None
    output: CompareOutputConfig = field(default_factory=CompareOutputConfig)
    frames: int = 5
    size: list[int] = field(default_factory=lambda: [240, 300])
    top_mm: float | None = None
    align: str = "world"
    source_fps: float | None = None
    up_axis: str | None = None
    smpl: SmplConfig = field(default_factory=SmplConfig)
    replace: bool = False


def check_config(config: CompareConfig) -> None:
    """Refuse values that no comparison can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    for key in ("result", "source"):
        if not getattr(config, key):
            raise ConfigRefused(f"{key}: name a motion file, e.g. {key}=walk.npz")
    if not 1 <= config.frames <= FRAMES_MOST:
        raise ConfigRefused(f"frames: {config.frames!r} is outside 1 to {FRAMES_MOST}")
    if len(config.size) != 2 or not all(SIZE_RANGE[0] <= side <= SIZE_RANGE[1] for side in config.size):
        raise ConfigRefused(f"size: {config.size!r}; it is [width,height], each {SIZE_RANGE[0]} to {SIZE_RANGE[1]}")
    if config.top_mm is not None and not (math.isfinite(config.top_mm) and config.top_mm > 0.0):
        raise ConfigRefused(f"top_mm: {config.top_mm!r} is not above 0")
    if config.align not in ("world", "hips"):
        raise ConfigRefused(f"align: {config.align!r} is none of world, hips")
    if config.up_axis not in (None, "y", "z"):
        raise ConfigRefused(f"up_axis: {config.up_axis!r} is none of y, z")
    try:
        if config.source_fps is not None:
            check_fps(config.source_fps)
    except InputRejected as error:
        raise ConfigRefused(f"source_fps: {error.reason}") from error
