"""How much each vertex counts: by limb, and by how far it is from where the body can be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.body.layout import top_influences
from soma_isaac.body.soma import SomaBody
from soma_isaac.errors import InputRejected

LIMBS: Mapping[str, tuple[str, ...]] = {
    "head": ("Head",),
    "hands": ("LeftHand", "RightHand"),
    "feet": ("LeftFoot", "RightFoot"),
}
"""Limbs by the joints that they begin with."""

_SHARE = 0.5


def limb_weights(body: SomaBody, limbs: Mapping[str, float]) -> np.ndarray:
    """Vertex weights [V] for :meth:`soma_isaac.inversion.pose_inversion.PoseInversion.prepare`.

    Args:
        body: Whose mesh.
        limbs: Weights by ``head``, ``hands``, ``feet`` or by the name of a joint; a vertex belongs to a limb if joints
            from there on move it by more than a half. The last limb that a vertex belongs to counts; the others are 1.

    Raises:
        InputRejected: A limb is unknown or a weight is negative.
    """
    layout = body.layout
    public = layout.public_count
    offsets, joints, weights = top_influences(body.rig.mesh(body.lod), layout)
    rows = np.repeat(np.arange(body.vertex_count), np.diff(offsets))
    parents = np.concatenate([layout.parents, layout.helper_parents])
    result = np.ones(body.vertex_count)
    for limb, weight in limbs.items():
        starts = LIMBS.get(limb, (limb,))
        unknown = [name for name in starts if name not in layout.joint_names[:public]]
        if unknown:
            raise InputRejected(f"no limb or joint {unknown[0]!r}; limbs are {', '.join(LIMBS)}")
        if not weight >= 0.0:
            raise InputRejected(f"the weight of {limb!r} must be at least 0, not {weight!r}")
        below = np.isin(np.arange(len(parents)), [layout.joint_names.index(name) for name in starts])
        for joint in range(1, len(parents)):
            below[joint] |= below[parents[joint]]
        share = np.bincount(rows, weights * below[joints], minlength=body.vertex_count)
        result[share > _SHARE] = weight
    return result


def robust_weights(errors: np.ndarray, scale: np.ndarray | float) -> np.ndarray:
    """Geman and McClure's weights for distances [B, V] and scales [B, 1] m: 1 near 0, ever less beyond the scale."""
    return 1.0 / np.square(1.0 + np.square(errors / scale))


def checked_weights(weights: ArrayLike | None, count: int) -> np.ndarray:
    """Vertex weights [R, V] float32; ones by default.

    Raises:
        InputRejected: The shape is another, a weight is negative or not finite, or a row is all zeros.
    """
    if weights is None:
        return np.ones((1, count), dtype=np.float32)
    values = np.asarray(weights, dtype=np.float32)
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != count:
        raise InputRejected(f"vertex_weights has shape {values.shape}, expected ({count},) or (R, {count})")
    if not np.isfinite(values).all() or (values < 0.0).any():
        raise InputRejected("vertex_weights are not finite or negative")
    if (values.sum(axis=1) <= 0.0).any():
        raise InputRejected("vertex_weights leave a frame without vertices")
    return values
