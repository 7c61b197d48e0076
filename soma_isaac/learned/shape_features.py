"""The segment lengths of a character's T-pose: what shape inversion knows of it.

Every segment joins two joints that no pose brings closer (a bone, or the straight spine), so that T-pose, A-pose and
bind pose give the same lengths. Left and right count as one, their mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.errors import InputRejected
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES


@dataclass(frozen=True)
class Segment:
    """One length.

    Attributes:
        name: What it is called.
        joints: The two joints by name; names of the left stand for both sides.
        looseness: How far rigs differ in it for one and the same person, in units of a limb's (our estimate).
            Rigs agree where knees and elbows are; hips and shoulders are placed where the skin deforms well, and the
            ends of the spine, toes and fingers where their chains happen to end.
    """

    name: str
    joints: tuple[str, str]
    looseness: float = 1.0


SEGMENTS = (
    Segment("thigh", ("LeftLeg", "LeftShin")),
    Segment("shin", ("LeftShin", "LeftFoot")),
    Segment("foot", ("LeftFoot", "LeftToeBase"), 2.0),
    Segment("toes", ("LeftToeBase", "LeftToeEnd"), 3.0),
    Segment("hip width", ("LeftLeg", "RightLeg"), 5.0),
    Segment("lower spine", ("Hips", "Chest"), 3.0),
    Segment("upper spine", ("Chest", "Neck1"), 3.0),
    Segment("neck", ("Neck1", "Head"), 3.0),
    Segment("head", ("Head", "HeadEnd"), 3.0),
    Segment("chest to shoulder", ("Chest", "LeftShoulder"), 5.0),
    Segment("clavicle", ("LeftShoulder", "LeftArm"), 5.0),
    Segment("upper arm", ("LeftArm", "LeftForeArm")),
    Segment("forearm", ("LeftForeArm", "LeftHand")),
    Segment("palm", ("LeftHand", "LeftHandMiddle2"), 2.0),
    Segment("middle finger", ("LeftHandMiddle2", "LeftHandMiddleEnd"), 3.0),
)
"""The 15 lengths, in the order of every array [..., F] of lengths."""

SEGMENT_NAMES = tuple(segment.name for segment in SEGMENTS)
LOOSENESS = np.array([segment.looseness for segment in SEGMENTS])

_SHORTEST = 1e-3
"""Shorter than this share of the character's longest segment is no segment but two joints at one place."""


def _mirrored(name: str) -> str:
    return name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right")


_BEGIN, _END = (
    np.array(
        [[PUBLIC_JOINT_NAMES.index(side(segment.joints[end])) for segment in SEGMENTS] for side in (str, _mirrored)]
    )
    for end in (0, 1)
)


def segment_lengths(joints: ArrayLike) -> np.ndarray:
    """Lengths [B, F] of characters, NaN where a joint is missing on both sides or the segment has no length.

    Args:
        joints: [B, 78, 3] public joints of the T-pose or any rest pose, any unit and frame; NaN for missing joints.

    Raises:
        InputRejected: The shape is another.
    """
    points = np.asarray(joints, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (len(PUBLIC_JOINT_NAMES), 3):
        raise InputRejected(f"joints have shape {points.shape}, expected (B, {len(PUBLIC_JOINT_NAMES)}, 3)")
    return lengths_of_vectors(segment_vectors(points))


def segment_vectors(joints: np.ndarray) -> np.ndarray:
    """Vectors [B, 2, F, 3] along the segments of both sides, from public joints [B, 78, 3]."""
    return joints[:, _END] - joints[:, _BEGIN]


def lengths_of_vectors(vectors: np.ndarray) -> np.ndarray:
    """Lengths [B, F] from vectors [B, 2, F, 3] of both sides; see :func:`segment_lengths`."""
    sides = np.sqrt(np.square(vectors).sum(axis=-1))
    longest = np.max(np.where(np.isfinite(sides), sides, 0.0), axis=(1, 2), keepdims=True, initial=0.0)
    seen = np.isfinite(sides) & (sides > _SHORTEST * longest)
    counts = seen.sum(axis=1)
    return np.where(counts > 0, np.where(seen, sides, 0.0).sum(axis=1) / np.maximum(counts, 1), np.nan)


def named_joints(positions: Mapping[str, ArrayLike]) -> np.ndarray:
    """Public joints [78, 3] from positions by SOMA joint name; NaN for those that are not given.

    Raises:
        InputRejected: A name is no public joint, or a position is not three numbers.
    """
    joints = np.full((len(PUBLIC_JOINT_NAMES), 3), np.nan)
    for name, position in positions.items():
        if name not in PUBLIC_JOINT_NAMES:
            raise InputRejected(f"{name!r} is no SOMA joint")
        value = np.asarray(position, dtype=np.float64)
        if value.shape != (3,):
            raise InputRejected(f"the position of {name} has shape {value.shape}, expected (3,)")
        joints[PUBLIC_JOINT_NAMES.index(name)] = value
    return joints


def named_lengths(lengths: Mapping[str, float]) -> np.ndarray:
    """Lengths [F] from values by segment name; NaN for those that are not given.

    Raises:
        InputRejected: A name is no segment.
    """
    for name in lengths:
        if name not in SEGMENT_NAMES:
            raise InputRejected(f"no segment {name!r}; there are {', '.join(SEGMENT_NAMES)}")
    return np.array([lengths.get(name, np.nan) for name in SEGMENT_NAMES], dtype=np.float64)
