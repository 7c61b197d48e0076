"""What every reader asks of foreign data: bytes read once, a believable frame rate, finite values named by frame."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.motion.soma import FPS_RANGE

OPTION_KEY = "option"
"""``Provenance.fps_key`` of a frame rate that the user gave."""


@dataclass(frozen=True)
class SourceBytes:
    """A foreign file, read once.

    Attributes:
        path: What errors call the file: its path or a name that the user knows.
        data: Its bytes.
        digest: sha256 of ``data``, hex.
    """

    path: str
    data: bytes
    digest: str

    @classmethod
    def of(cls, data: bytes, path: str) -> SourceBytes:
        """Wrap bytes that are in memory already."""
        return cls(path, data, hashlib.sha256(data).hexdigest())


def read_source(path: Path, limits: ReadLimits = DEFAULT_LIMITS, name: str | None = None) -> SourceBytes:
    """Read a regular file once, at most ``limits.file_bytes``; ``name`` is what errors call it instead of its path.

    Raises:
        InputRejected: It cannot be opened, is no regular file, is empty or over the budget, or is being written.
    """
    shown = str(path) if name is None else name
    try:
        if not path.is_file():
            raise InputRejected("is not a regular file" if path.exists() else "no such file", shown)
        size = path.stat().st_size
        if size > limits.file_bytes:
            raise InputRejected(f"is larger than the budget of {limits.file_bytes} bytes", shown)
        with path.open("rb") as stream:
            data = stream.read(size + 1)  # never the whole budget: read() takes the memory it is offered
    except OSError as error:
        raise InputRejected(f"cannot be read: {error.strerror or error}", shown) from error
    if not data:
        raise InputRejected("is empty", shown)
    if len(data) != size:
        raise InputRejected("changed its size while it was read", shown)
    return SourceBytes.of(data, shown)


def parse_fps(value: object, key: str, path: str | None = None) -> float:
    """One frame rate [Hz] from any of its encodings: number, numeric text or bytes, 0-d or one-element array.

    Args:
        value: The value as stored, e.g. ``120``, ``np.array([50])``, ``b"59.94"``.
        key: Where it stood, for the message.
        path: The file, for the message.

    Raises:
        InputRejected: It is no single finite number from 1 to 1000.
    """
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise InputRejected(f"frame rate {key!r} holds {value.size} values, expected one", path)
        value = value.reshape(-1)[0]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        value = value.decode("ascii", errors="replace")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise InputRejected(f"frame rate {key!r} is a {type(value).__name__}, expected a number", path)
    try:
        fps = float(value)
    except (ValueError, OverflowError):
        raise InputRejected(f"frame rate {key!r} is {str(value)[:40]!r}, expected a number", path) from None
    if not (math.isfinite(fps) and FPS_RANGE[0] <= fps <= FPS_RANGE[1]):
        raise InputRejected(f"frame rate {key!r} is {fps!r}, expected {FPS_RANGE[0]:g} to {FPS_RANGE[1]:g} Hz", path)
    return fps


@dataclass(frozen=True)
class FrameRate:
    """A frame rate and where it was found.

    Attributes:
        fps: Frame rate [Hz].
        key: Key of the file, ``option`` if the user gave it.
        notes: Decisions worth recording.
    """

    fps: float
    key: str
    notes: tuple[str, ...] = ()


def decide_fps(
    stored: Mapping[str, object], accepted: Sequence[str], source_fps: float | None, path: str | None = None
) -> FrameRate:
    """The frame rate of a file; there is no default.

    Args:
        stored: The rates found, by key.
        accepted: Keys that would have been accepted, for the message.
        source_fps: The user's own statement [Hz]; it wins over the file, and the file's value is then noted.
        path: The file, for the message.

    Raises:
        InputRejected: A value is no frame rate, two keys disagree, or there is none.
    """
    if source_fps is not None:
        fps = parse_fps(source_fps, "source.fps", path)
        notes = tuple(
            f"the file's {key} = {str(value)[:40]} was set aside for the frame rate given by the user"
            for key, value in stored.items()
            if not _same_rate(value, fps)
        )
        return FrameRate(fps, OPTION_KEY, notes)
    rates = {key: parse_fps(value, key, path) for key, value in stored.items()}
    if not rates:
        names = ", ".join(accepted) or "none for this format"
        raise InputRejected(f"states no frame rate (keys looked for: {names}); give it with source.fps=", path)
    key, fps = next(iter(rates.items()))
    if any(abs(other - fps) > 1e-6 * fps for other in rates.values()):
        listed = ", ".join(f"{name} = {value:g}" for name, value in rates.items())
        raise InputRejected(f"contradicts itself about the frame rate ({listed}); settle it with source.fps=", path)
    return FrameRate(fps, key)


def _same_rate(value: object, fps: float) -> bool:
    try:
        return abs(parse_fps(value, "") - fps) <= 1e-6 * fps
    except InputRejected:
        return False


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once, in order of their first use."""
    return [name for name, uses in Counter(names).items() if uses > 1]


def require_frames(count: int, path: str | None, limits: ReadLimits = DEFAULT_LIMITS) -> None:
    """Refuse clips without frames or with more than ``limits.frame_count``.

    Raises:
        InputRejected: Either is the case.
    """
    if count == 0:
        raise InputRejected("has no frames", path)
    if count > limits.frame_count:
        raise InputRejected(f"has {count} frames, more than the limit of {limits.frame_count}", path)


def require_finite(
    name: str,
    array: np.ndarray,
    path: str | None,
    joint_names: Sequence[str] | None = None,
    largest: float | None = None,
) -> None:
    """Refuse NaN, infinite and absurdly large values, naming the first frame and, where there is one, the joint.

    Args:
        name: What the array is called in the file.
        array: [T, ...] values; [T, J, ...] where ``joint_names`` are given.
        path: The file, for the message.
        joint_names: Names along axis 1.
        largest: Largest believable magnitude in the array's own unit.

    Raises:
        InputRejected: A value is not finite or exceeds ``largest``.
    """
    if array.dtype.kind != "f":
        return
    wrong = ~np.isfinite(array)
    if largest is not None:
        wrong |= np.abs(np.where(wrong, 0.0, array)) > largest
    if not wrong.any():
        return
    index = tuple(int(i) for i in np.argwhere(wrong)[0])
    where = f"frame {index[0]}" if index else "its value"
    if joint_names is not None and len(index) > 1:
        where += f", joint {joint_names[index[1]]}"
    value = float(array[index])
    problem = "is not finite" if not math.isfinite(value) else f"is {value:g}, beyond {largest:g}"
    raise InputRejected(f"{name} {problem} at {where}", path)
