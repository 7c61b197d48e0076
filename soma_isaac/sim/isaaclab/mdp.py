"""Terms for managers: what a policy sees of people and of its reference, and what it is paid for."""

from __future__ import annotations

from typing import Any

import torch
from isaaclab.managers import SceneEntityCfg
from isaaclab.utils.math import matrix_from_quat, quat_apply_inverse, quat_error_magnitude, quat_inv, quat_mul

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


def body_position_reward(env: Any, command_name: str, std: float) -> torch.Tensor:
    """[N] ``exp(-mean squared distance / std^2)`` of the tracked bodies, seen from the anchors; std in m."""
    command = _command(env, command_name)
    own = DIALECT.tensor(command.robot.data.body_link_pos_w)[:, command.body_ids]
    error = (command.body_pos_relative_w - own).square().sum(dim=-1).mean(dim=-1)
    return torch.exp(-error / std**2)


def anchor_orientation_reward(env: Any, command_name: str, std: float) -> torch.Tensor:
    """[N] ``exp(-angle^2 / std^2)`` between the anchors; std in rad."""
    command = _command(env, command_name)
    angle = quat_error_magnitude(command.anchor_quat_w, command.robot_anchor_quat_w)
    return torch.exp(-angle.square() / std**2)


def anchor_lost(env: Any, command_name: str, threshold: float) -> torch.Tensor:
    """[N] bool: the heights of the anchors differ by more than the threshold, m."""
    command = _command(env, command_name)
    return (command.anchor_pos_w[:, 2] - command.robot_anchor_pos_w[:, 2]).abs() > threshold


def reference_finished(env: Any, command_name: str) -> torch.Tensor:
    """[N] bool: the clip is over (with ``at_end="hold"``)."""
    return _command(env, command_name).finished


def _command(env: Any, name: str) -> MotionReferenceCommand:
    return env.command_manager.get_term(name)
