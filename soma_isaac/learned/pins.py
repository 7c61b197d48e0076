"""Joints of a clip held in place or led along a path, eased in and out, as exact position effectors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import POSITION, Effectors, joint_index
from soma_isaac.learned.skeleton import BODY_PARENTS, BodyPose, BodySkeleton
from soma_isaac.math.arrays import frozen_array
from soma_isaac.math.runs import runs

CONTACT_JOINTS = ("LeftFoot", "LeftToeBase", "RightFoot", "RightToeBase")
"""Columns of a contact mask."""

EASED_M = 0.01
"""Tolerance [m] on the way to a pin: another pin on the same limb holds exactly meanwhile."""


@dataclass(frozen=True, eq=False)
class Pin:
    """A joint held in one place, or led along a path.

    Attributes:
        joint: Name of the body joint.
        begin: First frame.
        end: Frame after the last.
        target: [3] or [end - begin, 3] m, where, Y-up world; ``None`` holds it where it is on average over these
            frames.
    """

    joint: str
    begin: int
    end: int
    target: np.ndarray | None = None


def pins_of_contacts(contacts: np.ndarray) -> tuple[Pin, ...]:
    """A pin for every unbroken stretch of contact.

    Args:
        contacts: [T, 4] bool, columns as ``CONTACT_JOINTS``.

    Raises:
        InputRejected: The mask has another shape.
    """
    mask = np.asarray(contacts, dtype=bool)
    if mask.ndim != 2 or mask.shape[1] != len(CONTACT_JOINTS):
        raise InputRejected(f"a contact mask is [frames, {len(CONTACT_JOINTS)}], not {list(mask.shape)}")
    return tuple(Pin(joint, *run) for column, joint in enumerate(CONTACT_JOINTS) for run in runs(mask[:, column]))


def held_hips(clip: BodyPose, tolerance: float = 0.02) -> Effectors:
    """Sets of one effector, the Hips where a clip has them [m, within ``tolerance``]: for a clip that only has pins."""
    shape = (clip.count, 1)
    return Effectors(
        kind=np.full(shape, POSITION),
        joint=np.zeros(shape, dtype=np.int64),
        target=clip.root_position[:, None],
        rotation=np.broadcast_to(np.eye(3), (*shape, 3, 3)),
        direction=np.zeros((*shape, 3)),
        tolerance=np.full(shape, tolerance),
        weight=np.ones(shape),
    )


def placed(pins: Sequence[Pin], free: np.ndarray, skeleton: BodySkeleton) -> tuple[Pin, ...]:
    """The pins with their paths filled in.

    Where a joint and its child are both held where they are (ankle and ball of a foot), the child's place counts and
    the joint is put a bone's length from it: the averages of two ends of a bone that turned lie nearer than that.

    Args:
        pins: The pins.
        free: [T, 23, 3] m, where the joints go without them.
        skeleton: The body.

    Raises:
        InputRejected: A pin lies outside the clip, names no joint or its path is none.
    """
    filled = [_placed(pin, free) for pin in pins]
    for index, (pin, found) in enumerate(zip(pins, filled, strict=True)):
        below = [
            other
            for other, given in zip(filled, pins, strict=True)
            if given.target is None and BODY_PARENTS[joint_index(other.joint)] == joint_index(pin.joint)
        ]
        if pin.target is not None or not below:
            continue
        child = max(below, key=lambda other: _overlap(found, other))
        if _overlap(found, child) > 0:
            assert found.target is not None
            assert child.target is not None
            apart = found.target[0] - child.target[0]
            bone = np.linalg.norm(skeleton.rest_offsets[joint_index(child.joint)])
            place = child.target[0] + apart * (bone / max(float(np.linalg.norm(apart)), 1e-9))
            filled[index] = replace(found, target=np.broadcast_to(place, found.target.shape))
    return tuple(filled)


def _overlap(a: Pin, b: Pin) -> int:
    return min(a.end, b.end) - max(a.begin, b.begin)


def _placed(pin: Pin, free: np.ndarray) -> Pin:
    if not 0 <= pin.begin < pin.end <= len(free):
        raise InputRejected(f"a pin of {pin.joint} over frames {pin.begin} to {pin.end} of a clip of {len(free)}")
    count = pin.end - pin.begin
    path = free[pin.begin : pin.end, joint_index(pin.joint)].mean(axis=0) if pin.target is None else pin.target
    if np.shape(path) == (3,):
        path = np.broadcast_to(path, (count, 3))
    return replace(pin, target=frozen_array(f"target of the pin of {pin.joint}", path, (count, 3)))


def with_pins(effectors: Effectors, pins: Sequence[Pin], free: np.ndarray, ease: float) -> Effectors:
    """The effectors of a clip and, in columns after them, one per pinned joint.

    In the frames before and after a pin its joint is led from its own path to the pin's and back.

    Args:
        effectors: T sets.
        pins: Pins with paths, of :func:`placed`.
        free: [T, 23, 3] m, where the joints go without them.
        ease: Frames that it takes to get there.

    Raises:
        InputRejected: Two pins hold one joint at once.
    """
    joints = sorted({joint_index(pin.joint) for pin in pins})
    shape = (effectors.count, len(joints))
    weight, tolerance, target = np.zeros(shape), np.zeros(shape), np.zeros((*shape, 3))
    for column, joint in enumerate(joints):
        mine = sorted((pin for pin in pins if joint_index(pin.joint) == joint), key=lambda pin: pin.begin)
        for before, after in itertools.pairwise(mine):
            if before.end > after.begin:
                raise InputRejected(f"two pins hold {after.joint} at once in frame {after.begin}")
        borders = [-np.inf, *((a.end + b.begin - 1) / 2 for a, b in itertools.pairwise(mine)), np.inf]
        for pin, (low, high) in zip(mine, itertools.pairwise(borders), strict=True):
            frames, share, path = _eased(pin, ease, low, high, effectors.count)
            weight[frames, column], tolerance[frames, column] = 1.0, EASED_M * (1.0 - share)
            own = free[frames, joint]
            target[frames, column] = own + share[:, None] * (path - own)
    added = {
        "kind": np.full(shape, POSITION),
        "joint": np.broadcast_to(np.array(joints, dtype=np.int64), shape),
        "target": target,
        "rotation": np.broadcast_to(np.eye(3), (*shape, 3, 3)),
        "direction": np.zeros((*shape, 3)),
        "tolerance": tolerance,
        "weight": weight,
    }
    every = (np.concatenate([getattr(effectors, name), value], axis=1) for name, value in added.items())
    return Effectors(*every)


def _eased(pin: Pin, ease: float, low: float, high: float, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frames [n] in which a pin has a say, its share [n] from 0 to 1, and its path [n, 3] drawn on at both ends.

    Args:
        pin: The pin.
        ease: Frames that it takes to get there.
        low: No say at or before this frame,
        high: or at or after this one.
        count: Frames of the clip.
    """
    assert pin.target is not None
    frames = np.arange(count)
    early, late = pin.begin - frames, frames - (pin.end - 1)
    share = np.where((early <= 0) & (late <= 0), 1.0, 0.0)
    for gap, room in ((early, min(ease, pin.begin - low)), (late, min(ease, high - (pin.end - 1)))):
        outside = gap > 0
        share[outside] = np.maximum(share[outside], smooth_step(1.0 - gap[outside] / max(room, 1e-9)))
    frames = frames[share > 0.0]
    path = pin.target[np.clip(frames - pin.begin, 0, len(pin.target) - 1)]
    if len(pin.target) > 1:
        first, last = pin.target[1] - pin.target[0], pin.target[-1] - pin.target[-2]
        path = path - np.maximum(early[frames], 0)[:, None] * first + np.maximum(late[frames], 0)[:, None] * last
    return frames, share[frames], path


def smooth_step(x: np.ndarray) -> np.ndarray:
    """0 below 0, 1 above 1, and between them the quintic whose first two derivatives vanish at both ends."""
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (10.0 - 15.0 * x + 6.0 * x * x)
