"""The mean SMPL body as far as joint rotations need it: rounded proportions, zero-pose directions, and a size.

No SMPL file is read and none ships. ``ZERO_POSE`` holds the joints' places of an average SMPL person of 1.70 m in the
zero pose, rounded to millimetres and made symmetric, as they are printed in many public skeleton descriptions; it
fixes the directions in which bones lie in that pose. Checked on a real AMASS clip with its markers: in the zero pose
the soles are level, the feet turned out by 10 to 12 degrees, palms down, fingers along the arm, the thumb 48 degrees
ahead of it.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from soma_isaac.math.so3 import shortest_arc
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, template_rest_offsets

SMPL_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
"""Parents of SMPL's 22 body joints."""

ZERO_POSE = {
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
"""Offsets [m] (x left, y up, z ahead) of the left side's joints from their parents; the thumb's are directions only."""

MEAN_STATURE = 1.70
STATURE_BY_GENDER = {"male": 1.77, "female": 1.64, "neutral": 1.70, None: 1.70}
SOLE_BELOW_ANKLE = 0.064
"""Height [m] of the ankle above the level sole of the mean person."""
SOLE_POINTS = np.array([[0.0, -0.064, -0.055], [0.026, -0.064, 0.121], [0.037, -0.064, 0.19]])
"""Heel, ball and toe tip of the left sole [m] in the ankle's zero-pose frame (the ball's point in the toe's frame)."""
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


@functools.lru_cache(maxsize=1)
def rest_turns() -> dict[str, np.ndarray]:
    """Constants ``C_j`` [3, 3] by SOMA joint: from the SOMA T-pose bone to its direction in SMPL's zero pose.

    Feet are turned about the vertical only: the sole is level in both poses.
    """
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
            turns[side + joint] = shortest_arc(template[index(side + child)], mirrored(ZERO_POSE[key], side))
        level = np.array([1.0, 0.0, 1.0])
        foot = shortest_arc(template[index(f"{side}ToeBase")] * level, mirrored(ZERO_POSE["ball"], side) * level)
        turns[f"{side}Foot"] = turns[f"{side}ToeBase"] = foot
        knuckle = sum(template[index(f"{side}HandMiddle{part}")] for part in (1, 2))
        hand = shortest_arc(np.asarray(knuckle), mirrored(ZERO_POSE["middle"], side))
        turns[f"{side}Hand"] = hand
        for name, segments in FINGERS[:4]:
            for segment in segments:
                turns[f"{side}Hand{name}{segment}"] = hand
    return turns


def rest_offsets(size: BodySize) -> np.ndarray:
    """T-pose offsets [78, 3] m of a SOMA body with the proportions of an SMPL person of that size.

    Hip joints, knees, ankles and balls stand where SMPL has them, so that feet planted in the source stay planted;
    shoulders, elbows and wrists too, but for the spread of the spine; the rest is the template's, scaled in parts.
    """
    template = template_rest_offsets()
    index = PUBLIC_JOINT_NAMES.index
    offsets = template * (HAND_RATIO * size.scale)
    for name in ("Spine1", "Spine2", "Chest", "Neck1", "LeftShoulder", "RightShoulder", "LeftArm", "RightArm"):
        offsets[index(name)] = template[index(name)] * (TRUNK_RATIO * size.scale)
    for name in ("Neck2", "Head", "HeadEnd", "Jaw", "LeftEye", "RightEye"):
        offsets[index(name)] = template[index(name)] * (HEAD_RATIO * size.scale)
    bones = (("Shin", "knee", size.thigh), ("Foot", "ankle", size.shank))
    bones += (("ForeArm", "elbow", size.scale), ("Hand", "wrist", size.scale))
    for side in ("Left", "Right"):
        offsets[index(f"{side}Leg")] = hips_to_leg(side, size)
        for child, key, part in bones:
            bone = template[index(side + child)]
            offsets[index(side + child)] = bone * (np.linalg.norm(ZERO_POSE[key]) / np.linalg.norm(bone) * part)
        ball = mirrored(ZERO_POSE["ball"], side)
        offsets[index(f"{side}ToeBase")] = rest_turns()[f"{side}Foot"].T @ ball * size.foot
    offsets[0] = 0.0
    leg = np.linalg.norm(ZERO_POSE["knee"]) * size.thigh + np.linalg.norm(ZERO_POSE["ankle"]) * size.shank
    offsets[1] = (0.0, leg - offsets[index("LeftLeg"), 1] + SOLE_BELOW_ANKLE * size.foot, 0.0)
    return offsets


def hips_to_leg(side: str, size: BodySize) -> np.ndarray:
    """SOMA's Hips to the hip joint [3] m: as far out as SMPL's, as low and ahead as the template's."""
    template = template_rest_offsets()[PUBLIC_JOINT_NAMES.index(f"{side}Leg")]
    return np.array([mirrored(ZERO_POSE["hip"], side)[0], template[1], template[2]]) * size.hip


def pelvis_from_trans(trans: np.ndarray, scale: float, model: str, up_axis: str) -> np.ndarray:
    """SMPL pelvis [T, 3] m in the Y-up world from ``trans`` [T, 3] m (already Y-up)."""
    return trans + scale * pelvis_shift(model, up_axis)


def pelvis_shift(model: str, up_axis: str) -> np.ndarray:
    """Pelvis of the mean person minus ``trans`` [3] m in the Y-up world, for a file with that up axis."""
    x, y, z = PELVIS_FROM_TRANS[model]
    # the shift is constant in the file's axes; a Z-up file's (x, y, z) are our (z, x, y)
    return np.array([y, z, x]) if up_axis == "z" else np.array([x, y, z])


def hips_from_pelvis(pelvis: np.ndarray, pelvis_rotation: np.ndarray, size: BodySize) -> np.ndarray:
    """SOMA Hips [T, 3] m such that the hip joints coincide with SMPL's."""
    shift = np.array(ZERO_POSE["hip"]) * size.hip - hips_to_leg("Left", size)
    return pelvis + pelvis_rotation @ shift
