"""USD layers as files: text or binary by suffix, staged so that they can be published whole."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from pxr import Tf, Usd, UsdGeom, Vt

from soma_isaac.formats.atomic import discard, staged_path

USD_SUFFIXES = (".usd", ".usda", ".usdc")


def stage_in_memory(suffix: str) -> Usd.Stage:
    """An empty Y-up stage in centimetres, as SOMA's files are; ``.usda`` is text, ``.usd`` and ``.usdc`` are binary."""
    stage = Usd.Stage.CreateInMemory("soma.usda" if suffix == ".usda" else "soma.usdc")
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    return stage


def set_time_range(stage: Usd.Stage, frame_count: int, fps: float) -> None:
    """Frames are time codes 0 to ``frame_count`` - 1 at ``fps`` per second."""
    stage.SetTimeCodesPerSecond(fps)
    stage.SetFramesPerSecond(fps)
    stage.SetStartTimeCode(0.0)
    stage.SetEndTimeCode(float(frame_count - 1))


def vectors(values: np.ndarray) -> Vt.Vec3fArray:
    """Vectors [N, 3] as USD stores them."""
    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(values, dtype=np.float32))


def set_samples(attribute: Usd.Attribute, values: Iterable[object], animated: bool) -> None:
    """Write one value per frame, or the only one as the default value where nothing moves."""
    for frame, value in enumerate(values):
        attribute.Set(value, Usd.TimeCode(frame) if animated else Usd.TimeCode.Default())


def save_staged(stage: Usd.Stage, final: Path) -> Path:
    """Write a stage's root layer beside ``final`` under a staged name and fsync it.

    Args:
        stage: From :func:`stage_in_memory`. (A layer would not do: it dies with its stage.)
        final: The name the file shall have once published; its folder exists.

    Returns:
        The staged file.

    Raises:
        OSError: The disk refused, e.g. because it is full or read-only; nothing is left behind.
    """
    staged = staged_path(final)
    try:
        written = stage.GetRootLayer().Export(str(staged))
    except Tf.ErrorException as error:
        discard(staged)
        # USD's text is one of file names and lines of its own sources, around what went wrong
        quoted = re.findall(r" : '(.*?)'\s*(?:Error in|$)", " ".join(str(error).split()))
        raise OSError(
            errno.EIO, f"USD cannot write it ({quoted[0][:200] if quoted else 'no reason'})", str(final)
        ) from error
    if not written:
        discard(staged)
        raise OSError(errno.EIO, "USD cannot write it", str(final))
    try:
        descriptor = os.open(staged, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        discard(staged)
        raise
    return staged
