"""Settings of the batch renderer, as Hydra checks them and as the job uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from soma_isaac.pipelines.config import ConfigRefused, nearest
from soma_isaac.pipelines.run_config import FolderRunConfig, OutputConfig, check_rate, check_run_config

LAYERS = ("rgb", "depth", "normals", "parts", "instances")
"""Pictures; each has a folder of its own."""

OUTPUTS = (*LAYERS, "annotations")
KINDS = ("preset", "sampled", "anny")
LODS = ("mid", "low", "xlo")
RENDERERS = ("raycast", "newton", "isaac")
SIDE_RANGE = (16, 8192)
MOST_SCENE_FRAMES = 10_000_000
"""Of one run: its plan is held in memory."""

SHOT_PIXELS = 16_000_000
"""Pixels of all pictures that one job holds in memory, unless one frame alone has more."""


@dataclass
class BodiesConfig:
    """Which people.

    Attributes:
        count: How many.
        per_scene: How many stand together in one scene.
        spacing: Distance between neighbours in a scene [m].
        kinds: Kinds of body, taken in turn: ``preset`` (named bodies of the open shape space), ``sampled`` (drawn from
            it), ``anny`` (any age and build; needs the extra ``anny``).
        lod: Level of detail: ``mid``, ``low`` or ``xlo``.
        correctives: Add the open pose correctives.
    """

    count: int = 16
    per_scene: int = 1
    spacing: float = 1.2
    kinds: list[str] = field(default_factory=lambda: ["preset", "sampled"])
    lod: str = "mid"
    correctives: bool = True


@dataclass
class RenderBodiesConfig(FolderRunConfig):
    """All keys of ``render_bodies.py``.

    Attributes:
        bodies: Which people.
        motion: Folder of motion files or one file; ``null`` for the bundled clips. (``source.fps`` and
            ``source.up_axis`` say what the files do not.)
        frames: Frames per scene.
        fps: Frames per second of the clips' time.
        camera: ``front``, ``turn`` (one that goes once around), ``orbitN`` (N around the scene) or ``randomN``.
        vertical_fov: Field of view [rad].
        size: Width and height of a picture in pixels.
        outputs: What to write, any of ``rgb``, ``depth``, ``normals``, ``parts``, ``instances``, ``annotations``.
        renderer: ``raycast`` (the package's own), ``newton`` (the extra of that name) or ``isaac`` (inside Isaac Sim).
        video: Make an MP4 of every scene and camera from its pictures (the extra ``video``).
        seed: Decides everything that is left to chance.
        device: Warp device, e.g. ``cpu`` or ``cuda:0``.
    """

    output: OutputConfig = field(default_factory=lambda: OutputConfig("out/bodies"))
    bodies: BodiesConfig = field(default_factory=BodiesConfig)
    motion: str | None = None
    frames: int = 1
    fps: float = 10.0
    camera: str = "orbit4"
    vertical_fov: float = 0.6
    size: list[int] = field(default_factory=lambda: [256, 256])
    outputs: list[str] = field(default_factory=lambda: list(OUTPUTS))
    renderer: str = "raycast"
    video: bool = False
    seed: int = 0
    device: str = "cpu"


def check_config(config: RenderBodiesConfig) -> None:
    """Refuse values that no run can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    check_run_config(config)
    if config.source.path is not None:
        raise ConfigRefused("source.path: motion= names the clips here")
    check_rate("fps", config.fps)
    for key, values, known in (("outputs", config.outputs, OUTPUTS), ("bodies.kinds", config.bodies.kinds, KINDS)):
        for value in values:
            if value not in known:
                raise ConfigRefused(f"{key}: unknown {value!r}; {nearest(value, known)}")
        if not values or len(set(values)) != len(values):
            raise ConfigRefused(f"{key}: name one or more of {', '.join(known)}, each once")
    if config.bodies.lod not in LODS:
        raise ConfigRefused(f"bodies.lod: {config.bodies.lod!r} is none of {', '.join(LODS)}")
    if config.renderer not in RENDERERS:
        raise ConfigRefused(f"renderer: unknown {config.renderer!r}; {nearest(config.renderer, RENDERERS)}")
    if config.video and "rgb" not in config.outputs:
        raise ConfigRefused("video: it is made of the pictures; add rgb to outputs")
    if len(config.size) != 2 or not all(SIDE_RANGE[0] <= side <= SIDE_RANGE[1] for side in config.size):
        raise ConfigRefused(f"size: {config.size!r}; write [width,height], each {SIDE_RANGE[0]} to {SIDE_RANGE[1]}")
    for key, value, ok in (
        ("bodies.count", config.bodies.count, 1 <= config.bodies.count <= 1_000_000),
        ("bodies.per_scene", config.bodies.per_scene, 1 <= config.bodies.per_scene <= 1000),
        ("bodies.spacing", config.bodies.spacing, 0.1 <= config.bodies.spacing <= 100.0),
        ("frames", config.frames, 1 <= config.frames <= 100_000),
        ("vertical_fov", config.vertical_fov, 0.05 <= config.vertical_fov <= 2.5),
        ("seed", config.seed, 0 <= config.seed < 2**63),
    ):
        if not ok:
            raise ConfigRefused(f"{key}: {value!r} is out of range")
    scenes = -(-config.bodies.count // config.bodies.per_scene)
    if scenes * config.frames > MOST_SCENE_FRAMES:
        raise ConfigRefused(
            f"frames: {scenes} scenes of {config.frames} frames are more than {MOST_SCENE_FRAMES} in one run; "
            "split them by seed="
        )


def job_settings(config: RenderBodiesConfig) -> dict[str, Any]:
    """What the bytes depend on besides the shots and the choice of outputs: JSON values."""
    return {
        "source_fps": config.source.fps,
        "up_axis": config.source.up_axis,
        "device": config.device,
        "renderer": config.renderer,
    }


def frames_per_shot(config: RenderBodiesConfig, view_count: int) -> int:
    """Frames that one job renders, at least one, so that its pictures fit into bounded memory."""
    return min(config.frames, max(1, SHOT_PIXELS // (view_count * config.size[0] * config.size[1])))
