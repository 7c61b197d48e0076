"""Batch rendering: people of many builds in many poses, as pictures with depth, normals, parts and joints."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TextIO

from soma_isaac.batch.discovery import InputRules, discover
from soma_isaac.batch.ledger import LedgerRecord
from soma_isaac.batch.plan import FoundInput, build_plan
from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.atomic import folder_inside, sha256_of_bytes, write_file
from soma_isaac.pipelines.config import ConfigRefused, settings_digest
from soma_isaac.pipelines.fingerprint import code_digest
from soma_isaac.pipelines.folder_run import FolderPlan, FolderReport, dry_run_folder, run_folder
from soma_isaac.pipelines.render_bodies_config import (
    LAYERS,
    RenderBodiesConfig,
    check_config,
    frames_per_shot,
    job_settings,
)
from soma_isaac.pipelines.run_config import MOTION_SUFFIXES, REFUSED_SUFFIXES, skipped_name
from soma_isaac.pipelines.warp_log import hush_warp
from soma_isaac.render.plan import ClipFile, SceneChoices, Shot, scene_parts, shots_of_scene
from soma_isaac.rig.skeleton import data_path

CONVERTER = "soma_isaac.pipelines.render_bodies_shot:render_shot"
ISAAC_CONVERTER = "soma_isaac.kit.replicator:render_shot"
DEMO_CLIPS = "demo_clips"
SHOTS_FOLDER = "shots"
CODE_PARTS = (
    "math",
    "rig",
    "motion",
    "formats",
    "kernels",
    "body",
    "inversion",
    "render",
    "pipelines/motion_in.py",
    "pipelines/render_bodies_shot.py",
)
DATA_FILES = (
    "SOMA_skeleton.json",
    "SOMA_template_rig.usda",
    "SOMA_procedural_transforms.json",
    "SOMA_neutral.npz",
    "SOMA_correctives.safetensors",
)
LIBRARIES = ("numpy", "scipy", "warp-lang", "anny")
RENDERER_LIBRARY = {"newton": "newton", "isaac": "isaacsim"}


def plan_render_bodies(config: RenderBodiesConfig) -> tuple[FolderPlan, dict[str, bytes]]:
    """Plan every shot; nothing is written.

    Returns:
        The plan, and each shot's JSON by the input's name: these files are the plan's inputs.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: There are no clips, or the output is no place for results.
        MissingDependency: Bodies of Anny are asked for and the package is not installed.
    """
    check_config(config)
    _check_packages(config)
    out = Path(config.output.dir).expanduser().resolve()
    if out.exists() and not out.is_dir():
        raise InputRejected("is a file; output.dir= takes a folder", str(out))
    shots = {f"{shot.name}.json": shot for shot in _shots(config, out)}
    files = {name: shot.to_json() for name, shot in shots.items()}
    found = [FoundInput(name, len(data), sha256_of_bytes(data)) for name, data in files.items()]
    settings = job_settings(config)
    digest = settings_digest(settings | {"shots": {item.input: item.sha256 for item in found}})
    libraries = (*LIBRARIES, *(RENDERER_LIBRARY[name] for name in RENDERER_LIBRARY if name == config.renderer))
    code = code_digest(CODE_PARTS, tuple(data_path(name) for name in DATA_FILES), libraries)
    entries = build_plan(
        found, lambda name: _output_names(shots[name], config.outputs), (settings_digest(settings), code)
    )
    # A folder per set of shots: a running job's inputs are never overwritten by another run's.
    return FolderPlan(entries, out / SHOTS_FOLDER / digest[:16], out, digest, settings), files


def run_render_bodies(config: RenderBodiesConfig, stream: TextIO, converter: str | None = None) -> FolderReport:
    """Plan, render, record, report; resumes what an earlier run in the same folder left.

    Args:
        config: The settings.
        stream: Where progress is shown.
        converter: ``module:function`` that the workers call per shot; the renderer's own without it.

    Raises:
        ConfigRefused, InputRejected, MissingDependency: As `plan_render_bodies`; also a device that is not here.
        OutputConflict: Outputs of other settings are in the way.
        OutputLocked, LedgerCorrupt, DiskRefused, WorkersUnusable: The machine, not a shot; the run can be resumed.
        OSError: The disk refused the plan.
    """
    plan, files = plan_render_bodies(config)
    if config.dry_run:
        return dry_run_folder(plan, config, stream)
    _check_device(config)
    plan.out.mkdir(parents=True, exist_ok=True)
    folder = folder_inside(plan.out, plan.source.relative_to(plan.out).as_posix())
    for name, data in files.items():
        if not (folder / name).is_file() or (folder / name).read_bytes() != data:
            write_file(folder / name, data)
    if converter is None:
        converter = ISAAC_CONVERTER if config.renderer == "isaac" else CONVERTER
    return run_folder(plan, config, stream, converter, partial(_write_report, config, stream))


def _check_device(config: RenderBodiesConfig) -> None:
    """Refuse a device that is not here before every shot does; only now, because asking for it starts Warp."""
    from soma_isaac.body.inputs import warp_device

    hush_warp()
    try:
        warp_device(config.device)
    except InputRejected as error:
        raise ConfigRefused(f"device: {error.reason}") from error


def _check_packages(config: RenderBodiesConfig) -> None:
    """Look for what is optional before any work, without importing it."""
    for wanted, package, purpose, install in (
        ("anny" in config.bodies.kinds, "anny", "bodies.kinds with anny", "pip install 'soma_isaac[anny]'"),
        (config.renderer == "newton", "newton", "renderer=newton", "pip install 'soma_isaac[newton]'"),
        (config.renderer == "isaac", "isaacsim", "renderer=isaac", "run this script with Isaac Sim's python.sh"),
        (config.video, "av", "video=true", "pip install 'soma_isaac[video]'"),
    ):
        if wanted and importlib.util.find_spec(package) is None:
            raise MissingDependency(package, purpose, install)


def _write_report(
    config: RenderBodiesConfig, stream: TextIO, plan: FolderPlan, records: Mapping[str, LedgerRecord]
) -> Path:
    from soma_isaac.pipelines.render_bodies_report import write_render_report

    path, line = write_render_report(plan, records)
    if config.video:
        from soma_isaac.pipelines.render_bodies_video import write_videos

        count = write_videos(plan, records, config.fps)
        line += f"; {count} video{'' if count == 1 else 's'}"
    if not config.quiet:
        stream.write(line + "\n")
    return path


def _shots(config: RenderBodiesConfig, out: Path) -> list[Shot]:
    from soma_isaac.body.identities.presets import preset, preset_names

    presets = {name: tuple(round(float(value), 6) for value in preset(name)) for name in preset_names()}
    choices = SceneChoices(
        seed=config.seed,
        kinds=tuple(config.bodies.kinds),
        presets=presets,
        shape_count=len(next(iter(presets.values()))),
        clips=_clips(config, out),
        per_scene=config.bodies.per_scene,
        spacing=config.bodies.spacing,
        rig=config.camera,
        vertical_fov=config.vertical_fov,
    )
    shots: list[Shot] = []
    left = config.bodies.count
    for scene in range(-(-config.bodies.count // config.bodies.per_scene)):
        try:
            parts = scene_parts(choices, scene, min(left, config.bodies.per_scene))
        except InputRejected as error:
            raise ConfigRefused(f"camera: {error.reason}") from error
        left -= config.bodies.per_scene
        shots += shots_of_scene(
            scene,
            parts,
            frames=config.frames,
            frames_per_shot=frames_per_shot(config, len(parts[2])),
            fps=config.fps,
            size=(config.size[0], config.size[1]),
            lod=config.bodies.lod,
            correctives=config.bodies.correctives,
        )
    return shots


def _clips(config: RenderBodiesConfig, out: Path) -> tuple[ClipFile, ...]:
    source = data_path(DEMO_CLIPS) if config.motion is None else Path(config.motion).expanduser()
    if not source.exists():
        raise InputRejected("no such folder or file; motion= takes a folder of clips or one clip", str(source))
    found = discover(source, InputRules(MOTION_SUFFIXES, REFUSED_SUFFIXES, skipped_name), out)
    root = (source.parent if source.is_file() else source).resolve()
    clips = [ClipFile(item.input, str(root / item.input), item.sha256) for item in found if not item.verdict]
    if not clips:
        raise InputRejected(f"holds no motion files ({', '.join(MOTION_SUFFIXES)}); motion= takes them", str(source))
    return tuple(sorted(clips, key=lambda clip: clip.name))


def _output_names(shot: Shot, outputs: list[str]) -> tuple[str, ...]:
    names = [f"{layer}/{name}.png" for layer in LAYERS if layer in outputs for name in shot.image_names()]
    return (*names, f"annotations/{shot.name}.json") if "annotations" in outputs else tuple(names)
