"""The mean SMPL bodies as far as joint rotations need them: rounded proportions, zero-pose directions, and a size.

No SMPL file is read and none ships. ``ZERO_POSES`` holds the places of an average person's joints in the zero pose,
rounded to millimetres and made symmetric, as they are printed in many public skeleton descriptions; they fix the
directions in which bones lie in that pose. SMPL's were checked on a real AMASS clip with its markers: in the zero pose
the soles are level, the feet turned out by 10 to 12 degrees, palms down, fingers along the arm, the thumb 48 degrees
ahead of it. SMPL-X stands with its legs further apart, its feet turned out by 20 degrees and its arms lower.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from soma_isaac.math.so3 import shortest_arc
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, template_rest_offsets

SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parents of SMPL's 22 body joints."""

_SMPL = {
    "hip": (0.069, -0.091, -0.006),
    "knee": (0.036, -0.379, -0.007),
    "ankle": (-0.015, -0.398, -0.043),
    "ball": (0.026, -0.052, 0.121),
    "elbow": (0.257, -0.013, -0.024),
    "wrist": (0.252, 0.008, -0.003),
    "middle": (0.084, -0.008, -0.015),
    "thumb": (0.65, -0.20, 0.72),
    "thumb_tip": (0.65, -0.10, 0.75),
}
_SMPLX = _SMPL | {
    "hip": (0.061, -0.098, -0.024),
    "knee": (0.049, -0.371, -0.013),
    "ankle": (-0.029, -0.407, -0.026),
    "ball": (0.043, -0.058, 0.119),
    "elbow": (0.263, -0.054, -0.034),
    "wrist": (0.251, 0.009, -0.009),
}
ZERO_POSES = {"smpl": _SMPL, "smplh": _SMPL, "smplx": _SMPLX}
"""By model: offsets [m] (x left, y up, z ahead) of the left side's joints from their parents for a person of 1.70 m.
The thumb's are directions only, and those of hand and thumb are SMPL-H's for SMPL-X too."""

MEAN_STATURE = 1.70
STATURE_BY_GENDER = {"male": 1.77, "female": 1.64, "neutral": 1.70, None: 1.70}
BALL_HEIGHT = 0.012
"""Height [m] of the ball joint above the level sole."""
PELVIS_FROM_TRANS = {
    "smpl": (-0.002, -0.223, 0.028),
    "smplh": (-0.002, -0.223, 0.028),
    "smplx": (0.003, -0.351, 0.012),
}
"""Pelvis joint [m] of the mean body in model space: SMPL turns about the pelvis, so the offset from ``trans`` to the
pelvis is this constant in the file's own world axes, whatever the pose."""

FINGERS = (
    ("Index", (2, 3, 4)),
    ("Middle", (2, 3, 4)),
    ("Pinky", (2, 3, 4)),
    ("Ring", (2, 3, 4)),
    ("Thumb", (1, 2, 3)),
)
"""SMPL-H's order of fingers, and the SOMA segments of its three joints."""

TRUNK_RATIO = 1.06
"""SMPL's hip-to-shoulder height over the template's (0.457 m over 0.431 m); neck and head are about the template's."""
HEAD_RATIO = 0.97
HAND_RATIO = 0.97


@dataclass(frozen=True)
class BodySize:
    """A person's size over the mean SMPL person of 1.70 m, in parts.

    Attributes:
        scale: Trunk, arms and head.
        hip: Pelvis to hip joints.
        thigh: Hip to knee.
        shank: Knee to ankle.
        foot: Ankle to ball, and ankle to sole.
        reason: How it was found, for the provenance.
    """

    scale: float
    hip: float
    thigh: float
    shank: float
    foot: float
    reason: str

    @classmethod
    def uniform(cls, scale: float, reason: str) -> BodySize:
        """Mean proportions in one size."""
        return cls(scale, scale, scale, scale, scale, reason)


def mirrored(offset: tuple[float, float, float] | np.ndarray, side: str) -> np.ndarray:
    """An offset [3] of the left side, for ``side``."""
    return np.array(offset) * ((1.0, 1.0, 1.0) if side == "Left" else (-1.0, 1.0, 1.0))


def sole_below_ankle(model: str) -> float:
    """Height [m] of the mean person's ankle above the level sole."""
    return BALL_HEIGHT - ZERO_POSES[model]["ball"][1]


@functools.lru_cache(maxsize=3)
def rest_turns(model: str) -> dict[str, np.ndarray]:
    """Constants ``C_j`` [3, 3] by SOMA joint: from the SOMA T-pose bone to its direction in SMPL's zero pose.

    Feet are turned about the vertical only: the sole is level in both poses.
    """
    zero_pose = ZERO_POSES[model]
    template = template_rest_offsets()
    index = PUBLIC_JOINT_NAMES.index
    turns: dict[str, np.ndarray] = {}
    for side in ("Left", "Right"):
        for joint, child, key in (
            ("Leg", "Shin", "knee"),
            ("Shin", "Foot", "ankle"),
            ("Arm", "ForeArm", "elbow"),
            ("ForeArm", "Hand", "wrist"),
            ("HandThumb1", "HandThumb2", "thumb"),
            ("HandThumb2", "HandThumb3", "thumb_tip"),
            ("HandThumb3", "HandThumbEnd", "thumb_tip"),
        ):
            turns[side + joint] = shortest_arc(template[index(side + child)], mirrored(zero_pose[key], side))
        level = np.array([1.0, 0.0, 1.0])
        foot = shortest_arc(template[index(f"{side}ToeBase")] * level, mirrored(zero_pose["ball"], side) * level)
        turns[f"{side}Foot"] = turns[f"{side}ToeBase"] = foot
        knuckle = sum(template[index(f"{side}HandMiddle{part}")] for part in (1, 2))
        hand = shortest_arc(np.asarray(knuckle), mirrored(zero_pose["middle"], side))
        turns[f"{side}Hand"] = hand
        for name, segments in FINGERS[:4]:
            for segment in segments:
                turns[f"{side}Hand{name}{segment}"] = hand
    return turns


def rest_offsets(size: BodySize, model: str) -> np.ndarray:
    """T-pose offsets [78, 3] m of a SOMA body with the proportions of an SMPL person of that size.

    Hip joints, knees, ankles and balls stand where SMPL has them, so that feet planted in the source stay planted;
    shoulders, elbows and wrists too, but for the spread of the spine; the rest is the template's, scaled in parts.
    """
    zero_pose, template = ZERO_POSES[model], template_rest_offsets()
    index = PUBLIC_JOINT_NAMES.index
    offsets = template * (HAND_RATIO * size.scale)
    for name in ("Spine1", "Spine2", "Chest", "Neck1", "LeftShoulder", "RightShoulder", "LeftArm", "RightArm"):
        offsets[index(name)] = template[index(name)] * (TRUNK_RATIO * size.scale)
    for name in ("Neck2", "Head", "HeadEnd", "Jaw", "LeftEye", "RightEye"):
        offsets[index(name)] = template[index(name)] * (HEAD_RATIO * size.scale)
    bones = (("Shin", "knee", size.thigh), ("Foot", "ankle", size.shank))
    bones += (("ForeArm", "elbow", size.scale), ("Hand", "wrist", size.scale))
    for side in ("Left", "Right"):
        offsets[index(f"{side}Leg")] = hips_to_leg(side, size, model)
        for child, key, part in bones:
            bone = template[index(side + child)]
            offsets[index(side + child)] = bone * (np.linalg.norm(zero_pose[key]) / np.linalg.norm(bone) * part)
        ball = mirrored(zero_pose["ball"], side)
        offsets[index(f"{side}ToeBase")] = rest_turns(model)[f"{side}Foot"].T @ ball * size.foot
    offsets[0] = 0.0
    leg = np.linalg.norm(zero_pose["knee"]) * size.thigh + np.linalg.norm(zero_pose["ankle"]) * size.shank
    offsets[1] = (0.0, leg - offsets[index("LeftLeg"), 1] + sole_below_ankle(model) * size.foot, 0.0)
    return offsets


def hips_to_leg(side: str, size: BodySize, model: str) -> np.ndarray:
    """SOMA's Hips to the hip joint [3] m: as far out as SMPL's, as low and ahead as the template's."""
    template = template_rest_offsets()[PUBLIC_JOINT_NAMES.index(f"{side}Leg")]
    return np.array([mirrored(ZERO_POSES[model]["hip"], side)[0], template[1], template[2]]) * size.hip


def pelvis_from_trans(trans: np.ndarray, scale: float, model: str, up_axis: str) -> np.ndarray:
    """SMPL pelvis [T, 3] m in the Y-up world from ``trans`` [T, 3] m (already Y-up)."""
    return trans + scale * pelvis_shift(model, up_axis)


def pelvis_shift(model: str, up_axis: str) -> np.ndarray:
    """Pelvis of the mean person minus ``trans`` [3] m in the Y-up world, for a file with that up axis."""
    x, y, z = PELVIS_FROM_TRANS[model]
    # the shift is constant in the file's axes; a Z-up file's (x, y, z) are our (z, x, y)
    return np.array([y, z, x]) if up_axis == "z" else np.array([x, y, z])


def hips_from_pelvis(pelvis: np.ndarray, pelvis_rotation: np.ndarray, size: BodySize, model: str) -> np.ndarray:
    """SOMA Hips [T, 3] m such that the hip joints coincide with SMPL's."""
    shift = np.array(ZERO_POSES[model]["hip"]) * size.hip - hips_to_leg("Left", size, model)
    return pelvis + pelvis_rotation @ shift
