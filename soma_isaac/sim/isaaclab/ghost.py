"""A robot's ghost: its shapes at the reference's pose, without anything in the physics engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import isaaclab.sim as sim_utils
import numpy as np
import warp as wp
from isaaclab.sensors import SensorBase

from soma_isaac.body.identity import device_array
from soma_isaac.errors import RigMismatch
from soma_isaac.kernels.visual_meshes import launch_rigid_vertices
from soma_isaac.sim.isaaclab.compat import DIALECT, newton_model
from soma_isaac.sim.isaaclab.envs import env_origins
from soma_isaac.sim.isaaclab.newton_meshes import EnvMeshes
from soma_isaac.sim.isaaclab.robot_stage import load_robot_tree, robot_shell
from soma_isaac.sim.isaaclab.spawners import MESH
from soma_isaac.sim.isaaclab.stage_points import StagePoints, chosen_way

if TYPE_CHECKING:
    from soma_isaac.sim.isaaclab.ghost_cfg import ReferenceGhostCfg


class ReferenceGhost(SensorBase):
    """One robot-shaped mesh per environment, moved by link poses that somebody else computes."""

    cfg: ReferenceGhostCfg

    def __init__(self, cfg: ReferenceGhostCfg) -> None:
        """Register with the simulation and spawn the mesh that cameras see."""
        super().__init__(cfg)
        self._meshes: EnvMeshes | None = None
        self._stage_points: StagePoints | None = None
        DIALECT.spawn(self.cfg)

    @property
    def link_names(self) -> tuple[str, ...]:
        """Links that have a shape: whose poses :meth:`follow` needs."""
        return tuple(self._tree.link_names[link] for link in self._used)

    @property
    def data(self) -> Any:
        """(N, V) vec3, m: the vertices in the frame of each environment, with ``.warp`` and ``.torch``."""
        return self._view

    def follow(self, positions: wp.array, quats: wp.array, names: Sequence[str]) -> None:
        """Say where link poses will be found from now on; :meth:`show` reads them.

        Args:
            positions: [N, B] vec3, m, world.
            quats: [N, B] quat (xyzw).
            names: [B] links.

        Raises:
            RigMismatch: A link of the robot is missing.
        """
        missing = [name for name in self.link_names if name not in names]
        if missing:
            raise RigMismatch(f"no pose is given for the ghost's link {missing[0]!r}")
        columns = np.full(len(self._tree.links), -1)
        columns[self._used] = [list(names).index(name) for name in self.link_names]
        self._columns = device_array(columns[self._shell.links].astype(np.int32), wp.int32, self._vertices.device)
        self._poses = (positions, quats)

    def show(self) -> None:
        """Take the pose that the followed arrays have now."""
        if self._poses is None:
            return
        positions, quats = self._poses
        launch_rigid_vertices(
            points=self._points,
            links=self._columns,
            positions=positions,
            quats=quats,
            shifts=self._shifts,
            vertices_out=self._vertices,
        )
        if self._stage_points is not None:
            self._stage_points.write_vertices(self._vertices)
        model = newton_model(sim_utils.SimulationContext.instance())
        if model is not None and self._meshes is not None:
            self._meshes.refresh(model)

    def _initialize_impl(self) -> None:
        super()._initialize_impl()
        device = wp.get_device(self._device)
        self._tree = load_robot_tree(self.cfg.spawn.urdf)
        self._shell = robot_shell(self._tree)
        self._used = np.unique(self._shell.links)
        self._points = device_array(self._shell.points, wp.vec3, device)
        self._columns = device_array(self._shell.links, wp.int32, device)
        self._vertices = wp.zeros((self._num_envs, len(self._shell.points)), dtype=wp.vec3, device=device)
        shifts = np.asarray(self.cfg.pos) - env_origins(self.cfg.prim_path, self._num_envs)
        self._shifts = device_array(shifts, wp.vec3, device)
        self._view = DIALECT.view(self._vertices)
        path = f"{self.cfg.prim_path}/{MESH}"
        self._meshes = EnvMeshes(path, self._vertices, self._shell.triangles)
        if chosen_way(self.cfg.stage_points, "cpu") == "usd":
            self._stage_points = StagePoints(self.stage, path, self._num_envs)
        self._poses: tuple[wp.array, wp.array] | None = None

    def _update_buffers_impl(self, outdated: Any) -> None:
        self.show()

    def _invalidate_initialize_callback(self, event: Any) -> None:
        super()._invalidate_initialize_callback(event)
        self._meshes = self._stage_points = None
