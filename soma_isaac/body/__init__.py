"""SOMA bodies: prepare an identity once, pose it many times."""

from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.launches import BodyPose
from soma_isaac.body.soma import SomaBody

__all__ = ["BodyPose", "PreparedIdentity", "SomaBody"]
