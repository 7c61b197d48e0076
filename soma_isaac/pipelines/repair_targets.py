"""What a repair holds: paths, rotations and look-ats of joints over frames, eased in and out, as effectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION, Effectors, joint_index
from soma_isaac.learned.pins import smooth_step
from soma_isaac.learned.skeleton import BODY_PARENTS, BodyPose, BodySkeleton
from soma_isaac.math.arrays import frozen_array
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec, rotvec_from_matrix, shortest_arc

SHORTEST_EASE_S = 0.4
LONGEST_EASE_S = 1.5
EASE_S_PER_M = 1.0
EASE_S_PER_RAD = 0.5
NEAREST_SIGHT_M = 0.01
"""What is looked at is further from the joint than this."""

HOLD_WEIGHT = 0.01
"""Of what is held, against feet that are kept: where both cannot be, the feet stay."""

LOOSELY_KEPT = (
    ("Hips", POSITION, 0.05),
    ("LeftHand", POSITION, 0.05),
    ("RightHand", POSITION, 0.05),
    ("Head", ROTATION, np.deg2rad(5.0)),
)
"""What a repair that does not ask for these leaves about where it is: m or rad, standard deviation."""

QUANTITIES = ("path", "rotation", "look_at")
_FIELDS = ("kind", "joint", "target", "rotation", "direction", "tolerance", "weight")


@dataclass(frozen=True, eq=False)
class Hold:
    """What one joint shall do over a range of frames; each given quantity is held.

    Attributes:
        joint: Name of the body joint.
        begin: First frame.
        end: Frame after the last.
        path: [3] or [end - begin, 3] m, where the joint goes, Y-up world.
        rotation: [3, 3] or [end - begin, 3, 3] world rotation, identity = T-pose.
        look_at: [3] or [end - begin, 3] m, where ``direction`` points.
        direction: [3] in the joint's T-pose axes.
    """

    joint: str
    begin: int
    end: int
    path: np.ndarray | None = None
    rotation: np.ndarray | None = None
    look_at: np.ndarray | None = None
    direction: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, 1.0]))

    def __post_init__(self) -> None:
        """Check the joint and the shapes, and spread what is constant over the frames.

        Raises:
            InputRejected: There is no such joint, the range is empty, nothing is asked for, or a shape differs.
        """
        joint_index(self.joint)
        if not 0 <= self.begin < self.end:
            raise InputRejected(f"frames {self.begin} to {self.end} of {self.joint} are no range")
        count, given = self.end - self.begin, 0
        for name, tail in (("path", (3,)), ("rotation", (3, 3)), ("look_at", (3,))):
            value = getattr(self, name)
            if value is None:
                continue
            given += 1
            value = np.broadcast_to(value, (count, *tail)) if np.shape(value) == tail else value
            object.__setattr__(self, name, frozen_array(f"{name} of {self.joint}", value, (count, *tail)))
        if not given:
            raise InputRejected(f"nothing is asked of {self.joint}: give a path, a rotation or a look-at")
        length = float(np.linalg.norm(frozen_array("direction", self.direction, (3,))))
        if length < 1e-6:
            raise InputRejected(f"{self.joint} looks along a direction of no length")
        object.__setattr__(self, "direction", np.asarray(self.direction) / length)

    def quantity(self, name: str) -> np.ndarray | None:
        """``path``, ``rotation`` or ``look_at``."""
        return {"path": self.path, "rotation": self.rotation, "look_at": self.look_at}[name]

    def like(self, other: Hold) -> bool:
        """Whether both ask for the same thing of the same joint, be it in other frames."""
        same = any(self.quantity(name) is not None and other.quantity(name) is not None for name in QUANTITIES)
        return same and self.joint == other.joint

    def overlaps(self, other: Hold) -> bool:
        """Whether both ask for the same thing of the same joint in some frame."""
        return self.like(other) and self.begin < other.end and other.begin < self.end


@dataclass(frozen=True)
class EasedHold:
    """A hold with the frames that it takes to get there and back."""

    hold: Hold
    before: int
    after: int

    def share(self, count: int) -> np.ndarray:
        """[T] from 0 (the clip's own) to 1 (held)."""
        frames = np.arange(count)
        early, late = self.hold.begin - frames, frames - (self.hold.end - 1)
        rise = smooth_step(1.0 - np.maximum(early, 0) / max(self.before, 1))
        return rise * smooth_step(1.0 - np.maximum(late, 0) / max(self.after, 1))

    def rows(self, count: int) -> np.ndarray:
        """[T] row of the hold's arrays that counts in each frame."""
        return np.clip(np.arange(count) - self.hold.begin, 0, self.hold.end - self.hold.begin - 1)

    def led_path(self, own: np.ndarray) -> np.ndarray:
        """``own`` path [T, 3] led to the hold's, which is drawn on in both directions at its first and last speed."""
        assert self.hold.path is not None
        path, frames = self.hold.path, np.arange(len(own))
        led = path[self.rows(len(own))]
        if len(path) > 1:
            led = led - np.maximum(self.hold.begin - frames, 0)[:, None] * (path[1] - path[0])
            led = led + np.maximum(frames - (self.hold.end - 1), 0)[:, None] * (path[-1] - path[-2])
        return own + self.share(len(own))[:, None] * (led - own)

    def led_rotation(self, own: np.ndarray) -> np.ndarray:
        """``own`` world rotations [T, 3, 3] led to the hold's along the shortest turn."""
        assert self.hold.rotation is not None
        turn = rotvec_from_matrix(np.swapaxes(own, -1, -2) @ self.hold.rotation[self.rows(len(own))])
        return own @ matrix_from_rotvec(self.share(len(own))[:, None] * turn)

    def led_sight(self, points: np.ndarray, eyes: np.ndarray) -> np.ndarray:
        """``points`` [T, 3] looked at from ``eyes`` [T, 3], led to the hold's along the shortest turn."""
        assert self.hold.look_at is not None
        target, share = self.hold.look_at[self.rows(len(points))], self.share(len(points))
        own, wanted = points - eyes, target - eyes
        blind = np.flatnonzero((share == 1.0) & (_length(wanted)[:, 0] < NEAREST_SIGHT_M))
        if len(blind):
            raise InputRejected(f"{self.hold.joint} shall look at a point that is where it is itself")
        arcs = np.stack([shortest_arc(a, b) for a, b in zip(own, wanted, strict=True)])
        turned = matrix_from_rotvec(share[:, None] * rotvec_from_matrix(arcs)) @ (own / _length(own))[..., None]
        reach = (1.0 - share[:, None]) * _length(own) + share[:, None] * _length(wanted)
        return np.where(share[:, None] == 1.0, target, eyes + turned[..., 0] * reach)


def eased_holds(
    holds: Sequence[Hold], positions: np.ndarray, world: np.ndarray, fps: float, ease: float | None
) -> list[EasedHold]:
    """Holds with the time that each is given.

    Args:
        holds: In any order.
        positions: [T, 23, 3] m, where the clip has its joints.
        world: [T, 23, 3, 3] their world rotations.
        fps: Frame rate [Hz].
        ease: Time [s] to get there, and back; ``None`` gives 0.4 s, or 1 s per metre and half a second per radian
            where that is more, but at most 1.5 s. Between two holds of the same thing both get the time that there is.

    Raises:
        InputRejected: Two holds ask different things of one joint at once.
    """
    made = []
    for hold in holds:
        gaps = [np.inf, np.inf]
        for other in holds:
            if other is not hold and hold.overlaps(other):
                raise InputRejected(f"{hold.joint} is held twice in frame {max(hold.begin, other.begin)}")
            if other is not hold and hold.like(other):
                side = 0 if other.begin < hold.begin else 1
                gaps[side] = min(gaps[side], hold.begin - other.end + 1 if side == 0 else other.begin - hold.end + 1)
        lengths = []
        for row, frame, gap in ((0, hold.begin, gaps[0]), (-1, hold.end - 1, gaps[1])):
            wanted = _seconds(hold, row, positions[frame], world[frame]) if ease is None else ease
            lengths.append(int(max(min(round(wanted * fps), gap), 1)))
        made.append(EasedHold(hold, *lengths))
    return made


def drawn_in(hold: Hold, hips: np.ndarray, skeleton: BodySkeleton) -> Hold:
    """The hold with what no body could reach, however it stands, drawn in towards the hips.

    A place a street away pulls in the same direction as one just out of reach, but so hard that the feet give way.

    Args:
        hold: The hold.
        hips: [T, 3] m, where the clip has its Hips.
        skeleton: The body.
    """
    if hold.path is None:
        return hold
    reach = sum(
        float(np.linalg.norm(skeleton.rest_offsets[bone]))
        for joint in (hold.joint, "LeftToeBase")
        for bone in _bones_to(joint_index(joint))
    )
    away = hold.path - hips[hold.begin : hold.end]
    share = np.minimum(1.0, reach / _length(away))
    if share.min() == 1.0:
        return hold
    return replace(hold, path=hips[hold.begin : hold.end] + share * away)


def _bones_to(joint: int) -> list[int]:
    """A joint and those above it, without the Hips."""
    chain = []
    while joint > 0:
        chain.append(joint)
        joint = BODY_PARENTS[joint]
    return chain


def hold_effectors(
    eased: Sequence[EasedHold], clip: BodyPose, positions: np.ndarray, world: np.ndarray, looseness: float
) -> Effectors:
    """One exact effector for each quantity that is held of a joint, and the rest of the body loosely where it is.

    They hold in all T frames: where no hold has a say, its joint is kept to what the clip does, so that nothing jumps
    where a hold begins. Hips and hands are kept in place and the head in its direction as ``LOOSELY_KEPT`` says, unless
    they are held themselves.

    Args:
        eased: The holds.
        clip: The clip.
        positions: [T, 23, 3] m, where it has its joints.
        world: [T, 23, 3, 3] their world rotations.
        looseness: Factor on the tolerances of what is kept loosely.
    """
    held = {each.hold.joint for each in eased}
    columns, weight = [], {"weight": np.full((clip.count, 1), HOLD_WEIGHT)}
    for name, kind, tolerance in LOOSELY_KEPT:
        joint, tolerances = joint_index(name), np.full(clip.count, looseness * tolerance)
        values = {"target": positions[:, joint]} if kind == POSITION else {"rotation": world[:, joint]}
        if name not in held or name == "Hips":
            columns.append(exact_column(kind, joint, clip.count, **values) | {"tolerance": tolerances[:, None]})
    ordered = sorted(eased, key=lambda each: each.hold.begin)
    for name in sorted({each.hold.joint for each in ordered}):
        joint, mine = joint_index(name), [each for each in ordered if each.hold.joint == name]
        path, rotation = positions[:, joint], world[:, joint]
        for each in mine:
            path = path if each.hold.path is None else each.led_path(path)
            rotation = rotation if each.hold.rotation is None else each.led_rotation(rotation)
        if any(each.hold.path is not None for each in mine):
            columns.append(exact_column(POSITION, joint, clip.count, target=path) | weight)
        if any(each.hold.rotation is not None for each in mine):
            columns.append(exact_column(ROTATION, joint, clip.count, rotation=rotation) | weight)
        for each in mine:
            if each.hold.look_at is not None:
                points = each.led_sight(path + world[:, joint] @ each.hold.direction, path)
                direction = np.broadcast_to(each.hold.direction, points.shape)
                columns.append(exact_column(LOOK_AT, joint, clip.count, target=points, direction=direction) | weight)
    return Effectors(*(np.concatenate([each[name] for each in columns], axis=1) for name in _FIELDS))


def exact_column(kind: int, joint: int, count: int, **values: np.ndarray) -> dict[str, np.ndarray]:
    """The arrays [T, 1, ...] of one exact effector in each of ``count`` frames; ``values`` [T, ...] are its targets."""
    arrays = {
        "kind": np.full((count, 1), kind),
        "joint": np.full((count, 1), joint),
        "target": np.zeros((count, 1, 3)),
        "rotation": np.tile(np.eye(3), (count, 1, 1, 1)),
        "direction": np.zeros((count, 1, 3)),
        "tolerance": np.zeros((count, 1)),
        "weight": np.ones((count, 1)),
    }
    return arrays | {name: value[:, None] for name, value in values.items()}


def _seconds(hold: Hold, row: int, position: np.ndarray, world: np.ndarray) -> float:
    """Time [s] for the way from what a joint does in a frame to the row of a hold."""
    joint, seconds = joint_index(hold.joint), SHORTEST_EASE_S
    if hold.path is not None:
        seconds = max(seconds, EASE_S_PER_M * float(np.linalg.norm(hold.path[row] - position[joint])))
    if hold.rotation is not None:
        seconds = max(seconds, EASE_S_PER_RAD * float(geodesic_angle(world[joint], hold.rotation[row])))
    if hold.look_at is not None:
        arc = shortest_arc(world[joint] @ hold.direction, hold.look_at[row] - position[joint])
        seconds = max(seconds, EASE_S_PER_RAD * float(np.linalg.norm(rotvec_from_matrix(arc))))
    return min(seconds, LONGEST_EASE_S)


def _length(vectors: np.ndarray) -> np.ndarray:
    return np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
