"""Repair a SOMA clip: effectors held over a range of frames, everything outside it left as it is, byte for byte."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION, Effectors, joint_index
from soma_isaac.learned.limits import WIDEST_RAD, JointLimits
from soma_isaac.learned.pins import CONTACT_JOINTS, Pin, smooth_step
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.prior import PosePrior, pose_after, steps_between
from soma_isaac.learned.refine import effector_residuals
from soma_isaac.learned.sequence import SequenceSettings, cutoff_gains, refine_sequence
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, POSE_INDICES, BodyPose, BodySkeleton, body_kinematics
from soma_isaac.math.rts import rts_points
from soma_isaac.math.runs import runs
from soma_isaac.math.so3 import geodesic_angle, rotvec_from_matrix
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.repair_targets import (
    EasedHold,
    Hold,
    drawn_in,
    eased_holds,
    exact_column,
    hold_effectors,
)

FEET = ("keep", "contacts", "free")

DEVIATIONS_RAD = {
    **dict.fromkeys(("Hips", "Spine1", "Spine2", "Chest"), 0.1),
    **dict.fromkeys(("Neck1", "Neck2", "Head", "Shoulder"), 0.15),
    **dict.fromkeys(("Arm", "ForeArm", "Leg", "Shin"), 0.7),
    **dict.fromkeys(("Hand", "Foot", "ToeBase"), 0.3),
}
"""How much of a change each joint takes, left and right alike: limbs rather than the trunk."""
HIPS_DEVIATION_M = 0.1

OUT_OF_REACH_M, HELD_BACK, HELD_BACK_HZ = 0.005, 0.03, 1.0
"""A path missed by more is given up for one that is nearer to the hips by this share, and smooth to this frequency."""

FASTEST_CHANGE_RAD_S = float(np.deg2rad(500.0))
"""What is changed of a joint turns faster than this only where an arm snaps over, which is then mended."""


@functools.lru_cache(maxsize=1)
def repair_prior() -> PosePrior:
    """How a clip that wants repair errs: not as a network does, but in the limb that is held, the trunk following."""
    joints = (DEVIATIONS_RAD[name.removeprefix("Left").removeprefix("Right")] for name in BODY_JOINT_NAMES)
    return PosePrior(np.diag(np.square([*[HIPS_DEVIATION_M] * 3, *np.repeat(list(joints), 3)])))


@dataclass(frozen=True)
class RepairSettings:
    """How a clip is repaired.

    Attributes:
        ease: A joint is led from its own path to what it shall do, and back, over this time [s]; ``None`` takes 0.4 s,
            or 1 s per metre where the way is longer.
        fade: Before and after that, the rest of the body comes back to the clip over this time [s].
        feet: ``keep`` the paths of ankles and toes throughout, only while they are in ``contacts``, or leave them
            ``free``.
        looseness: Factor on how far hips, free hands and head may well go from where they are (5 cm, 5 degrees).
        correction_cutoff: What is changed loses what is faster than this [Hz], as far as the targets allow.
    """

    ease: float | None = None
    fade: float = 0.4
    feet: str = "keep"
    looseness: float = 1.0
    correction_cutoff: float = 4.0


@dataclass(frozen=True, eq=False)
class RepairedMotion:
    """A repaired clip and how well its holds are met.

    Attributes:
        motion: The clip.
        residual: Per hold, largest distances over its frames: m of the path, rad of rotation, rad of look-at; 0 where
            nothing was asked for.
        changed: [T] bool, frames that differ from the clip.
        feet_moved: Largest distance [m] of ankles and toes from where the clip has them, in frames in which they were
            to be kept.
        largest_turn: Largest turn [rad] of a joint against the clip.
        fastest: Speed [rad/s] of the fastest joint, and of the clip's own.
    """

    motion: SomaMotion
    residual: tuple[tuple[float, float, float], ...]
    changed: np.ndarray
    feet_moved: float
    largest_turn: float
    fastest: tuple[float, float]


def repair_motion(
    motion: SomaMotion, holds: Sequence[Hold], poser: Poser, settings: RepairSettings | None = None
) -> RepairedMotion:
    """The clip with its holds met, smoothly, and nothing else changed.

    Around each hold the clip's own poses are the proposals of
    :func:`soma_isaac.learned.sequence.refine_sequence`; further away than ``ease + fade`` no value is touched.

    Args:
        motion: The clip.
        holds: What to hold. Holds of one joint's path may not overlap.
        poser: Gives the joint limits, which are widened to what the clip itself does.
        settings: How.

    Raises:
        InputRejected: There are no holds, one lies outside the clip, or two hold one joint's path at once.
    """
    settings = settings or RepairSettings()
    if settings.feet not in FEET:
        raise InputRejected(f"feet {settings.feet!r} is none of {', '.join(FEET)}")
    if not holds:
        raise InputRejected("there is nothing to hold")
    for hold in holds:
        if hold.end > motion.frame_count:
            raise InputRejected(
                f"{hold.joint} is held over frames {hold.begin} to {hold.end} of a clip of {motion.frame_count}"
            )
    skeleton = BodySkeleton.from_public_offsets(motion.identity.rest_offsets)
    clip = BodyPose(motion.rotations[:, list(POSE_INDICES)], motion.root_translation)
    reachable = [drawn_in(hold, clip.root_position, skeleton) for hold in holds]
    found = _led(motion, clip, reachable, skeleton, poser, settings)
    held_back = [_held_back(hold, found.pose, skeleton, motion.fps) for hold in reachable]
    if any(back is not hold for back, hold in zip(held_back, reachable, strict=True)):
        found = _led(motion, clip, held_back, skeleton, poser, settings)
    rotations, root = motion.rotations.copy(), motion.root_translation.copy()
    frames = np.flatnonzero(found.changed)
    rotations[frames[:, None], list(POSE_INDICES)] = found.pose.rotations[frames]
    root[frames] = found.pose.root_position[frames]
    after = BodyPose(rotations[:, list(POSE_INDICES)], root)
    feet = [joint_index(joint) for joint in CONTACT_JOINTS]
    paths = (body_kinematics(each.rotations, each.root_position, skeleton.rest_offsets)[0] for each in (clip, after))
    slid = np.linalg.norm(np.subtract(*paths)[:, feet], axis=-1)[found.planted & found.changed[:, None]]
    note = f"repaired: {', '.join(sorted({hold.joint for hold in holds}))}"
    origin = replace(motion.provenance, notes=(*motion.provenance.notes, note))
    return RepairedMotion(
        replace(motion, rotations=rotations, root_translation=root, provenance=origin),
        tuple(_residual(hold, after, skeleton) for hold in holds),
        found.changed,
        float(slid.max(initial=0.0)),
        found.turn,
        (_fastest(after, motion.fps), _fastest(clip, motion.fps)),
    )


@dataclass(frozen=True, eq=False)
class _Led:
    """A clip led to its holds.

    Attributes:
        pose: T poses.
        changed: [T] bool, frames that were touched; the others are the clip's.
        planted: [T, 4] bool, frames in which feet were to be kept.
        turn: Largest turn [rad] of a joint against the clip.
    """

    pose: BodyPose
    changed: np.ndarray
    planted: np.ndarray
    turn: float


def _led(
    motion: SomaMotion,
    clip: BodyPose,
    holds: Sequence[Hold],
    skeleton: BodySkeleton,
    poser: Poser,
    settings: RepairSettings,
) -> _Led:
    positions, world = body_kinematics(clip.rotations, clip.root_position, skeleton.rest_offsets)
    eased = eased_holds(holds, positions, world, motion.fps, settings.ease)
    planted = _planted(motion, eased, settings.feet)
    rotations, root = clip.rotations.copy(), clip.root_position.copy()
    changed, turn = np.zeros(clip.count, dtype=bool), 0.0
    for begin, end, share in _windows(eased, motion, settings.fade):
        part = BodyPose(clip.rotations[begin:end], clip.root_position[begin:end])
        inside = [_shifted(each, begin) for each in eased if begin <= each.hold.begin < end]
        found = _repaired(part, inside, skeleton, motion.fps, planted[begin:end], poser, settings)
        steps = share[:, None] * steps_between(part, found, skeleton.rest_offsets)
        blended = pose_after(part, steps, skeleton.rest_offsets)
        rotations[begin:end], root[begin:end] = blended.rotations, blended.root_position
        changed[begin:end] = True
        turn = max(turn, float(np.linalg.norm(steps[:, 3:].reshape(-1, 3), axis=-1).max()))
    return _Led(BodyPose(rotations, root), changed, planted, turn)


def _held_back(hold: Hold, led: BodyPose, skeleton: BodySkeleton, fps: float) -> Hold:
    """The hold itself if its path is met, else a smooth path a little nearer to the hips than where the joint got.

    Pulled as far as it goes, a body is straight in every limb, where knees and elbows snap from frame to frame.
    """
    if hold.path is None or _residual(hold, led, skeleton)[0] <= OUT_OF_REACH_M:
        return hold
    frames = slice(hold.begin, hold.end)
    got, _ = body_kinematics(led.rotations[frames], led.root_position[frames], skeleton.rest_offsets)
    path = got[:, 0] + (1.0 - HELD_BACK) * (got[:, joint_index(hold.joint)] - got[:, 0])
    return replace(hold, path=rts_points(path, fps, cutoff_gains(HELD_BACK_HZ, fps)))


def _fastest(clip: BodyPose, fps: float) -> float:
    """Largest speed [rad/s] of a joint."""
    return fps * float(geodesic_angle(clip.rotations[1:], clip.rotations[:-1]).max(initial=0.0))


def _planted(motion: SomaMotion, eased: Sequence[EasedHold], feet: str) -> np.ndarray:
    """[T, 4] frames in which ankles and toes stay on their own paths, columns as ``CONTACT_JOINTS``."""
    planted = np.full((motion.frame_count, len(CONTACT_JOINTS)), feet == "keep")
    if feet == "contacts":
        from soma_isaac.retarget.contacts import ContactConfig, detect_contacts
        from soma_isaac.retarget.human import human_keypoints

        found = detect_contacts(human_keypoints(motion), ContactConfig())
        planted = np.stack([found.heel[:, 0], found.ball[:, 0], found.heel[:, 1], found.ball[:, 1]], axis=1)
    for each in eased:
        # A foot moves as a whole, for as long as anything of it is held: who leads the ankle frees the toes.
        side = each.hold.joint.removesuffix("Foot").removesuffix("ToeBase")
        for column, joint in enumerate(CONTACT_JOINTS):
            if each.hold.joint in CONTACT_JOINTS and joint.startswith(side):
                planted[max(each.hold.begin - each.before, 0) : each.hold.end + each.after, column] = False
    return planted


def _windows(eased: Sequence[EasedHold], motion: SomaMotion, fade: float) -> list[tuple[int, int, np.ndarray]]:
    """Disjoint ranges of frames that may change, and the share [n] of the change that each frame takes."""
    frames, near = np.arange(motion.frame_count), np.full(motion.frame_count, np.inf)
    for each in eased:
        away = np.maximum(each.hold.begin - each.before - frames, frames - (each.hold.end - 1 + each.after))
        near = np.minimum(near, np.maximum(away, 0))
    share = smooth_step(1.0 - near / max(round(fade * motion.fps), 1))
    return [(begin, end, share[begin:end]) for begin, end in runs(share > 0.0)]


def _shifted(each: EasedHold, begin: int) -> EasedHold:
    return replace(each, hold=replace(each.hold, begin=each.hold.begin - begin, end=each.hold.end - begin))


def _repaired(
    part: BodyPose,
    eased: Sequence[EasedHold],
    skeleton: BodySkeleton,
    fps: float,
    planted: np.ndarray,
    poser: Poser,
    settings: RepairSettings,
) -> BodyPose:
    positions, world = body_kinematics(part.rotations, part.root_position, skeleton.rest_offsets)
    pins: list[Pin] = []
    for column, joint in enumerate(CONTACT_JOINTS):
        pins += _own_paths(joint, planted[:, column], positions[:, joint_index(joint)])
    return refine_sequence(
        part,
        hold_effectors(eased, part, positions, world, settings.looseness),
        skeleton,
        fps,
        pins=pins,
        prior=repair_prior(),
        limits=_widened(poser.limits, part),
        settings=SequenceSettings(
            proposal_cutoff=None, correction_cutoff=settings.correction_cutoff, fastest=FASTEST_CHANGE_RAD_S
        ),
        solver=poser.settings,
    ).result.pose


def _own_paths(joint: str, planted: np.ndarray, path: np.ndarray) -> list[Pin]:
    """Pins of a joint to its own path [T, 3] m in the frames [T] in which it is planted."""
    return [Pin(joint, begin, end, path[begin:end]) for begin, end in runs(planted)]


def _widened(limits: JointLimits | None, clip: BodyPose) -> JointLimits | None:
    """Limits that the clip itself keeps."""
    if limits is None:
        return None
    vectors = np.clip(rotvec_from_matrix(clip.rotations), -WIDEST_RAD, WIDEST_RAD)
    lower, upper = np.minimum(limits.lower, vectors.min(axis=0)), np.maximum(limits.upper, vectors.max(axis=0))
    lower[0], upper[0] = -WIDEST_RAD, WIDEST_RAD
    return JointLimits(lower, upper)


def _residual(hold: Hold, clip: BodyPose, skeleton: BodySkeleton) -> tuple[float, float, float]:
    """Largest distances of a hold: m, rad, rad."""
    frames = slice(hold.begin, hold.end)
    part, joint = BodyPose(clip.rotations[frames], clip.root_position[frames]), joint_index(hold.joint)
    hips = exact_column(POSITION, 0, part.count, target=part.root_position)

    def worst(kind: int, **values: np.ndarray) -> float:
        both = exact_column(kind, joint, part.count, **values)
        sets = Effectors(**{name: np.concatenate([hips[name], both[name]], axis=1) for name in both})
        return float(effector_residuals(part, sets, skeleton.rest_offsets)[:, 1].max())

    metres = 0.0 if hold.path is None else worst(POSITION, target=hold.path)
    radians = 0.0 if hold.rotation is None else worst(ROTATION, rotation=hold.rotation)
    if hold.look_at is None:
        return metres, radians, 0.0
    direction = np.broadcast_to(hold.direction, hold.look_at.shape)
    return metres, radians, worst(LOOK_AT, target=hold.look_at, direction=direction)
