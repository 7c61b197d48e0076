"""A command term that feeds reference clips to a policy.

Time. The command is the state to be reached at the end of the coming environment step. A start at time t puts the robot
into the clip's state at t and commands t + step; every step moves the command on by one step. So after the physics of
a step the robot's state belongs to the command that was given, which is what rewards and metrics compare.

Velocities. Isaac Lab's ``body_lin_vel_w`` is the velocity of the centre of mass. The clips' is that of the link origin;
both are here, named as Isaac Lab names its own: ``body_link_lin_vel_w``, ``body_com_lin_vel_w``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import warp as wp
from isaaclab.managers import CommandTerm
from isaaclab.utils.math import quat_apply, quat_error_magnitude, quat_inv, quat_mul, yaw_quat

from soma_isaac.errors import InputRejected
from soma_isaac.sim.isaaclab.compat import DIALECT
from soma_isaac.sim.isaaclab.disturbance import disturbed_joints, disturbed_root
from soma_isaac.sim.isaaclab.robot_stage import load_robot_tree
from soma_isaac.sim.isaaclab.start_sampling import StartSampler
from soma_isaac.sim.references import ReferenceLibrary, load_reference

if TYPE_CHECKING:
    from soma_isaac.sim.isaaclab.command_cfg import MotionReferenceCommandCfg

_CHOICES = {
    "choice": ("random", "cycle"),
    "sampling": ("uniform", "adaptive", "start"),
    "at_end": ("resample", "loop", "hold"),
}


class MotionReferenceCommand(CommandTerm):
    """Reference states of a robot, per environment, in the order of the robot and backend at hand.

    Attributes:
        library: The clips, joints in the robot's order.
        playing: [N] int32, which clip.
        times: [N] float64, s, which time of it is commanded.
        starts: Where starts are drawn, and how often the policy failed there.
    """

    cfg: MotionReferenceCommandCfg

    def __init__(self, cfg: MotionReferenceCommandCfg, env: Any) -> None:
        """Read the clips and find the robot's joints and bodies in them.

        Raises:
            InputRejected: A clip is not sound, or a choice does not exist.
            RigMismatch: A clip lacks a joint or a body.
        """
        super().__init__(cfg, env)
        for name, known in _CHOICES.items():
            if getattr(cfg, name) not in known:
                raise InputRejected(f"{name}={getattr(cfg, name)!r}; there are {', '.join(known)}")
        if not cfg.clips:
            raise InputRejected("clips: name at least one reference clip; `make refs` makes some")
        self.robot = env.scene[cfg.asset_name]
        ghost = None if cfg.ghost is None else env.scene[cfg.ghost]
        self.joint_ids, self.joint_names = self.robot.find_joints(cfg.joint_names)
        names = [self.robot.body_names[0], cfg.anchor_body_name, *cfg.body_names]
        if ghost is not None:
            names += ghost.link_names
        names = list(dict.fromkeys(names))
        self.library = _library(cfg, self.joint_names, names, str(self.device))
        self.body_names = list(cfg.body_names)
        self._columns = torch.tensor([names.index(name) for name in cfg.body_names], device=self.device)
        self._anchor = names.index(cfg.anchor_body_name)
        self.body_ids = _ids(self.robot, cfg.body_names)
        self.anchor_id = _ids(self.robot, [cfg.anchor_body_name])[0]
        device = self.library.device
        self._clips_wp = wp.zeros(self.num_envs, dtype=wp.int32, device=device)
        self._times_wp = wp.zeros(self.num_envs, dtype=wp.float64, device=device)
        self.playing, self.times = wp.to_torch(self._clips_wp), wp.to_torch(self._times_wp)
        self._sample = self.library.allocate(self.num_envs)
        self._now = {name: wp.to_torch(array) for name, array in self._sample._asdict().items()}
        self._durations = torch.tensor(self.library.durations, device=self.device)
        self.starts = _starts(cfg, self.library.durations, env.step_dt, self.num_envs, self.device)
        self._started_at = torch.full((self.num_envs,), -1, dtype=torch.long, device=self.device)
        self._ghost = ghost
        if ghost is not None:
            ghost.follow(self._sample.body_pos, self._sample.body_quat, names)
        parts = ("pos", "rot", "lin_vel", "ang_vel")
        errors = [f"error_{what}_{part}" for what in ("anchor", "body") for part in parts]
        sampling = self.starts.summary() if cfg.sampling == "adaptive" else {}
        for name in [*errors, "error_joint_pos", "error_joint_vel", *sampling]:
            self.metrics[name] = torch.zeros(self.num_envs, device=self.device)
        self._read()

    @property
    def command(self) -> torch.Tensor:
        """[N, 2 J] joint positions (rad) and velocities (rad/s), joints in the robot's order."""
        return torch.cat([self.joint_pos, self.joint_vel], dim=1)

    @property
    def joint_pos(self) -> torch.Tensor:
        """[N, J] rad."""
        return self._now["joint_pos"]

    @property
    def joint_vel(self) -> torch.Tensor:
        """[N, J] rad/s."""
        return self._now["joint_vel"]

    @property
    def body_pos_w(self) -> torch.Tensor:
        """[N, T, 3] m: tracked bodies in the world, the clip's origin at the environment's."""
        return self._now["body_pos"][:, self._columns]

    @property
    def body_quat_w(self) -> torch.Tensor:
        """[N, T, 4] in Isaac Lab's order."""
        return DIALECT.from_xyzw(self._now["body_quat"][:, self._columns])

    @property
    def body_link_lin_vel_w(self) -> torch.Tensor:
        """[N, T, 3] m/s, of the link origins."""
        return self._now["body_link_vel"][:, self._columns]

    @property
    def body_com_lin_vel_w(self) -> torch.Tensor:
        """[N, T, 3] m/s, of the centres of mass: what ``robot.data.body_lin_vel_w`` is."""
        return self._now["body_com_vel"][:, self._columns]

    @property
    def body_ang_vel_w(self) -> torch.Tensor:
        """[N, T, 3] rad/s."""
        return self._now["body_ang_vel"][:, self._columns]

    @property
    def anchor_pos_w(self) -> torch.Tensor:
        """[N, 3] m."""
        return self._now["body_pos"][:, self._anchor]

    @property
    def anchor_quat_w(self) -> torch.Tensor:
        """[N, 4] in Isaac Lab's order."""
        return DIALECT.from_xyzw(self._now["body_quat"][:, self._anchor])

    @property
    def robot_anchor_pos_w(self) -> torch.Tensor:
        """[N, 3] m: where the robot's own anchor body is."""
        return DIALECT.tensor(self.robot.data.body_link_pos_w)[:, self.anchor_id]

    @property
    def robot_anchor_quat_w(self) -> torch.Tensor:
        """[N, 4] in Isaac Lab's order."""
        return DIALECT.tensor(self.robot.data.body_link_quat_w)[:, self.anchor_id]

    @property
    def body_pos_relative_w(self) -> torch.Tensor:
        """[N, T, 3] m: the reference turned about z and shifted along the floor so that its anchor is the robot's."""
        turn, place = self._to_robot()
        arms = self.body_pos_w - self.anchor_pos_w[:, None]
        return place[:, None] + quat_apply(turn[:, None].expand(-1, arms.shape[1], -1).contiguous(), arms)

    @property
    def body_quat_relative_w(self) -> torch.Tensor:
        """[N, T, 4] in Isaac Lab's order, turned likewise."""
        quats = self.body_quat_w
        turn, _ = self._to_robot()
        return quat_mul(turn[:, None].expand_as(quats).contiguous(), quats)

    @property
    def phase(self) -> torch.Tensor:
        """[N, 1] share of the clip that is over, 0 to 1."""
        length = self._durations[self.playing.long()].clamp_min(1e-9)
        return (self.times / length).clamp(0.0, 1.0).float()[:, None]

    @property
    def finished(self) -> torch.Tensor:
        """[N] bool: the command is beyond the clip's last frame, by a tenth of a step at least."""
        return self.times > self._durations[self.playing.long()] + 0.1 * self._env.step_dt

    def _to_robot(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Turn about z [N, 4] and place [N, 3] of the anchor with which the reference is compared with the robot."""
        turn = yaw_quat(quat_mul(self.robot_anchor_quat_w, quat_inv(self.anchor_quat_w)))
        place = torch.cat([self.robot_anchor_pos_w[:, :2], self.anchor_pos_w[:, 2:]], dim=1)
        return turn, place

    def _read(self) -> None:
        """Sample all environments at their times."""
        origins = wp.from_torch(self._env.scene.env_origins, dtype=wp.vec3)
        self.library.sample(self._sample, clips=self._clips_wp, times=self._times_wp, origins=origins)
        if self._ghost is not None:
            self._ghost.show()

    def reset(self, env_ids: Sequence[int] | None = None) -> dict[str, float]:
        """Start anew and log metrics; with adaptive sampling an episode that was terminated counts as a failure.

        Args:
            env_ids: Environments; all by default.
        """
        if self.cfg.sampling == "adaptive":
            ids = torch.arange(self.num_envs, device=self.device)[slice(None) if env_ids is None else env_ids]
            # Who started within this step has been counted: a reset by hand finds the flags of the step before.
            failed = self._env.termination_manager.terminated[ids]
            failed = failed & (self._started_at[ids] != self._env.common_step_counter)
            self.starts.record(self.playing[ids], self.times[ids], failed)
        return super().reset(env_ids)

    def _draw_starts(self, ids: torch.Tensor) -> None:
        """Clips and times of environments that start."""
        clips = ids % len(self.library) if self.cfg.choice == "cycle" else None
        if self.cfg.sampling == "start":
            if clips is None:
                clips = torch.randint(len(self.library), ids.shape, device=self.device)
            self.playing[ids], self.times[ids] = clips.int(), 0.0
        else:
            clips, self.times[ids] = self.starts.draw(len(ids), clips=clips)
            self.playing[ids] = clips.int()

    def _resample_command(self, env_ids: Sequence[int]) -> None:
        ids = torch.arange(self.num_envs, device=self.device)[env_ids]
        self._draw_starts(ids)
        self._started_at[ids] = self._env.common_step_counter
        if self.cfg.reset_robot:
            self._read()
            self._put_robot(ids)
        self.times[ids] += self._env.step_dt
        self._read()

    def _put_robot(self, ids: torch.Tensor) -> None:
        """Write the reference's present state, disturbed as asked, to the robot."""
        now, cfg = self._now, self.cfg
        pose = torch.cat([now["body_pos"][ids, 0], now["body_quat"][ids, 0]], dim=1)
        velocity = torch.cat([now["body_link_vel"][ids, 0], now["body_ang_vel"][ids, 0]], dim=1)
        pose, velocity = disturbed_root(pose, velocity, cfg.pose_range, cfg.velocity_range)
        pos = DIALECT.tensor(self.robot.data.default_joint_pos)[ids].clone()
        vel = torch.zeros_like(pos)
        limits = DIALECT.tensor(self.robot.data.soft_joint_pos_limits)[ids][:, self.joint_ids]
        pos[:, self.joint_ids] = disturbed_joints(now["joint_pos"][ids], limits, cfg.joint_position_range)
        vel[:, self.joint_ids] = now["joint_vel"][ids]
        DIALECT.write_root_state(self.robot, pose_xyzw=pose, link_velocity=velocity, env_ids=ids)
        DIALECT.write_joint_state(self.robot, pos=pos, vel=vel, env_ids=ids)
        DIALECT.set_joint_targets(self.robot, pos=pos, vel=vel, env_ids=ids)

    def _update_command(self) -> None:
        if self.cfg.sampling == "adaptive":
            self.starts.end_step()
        # An environment that started within this very step already commands the next one.
        self.times += self._env.step_dt * (self._started_at != self._env.common_step_counter).double()
        lengths = self._durations[self.playing.long()]
        if self.cfg.at_end == "loop":
            self.times.copy_(
                torch.where(self.finished, torch.remainder(self.times, lengths.clamp_min(1e-9)), self.times)
            )
        elif self.cfg.at_end == "resample":
            over = self.finished.nonzero().flatten()
            if len(over):
                self._resample(over)
        self._read()

    def _update_metrics(self) -> None:
        data, ids = self.robot.data, self.body_ids
        kept = self._started_at != self._env.common_step_counter

        def own(name: str) -> torch.Tensor:
            return DIALECT.tensor(getattr(data, name))

        anchor = {
            "pos": (self.anchor_pos_w - self.robot_anchor_pos_w).norm(dim=-1),
            "rot": quat_error_magnitude(self.anchor_quat_w, self.robot_anchor_quat_w),
        }
        for part, name, column in (
            ("lin_vel", "body_link_lin_vel_w", "body_link_vel"),
            ("ang_vel", "body_link_ang_vel_w", "body_ang_vel"),
        ):
            anchor[part] = (self._now[column][:, self._anchor] - own(name)[:, self.anchor_id]).norm(dim=-1)
        body = {
            "pos": (self.body_pos_relative_w - own("body_link_pos_w")[:, ids]).norm(dim=-1).mean(dim=-1),
            "rot": quat_error_magnitude(self.body_quat_relative_w, own("body_link_quat_w")[:, ids].contiguous()).mean(
                dim=-1
            ),
            "lin_vel": (self.body_link_lin_vel_w - own("body_link_lin_vel_w")[:, ids]).norm(dim=-1).mean(dim=-1),
            "ang_vel": (self.body_ang_vel_w - own("body_link_ang_vel_w")[:, ids]).norm(dim=-1).mean(dim=-1),
        }
        joint = {
            "pos": (self.joint_pos - own("joint_pos")[:, self.joint_ids]).norm(dim=-1),
            "vel": (self.joint_vel - own("joint_vel")[:, self.joint_ids]).norm(dim=-1),
        }
        for what, errors in (("anchor", anchor), ("body", body), ("joint", joint)):
            for part, error in errors.items():
                self.metrics[f"error_{what}_{part}"][:] = error * kept
        if self.cfg.sampling == "adaptive":
            for name, value in self.starts.summary().items():
                self.metrics[name][:] = value


def _ids(robot: Any, names: Sequence[str]) -> list[int]:
    """Indices of bodies by their exact names, in the order asked."""
    missing = [name for name in names if name not in robot.body_names]
    if missing:
        raise InputRejected(f"the robot has no body {missing[0]!r}; it has {', '.join(robot.body_names)}")
    return [robot.body_names.index(name) for name in names]


def _library(
    cfg: MotionReferenceCommandCfg, joints: Sequence[str], bodies: Sequence[str], device: str
) -> ReferenceLibrary:
    tree = load_robot_tree(cfg.urdf) if any(clip.lower().endswith(".csv") for clip in cfg.clips) else None
    clips = [load_reference(Path(clip), tree=tree, csv_fps=cfg.csv_fps) for clip in cfg.clips]
    return ReferenceLibrary(clips, joint_names=joints, body_names=bodies, device=device)


def _starts(
    cfg: MotionReferenceCommandCfg, durations: np.ndarray, step: float, count: int, device: str
) -> StartSampler:
    """A start leaves room for one step at least."""
    return StartSampler(
        np.maximum(durations - step, 0.0).tolist(),
        step=step,
        bin_width=cfg.adaptive_bin_width,
        uniform_share=cfg.adaptive_uniform_ratio if cfg.sampling == "adaptive" else 1.0,
        kernel_size=cfg.adaptive_kernel_size,
        kernel_decay=cfg.adaptive_lambda,
        average_rate=cfg.adaptive_alpha,
        count=count,
        device=device,
    )
