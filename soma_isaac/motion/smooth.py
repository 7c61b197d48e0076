"""Smoothing of a SOMA motion with named presets."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, replace

from soma_isaac.errors import InputRejected
from soma_isaac.math.rts import (
    OneEuroGains,
    RtsGains,
    one_euro_points,
    one_euro_rotations,
    rts_points,
    rts_rotations,
)
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES

_FAST_WORDS = ("hand", "thumb", "index", "middle", "ring", "pinky")
_LIMB_WORDS = ("shoulder", "arm", "leg", "shin", "foot", "toe")


@dataclass(frozen=True)
class SmoothingPreset:
    """Noise by part of the body.

    Attributes:
        body: Rotations [rad].
        hands: Rotations [rad] of hands and fingers, which move faster.
        translation: Hips [m].
    """

    body: RtsGains
    hands: RtsGains
    translation: RtsGains


_DEFAULT = RtsGains(r_obs=0.06, q_pos=0.1, q_vel=4.5)
_STRONG = RtsGains(r_obs=0.16, q_pos=0.05, q_vel=2.0)
PRESETS: Mapping[str, SmoothingPreset] = {
    "default": SmoothingPreset(_DEFAULT, RtsGains(r_obs=0.005, q_pos=0.1, q_vel=35.0), _DEFAULT),
    "strong": SmoothingPreset(_STRONG, RtsGains(r_obs=0.024, q_pos=0.05, q_vel=18.0), _STRONG),
}
"""The gains of SOMA-X 0.3.4."""

ONE_EURO = {
    "body": OneEuroGains(min_cutoff=3.0, beta=1.0),
    "translation": OneEuroGains(min_cutoff=3.0, beta=4.0),
}
"""Ours: at rest noise above 3 Hz goes; at 5 rad/s or 1.25 m/s the cutoff is 8 Hz, where people's motion ends."""

SMOOTHINGS = (*PRESETS, "one_euro")


@functools.cache
def fast_joints(limbs: bool = False) -> tuple[bool, ...]:
    """Which of the 77 pose joints are hands and fingers, and with ``limbs`` also arms and legs."""
    words = _FAST_WORDS + (_LIMB_WORDS if limbs else ())
    return tuple(any(word in name.lower() for word in words) for name in POSE_JOINT_NAMES)


def smooth(
    motion: SomaMotion, preset: str = "default", *, hand_gains: bool = True, limb_gains: bool = False
) -> SomaMotion:
    """Smooth a motion at its own frame rate.

    Args:
        motion: The motion.
        preset: ``default`` or ``strong`` (RTS, looks both ways, no delay), or ``one_euro`` (looks back only).
        hand_gains: Smooth hands and fingers less.
        limb_gains: Smooth arms and legs as little as hands.

    Raises:
        InputRejected: The preset is unknown.
    """
    if preset not in SMOOTHINGS:
        raise InputRejected(f"no smoothing {preset!r}; there are {', '.join(SMOOTHINGS)}")
    if preset == "one_euro":
        rotations = one_euro_rotations(motion.rotations, motion.fps, ONE_EURO["body"])
        translation = one_euro_points(motion.root_translation, motion.fps, ONE_EURO["translation"])
    else:
        chosen = PRESETS[preset]
        fast = fast_joints(limb_gains) if hand_gains else (False,) * len(POSE_JOINT_NAMES)
        gains = [chosen.hands if quick else chosen.body for quick in fast]
        rotations = rts_rotations(motion.rotations, motion.fps, gains)
        translation = rts_points(motion.root_translation, motion.fps, chosen.translation)
    note = f"smoothed ({preset})"
    return replace(
        motion,
        rotations=rotations,
        root_translation=translation,
        provenance=replace(motion.provenance, notes=(*motion.provenance.notes, note)),
    )
