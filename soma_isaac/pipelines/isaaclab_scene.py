"""The example environment of Isaac Lab, run without a policy and photographed."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.pipelines.config import ConfigRefused, check_command_line, check_ranges, nearest
from soma_isaac.pipelines.single_run import run_single

ENGINES = ("newton", "ovphysx", "kit")


@dataclass
class IsaacLabSceneConfig:
    """All keys of ``isaaclab_scene.py``.

    Attributes:
        output: PNG to write: a row of pictures per environment, a column per time.
        references: Reference clips of the G1 (npz of any layout, or csv); environments take them in turn.
        motions: Motions of the people, files or names of bundled clips; environments take them in turn.
        presets: Named bodies of the open shape space; environments take them in turn.
        engine: ``newton`` or ``ovphysx``, without Kit, or ``kit`` inside Isaac Sim.
        device: Where the simulation runs: ``cpu`` or ``cuda:0``.
        envs: Number of environments.
        seconds: Simulated time.
        pictures: Pictures per environment.
        width: Of a picture, pixels.
        height: Of a picture, pixels.
        lod: Level of detail of the people.
    """

    output: str = "isaaclab_scene.png"
    references: list[str] = field(default_factory=list)
    motions: list[str] = field(default_factory=lambda: ["wave", "squat", "reach"])
    presets: list[str] = field(default_factory=lambda: ["adult_female", "adult_male"])
    engine: str = "newton"
    device: str = "cpu"
    envs: int = 2
    seconds: float = 2.0
    pictures: int = 4
    width: int = 480
    height: int = 360
    lod: str = "mid"


@dataclass(frozen=True)
class IsaacLabSceneReport:
    """What was simulated.

    Attributes:
        path: The picture.
        steps: Environment steps, 50 per second.
        resets: Environments that were reset on the way.
        joint_error: Mean distance of all joints from the reference at the end, rad.
        cpu_seconds_per_step: Processor time.
    """

    path: str
    steps: int
    resets: int
    joint_error: float
    cpu_seconds_per_step: float


def check_config(config: IsaacLabSceneConfig) -> None:
    """Refuse values that no scene can be made of.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if Path(config.output).suffix.lower() != ".png":
        raise ConfigRefused(f"output: {config.output!r}; name a file that ends in .png")
    if config.engine not in ENGINES:
        raise ConfigRefused(f"engine: {config.engine!r}; {nearest(config.engine, ENGINES)}")
    if not config.references:
        raise ConfigRefused("references: name at least one clip of the G1, e.g. one that `make refs` writes")
    if not config.motions:
        raise ConfigRefused("motions: name at least one motion")
    side = (16, 4096)
    ranges = {"envs": (1, 64), "seconds": (0.02, 600.0), "pictures": (1, 20), "width": side, "height": side}
    check_ranges(config, ranges)


def run_isaaclab_scene(config: IsaacLabSceneConfig) -> IsaacLabSceneReport:
    """Simulate and photograph; joints are sent to the reference, nothing keeps the robot from falling.

    Raises:
        ConfigRefused: A value does not fit.
        InputRejected: A clip or motion is not sound.
        MissingDependency: Isaac Lab cannot be imported.
        OutputConflict: The picture cannot be written.
    """
    check_config(config)
    for reference in config.references:
        if not Path(reference).is_file():
            raise InputRejected("is not a file; references are clips of the G1", reference)
    from soma_isaac.formats.atomic import write_file
    from soma_isaac.formats.png import png_bytes
    from soma_isaac.render.contact_sheet import contact_sheet

    application = _start(config)
    env = _environment(config)
    command, camera = env.command_manager.get_term("motion"), env.scene["camera"]
    steps = max(round(config.seconds / env.step_dt), config.pictures)
    moments = set(np.linspace(steps / config.pictures, steps, config.pictures).round().astype(int).tolist())
    columns: list[np.ndarray] = []
    env.reset()
    resets, begin = 0, time.process_time()
    for step in range(1, steps + 1):
        _, _, fallen, late, _ = env.step(command.joint_pos)
        resets += int((fallen | late).sum())
        if step in moments:
            columns.append(_pictures(camera))
    spent = (time.process_time() - begin) / steps
    error = float(command.metrics["error_joint_pos"].mean())
    final = Path(config.output)
    final.parent.mkdir(parents=True, exist_ok=True)
    rows = [column[row] for row in range(config.envs) for column in columns]
    write_file(final, png_bytes(contact_sheet(rows, len(columns))))
    env.close()
    if application is not None:
        application.close()
    return IsaacLabSceneReport(str(final), steps, resets, round(error, 4), round(spent, 4))


def _start(config: IsaacLabSceneConfig) -> Any:
    """Kit's application where it is asked for; it must run before the rest of Isaac Lab is imported."""
    try:
        from soma_isaac.sim.isaaclab.engines import start_application
    except ImportError as error:
        raise MissingDependency("torch", "running Isaac Lab", "install Isaac Lab, which brings it") from error
    return start_application(config.engine, device=config.device)


def _environment(config: IsaacLabSceneConfig) -> Any:
    from soma_isaac.sim.isaaclab.engines import camera_cfg, new_environment

    try:
        from soma_isaac.sim.isaaclab.example_env import PeopleEnvCfg
    except ModuleNotFoundError as error:
        raise MissingDependency(error.name or "isaaclab", "Isaac Lab", "see docs/isaaclab.md") from error
    cfg = PeopleEnvCfg().use(config.engine, config.device)
    cfg.seed = 0
    cfg.scene.num_envs = config.envs
    cfg.scene.people.motions, cfg.scene.people.presets = list(config.motions), list(config.presets)
    cfg.scene.people.lod = config.lod
    cfg.scene.camera = camera_cfg(
        config.engine, eye=(3.3, -0.4, 1.6), target=(0.0, -0.2, 0.75), width=config.width, height=config.height
    )
    cfg.commands.motion.clips = list(config.references)
    cfg.commands.motion.choice, cfg.commands.motion.sampling = "cycle", "start"
    return new_environment(cfg)


def _pictures(camera: Any) -> np.ndarray:
    from soma_isaac.sim.isaaclab.compat import DIALECT

    return DIALECT.tensor(camera.data.output["rgb"])[..., :3].cpu().numpy().copy()  # the buffer is used again


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("isaaclab_scene_schema", IsaacLabSceneConfig, arguments)


def isaaclab_scene_command(config: DictConfig) -> int:
    """Run what the config asks for, a line of JSON on stdout; exit codes of :func:`.single_run.run_single`."""
    return run_single(config, IsaacLabSceneConfig, lambda settings: [json.dumps(asdict(run_isaaclab_scene(settings)))])
