"""How much each vertex counts: by limb, and by how far it is from where the body can be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
