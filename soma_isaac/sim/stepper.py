"""Bodies that move with a simulation's clock: one call per step poses all of them into arrays that never move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body import BodyPose, PreparedIdentity, SomaBody
from soma_isaac.body.buffers import PoseBuffers
from soma_isaac.body.identity import device_array, empty_array
from soma_isaac.body.soma import vertex_triangles
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.clip_sampling import (
    HOLD,
    LOOP,
    ClockArrays,
    launch_advance,
    launch_reset,
    launch_sample_clips,
)
from soma_isaac.kernels.normals import VertexTriangles, launch_normals
from soma_isaac.kernels.proxies import launch_pose_proxies
from soma_isaac.sim.clips import ClipLibrary
from soma_isaac.sim.placement import hips_heights, placement_rows
from soma_isaac.sim.proxies import LimbCapsules, limb_capsules


@dataclass(frozen=True, eq=False)
class BodyGroup:
    """Bodies of one level of detail.

    Attributes:
        body: The rig at that level, on the clips' device.
        identity: One body for all, or one per member.
        count: Number of members; by default as many as identities.
    """

    body: SomaBody
    identity: PreparedIdentity
    count: int | None = None

    @property
    def size(self) -> int:
        """Number of members."""
        return self.identity.count if self.count is None else self.count


@dataclass(frozen=True, eq=False)
class PosedGroup:
    """One group's arrays, allocated once and written by every step.

    Attributes:
        rows: [N] int32, which of the stepper's bodies these are.
        body: The rig at this level of detail.
        identity: Whose skin it is.
        pose: ``vertices`` [N, V], ``joints`` [N, 77] and ``transforms`` [N, 78], in the world, m.
        helpers: [N, H] mat44, twist helpers.
        normals: [N, V] vec3, or ``None``.
        capsules: Shapes of the collision proxies, or ``None``.
        proxies: [N, K] transform, world poses of the capsules, or ``None``.
    """

    rows: np.ndarray
    body: SomaBody
    identity: PreparedIdentity
    pose: BodyPose
    helpers: wp.array
    normals: wp.array | None
    capsules: LimbCapsules | None
    proxies: wp.array | None


@dataclass(frozen=True, eq=False)
class _Chain:
    """What a step launches for one group."""

    posed: PosedGroup
    buffers: PoseBuffers
    bodies: wp.array
    posing: wp.array
    triangles: VertexTriangles | None
    areas: wp.array | None
    proxy_joints: wp.array | None
    proxy_offsets: wp.array | None
    inputs: tuple[wp.array, wp.array] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", self.buffers.inputs)


class BodyStepper:
    """B bodies with their own identity, clip, phase, speed and place, stepped together.

    Example::

        stepper = BodyStepper(ClipLibrary([walk, wave]), [BodyGroup(body, identity, 4)], clips=[0, 0, 1, 1])
        stepper.reset()
        stepper.step(0.02)
        vertices = stepper.groups[0].pose.vertices  # wp.array (4, V) of vec3, the same one after every step

    A step allocates no device memory and copies nothing between host and device. On a GPU the third step with the same
    groups replays a CUDA graph. Bodies are numbered group by group.
    """

    def __init__(
        self,
        clips: ClipLibrary,
        groups: Sequence[BodyGroup],
        *,
        playing: ArrayLike | None = None,
        phases: ArrayLike = 0.0,
        speeds: ArrayLike = 1.0,
        loop: ArrayLike = True,
        placements: ArrayLike | None = None,
        fit_stride: bool = True,
        normals: bool = True,
        proxies: bool = False,
    ) -> None:
        """Allocate everything that steps need, and pose all bodies at their phases.

        Args:
            clips: What can be played.
            groups: Bodies by level of detail, on the clips' device.
            playing: [B] clip of each body; by default the clips in turn.
            phases: [B] or one number, s: where a body is in its clip after a reset.
            speeds: [B] or one number; 1 is the clip's own pace, negative runs backwards.
            loop: [B] or one flag: start again after the last frame, or hold it.
            placements: [B, 4, 4] or [4, 4] rigid transforms from the clips' world (Y up) to the simulation's; the
                identity by default. See :data:`soma_isaac.sim.placement.Z_UP_FROM_Y_UP`.
            fit_stride: Scale a clip's path by the height of the body's hips over that of the person it was made for,
                so that feet stay on the floor; otherwise the path is taken as it is.
            normals: Compute vertex normals.
            proxies: Fit and pose collision capsules.

        Raises:
            InputRejected: A shape does not fit, a value is not finite, a clip does not exist, or devices differ.
            RigMismatch: Capsules do not fit the rig.
        """
        if not groups or any(group.size < 1 for group in groups):
            raise InputRejected("a stepper needs at least one group of at least one body")
        if any(group.body.device != clips.device for group in groups):
            raise InputRejected(f"the clips are on {clips.device}; a group's body is on another device")
        self.clips = clips
        self.device = clips.device
        self.count = count = sum(group.size for group in groups)
        self._clocks = ClockArrays(
            clips=wp.zeros(count, dtype=wp.int32, device=self.device),
            phases=wp.zeros(count, dtype=wp.float64, device=self.device),
            speeds=wp.ones(count, dtype=wp.float64, device=self.device),
            ends=wp.full(count, LOOP, dtype=wp.int32, device=self.device),
            times=wp.zeros(count, dtype=wp.float64, device=self.device),
            active=wp.ones(count, dtype=wp.int32, device=self.device),
            stale=wp.ones(count, dtype=wp.int32, device=self.device),
            posing=wp.ones(count, dtype=wp.int32, device=self.device),
        )
        self._placements = wp.zeros(count, dtype=wp.transform, device=self.device)
        legs = np.concatenate([np.broadcast_to(hips_heights(g.body, g.identity), g.size) for g in groups])
        self._legs = device_array(legs if fit_stride else np.zeros(count), wp.float32, self.device)
        self._mask = wp.ones(count, dtype=wp.int32, device=self.device)
        self._dt = wp.zeros(1, dtype=wp.float64, device=self.device)
        self._dt_value = 0.0
        self._all_active = True
        edges = np.cumsum([0, *(group.size for group in groups)])
        self._chains = [
            _chain(group, np.arange(begin, end, dtype=np.int32), self._clocks.posing[begin:end], normals, proxies)
            for group, begin, end in zip(groups, edges[:-1], edges[1:], strict=True)
        ]
        self.groups = tuple(chain.posed for chain in self._chains)
        self._steps = 0
        self._graph: Any = None
        self.assign(
            playing=np.arange(count) % len(clips) if playing is None else playing,
            phases=phases,
            speeds=speeds,
            loop=loop,
            placements=np.eye(4) if placements is None else placements,
        )
        self.reset()
        self._launch()

    @property
    def times(self) -> wp.array:
        """[B] float64, s: where each body is in its clip."""
        return self._clocks.times

    @property
    def playing(self) -> wp.array:
        """[B] int32: which clip each body plays."""
        return self._clocks.clips

    def assign(
        self,
        ids: ArrayLike | None = None,
        *,
        playing: ArrayLike | None = None,
        phases: ArrayLike | None = None,
        speeds: ArrayLike | None = None,
        loop: ArrayLike | None = None,
        placements: ArrayLike | None = None,
    ) -> None:
        """Change what some bodies play, and where; this copies to the device, so it is not for every step.

        A new clip starts with the next :meth:`reset`; until then it goes on at the old one's time.

        Args:
            ids: [N] bodies; all by default.
            playing: [N] or one clip.
            phases: [N] or one time, s.
            speeds: [N] or one factor.
            loop: [N] or one flag.
            placements: [N, 4, 4] or [4, 4].

        Raises:
            InputRejected: A shape does not fit, a value is not finite, or a body or clip does not exist.
        """
        rows = self._rows(ids)
        if playing is not None:
            chosen = np.asarray(playing)
            if chosen.dtype.kind != "i" or (chosen < 0).any() or (chosen >= len(self.clips)).any():
                raise InputRejected(f"clips are numbered 0 to {len(self.clips) - 1}, not {playing!r}")
            _put(self._clocks.clips, rows, chosen)
        for name, target, values in (("phases", self._clocks.phases, phases), ("speeds", self._clocks.speeds, speeds)):
            if values is not None:
                numbers = np.asarray(values, dtype=np.float64)
                if not np.isfinite(numbers).all():
                    raise InputRejected(f"{name} are not finite")
                _put(target, rows, numbers)
        if loop is not None:
            _put(self._clocks.ends, rows, np.where(np.asarray(loop, dtype=bool), LOOP, HOLD))
        if placements is not None:
            _put(self._placements, rows, placement_rows(placements))
        _put(self._clocks.stale, rows, np.ones(1, np.int32))

    def reset(self, ids: ArrayLike | wp.array | None = None) -> None:
        """Set clocks back to their phases; the next step moves on from there.

        Args:
            ids: [N] bodies, or a Warp array [B] of int32 that is not 0 for those to reset; all by default.

        Raises:
            InputRejected: A body does not exist.
        """
        self._set_mask(self._mask, ids)
        launch_reset(self._clocks, mask=self._mask)

    def step(self, dt: float, ids: ArrayLike | wp.array | None = None) -> None:
        """Move the clocks and pose the bodies; on a GPU the work is queued when this returns.

        Args:
            dt: s; 0 poses again after a reset.
            ids: Whose clocks move: [N] bodies, or a Warp array [B] of int32 that is not 0 for those (this copies
                nothing from the host); all by default. The others keep their time, and their vertices and normals are
                not computed again unless they were reset or assigned something since.

        Raises:
            InputRejected: ``dt`` is not finite, or a body does not exist.
        """
        if not np.isfinite(dt):
            raise InputRejected(f"dt is {dt!r}")
        if dt != self._dt_value:
            self._dt.fill_(dt)
            self._dt_value = dt
        if ids is not None or not self._all_active:
            self._set_mask(self._clocks.active, ids)
            self._all_active = ids is None
        self._steps += 1
        if self._graph is not None:
            wp.capture_launch(self._graph)
        elif self.device.is_cuda and self._steps > 1:
            with wp.ScopedCapture(device=self.device) as capture:
                self._advance_and_launch()
            self._graph = capture.graph
            wp.capture_launch(self._graph)
        else:
            self._advance_and_launch()

    def _advance_and_launch(self) -> None:
        launch_advance(self.clips.arrays, self._clocks, dt=self._dt)
        self._launch()

    def _launch(self) -> None:
        for chain in self._chains:
            posed, (rotations, translations) = chain.posed, chain.inputs
            launch_sample_clips(
                self.clips.arrays,
                self._clocks,
                bodies=chain.bodies,
                placements=self._placements,
                legs=self._legs,
                rotations_out=rotations,
                translations_out=translations,
            )
            chain.buffers.launch()
            if chain.triangles is not None and chain.areas is not None and posed.normals is not None:
                launch_normals(
                    chain.triangles,
                    vertices=posed.pose.vertices,
                    areas_out=chain.areas,
                    normals_out=posed.normals,
                    active=chain.posing,
                )
            if posed.proxies is not None and chain.proxy_joints is not None and chain.proxy_offsets is not None:
                launch_pose_proxies(
                    joints=chain.proxy_joints,
                    offsets=chain.proxy_offsets,
                    transforms=posed.pose.transforms,
                    poses_out=posed.proxies,
                )

    def _rows(self, ids: ArrayLike | None) -> np.ndarray:
        if ids is None:
            return np.arange(self.count)
        rows = np.atleast_1d(np.asarray(ids))
        if rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= self.count):
            raise InputRejected(f"bodies are numbered 0 to {self.count - 1}, not {ids!r}")
        return rows.astype(np.int64)

    def _set_mask(self, mask: wp.array, ids: ArrayLike | wp.array | None) -> None:
        if ids is None:
            mask.fill_(1)
        elif isinstance(ids, wp.array):
            if ids.dtype is not wp.int32 or tuple(ids.shape) != (self.count,):
                raise InputRejected(f"a mask is a Warp array [{self.count}] of int32, not {ids.shape} of {ids.dtype}")
            wp.copy(mask, ids)
        else:
            chosen = np.zeros(self.count, dtype=np.int32)
            chosen[self._rows(ids)] = 1
            mask.assign(chosen)


def _chain(group: BodyGroup, rows: np.ndarray, posing: wp.array, normals: bool, proxies: bool) -> _Chain:
    """Memory and tables of one group."""
    body, identity, device = group.body, group.identity, group.body.device
    count = len(rows)
    pose = body.allocate(count)
    buffers = body.pose_buffers(identity, pose, active=posing)
    triangles = areas = capsules = joints = offsets = None
    if normals:
        triangles = vertex_triangles(body.rig.mesh(body.lod), device)
        areas = empty_array((0 if device.is_cpu else count, triangles.triangles.shape[0]), wp.vec3, device)
    if proxies:
        capsules = limb_capsules(body, identity)
        joints = device_array(capsules.joints, wp.int32, device)
        offsets = device_array(capsules.offsets, wp.transform, device)
    posed = PosedGroup(
        rows=rows,
        body=body,
        identity=identity,
        pose=pose,
        helpers=buffers.helpers,
        normals=empty_array((count, body.vertex_count), wp.vec3, device) if normals else None,
        capsules=capsules,
        proxies=None if capsules is None else wp.zeros((count, len(capsules.names)), dtype=wp.transform, device=device),
    )
    return _Chain(posed, buffers, device_array(rows, wp.int32, device), posing, triangles, areas, joints, offsets)


def _put(target: wp.array, rows: np.ndarray, values: np.ndarray) -> None:
    """Write some rows of a device array."""
    table = target.numpy().copy()
    lead = values.shape[: values.ndim - (table.ndim - 1)]
    if lead not in ((), (1,), (len(rows),)):
        raise InputRejected(f"{lead[0] if lead else 0} values do not fit {len(rows)} bodies")
    table[rows] = values
    target.assign(table)
