"""Pose correctives as a differentiable torch operation: the second layer runs in Warp, sparse in both directions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.body.launches import CorrectiveArrays
from soma_isaac.body.torch_skin import Skinning, warp_view
from soma_isaac.formats.corrective_model import CorrectiveWeights
from soma_isaac.kernels.corrective_offsets import UnitTable, launch_correct, launch_units_adjoint
from soma_isaac.kernels.correctives import lane_count


class TorchCorrectives:
    """Offsets of one level of detail.

    Args:
        weights: The weights of that level.
        arrays: The same on the device.
        skin: Where and on how many threads to launch.
    """

    def __init__(self, weights: CorrectiveWeights, arrays: CorrectiveArrays, skin: Skinning) -> None:
        device = torch.device(wp.device_to_torch(skin.device))
        self.table = arrays.offsets
        self.skin = skin
        self.unit_count, self.vertex_count = weights.unit_count, weights.vertex_count
        self._weights = weights
        self._squash = weights.squash
        self._bind = torch.from_numpy(weights.bind_rotations.copy()).to(device)
        self._first = torch.from_numpy(weights.matrices()[0].toarray().astype(np.float32)).to(device)
        self.zeros = wp.zeros((1, self.vertex_count), dtype=wp.vec3, device=skin.device)
        self.ones = wp.ones(1, dtype=wp.float32, device=skin.device)
        self._units: UnitTable | None = None

    @property
    def units(self) -> UnitTable:
        """The second layer by unit, made at the first gradient."""
        if self._units is None:
            weights = self._weights
            order = np.argsort(weights.vertex_units, kind="stable")
            vertices = np.repeat(np.arange(self.vertex_count, dtype=np.int32), np.diff(weights.vertex_offsets))
            counts = np.bincount(weights.vertex_units, minlength=self.unit_count)
            self._units = UnitTable(
                offsets=device_array(np.append(0, np.cumsum(counts)), wp.int32, self.skin.device),
                vertices=device_array(vertices[order], wp.int32, self.skin.device),
                values=device_array(weights.vertex_values[order], wp.vec3, self.skin.device),
            )
        return self._units

    def offsets(self, local_rotations: torch.Tensor) -> torch.Tensor:
        """Offsets [B, V, 3] m for local rotations [B, P, 3, 3] of the public joints."""
        unit = torch.eye(3, dtype=torch.float32, device=local_rotations.device)
        inputs = (self._bind.transpose(-1, -2) @ local_rotations - unit)[..., :2].flatten(1)
        hidden = torch.relu(inputs @ self._first)
        return _Offsets.apply(torch.tanh(hidden) if self._squash else hidden, self)


class _Offsets(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, model: TorchCorrectives) -> torch.Tensor:
        ctx.model = model
        batch, device = len(hidden), model.skin.device
        offsets = torch.empty((batch, model.vertex_count, 3), dtype=torch.float32, device=hidden.device)
        if not batch:
            return offsets
        lanes = lane_count(batch, device)
        tiles = -(-batch // lanes)
        padded = torch.nn.functional.pad(hidden, (0, 0, 0, tiles * lanes - batch))
        tiled = padded.reshape(tiles, lanes, -1).transpose(1, 2).contiguous()
        given, out = warp_view(tiled, wp.float32), warp_view(offsets, wp.vec3)

        def launch(rows: slice) -> None:
            launch_correct(
                model.table,
                scales=model.ones,
                points=model.zeros,
                hidden=given[rows.start // lanes : -(-rows.stop // lanes)],
                points_out=out[rows],
            )

        # Parts have as many rows as a tile has lanes, but for a single body.
        model.skin.launch(batch, launch)
        return offsets

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        model: TorchCorrectives = ctx.model
        gradient = gradients[0].contiguous()
        found = torch.empty((len(gradient), model.unit_count), dtype=torch.float32, device=gradient.device)
        if len(gradient):
            given, out, table = warp_view(gradient, wp.vec3), warp_view(found, wp.float32), model.units
            model.skin.launch(
                len(gradient), lambda rows: launch_units_adjoint(table, gradients=given[rows], units_out=out[rows])
            )
        return found, None
