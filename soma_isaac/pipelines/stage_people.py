"""People of different build on a USD stage: referenced rigs with clips that any UsdSkel viewer plays."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from soma_isaac.pipelines.body_config import check_presets
from soma_isaac.pipelines.config import ConfigRefused, check_command_line, check_ranges
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.single_run import check_free, publish_result, run_single
from soma_isaac.rig.skeleton import data_path

if TYPE_CHECKING:
    from soma_isaac.sim.sinks.usd_rig_values import RigMotion, RigShape

SUFFIXES = (".usd", ".usda", ".usdc")
LODS = ("mid", "low", "xlo")
PEOPLE = ("adult_female", "adult_male", "teen", "elder_male")


@dataclass
class StageConfig:
    """All keys of ``stage.py``.

    Attributes:
        output: USD file to write: ``.usd``, ``.usda`` or ``.usdc``.
        motions: Motion files; people take them in turn. The bundled clips by default.
        presets: Named bodies of the open shape space; people take them in turn.
        count: Number of people, side by side.
        spacing: Between them, m.
        lod: Level of detail that is seen; the others are variants with the same person.
        relative: Name the rig by its path from the output's folder, so that both can be moved together.
        replace: Overwrite an output that exists.
    """

    output: str = ""
    motions: list[str] = field(default_factory=list)
    presets: list[str] = field(default_factory=lambda: list(PEOPLE))
    count: int = 4
    spacing: float = 1.2
    lod: str = "mid"
    relative: bool = False
    replace: bool = False


@dataclass(frozen=True)
class StageReport:
    """What was written.

    Attributes:
        path: The stage.
        people: Prim of each person.
        seconds: Of the longest clip.
        byte_count: Size of the file; the rig is not in it.
    """

    path: str
    people: tuple[str, ...]
    seconds: float
    byte_count: int


def check_config(config: StageConfig) -> None:
    """Refuse values that no stage can be made of.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if Path(config.output).suffix.lower() not in SUFFIXES:
        raise ConfigRefused(f"output: {config.output!r}; name a file that ends in {', '.join(SUFFIXES)}")
    check_ranges(config, {"count": (1, 256), "spacing": (0.0, 100.0)})
    if config.lod not in LODS:
        raise ConfigRefused(f"lod: {config.lod!r} is none of {', '.join(LODS)}")
    check_presets(config.presets)


def write_stage(config: StageConfig) -> StageReport:
    """Write the stage: Z up, in metres, at the frame rate of the first clip.

    Raises:
        ConfigRefused: A value does not fit.
        InputRejected: A motion is not sound.
        OutputConflict: The output exists and ``replace`` is not set, or it cannot be written.
        OSError: The disk refused.
    """
    check_config(config)
    final = Path(config.output)
    check_free(final, config.replace)
    # Imported here so that --help and wrong arguments are answered at once.
    from pxr import Usd, UsdGeom

    from soma_isaac.formats.rig_usd import load_template_rig
    from soma_isaac.formats.usd_stage_file import save_staged, set_time_range, stage_in_memory
    from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
    from soma_isaac.sim.sinks.usd_rig import author_samples, author_shape, reference_rig, relative_to_rig

    paths = [Path(path) for path in config.motions] or sorted(data_path("demo_clips").glob("*.npz"))
    motions = [load_motion(path) for path in paths[: config.count]]
    shapes, clips = _people(config, motions)
    stage = stage_in_memory(final.suffix.lower())
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    seconds = max(clip.duration for clip in clips)
    set_time_range(stage, 1, motions[0].fps)
    stage.SetEndTimeCode(seconds * motions[0].fps)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    rig, names = load_template_rig(), []
    for person, clip in enumerate(clips):
        place = Z_UP_FROM_Y_UP.copy()
        place[0, 3] = config.spacing * (person - 0.5 * (config.count - 1))
        prim = reference_rig(stage, f"/World/Person_{person}", rig, lod=config.lod, T_world_body=place)
        for shape in shapes[person]:
            author_shape(prim, shape)
        author_samples(prim, clip)
        names.append(str(prim.GetPath()))
    final.parent.mkdir(parents=True, exist_ok=True)
    if config.relative:
        # From a stage in memory the relative path leads nowhere: with nothing loaded USD does not look, nor warn.
        stage.SetPopulationMask(Usd.StagePopulationMask())
        relative_to_rig(stage.GetRootLayer(), final)
    publish_result(save_staged(stage, final), final, config.replace)
    return StageReport(str(final), tuple(names), round(seconds, 3), final.stat().st_size)


def _people(config: StageConfig, motions: Sequence[Any]) -> tuple[list[list[RigShape]], list[RigMotion]]:
    """Shapes of each person at every level of detail, and the clip of each."""
    from soma_isaac.body.identities.presets import preset
    from soma_isaac.body.layer import SomaLayer
    from soma_isaac.body.skin_animation import skin_animation
    from soma_isaac.sim.placement import hips_heights
    from soma_isaac.sim.sinks.usd_rig_values import rig_motion, rig_shape

    chosen = [preset(config.presets[person % len(config.presets)])[None] for person in range(config.count)]
    shapes: list[list[RigShape]] = [[] for _ in chosen]
    clips: list[RigMotion] = []
    for lod in LODS:
        layer = SomaLayer(identity="soma", lod=lod)
        for person, coefficients in enumerate(chosen):
            identity = layer.prepare_identity(coefficients)
            shapes[person].append(rig_shape(layer.body, identity))
            if lod == config.lod:
                motion = motions[person % len(motions)]
                stride = float(hips_heights(layer.body, identity)[0] / motion.identity.rest_offsets[1, 1])
                path = motion.root_translation - motion.root_translation[0] * np.array([1.0, 0.0, 1.0])
                animation = skin_animation(
                    layer.body, identity, motion.rotations, path * stride, fps=motion.fps, name=f"person {person}"
                )
                clips.append(rig_motion(layer.body, animation))
    return shapes, clips


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("stage_schema", StageConfig, arguments)


def stage_command(config: DictConfig) -> int:
    """Run what the config asks for, a line of JSON on stdout; exit codes of :func:`.single_run.run_single`."""
    return run_single(config, StageConfig, lambda settings: [json.dumps(asdict(write_stage(settings)))])
