"""Kinematics of the SOMA skeleton in torch operations, for gradients: the same formulas as the Warp kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from soma_isaac.body.layout import JointLayout
from soma_isaac.body.twist import TwistProgram
from soma_isaac.kernels.twist import EULER


class PoseConstants(NamedTuple):
    """What posing needs of I identities; the leading dimension of each tensor is 1 or I.

    Attributes:
        points: [I, V, 3] rest points.
        bind: [I, P, 4, 4] public bind transforms.
        offsets: [I, P, 3] joint offsets in the parent's axes, scaled.
        inverse_binds: [I, P + H, 4, 4].
        left: [I, C, 3, 3] of the twist channels.
        right: [I, C, 3, 3].
        helper_binds: [I, H, 3, 3] in the parent's axes.
        helper_offsets: [I, H, 3] in the parent's axes, scaled.
        corrective_scales: [I].
    """

    points: torch.Tensor
    bind: torch.Tensor
    offsets: torch.Tensor
    inverse_binds: torch.Tensor
    left: torch.Tensor
    right: torch.Tensor
    helper_binds: torch.Tensor
    helper_offsets: torch.Tensor
    corrective_scales: torch.Tensor


class Kinematics:
    """Forward kinematics and twist helpers of a rig.

    Args:
        layout: The rig's joints.
        program: The compiled twist table; ``None`` without helpers.
        orientations: [P, 3, 3] world rotations at zero pose.
        device: Where tensors live.
    """

    def __init__(
        self, layout: JointLayout, program: TwistProgram | None, orientations: np.ndarray, device: torch.device
    ) -> None:
        self.layout = layout
        self.program = program
        self._orientations = torch.from_numpy(orientations.copy()).to(device)
        parents = layout.parents
        depth = np.zeros(len(parents), dtype=int)
        for joint in range(2, len(parents)):
            depth[joint] = depth[parents[joint]] + 1
        levels = [np.flatnonzero(depth[1:] == level) + 1 for level in range(depth.max() + 1)]

        def index(values: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(np.asarray(values, dtype=np.int64)).to(device)

        slot = {int(joint): row for level in levels for row, joint in enumerate(level)}
        self._levels = [
            (index(level), index(np.array([slot.get(int(parents[joint]), 0) for joint in level]))) for level in levels
        ]
        self._order = index(np.argsort(np.concatenate(levels)))
        self._parents = index(np.maximum(parents, 0))
        self._helper_parents = index(layout.helper_parents)
        if program is not None:
            self._joints, self._references = index(program.joints), index(program.references)
            self._axes, self._helper_axes = index(program.axes), index(program.helper_axes)
            self._euler = torch.from_numpy(program.methods == EULER).to(device)
            self._signs = torch.from_numpy(program.signs).to(device)
            entries = np.zeros((len(program.helper_axes), len(program.joints)))
            rows = np.repeat(np.arange(len(entries)), np.diff(program.entry_offsets))
            np.add.at(entries, (rows, program.entry_channels), program.entry_factors)
            self._entries = torch.from_numpy(entries * program.helper_signs[:, None]).to(device)

    def public_transforms(
        self, rotations: torch.Tensor, transl: torch.Tensor, offsets: torch.Tensor, *, absolute: bool
    ) -> torch.Tensor:
        """World transforms [B, P, 4, 4].

        Args:
            rotations: [B or 1, P - 1, 3, 3], relative to the zero pose, or the rig's local ones.
            transl: [B or 1, 3], position of joint 1.
            offsets: [B or 1, P, 3] in the parents' axes.
            absolute: The rotations are the rig's local ones.
        """
        orientations = self._orientations.to(rotations)
        if not absolute:
            offsets = (orientations[self._parents] @ offsets[..., None])[..., 0]
        batch = max(len(rotations), len(transl), len(offsets))
        rotations = rotations.expand(batch, -1, -1, -1)
        offsets, transl = offsets.expand(batch, -1, -1), transl.expand(batch, -1)
        turns, positions = [rotations[:, :1]], [transl[:, None]]
        for joints, parents in self._levels[1:]:
            above = turns[-1][:, parents]
            positions.append(positions[-1][:, parents] + (above @ offsets[:, joints, :, None])[..., 0])
            turns.append(above @ rotations[:, joints - 1])
        turned = torch.cat(turns, dim=1)[:, self._order]
        if not absolute:
            turned = turned @ orientations[1:]
        placed = torch.cat(positions, dim=1)[:, self._order]
        root = torch.eye(4, dtype=rotations.dtype, device=rotations.device).expand(batch, 1, 4, 4)
        return torch.cat([root, rigid(turned, placed)], dim=1)

    def helper_transforms(self, transforms: torch.Tensor, constants: PoseConstants) -> torch.Tensor:
        """World transforms [B, H, 4, 4] of the twist helpers for public ones [B, P, 4, 4]."""
        rotations = transforms[..., :3, :3]
        relative = rotations[:, self._references].transpose(-1, -2) @ rotations[:, self._joints]
        channel = constants.left @ relative @ constants.right
        angles = torch.where(self._euler, euler_angle(channel, self._axes), twist_angle(channel, self._axes))
        turn = (angles * self._signs.to(angles)) @ self._entries.to(angles).T
        parents = transforms[:, self._helper_parents]
        turned = parents[..., :3, :3] @ (constants.helper_binds @ axis_rotation(self._helper_axes, turn))
        moved = (parents[..., :3, :3] @ constants.helper_offsets[..., None])[..., 0]
        return rigid(turned, parents[..., :3, 3] + moved)

    def local_rotations(self, transforms: torch.Tensor) -> torch.Tensor:
        """The rig's local rotations [B, P, 3, 3]; the root's is the identity."""
        rotations = transforms[..., :3, :3]
        local = rotations[:, self._parents].transpose(-1, -2) @ rotations
        return torch.cat([rotations[:, :1], local[:, 1:]], dim=1)


def rigid(rotations: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Transforms [..., 4, 4] of rotations [..., 3, 3] and positions [..., 3]."""
    upper = torch.cat([rotations, positions[..., None]], dim=-1)
    last = torch.tensor([0.0, 0.0, 0.0, 1.0], dtype=upper.dtype, device=upper.device)
    return torch.cat([upper, last.expand(*upper.shape[:-2], 1, 4)], dim=-2)


def rigid_inverse(transforms: torch.Tensor) -> torch.Tensor:
    """Inverses of rigid transforms [..., 4, 4]."""
    turned = transforms[..., :3, :3].transpose(-1, -2)
    return rigid(turned, -(turned @ transforms[..., :3, 3:])[..., 0])


def skew(vectors: torch.Tensor) -> torch.Tensor:
    """Matrices [..., 3, 3] with ``skew(a) b = a x b``."""
    x, y, z = vectors.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*x.shape, 3, 3)


def rotation_matrices(rotvecs: torch.Tensor) -> torch.Tensor:
    """Rodrigues' formula in half angles, smooth at zero: [..., 3] rad to [..., 3, 3]."""
    square = (rotvecs * rotvecs).sum(dim=-1)
    small = square < 1.0e-6
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    sine, cosine = torch.sin(0.5 * angle), torch.cos(0.5 * angle)
    first = torch.where(small, 1.0 - square / 6.0, 2.0 * sine * cosine / angle)
    second = torch.where(small, 0.5 - square / 24.0, 2.0 * sine * sine / safe)
    turn = skew(rotvecs)
    identity = torch.eye(3, dtype=rotvecs.dtype, device=rotvecs.device)
    return identity + first[..., None, None] * turn + second[..., None, None] * (turn @ turn)


def twist_angle(rotations: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """The sidecar's swing-twist angle [..., C] rad of rotations [..., C, 3, 3] about the axes [C]."""
    r00, r01, r02, r10, r11, r12, r20, r21, r22 = rotations.flatten(-2).unbind(-1)
    # Rows of 4 q q^T for q = (x, y, z, w); the row of the largest component, divided by twice it, is q.
    rows = torch.stack(
        [
            *(1.0 + r00 - r11 - r22, r01 + r10, r02 + r20, r21 - r12),
            *(r01 + r10, 1.0 - r00 + r11 - r22, r12 + r21, r02 - r20),
            *(r02 + r20, r12 + r21, 1.0 - r00 - r11 + r22, r10 - r01),
            *(r21 - r12, r02 - r20, r10 - r01, 1.0 + r00 + r11 + r22),
        ],
        dim=-1,
    ).unflatten(-1, (4, 4))
    largest = rows.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = rows.gather(-2, largest[..., None, None].expand(*largest.shape, 1, 4))[..., 0, :]
    q = row / (2.0 * row.gather(-1, largest[..., None]).sqrt())
    along = q.gather(-1, axes.expand(largest.shape)[..., None])[..., 0]
    real = q[..., 3]
    return 4.0 * torch.atan2(along, 1.0 + real.abs()) * torch.where(real < 0.0, -1.0, 1.0).to(along)


def euler_angle(rotations: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    """One angle [..., C] rad of the sidecar's XYZ Euler extraction."""
    r = rotations
    about_x = torch.atan2(r[..., 2, 1], r[..., 1, 1])
    about_y = torch.asin((-r[..., 2, 0]).clamp(-1.0, 1.0))
    about_z = torch.atan2(r[..., 1, 0], r[..., 0, 0])
    return torch.where(axes == 0, about_x, torch.where(axes == 1, about_y, about_z))


def axis_rotation(axes: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """Rotations [..., H, 3, 3] by angles [..., H] about coordinate axes [H]."""
    unit = torch.eye(3, dtype=angles.dtype, device=angles.device)
    turn = skew(unit[axes])
    sine, cosine = torch.sin(angles)[..., None, None], torch.cos(angles)[..., None, None]
    return unit + sine * turn + (1.0 - cosine) * (turn @ turn)
