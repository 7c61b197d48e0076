"""Linear blend skinning as a differentiable torch operation: Warp kernels on torch's own memory."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
import warp as wp

from soma_isaac.body.buffers import run_parallel
from soma_isaac.kernels.correctives import CPU_LANES
from soma_isaac.kernels.lbs import Influences, launch_blend
from soma_isaac.kernels.lbs_adjoint import JointVertices, joint_vertices, launch_blend_adjoint

_PART_ROWS = CPU_LANES


class Skinning:
    """Skin points with an influence table; gradients reach points and skin matrices.

    Args:
        influences: The joints that move each vertex.
        threads: CPU threads.
    """

    def __init__(self, influences: Influences, threads: int) -> None:
        self.influences = influences
        self.threads = threads
        self.device: wp.Device = influences.offsets.device
        self._transposed: JointVertices | None = None

    @property
    def transposed(self) -> JointVertices | None:
        """The vertices that each joint moves, made at the first gradient; a CPU needs none."""
        if self._transposed is None and self.device.is_cuda:
            self._transposed = joint_vertices(self.influences)
        return self._transposed

    def __call__(self, points: torch.Tensor, matrices: torch.Tensor) -> torch.Tensor:
        """Posed vertices [B, V, 3] float32.

        Args:
            points: [1 or B, V, 3], rest points.
            matrices: [B, J, 4, 4], skin matrices.
        """
        return _Skin.apply(points.float(), matrices.float().transpose(-1, -2), self)

    def launch(self, batch: int, call: Callable[[slice], None]) -> None:
        """Run a call for all rows: at once on torch's CUDA stream, or in parts on CPU threads."""
        if self.device.is_cuda:
            with torch_stream(self.device):
                call(slice(0, batch))
            return
        parts = [slice(begin, min(begin + _PART_ROWS, batch)) for begin in range(0, batch, _PART_ROWS)]
        run_parallel([lambda rows=rows: call(rows) for rows in parts], self.threads)


@contextlib.contextmanager
def torch_stream(device: wp.Device) -> Iterator[None]:
    """Let Warp launch on torch's current stream of the device."""
    if not device.is_cuda:
        yield
        return
    stream = wp.stream_from_torch(torch.cuda.current_stream(wp.device_to_torch(device)))
    with wp.ScopedStream(stream):
        yield


def warp_view(tensor: torch.Tensor, dtype: Any) -> wp.array:
    """The memory of a contiguous tensor as a Warp array, without a copy."""
    # torch leaves the strides of dimensions of size 1 as they come; Warp takes them at their word.
    canonical = tensor.detach().view(-1).view(tensor.shape)
    return wp.from_torch(canonical, dtype=dtype, requires_grad=False)


def _rows(array: wp.array, rows: slice) -> wp.array:
    return array if array.shape[0] == 1 else array[rows]


class _Skin(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: torch.Tensor, columns: torch.Tensor, skinning: Skinning) -> torch.Tensor:
        points, columns = points.contiguous(), columns.contiguous()
        ctx.save_for_backward(points, columns)
        ctx.skinning = skinning
        batch = len(columns)
        vertices = torch.empty((batch, points.shape[1], 3), dtype=torch.float32, device=columns.device)
        if batch:
            rest, turned, out = (
                warp_view(values, dtype)
                for values, dtype in ((points, wp.vec3), (columns, wp.mat44), (vertices, wp.vec3))
            )
            skinning.launch(
                batch,
                lambda rows: launch_blend(
                    skinning.influences, points=_rows(rest, rows), columns=turned[rows], vertices_out=out[rows]
                ),
            )
        return vertices

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None]:
        points, columns = ctx.saved_tensors
        skinning: Skinning = ctx.skinning
        gradient = gradients[0].contiguous()
        batch = len(columns)
        wanted = ctx.needs_input_grad[0]
        of_points = torch.empty_like(gradient) if wanted else None
        of_columns = torch.empty_like(columns)
        if batch:
            rest, turned, given, out = (
                warp_view(values, dtype)
                for values, dtype in (
                    (points, wp.vec3),
                    (columns, wp.mat44),
                    (gradient, wp.vec3),
                    (of_columns, wp.mat44),
                )
            )
            points_out = None if of_points is None else warp_view(of_points, wp.vec3)
            skinning.launch(
                batch,
                lambda rows: launch_blend_adjoint(
                    skinning.influences,
                    skinning.transposed,
                    points=_rows(rest, rows),
                    columns=turned[rows],
                    gradients=given[rows],
                    points_out=None if points_out is None else points_out[rows],
                    columns_out=out[rows],
                ),
            )
        if of_points is not None and len(points) != batch:
            of_points = of_points.sum(dim=0, keepdim=True)
        return of_points, of_columns, None
