"""Memory for posing one identity at one batch size; work is shared out over CPU threads."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import warp as wp

from soma_isaac.body.identity import IdentityArrays, empty_array
from soma_isaac.body.launches import BodyPose, PartLaunches, PoseKind, RigArrays, identity_rows, rows
from soma_isaac.kernels.correctives import CPU_LANES

# Costs are counted in blended vertices: kinematics and skin matrices of one body take as long as about 2000 of them.
_BODY_COST = 2_000
_PART_COST = 320_000
_SPLIT_COST = 200_000


class PoseBuffers:
    """Inputs, scratch memory and launches for ``batch`` poses of one prepared identity (or of ``batch`` identities).

    Recorded launches skip Warp's argument checks, so a call costs microseconds beside the kernels. On a GPU the whole
    chain is captured as a CUDA graph as soon as two calls in a row write to the same outputs.

    Vertices of bodies that are 0 in ``active`` [B], where it is given, stay as they are; their joints are computed.
    """

    def __init__(
        self,
        rig: RigArrays,
        identity: IdentityArrays,
        kind: PoseKind,
        *,
        threads: int,
        active: wp.array | None = None,
    ) -> None:
        self.device: wp.Device = identity.points.device
        self.batch = batch = kind.batch
        self._threads = threads
        public, skinned = len(rig.parents), identity.inverse_binds.shape[1]
        shapes: dict[str, tuple[tuple[int, int] | int, Any]] = {
            "rotations": ((kind.pose_rows, public - 1), wp.mat33 if kind.matrices else wp.vec3),
            "translations": (batch, wp.vec3),
            "turns": ((batch, public), wp.mat33),
        }
        if kind.skinned:
            channel_count = 0 if identity.channels is None else len(identity.channels.joints)
            shapes["angles"] = ((batch, channel_count), wp.float32)
            shapes["helpers"] = ((batch, skinned - public), wp.mat44)
            shapes["columns"] = ((batch, skinned), wp.mat44)
        self._scratch = {
            name: wp.empty(shape, dtype=dtype, device=self.device) for name, (shape, dtype) in shapes.items()
        }
        vertex_count = identity.points.shape[1]
        if kind.corrected:
            self._scratch["points"] = empty_array((batch, vertex_count), wp.vec3, self.device)
        self._bounds = self._split(vertex_count if kind.skinned else 0, kind.corrected)
        self._parts = [
            PartLaunches(
                rig,
                identity_rows(identity, begin, end),
                {name: rows(array, begin, end) for name, array in self._scratch.items()},
                kind,
                None if active is None else active[begin:end],
            )
            for begin, end in self._bounds
        ]
        self._out: BodyPose | None = None
        self._settled = False
        self._graph: Any = None

    def _split(self, vertex_count: int, corrected: bool) -> list[tuple[int, int]]:
        """Row ranges: one on a GPU and for little work, otherwise equal parts of below a millisecond.

        Correctives are evaluated for a full tile of bodies at a time, so that they are split by tiles.
        """
        if self.device.is_cpu and corrected:
            edges = [*range(0, self.batch, CPU_LANES), self.batch]
            return list(zip(edges[:-1], edges[1:], strict=True))
        cost = self.batch * (vertex_count + _BODY_COST)
        if self.device.is_cuda or cost < _SPLIT_COST:
            return [(0, self.batch)]
        count = min(self.batch, self._threads * math.ceil(cost / (_PART_COST * self._threads)))
        edges = np.linspace(0, self.batch, count + 1).round().astype(int).tolist()
        return list(zip(edges[:-1], edges[1:], strict=True))

    @property
    def inputs(self) -> tuple[wp.array, wp.array]:
        """Rotations [rows, P - 1] and hips positions [B] on the device, for kernels that write poses in place."""
        return self._scratch["rotations"], self._scratch["translations"]

    @property
    def helpers(self) -> wp.array:
        """World transforms [B, H] mat44 of the twist helpers of the last poses, m."""
        return self._scratch["helpers"]

    def bind(self, out: BodyPose) -> None:
        """Write the next poses to ``out``."""
        self._settled = out is self._out
        if self._settled:
            return
        self._out, self._graph = out, None
        for part, (begin, end) in zip(self._parts, self._bounds, strict=True):
            part.bind(BodyPose(*(rows(array, begin, end) for array in (out.vertices, out.joints, out.transforms))))

    def load(self, rotations: np.ndarray | wp.array, translations: np.ndarray | wp.array) -> None:
        """Copy a pose batch to the device.

        Args:
            rotations: [rows, P - 1, 3] or [rows, P - 1, 3, 3], or a Warp array of vec3 or mat33.
            translations: [1 or B, 3] m, or a Warp array [B] of vec3.
        """
        for name, values in (("rotations", rotations), ("translations", translations)):
            target = self._scratch[name]
            if isinstance(values, wp.array):
                wp.copy(target, values)
            elif self.device.is_cpu:
                np.copyto(target.numpy(), values, casting="same_kind")
            else:
                shape = (*target.shape, *values.shape[target.ndim :])
                target.assign(np.ascontiguousarray(np.broadcast_to(values, shape), dtype=np.float32))

    def run(self) -> None:
        """Pose what was loaded into what was bound; a GPU's work is queued when this returns."""
        if self._graph is not None:
            wp.capture_launch(self._graph)
        elif self.device.is_cuda and self._settled:
            with wp.ScopedCapture(device=self.device) as capture:
                self._parts[0].run()
            self._graph = capture.graph
            wp.capture_launch(self._graph)
        else:
            self.launch()

    def launch(self) -> None:
        """Pose without a graph of its own, as for a caller that captures this among other kernels."""
        if min(self._threads, len(self._parts)) < 2:
            for part in self._parts:
                part.run()
        else:
            run_parallel([part.run for part in self._parts], self._threads)


def run_parallel(tasks: list[Any], threads: int) -> None:
    """Run callables on some threads of a shared pool and on this one; Warp's launches release the interpreter lock."""
    pending = iter(tasks)
    helpers = min(threads, len(tasks)) - 1
    futures = []
    if helpers > 0:
        pool = _thread_pool(helpers, os.getpid())
        futures = [pool.submit(_drain, pending) for _ in range(helpers)]
    _drain(pending)
    for future in futures:
        future.result()


@functools.lru_cache(maxsize=4)
def _thread_pool(size: int, process: int) -> ThreadPoolExecutor:
    """Threads that wait for parts; a forked child does not have its parent's threads, hence the process id."""
    return ThreadPoolExecutor(max_workers=size, thread_name_prefix=f"soma-body-{process}")


def _drain(pending: Iterator[Any]) -> None:
    """Run tasks until none is left; taking the next one from a list iterator is atomic."""
    for task in pending:
        task()
