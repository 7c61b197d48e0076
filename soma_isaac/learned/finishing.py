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
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, template_skeleton
from soma_isaac.learned.torch_predictor import TEMPLATE_NAMES, TorchPredictor, predictor_of

NETWORK_KEYS = ("width", "blocks", "layers", "dropout", "canonical")
PRIOR_SETS, METRIC_SETS, LIMIT_POSES = 2000, 500, 40_000
LIMIT_PERCENTILE, LIMIT_MARGIN = 0.02, 0.5
"""Share of poses [percent] cut off at either end of what people were seen to do, and what is added [rad]: a few people
do not show all that joints can do. With these no pose of the validation people lies outside."""

CLAVICLES, KNEES = (
    [BODY_JOINT_NAMES.index(side + name) for side in ("Left", "Right")] for name in ("Shoulder", "Shin")
)
CLAVICLE_RAD = 0.9
"""Clavicles turn by 50 degrees in life, and not at all in recordings whose skeleton has none, as that of CMU."""

KNEE_BACK_RAD = 0.25
"""A knee is a hinge with a stop: no further back, whatever the margin. People were seen to go to 0.18."""

PRIOR_SHRINKAGE, CLAVICLE_ERROR_RAD = 0.1, 0.02
"""Share by which errors of different joints count as unrelated, since other people's are less alike, and what a network
errs in clavicles [rad] beyond what such recordings tell. Chosen on validation people, whom both leave where they are
(the former betters them a little); sources that were never seen gain 1 to 5 %."""

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


def renewed(file: PoseNetworkFile, parts: Mapping[str, PoseSet]) -> PoseNetworkFile:
    """The file of the same weights with prior, limits and figures made anew.

    Args:
        file: What :func:`finished` made.
        parts: The poses it was made with.
    """
    weights = {name: value for name, value in file.tensors.items() if name not in ("prior_covariance", "joint_limits")}
    return finished(weights, Recipe(**file.card["recipe"]), parts, file.card)


def prior_of(predictor: BodiesPredictor, poses: PoseSet) -> PosePrior:
    """How a network errs when asked as in training, of random bodies, and how much less is known of other people."""
    draws = FixedDraws.make(1, PRIOR_SETS, PRIOR_ENTROPY)
    test = pose_test(poses, draws, 0, "noisy", random_bodies(draws, 0))
    proposed = predictor.predict_bodies(test.effectors, test.rest_offsets)
    measured = PosePrior.from_steps(steps_between(proposed, test.truth, test.rest_offsets))
    clavicles = (3 + 3 * np.array(CLAVICLES)[:, None] + np.arange(3)).ravel()  # after the root's place, 3 per joint
    covariance = np.array(measured.shrunk(PRIOR_SHRINKAGE).covariance)
    covariance[clavicles, clavicles] += CLAVICLE_ERROR_RAD**2
    return PosePrior(covariance)


def limits_of(poses: PoseSet) -> np.ndarray:
    """Joint limits [2, 23, 3] rad: the ranges that people and their mirror images use, and what is known of joints."""
    step = max(1, 2 * poses.count // LIMIT_POSES)
    seen = PoseSet(poses.rotations[::step], poses.subject[::step]).with_mirrored()
    rotations = seen.rotations.astype(np.float64)
    limits = JointLimits.from_poses(rotations, percentile=LIMIT_PERCENTILE, margin=LIMIT_MARGIN)
    lower, upper = np.array(limits.lower), np.array(limits.upper)
    lower[CLAVICLES] = np.minimum(lower[CLAVICLES], -CLAVICLE_RAD)
    upper[CLAVICLES] = np.maximum(upper[CLAVICLES], CLAVICLE_RAD)
    lower[KNEES, 0] = np.maximum(lower[KNEES, 0], -KNEE_BACK_RAD)
    return np.clip([lower, upper], -WIDEST_RAD, WIDEST_RAD).astype(np.float32)


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
