"""Checked, read-only arrays: what the frozen dataclasses of this package hold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from soma_isaac.errors import InputRejected


def frozen_array(
    name: str,
    value: ArrayLike,
    shape: Sequence[int | None],
    dtype: DTypeLike = np.float64,
) -> np.ndarray:
    """Copy ``value`` into a read-only, C-contiguous array after checking shape and finiteness.

    Args:
        name: What the array is called in error messages.
        value: Anything numpy can turn into an array of ``dtype``.
        shape: Expected shape; ``None`` accepts any size in that dimension.
        dtype: Storage type.

    Returns:
        A read-only copy; an array that is read-only already and fits is returned as it is.

    Raises:
        InputRejected: The shape differs, or a floating value is NaN or infinite.
    """
    array = np.asarray(value)
    fits = array.ndim == len(shape) and all(
        expected is None or expected == size for expected, size in zip(shape, array.shape, strict=False)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise InputRejected(f"{name} has shape {array.shape}, expected {wanted}")
    if array.dtype == np.dtype(dtype) and array.flags.c_contiguous and not array.flags.writeable:
        result = array
    else:
        result = np.array(array, dtype=dtype, order="C")
        result.setflags(write=False)
    if result.dtype.kind == "f" and not np.isfinite(result).all():
        index = tuple(int(i) for i in np.argwhere(~np.isfinite(result))[0])
        raise InputRejected(f"{name} is not finite at index {index}")
    return result


def check_unit_quaternions(name: str, quaternions: np.ndarray, tolerance: float = 1e-4) -> None:
    """Refuse quaternions [..., 4] whose norm differs from 1 by more than ``tolerance``.

    Raises:
        InputRejected: Names the first offending index and its norm.
    """
    error = np.abs(np.linalg.norm(quaternions, axis=-1) - 1.0)
    if error.size and error.max() > tolerance:
        index = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
        raise InputRejected(f"{name} is not a unit quaternion at index {index} (norm error {error.max():.3g})")


def check_rotations(name: str, rotations: np.ndarray, tolerance: float = 1e-3) -> None:
    """Refuse matrices [..., 3, 3] that are not in SO(3) within ``tolerance``.

    Raises:
        InputRejected: Names the first offending index and its error (mirrors included).
    """
    if not rotations.size:
        return
    error = np.abs(rotations @ np.swapaxes(rotations, -1, -2) - np.eye(3)).max(axis=(-1, -2))
    error = np.maximum(error, np.where(np.linalg.det(rotations) < 0.0, 2.0, 0.0))
    if error.max() > tolerance:
        index = tuple(int(i) for i in np.unravel_index(int(error.argmax()), error.shape))
        raise InputRejected(f"{name} is not a rotation matrix at index {index} (error {error.max():.3g})")
