"""Test sets of learned IK from poses and fixed draws (torch)."""

from __future__ import annotations

import numpy as np
import torch

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import Effectors
from soma_isaac.learned.evaluation import PoseTest
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.sampler import Draws, effectors_of, offsets_of, six_points
from soma_isaac.learned.skeleton import BodyPose, body_kinematics, template_skeleton

ASKS = ("noisy", "exact", "six")
"""The papers' sampler with its noise, the same effectors without, and six exact points."""


def pose_test(
    poses: PoseSet, draws: FixedDraws, seed: int, ask: str, rest_offsets: np.ndarray | None = None
) -> PoseTest:
    """One test set; the Hips are at the origin, which changes nothing for whoever heeds where the effectors are.

    Args:
        poses: What the draws choose from.
        draws: Random numbers.
        seed: Which of them.
        ask: One of ``ASKS``.
        rest_offsets: [K, 23, 3] m, bodies taken in turn; the template by default.

    Raises:
        InputRejected: There is no such ask.
    """
    if ask not in ASKS:
        raise InputRejected(f"nothing to ask named {ask!r}; there are {', '.join(ASKS)}")
    rotations = poses.rotations[draws.chosen(seed, poses.count)].astype(np.float64)
    offsets = template_skeleton().rest_offsets[None] if rest_offsets is None else rest_offsets
    offsets = offsets[np.arange(len(rotations)) % len(offsets)]
    truth = BodyPose(rotations, np.zeros((len(rotations), 3)))
    positions, world = (
        torch.from_numpy(each) for each in body_kinematics(truth.rotations, truth.root_position, offsets)
    )
    if ask == "six":
        asked = six_points(positions)
    else:
        asked = effectors_of(tensors(draws, seed), positions, world, noise=ask == "noisy")
    return PoseTest(truth, offsets, Effectors(*(each.numpy() for each in asked)))


def random_bodies(draws: FixedDraws, seed: int) -> np.ndarray:
    """Offsets [M, 23, 3] m of the random bodies that training draws from."""
    template = torch.from_numpy(np.array(template_skeleton().rest_offsets))
    return offsets_of(template, torch.from_numpy(draws.body[seed].astype(np.float64))).numpy()


def tensors(draws: FixedDraws, seed: int) -> Draws:
    """The draws of one seed as the sampler takes them, in float64."""
    kind, joint, weight = (torch.from_numpy(each) for each in draws.slots(seed))
    spread, normal = (torch.from_numpy(each[seed].astype(np.float64)) for each in (draws.spread, draws.normal))
    return Draws(kind, joint, spread, normal[..., :3], normal[..., 3], weight.double())
