"""Terms for managers: what a policy sees of people and of its reference, what it is paid for, and when it has failed.

Wherever bodies are compared, ``body_names`` chooses some of the tracked ones; all by default.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from isaaclab.managers import SceneEntityCfg
from isaaclab.utils.math import (
    matrix_from_quat,
    quat_apply,
    quat_apply_inverse,
    quat_error_magnitude,
    quat_inv,
    quat_mul,
)

from soma_isaac.errors import InputRejected
from soma_isaac.sim.isaaclab.command import MotionReferenceCommand
from soma_isaac.sim.isaaclab.compat import DIALECT


def people_pos_b(
    env: Any,
    people_cfg: SceneEntityCfg = SceneEntityCfg("people"),  # noqa: B008
    robot_cfg: SceneEntityCfg = SceneEntityCfg("robot"),  # noqa: B008
) -> torch.Tensor:
    """[N, 3 K] m: joints of the people, chosen by ``body_names``, as the robot's root sees them."""
    points = env.scene[people_cfg.name].data.body_pos_w[:, people_cfg.body_ids]
    robot = env.scene[robot_cfg.name].data
    place = DIALECT.tensor(robot.root_link_pos_w)[:, None]
    turn = DIALECT.tensor(robot.root_link_quat_w)[:, None].expand(-1, points.shape[1], -1).contiguous()
    return quat_apply_inverse(turn, points - place).flatten(1)


def reference_anchor_pos_b(env: Any, command_name: str) -> torch.Tensor:
    """[N, 3] m: the reference's anchor as the robot's anchor sees it."""
    command = _command(env, command_name)
    return quat_apply_inverse(command.robot_anchor_quat_w, command.anchor_pos_w - command.robot_anchor_pos_w)


def reference_anchor_ori_b(env: Any, command_name: str) -> torch.Tensor:
    """[N, 6]: the first two columns of the rotation from the reference's anchor to the robot's."""
    command = _command(env, command_name)
    turn = quat_mul(quat_inv(command.robot_anchor_quat_w), command.anchor_quat_w)
    return matrix_from_quat(turn)[..., :2].reshape(len(turn), 6)


def reference_phase(env: Any, command_name: str) -> torch.Tensor:
    """[N, 1] share of the clip that is over."""
    return _command(env, command_name).phase


def robot_bodies_pos_b(env: Any, command_name: str, body_names: Sequence[str] | None = None) -> torch.Tensor:
    """[N, 3 T] m: the robot's own tracked bodies as its anchor sees them; BeyondMimic's critic has them."""
    command = _command(env, command_name)
    _, ids = _tracked(command, body_names)
    arms = DIALECT.tensor(command.robot.data.body_link_pos_w)[:, ids] - command.robot_anchor_pos_w[:, None]
    turn = command.robot_anchor_quat_w[:, None].expand(-1, arms.shape[1], -1).contiguous()
    return quat_apply_inverse(turn, arms).flatten(1)


def robot_bodies_ori_b(env: Any, command_name: str, body_names: Sequence[str] | None = None) -> torch.Tensor:
    """[N, 6 T]: the first two columns of the rotation from each of the robot's tracked bodies to its anchor."""
    command = _command(env, command_name)
    _, ids = _tracked(command, body_names)
    quats = DIALECT.tensor(command.robot.data.body_link_quat_w)[:, ids]
    anchor = quat_inv(command.robot_anchor_quat_w)[:, None].expand_as(quats).contiguous()
    return matrix_from_quat(quat_mul(anchor, quats.contiguous()))[..., :2].reshape(len(quats), -1)


def anchor_position_reward(env: Any, command_name: str, std: float) -> torch.Tensor:
    """[N] ``exp(-squared distance / std^2)`` of the anchors in the world; std in m."""
    command = _command(env, command_name)
    error = (command.anchor_pos_w - command.robot_anchor_pos_w).square().sum(dim=-1)
    return torch.exp(-error / std**2)


def anchor_orientation_reward(env: Any, command_name: str, std: float) -> torch.Tensor:
    """[N] ``exp(-angle^2 / std^2)`` between the anchors; std in rad."""
    command = _command(env, command_name)
    angle = quat_error_magnitude(command.anchor_quat_w, command.robot_anchor_quat_w)
    return torch.exp(-angle.square() / std**2)


def body_position_reward(
    env: Any, command_name: str, std: float, body_names: Sequence[str] | None = None
) -> torch.Tensor:
    """[N] ``exp(-mean squared distance / std^2)`` of the tracked bodies, seen from the anchors; std in m."""
    command = _command(env, command_name)
    columns, ids = _tracked(command, body_names)
    own = DIALECT.tensor(command.robot.data.body_link_pos_w)[:, ids]
    return _kept(command.body_pos_relative_w[:, columns] - own, std)


def body_orientation_reward(
    env: Any, command_name: str, std: float, body_names: Sequence[str] | None = None
) -> torch.Tensor:
    """[N] ``exp(-mean squared angle / std^2)`` of the tracked bodies, seen from the anchors; std in rad."""
    command = _command(env, command_name)
    columns, ids = _tracked(command, body_names)
    own = DIALECT.tensor(command.robot.data.body_link_quat_w)[:, ids].contiguous()
    angles = quat_error_magnitude(command.body_quat_relative_w[:, columns].contiguous(), own)
    return torch.exp(-angles.square().mean(dim=-1) / std**2)


def body_linear_velocity_reward(
    env: Any, command_name: str, std: float, body_names: Sequence[str] | None = None
) -> torch.Tensor:
    """[N] ``exp(-mean squared difference / std^2)`` of the link origins' velocities in the world; std in m/s."""
    command = _command(env, command_name)
    columns, ids = _tracked(command, body_names)
    own = DIALECT.tensor(command.robot.data.body_link_lin_vel_w)[:, ids]
    return _kept(command.body_link_lin_vel_w[:, columns] - own, std)


def body_angular_velocity_reward(
    env: Any, command_name: str, std: float, body_names: Sequence[str] | None = None
) -> torch.Tensor:
    """[N] ``exp(-mean squared difference / std^2)`` of the bodies' angular velocities in the world; std in rad/s."""
    command = _command(env, command_name)
    columns, ids = _tracked(command, body_names)
    own = DIALECT.tensor(command.robot.data.body_link_ang_vel_w)[:, ids]
    return _kept(command.body_ang_vel_w[:, columns] - own, std)


def anchor_lost(env: Any, command_name: str, threshold: float) -> torch.Tensor:
    """[N] bool: the heights of the anchors differ by more than the threshold, m."""
    command = _command(env, command_name)
    return (command.anchor_pos_w[:, 2] - command.robot_anchor_pos_w[:, 2]).abs() > threshold


def anchor_astray(env: Any, command_name: str, threshold: float) -> torch.Tensor:
    """[N] bool: the anchors are farther apart than the threshold, m."""
    command = _command(env, command_name)
    return (command.anchor_pos_w - command.robot_anchor_pos_w).norm(dim=-1) > threshold


def anchor_tilted(env: Any, command_name: str, threshold: float) -> torch.Tensor:
    """[N] bool: the upward components of the anchors' z axes differ by more than the threshold (0 to 2)."""
    command = _command(env, command_name)
    return (_upright(command.anchor_quat_w) - _upright(command.robot_anchor_quat_w)).abs() > threshold


def bodies_lost(env: Any, command_name: str, threshold: float, body_names: Sequence[str] | None = None) -> torch.Tensor:
    """[N] bool: the height of a tracked body, seen from the anchor, differs by more than the threshold, m."""
    command = _command(env, command_name)
    columns, ids = _tracked(command, body_names)
    own = DIALECT.tensor(command.robot.data.body_link_pos_w)[:, ids, 2]
    return ((command.body_pos_relative_w[:, columns, 2] - own).abs() > threshold).any(dim=-1)


def reference_finished(env: Any, command_name: str) -> torch.Tensor:
    """[N] bool: the clip is over (with ``at_end="hold"``); a time-out, which adaptive sampling takes for no failure."""
    return _command(env, command_name).finished


def _command(env: Any, name: str) -> MotionReferenceCommand:
    return env.command_manager.get_term(name)


def _tracked(command: MotionReferenceCommand, names: Sequence[str] | None) -> tuple[list[int], list[int]]:
    """Columns of the reference and the robot's indices of some tracked bodies."""
    if names is None:
        return list(range(len(command.body_names))), command.body_ids
    unknown = [name for name in names if name not in command.body_names]
    if unknown:
        raise InputRejected(f"the command does not track {unknown[0]!r}; it tracks {', '.join(command.body_names)}")
    columns = [command.body_names.index(name) for name in names]
    return columns, [command.body_ids[column] for column in columns]


def _kept(errors: torch.Tensor, std: float) -> torch.Tensor:
    return torch.exp(-errors.square().sum(dim=-1).mean(dim=-1) / std**2)


def _upright(quats: torch.Tensor) -> torch.Tensor:
    """[N] height of each frame's z axis."""
    up = torch.zeros_like(quats[:, :3])
    up[:, 2] = 1.0
    return quat_apply(quats.contiguous(), up)[:, 2]
