"""Which poser a command works with: the network that ships with soma_isaac, another one, or none."""

from __future__ import annotations

from pathlib import Path

from soma_isaac.errors import InputRejected
from soma_isaac.learned.poser import Poser, learned_poser
from soma_isaac.learned.predictor import StillPose

STILL = "still"
"""Instead of a network: the T-pose put where the effectors are is what is proposed."""


def choose_poser(network: str | None, limited: bool = True) -> Poser:
    """The poser of a command.

    Args:
        network: File of a trained network; ``None`` for the one that ships with soma_isaac, ``still`` for none.
        limited: Keep joints within the ranges that people's joints have, which are stored with the network.

    Raises:
        InputRejected: The file is none.
    """
    if network == STILL:
        return Poser(StillPose())
    try:
        poser = learned_poser(None if network is None else Path(network).expanduser())
    except InputRejected as error:
        raise InputRejected(error.reason, error.path or network) from error
    return poser if limited else Poser(poser.predictor, poser.prior)
