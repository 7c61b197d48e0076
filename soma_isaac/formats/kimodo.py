"""Kimodo's SOMA motions: world positions and T-pose-relative world rotations of 30 (or all 77) SOMA joints.

Keys: ``posed_joints`` [T, J, 3] m, ``global_rot_mats`` [T, J, 3, 3] (identity at the T-pose), Y-up, 30 frames per
second by format (a rate in the file is read and wins). The bones of a clip have exactly constant offsets, so the
person's proportions are in the file.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import FrameRate, decide_fps, require_finite, require_frames
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.math.arrays import check_rotations
from soma_isaac.math.so3 import project_to_so3, shortest_arc
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS, template_rest_offsets

FORMAT_FPS = 30.0
FPS_KEYS = ("fps", "frame_rate", "mocap_frame_rate")
_FINGER_ENDS = ("HandThumbEnd", "HandMiddleEnd")
REDUCED_JOINT_NAMES = (
    *("Hips", "Spine1", "Spine2", "Chest", "Neck1", "Neck2", "Head", "Jaw", "LeftEye", "RightEye"),
    *(f"Left{part}" for part in ("Shoulder", "Arm", "ForeArm", "Hand", *_FINGER_ENDS)),
    *(f"Right{part}" for part in ("Shoulder", "Arm", "ForeArm", "Hand", *_FINGER_ENDS)),
    *(f"Left{part}" for part in ("Leg", "Shin", "Foot", "ToeBase")),
    *(f"Right{part}" for part in ("Leg", "Shin", "Foot", "ToeBase")),
)
"""The 30 joints of Kimodo's reduced skeleton in file order; names and places are those of the 77."""

LARGEST_POSITION = 1000.0
SHORTEST_BONE = 1e-3
RIGID_TOLERANCE = 2e-3
"""Largest spread of a bone's offset over a clip [m] that still counts as one rigid skeleton."""


def is_kimodo(archive: NpzArchive) -> bool:
    """Whether the keys are those of a Kimodo motion."""
    return "posed_joints" in archive and "global_rot_mats" in archive


def read_kimodo(archive: NpzArchive, source: str, source_fps: float | None = None) -> SomaMotion:
    """Convert a Kimodo motion.

    Args:
        archive: The file.
        source: Name of the source for the provenance.
        source_fps: Frame rate given by the user [Hz]; it wins.

    Raises:
        InputRejected: Shapes, rotations or bone lengths are not those of a Kimodo motion.
    """
    path = archive.path
    rotations = archive.numbers("global_rot_mats", (None, None, 3, 3))
    positions = archive.numbers("posed_joints", (*rotations.shape[:2], 3))
    names = {len(REDUCED_JOINT_NAMES): REDUCED_JOINT_NAMES, 77: POSE_JOINT_NAMES}.get(rotations.shape[1])
    if names is None:
        raise InputRejected(f"has {rotations.shape[1]} joints; Kimodo's SOMA skeletons have 30 or 77", path)
    require_frames(len(rotations), path)
    require_finite("posed_joints", positions, path, names, LARGEST_POSITION)
    require_finite("global_rot_mats", rotations, path, names)
    check_rotations("global_rot_mats (frame, joint)", rotations)
    rate = _frame_rate(archive, source_fps)
    world = np.broadcast_to(np.eye(3), (len(rotations), 77, 3, 3)).copy()
    held = [POSE_JOINT_NAMES.index(name) for name in names]
    world[:, held] = project_to_so3(rotations)
    _fill_missing(world, held)
    measured = _measured_offsets(positions, world, held, path)
    offsets, world, turned = _rest_in_template_pose(measured, world, held)
    local = world.copy()
    for joint, parent in enumerate(POSE_PARENTS):
        if parent >= 0:
            local[:, joint] = np.swapaxes(world[:, parent], -1, -2) @ world[:, joint]
    notes = (
        *rate.notes,
        "bone lengths are the file's; joints it does not hold are the template's",
        f"thighs and shanks are told from the template's straight-legged T-pose ({turned:.1f} deg from Kimodo's)",
    )
    return SomaMotion(
        rate.fps,
        local,
        positions[:, 0],
        MotionIdentity("soma", np.zeros(0), None, offsets, "file"),
        Provenance(source, archive.digest, "kimodo", rate.key, "y", "format", notes),
    )


def _frame_rate(archive: NpzArchive, source_fps: float | None) -> FrameRate:
    stored = {key: archive.scalar(key) for key in FPS_KEYS if key in archive}
    if stored or source_fps is not None:
        return decide_fps(stored, FPS_KEYS, source_fps, archive.path)
    return FrameRate(FORMAT_FPS, "format", ("Kimodo's format fixes 30 frames per second; the file states none",))


def _fill_missing(world: np.ndarray, held: list[int]) -> None:
    """Joints that the file does not hold move rigidly with their parents."""
    for joint, parent in enumerate(POSE_PARENTS):
        if joint not in held:
            world[:, joint] = world[:, parent]


def _held_ancestor(joint: int, held: list[int]) -> int:
    parent = POSE_PARENTS[joint]
    while parent not in held:
        parent = POSE_PARENTS[parent]
    return parent


def _measured_offsets(
    positions: np.ndarray, world: np.ndarray, held: list[int], path: str | None
) -> dict[int, np.ndarray]:
    """Offset [3] m of each held joint from its nearest held ancestor at the T-pose; refused unless it is constant."""
    offsets = {}
    for column, joint in enumerate(held[1:], start=1):
        parent = _held_ancestor(joint, held)
        step = positions[:, column] - positions[:, held.index(parent)]
        local = np.einsum("tji,tj->ti", world[:, parent], step)
        offsets[joint] = np.median(local, axis=0)
        if np.linalg.norm(offsets[joint]) < SHORTEST_BONE:
            raise InputRejected(f"the bone to {POSE_JOINT_NAMES[joint]} has no length", path)
        spread = np.abs(local - offsets[joint]).max(axis=1)
        if spread.max() > RIGID_TOLERANCE:
            frame = int(spread.argmax())
            raise InputRejected(
                f"positions and rotations disagree: the bone to {POSE_JOINT_NAMES[joint]} is off by "
                f"{spread[frame]:.3g} m at frame {frame}",
                path,
            )
    return offsets


def _rest_in_template_pose(
    measured: dict[int, np.ndarray], world: np.ndarray, held: list[int]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Rest offsets [78, 3] and world rotations told from the template's T-pose.

    Kimodo's T-pose is the template's but for the legs, which are a little bent. A bone that lies along ``d`` there and
    along ``o`` here keeps its place when its joint's rotation is ``G C`` with ``C o = d``: positions do not change.
    """
    template = template_rest_offsets()
    offsets = template.copy()
    index = POSE_JOINT_NAMES.index
    for joint, offset in measured.items():
        if POSE_PARENTS[joint] in held:
            offsets[joint + 1] = offset
    turned = 0.0
    for side in ("Left", "Right"):
        for name, child in ((f"{side}Leg", f"{side}Shin"), (f"{side}Shin", f"{side}Foot")):
            bone, rest = measured[index(child)], template[index(child) + 1]
            turn = shortest_arc(rest, bone)
            world[:, index(name)] = world[:, index(name)] @ turn
            offsets[index(child) + 1] = turn.T @ bone
            turned = max(turned, float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)))))
        hand = index(f"{side}Hand")
        for joint in range(hand + 1, hand + 25):
            if joint not in held or POSE_PARENTS[joint] not in held:
                offsets[joint + 1] = template[joint + 1] * _hand_scale(measured, side, template)
    leg = sum(np.linalg.norm(offsets[index(f"Left{part}") + 1]) for part in ("Shin", "Foot"))
    template_leg = sum(np.linalg.norm(template[index(f"Left{part}") + 1]) for part in ("Shin", "Foot"))
    ankle = template[1, 1] + template[index("LeftLeg") + 1, 1] - template_leg
    offsets[1] = (0.0, leg - offsets[index("LeftLeg") + 1, 1] + ankle * leg / template_leg, 0.0)
    return offsets, world, turned


def _hand_scale(measured: dict[int, np.ndarray], side: str, template: np.ndarray) -> float:
    """Size of the clip's hand over the template's, wrist to the tip of the middle finger."""
    index = POSE_JOINT_NAMES.index
    tip = index(f"{side}HandMiddleEnd")
    if POSE_PARENTS[tip] in measured:
        return 1.0
    chain = sum(template[index(f"{side}HandMiddle{part}") + 1] for part in ("1", "2", "3", "4", "End"))
    return float(np.linalg.norm(measured[tip]) / np.linalg.norm(chain))
