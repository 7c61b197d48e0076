"""Meshes that come in: other topologies, missing vertices, and distances from what was found."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.identity import device_array
from soma_isaac.body.soma import SomaBody
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.inversion_start import distances_kernel, finite_kernel, origins_kernel

_SAMPLES = 64
_RUN = 512


class TargetReader:
    """Brings meshes to the topology and the device of a body."""

    def __init__(self, body: SomaBody, transfer: TopologyTransfer | None) -> None:
        """Hold the ways from other topologies.

        Raises:
            InputRejected: The transfer leads to another mesh.
        """
        self._body = body
        self._count = body.vertex_count
        if transfer is not None and len(transfer.faces) != self._count:
            raise InputRejected(
                f"the transfer leads to {len(transfer.faces)} vertices, the {body.lod} mesh has {self._count}"
            )
        self._transfer = transfer
        mid = body.rig.mesh("mid").points
        nested = body.lod != "mid" and np.array_equal(mid[: self._count], body.rig.mesh(body.lod).points)
        self._mid_count = len(mid) if nested else -1
        samples = np.linspace(0, self._count - 1, min(_SAMPLES, self._count)).astype(np.int32)
        self._samples = device_array(samples, wp.int32, body.device)

    def read(self, vertices: ArrayLike | wp.array) -> tuple[wp.array, np.ndarray | None]:
        """Targets [B, V] vec3 on the device, and which are missing [B, V], or ``None`` where all are there.

        Missing ones come back as zeros.

        Raises:
            InputRejected: The shape is none that is accepted.
        """
        if isinstance(vertices, wp.array):
            array: wp.array = vertices
            if array.dtype is not wp.vec3:
                raise InputRejected(f"vertices is a Warp array of {array.dtype}, expected vec3")
            known = array.ndim == 2 and array.shape[1] in (self._count, self._mid_count)
            if known and array.device == self._body.device:
                targets = array[:, : self._count] if array.size else array
                return self._filled(targets)
        values = np.asarray(vertices.numpy() if isinstance(vertices, wp.array) else vertices, dtype=np.float32)
        accepted = [self._count, *([self._mid_count] if self._mid_count > 0 else [])]
        if self._transfer is not None:
            accepted.append(self._transfer.source_count)
        if values.ndim != 3 or values.shape[2] != 3 or values.shape[1] not in accepted:
            counts = " or ".join(str(count) for count in accepted)
            raise InputRejected(f"vertices has shape {values.shape}, expected (B, {counts}, 3)")
        if values.shape[1] not in accepted[: 2 if self._mid_count > 0 else 1] and self._transfer is not None:
            values = self._transfer.apply(values)
        targets = self.device_points(values)
        if targets.shape[0]:
            targets = targets[:, : self._count]
        return self._filled(targets)

    def device_points(self, values: np.ndarray) -> wp.array:
        """Points [B, V', 3] as a Warp array [B, V'] of vec3; on a CPU float32 memory is shared."""
        values = np.ascontiguousarray(values, dtype=np.float32)
        device = self._body.device
        if not values.size:
            return wp.empty(values.shape[:2], dtype=wp.vec3, device=device)
        flat = wp.array(values.reshape(-1, 3), dtype=wp.vec3, device=device, copy=not device.is_cpu)
        return flat.reshape(values.shape[:2])

    def _filled(self, targets: wp.array) -> tuple[wp.array, np.ndarray | None]:
        if not targets.size:
            return targets, None
        parts = (targets.shape[0], -(-self._count // _RUN))
        finite = wp.empty(parts, dtype=wp.int32, device=self._body.device)
        wp.launch(finite_kernel, dim=parts, inputs=[targets, _RUN], outputs=[finite], device=self._body.device)
        if finite.numpy().all():
            return targets, None
        values = targets.numpy()
        missing = ~np.isfinite(values).all(axis=-1)
        return self.device_points(np.where(missing[..., None], 0.0, values)), missing

    def origins(self, targets: wp.array, missing: np.ndarray | None) -> wp.array:
        """A point [B] vec3 near each frame's body."""
        device, frames = self._body.device, targets.shape[0]
        if missing is not None:
            values = targets.numpy().sum(axis=1, dtype=np.float64)
            return device_array(values / np.maximum((~missing).sum(axis=1), 1)[:, None], wp.vec3, device)
        origins = wp.empty(frames, dtype=wp.vec3, device=device)
        wp.launch(origins_kernel, dim=frames, inputs=[self._samples, targets], outputs=[origins], device=device)
        return origins

    def distances(self, points: wp.array, targets: wp.array) -> np.ndarray:
        """Distances [B, V] m between points and targets [B, V] vec3."""
        frames = points.shape[0]
        distances = wp.empty((frames, self._count), dtype=wp.float32, device=self._body.device)
        wp.launch(
            distances_kernel,
            dim=(frames, -(-self._count // _RUN)),
            inputs=[points, targets, _RUN],
            outputs=[distances],
            device=self._body.device,
        )
        return distances.numpy()
