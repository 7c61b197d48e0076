"""The few effectors that a pose, or a whole clip, can be posed again with: SMPL-IK's effector recovery.

Voleti et al., SMPL-IK (arXiv 2208.08274), section 3.5: greedy selection. Every candidate for the next place is one set
of effectors, all of them in one call: a set holds every possible effector, those not chosen with weight zero, which
drop out exactly. Beyond the paper: the exact stage decides along with the network, so that what is chosen is what will
be used; the first three positions are chosen together (networks are trained with three or more); chosen ones may be
exchanged afterwards; rotations can be candidates; a clip gets one set for all its frames.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import POSITION, ROTATION, Effectors, joint_index
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, BodySkeleton, body_kinematics
from soma_isaac.math.so3 import geodesic_angle

JOINTS = len(BODY_JOINT_NAMES)
FIRST = 3
_SETS = 2048  # that are solved at once; more only take memory
_LEAST_GAIN = 1e-6


@dataclass(frozen=True)
class RecoverySettings:
    """What is sought.

    Attributes:
        count: Most effectors.
        good_enough: Stop at this error [m].
        rotations: Let rotation effectors be chosen too.
        rotation_scale: What an error of the joints' world rotations counts [m per rad].
        start: Joints whose positions are given beforehand.
        swaps: Most exchanges of a chosen effector for a better one, after the last is chosen.
        frames: Of a longer clip, so many frames, evenly spaced, decide.
    """

    count: int = 6
    good_enough: float = 0.0
    rotations: bool = False
    rotation_scale: float = 0.0
    start: tuple[str, ...] = ("Hips",)
    swaps: int = 2
    frames: int = 16

    def __post_init__(self) -> None:
        """Check ranges and names.

        Raises:
            InputRejected: A number is out of range or a joint is not known.
        """
        if self.count < FIRST or self.count > JOINTS:
            raise InputRejected(f"recovery takes {FIRST} to {JOINTS} effectors, not {self.count}")
        if len(set(self.start)) != len(self.start) or len(self.start) > self.count:
            raise InputRejected(f"{', '.join(self.start)}: joints to start with are given twice or are too many")
        if self.frames < 1 or self.swaps < 0 or self.good_enough < 0 or self.rotation_scale < 0:
            raise InputRejected("recovery needs at least one frame, and no number below zero")
        self.start_joints()

    def start_joints(self) -> list[int]:
        """Indices of the joints to start with.

        Raises:
            InputRejected: A joint is not known.
        """
        return [joint_index(name) for name in self.start]


@dataclass(frozen=True, eq=False)
class Recovered:
    """A set of effectors and what it gives.

    Attributes:
        kind: [K] of the effectors, in the order in which they were chosen.
        joint: [K].
        effectors: F sets: these effectors with the targets of each frame.
        pose: F poses solved from them.
        error: [F] m, mean joint distance in the world.
        steps: Number of effectors and mean error [m] over the deciding frames after each step, exchanges included.
        calls: How often the poser was asked while choosing.
    """

    kind: np.ndarray
    joint: np.ndarray
    effectors: Effectors
    pose: BodyPose
    error: np.ndarray
    steps: tuple[tuple[int, float], ...]
    calls: int

    @property
    def names(self) -> tuple[str, ...]:
        """``position Hips``, ``rotation Head``, ..."""
        words = {POSITION: "position", ROTATION: "rotation"}
        return tuple(
            f"{words[k]} {BODY_JOINT_NAMES[j]}" for k, j in zip(self.kind.tolist(), self.joint.tolist(), strict=True)
        )


def recover(
    poses: BodyPose, skeleton: BodySkeleton, poser: Poser, settings: RecoverySettings | None = None
) -> Recovered:
    """Choose effectors with which a poser finds poses again, one set for all of them.

    Args:
        poses: F frames of a clip, or one pose.
        skeleton: The body.
        poser: Network and exact stage.
        settings: What is sought.

    Raises:
        InputRejected: As the poser.
    """
    settings = settings or RecoverySettings()
    search = _Search(poses, skeleton, poser, settings)
    chosen = search.begin()
    while len(chosen) < settings.count and search.best > settings.good_enough:
        chosen = search.widen(chosen)
    for _ in range(settings.swaps):
        if search.best <= settings.good_enough or not search.exchange(chosen):
            break
    kind, joint = search.kind[chosen], search.joint[chosen]
    weight = np.zeros((1, len(search.kind)))
    weight[:, chosen] = 1.0
    effectors = packed(asked(poses, skeleton, search.kind, search.joint, np.repeat(weight, poses.count, axis=0)))
    solved = poser.solve(effectors, skeleton)
    error, _ = _errors(solved.pose, poses, skeleton)
    return Recovered(kind, joint, effectors, solved.pose, error, tuple(search.steps), search.calls)


class _Search:
    """The state of a selection: candidates are numbered, positions of all joints first."""

    def __init__(self, poses: BodyPose, skeleton: BodySkeleton, poser: Poser, settings: RecoverySettings) -> None:
        frames = np.unique(np.linspace(0, poses.count - 1, min(settings.frames, poses.count)).round().astype(int))
        self.poses = BodyPose(poses.rotations[frames], poses.root_position[frames])
        self.skeleton, self.poser, self.settings = skeleton, poser, settings
        kinds = (POSITION, ROTATION) if settings.rotations else (POSITION,)
        self.kind = np.repeat(kinds, JOINTS)
        self.joint = np.tile(np.arange(JOINTS), len(kinds))
        self.best, self.calls = np.inf, 0
        self.steps: list[tuple[int, float]] = []

    def begin(self) -> list[int]:
        """Joints given beforehand and the best positions that make them three."""
        start = self.settings.start_joints()
        more = max(0, FIRST - len(start))
        others = [joint for joint in range(JOINTS) if joint not in start]
        return self._take([[*start, *each] for each in itertools.combinations(others, more)])

    def widen(self, chosen: list[int]) -> list[int]:
        """One more."""
        return self._take([[*chosen, each] for each in range(len(self.kind)) if each not in chosen])

    def exchange(self, chosen: list[int]) -> bool:
        """Put a better one in the place of a chosen one; whether there was one."""
        fixed = len(self.settings.start)
        others = [each for each in range(len(self.kind)) if each not in chosen]
        trials = [
            [*chosen[:place], other, *chosen[place + 1 :]] for place in range(fixed, len(chosen)) for other in others
        ]
        trials = [trial for trial in trials if (self.kind[trial] == POSITION).sum() >= FIRST]
        if not trials:  # all were given beforehand, or there is no other
            return False
        scores, means = self._scores(trials)
        best = int(np.argmin(scores))
        if scores[best] >= self.best - _LEAST_GAIN:
            return False
        chosen[:] = trials[best]
        self.best = float(scores[best])
        self.steps.append((len(chosen), float(means[best])))
        return True

    def _take(self, trials: list[list[int]]) -> list[int]:
        scores, means = self._scores(trials)
        best = int(np.argmin(scores))
        self.best = float(scores[best])
        self.steps.append((len(trials[best]), float(means[best])))
        return trials[best]

    def _scores(self, trials: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
        """What is made small, and the mean joint error [m], of trials [C]: one call of the poser for all."""
        frames = self.poses.count
        weight = np.zeros((len(trials), len(self.kind)))
        for row, trial in enumerate(trials):
            weight[row, list(trial)] = 1.0
        frame = np.tile(np.arange(frames), len(trials))
        rows = np.repeat(np.arange(len(trials)), frames)
        self.calls += 1
        parts = []
        for at in range(0, len(rows), _SETS):
            part = slice(at, at + _SETS)
            truth = BodyPose(self.poses.rotations[frame[part]], self.poses.root_position[frame[part]])
            effectors = packed(asked(truth, self.skeleton, self.kind, self.joint, weight[rows[part]]))
            parts.append(_errors(self.poser.solve(effectors, self.skeleton).pose, truth, self.skeleton))
        distance, angle = (
            np.concatenate(each).reshape(len(trials), frames).mean(axis=1) for each in zip(*parts, strict=True)
        )
        return distance + self.settings.rotation_scale * angle, distance


def asked(
    poses: BodyPose, skeleton: BodySkeleton, kind: np.ndarray, joint: np.ndarray, weight: np.ndarray
) -> Effectors:
    """Exact effectors of poses.

    Args:
        poses: B poses.
        skeleton: Their body.
        kind: [E] positions and rotations.
        joint: [E].
        weight: [B, E].
    """
    positions, world = body_kinematics(
        poses.rotations.astype(np.float64), poses.root_position.astype(np.float64), skeleton.rest_offsets
    )
    is_rotation = (kind == ROTATION)[None, :, None]
    shape = (poses.count, len(kind))
    return Effectors(
        np.broadcast_to(kind, shape),
        np.broadcast_to(joint, shape),
        np.where(is_rotation, 0.0, positions[:, joint]),
        np.where(is_rotation[..., None], world[:, joint], np.eye(3)),
        np.zeros((*shape, 3)),
        np.zeros(shape),
        weight,
    )


def packed(effectors: Effectors) -> Effectors:
    """The same sets with those of no weight last, and as few of these as the fullest set leaves."""
    unused = effectors.weight <= 0
    order = np.argsort(unused, axis=1, kind="stable")[:, : int((~unused).sum(axis=1).max())]
    rows = np.arange(effectors.count)[:, None]
    names = ("kind", "joint", "target", "rotation", "direction", "tolerance", "weight")
    return Effectors(*(getattr(effectors, name)[rows, order] for name in names))


def _errors(found: BodyPose, truth: BodyPose, skeleton: BodySkeleton) -> tuple[np.ndarray, np.ndarray]:
    """Mean joint distance [B] m and mean angle [B] rad between world rotations."""
    have, have_turns = body_kinematics(found.rotations, found.root_position, skeleton.rest_offsets)
    want, want_turns = body_kinematics(truth.rotations, truth.root_position, skeleton.rest_offsets)
    return np.linalg.norm(have - want, axis=-1).mean(axis=1), geodesic_angle(have_turns, want_turns).mean(axis=1)
