"""Small random deviations from a reference state, so that a policy starts from more than one path."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from isaaclab.utils.math import quat_from_euler_xyz, quat_mul

from soma_isaac.errors import InputRejected
from soma_isaac.sim.isaaclab.compat import DIALECT

AXES = ("x", "y", "z", "roll", "pitch", "yaw")


def _drawn(ranges: Mapping[str, tuple[float, float]], like: torch.Tensor) -> torch.Tensor:
    """[N, 6] uniform numbers within the ranges of :data:`AXES`; 0 where there is none."""
    unknown = set(ranges) - set(AXES)
    if unknown:
        raise InputRejected(f"ranges are named {', '.join(AXES)}, not {sorted(unknown)[0]!r}")
    bounds = torch.tensor([ranges.get(axis, (0.0, 0.0)) for axis in AXES], device=like.device, dtype=like.dtype)
    share = torch.rand(len(like), len(AXES), device=like.device, dtype=like.dtype)
    return bounds[:, 0] + share * (bounds[:, 1] - bounds[:, 0])


def disturbed_root(
    pose_xyzw: torch.Tensor,
    velocity: torch.Tensor,
    pose_range: Mapping[str, tuple[float, float]],
    velocity_range: Mapping[str, tuple[float, float]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """Root poses [N, 7] (xyzw) and velocities [N, 6] with random deviations, turns about world axes.

    Raises:
        InputRejected: A range has an unknown name.
    """
    if not pose_range and not velocity_range:
        return pose_xyzw, velocity
    moved = _drawn(pose_range, pose_xyzw)
    turn = quat_from_euler_xyz(moved[:, 3], moved[:, 4], moved[:, 5])
    quats = DIALECT.to_xyzw(quat_mul(turn, DIALECT.from_xyzw(pose_xyzw[:, 3:]).contiguous()))
    pose = torch.cat([pose_xyzw[:, :3] + moved[:, :3], quats], dim=1)
    return pose, velocity + _drawn(velocity_range, velocity)


def disturbed_joints(pos: torch.Tensor, limits: torch.Tensor, span: tuple[float, float]) -> torch.Tensor:
    """Joints [N, J] rad with random deviations from a range, kept within their limits [N, J, 2] where disturbed."""
    if span == (0.0, 0.0):
        return pos
    drawn = span[0] + torch.rand_like(pos) * (span[1] - span[0])
    return torch.clamp(pos + drawn, limits[..., 0], limits[..., 1])
