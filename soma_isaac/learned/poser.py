"""The whole of learned IK: the network proposes, the exact stage meets the effectors."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.pose_network import PoseNetworkFile, read_pose_network
from soma_isaac.learned.effectors import Effectors
from soma_isaac.learned.inference import NetworkPredictor
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.predictor import PosePredictor
from soma_isaac.learned.refine import PosePrior, Refined, refine
from soma_isaac.learned.skeleton import BodySkeleton
from soma_isaac.learned.solve import RefineSettings
from soma_isaac.math.arrays import frozen_array
from soma_isaac.rig.skeleton import data_path

WEIGHTS = "SOMA_pose_network.safetensors"


class Poser:
    """Poses any body with a few effectors.

    Args:
        predictor: Proposes poses.
        prior: How its proposals err; equal errors of all joints if ``None``.
        limits: Ranges of the joints, kept even where a target is then out of reach; ``None``: none.
        settings: Of the exact stage.
    """

    def __init__(
        self,
        predictor: PosePredictor,
        prior: PosePrior | None = None,
        limits: JointLimits | None = None,
        settings: RefineSettings | None = None,
    ) -> None:
        self.predictor, self.prior, self.limits, self.settings = predictor, prior, limits, settings

    def solve(self, effectors: Effectors, skeleton: BodySkeleton) -> Refined:
        """One pose per set of effectors, of the body ``skeleton``, with residuals and change of the proposal."""
        proposed = self.predictor.predict(effectors, skeleton)
        return refine(proposed, effectors, skeleton, prior=self.prior, limits=self.limits, settings=self.settings)


class NetworkPoser(Poser):
    """A poser with a trained network; adds bodies that differ from set to set.

    Args:
        file: The trained network.
        limited: Keep the joints within the ranges that people's joints have.

    Raises:
        InputRejected: The file lacks something.
    """

    def __init__(self, file: PoseNetworkFile, *, limited: bool = True, settings: RefineSettings | None = None) -> None:
        self.file = file
        self.network = NetworkPredictor(file.tensors, file.card)
        for name in ("prior_covariance", "joint_limits"):
            if name not in file.tensors:
                raise InputRejected(f"the pose network lacks {name}")
        covariance = file.tensors["prior_covariance"].astype(np.float64)
        lower, upper = frozen_array("joint_limits", file.tensors["joint_limits"], (2, 23, 3))
        super().__init__(
            self.network,
            PosePrior(0.5 * (covariance + covariance.T)),
            JointLimits(lower, upper) if limited else None,
            settings,
        )


@functools.lru_cache(maxsize=2)
def learned_poser(path: Path | None = None) -> NetworkPoser:
    """The poser with the network that ships with soma_isaac, or one of your own training.

    Raises:
        InputRejected: The file is none.
    """
    return NetworkPoser(read_pose_network(data_path(WEIGHTS) if path is None else path))
