"""Configuration of SOMA bodies as a scene entity."""

from __future__ import annotations

from isaaclab.sensors import SensorBaseCfg
from isaaclab.utils.configclass import configclass

from soma_isaac.sim.isaaclab.bodies import SomaBodies
from soma_isaac.sim.isaaclab.spawners_cfg import SomaBodySpawnerCfg


@configclass
class SomaBodiesCfg(SensorBaseCfg):
    """One moving person per environment.

    A scene builds, resets and updates the entity like a sensor: ``scene["people"]``, ``SceneEntityCfg("people")``.
    Environment ``i`` has identity, motion, phase and speed number ``i`` of the lists below, which repeat.
    """

    class_type: type = SomaBodies

    prim_path: str = "{ENV_REGEX_NS}/Person"
    """Directly below the environment."""

    spawn: SomaBodySpawnerCfg | None = SomaBodySpawnerCfg()
    """What to show; ``None`` poses bodies that nobody sees."""

    stage_points: str = "auto"
    """Also write the vertices to the stage, for RTX and for saving: ``usd`` (a host copy per update, for a few bodies),
    ``fabric`` (inside Kit on a GPU, no copy), ``none``, or ``auto``: what Kit needs where it runs."""

    motions: list[str] = ["walk"]
    """Files of any format that ``load`` takes, or names of bundled clips."""

    load: str = "soma_isaac.pipelines.motion_in:load_motion"
    """What reads a file of ``motions``, as ``package.module:function``."""

    presets: list[str] = ["adult_female", "adult_male"]
    """Named bodies of the open shape space; none means the template's body."""

    phases: list[float] = [0.0]
    """Where in its clip a body is after a reset, s."""

    speeds: list[float] = [1.0]
    """1 is the clip's own pace, negative runs backwards."""

    loop: bool = True
    """Start again after the last frame, or hold it."""

    fit_stride: bool = True
    """Scale the path by the legs, so that feet stay on the floor."""

    pos: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Where the clip's origin is in the environment, m."""

    heading: float = 0.0
    """Direction that a body at rest faces, rad about z from the environment's x axis."""

    lod: str = "low"
    """Level of detail: ``mid``, ``low`` or ``xlo``."""

    correctives: bool = False
    """Add pose correctives, which keep elbows, knees and shoulders full; a body takes about three times as long."""

    random_start: bool = False
    """Draw clip and phase of a body anew at each of its resets."""

    seed: int = 0
    """Of those draws."""

    normals: bool = False
    """Compute vertex normals."""

    proxies: bool = False
    """Pose a capsule per limb."""

    colliders: bool = False
    """Let the capsules collide: kinematic bodies, which push and stop a robot and which nothing moves. Their poses are
    each body's own; their sizes are the same in all environments, the mean of the presets."""
