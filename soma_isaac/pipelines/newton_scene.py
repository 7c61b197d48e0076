"""A G1 among moving people, simulated by Newton and recorded as a USD stage."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from soma_isaac.errors import MissingDependency
from soma_isaac.pipelines.body_config import check_presets
from soma_isaac.pipelines.config import ConfigRefused, check_command_line, check_ranges
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.single_run import check_free, publish_result, run_single
from soma_isaac.rig.skeleton import data_path

if TYPE_CHECKING:
    from soma_isaac.sim import BodyStepper

SUFFIXES = (".usd", ".usda", ".usdc")
ROBOT_HEIGHT_M = 0.79
PEOPLE = ("adult_female", "adult_male", "teen", "elder_male")


@dataclass
class NewtonSceneConfig:
    """All keys of ``newton_scene.py``.

    Attributes:
        output: USD file to write: ``.usd``, ``.usda`` or ``.usdc``.
        motions: Motion files; people take them in turn. The bundled clips by default.
        presets: Named bodies of the open shape space; people take them in turn.
        count: Number of people, on a circle around the robot, facing it.
        radius: Of that circle, m.
        seconds: How long, s.
        dt: Step of the simulation, s.
        fps: Frames per second of the recording.
        colliders: People stop the robot with their capsules.
        replace: Overwrite an output that exists.
    """

    output: str = ""
    motions: list[str] = field(default_factory=list)
    presets: list[str] = field(default_factory=lambda: list(PEOPLE))
    count: int = 4
    radius: float = 1.5
    seconds: float = 2.0
    dt: float = 0.005
    fps: float = 50.0
    colliders: bool = True
    replace: bool = False


@dataclass(frozen=True)
class NewtonSceneReport:
    """What was simulated.

    Attributes:
        path: The recording.
        steps: Steps of the simulation.
        frames: Frames recorded.
        cpu_ms_per_step: Processor time of a step, without the recording.
        finite: Whether the robot's state stayed finite.
    """

    path: str
    steps: int
    frames: int
    cpu_ms_per_step: float
    finite: bool


def check_config(config: NewtonSceneConfig) -> None:
    """Refuse values that no scene can be made of.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if Path(config.output).suffix.lower() not in SUFFIXES:
        raise ConfigRefused(f"output: {config.output!r}; name a file that ends in {', '.join(SUFFIXES)}")
    ranges = {"count": (1, 256), "radius": (0.5, 100.0), "seconds": (0.01, 600.0), "dt": (1e-4, 0.02)}
    check_ranges(config, ranges)
    if not 1.0 <= config.fps <= 1.0 / config.dt:
        raise ConfigRefused(f"fps: {config.fps!r} is outside 1 to {1.0 / config.dt:g}, the steps per second")
    check_presets(config.presets)


def circle(count: int, radius: float) -> np.ndarray:
    """Placements [count, 4, 4] on a circle in a Z-up world; people face its centre."""
    from soma_isaac.sim.placement import Z_UP_FROM_Y_UP

    places = np.tile(np.eye(4), (count, 1, 1))
    angle = 2.0 * np.pi * np.arange(count) / count
    places[:, 0, 3], places[:, 1, 3] = radius * np.cos(angle), radius * np.sin(angle)
    turn = angle - 0.5 * np.pi  # a body faces -y before it is turned
    places[:, 0, 0] = places[:, 1, 1] = np.cos(turn)
    places[:, 1, 0], places[:, 0, 1] = np.sin(turn), -np.sin(turn)
    return places @ Z_UP_FROM_Y_UP


def run_newton_scene(config: NewtonSceneConfig) -> NewtonSceneReport:
    """Simulate and record.

    Raises:
        ConfigRefused: A value does not fit.
        InputRejected: A motion is not sound.
        MissingDependency: Newton is not installed.
        OutputConflict: The recording exists and ``replace`` is not set, or it cannot be written.
    """
    check_config(config)
    final = Path(config.output)
    check_free(final, config.replace)
    from soma_isaac.formats.usd_stage_file import save_staged

    stepper = _people(config)
    solver, states, control, bodies = _scene(config, stepper)
    stage, record = _recording(config, stepper, solver.model, bodies)
    state, following = states
    steps = round(config.seconds / config.dt)
    frames, spent = 0, 0.0
    for step in range(steps):
        if step * config.dt * config.fps >= frames:
            record(state, frames)
            frames += 1
        begin = time.process_time()
        bodies.step(config.dt, state)
        solver.step(state, following, control, None, config.dt)
        state, following = following, state
        spent += time.process_time() - begin
    stage.SetEndTimeCode(float(frames - 1))
    final.parent.mkdir(parents=True, exist_ok=True)
    publish_result(save_staged(stage, final), final, config.replace)
    finite = bool(np.isfinite(state.joint_q.numpy()).all())
    return NewtonSceneReport(str(final), steps, frames, round(1e3 * spent / steps, 3), finite)


def _people(config: NewtonSceneConfig) -> BodyStepper:
    from soma_isaac.body.identities.presets import preset
    from soma_isaac.body.layer import SomaLayer
    from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary

    paths = [Path(path) for path in config.motions] or sorted(data_path("demo_clips").glob("*.npz"))
    clips = ClipLibrary([load_motion(path) for path in paths])
    layer = SomaLayer(identity="soma", lod="low")
    chosen = [preset(config.presets[person % len(config.presets)]) for person in range(config.count)]
    identity = layer.prepare_identity(np.stack(chosen))
    groups = [BodyGroup(layer.body, identity)]
    return BodyStepper(clips, groups, placements=circle(config.count, config.radius), normals=False, proxies=True)


def _scene(config: NewtonSceneConfig, stepper: BodyStepper) -> tuple[Any, tuple[Any, Any], Any, Any]:
    """Solver, two states, control and the people; the robot stands at the origin and holds its joints."""
    try:
        import newton
    except ImportError as error:
        raise MissingDependency("newton", "simulating a scene", 'pip install "soma_isaac[newton]"') from error
    import warp as wp

    from soma_isaac.sim.newton import NewtonBodies

    builder = newton.ModelBuilder(up_axis=newton.Axis.Z)
    place = wp.transform(wp.vec3(0.0, 0.0, ROBOT_HEIGHT_M), wp.quat_identity())
    urdf = str(data_path("g1") / "g1_29dof.urdf")
    builder.add_urdf(urdf, xform=place, floating=True, enable_self_collisions=False)
    for dof in range(6, builder.joint_dof_count):
        builder.joint_target_ke[dof], builder.joint_target_kd[dof] = 200.0, 5.0
        builder.joint_target_mode[dof] = int(newton.JointTargetMode.POSITION)
        builder.joint_armature[dof] = 0.02
    builder.add_ground_plane()
    bodies = NewtonBodies(builder, stepper, visuals=False, colliders=config.colliders)
    model = builder.finalize(device="cpu")
    bodies.attach(model)
    solver = newton.solvers.SolverMuJoCo(model, nconmax=400, njmax=1200)
    states = model.state(), model.state()
    newton.eval_fk(model, model.joint_q, model.joint_qd, states[0])
    return solver, states, model.control(), bodies


def _recording(config: NewtonSceneConfig, stepper: BodyStepper, model: Any, bodies: Any) -> tuple[Any, Any]:
    """A stage with the people as referenced rigs and the robot's shapes; and what writes a frame of it."""
    from pxr import UsdGeom

    from soma_isaac.formats.usd_stage_file import set_time_range, stage_in_memory
    from soma_isaac.sim.sinks.usd_newton import UsdShapesSink
    from soma_isaac.sim.sinks.usd_rig import UsdSkelSink, author_identity, reference_rig

    stage = stage_in_memory(Path(config.output).suffix.lower())
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    set_time_range(stage, 1, config.fps)
    world = UsdGeom.Xform.Define(stage, "/World")
    stage.SetDefaultPrim(world.GetPrim())
    group = stepper.groups[0]
    places = circle(config.count, config.radius)
    people = []
    for person, place in enumerate(places):
        rig = group.body.rig
        prim = reference_rig(stage, f"/World/Person_{person}", rig, lod=group.body.lod, T_world_body=place)
        author_identity(prim, group.body, group.identity, person)
        people.append(prim)
    skins = UsdSkelSink(people, group)
    capsules = {int(number) for table in bodies.capsule_bodies for number in table.ravel()}
    robot = np.array([number for number in range(model.body_count) if number not in capsules])
    shapes = UsdShapesSink(stage, model, robot, "/World/G1")

    def record(state: Any, frame: int) -> None:
        skins.write(group, frame)
        shapes.write(state, frame)

    return stage, record


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("newton_scene_schema", NewtonSceneConfig, arguments)


def newton_scene_command(config: DictConfig) -> int:
    """Run what the config asks for, a line of JSON on stdout; exit codes of :func:`.single_run.run_single`."""
    return run_single(config, NewtonSceneConfig, lambda settings: [json.dumps(asdict(run_newton_scene(settings)))])
