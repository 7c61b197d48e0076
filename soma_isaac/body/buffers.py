"""Memory and recorded launches for posing one identity at one batch size; work is shared out over CPU threads."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from soma_isaac.body.identity import IdentityArrays
from soma_isaac.kernels.fk import launch_fk
from soma_isaac.kernels.lbs import Influences, launch_blend, launch_skin_matrices
from soma_isaac.kernels.twist import launch_helpers, launch_twist_channels

# Costs are counted in blended vertices: kinematics and skin matrices of one body take as long as about 2000 of them.
_BODY_COST = 2_000
_PART_COST = 320_000
_SPLIT_COST = 200_000


class RigArrays(NamedTuple):
    """Device arrays that every identity of a rig shares.

    Attributes:
        parents: [P] int32.
        relative_orientations: [P] mat33, T-pose world rotations.
        absolute_orientations: [P] mat33, identities.
        influences: Joints that move each vertex.
    """

    parents: wp.array
    relative_orientations: wp.array
    absolute_orientations: wp.array
    influences: Influences


@dataclass(frozen=True, eq=False)
class BodyPose:
    """Posed bodies as Warp arrays on the body's device; ``.numpy()`` gives the shapes in parentheses.

    Attributes:
        vertices: [B, V] vec3 (B, V, 3), m.
        joints: [B, P - 1] vec3 (B, 77, 3), m, public joints without the dummy root.
        transforms: [B, P] mat44 (B, 78, 4, 4), m, world transforms of the public joints.
    """

    vertices: wp.array
    joints: wp.array
    transforms: wp.array


class _Part:
    """Recorded launches over some rows of the batch."""

    def __init__(self, rig: RigArrays, identity: IdentityArrays, scratch: dict[str, wp.array], absolute: bool) -> None:
        self._rig = rig
        self._identity = identity
        self._scratch = scratch
        self._absolute = absolute
        self._launches: list[tuple[Any, tuple[str, ...]]] = []

    def bind(self, out: BodyPose) -> None:
        """Point the launches at output arrays, recording them the first time."""
        if not self._launches:
            self._launches = self._record(out)
            return
        for launch, arguments in self._launches:
            for argument in arguments:
                launch.set_param_by_name(argument, getattr(out, argument.removesuffix("_out")))

    def _record(self, out: BodyPose) -> list[tuple[Any, tuple[str, ...]]]:
        """The launches in order, each with those of its arguments that are arrays of ``out``."""
        rig, identity, scratch = self._rig, self._identity, self._scratch
        fk = launch_fk(
            parents=rig.parents,
            orientations=rig.absolute_orientations if self._absolute else rig.relative_orientations,
            offsets=identity.absolute_offsets if self._absolute else identity.relative_offsets,
            rotations=scratch["rotations"],
            translations=scratch["translations"],
            turns_out=scratch["turns"],
            transforms_out=out.transforms,
            joints_out=out.joints,
            record=True,
        )
        launches = [(fk, ("transforms_out", "joints_out"))]
        if identity.channels is not None and identity.helpers is not None:
            angles, helpers = scratch["angles"], scratch["helpers"]
            twist = launch_twist_channels(identity.channels, transforms=out.transforms, angles_out=angles, record=True)
            emission = launch_helpers(
                identity.helpers, transforms=out.transforms, angles=angles, helpers_out=helpers, record=True
            )
            launches += [(twist, ("transforms",)), (emission, ("transforms",))]
        skin = launch_skin_matrices(
            inverse_binds=identity.inverse_binds,
            transforms=out.transforms,
            helpers=scratch["helpers"],
            columns_out=scratch["columns"],
            record=True,
        )
        blend = launch_blend(
            rig.influences,
            points=identity.points,
            columns=scratch["columns"],
            vertices_out=out.vertices,
            record=True,
        )
        return [*launches, (skin, ("transforms",)), (blend, ("vertices_out",))]

    def run(self) -> None:
        """Run the launches in order."""
        for launch, _ in self._launches:
            launch.launch()


class PoseBuffers:
    """Inputs, scratch memory and launches for ``batch`` poses of one prepared identity (or of ``batch`` identities).

    Recorded launches skip Warp's argument checks, so a call costs microseconds beside the kernels. On a GPU the whole
    chain is captured as a CUDA graph as soon as two calls in a row write to the same outputs.
    """

    def __init__(
        self,
        rig: RigArrays,
        identity: IdentityArrays,
        *,
        batch: int,
        pose_rows: int,
        matrices: bool,
        absolute: bool,
        threads: int,
    ) -> None:
        self.device: wp.Device = identity.points.device
        self.batch = batch
        self._threads = threads
        public, skinned = len(rig.parents), identity.inverse_binds.shape[1]
        channel_count = 0 if identity.channels is None else len(identity.channels.joints)
        shapes: dict[str, tuple[tuple[int, int] | int, Any]] = {
            "rotations": ((pose_rows, public - 1), wp.mat33 if matrices else wp.vec3),
            "translations": (batch, wp.vec3),
            "turns": ((batch, public), wp.mat33),
            "angles": ((batch, channel_count), wp.float32),
            "helpers": ((batch, skinned - public), wp.mat44),
            "columns": ((batch, skinned), wp.mat44),
        }
        self._scratch = {
            name: wp.empty(shape, dtype=dtype, device=self.device) for name, (shape, dtype) in shapes.items()
        }
        self._bounds = self._split(identity.points.shape[1])
        self._parts = [
            _Part(
                rig,
                _rows_of(identity, begin, end),
                {name: _rows(array, begin, end) for name, array in self._scratch.items()},
                absolute,
            )
            for begin, end in self._bounds
        ]
        self._out: BodyPose | None = None
        self._settled = False
        self._graph: Any = None

    def _split(self, vertex_count: int) -> list[tuple[int, int]]:
        """Row ranges: one on a GPU and for little work, otherwise equal parts of below a millisecond."""
        cost = self.batch * (vertex_count + _BODY_COST)
        if self.device.is_cuda or cost < _SPLIT_COST:
            return [(0, self.batch)]
        count = min(self.batch, self._threads * math.ceil(cost / (_PART_COST * self._threads)))
        edges = np.linspace(0, self.batch, count + 1).round().astype(int).tolist()
        return list(zip(edges[:-1], edges[1:], strict=True))

    def bind(self, out: BodyPose) -> None:
        """Write the next poses to ``out``."""
        self._settled = out is self._out
        if self._settled:
            return
        self._out, self._graph = out, None
        for part, (begin, end) in zip(self._parts, self._bounds, strict=True):
            part.bind(BodyPose(*(_rows(array, begin, end) for array in (out.vertices, out.joints, out.transforms))))

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
        elif min(self._threads, len(self._parts)) < 2:
            for part in self._parts:
                part.run()
        else:
            self._run_threads()

    def _run_threads(self) -> None:
        pending = iter(self._parts)
        helpers = min(self._threads, len(self._parts)) - 1
        pool = _thread_pool(helpers, os.getpid())
        futures = [pool.submit(_drain, pending) for _ in range(helpers)]
        _drain(pending)
        for future in futures:
            future.result()


@functools.lru_cache(maxsize=4)
def _thread_pool(size: int, process: int) -> ThreadPoolExecutor:
    """Threads that wait for parts; a forked child does not have its parent's threads, hence the process id."""
    return ThreadPoolExecutor(max_workers=size, thread_name_prefix=f"soma-body-{process}")


def _drain(pending: Iterator[_Part]) -> None:
    """Run parts until none is left; taking the next one from a list iterator is atomic."""
    for part in pending:
        part.run()


def _rows(array: wp.array, begin: int, end: int) -> wp.array:
    """Rows of a batch array; a single row is shared by the whole batch."""
    return array if array.shape[0] in (1, end - begin) else array[begin:end]


def _rows_of(identity: IdentityArrays, begin: int, end: int) -> IdentityArrays:
    """The identities of some rows of the batch; joint tables stay whole."""
    if identity.points.shape[0] == 1:
        return identity
    tables = identity._asdict()
    for name in ("points", "relative_offsets", "absolute_offsets", "inverse_binds"):
        tables[name] = _rows(tables[name], begin, end)
    if identity.channels is not None and identity.helpers is not None:
        channels, helpers = identity.channels, identity.helpers
        tables["channels"] = channels._replace(
            left=_rows(channels.left, begin, end), right=_rows(channels.right, begin, end)
        )
        tables["helpers"] = helpers._replace(
            bind_rotations=_rows(helpers.bind_rotations, begin, end),
            bind_offsets=_rows(helpers.bind_offsets, begin, end),
        )
    return IdentityArrays(**tables)
