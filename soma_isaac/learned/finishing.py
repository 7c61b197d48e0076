"""From trained weights to the file that ships: half precision, prior covariance, joint limits, a card with figures."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from soma_isaac.formats.pose_network import PoseNetworkFile
from soma_isaac.learned.evaluation import alone, measure, summary, with_exact_stage
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.inference import NetworkPredictor
from soma_isaac.learned.limits import WIDEST_RAD, JointLimits
from soma_isaac.learned.pose_tests import pose_test, random_bodies
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.prior import PosePrior, steps_between
from soma_isaac.learned.recipes import Recipe
from soma_isaac.learned.skeleton import template_skeleton
from soma_isaac.learned.torch_predictor import TEMPLATE_NAMES, TorchPredictor, predictor_of

NETWORK_KEYS = ("width", "blocks", "layers", "dropout", "canonical")
PRIOR_SETS, METRIC_SETS, LIMIT_POSES = 2000, 500, 40_000
LIMIT_MARGIN = 0.3
"""Added to the range that people were seen to use [rad]: a few subjects do not show all that joints can do."""

PRIOR_ENTROPY, METRIC_ENTROPY = 11, 12
BodiesPredictor = NetworkPredictor | TorchPredictor
CARD_FIGURES = ("mpjpe_mm", "absolute_mpjpe_mm", "pa_mpjpe_mm", "ge_rad", "position_after_mm", "angle_after_deg")


def network_card(recipe: Recipe) -> dict[str, Any]:
    """The part of the card without which weights cannot be read."""
    return {"network": {name: getattr(recipe, name) for name in NETWORK_KEYS}}


def finished(
    weights: Mapping[str, np.ndarray], recipe: Recipe, parts: Mapping[str, PoseSet], about: Mapping[str, Any]
) -> PoseNetworkFile:
    """The file of a trained network.

    Args:
        weights: Float32 tensors by name.
        recipe: How they were trained.
        parts: Poses ``train`` and, where there are any, ``validation`` and ``test``. Prior and limits are taken from
            training poses (a prior of people not trained on came out alike), figures from the other two.
        about: What else the card says.
    """
    card = network_card(recipe)
    tensors = {
        name: np.array(value, dtype=np.float32 if name in TEMPLATE_NAMES else np.float16)
        for name, value in weights.items()
    }
    predictor = predictor_of({name: value.astype(np.float32) for name, value in tensors.items()}, card)
    prior = prior_of(predictor, parts["train"])
    tensors["prior_covariance"] = prior.covariance.astype(np.float32)
    tensors["joint_limits"] = limits_of(parts["train"])
    metrics = {
        name: figures_of(predictor, PosePrior(_symmetric(tensors["prior_covariance"])), parts[name])
        for name in ("validation", "test")
        if name in parts
    }
    skeleton = hashlib.sha256(template_skeleton().rest_offsets.tobytes()).hexdigest()
    return PoseNetworkFile(tensors, {**card, **about, "template_digest": skeleton, "metrics": metrics})


def prior_of(predictor: BodiesPredictor, poses: PoseSet) -> PosePrior:
    """How a network errs when asked as in training, of random bodies."""
    draws = FixedDraws.make(1, PRIOR_SETS, PRIOR_ENTROPY)
    test = pose_test(poses, draws, 0, "noisy", random_bodies(draws, 0))
    proposed = predictor.predict_bodies(test.effectors, test.rest_offsets)
    return PosePrior.from_steps(steps_between(proposed, test.truth, test.rest_offsets))


def limits_of(poses: PoseSet) -> np.ndarray:
    """Joint limits [2, 23, 3] rad of the ranges that people and their mirror images use."""
    step = max(1, 2 * poses.count // LIMIT_POSES)
    seen = PoseSet(poses.rotations[::step], poses.subject[::step]).with_mirrored()
    limits = JointLimits.from_poses(seen.rotations.astype(np.float64), margin=LIMIT_MARGIN)
    return np.clip([limits.lower, limits.upper], -WIDEST_RAD, WIDEST_RAD).astype(np.float32)


def figures_of(predictor: BodiesPredictor, prior: PosePrior, poses: PoseSet) -> dict[str, dict[str, float]]:
    """What the card says of how poses are recovered: network alone, and with the exact stage, noisy and six points."""
    draws = FixedDraws.make(1, METRIC_SETS, METRIC_ENTROPY)
    found = {}
    for ask in ("noisy", "six"):
        test = pose_test(poses, draws, 0, ask)
        for name, contestant in (
            ("network", alone(predictor.predict_bodies)),
            ("network + exact stage", with_exact_stage(predictor.predict_bodies, prior)),
        ):
            values = summary(test, measure(test, contestant))
            found[f"{ask}: {name}"] = {key: float(f"{values[key]:.4g}") for key in CARD_FIGURES}
    return found


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.T).astype(np.float64)
