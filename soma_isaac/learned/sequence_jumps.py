"""Where a clip's nearest poses jump from one valley to another, a valley that goes on is followed instead.

From one frame to the next the pose nearest to the proposal may be another way to hold an arm, far from the last one,
though targets and proposals move smoothly: a joint turns by more than a half turn, a valley ends at a limit or another
becomes deeper. Smoothing in turns with meeting the targets spreads such a jump over a few frames only. So every frame
of the stretch about a jump is solved once more near what its neighbour had to change, which falls back towards nothing
by and by, from both ends of the stretch and, where both run into a limit and miss targets, outwards from between. Of
these ways that is taken which meets the targets and jumps least: often one is smooth throughout. What jumps are left
(a valley that ends has to be left for another) are spread over time and made exact in turns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

import numpy as np

from soma_isaac.learned.attempts import problem_of, solved
from soma_isaac.learned.effectors import Effectors
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.pins import smooth_step
from soma_isaac.learned.prior import PosePrior, pose_after, steps_between
from soma_isaac.learned.refine import effector_residuals
from soma_isaac.learned.rows import JOINTS
from soma_isaac.learned.skeleton import BodyPose
from soma_isaac.learned.solve import RefineSettings
from soma_isaac.math.rts import RtsGains, rts_points
from soma_isaac.math.runs import runs
from soma_isaac.math.so3 import geodesic_angle

AROUND_S = 2.0
"""Seconds before and after a jump that are solved again."""
RETURN_S = 0.3
"""What a neighbour had to change falls back towards nothing in this time constant."""
SPREAD_HZ, SPREAD_S, SPREAD_EASE_S = 1.5, 0.15, 0.4
"""About jumps that are left what is changed loses what is faster than this, so far around, and fading out so far."""
BORDER_S = 0.3
"""At its ends a stretch comes back to what stands outside it over this time."""

_PASSES, _SEEDS = 6, 2
_OUT_OF_REACH = 0.01  # m or rad; a limb that is pulled straight is in no valley that could be followed
_MISSED = 1e-3  # m or rad; a way that misses by so much more than what stood is wrong in that frame
_MET = 1e-5  # m or rad; what is met within this, or as well as before, may replace what stood
_USED = 1e-6  # weight below which an effector has no say
_JUMP = 2.0  # times the fastest is a jump that is spread; what is slower is smoothed as everywhere
_WRONG, _CHANGE = 10.0, 1e-3  # cost of a frame that misses, and of going from one way to another; a jump's is rad^2


@dataclass(frozen=True, eq=False)
class Frames:
    """Frames of a clip to be solved.

    Attributes:
        proposals: T poses.
        offsets: [T, 23, 3] m.
        fps: Frame rate [Hz].
        prior: How the proposals err.
        limits: Ranges of the joints.
        solver: How the equations are solved.
    """

    proposals: BodyPose
    offsets: np.ndarray
    fps: float
    prior: PosePrior
    limits: JointLimits | None
    solver: RefineSettings

    def part(self, frames: slice) -> Frames:
        """Some of them."""
        return replace(self, proposals=_taken(self.proposals, frames), offsets=self.offsets[frames])

    def about(self, proposals: BodyPose) -> Frames:
        """The same with other proposals."""
        return replace(self, proposals=proposals)

    def speeds(self, clip: BodyPose) -> np.ndarray:
        """[T - 1] rad/s, how fast that turns which is changed of the fastest joint."""
        turns = self.proposals.rotations.swapaxes(-1, -2) @ clip.rotations
        return self.fps * geodesic_angle(turns[1:], turns[:-1]).max(axis=-1)

    def steps(self, clip: BodyPose, near: np.ndarray) -> np.ndarray:
        """Steps [T, 72] from the proposals, counted as near to others [T, 72] as whole turns allow."""
        return unwound(steps_between(self.proposals, clip, self.offsets), near)

    def after(self, steps: np.ndarray) -> BodyPose:
        """The poses that steps [T, 72] lead to."""
        return pose_after(self.proposals, steps, self.offsets)

    def nearest(self, effectors: Effectors) -> BodyPose:
        """The poses nearest to the proposals with limits kept from the first iteration on.

        The nearest pose of all, from which :func:`soma_isaac.learned.refine.refine_bodies` goes back to the limits, may
        lie in another valley.
        """
        problem = problem_of(self.proposals, effectors, self.offsets, self.solver)
        found = solved(problem, self.prior, self.limits, self.solver)
        return BodyPose(found.local if self.limits is None else self.limits.clamp(found.local), found.root)

    def missed(self, clip: BodyPose, effectors: Effectors) -> np.ndarray:
        """[T] m or rad, largest distance from an exact effector."""
        exact = (effectors.tolerance <= self.solver.tiny) & (effectors.weight > _USED)
        return np.where(exact, effector_residuals(clip, effectors, self.offsets), 0.0).max(axis=1)


def without_jumps(
    whole: Frames,
    clip: BodyPose,
    fastest: float,
    effectors: Effectors,
    exact: Effectors,
    gains: RtsGains,
    low: RtsGains,
) -> BodyPose:
    """The clip, solved again where what is changed jumps, if that makes it slower and misses nothing that is met.

    Args:
        whole: The frames; the proposals are what changes are measured against.
        clip: T poses that meet their effectors.
        fastest: What is changed jumps where a joint turns faster than this [rad/s].
        effectors: T sets with all that is wanted.
        exact: The same with what must be met only.
        gains: Of the smoother of changes.
        low: Of the same about jumps, ``SPREAD_HZ``.
    """
    fast = whole.speeds(clip) > fastest
    if not fast.any():
        return clip
    rotations, root = clip.rotations.copy(), clip.root_position.copy()
    for frames in _stretches(fast, round(AROUND_S * whole.fps)):
        part, own, wanted, must = (
            whole.part(frames),
            _taken(clip, frames),
            _sets(effectors, frames),
            _sets(exact, frames),
        )
        if part.missed(own, must).max() > _OUT_OF_REACH:
            continue
        found = _spread(part, own, _followed(part, own, wanted), must, fastest, (gains, low))
        rotations[frames], root[frames] = found.rotations, found.root_position
    return BodyPose(rotations, root)


def unwound(steps: np.ndarray, near: np.ndarray) -> np.ndarray:
    """Steps [T, 72] whose rotation vectors get as many whole turns more as bring them nearest to others [T, 72].

    So that what turns on beyond a half turn does not come back from the other side.
    """
    vectors, others = steps[:, 3:].reshape(-1, 3), near[:, 3:].reshape(-1, 3)
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    axis = vectors / np.maximum(angle, 1e-9)
    turns = np.round(((axis * others).sum(axis=-1, keepdims=True) - angle) / (2.0 * np.pi))
    vectors = vectors + 2.0 * np.pi * turns * axis
    return np.concatenate([steps[:, :3], vectors.reshape(len(steps), -1)], axis=1)


def _stretches(fast: np.ndarray, around: int) -> Iterator[slice]:
    """Disjoint ranges of frames about the steps [T - 1] from frame to frame that are too fast."""
    near = np.zeros(len(fast) + 1, dtype=bool)
    for frame in np.flatnonzero(fast):
        near[max(frame - around, 0) : frame + around + 2] = True
    for begin, end in runs(near):
        yield slice(begin, end)


def _followed(part: Frames, clip: BodyPose, effectors: Effectors) -> np.ndarray:
    """Steps [T, 72] from the proposals that follow valleys as long as they go on."""
    own = steps_between(part.proposals, clip, part.offsets)
    least, count = part.missed(clip, effectors) + _MISSED, len(own)
    ways = [_follow(part, effectors, range(count), own), _follow(part, effectors, range(count - 1, -1, -1), own)]
    wrong = [part.missed(part.after(way), effectors) > least for way in ways]
    for _ in range(_SEEDS):
        left = runs(np.logical_and.reduce(wrong))
        if not left:
            break
        begin, end = max(left, key=lambda run: run[1] - run[0])
        seed = (begin + end) // 2
        way = _follow(part, effectors, range(seed, count), own)
        way[:seed] = _follow(part, effectors, range(seed, -1, -1), own)[:seed]
        ways.append(way)
        wrong.append(part.missed(part.after(way), effectors) > least)
    return _least_jumping(np.stack(ways), np.stack(wrong))


def _follow(part: Frames, effectors: Effectors, order: range, own: np.ndarray) -> np.ndarray:
    """Steps [T, 72] of the frames in ``order``, each solved near its neighbour's; the first near its own [T, 72]."""
    steps, step, keep = np.empty_like(own), own[order[0]][None], np.exp(-1.0 / (RETURN_S * part.fps))
    for frame in order:
        one = slice(frame, frame + 1)
        here = part.part(one)
        found = here.about(here.after(step)).nearest(_sets(effectors, one))
        steps[frame] = here.steps(found, step)[0]
        step = keep * steps[one]
    return steps


def _least_jumping(ways: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Steps [T, 72], each of one of the ways [W, T, 72]: seldom wrong [W, T] and the least sum of squared turns.

    The shortest path through all choices (Viterbi).
    """
    count = ways.shape[1]
    vectors = ways[:, :, 3:].reshape(*ways.shape[:2], JOINTS, 3)
    change = _CHANGE * (1.0 - np.eye(len(ways)))
    cost, came = _WRONG * wrong[:, 0], np.zeros((count, len(ways)), dtype=np.int64)
    for frame in range(1, count):
        turns = np.square(vectors[None, :, frame] - vectors[:, None, frame - 1]).sum(axis=-1).max(axis=-1)
        total = cost[:, None] + turns + change  # [from, to]
        came[frame] = total.argmin(axis=0)
        cost = total.min(axis=0) + _WRONG * wrong[:, frame]
    chosen = np.full(count, cost.argmin())
    for frame in range(count - 1, 0, -1):
        chosen[frame - 1] = came[frame, chosen[frame]]
    return ways[chosen, np.arange(count)]


def _spread(
    part: Frames, clip: BodyPose, steps: np.ndarray, exact: Effectors, fastest: float, gains: tuple[RtsGains, RtsGains]
) -> BodyPose:
    """Smooth steps [T, 72] and meet the targets in turns; the slowest clip that misses no more, else what stood."""
    own, frames = steps_between(part.proposals, clip, part.offsets), np.arange(len(steps))
    least, best, slowest = max(part.missed(clip, exact).max(), _MET), clip, part.speeds(clip).max()
    inside = smooth_step(np.minimum(frames, frames[::-1]) / (BORDER_S * part.fps))[:, None]
    for turn in range(_PASSES):
        smooth = rts_points(steps, part.fps, gains[0])
        fast = np.flatnonzero(part.speeds(part.after(steps)) > _JUMP * fastest)
        if len(fast):
            near = np.abs(frames[:, None] - fast - 0.5).min(axis=1) / part.fps
            share = smooth_step(1.0 - (near - SPREAD_S) / SPREAD_EASE_S)[:, None]
            smooth = smooth + share * (rts_points(smooth, part.fps, gains[1]) - smooth)
        border = unwound(own, smooth)
        smooth = border + inside * (smooth - border)
        found = part.about(part.after(smooth)).nearest(exact)
        steps = part.steps(found, smooth)
        found = part.about(found).nearest(exact)  # the last hundredths of a millimetre
        speed = part.speeds(found).max()
        if speed < slowest and part.missed(found, exact).max() <= least:
            best, slowest = found, speed
        if turn > 0 and slowest <= fastest:
            break
    return best


def _taken(clip: BodyPose, frames: slice) -> BodyPose:
    return BodyPose(clip.rotations[frames], clip.root_position[frames])


def _sets(effectors: Effectors, frames: slice) -> Effectors:
    return Effectors(**{each.name: getattr(effectors, each.name)[frames] for each in fields(effectors)})
