"""Shape and device checks that every launch function makes before it starts a kernel."""

from __future__ import annotations

import warp as wp

from soma_isaac.errors import InputRejected


def check_array(name: str, array: wp.array, shape: tuple[int | None, ...], device: wp.Device) -> None:
    """Refuse an array of another shape or on another device.

    Args:
        name: What the array is called in error messages.
        array: The array; its dtype is checked by ``wp.launch``.
        shape: Expected shape; ``None`` accepts any size in that dimension.
        device: Where the launch takes place.

    Raises:
        InputRejected: The shape or the device differs.
    """
    fits = array.ndim == len(shape) and all(
        expected is None or expected == size for expected, size in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise InputRejected(f"{name} has shape {tuple(array.shape)}, expected {wanted}")
    if array.device != device:
        raise InputRejected(f"{name} is on {array.device}, the launch on {device}")


def check_rows(name: str, array: wp.array, batch: int) -> None:
    """Refuse a leading dimension that is neither 1 (shared by the batch) nor the batch size.

    Raises:
        InputRejected: The leading dimension is another number.
    """
    if array.shape[0] not in (1, batch):
        raise InputRejected(f"{name} has {array.shape[0]} rows for a batch of {batch}; expected 1 or {batch}")


def check_contiguous(name: str, array: wp.array) -> None:
    """Refuse an array with gaps between its elements.

    Raises:
        InputRejected: The array is not contiguous.
    """
    if not array.is_contiguous:
        raise InputRejected(f"{name} is not contiguous")
