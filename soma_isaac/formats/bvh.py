"""BVH motion files: a parser of our own that spends a budget and believes nothing.

The text has two sections. HIERARCHY nests joints with OFFSET and CHANNELS; MOTION has one line of channel values per
frame. Rotation channels are intrinsic, in the order in which the joint lists them. Position channels, of the root or
of any joint, replace the joint's OFFSET (that is how capture systems and Blender mean them).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh_hierarchy import AXES, LARGEST_LENGTH, BvhHierarchy, BvhJoint
from soma_isaac.formats.guard import SourceBytes, decide_fps, read_source, require_finite, require_frames
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.math.arrays import frozen_array
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.soma import check_fps

FPS_KEY = "Frame Time"
STANDARD_RATES = (24.0, 25.0, 30.0, 48.0, 50.0, 60.0, 72.0, 90.0, 100.0, 120.0, 150.0, 200.0, 240.0, 250.0, 300.0)

_NUMBER_BYTES = b"0123456789+-.eE \t\r\n\f\v"


@dataclass(frozen=True, eq=False)
class BvhClip:
    """A BVH file as it stands: its own joints, unit and world.

    Attributes:
        joint_names: J unique names; parents precede children.
        parent_indices: [J] int32, -1 for the root.
        offsets: [J, 3] OFFSET of each joint, file unit.
        end_parents: [E] int32, joints that end in an End Site.
        end_offsets: [E, 3] OFFSET of those End Sites, file unit.
        rotations: [T, J, 3, 3] local rotations; identity where a joint has no rotation channel.
        positioned_joints: [M] int32, joints with position channels.
        positions: [T, M, 3] their local positions (instead of ``offsets``), file unit.
        fps: Frame rate [Hz].
        fps_key: Where it came from: ``Frame Time`` or ``option``.
        digest: sha256 of the file, hex.
        notes: Decisions taken while reading, one sentence each.
    """

    joint_names: tuple[str, ...]
    parent_indices: np.ndarray
    offsets: np.ndarray
    end_parents: np.ndarray
    end_offsets: np.ndarray
    rotations: np.ndarray
    positioned_joints: np.ndarray
    positions: np.ndarray
    fps: float
    fps_key: str
    digest: str
    notes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Check shapes and finiteness.

        Raises:
            InputRejected: A shape differs or a value is not finite.
        """
        joints, frames = len(self.joint_names), len(self.rotations)
        ends, positioned = len(self.end_parents), len(self.positioned_joints)
        for field, shape, dtype in (
            ("parent_indices", (joints,), np.int32),
            ("offsets", (joints, 3), np.float64),
            ("end_parents", (ends,), np.int32),
            ("end_offsets", (ends, 3), np.float64),
            ("rotations", (frames, joints, 3, 3), np.float64),
            ("positioned_joints", (positioned,), np.int32),
            ("positions", (frames, positioned, 3), np.float64),
        ):
            object.__setattr__(self, field, frozen_array(field, getattr(self, field), shape, dtype))
        object.__setattr__(self, "fps", check_fps(self.fps))

    @property
    def frame_count(self) -> int:
        """Number of frames T."""
        return len(self.rotations)

    @property
    def root_translation(self) -> np.ndarray:
        """Position [T, 3] of the first joint in the file's world and unit."""
        slot = np.flatnonzero(self.positioned_joints == 0)
        return self.positions[:, slot[0]] if len(slot) else np.tile(self.offsets[0], (self.frame_count, 1))


def read_bvh(path: Path, source_fps: float | None = None, limits: ReadLimits = DEFAULT_LIMITS) -> BvhClip:
    """Read a BVH file.

    Args:
        path: The file.
        source_fps: Frame rate given by the user [Hz]; it wins over the file's.
        limits: Budgets.

    Raises:
        InputRejected: The file is not a complete BVH file within the budgets; the message says where it fails.
    """
    return parse_bvh(read_source(path, limits), source_fps, limits)


def parse_bvh(source: SourceBytes, source_fps: float | None = None, limits: ReadLimits = DEFAULT_LIMITS) -> BvhClip:
    """Parse the bytes of a BVH file; see :func:`read_bvh`."""
    section = re.search(rb"(?m)^[ \t]*MOTION[ \t\r]*$", source.data)
    head = source.data[: section.start()] if section else source.data
    if not head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"HIERARCHY"):
        raise InputRejected("does not begin with HIERARCHY: not a BVH file", source.path)
    if section is None:
        raise InputRejected("has no MOTION section: the file is incomplete", source.path)
    joints, ends = BvhHierarchy(head, source.path, limits).parse()
    widths = [len(joint.channels or ()) for joint in joints]
    values, frame_time = _motion(source.data[section.end() :].lstrip(), sum(widths), source.path, limits)
    if len(values) * len(joints) * 72 > limits.array_bytes:
        raise InputRejected(f"has {len(values)} frames of {len(joints)} joints, more than the budget", source.path)
    if source_fps is None:
        fps, fps_notes = fps_from_frame_time(frame_time, source.path)
        rate = decide_fps({FPS_KEY: fps}, (FPS_KEY,), None, source.path)
    else:
        rate, fps_notes = decide_fps({FPS_KEY: frame_time + " s"}, (FPS_KEY,), source_fps, source.path), ()
    names = tuple(joint.name for joint in joints)
    columns = np.cumsum(widths) - widths
    rotations = np.tile(np.eye(3), (len(values), len(joints), 1, 1))
    positioned, positions = [], []
    for number, joint in enumerate(joints):
        block = values[:, columns[number] : columns[number] + widths[number]]
        if any(channel.endswith("position") for channel in joint.channels or ()):
            positioned.append(number)
            positions.append(_positions(joint, block))
        rotations[:, number] = _rotations(joint, block)
    return BvhClip(
        names,
        np.array([joint.parent for joint in joints]),
        np.array([joint.offset for joint in joints]),
        np.array([parent for parent, _ in ends], dtype=np.int32),
        np.array([offset for _, offset in ends], dtype=np.float64).reshape(-1, 3),
        rotations,
        np.array(positioned, dtype=np.int32),
        np.stack(positions, axis=1) if positions else np.zeros((len(values), 0, 3)),
        rate.fps,
        rate.key,
        source.digest,
        (*fps_notes, *rate.notes),
    )


def fps_from_frame_time(text: str, path: str | None = None) -> tuple[float, tuple[str, ...]]:
    """Frame rate [Hz] of a printed frame time [s], and a note where it was rounded.

    A printed time is known to half of its last digit. If that leaves exactly one usual rate, it is meant
    (``0.0333333`` is 30); if a whole number of frames per second is within 0.01 %, that is meant; otherwise the
    reciprocal is taken as it is.

    Raises:
        InputRejected: It is no positive number.
    """
    try:
        seconds = float(text)
    except ValueError:
        raise InputRejected(f"has the frame time {text[:40]!r}, expected seconds", path) from None
    if not math.isfinite(seconds) or seconds <= 0.0:
        raise InputRejected(f"has the frame time {text[:40]!r}, expected a positive number of seconds", path)
    mantissa, _, exponent = text.lower().partition("e")
    digits = len(mantissa.partition(".")[2]) - (int(exponent) if exponent else 0)
    half = 0.5001 * 10.0**-digits
    rate = 1.0 / seconds
    meant = [usual for usual in STANDARD_RATES if abs(1.0 / usual - seconds) <= half and abs(usual / rate - 1.0) < 0.02]
    if len(meant) != 1:
        meant = [float(round(rate))] if rate > 0.5 and abs(round(rate) / rate - 1.0) < 1e-4 else [rate]
    if abs(meant[0] / rate - 1.0) < 1e-12:
        return meant[0], ()
    return meant[0], (f"frame time {text} s was read as {meant[0]:g} Hz",)


def _motion(text: bytes, width: int, path: str, limits: ReadLimits) -> tuple[np.ndarray, str]:
    """Channel values [T, width] and the frame time as printed."""
    lines = text.split(b"\n", 8)
    header: dict[bytes, bytes] = {}
    consumed = 0
    for line in lines[:8]:
        key, colon, value = line.partition(b":")
        if line.strip() and not colon:
            break
        consumed += len(line) + 1
        if colon:
            header[key.strip()] = value.strip()
        if len(header) == 2:
            break
    if set(header) != {b"Frames", b"Frame Time"}:
        raise InputRejected("lacks 'Frames:' or 'Frame Time:' after MOTION", path)
    count = header[b"Frames"]
    if not count.isdigit() or len(count) > 12:
        raise InputRejected(f"declares {count[:40]!r} frames", path)
    frames = int(count)
    require_frames(frames, path, limits)
    if width == 0:
        raise InputRejected("has no channels at all", path)
    body = text[consumed:]
    if frames * width * 8 > limits.array_bytes or len(body) > limits.file_bytes:
        raise InputRejected(f"asks for {frames} frames of {width} channels, more than the budget", path)
    if len(body) < 2 * frames * width - 1:
        raise InputRejected(f"is too short for the {frames} frames of {width} channels that it declares", path)
    if body.translate(None, _NUMBER_BYTES):
        raise InputRejected("has something other than numbers in its motion", path)
    values = _numbers(body, frames * width, path).reshape(frames, width)
    require_finite("a channel value", values, path, largest=LARGEST_LENGTH)
    return values, header[b"Frame Time"].decode("ascii", errors="replace")


def _numbers(body: bytes, count: int, path: str) -> np.ndarray:
    """Exactly ``count`` numbers, parsed in pieces so that the words never take much memory."""
    values = np.empty(count)
    filled, begin, piece = 0, 0, 1 << 22
    while begin < len(body):
        end = len(body) if begin + piece >= len(body) else body.find(b"\n", begin + piece)
        end = len(body) if end < 0 else end
        words = body[begin:end].split()
        if filled + len(words) > count:
            raise InputRejected(f"has more than the {count} channel values that it declares", path)
        try:
            values[filled : filled + len(words)] = words
        except ValueError as error:
            raise InputRejected(f"has a channel value that is no number ({error})", path) from error
        filled, begin = filled + len(words), end
    if filled != count:
        raise InputRejected(f"holds {filled} channel values of the {count} that it declares: it is cut short", path)
    return values


def _positions(joint: BvhJoint, block: np.ndarray) -> np.ndarray:
    positions = np.tile(np.array(joint.offset), (len(block), 1))
    for column, channel in enumerate(joint.channels or ()):
        if channel.endswith("position"):
            positions[:, AXES[channel[0]]] = block[:, column]
    return positions


def _rotations(joint: BvhJoint, block: np.ndarray) -> np.ndarray:
    """Product of the joint's rotation channels in their order, intrinsic, degrees."""
    result = np.tile(np.eye(3), (len(block), 1, 1))
    for column, channel in enumerate(joint.channels or ()):
        if channel.endswith("rotation"):
            rotvec = np.zeros((len(block), 3))
            rotvec[:, AXES[channel[0]]] = np.radians(block[:, column])
            result = result @ matrix_from_rotvec(rotvec)
    return result
