"""SMPL joint rotations to SOMA joint rotations, without any licensed file.

Both families tell a joint's rotation relative to a reference pose, but the two poses differ: SMPL's zero pose has its
legs apart, the shanks leaning back, the arms a little low and the feet turned out. A SOMA joint that moves rigidly with
the SMPL joint ``j`` therefore has the world rotation ``G_soma = G_j C_j``, where the constant ``C_j`` turns the SOMA
T-pose bone into the direction that the same bone has in SMPL's zero pose (:mod:`soma_isaac.inversion.smpl_body`).

Where SOMA has other joints than SMPL, rotations are spread so that the body keeps its shape:

* spine: three joints each, but SOMA's sit lower. Each SOMA vertebra takes the orientation that SMPL's spine has at the
  same height; the chest is SMPL's ``spine3`` exactly.
* neck: SMPL's one rotation is shared in halves by ``Neck1`` and ``Neck2``.
* shoulder girdle: SOMA's clavicle is longer, so it takes the share of the collar's angle that moves the shoulder as
  far; the upper arm's world rotation is SMPL's exactly.
* fingers: SMPL's three joints are SOMA's last three (metacarpals stay at rest); the toes are SMPL's ``foot`` joint.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import AmassClip
from soma_isaac.inversion.smpl_body import (
    FINGERS,
    MEAN_STATURE,
    PELVIS_FROM_TRANS,
    SMPL_PARENTS,
    BodySize,
    hips_from_pelvis,
    pelvis_from_trans,
    rest_offsets,
    rest_turns,
)
from soma_isaac.inversion.smpl_size import estimate_size
from soma_isaac.math.frames import yup_from_zup_points, yup_from_zup_rotations
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS

LOWEST_VERTEBRA_SHARE = 0.2
"""Share of SMPL's ``spine1`` in ``Spine1``: SMPL's joint stands 18 % below the top of that SOMA segment."""
NECK_SHARE = 0.5
COLLAR_SHARE = 0.6
"""Length of SMPL's collar bone (0.10 m) over SOMA's clavicle (0.16 m)."""


def soma_from_amass(
    clip: AmassClip, source: str, up_axis: str | None = None, size: BodySize | None = None
) -> SomaMotion:
    """Convert an AMASS clip.

    Args:
        clip: The clip, world axes as in the file.
        source: Name of the source for the provenance.
        up_axis: ``y`` or ``z`` if the user says so; ``None`` decides (see :func:`decide_up_axis`).
        size: The person's size if it is known; ``None`` fits it to the clip.

    Returns:
        The motion in the Y-up SOMA world. The body is estimated: mean proportions, with the leg lengths at which
        standing feet stay where they are; gender and betas are kept as coefficients of the source's own model.

    Raises:
        InputRejected: ``up_axis`` is neither ``y`` nor ``z``.
    """
    local = matrix_from_rotvec(clip.body)
    axis, axis_source = decide_up_axis(local[:, 0], clip.trans) if up_axis is None else (up_axis, "option")
    if axis not in ("y", "z"):
        raise InputRejected(f"up axis {axis!r} is neither 'y' nor 'z'")
    world = _chain(local, SMPL_PARENTS)
    trans = clip.trans
    if axis == "z":
        world, trans = yup_from_zup_rotations(world), yup_from_zup_points(trans)
    if size is None:
        size = estimate_size(world, trans, clip.fps, clip.model, clip.gender, axis)
    turned = soma_world_rotations(world, clip)
    rotations = turned.copy()
    for joint, parent in enumerate(POSE_PARENTS):
        if parent >= 0:
            rotations[:, joint] = np.swapaxes(turned[:, parent], -1, -2) @ turned[:, joint]
    pelvis = pelvis_from_trans(trans, size.scale, clip.model, axis)
    hips = hips_from_pelvis(pelvis, world[:, 0], size, clip.model)
    notes = (*clip.notes, *_body_notes(size, clip))
    return SomaMotion(
        clip.fps,
        rotations,
        hips,
        MotionIdentity(clip.model, clip.betas, clip.gender, rest_offsets(size, clip.model), "estimated"),
        Provenance(source, clip.digest, "amass", clip.fps_key, axis, axis_source, notes),
    )


def decide_up_axis(root: np.ndarray, trans: np.ndarray) -> tuple[str, str]:
    """Up axis of a clip: AMASS is Z-up, unless the person plainly stands along Y.

    SMPL's pelvis has its own +Y up the spine. A file in AMASS layout that was written by a Y-up tool has people
    standing along Y at a steady height; only if that holds for nearly the whole clip is the format overruled.

    Args:
        root: [T, 3, 3] pelvis rotations in the file's world.
        trans: [T, 3] m in the file's world.

    Returns:
        The axis and ``format`` or ``detected``.
    """
    along = root[:, :, 1]
    upright_y = np.mean(along[:, 1] > 0.8)
    upright_z = np.mean(along[:, 2] > 0.8)
    roams_level = np.ptp(trans[:, 2]) >= np.ptp(trans[:, 1])
    if upright_y > 0.95 and upright_z == 0.0 and roams_level:
        return "y", "detected"
    return "z", "format"


def _chain(local: np.ndarray, parents: tuple[int, ...]) -> np.ndarray:
    world = local.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ local[:, joint]
    return world


def _share(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """World rotation ``share`` of the way from ``start`` to ``end`` [T, 3, 3] along the geodesic."""
    from_start = rotvec_between(start, end)
    return start @ matrix_from_rotvec(share * from_start)


def rotvec_between(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Rotation vectors [T, 3] rad from ``start`` to ``end`` in start's own frame, continuous in time.

    The logarithm alone jumps by 2 pi where a rotation passes pi; a share of it would jump as well.
    """
    rotvec = rotvec_from_matrix(np.swapaxes(start, -1, -2) @ end)
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    axis = np.divide(rotvec, angle, out=np.zeros_like(rotvec), where=angle > 1e-9)
    flips = np.concatenate([[1.0], np.where(np.sum(axis[1:] * axis[:-1], axis=-1) < -0.5, -1.0, 1.0)])
    large = np.concatenate([[False], (angle[1:, 0] > 0.75 * np.pi) & (angle[:-1, 0] > 0.75 * np.pi)])
    sign = np.cumprod(np.where(large, flips, 1.0))[:, None]
    return np.where(sign > 0.0, rotvec, axis * (angle - 2.0 * np.pi))


def soma_world_rotations(smpl_world: np.ndarray, clip: AmassClip) -> np.ndarray:
    """World rotations [T, 77, 3, 3] of the SOMA joints (identity at the T-pose), from SMPL's.

    Args:
        smpl_world: [T, 22, 3, 3] world rotations of SMPL's body joints, Y-up, identity at SMPL's zero pose.
        clip: Source of fingers and face.
    """
    turns = rest_turns(clip.model)
    world: dict[str, np.ndarray] = {
        "Hips": smpl_world[:, 0],
        "Spine1": _share(smpl_world[:, 0], smpl_world[:, 3], LOWEST_VERTEBRA_SHARE),
        "Spine2": smpl_world[:, 3],
        "Chest": smpl_world[:, 9],
        "Neck1": _share(smpl_world[:, 9], smpl_world[:, 12], NECK_SHARE),
        "Neck2": smpl_world[:, 12],
        "Head": smpl_world[:, 15],
    }
    for side, shift in (("Left", 0), ("Right", 1)):
        world[f"{side}Shoulder"] = _share(smpl_world[:, 9], smpl_world[:, 13 + shift], COLLAR_SHARE)
        for name, joint in (
            ("Arm", 16),
            ("ForeArm", 18),
            ("Hand", 20),
            ("Leg", 1),
            ("Shin", 4),
            ("Foot", 7),
            ("ToeBase", 10),
        ):
            world[side + name] = smpl_world[:, joint + shift] @ turns[side + name]
        if clip.hands is not None:
            _add_fingers(world, side, smpl_world[:, 20 + shift], clip.hands[:, shift], turns)
    if clip.face is not None:
        face = matrix_from_rotvec(clip.face)
        for column, name in enumerate(("Jaw", "LeftEye", "RightEye")):
            world[name] = smpl_world[:, 15] @ face[:, column]
    result = np.empty((len(smpl_world), 77, 3, 3))
    for joint, name in enumerate(POSE_JOINT_NAMES):
        result[:, joint] = world[name] if name in world else result[:, POSE_PARENTS[joint]]
    return result


def _add_fingers(
    world: dict[str, np.ndarray], side: str, wrist: np.ndarray, rotvecs: np.ndarray, turns: dict[str, np.ndarray]
) -> None:
    """Add the finger joints of one hand; ``rotvecs`` [T, 15, 3] in SMPL's order of fingers."""
    local = matrix_from_rotvec(rotvecs)
    for finger, (name, segments) in enumerate(FINGERS):
        turned = wrist
        for segment, soma_segment in enumerate(segments):
            turned = turned @ local[:, 3 * finger + segment]
            joint = f"{side}Hand{name}{soma_segment}"
            world[joint] = turned @ turns[joint]


def _body_notes(size: BodySize, clip: AmassClip) -> tuple[str, ...]:
    hands = () if clip.hands is not None else ("the layout has no finger rotations; fingers stay at rest",)
    shift = ", ".join(f"{value * size.scale:+.3f}" for value in PELVIS_FROM_TRANS[clip.model])
    parts = f"hips {size.hip:.3f}, thighs {size.thigh:.3f}, shanks {size.shank:.3f}, feet {size.foot:.3f}"
    return (
        *hands,
        f"body estimated: stature {size.scale * MEAN_STATURE:.3f} m ({size.reason}); over the mean SMPL person of "
        f"{MEAN_STATURE:.2f} m: trunk and arms {size.scale:.3f}, {parts}; betas are kept unused",
        f"pelvis placed ({shift}) m from trans: the mean body's, its share that depends on betas is unknown",
    )
