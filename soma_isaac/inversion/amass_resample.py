"""An AMASS clip at another frame rate."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from soma_isaac.formats.amass import AmassClip
from soma_isaac.math.resample import resample_points, resample_rotations
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.motion.soma import check_fps


def resample_clip(clip: AmassClip, fps: float) -> AmassClip:
    """Resample ``clip`` to ``fps`` [Hz] as :func:`soma_isaac.motion.resample.resample` does; the same rate returns it.

    Raises:
        InputRejected: ``fps`` is outside 1 to 1000 Hz.
    """
    target = check_fps(fps)
    if target == clip.fps:
        return clip

    def turned(rotvecs: np.ndarray | None) -> np.ndarray | None:
        if rotvecs is None:
            return None
        return rotvec_from_matrix(resample_rotations(matrix_from_rotvec(rotvecs), clip.fps, target))

    return replace(
        clip,
        fps=target,
        body=turned(clip.body),
        hands=turned(clip.hands),
        face=turned(clip.face),
        trans=resample_points(clip.trans, clip.fps, target),
        notes=(*clip.notes, f"resampled from {clip.fps:g} to {target:g} Hz"),
    )
