"""Bodies of a batch that a launch leaves as they are."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.shapes import check_array

wp.set_module_options({"enable_backward": False})


@wp.func
def is_idle(active: wp.array(dtype=wp.int32), body: int) -> bool:
    """Whether a body is left as it is; with no entries at all, none is."""
    return active.shape[0] > 0 and active[body] == 0


def activity(active: wp.array | None, batch: int, device: wp.Device) -> wp.array:
    """What :func:`is_idle` reads: a mask [B], or an array without entries for ``None``.

    Raises:
        InputRejected: The mask has another length or is on another device.
    """
    if active is None:
        return wp.empty(0, dtype=wp.int32, device=device)
    check_array("active", active, (batch,), device)
    return active
