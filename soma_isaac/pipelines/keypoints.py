"""COCO-17 keypoints in three dimensions to a SOMA motion: a pose per frame, the head's from ears, eyes and nose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import POSITION, ROTATION, Effectors, joint_index
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.sequence import SequenceSettings, refine_sequence
from soma_isaac.learned.skeleton import BodySkeleton
from soma_isaac.math.arrays import frozen_array
from soma_isaac.math.so3 import project_to_so3
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion, check_fps
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, template_rest_offsets

COCO_17 = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
    *("left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist"),
    *("left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle"),
)
"""The keypoints in COCO's order."""

LIMB_JOINTS = {
    "shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand", "hip": "Leg", "knee": "Shin", "ankle": "Foot"
}  # fmt: skip
"""The SOMA joint at each limb keypoint, without its side."""

FACE_M = np.array(
    [[0.0, 0.018, 0.126], [0.031, 0.053, 0.092], [-0.031, 0.053, 0.092], [0.08, 0.043, 0.0], [-0.08, 0.043, 0.0]]
)
"""Nose, eyes and ears of the template from its Head joint [m]: tip, pupil, and the middle of the auricle."""

UP_AXES = ("y", "z", "-y")
"""Worlds of keypoints: Y-up, Z-up, or a camera's, with x to the right of the picture, y down and z into it."""

SHORTEST_LIMB_M = 1e-3

GAP_TOLERANCE_M = 0.15
"""Of a keypoint that is drawn in between frames in which it is seen."""

_FACE, _LIMBS = slice(0, 5), slice(5, 17)


@dataclass(frozen=True)
class KeypointSettings:
    """How keypoints are believed.

    Attributes:
        tolerance: Standard deviation of a keypoint of confidence 1 [m]; a half-confident one has twice that.
        face_tolerance: The same of nose, eyes and ears [m]; how far the head's direction is believed follows from it.
        least_confidence: Keypoints below are left out.
        cutoff: What is faster than this is smoothed away [Hz].
    """

    tolerance: float = 0.01
    face_tolerance: float = 0.01
    least_confidence: float = 0.05
    cutoff: float = 6.0


@dataclass(frozen=True, eq=False)
class Keypoints:
    """Keypoints of one person over time, Y-up.

    Attributes:
        points: [T, 17, 3] m, order of ``COCO_17``; zero where confidence is zero.
        confidence: [T, 17] from 0 (not seen) to 1.
        fps: Frame rate [Hz].
        source: Where they come from, and its digest.
        up_axis: The axis of that world.
        fps_key: Where the frame rate comes from: ``fps`` of the file, or ``option``.
    """

    points: np.ndarray
    confidence: np.ndarray
    fps: float
    source: tuple[str, str] = ("keypoints", "")
    up_axis: str = "y"
    fps_key: str = "fps"

    def __post_init__(self) -> None:
        """Check shapes and ranges.

        Raises:
            InputRejected: Any of these fails, or somebody's limbs are never seen.
        """
        points = frozen_array("points", self.points, (None, len(COCO_17), 3))
        confidence = frozen_array("confidence", self.confidence, points.shape[:2])
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "confidence", confidence)
        object.__setattr__(self, "fps", check_fps(self.fps))
        if not len(points) or confidence.min() < 0.0 or confidence.max() > 1.0:
            raise InputRejected("there are no keypoints, or their confidence is not from 0 to 1")
        if not (confidence[:, _LIMBS] > 0.0).any():
            raise InputRejected("no shoulder, elbow, wrist, hip, knee or ankle is seen in any frame")


def soma_from_keypoints(
    keypoints: Keypoints,
    poser: Poser,
    identity: MotionIdentity | None = None,
    settings: KeypointSettings | None = None,
) -> SomaMotion:
    """A motion that follows keypoints.

    Args:
        keypoints: The keypoints.
        poser: Proposes poses, and gives prior and joint limits.
        identity: The body; ``None`` takes the template with the lengths that the keypoints have.
        settings: How they are believed.

    Raises:
        InputRejected: The keypoints show no body, or not one of the size of the given one.
    """
    settings = settings or KeypointSettings()
    if identity is None:
        identity = MotionIdentity("soma", np.zeros(0), None, measured_offsets(keypoints, settings), "estimated")
    else:
        _check_size(keypoints, settings, identity.rest_offsets)
    skeleton = BodySkeleton.from_public_offsets(identity.rest_offsets)
    effectors = keypoint_effectors(keypoints, skeleton, settings)
    found = refine_sequence(
        poser.predictor.predict(effectors, skeleton),
        effectors,
        skeleton,
        keypoints.fps,
        prior=poser.prior,
        limits=poser.limits,
        settings=SequenceSettings(proposal_cutoff=settings.cutoff, correction_cutoff=settings.cutoff),
        solver=poser.settings,
    )
    unseen = int((keypoints.confidence < settings.least_confidence).sum())
    notes = (f"from COCO-17 keypoints, {unseen} of {keypoints.confidence.size} not seen",)
    origin = Provenance(
        *keypoints.source, "keypoints", keypoints.fps_key, keypoints.up_axis.removeprefix("-"), "option", notes
    )
    pose = found.result.pose
    return SomaMotion(keypoints.fps, pose.full(), pose.root_position, identity, origin)


def keypoint_effectors(keypoints: Keypoints, skeleton: BodySkeleton, settings: KeypointSettings) -> Effectors:
    """Sets [T, 14]: a position per limb keypoint, and position and rotation of the head where the face shows them.

    Where a limb keypoint is not seen, it is drawn between the frames in which it is, with little weight.
    """
    count = len(keypoints.points)
    shape = (count, 14)
    seen = keypoints.confidence >= settings.least_confidence
    kind, joint, weight = np.full(shape, POSITION), np.zeros(shape, np.int64), np.zeros(shape)
    target, tolerance = np.zeros((*shape, 3)), np.full(shape, settings.tolerance)
    for slot, name in enumerate(COCO_17[_LIMBS]):
        side, _, part = name.partition("_")
        column = COCO_17.index(name)
        joint[:, slot] = joint_index(side.capitalize() + LIMB_JOINTS[part])
        target[:, slot], gap = _between(keypoints.points[:, column], seen[:, column])
        confidence = np.maximum(keypoints.confidence[:, column], settings.least_confidence)
        tolerance[:, slot] = np.where(gap, GAP_TOLERANCE_M, settings.tolerance / confidence)
        weight[:, slot] = 1.0 if seen[:, column].any() else 0.0
    size = skeleton.scale
    head, places, known = head_poses(keypoints, settings, size)
    joint[:, 12:], kind[:, 13] = joint_index("Head"), ROTATION
    target[:, 12], weight[:, 12:] = places, known[:, None]
    face = np.where(seen[:, _FACE], keypoints.confidence[:, _FACE], np.nan)
    sure = np.maximum(np.nan_to_num(np.nanmean(np.where(known[:, None], face, 1.0), axis=1)), settings.least_confidence)
    # The head's place is as good as its points; its direction is as good as they are over half their distance.
    tolerance[:, 12] = 2.0 * settings.face_tolerance / sure
    tolerance[:, 13] = settings.face_tolerance / sure / (0.5 * size * float(np.linalg.norm(FACE_M[0] - FACE_M[3])))
    rotation = np.tile(np.eye(3), (*shape, 1, 1))
    rotation[:, 13] = head
    return Effectors(kind, joint, target, rotation, np.zeros((*shape, 3)), tolerance, weight)


def head_poses(
    keypoints: Keypoints, settings: KeypointSettings, size: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World rotation [T, 3, 3] and place [T, 3] m of the head: the template's face laid over the points (Kabsch).

    Args:
        keypoints: The keypoints.
        settings: Which are believed.
        size: Size of the body over the template's.

    Returns:
        These, and [T] whether enough of the face is seen: three points that are not in a line.
    """
    weight = keypoints.confidence[:, _FACE] * (keypoints.confidence[:, _FACE] >= settings.least_confidence)
    # Three of nose, eyes and ears always span a plane; fewer leave a turn open.
    known = (weight > 0.0).sum(axis=1) >= 3
    share = np.where(known[:, None], weight, 1.0)
    share = (share / share.sum(axis=1, keepdims=True))[..., None]
    points = np.where(known[:, None, None], keypoints.points[:, _FACE], size * FACE_M)
    middle, rest_middle = (share * points).sum(axis=1), (share * size * FACE_M).sum(axis=1)
    spread = np.swapaxes(share * (points - middle[:, None]), -1, -2) @ (size * FACE_M - rest_middle[:, None])
    rotation = project_to_so3(spread)
    return rotation, middle - (rotation @ rest_middle[..., None])[..., 0], known


def measured_offsets(keypoints: Keypoints, settings: KeypointSettings) -> np.ndarray:
    """T-pose offsets [78, 3] m of the template with the limb lengths and widths of the keypoints.

    Medians over the frames in which both ends are seen, left and right alike; what is never seen, and all that has no
    keypoints, goes by the mean of the others.

    Raises:
        InputRejected: No length is seen, or one is no person's.
    """
    template = template_rest_offsets()
    seen = keypoints.confidence >= settings.least_confidence
    ratios = limb_ratios(keypoints, settings, template)
    size = float(np.exp(np.mean(np.log(list(ratios.values())))))
    if not 0.2 <= size <= 3.0:
        raise InputRejected(f"the limbs are {size:.3g} times a person's; keypoints are in metres")

    offsets = template * size
    for child, ratio in ratios.items():
        for side in ("Left", "Right"):
            offsets[_row(side + child)] = ratio * template[_row(side + child)]
    width = _length(keypoints, seen, "left_hip", "right_hip")
    if width is not None:
        offsets[[_row("LeftLeg"), _row("RightLeg")], 0] = [0.5 * width, -0.5 * width]
    trunk = _distance(keypoints, seen, ("hip", "shoulder"), 90.0)
    if trunk is not None:
        spine = [_row(joint) for joint in ("Spine1", "Spine2", "Chest")]
        rest = template[spine].sum(axis=0) + template[[_row("LeftShoulder"), _row("LeftArm")]].sum(axis=0)
        above = rest[1] - template[_row("LeftLeg"), 1]
        offsets[spine] = template[spine] * trunk / above
    neck = _distance(keypoints, seen, ("shoulder", "ear"), 75.0)
    if neck is not None:
        above = [_row(joint) for joint in ("Neck1", "Neck2", "Head")]
        shoulder = offsets[[_row("LeftShoulder"), _row("LeftArm")]].sum(axis=0) * [0.0, 1.0, 1.0]
        ears = size * FACE_M[3:].mean(axis=0) - shoulder
        offsets[above] = template[above] * _stretch(template[above].sum(axis=0), ears, neck, size)
    drop, template_drop = (
        sum(float(rows[_row(f"Left{joint}"), 1]) for joint in ("Leg", "Shin", "Foot")) for rows in (offsets, template)
    )
    offsets[1] = (0.0, (float(template[1, 1]) + template_drop) * size - drop, 0.0)
    return offsets


def limb_ratios(keypoints: Keypoints, settings: KeypointSettings, rest_offsets: np.ndarray) -> dict[str, float]:
    """Lengths of upper and lower arms and legs over those of a body [78, 3] m, by the lower joint without its side.

    Raises:
        InputRejected: No length is seen, or one vanishes.
    """
    seen = keypoints.confidence >= settings.least_confidence
    ratios: dict[str, float] = {}
    for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle")):
        pairs = [(f"{side}_{start}", f"{side}_{end}") for side in ("left", "right")]
        sizes = [each for pair in pairs if (each := _length(keypoints, seen, *pair)) is not None]
        if sizes:
            if min(sizes) < SHORTEST_LIMB_M:
                raise InputRejected(f"{start} and {end} are in one place; keypoints are in metres")
            child = LIMB_JOINTS[end]
            ratios[child] = float(np.mean(sizes)) / float(np.linalg.norm(rest_offsets[_row(f"Left{child}")]))
    if not ratios:
        raise InputRejected("no limb is seen in any frame: its lengths cannot be measured")
    return ratios


def _check_size(keypoints: Keypoints, settings: KeypointSettings, rest_offsets: np.ndarray) -> None:
    """Refuse keypoints that are of another unit than the body that they shall move."""
    if not (keypoints.confidence[:, _LIMBS] >= settings.least_confidence).any():
        raise InputRejected(f"no limb is seen with a confidence of {settings.least_confidence:g} (least_confidence=)")
    try:
        ratios = limb_ratios(keypoints, settings, rest_offsets)
    except InputRejected:
        return  # single points, whose unit cannot be told
    size = float(np.exp(np.mean(np.log(list(ratios.values())))))
    if not 0.3 <= size <= 3.0:
        raise InputRejected(f"the limbs are {size:.3g} times this body's; keypoints are in metres")


def _length(keypoints: Keypoints, seen: np.ndarray, start: str, end: str) -> float | None:
    """Median distance [m] of two keypoints over the frames in which both are seen."""
    a, b = COCO_17.index(start), COCO_17.index(end)
    both = seen[:, a] & seen[:, b]
    if not both.any():
        return None
    return float(np.median(np.linalg.norm(keypoints.points[both, a] - keypoints.points[both, b], axis=-1)))


def _distance(keypoints: Keypoints, seen: np.ndarray, parts: tuple[str, str], percentile: float) -> float | None:
    """Distance [m] of the middles of two pairs of keypoints when what is between them is straight, as it often is."""
    columns = [COCO_17.index(f"{side}_{part}") for part in parts for side in ("left", "right")]
    whole = seen[:, columns].all(axis=1)
    if not whole.any():
        return None
    low, high = (keypoints.points[whole][:, pair].mean(axis=1) for pair in (columns[:2], columns[2:]))
    return float(np.percentile(np.linalg.norm(high - low, axis=-1), percentile))


def _stretch(bone: np.ndarray, rest: np.ndarray, length: float, usual: float) -> float:
    """Factor on ``bone`` [3] at which it and ``rest`` [3] m together are ``length`` [m], not far from the usual."""
    along = float(bone @ rest)
    root = along**2 - float(bone @ bone) * (float(rest @ rest) - length**2)
    if root <= 0.0:
        return usual
    return float(np.clip((np.sqrt(root) - along) / float(bone @ bone), 0.6 * usual, 1.6 * usual))


def _row(name: str) -> int:
    return PUBLIC_JOINT_NAMES.index(name)


def _between(points: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Points [T, 3] drawn in straight lines over frames [T] in which they are not seen; which those are."""
    if not seen.any():
        return points, ~seen
    frames, known = np.arange(len(points)), np.flatnonzero(seen)
    drawn = np.stack([np.interp(frames, known, points[known, axis]) for axis in range(3)], axis=-1)
    return np.where(seen[:, None], points, drawn), ~seen
