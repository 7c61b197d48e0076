"""Poses that nobody took but somebody could: limbs of different people, small errors, tilted bodies (torch).

Few people were recorded. A network that has only seen whole recorded poses ties the arms to the legs as those few
people did; poses put together from parts teach it to follow the effectors instead.
"""

from __future__ import annotations

import torch
from torch import Tensor

from soma_isaac.learned.sampler import matrix_from_euler_xyz
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES


def _joints(*words: str) -> list[int]:
    return [index for index, name in enumerate(BODY_JOINT_NAMES) if any(word in name for word in words)]


_LEFT_ARM = _joints("LeftShoulder", "LeftArm", "LeftForeArm", "LeftHand")
_RIGHT_ARM = _joints("RightShoulder", "RightArm", "RightForeArm", "RightHand")

EXCHANGED = (
    (_LEFT_ARM + _RIGHT_ARM, 0.25),
    (_LEFT_ARM, 0.1),
    (_joints("Hips", "Leg", "Shin", "Foot", "Toe"), 0.25),
    (_joints("Neck", "Head"), 0.1),
)
"""Joints that are taken from another pose together, and how often. The Hips go with the legs: they carry the stance."""

ERROR_SHARE, LARGEST_ERROR_RAD = 0.5, 0.1
TILT_SHARE, TILT_RAD = 0.3, 0.25


def vary(poses: Tensor, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """Varied copies of the ``chosen`` [B] rows of ``poses`` [M, 23, 3, 3]: local rotations [B, 23, 3, 3]."""
    device, count = poses.device, len(chosen)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device)

    rotations = poses[chosen].clone()
    for joints, share in EXCHANGED:
        taken = uniform(count) < share
        other = torch.randint(0, len(poses), (count,), generator=generator, device=device)
        rotations[:, joints] = torch.where(taken[:, None, None, None], poses[other][:, joints], rotations[:, joints])
    size = LARGEST_ERROR_RAD * uniform(count, 1, 1) * (uniform(count, 1, 1) < ERROR_SHARE)
    rotations = rotations @ matrix_from_euler_xyz(size * normal(count, len(BODY_JOINT_NAMES), 3))
    tilt = TILT_RAD * normal(count, 3) * (uniform(count, 1) < TILT_SHARE)
    tilt[:, 1] = 0  # the heading does not matter
    return torch.cat([(matrix_from_euler_xyz(tilt) @ rotations[:, 0])[:, None], rotations[:, 1:]], dim=1)
