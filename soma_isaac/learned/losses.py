"""The losses of ProtoRes (all terms) and of the published SMPL-IK code (torch)."""

from __future__ import annotations

import torch
from torch import Tensor

from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION
from soma_isaac.learned.network import EffectorTensors, Prediction

POSITION_SCALE = 100.0
LARGEST_WEIGHT = 1000.0


def geodesic(a: Tensor, b: Tensor) -> Tensor:
    """Angle [...] rad between rotations [..., 3, 3].

    ``atan2(|vee(R - R^T)| / 2, (tr R - 1) / 2)`` of ``R = a^T b``: its gradient is finite at zero, where that of
    ``acos`` is not.
    """
    relative = a.transpose(-1, -2) @ b
    vee = torch.stack(
        [
            relative[..., 2, 1] - relative[..., 1, 2],
            relative[..., 0, 2] - relative[..., 2, 0],
            relative[..., 1, 0] - relative[..., 0, 1],
        ],
        dim=-1,
    )
    sine = 0.5 * (vee.square().sum(-1) + 1e-12).sqrt()
    cosine = 0.5 * (relative.diagonal(dim1=-2, dim2=-1).sum(-1) - 1)
    return torch.atan2(sine, cosine)


def effector_weights(tolerance: Tensor) -> Tensor:
    """``W(sigma) = min(1000, 1 / sigma)``."""
    return (1 / tolerance.clamp_min(1 / LARGEST_WEIGHT)).clamp_max(LARGEST_WEIGHT)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the effectors, then over the batch; zero where there are none."""
    total = weight.sum(dim=1)
    return ((values * weight).sum(dim=1) / total.clamp_min(1e-9)).mean()


def look_at_angle(effectors: EffectorTensors, positions: Tensor, world: Tensor) -> Tensor:
    """Angle [B, N] rad between where each effector's joint looks and where its target is."""
    at = positions.gather(1, effectors.joint[..., None].expand(-1, -1, 3))
    turns = world.gather(1, effectors.joint[..., None, None].expand(-1, -1, 3, 3))
    look = (turns @ effectors.direction[..., None])[..., 0]
    want = effectors.target - at
    sine = (torch.cross(look, want, dim=-1).square().sum(-1) + 1e-12).sqrt()
    return torch.atan2(sine, (look * want).sum(-1))


def full_loss(
    predicted: Prediction, effectors: EffectorTensors, rotations: Tensor, positions: Tensor, world: Tensor
) -> dict[str, Tensor]:
    """All terms of ProtoRes, algorithm 1; the training loss is their sum.

    Args:
        predicted: The network's answer.
        effectors: What it was given (noisy).
        rotations: [B, 23, 3, 3] true local rotations.
        positions: [B, 23, 3] m true joint positions.
        world: [B, 23, 3, 3] true world rotations.
    """
    gpd, fk, angle_world, angle_local, look = _errors(predicted, effectors, rotations, positions, world)
    weight = effector_weights(effectors.tolerance) * effectors.weight
    placed, turned, looking = (weight * (effectors.kind == kind) for kind in (POSITION, ROTATION, LOOK_AT))
    return {
        "rnd_gpd": POSITION_SCALE * _mean(gpd.gather(1, effectors.joint), placed),
        "rnd_fk": POSITION_SCALE * _mean(fk.gather(1, effectors.joint), placed),
        "det_gpd": POSITION_SCALE * gpd.mean(),
        "det_fk": POSITION_SCALE * fk.mean(),
        "look_at": _mean(look, looking),
        "rnd_world": _mean(angle_world, turned),
        "det_local": angle_local.mean(),
    }


def paper_loss(
    predicted: Prediction, effectors: EffectorTensors, rotations: Tensor, positions: Tensor, world: Tensor
) -> dict[str, Tensor]:
    """What the published SMPL-IK code optimises: no position decoder loss, positions on effector joints only."""
    terms = full_loss(predicted, effectors, rotations, positions, world)
    return {name: terms[name] for name in ("rnd_fk", "look_at", "rnd_world", "det_local")}


def _errors(
    predicted: Prediction, effectors: EffectorTensors, rotations: Tensor, positions: Tensor, world: Tensor
) -> tuple[Tensor, ...]:
    gpd = (predicted.drawn - positions).square().sum(-1)
    fk = (predicted.positions - positions).square().sum(-1)
    index = effectors.joint[..., None, None].expand(-1, -1, 3, 3)
    angle_world = geodesic(predicted.world.gather(1, index), world.gather(1, index))
    angle_local = geodesic(predicted.rotations, rotations)
    return gpd, fk, angle_world, angle_local, look_at_angle(effectors, predicted.positions, predicted.world)
