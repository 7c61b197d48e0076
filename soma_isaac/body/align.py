"""Best rotations between sets of vectors, with the degenerate cases settled as SOMA-X settles them."""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.errors import InputRejected
from soma_isaac.kernels.align import AUTO, KABSCH, NEWTON_SCHULZ, launch_align
from soma_isaac.math.so3 import shortest_arc

ALIGN_METHODS = {"auto": AUTO, "kabsch": KABSCH, "newton-schulz": NEWTON_SCHULZ}


def align_method(name: str) -> int:
    """The kernels' number of an alignment method.

    Raises:
        InputRejected: There is no such method.
    """
    if name not in ALIGN_METHODS:
        raise InputRejected(f"no alignment method {name!r}; there are {', '.join(ALIGN_METHODS)}")
    return ALIGN_METHODS[name]


def rotations_from_covariances(covariances: ArrayLike, method: str = "auto") -> np.ndarray:
    """Rotations [..., 3, 3] that take vectors ``b`` closest to ``a``, from ``H = sum a b^T`` [..., 3, 3].

    Raises:
        InputRejected: The method is unknown, the shape is another or a value is not finite.
    """
    values = np.ascontiguousarray(covariances, dtype=np.float64)
    if values.shape[-2:] != (3, 3):
        raise InputRejected(f"covariances have shape {values.shape}, expected (..., 3, 3)")
    if not np.isfinite(values).all():
        raise InputRejected("covariances are not finite")
    rotations = np.empty_like(values).reshape(-1, 3, 3)
    launch_align(
        covariances=wp.array(values.reshape(-1, 3, 3), dtype=wp.mat33d, device="cpu", copy=False),
        method=align_method(method),
        rotations_out=wp.array(rotations, dtype=wp.mat33d, device="cpu", copy=False),
    )
    return rotations.reshape(values.shape)


def align(target: ArrayLike, source: ArrayLike, method: str = "auto") -> np.ndarray:
    """Rotations ``R`` with ``R source`` closest to ``target``.

    The normals of the first two vectors join the sets (as long as the first), so that two vectors are enough. One
    vector is turned by the shortest arc.

    Args:
        target: [..., N, 3].
        source: [..., N, 3]; leading dimensions broadcast.
        method: ``auto`` leans (nearly) flat sets towards the identity; ``kabsch`` does not; ``newton-schulz`` treats
            reflections as SOMA-X before 0.3 did.

    Returns:
        [..., 3, 3]; identities for N = 0.

    Raises:
        InputRejected: The shapes do not fit or the method is unknown.
    """
    a, b = np.broadcast_arrays(np.asarray(target, dtype=np.float64), np.asarray(source, dtype=np.float64))
    if a.ndim < 2 or a.shape[-1] != 3:
        raise InputRejected(f"vectors have shape {a.shape}, expected (..., N, 3)")
    if a.shape[-2] == 1:
        pairs = zip(b.reshape(-1, 3), a.reshape(-1, 3), strict=True)
        return np.array([shortest_arc(start, end) for start, end in pairs]).reshape(*a.shape[:-2], 3, 3)
    covariance = np.swapaxes(a, -1, -2) @ b
    if a.shape[-2] > 1:
        normals = [scaled_normals(vectors[..., 0, :], vectors[..., 1, :]) for vectors in (a, b)]
        covariance = covariance + normals[0][..., :, None] * normals[1][..., None, :]
    return rotations_from_covariances(covariance, method)


def scaled_normals(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Normals [..., 3] of two vectors, as long as the first; zero where they are (nearly) parallel."""
    normal = np.cross(first, second)
    length, long, wide = (np.linalg.norm(vector, axis=-1, keepdims=True) for vector in (normal, first, second))
    usable = length > 1e-9 * long * wide
    return np.where(usable, normal * long / np.where(usable, length, 1.0), 0.0)
