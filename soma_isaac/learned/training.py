"""Training of the pose network (torch): the loop, its checkpoints, and the weights that are kept."""

from __future__ import annotations

import io
import math
import pickle  # its error only: torch raises it for what is no checkpoint
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import write_file
from soma_isaac.learned.augmentation import vary
from soma_isaac.learned.losses import full_loss, paper_loss
from soma_isaac.learned.network import (
    EffectorTensors,
    NetworkConfig,
    PoseNetwork,
    Prediction,
    initialise,
    kinematics,
    turn_about_y,
)
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.recipes import Recipe
from soma_isaac.learned.sampler import random_offsets, random_sets, six_points
from soma_isaac.learned.skeleton import template_skeleton

_UNREADABLE = (
    OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, AttributeError, pickle.UnpicklingError
)  # fmt: skip

LOSSES: dict[str, Callable[..., dict[str, Tensor]]] = {"full": full_loss, "paper": paper_loss}


@dataclass(frozen=True)
class StepRecord:
    """What one reported step gave.

    Attributes:
        step: Steps done.
        loss: Their mean loss since the last report.
        terms: Terms of the last step by name.
        samples_per_second: Of process time on a CPU.
    """

    step: int
    loss: float
    terms: dict[str, float]
    samples_per_second: float


class Batch:
    """Poses of random bodies with what is asked of them.

    Attributes:
        rotations: [B, 23, 3, 3] local rotations.
        positions: [B, 23, 3] m, Hips at the origin.
        world: [B, 23, 3, 3].
        offsets: [B, 23, 3] m.
        ratios: [B, 22] log bone ratios.
        effectors: Noisy sets, or six exact points each (``fixed``).
    """

    def __init__(
        self, rotations: Tensor, offsets: Tensor, template: Tensor, generator: torch.Generator, fixed: bool = False
    ) -> None:
        self.rotations, self.offsets = rotations, offsets
        root = torch.zeros(len(rotations), 3, device=rotations.device)
        self.positions, self.world = kinematics(rotations, root, offsets)
        self.ratios = torch.log(offsets[:, 1:].norm(dim=-1) / template[1:].norm(dim=-1))
        self.effectors: EffectorTensors = (
            six_points(self.positions) if fixed else random_sets(self.positions, self.world, generator)
        )


class Trainer:
    """A training that can stop and go on.

    Args:
        poses: Who to train on.
        recipe: How.
        seed: Of weights, batches and noise.
        device: Where.
        model: Wraps the network for several devices (e.g. ``ray.train.torch.prepare_model``).
        origin: What else the result depends on (data, split, seed, ...): a checkpoint of another is not taken up.
    """

    def __init__(
        self,
        poses: PoseSet,
        recipe: Recipe,
        *,
        seed: int = 0,
        device: str = "cpu",
        model: Callable[[nn.Module], nn.Module] | None = None,
        origin: Mapping[str, str | int] | None = None,
    ) -> None:
        self.recipe, self.device, self._origin = recipe, torch.device(device), dict(origin or {})
        source = poses.with_mirrored() if recipe.mirror else poses
        self._poses = torch.from_numpy(np.array(source.rotations)).to(self.device)
        self._template = torch.from_numpy(np.array(template_skeleton().rest_offsets)).float().to(self.device)
        torch.manual_seed(seed)
        size = NetworkConfig(recipe.width, recipe.blocks, recipe.layers, recipe.dropout, recipe.canonical)
        self.network = PoseNetwork(size, poses.with_mirrored().mean_pose())
        if recipe.start == "he":
            initialise(self.network)
        self.network.to(self.device)
        self._model = self.network if model is None else model(self.network)
        self._generator = torch.Generator(self.device).manual_seed(seed + 1)
        self._optimizers = list(_optimizers(self.network, recipe))
        self._rates = [group["lr"] for optimizer in self._optimizers for group in optimizer.param_groups]
        self._average = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.step = 0

    def run(self, steps: int, report: Callable[[StepRecord], None] | None = None, every: int = 100) -> None:
        """Do ``steps`` more steps, at most to the recipe's end, reporting every so often."""
        total, since, begun = 0.0, 0, time.process_time()
        end = min(self.step + steps, self.recipe.steps)
        while self.step < end:
            terms = self._one_step()
            total, since = total + sum(terms.values()), since + 1
            if report is not None and (self.step % every == 0 or self.step == end):
                seconds = max(time.process_time() - begun, 1e-9)
                report(StepRecord(self.step, total / since, terms, since * self.recipe.batch / seconds))
                total, since, begun = 0.0, 0, time.process_time()

    def batch(self) -> Batch:
        """The next random batch."""
        recipe, generator = self.recipe, self._generator
        chosen = torch.randint(0, len(self._poses), (recipe.batch,), generator=generator, device=self.device)
        rotations = vary(self._poses, chosen, generator) if recipe.vary else self._poses[chosen]
        if recipe.turn:
            angle = 2 * math.pi * torch.rand(recipe.batch, generator=generator, device=self.device)
            rotations = torch.cat(
                [(turn_about_y(angle.cos(), angle.sin()) @ rotations[:, 0])[:, None], rotations[:, 1:]], dim=1
            )
        offsets = self._template.expand(recipe.batch, -1, -1)
        if recipe.morph:
            offsets = random_offsets(self._template, recipe.batch, generator)
        return Batch(rotations, offsets, self._template, generator, self._asks_fixed_points())

    def _asks_fixed_points(self) -> bool:
        if not self.recipe.fixed_share or self.step < self.recipe.fixed_after * self.recipe.steps:
            return False
        return float(torch.rand((), generator=self._generator, device=self.device)) < self.recipe.fixed_share

    def weights(self) -> dict[str, np.ndarray]:
        """The weights to keep (averaged if the recipe averages), float32, by name."""
        kept = self._average if self.recipe.ema else self.network.state_dict()
        return {name: value.detach().cpu().numpy().copy() for name, value in kept.items()}

    def save(self, path: Path) -> None:
        """Write a checkpoint, atomically."""
        buffer = io.BytesIO()
        torch.save(self._state(), buffer)
        write_file(path, buffer.getvalue())

    def load(self, path: Path) -> None:
        """Go on from a checkpoint of the same recipe and origin; only tensors and numbers are read from it.

        Raises:
            InputRejected: The file is none of ours, damaged, or of another recipe or origin.
        """
        try:
            state: dict[str, Any] = torch.load(path, map_location=self.device, weights_only=True)
            saved = {**state["recipe"], **state.get("origin", {})}
            own = {**asdict(self.recipe), **self._origin}
            changed = ", ".join(sorted(name for name in saved.keys() | own.keys() if saved.get(name) != own.get(name)))
            if not changed:
                self._take_up(state)
        except _UNREADABLE as error:
            # Of torch's own words some advise to read it unsafely.
            what = (error.strerror if isinstance(error, OSError) else None) or "another file, or damaged"
            raise InputRejected(f"no checkpoint of a training ({what}); start in another folder", str(path)) from error
        if changed:
            raise InputRejected(
                f"is a checkpoint of another training ({changed} differ); start in another folder", str(path)
            )

    def _take_up(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        for optimizer, saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self._average = state["average"]
        self._generator.set_state(state["generator"].cpu())
        torch.set_rng_state(state["torch_generator"].cpu())
        self.step = state["step"]

    def _state(self) -> dict[str, Any]:
        return {
            "recipe": asdict(self.recipe),
            "origin": self._origin,
            "network": self.network.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers],
            "average": self._average,
            "generator": self._generator.get_state(),
            "torch_generator": torch.get_rng_state(),
            "step": self.step,
        }

    def _one_step(self) -> dict[str, float]:
        recipe = self.recipe
        share = self._share()
        rates = iter(self._rates)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = next(rates) * share
            optimizer.zero_grad()
        batch = self.batch()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=recipe.bfloat16):
            predicted: Prediction = self._model(batch.effectors, batch.ratios, batch.offsets)
        terms = LOSSES[recipe.loss](predicted, batch.effectors, batch.rotations, batch.positions, batch.world)
        torch.stack(list(terms.values())).sum().backward()
        if recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), recipe.clip)
        for optimizer in self._optimizers:
            optimizer.step()
        self.step += 1
        self._update_average()
        return {name: float(value.detach()) for name, value in terms.items()}

    def _share(self) -> float:
        recipe = self.recipe
        warm = min(1.0, (self.step + 1) / max(recipe.warmup, 1))
        return warm * (0.5 * (1 + math.cos(math.pi * self.step / recipe.steps)) if recipe.cosine else 1.0)

    def _update_average(self) -> None:
        if not self.recipe.ema:
            return
        # The first weights are worth nothing: the decay rises to its value.
        decay = min(self.recipe.ema, self.step / (self.step + 9))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self._average[name].lerp_(value, 1 - decay)


def _optimizers(network: PoseNetwork, recipe: Recipe) -> Iterator[torch.optim.Optimizer]:
    if recipe.optimizer == "adam":
        yield torch.optim.Adam(network.parameters(), lr=recipe.learning_rate)
        return
    hidden, rest = [], []
    for name, parameter in network.named_parameters():
        outputs = "decoder" in name and "forward_out" in name
        is_hidden = parameter.ndim == 2 and "embedding" not in name and not outputs
        (hidden if is_hidden else rest).append(parameter)
    yield torch.optim.AdamW(rest, lr=recipe.learning_rate, weight_decay=0.01)
    # Muon orthogonalises the step of each hidden matrix; scaled so that its entries are as large as AdamW's.
    yield torch.optim.Muon(hidden, lr=recipe.muon_rate, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
