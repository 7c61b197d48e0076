"""Who answers in the benchmark of learned IK: still poses, the network, and a network in the papers' own frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soma_isaac.formats.pose_network import PoseNetworkFile, read_pose_network
from soma_isaac.learned.evaluation import Contestant, Proposer, alone, learned, still, with_exact_stage
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.pose_tests import pose_test
from soma_isaac.learned.poser import NetworkPoser
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.prior import PosePrior, steps_between
from soma_isaac.learned.torch_predictor import TorchPredictor

NETWORK, NETWORK_EXACT, NETWORK_LIMITED = "network", "network + exact stage", "network + exact stage, limits"
MEAN, REST, PAPER, PAPER_EXACT = "mean pose", "rest pose + exact stage", "paper", "paper + exact stage"
MEAN_EXACT = "mean pose + exact stage"
OURS = (NETWORK, NETWORK_EXACT, NETWORK_LIMITED)


def contestants(training: PoseSet, draws: FixedDraws, weights: Path, paper: Path | None) -> dict[str, Contestant]:
    """Everybody by name.

    Args:
        training: Whose mean pose is taken, and how poses lie about it.
        draws: Random numbers, for the latter.
        weights: Our network.
        paper: A network trained by the recipe ``paper``.
    """
    poser = NetworkPoser(read_pose_network(weights))
    mean = still(training.mean_pose()[0])
    network = learned(poser.network)
    found = {
        MEAN: alone(mean),
        REST: with_exact_stage(still(), None),
        MEAN_EXACT: with_exact_stage(mean, spread_about(mean, training, draws)),
        NETWORK: alone(network),
        NETWORK_EXACT: with_exact_stage(network, poser.prior),
        NETWORK_LIMITED: with_exact_stage(network, poser.prior, poser.limits),
    }
    if paper is not None:
        file = read_pose_network(paper)
        propose = TorchPredictor(file.tensors, file.card).predict_bodies
        found[PAPER] = alone(propose)
        found[PAPER_EXACT] = with_exact_stage(propose, _prior(file))
    return found


def spread_about(propose: Proposer, poses: PoseSet, draws: FixedDraws) -> PosePrior:
    """How poses lie about what is proposed for them: the strongest that can be had without a network."""
    test = pose_test(poses, draws, 0, "noisy")
    proposed = propose(test.effectors, test.rest_offsets)
    return PosePrior.from_steps(steps_between(proposed, test.truth, test.rest_offsets))


def _prior(file: PoseNetworkFile) -> PosePrior | None:
    covariance = file.tensors.get("prior_covariance")
    if covariance is None:
        return None
    return PosePrior(0.5 * (covariance + covariance.T).astype(np.float64))
