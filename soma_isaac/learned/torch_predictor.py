"""A trained pose network of any variant, run by torch: what training and comparisons ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import Effectors
from soma_isaac.learned.inference import NetworkPredictor
from soma_isaac.learned.network import EffectorTensors, NetworkConfig, PoseNetwork
from soma_isaac.learned.skeleton import BodyPose, BodySkeleton, log_bone_ratios

TEMPLATE_NAMES = ("template_rotations", "template_positions", "template_world")


class TorchPredictor:
    """Proposes poses as :class:`~soma_isaac.learned.inference.NetworkPredictor` does, in the papers' frame too.

    Args:
        tensors: The network's tensors by name.
        card: Its card; ``card["network"]`` gives the size and the variant.

    Raises:
        InputRejected: A tensor is missing or has another shape.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> None:
        self.network = network_of(tensors, card).eval()

    def predict(self, effectors: Effectors, skeleton: BodySkeleton) -> BodyPose:
        """One pose per set, of the body ``skeleton``."""
        return self.predict_bodies(effectors, np.broadcast_to(skeleton.rest_offsets, (effectors.count, 23, 3)))

    def predict_bodies(self, effectors: Effectors, rest_offsets: np.ndarray) -> BodyPose:
        """One pose per set, each of its own body of offsets [B, 23, 3] m."""
        ratios = torch.from_numpy(log_bone_ratios(rest_offsets)).float()
        offsets = torch.from_numpy(np.array(rest_offsets)).float()
        with torch.no_grad():
            said = self.network(EffectorTensors.of(effectors), ratios, offsets)
        return BodyPose(said.rotations.double().numpy(), said.drawn[:, 0].double().numpy())


def network_of(tensors: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> PoseNetwork:
    """The torch network that tensors and a card describe.

    Raises:
        InputRejected: A tensor is missing or has another shape, or the card gives no size.
    """
    try:
        size = {name: int(card["network"][name]) for name in ("width", "blocks", "layers")}
        canonical = bool(card["network"].get("canonical", True))
        rotations, positions, world = (np.array(tensors[name], dtype=np.float32) for name in TEMPLATE_NAMES)
        network = PoseNetwork(NetworkConfig(**size, canonical=canonical), (rotations, positions, world))
        state = {name: torch.from_numpy(np.array(tensors[name], np.float32)) for name in network.state_dict()}
        network.load_state_dict(state)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputRejected(f"these are not the tensors of a pose network ({str(error)[:200]})") from error
    return network


def predictor_of(tensors: Mapping[str, np.ndarray], card: Mapping[str, Any]) -> NetworkPredictor | TorchPredictor:
    """The fastest that runs this variant.

    Raises:
        InputRejected: A tensor is missing or has another shape.
    """
    canonical = bool(card.get("network", {}).get("canonical", True))
    return NetworkPredictor(tensors, card) if canonical else TorchPredictor(tensors, card)
