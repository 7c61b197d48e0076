"""A SOMA motion at another frame rate."""

from __future__ import annotations

from dataclasses import replace

from soma_isaac.math.resample import resample_points, resample_rotations
from soma_isaac.motion.soma import SomaMotion, check_fps


def resample(motion: SomaMotion, fps: float) -> SomaMotion:
    """Resample ``motion`` to ``fps`` [Hz] at any ratio; the same rate returns ``motion`` itself.

    The duration stays: frames lie at k / fps, the last one less than a period before the end of the source.

    Raises:
        InputRejected: ``fps`` is outside 1 to 1000 Hz.
    """
    target = check_fps(fps)
    if target == motion.fps:
        return motion
    note = f"resampled from {motion.fps:g} to {target:g} Hz"
    return replace(
        motion,
        fps=target,
        rotations=resample_rotations(motion.rotations, motion.fps, target),
        root_translation=resample_points(motion.root_translation, motion.fps, target),
        provenance=replace(motion.provenance, notes=(*motion.provenance.notes, note)),
    )
