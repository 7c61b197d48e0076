"""What to put on the stage: a SOMA body, a robot read from a URDF, a copy of it to look at, a floor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from isaaclab.sim.spawners.spawner_cfg import SpawnerCfg
from isaaclab.utils.configclass import configclass

from soma_isaac.sim.isaaclab import spawners


@configclass
class SomaBodySpawnerCfg(SpawnerCfg):
    """A mesh ``mesh`` below the prim, in the template's bind pose; its points are the entity's business.

    The mesh carries a disabled collider: this is how Newton sees meshes that belong to no rigid body, and it collides
    with nothing on any backend.
    """

    func: Callable[..., Any] = spawners.spawn_soma_body

    lod: str = "low"
    """Level of detail; the entity sets its own."""

    color: tuple[float, float, float] = (0.80, 0.60, 0.50)
    """Display colour, linear RGB."""

    capsules: dict[str, tuple[float, ...]] = {}
    """Kinematic colliders that nobody sees, as :func:`soma_isaac.sim.isaaclab.people.limb_colliders` gives them; the
    entity sets its own."""


@configclass
class RobotSpawnerCfg(SpawnerCfg):
    """An articulation of rigid bodies, hinges and collision shapes, straight from a URDF without fixed joints."""

    func: Callable[..., Any] = spawners.spawn_robot

    urdf: str = ""
    """File; the G1 with 29 joints that ships with soma_isaac if empty."""

    self_collisions: bool = False
    """Whether links of one robot collide with each other (neighbours never do)."""

    color: tuple[float, float, float] = (0.55, 0.57, 0.60)
    """Display colour of the collision shapes, linear RGB: the bundled G1 has no others."""


@configclass
class RobotShellSpawnerCfg(SpawnerCfg):
    """A robot's shapes as one mesh ``mesh`` with a disabled collider, to be moved as a ghost."""

    func: Callable[..., Any] = spawners.spawn_robot_shell

    urdf: str = ""
    """File; the G1 with 29 joints that ships with soma_isaac if empty."""

    color: tuple[float, float, float] = (0.25, 0.55, 0.35)
    """Display colour, linear RGB."""


@configclass
class FloorSpawnerCfg(SpawnerCfg):
    """A plane to stand on, without textures or files: Isaac Lab's own ground plane is fetched from a server."""

    func: Callable[..., Any] = spawners.spawn_floor

    size: float = 100.0
    """Edge length of what is drawn, m; it collides without end."""

    color: tuple[float, float, float] = (0.35, 0.36, 0.38)
    """Display colour, linear RGB."""
