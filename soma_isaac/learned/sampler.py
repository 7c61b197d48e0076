"""Random effectors of known poses: the papers' sampler with its noise, and a fixed set of six points (torch).

Voleti et al., SMPL-IK (arXiv 2208.08274), section 3.3, after Oreshkin et al., ProtoRes (ICLR 2022), section 4: the
number of effectors is drawn once per batch, kinds uniformly, at least three positions; joints without replacement for
positions and for rotations, with replacement for look-at; tolerances ``0.1 u^13`` with noise of that size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION
from soma_isaac.learned.network import JOINT_COUNT, EffectorTensors
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES

COUNTS = (3, 16)
"""Fewest and most effectors drawn; positions are then filled up to three, so that there may be up to 19."""

LEAST_POSITIONS = 3
LARGEST_TOLERANCE = 0.1
TOLERANCE_POWER = 13
LOOK_DISTANCE_M = (1e-3, 5.0)
SIX_POINTS = ("Hips", "Neck1", "LeftHand", "RightHand", "LeftFoot", "RightFoot")

SEGMENT_GROUPS = (
    (("Spine1", "Spine2", "Chest", "Neck1"), 0.15),
    (("Neck2", "Head"), 0.15),
    (("LeftShoulder", "LeftArm", "RightShoulder", "RightArm", "LeftLeg", "RightLeg"), 0.2),
    (("LeftForeArm", "LeftHand", "RightForeArm", "RightHand"), 0.25),
    (("LeftShin", "LeftFoot", "LeftToeBase", "RightShin", "RightFoot", "RightToeBase"), 0.25),
)
"""Bones (by their lower joint) stretched together, and by how much either way: trunk, neck, widths, arms, legs."""

SIZE_RANGE = (0.8, 1.25)


class Draws(NamedTuple):
    """What chance decides about B sets of N effectors, whatever the poses.

    Attributes:
        kind: [B, N] ``POSITION``, ``ROTATION`` or ``LOOK_AT``.
        joint: [B, N] joint index.
        spread: [B, N] from 0 to 1; the tolerance follows from it.
        normal: [B, N, 3] standard normal: the noise of a position or rotation, the direction of a look-at.
        reach: [B, N] standard normal: how far away a look-at's target is.
        weight: [B, N] 1, or 0 where a set has fewer effectors.
    """

    kind: Tensor
    joint: Tensor
    spread: Tensor
    normal: Tensor
    reach: Tensor
    weight: Tensor


def random_sets(positions: Tensor, world: Tensor, generator: torch.Generator) -> EffectorTensors:
    """One set of noisy effectors per pose, as many in each.

    Args:
        positions: [B, 23, 3] m joint positions.
        world: [B, 23, 3, 3] world rotations.
        generator: Random numbers, on the device of the poses.
    """
    least, most = COUNTS
    device = positions.device
    count = int(torch.randint(least, most + 1, (), generator=generator, device=device))
    kinds = torch.randint(0, 3, (count,), generator=generator, device=device)
    placed, turned, looking = (int((kinds == kind).sum()) for kind in (POSITION, ROTATION, LOOK_AT))
    counts = (max(LEAST_POSITIONS, placed), turned, looking)
    return effectors_of(drawn(len(positions), counts, generator), positions, world)


def drawn(batch: int, counts: tuple[int, int, int], generator: torch.Generator) -> Draws:
    """Draws for sets of ``counts`` = (positions, rotations, look-ats) effectors each, on the generator's device."""
    device = generator.device
    placed, turned, looking = counts
    size = sum(counts)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    joint = torch.cat(
        [
            uniform(batch, JOINT_COUNT).argsort(dim=1)[:, :placed],
            uniform(batch, JOINT_COUNT).argsort(dim=1)[:, :turned],
            torch.randint(0, JOINT_COUNT, (batch, looking), generator=generator, device=device),
        ],
        dim=1,
    )
    kind = torch.tensor([POSITION] * placed + [ROTATION] * turned + [LOOK_AT] * looking, device=device)
    spread = uniform(batch, size)
    noise = torch.cat([normal(batch, placed + turned, 3), normal(batch, looking, 3)], dim=1)
    reach = torch.zeros_like(spread)
    reach[:, placed + turned :] = normal(batch, looking, 1)[..., 0]
    return Draws(kind.expand(batch, size), joint, spread, noise, reach, torch.ones_like(spread))


def effectors_of(draws: Draws, positions: Tensor, world: Tensor, *, noise: bool = True) -> EffectorTensors:
    """What draws ask of poses.

    Args:
        draws: B sets.
        positions: [B, 23, 3] m joint positions.
        world: [B, 23, 3, 3] world rotations.
        noise: ``False``: every effector is exact, the tolerances are zero.
    """
    kind, joint = draws.kind, draws.joint
    is_look, is_rotation = (kind == LOOK_AT)[..., None], (kind == ROTATION)[..., None]
    tolerance = LARGEST_TOLERANCE * draws.spread**TOLERANCE_POWER
    tolerance = torch.where(is_look[..., 0], 0.0, tolerance) if noise else torch.zeros_like(tolerance)
    at = positions.gather(1, joint[..., None].expand(-1, -1, 3))
    turns = world.gather(1, joint[..., None, None].expand(-1, -1, 3, 3))
    error = draws.normal * tolerance[..., None]
    ahead = torch.nn.functional.normalize(draws.normal, dim=-1)
    nearest, spread = LOOK_DISTANCE_M
    seen = at + (nearest + spread * draws.reach.abs())[..., None] * (turns @ ahead[..., None])[..., 0]
    none, still = torch.zeros_like(at), torch.eye(3).to(at)
    return EffectorTensors(
        kind,
        joint,
        torch.where(is_look, seen, torch.where(is_rotation, none, at + error)),
        torch.where(is_rotation[..., None], matrix_from_euler_xyz(error) @ turns, still),
        torch.where(is_look, ahead, none),
        tolerance,
        draws.weight,
    )


def six_points(positions: Tensor) -> EffectorTensors:
    """Exact positions of pelvis, neck, wrists and ankles (the fixed set that SMPL-IK logs)."""
    batch, size = len(positions), len(SIX_POINTS)
    joint = torch.tensor([BODY_JOINT_NAMES.index(name) for name in SIX_POINTS], device=positions.device)
    zeros = torch.zeros(batch, size, device=positions.device)
    return EffectorTensors(
        torch.full((batch, size), POSITION, device=positions.device),
        joint.expand(batch, size),
        positions[:, joint],
        torch.eye(3, device=positions.device).expand(batch, size, 3, 3),
        torch.zeros(batch, size, 3, device=positions.device),
        zeros,
        torch.ones_like(zeros),
    )


def random_offsets(template: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Offsets [count, 23, 3] m of random bodies: the template [23, 3] resized (0.8 to 1.25), its segments stretched."""
    each = [torch.rand(count, 1, generator=generator, device=template.device) for _ in range(1 + len(SEGMENT_GROUPS))]
    return offsets_of(template, torch.cat(each, dim=1))


def offsets_of(template: Tensor, spread: Tensor) -> Tensor:
    """Offsets [B, 23, 3] m of the bodies that numbers [B, 6] from 0 to 1 stand for: the size, then each group."""
    low, high = SIZE_RANGE
    size = low * (high / low) ** spread[:, :1]
    factors = size.expand(-1, JOINT_COUNT).clone()
    for column, (names, by) in enumerate(SEGMENT_GROUPS, start=1):
        stretch = 1 + by * (2 * spread[:, column : column + 1] - 1)
        factors[:, [BODY_JOINT_NAMES.index(name) for name in names]] *= stretch
    return template * factors[..., None]


def matrix_from_euler_xyz(angles: Tensor) -> Tensor:
    """Rotations [..., 3, 3] ``Rx Ry Rz`` of angles [..., 3] rad."""
    (cx, cy, cz), (sx, sy, sz) = angles.cos().unbind(-1), angles.sin().unbind(-1)
    rows = [
        *(cy * cz, -cy * sz, sy),
        *(sx * sy * cz + cx * sz, cx * cz - sx * sy * sz, -sx * cy),
        *(sx * sz - cx * sy * cz, cx * sy * sz + sx * cz, cx * cy),
    ]
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
