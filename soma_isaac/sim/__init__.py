"""SOMA bodies inside a simulation step: the engine-free stepper, then one adapter per engine."""

from soma_isaac.sim.clips import ClipLibrary
from soma_isaac.sim.stepper import BodyGroup, BodyStepper, PosedGroup

__all__ = ["BodyGroup", "BodyStepper", "ClipLibrary", "PosedGroup"]
