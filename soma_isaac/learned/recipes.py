"""How a pose network is trained: our recipe, and the papers' for comparison on the same data."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from soma_isaac.errors import InputRejected


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the result but the data and the seed.

    Attributes:
        width: Units of each layer.
        blocks: R.
        layers: L.
        dropout: After the first layer of each block.
        canonical: Work in a frame that turns and scales with the effectors and the body.
        start: ``he`` or ``torch``: first weights.
        loss: ``full`` (ProtoRes, algorithm 1) or ``paper`` (what the SMPL-IK code runs).
        optimizer: ``muon`` (Jordan et al. 2024, on the hidden layers; AdamW on the rest) or ``adam``.
        learning_rate: Of Adam(W).
        muon_rate: Of Muon.
        warmup: Steps until the full rate.
        cosine: Let the rates fall to zero along a cosine; ``False``: constant.
        batch: Poses per step.
        steps: Length of the training.
        mirror: Train on mirror images too.
        turn: Random headings.
        vary: Put poses together from parts, with small errors (:mod:`soma_isaac.learned.augmentation`).
        morph: Random bodies.
        fixed_share: Share of the batches that ask for six exact points, as people do most, instead of random sets.
        fixed_after: Share of the steps before the first of them: what can be learned from all sets comes first.
        ema: Decay of the averaged weights that are kept; 0: none.
        clip: Largest norm of the gradient; 0: none.
        bfloat16: Multiply in bfloat16.
    """

    width: int = 256
    blocks: int = 2
    layers: int = 2
    dropout: float = 0.0
    canonical: bool = True
    start: str = "he"
    loss: str = "full"
    optimizer: str = "muon"
    learning_rate: float = 3e-3
    muon_rate: float = 1e-2
    warmup: int = 200
    cosine: bool = True
    batch: int = 512
    steps: int = 30_000
    mirror: bool = True
    turn: bool = False
    vary: bool = True
    morph: bool = True
    fixed_share: float = 0.25
    fixed_after: float = 0.65
    ema: float = 0.999
    clip: float = 1.0
    bfloat16: bool = True

    def __post_init__(self) -> None:
        """Check choices and ranges.

        Raises:
            InputRejected: A choice is not known or a number is out of range.
        """
        for name, choices in (("start", ("he", "torch")), ("loss", ("full", "paper")), ("optimizer", ("muon", "adam"))):
            if getattr(self, name) not in choices:
                raise InputRejected(f"{name} is {getattr(self, name)!r}, not one of {', '.join(choices)}")
        for name in ("fixed_share", "fixed_after"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputRejected(f"{name} is {getattr(self, name)}, not between 0 and 1")
        for name in ("width", "blocks", "layers", "batch", "steps"):
            if getattr(self, name) < 1:
                raise InputRejected(f"{name} must be at least 1")
        for name, ok in (
            ("dropout", 0.0 <= self.dropout < 1.0),
            ("ema", 0.0 <= self.ema < 1.0),
            ("learning_rate", 0.0 < self.learning_rate <= 1.0),
            ("muon_rate", 0.0 < self.muon_rate <= 1.0),
            ("warmup", self.warmup >= 0),
            ("clip", 0.0 <= self.clip < math.inf),
        ):
            if not ok:
                raise InputRejected(f"{name} is {getattr(self, name)!r}, which is out of range")


OURS = Recipe()

PAPER = replace(
    OURS,
    blocks=3,
    layers=3,
    dropout=0.01,
    canonical=False,
    start="torch",
    loss="paper",
    optimizer="adam",
    learning_rate=2e-4,
    warmup=0,
    cosine=False,
    batch=2048,
    mirror=False,
    turn=True,
    vary=False,
    fixed_share=0.0,
    ema=0.0,
    clip=0.0,
    bfloat16=False,
)
"""SMPL-IK (arXiv 2208.08274): Adam 2e-4 constant, batch 2048, random yaw, the losses of its code; its width is 1024."""

RECIPES = {"ours": OURS, "paper": PAPER}
