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
SIZE_RANGE = (0.75, 1.3)
STILL_SPEED = 0.2


def _mirrored(offset: tuple[float, float, float], side: str) -> np.ndarray:
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
            turns[side + joint] = shortest_arc(template[index(side + child)], _mirrored(ZERO_POSE[key], side))
        level = np.array([1.0, 0.0, 1.0])
        foot = shortest_arc(template[index(f"{side}ToeBase")] * level, _mirrored(ZERO_POSE["ball"], side) * level)
        turns[f"{side}Foot"] = turns[f"{side}ToeBase"] = foot
        knuckle = sum(template[index(f"{side}HandMiddle{part}")] for part in (1, 2))
        hand = shortest_arc(np.asarray(knuckle), _mirrored(ZERO_POSE["middle"], side))
        turns[f"{side}Hand"] = hand
        for name, segments in FINGERS[:4]:
            for segment in segments:
                turns[f"{side}Hand{name}{segment}"] = hand
    return turns


def rest_offsets(scale: float) -> np.ndarray:
    """T-pose offsets [78, 3] m of a SOMA body with mean SMPL proportions, ``scale`` 1 being 1.70 m tall.

    Hip joints, knees, ankles and balls stand where SMPL has them, so that feet planted in the source stay planted;
    shoulders, elbows and wrists too, but for the spread of the spine; the rest is the template's, scaled in parts.
    """
    template = template_rest_offsets()
    offsets = template * HAND_RATIO
    index = PUBLIC_JOINT_NAMES.index

    def put(name: str, offset: np.ndarray) -> None:
        offsets[index(name)] = offset

    for name in ("Spine1", "Spine2", "Chest", "Neck1", "LeftShoulder", "RightShoulder", "LeftArm", "RightArm"):
        put(name, template[index(name)] * TRUNK_RATIO)
    for name in ("Neck2", "Head", "HeadEnd", "Jaw", "LeftEye", "RightEye"):
        put(name, template[index(name)] * HEAD_RATIO)
    for side in ("Left", "Right"):
        hip = template[index(f"{side}Leg")].copy()
        hip[0] = _mirrored(ZERO_POSE["hip"], side)[0]
        put(f"{side}Leg", hip)
        for child, key in (("Shin", "knee"), ("Foot", "ankle"), ("ForeArm", "elbow"), ("Hand", "wrist")):
            bone = template[index(side + child)]
            put(side + child, bone / np.linalg.norm(bone) * np.linalg.norm(ZERO_POSE[key]))
        ball = _mirrored(ZERO_POSE["ball"], side)
        put(f"{side}ToeBase", rest_turns()[f"{side}Foot"].T @ ball)
    offsets[0] = 0.0
    leg = np.linalg.norm(ZERO_POSE["knee"]) + np.linalg.norm(ZERO_POSE["ankle"])
    offsets[1] = (0.0, leg - offsets[index("LeftLeg"), 1] + SOLE_BELOW_ANKLE, 0.0)
    return offsets * scale


def pelvis_from_trans(trans: np.ndarray, scale: float, model: str, up_axis: str) -> np.ndarray:
    """SMPL pelvis [T, 3] m in the Y-up world from ``trans`` [T, 3] m (already Y-up)."""
    return trans + scale * _pelvis_shift(model, up_axis)


def _pelvis_shift(model: str, up_axis: str) -> np.ndarray:
    x, y, z = PELVIS_FROM_TRANS[model]
    # the shift is constant in the file's axes; a Z-up file's (x, y, z) are our (z, x, y)
    return np.array([y, z, x]) if up_axis == "z" else np.array([x, y, z])


def hips_from_pelvis(pelvis: np.ndarray, pelvis_rotation: np.ndarray, scale: float) -> np.ndarray:
    """SOMA Hips [T, 3] m such that the hip joints coincide with SMPL's."""
    left = template_rest_offsets()[PUBLIC_JOINT_NAMES.index("LeftLeg")]
    shift = np.array([0.0, ZERO_POSE["hip"][1] - left[1], ZERO_POSE["hip"][2] - left[2]])
    return pelvis + pelvis_rotation @ (scale * shift)


@dataclass(frozen=True)
class SizeEstimate:
    """A person's size.

    Attributes:
        scale: Over the mean person of 1.70 m.
        stature: ``scale`` x 1.70 m.
        reason: How it was found, for the provenance.
        pelvis_shift: The shift from ``trans`` to the pelvis in file axes [m], as text.
    """

    scale: float
    stature: float
    reason: str
    pelvis_shift: str


def estimate_size(
    world: np.ndarray, trans: np.ndarray, fps: float, model: str, gender: str | None, up_axis: str
) -> SizeEstimate:
    """Size at which the lowest sole meets the floor (y = 0) while it stands still.

    With the joint rotations given, a mean person's lowest sole point hangs ``L(t)`` below the pelvis, which is
    ``trans_y + s d_y`` above the floor, so the sole is at the floor where ``s (L - d_y) = trans_y``. Frames count in
    which that point moves slower than 0.2 m/s; feet on a step or a chair give too large a value and a swinging foot
    is no stance, hence the lower quartile. Without a usable stance the mean stature of the stated gender is taken.

    Args:
        world: [T, 22, 3, 3] world rotations of SMPL's joints, Y-up.
        trans: [T, 3] m, Y-up.
        fps: Frame rate [Hz].
        model: SMPL model name.
        gender: Stated gender.
        up_axis: Up axis of the file.
    """
    shift = _pelvis_shift(model, up_axis)
    prior = STATURE_BY_GENDER[gender] / MEAN_STATURE
    soles = _soles_below_pelvis(world)
    lowest = soles[..., 1].argmin(axis=1)
    frames = np.arange(len(soles))
    depth = -soles[frames, lowest, 1] - shift[1]
    ratio = trans[:, 1] / depth
    placed = trans[:, None] + prior * (soles + shift)
    speed = np.zeros(len(soles))
    if len(soles) > 1:
        step = np.linalg.norm(np.diff(placed, axis=0), axis=-1) * fps
        speed = np.concatenate([step[:1], step])[frames, lowest]
    usable = (speed < STILL_SPEED) & (depth > 0.1)
    scale, reason = prior, f"mean of gender {gender or 'unknown'}; no stance was found"
    if usable.sum() >= max(1, min(5, len(soles) // 2)):
        found = float(np.quantile(ratio[usable], 0.25))
        if SIZE_RANGE[0] <= found <= SIZE_RANGE[1]:
            scale, reason = found, f"the soles meet the floor in {int(usable.sum())} of {len(soles)} frames"
        else:
            reason = f"mean of gender {gender or 'unknown'}; the lowest sole is not at the file's zero height"
    shown = ", ".join(f"{value * scale:+.3f}" for value in PELVIS_FROM_TRANS[model])
    return SizeEstimate(scale, scale * MEAN_STATURE, reason, f"({shown}) m")


def _soles_below_pelvis(world: np.ndarray) -> np.ndarray:
    """Sole points [T, 6, 3] m of the mean person relative to the pelvis, Y-up."""
    points = []
    for side, hip in (("Left", 1), ("Right", 2)):
        offsets = [_mirrored(ZERO_POSE[key], side) for key in ("hip", "knee", "ankle")]
        joints = (0, hip, hip + 3)
        ankle = sum(world[:, joint] @ offset for joint, offset in zip(joints, offsets, strict=True))
        heel, ball, tip = (_mirrored(tuple(point), side) for point in SOLE_POINTS)
        points.append(ankle + world[:, hip + 6] @ heel)
        points.append(ankle + world[:, hip + 6] @ ball)
        ball_joint = _mirrored(ZERO_POSE["ball"], side)
        points.append(ankle + world[:, hip + 6] @ ball_joint + world[:, hip + 9] @ (tip - ball_joint))
    return np.stack(points, axis=1)
