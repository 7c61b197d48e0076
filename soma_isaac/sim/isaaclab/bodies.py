"""SOMA bodies as a scene entity: what a scene builds, resets and updates like a sensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import isaaclab.sim as sim_utils
import numpy as np
import torch
import warp as wp
from isaaclab.sensors import SensorBase
from isaaclab.utils.string import resolve_matching_names

from soma_isaac.errors import InputRejected
from soma_isaac.kernels.visual_meshes import launch_bone_poses
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES
from soma_isaac.sim.isaaclab.colliders import Colliders, colliders_for
from soma_isaac.sim.isaaclab.compat import DIALECT, newton_model
from soma_isaac.sim.isaaclab.envs import env_origins
from soma_isaac.sim.isaaclab.newton_meshes import EnvMeshes
from soma_isaac.sim.isaaclab.people import limb_colliders, motion_loader, people_stepper, placement
from soma_isaac.sim.isaaclab.spawners import CAPSULES, MESH
from soma_isaac.sim.isaaclab.stage_points import stage_sink
from soma_isaac.sim.sinks import VertexSink
from soma_isaac.sim.stepper import BodyStepper

if TYPE_CHECKING:
    from soma_isaac.sim.isaaclab.bodies_cfg import SomaBodiesCfg


@dataclass(frozen=True, eq=False)
class SomaBodiesData:
    """The bodies now; every array has ``.warp`` and ``.torch`` and stays where it is.

    Attributes:
        vertices: (N, V) vec3, m, in the frame of each environment.
        body_link_pose_w: (N, 77) transform: position in the world, m, and quaternion xyzw of every joint frame.
        transforms: (N, 78) mat44, the joint frames in the environment; the first one is the root.
        times: (N,) float64, s within the clip.
        playing: (N,) int32, number of the clip.
        normals: (N, V) vec3, or ``None``.
        proxies: (N, K) transform in the environment, or ``None``.
        env_origins: [N, 3] m, tensor.
    """

    vertices: Any
    body_link_pose_w: Any
    transforms: Any
    times: Any
    playing: Any
    normals: Any | None
    proxies: Any | None
    env_origins: torch.Tensor

    @property
    def body_pos_w(self) -> torch.Tensor:
        """[N, 77, 3] m: where the joints of the bodies are in the world."""
        return self.body_link_pose_w.torch[..., :3]

    @property
    def body_quat_w(self) -> torch.Tensor:
        """[N, 77, 4] in Isaac Lab's own order: joint frames to world."""
        return DIALECT.from_xyzw(self.body_link_pose_w.torch[..., 3:])

    @property
    def vertices_w(self) -> torch.Tensor:
        """[N, V, 3] m in the world; a copy."""
        return self.vertices.torch + self.env_origins[:, None]


class SomaBodies(SensorBase):
    """One moving person per environment.

    Time is the entity's own: each environment has a clock that a reset of that environment sets back to its phase and
    that every update of the scene moves on. With an ``update_period`` bodies are posed less often, at the right time.

    Attributes:
        stepper: The bodies; ``stepper.assign`` changes what they play, and where.
        sinks: Written after every posing, e.g. ``FabricSink`` inside Kit.
    """

    cfg: SomaBodiesCfg

    def __init__(self, cfg: SomaBodiesCfg) -> None:
        """Register with the simulation and spawn the mesh that cameras see."""
        super().__init__(cfg)
        self.stepper: BodyStepper
        self.sinks: list[VertexSink] = []
        self._stage_sink: VertexSink | None = None
        self._data: SomaBodiesData
        self._meshes: EnvMeshes | None = None
        self._pending = 0.0
        self._stale = True
        self._random = np.random.default_rng(self.cfg.seed)
        self._colliders: Colliders | None = None
        if self.cfg.colliders and self.cfg.spawn is None:
            raise InputRejected("colliders=True needs something to spawn; spawn is None")
        if self.cfg.spawn is not None:
            self.cfg.spawn.lod = self.cfg.lod
            capsules = limb_colliders(self.cfg.presets, self.cfg.lod) if self.cfg.colliders else {}
            self.cfg.spawn.capsules = capsules
            DIALECT.spawn(self.cfg)
            if capsules:
                self._colliders = colliders_for(f"{self.cfg.prim_path}/{CAPSULES}", list(capsules))

    @property
    def data(self) -> SomaBodiesData:
        """The bodies at their environments' times."""
        self._update_outdated_buffers()
        return self._data

    @property
    def body_names(self) -> list[str]:
        """Names of the 77 joints, so that ``SceneEntityCfg(..., body_names=)`` finds them."""
        return list(POSE_JOINT_NAMES)

    @property
    def num_bodies(self) -> int:
        """77."""
        return len(POSE_JOINT_NAMES)

    @property
    def clip_names(self) -> tuple[str, ...]:
        """Names of what can be played."""
        return self.stepper.clips.names

    def find_bodies(self, name_keys: str | Sequence[str], preserve_order: bool = False) -> tuple[list[int], list[str]]:
        """Indices and names of the joints that match regular expressions."""
        return resolve_matching_names(name_keys, self.body_names, preserve_order)

    def reset(self, env_ids: Any = None, env_mask: Any = None) -> None:
        """Set the clocks of some environments back to their phases; the others go on undisturbed.

        Args:
            env_ids: Indices; all by default.
            env_mask: Warp array [N] of bool, which wins (Isaac Lab 3).
        """
        if DIALECT.generation == 2:
            super().reset(env_ids)
        else:
            super().reset(env_ids, env_mask)
        if self._pending:
            self.stepper.step(self._pending)
            self._pending = 0.0
        mask = DIALECT.mask(env_ids, env_mask, self._mask_torch)
        if self.cfg.random_start:
            self._draw(mask)
        self.stepper.reset(self._mask)
        self._stale = True
        if self._colliders is not None:
            self._update_outdated_buffers()  # before the next step of the physics

    def update(self, dt: float, force_recompute: bool = False) -> None:
        """Move all clocks on and pose the bodies, whether somebody reads them or not: cameras do not say that they do.

        Args:
            dt: s since the last call.
            force_recompute: Pose now, whatever ``update_period`` says.
        """
        if not self._is_initialized:
            return
        self._pending += dt
        self._stale |= force_recompute or self._pending + 1e-6 >= self.cfg.update_period
        super().update(dt, force_recompute=self._stale)

    def _initialize_impl(self) -> None:
        super()._initialize_impl()
        cfg = self.cfg
        self.stepper = people_stepper(
            self._num_envs,
            motions=cfg.motions,
            presets=cfg.presets,
            phases=cfg.phases,
            speeds=cfg.speeds,
            place=placement(cfg.pos, cfg.heading),
            lod=cfg.lod,
            device=self._device,
            load=motion_loader(cfg.load),
            loop=cfg.loop,
            fit_stride=cfg.fit_stride,
            normals=cfg.normals,
            proxies=cfg.proxies or cfg.colliders,
            correctives=cfg.correctives,
        )
        self._mask = wp.zeros(self._num_envs, dtype=wp.int32, device=self._device)
        self._mask_torch = wp.to_torch(self._mask)
        group = self.stepper.groups[0]
        if cfg.spawn is not None:
            triangles = group.body.rig.mesh(cfg.lod).triangles
            path = f"{cfg.prim_path}/{MESH}"
            self._meshes = EnvMeshes(path, group.pose.vertices, triangles)
            self._stage_sink = stage_sink(
                cfg.stage_points,
                stage=self.stage,
                stage_id=DIALECT.stage_id,
                path=path,
                count=self._num_envs,
                device=self._device,
            )
        origins = env_origins(cfg.prim_path, self._num_envs)
        self._origins = wp.array(origins, dtype=wp.vec3, device=self._device)
        self._poses = wp.zeros((self._num_envs, self.num_bodies), dtype=wp.transform, device=self._device)
        self._capsule_poses = None if group.proxies is None else wp.zeros_like(group.proxies)
        self._data = SomaBodiesData(
            vertices=DIALECT.view(group.pose.vertices),
            body_link_pose_w=DIALECT.view(self._poses),
            transforms=DIALECT.view(group.pose.transforms),
            times=DIALECT.view(self.stepper.times),
            playing=DIALECT.view(self.stepper.playing),
            normals=None if group.normals is None else DIALECT.view(group.normals),
            proxies=None if group.proxies is None else DIALECT.view(group.proxies),
            env_origins=wp.to_torch(self._origins),
        )
        self._pending, self._stale = 0.0, True

    def _update_buffers_impl(self, outdated: Any) -> None:
        # Every body is posed at its own time; which environments are out of date is known on the device only, and
        # asking would cost more than posing all.
        if not self._stale:
            return
        moved = self._pending
        self.stepper.step(moved)
        self._pending, self._stale = 0.0, False
        group = self.stepper.groups[0]
        if self._colliders is not None:
            capsules = wp.to_torch(self._capsule_poses).copy_(wp.to_torch(group.proxies))
            capsules[..., :3] += self._data.env_origins[:, None]
            self._colliders.drive(self._capsule_poses, moved)
        launch_bone_poses(transforms=group.pose.transforms, origins=self._origins, poses_out=self._poses)
        model = newton_model(sim_utils.SimulationContext.instance()) if self._meshes is not None else None
        if model is not None and self._meshes is not None:
            self._meshes.refresh(model)
        for sink in self.sinks if self._stage_sink is None else [self._stage_sink, *self.sinks]:
            sink.write(group)

    def _invalidate_initialize_callback(self, event: Any) -> None:
        super()._invalidate_initialize_callback(event)
        self._meshes = self._stage_sink = None

    def _draw(self, mask: torch.Tensor) -> None:
        """Other clips and phases for the environments of a mask; this waits for the device."""
        rows = np.flatnonzero(mask.cpu().numpy())
        if rows.size == 0:
            return
        playing = self._random.integers(len(self.stepper.clips), size=rows.size)
        phases = self._random.random(rows.size) * self.stepper.clips.durations[playing]
        self.stepper.assign(rows, playing=playing, phases=phases)

    def place(self, env_ids: Any, pos: Any, heading: Any) -> None:
        """Put the clips' origins of some environments elsewhere, from the next update on.

        Args:
            env_ids: [K] environments; all if ``None``.
            pos: [K, 3] or [3] m, in the environment.
            heading: [K] or one angle, rad.

        Raises:
            InputRejected: Shapes do not fit.
        """
        rows = np.arange(self._num_envs) if env_ids is None else np.atleast_1d(np.asarray(env_ids))
        places = np.broadcast_to(np.asarray(pos, dtype=np.float64), (len(rows), 3))
        turns = np.broadcast_to(np.asarray(heading, dtype=np.float64), len(rows))
        if not np.isfinite(places).all():
            raise InputRejected("places are not finite")
        self.stepper.assign(rows, placements=np.stack([placement(p, h) for p, h in zip(places, turns, strict=True)]))
        self._stale = True
