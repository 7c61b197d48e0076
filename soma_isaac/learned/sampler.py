"""Random effectors of known poses: the papers' sampler with its noise, and a fixed set of six points (torch).

Voleti et al., SMPL-IK (arXiv 2208.08274), section 3.3, after Oreshkin et al., ProtoRes (ICLR 2022), section 4: the
number of effectors is drawn once per batch, kinds uniformly, at least three positions; joints without replacement for
positions and for rotations, with replacement for look-at; tolerances ``0.1 u^13`` with noise of that size.
"""

from __future__ import annotations

import torch
from torch import Tensor

from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION
from soma_isaac.learned.network import JOINT_COUNT, EffectorTensors
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES

COUNTS = (3, 16)
"""Fewest and most effectors drawn; positions are then filled up to three, so that there may be up to 18."""

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
    return sets_of(positions, world, (max(LEAST_POSITIONS, placed), turned, looking), generator)


def sets_of(
    positions: Tensor, world: Tensor, counts: tuple[int, int, int], generator: torch.Generator
) -> EffectorTensors:
    """Sets with ``counts`` = (positions, rotations, look-ats) effectors of random joints, with the papers' noise."""
    batch, device = len(positions), positions.device
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
    tolerance = LARGEST_TOLERANCE * uniform(batch, size) ** TOLERANCE_POWER
    tolerance[:, placed + turned :] = 0.0
    at = positions.gather(1, joint[..., None].expand(-1, -1, 3))
    turns = world.gather(1, joint[..., None, None].expand(-1, -1, 3, 3))
    target, rotation = torch.zeros_like(at), torch.eye(3, device=device).expand(batch, size, 3, 3).clone()
    direction = torch.zeros_like(at)
    noise = normal(batch, placed + turned, 3) * tolerance[:, : placed + turned, None]
    target[:, :placed] = at[:, :placed] + noise[:, :placed]
    rotation[:, placed : placed + turned] = (
        matrix_from_euler_xyz(noise[:, placed:]) @ turns[:, placed : placed + turned]
    )
    ahead = torch.nn.functional.normalize(normal(batch, looking, 3), dim=-1)
    distance = LOOK_DISTANCE_M[0] + LOOK_DISTANCE_M[1] * normal(batch, looking, 1).abs()
    direction[:, placed + turned :] = ahead
    look = (turns[:, placed + turned :] @ ahead[..., None])[..., 0]
    target[:, placed + turned :] = at[:, placed + turned :] + distance * look
    return EffectorTensors(
        kind.expand(batch, size), joint, target, rotation, direction, tolerance, torch.ones_like(tolerance)
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
    device = template.device
    low, high = SIZE_RANGE
    spread = torch.rand(count, 1, generator=generator, device=device)
    size = low * (high / low) ** spread
    factors = size.expand(count, JOINT_COUNT).clone()
    for names, by in SEGMENT_GROUPS:
        stretch = 1 + by * (2 * torch.rand(count, 1, generator=generator, device=device) - 1)
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
