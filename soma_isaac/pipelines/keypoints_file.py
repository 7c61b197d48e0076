"""Keypoints as they come: an npz in any of three worlds."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import decide_fps, require_frames
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.soma_npz import LARGEST_POSITION_M
from soma_isaac.math.frames import yup_from_zup_points
from soma_isaac.pipelines.keypoints import COCO_17, UP_AXES, Keypoints


def read_keypoints(path: Path, up_axis: str, fps: float | None = None) -> Keypoints:
    """Read an npz with ``keypoints`` [T, 17, 3] m and, if it has them, ``confidence`` [T, 17] and ``fps``.

    A keypoint with a NaN coordinate is one that was not seen.

    Args:
        path: The file.
        up_axis: One of ``UP_AXES``.
        fps: Frame rate [Hz]; it wins over the file's.

    Raises:
        InputRejected: The file is not of this form, or states no frame rate.
    """
    if up_axis not in UP_AXES:
        raise InputRejected(f"up axis {up_axis!r} is none of {', '.join(UP_AXES)}")
    archive = open_npz(path)
    if "keypoints" not in archive:
        raise InputRejected(f"has no array keypoints; there are {', '.join(archive.keys[:12])}", str(path))
    points = archive.numbers("keypoints", (None, len(COCO_17), 3))
    require_frames(len(points), str(path))
    stored = {"fps": archive.scalar("fps")} if "fps" in archive else {}
    if fps is None and not stored:
        raise InputRejected("states no fps; give fps=", str(path))
    rate = decide_fps(stored, ("fps",), fps, str(path))
    seen = np.all(np.isfinite(points), axis=-1)
    points = np.where(seen[..., None], points, 0.0)
    if np.abs(points).max(initial=0.0) > LARGEST_POSITION_M:
        raise InputRejected(f"has keypoints {np.abs(points).max():.3g} m away; they are in metres", str(path))
    shape = points.shape[:2]
    confidence = archive.numbers("confidence", shape) if "confidence" in archive else np.ones(shape)
    if up_axis == "z":
        points = yup_from_zup_points(points)
    elif up_axis == "-y":
        points = points * [1.0, -1.0, -1.0]
    source = (path.name, archive.digest)
    try:
        return Keypoints(points, np.where(seen, confidence, 0.0), rate.fps, source, up_axis, rate.key)
    except InputRejected as error:
        raise InputRejected(error.reason, str(path)) from error
