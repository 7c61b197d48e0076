"""The exact stage over a clip: no flicker, feet that stand still, targets still met.

Frame by frame the nearest pose jumps with every jump of its proposal. Here the proposals are smoothed first, each frame
begins where the last one ended, and what the exact stage changes is smoothed over time and made exact again in turns:
a smooth correction that meets its targets spreads over the frames before and after them, so that nothing snaps. Where a
joint snaps all the same, another way is sought (:mod:`soma_isaac.learned.sequence_jumps`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import Effectors, joint_index
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.pins import Pin, placed, with_pins
from soma_isaac.learned.prior import PosePrior, default_prior, pose_after, steps_between
from soma_isaac.learned.refine import Refined, refine, refine_bodies, refined
from soma_isaac.learned.rows import JOINTS, TANGENT
from soma_isaac.learned.sequence_jumps import SPREAD_HZ, Frames, without_jumps
from soma_isaac.learned.skeleton import BodyPose, BodySkeleton, body_kinematics
from soma_isaac.learned.solve import RefineSettings
from soma_isaac.math.rts import RtsGains, rts_points, rts_rotations
from soma_isaac.motion.soma import check_fps

_NEGLIGIBLE = 1e-9  # weight of what has had its say already


@dataclass(frozen=True)
class SequenceSettings:
    """How a clip is smoothed.

    Attributes:
        proposal_cutoff: Proposals lose what is faster than this [Hz]; ``None`` keeps them as they are (a recorded clip
            that is only to be repaired).
        correction_cutoff: What the exact stage changes loses what is faster than this [Hz], so far as targets allow.
        ease: A pinned joint leaves its own path and comes back to it over this time [s]; less between two pins.
        passes: How often corrections are smoothed and made exact again.
        warm_tolerance: First tolerance [m or rad] of a frame that begins where the last one ended.
        fastest: Where what is changed turns a joint faster than this [rad/s], a smoother way is sought
            (:mod:`soma_isaac.learned.sequence_jumps`); ``None`` for nowhere.
    """

    proposal_cutoff: float | None = 5.0
    correction_cutoff: float = 4.0
    ease: float = 0.4
    passes: int = 2
    warm_tolerance: float = 0.02
    fastest: float | None = None


@dataclass(frozen=True, eq=False)
class RefinedSequence:
    """A clip that meets its effectors and pins.

    Attributes:
        result: The T poses, and how the effectors are met; ``change`` is against the proposals as they were given.
        pin_residual: [T, P] m of each pin, 0 in frames where it does not hold.
        pins: The P pins, their targets [end - begin, 3] filled in.
    """

    result: Refined
    pin_residual: np.ndarray
    pins: tuple[Pin, ...]


def refine_sequence(
    proposals: BodyPose,
    effectors: Effectors,
    skeleton: BodySkeleton,
    fps: float,
    *,
    pins: Sequence[Pin] = (),
    prior: PosePrior | None = None,
    limits: JointLimits | None = None,
    settings: SequenceSettings | None = None,
    solver: RefineSettings | None = None,
) -> RefinedSequence:
    """The smoothest clip near its proposals that meets its effectors and pins.

    Effectors of no tolerance and pins hold to a millimetre after all smoothing; the others are weighed against the
    prior once, frame by frame, and smoothed.

    Args:
        proposals: T poses.
        effectors: T sets.
        skeleton: The body.
        fps: Frame rate [Hz].
        pins: What is held still, e.g. from :func:`~soma_isaac.learned.pins.pins_of_contacts`.
        prior: How the proposals err.
        limits: Ranges of the joints.
        settings: How it is smoothed.
        solver: How the equations are solved.

    Raises:
        InputRejected: Frame counts differ, a pin lies outside the clip or names no joint, or the frame rate is none.
    """
    settings, solver, prior = settings or SequenceSettings(), solver or RefineSettings(), prior or default_prior()
    check_fps(fps)
    if proposals.count != effectors.count:
        raise InputRejected(f"{proposals.count} poses for {effectors.count} sets of effectors")
    smooth = proposals if settings.proposal_cutoff is None else _smooth_poses(proposals, fps, settings.proposal_cutoff)
    tolerance = min(settings.warm_tolerance, solver.first_tolerance)
    warm = replace(solver, first_tolerance=tolerance, second_start=False)
    clip, iterations = _frame_by_frame(smooth, effectors, skeleton, prior, limits, solver, warm)
    filled = placed(pins, _paths(clip, skeleton), skeleton)
    offsets = np.broadcast_to(skeleton.rest_offsets, (clip.count, JOINTS, 3))
    if filled:
        held = with_pins(effectors, filled, _paths(clip, skeleton), settings.ease * fps)
        clip = refine_bodies(smooth, held, offsets, prior=prior, limits=limits, settings=warm, first=clip).pose
    exact, gains = _exact_only(effectors, solver.tiny), cutoff_gains(settings.correction_cutoff, fps)
    for _ in range(settings.passes):
        steps = rts_points(steps_between(smooth, clip, offsets), fps, gains)
        smoothed = pose_after(smooth, steps, offsets)
        # pins are eased from where the smoothed joints go: outside of them nothing pulls back what smoothing moved
        held = with_pins(exact, filled, _paths(smoothed, skeleton), settings.ease * fps)
        clip = refine(smoothed, held, skeleton, prior=prior, limits=limits, settings=warm).pose
    if settings.fastest is not None:
        every, must = (with_pins(e, filled, _paths(clip, skeleton), settings.ease * fps) for e in (effectors, exact))
        frames = Frames(smooth, offsets, fps, prior, limits, warm)
        clip = without_jumps(frames, clip, settings.fastest, every, must, gains, cutoff_gains(SPREAD_HZ, fps))
    result = refined(proposals, clip, effectors, offsets, iterations)
    return RefinedSequence(result, _missed(filled, _paths(clip, skeleton)), filled)


def _paths(clip: BodyPose, skeleton: BodySkeleton) -> np.ndarray:
    return body_kinematics(clip.rotations, clip.root_position, skeleton.rest_offsets)[0]


def _missed(pins: Sequence[Pin], paths: np.ndarray) -> np.ndarray:
    """Distances [T, P] m of pinned joints from their pins, 0 in frames where they do not hold."""
    result = np.zeros((len(paths), len(pins)))
    for column, pin in enumerate(pins):
        own = paths[pin.begin : pin.end, joint_index(pin.joint)]
        result[pin.begin : pin.end, column] = np.linalg.norm(own - pin.target, axis=-1)
    return result


def cutoff_gains(cutoff: float, fps: float) -> RtsGains:
    """Gains of a Rauch-Tung-Striebel smoother that halves a vibration of that frequency [Hz].

    With no noise but white acceleration of density q against observations of density r / fps, the smoother's gain at
    w rad/s is ``1 / (1 + w^4 r / (q fps))``: one half where ``q = r w^4 / fps``.
    """
    if not cutoff > 0.0:
        raise InputRejected(f"a cutoff of {cutoff!r} Hz smooths nothing")
    return RtsGains(r_obs=1.0, q_pos=0.0, q_vel=(2.0 * np.pi * cutoff) ** 4 / fps)


def _smooth_poses(poses: BodyPose, fps: float, cutoff: float) -> BodyPose:
    gains = cutoff_gains(cutoff, fps)
    rotations = rts_rotations(poses.rotations, fps, [gains] * poses.rotations.shape[1])
    return BodyPose(rotations, rts_points(poses.root_position, fps, gains))


def _frame_by_frame(
    proposals: BodyPose,
    effectors: Effectors,
    skeleton: BodySkeleton,
    prior: PosePrior,
    limits: JointLimits | None,
    cold: RefineSettings,
    warm: RefineSettings,
) -> tuple[BodyPose, np.ndarray]:
    """Each frame's nearest pose, sought from what the frame before had to change; and the steps that took."""
    rotations, root = np.empty_like(proposals.rotations), np.empty_like(proposals.root_position)
    step, iterations = np.zeros((1, TANGENT)), np.zeros(proposals.count, dtype=np.int64)
    for frame in range(proposals.count):
        one = slice(frame, frame + 1)
        proposed = BodyPose(proposals.rotations[one], proposals.root_position[one])
        found = refine_bodies(
            proposed,
            _frame(effectors, frame),
            skeleton.rest_offsets[None],
            prior=prior,
            limits=limits,
            settings=warm if frame else cold,
            first=pose_after(proposed, step, skeleton.rest_offsets),
        )
        step, iterations[frame] = steps_between(proposed, found.pose, skeleton.rest_offsets), found.iterations[0]
        rotations[frame], root[frame] = found.pose.rotations[0], found.pose.root_position[0]
    return BodyPose(rotations, root), iterations


def _exact_only(effectors: Effectors, tiny: float) -> Effectors:
    """The same sets with what has tolerance taken out (all but: a set must not be without a position)."""
    weight = np.where(effectors.tolerance > tiny, _NEGLIGIBLE * effectors.weight, effectors.weight)
    return Effectors(**{**_fields(effectors), "weight": weight})


def _frame(effectors: Effectors, frame: int) -> Effectors:
    return Effectors(**{name: value[frame : frame + 1] for name, value in _fields(effectors).items()})


def _fields(effectors: Effectors) -> dict[str, np.ndarray]:
    return {each.name: getattr(effectors, each.name) for each in fields(effectors)}
