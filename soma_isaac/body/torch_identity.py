"""An identity that is prepared once with gradients and posed, and backpropagated through, any number of times."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from soma_isaac.body.torch_pose import PoseConstants


class TorchIdentity:
    """Prepared bodies: constants of posing and how they follow from the inputs that require gradients.

    The graph from inputs to constants is kept for itself: every call of :meth:`constants` hangs a new branch on it, so
    that losses of several poses of one identity backpropagate one after the other without ``retain_graph``.
    """

    def __init__(
        self,
        prepare: Callable[[Mapping[str, torch.Tensor | None]], PoseConstants],
        inputs: Mapping[str, torch.Tensor | None],
    ) -> None:
        """Prepare.

        Args:
            prepare: From inputs to constants.
            inputs: Tensors that may require gradients, by name.
        """
        self._inputs = {
            name: value
            for name, value in inputs.items()
            if torch.is_grad_enabled() and value is not None and value.requires_grad
        }
        self._leaves = {name: value.detach().requires_grad_() for name, value in self._inputs.items()}
        with torch.set_grad_enabled(bool(self._leaves)):
            self._tables = prepare({**inputs, **self._leaves})

    @property
    def count(self) -> int:
        """Number of identities."""
        return max(len(self._tables.points), len(self._tables.offsets))

    @property
    def rest_points(self) -> torch.Tensor:
        """[1 or I, V, 3] rest shape in the bind pose, in the layer's unit; without gradients."""
        return self._tables.points.detach()

    @property
    def bind(self) -> torch.Tensor:
        """[1 or I, 78, 4, 4] public bind transforms; without gradients."""
        return self._tables.bind.detach()

    def constants(self) -> PoseConstants:
        """Constants of posing, with gradients to the inputs that require them."""
        if not self._leaves or not torch.is_grad_enabled():
            return PoseConstants(*(table.detach() for table in self._tables))
        return PoseConstants(*_Branch.apply(self._tables, tuple(self._leaves.values()), *self._inputs.values()))


class _Branch(torch.autograd.Function):
    """The constants again; backward runs through the kept graph and leaves it as it is."""

    @staticmethod
    def forward(
        ctx: Any, tables: PoseConstants, leaves: tuple[torch.Tensor, ...], *inputs: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        ctx.tables, ctx.leaves = tables, leaves
        ctx.set_materialize_grads(False)
        return tuple(table.detach().view_as(table) for table in tables)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        reached = [
            (table, gradient)
            for table, gradient in zip(ctx.tables, gradients, strict=True)
            if gradient is not None and table.requires_grad
        ]
        if not reached:
            return (None, None, *(None for _ in ctx.leaves))
        found = torch.autograd.grad(
            [table for table, _ in reached],
            ctx.leaves,
            [gradient for _, gradient in reached],
            retain_graph=True,
            allow_unused=True,
        )
        return (None, None, *found)
