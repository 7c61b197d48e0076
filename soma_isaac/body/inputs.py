"""Checks of what bodies are made and posed with."""

from __future__ import annotations

import os

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.identity import device_array
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.normals import VertexTriangles
from soma_isaac.rig.rig import SkinnedMesh


def warp_device(name: str) -> wp.Device:
    """A Warp device by name.

    Raises:
        InputRejected: Warp does not know it.
    """
    try:
        return wp.get_device(name)
    except (ValueError, RuntimeError) as error:
        known = ", ".join(device.alias for device in wp.get_devices())
        raise InputRejected(f"Warp has no device {name!r}; there are {known}") from error


def vertex_triangles(mesh: SkinnedMesh, device: wp.Device) -> VertexTriangles:
    """A mesh's triangles and the triangles around each vertex, on a device."""
    corners = mesh.triangles.reshape(-1)
    order = np.argsort(corners, kind="stable")
    offsets = np.searchsorted(corners[order], np.arange(mesh.vertex_count + 1))
    return VertexTriangles(
        triangles=device_array(mesh.triangles, wp.int32, device),
        offsets=device_array(offsets, wp.int32, device),
        incident=device_array(order // 3, wp.int32, device),
    )


def thread_count(threads: int | None) -> int:
    """CPU threads: as given, else ``OMP_NUM_THREADS``, else the cores that this process may use.

    Raises:
        InputRejected: It is below 1.
    """
    if threads is None:
        declared = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        threads = int(declared) if declared.isdigit() else cores
    if threads < 1:
        raise InputRejected(f"threads must be at least 1, not {threads}")
    return threads


def checked_translations(transl: ArrayLike | wp.array | None, batch: int) -> np.ndarray | wp.array:
    """Hips positions [B, 3] or [1, 3]; the origin for ``None``. A Warp array is not checked for NaN.

    Raises:
        InputRejected: The shape does not fit or a value is not finite.
    """
    if transl is None:
        return np.zeros((1, 3), dtype=np.float32)
    if isinstance(transl, wp.array):
        if transl.dtype is not wp.vec3 or tuple(transl.shape) != (batch,):
            raise InputRejected(f"transl is a Warp array of shape {transl.shape}, expected ({batch},) of vec3")
        return transl
    translations = np.asarray(transl, dtype=np.float32)
    if translations.shape not in ((batch, 3), (1, 3)):
        raise InputRejected(f"transl has shape {translations.shape}, expected ({batch}, 3) or (1, 3)")
    _check_finite("transl", translations)
    return translations


def _check_finite(name: str, values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
        raise InputRejected(f"{name} is not finite at index {index}")


def checked_poses(poses: ArrayLike | wp.array, joint_count: int) -> tuple[np.ndarray | wp.array, int, bool]:
    """The poses, their number, and whether they are matrices."""
    if isinstance(poses, wp.array):
        if poses.dtype not in (wp.vec3, wp.mat33) or poses.ndim != 2 or poses.shape[1] != joint_count:
            raise InputRejected(
                f"poses is a Warp array of shape {poses.shape} and dtype {poses.dtype}, "
                f"expected (B, {joint_count}) of vec3 or mat33"
            )
        return poses, poses.shape[0], poses.dtype is wp.mat33
    rotations = np.asarray(poses, dtype=np.float32)
    if rotations.ndim < 2 or rotations.shape[1:] not in ((joint_count, 3), (joint_count, 3, 3)):
        raise InputRejected(
            f"poses has shape {rotations.shape}, expected (B, {joint_count}, 3) rotation vectors "
            f"or (B, {joint_count}, 3, 3) matrices"
        )
    _check_finite("poses", rotations)
    return rotations, len(rotations), rotations.ndim == 4
