"""The one place that knows how Isaac Lab 2.3 and 3.0 differ.

| | 2.3.2 | 3.0 |
|---|---|---|
| quaternions | wxyz | xyzw |
| ``asset.data.*`` | tensors | ``ProxyArray`` with ``.torch`` and ``.warp`` |
| writing state | ``write_root_pose_to_sim(pose, env_ids=)`` | ``write_root_pose_to_sim_index(root_pose=, env_ids=)`` |
| ``SensorBase.reset`` | ``env_ids`` | ``env_ids`` or ``env_mask`` (Warp, bool) |
| spawning | by expression, the spawner clones | once at ``spawn.spawn_path``, the scene clones |
| a scene's cameras | ``TiledCameraCfg`` | ``CameraCfg(renderer_cfg=)`` |

Nothing here imports Isaac Lab until it is used; the pure parts run with stand-ins.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import warp as wp


@dataclass(frozen=True)
class WarpView:
    """What 3.0 calls ``ProxyArray``, for 2.3: one array seen by Warp and by torch, without a copy.

    Attributes:
        warp: The Warp array.
        torch: The same memory as a tensor; vectors and transforms become a last dimension.
    """

    warp: wp.array
    torch: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the Warp array."""
        return tuple(self.warp.shape)


@dataclass(frozen=True)
class Dialect:
    """How one generation of Isaac Lab wants things said.

    Attributes:
        generation: 2 or 3.
    """

    generation: int

    @property
    def quat_order(self) -> str:
        """``wxyz`` or ``xyzw``."""
        return "wxyz" if self.generation == 2 else "xyzw"

    def from_xyzw(self, quats: torch.Tensor) -> torch.Tensor:
        """Quaternions [..., 4] in Isaac Lab's order, from xyzw (Warp's)."""
        return quats if self.generation == 3 else quats[..., [3, 0, 1, 2]]

    def to_xyzw(self, quats: torch.Tensor) -> torch.Tensor:
        """Quaternions [..., 4] in xyzw (Warp's), from Isaac Lab's order."""
        return quats if self.generation == 3 else quats[..., [1, 2, 3, 0]]

    def rotation(self, wxyz: Sequence[float]) -> tuple[float, ...]:
        """One quaternion for a cfg, from wxyz."""
        w, x, y, z = (float(value) for value in wxyz)
        return (w, x, y, z) if self.generation == 2 else (x, y, z, w)

    def view(self, array: wp.array) -> Any:
        """An array as this generation hands data out: ``.warp`` and ``.torch``."""
        if self.generation == 3:
            from isaaclab.utils.warp import ProxyArray

            return ProxyArray(array)
        return WarpView(array, wp.to_torch(array))

    def tensor(self, data: Any) -> torch.Tensor:
        """Something of ``asset.data`` as a tensor, without a copy."""
        return data if isinstance(data, torch.Tensor) else data.torch

    def mask(self, env_ids: Any, env_mask: Any, out: torch.Tensor) -> torch.Tensor:
        """Write which environments a reset means into ``out`` [N], as 0 and 1, without waiting for the device.

        Args:
            env_ids: Indices (sequence, tensor or slice); ``None`` is all.
            env_mask: A Warp array [N] of bool, which wins; 3.0 only.
            out: [N] of any numeric type.
        """
        if env_mask is not None:
            return out.copy_(wp.to_torch(env_mask) if isinstance(env_mask, wp.array) else env_mask)
        if env_ids is None:
            return out.fill_(1)
        out.zero_()
        out[env_ids] = 1
        return out

    def spawn(self, cfg: Any) -> None:
        """Make the prims that a cfg with ``prim_path`` and ``spawn`` asks for; a scene does not do this for sensors."""
        path = cfg.prim_path if self.generation == 2 else (cfg.spawn.spawn_path or cfg.prim_path)
        cfg.spawn.func(path, cfg.spawn)

    def stage_id(self) -> int:
        """Number by which Fabric knows the current stage."""
        from isaaclab.sim.utils.stage import get_current_stage_id

        return get_current_stage_id()

    def write_root_state(
        self, robot: Any, *, pose_xyzw: torch.Tensor, link_velocity: torch.Tensor, env_ids: torch.Tensor
    ) -> None:
        """Put a robot's root somewhere.

        Args:
            robot: An ``Articulation``.
            pose_xyzw: [N, 7] m, position and quaternion (xyzw).
            link_velocity: [N, 6] m/s and rad/s, world, of the root link's origin (not of its centre of mass, which is
                what plain ``root_velocity`` means).
            env_ids: [N].
        """
        pose = torch.cat([pose_xyzw[:, :3], self.from_xyzw(pose_xyzw[:, 3:])], dim=1)
        if self.generation == 2:
            robot.write_root_link_pose_to_sim(pose, env_ids=env_ids)
            robot.write_root_link_velocity_to_sim(link_velocity, env_ids=env_ids)
        else:
            robot.write_root_link_pose_to_sim_index(root_pose=pose, env_ids=env_ids)
            robot.write_root_link_velocity_to_sim_index(root_velocity=link_velocity, env_ids=env_ids)

    def write_joint_state(self, robot: Any, *, pos: torch.Tensor, vel: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Put all joints [N, J] of a robot somewhere (rad, rad/s), in the robot's own order."""
        if self.generation == 2:
            robot.write_joint_state_to_sim(pos, vel, env_ids=env_ids)
        else:
            robot.write_joint_position_to_sim_index(position=pos, env_ids=env_ids)
            robot.write_joint_velocity_to_sim_index(velocity=vel, env_ids=env_ids)

    def set_joint_targets(self, robot: Any, *, pos: torch.Tensor, vel: torch.Tensor, env_ids: torch.Tensor) -> None:
        """Targets [N, J] (rad, rad/s) of a robot's drives, in the robot's own order."""
        if self.generation == 2:
            robot.set_joint_position_target(pos, env_ids=env_ids)
            robot.set_joint_velocity_target(vel, env_ids=env_ids)
        else:
            robot.set_joint_position_target_index(target=pos, env_ids=env_ids)
            robot.set_joint_velocity_target_index(target=vel, env_ids=env_ids)


def installed_dialect() -> Dialect:
    """The dialect of the Isaac Lab that would be imported; 3.0 is the first with physics backends of its own."""
    found = importlib.util.find_spec("isaaclab") is not None and importlib.util.find_spec("isaaclab.physics")
    return Dialect(3 if found else 2)


DIALECT = installed_dialect()


def newton_model(sim: Any) -> Any:
    """The Newton model that cameras and viewers of a simulation look at, or ``None``.

    On PhysX asking for it builds one, so it is asked for only where a Newton renderer or viewer will use it.

    Args:
        sim: ``SimulationContext``.
    """
    if DIALECT.generation == 2 or not sim.get_scene_data_requirements().requires_newton_model:
        return None
    from isaaclab_newton.physics import NewtonManager

    return NewtonManager.get_model()
