"""Bodies that no training of learned IK has seen."""

from __future__ import annotations

import numpy as np

from soma_isaac.body import SomaLayer
from soma_isaac.learned.skeleton import BodySkeleton
from soma_isaac.pipelines.warp_log import hush_warp

ANNY = {
    # gender, age, muscle, weight, height, proportions
    "child": (0.5, 0.33, 0.5, 0.5, 0.5, 0.5),
    "woman": (1.0, 0.67, 0.5, 0.5, 0.5, 0.5),
    "man": (0.0, 0.67, 0.5, 0.5, 0.5, 0.5),
    "tall": (0.0, 0.67, 0.7, 0.5, 0.95, 0.8),
    "short": (1.0, 0.67, 0.3, 0.4, 0.1, 0.2),
    "heavy": (0.0, 0.8, 0.3, 1.0, 0.5, 0.5),
}
"""Phenotypes of Anny, from a child to a heavy adult."""


def anny_offsets() -> np.ndarray:
    """T-pose offsets [K, 23, 3] m of the bodies of ``ANNY``."""
    hush_warp()
    layer = SomaLayer(identity="anny", lod="low")
    layer.prepare_identity(np.array(list(ANNY.values())))
    # zero pose = T-pose in world-aligned axes, so that the kernels' offsets are those of the skeleton
    offsets = layer.identity.arrays.relative_offsets.numpy().astype(np.float64)
    return np.stack([BodySkeleton.from_public_offsets(each).rest_offsets for each in offsets])
