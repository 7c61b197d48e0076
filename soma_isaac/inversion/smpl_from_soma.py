"""SOMA joint rotations to SMPL joint rotations: the way of :mod:`soma_isaac.inversion.smpl_joints` back.

A motion that came from SMPL's rotations comes back the same, but for SMPL's ``spine2``, which SOMA has no joint for
(it is put half way between its neighbours), and for fingers or a face that the target lacks.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import AmassClip
from soma_isaac.inversion.smpl_body import (
    FINGERS,
    SMPL_PARENTS,
    TRUNK_RATIO,
    ZERO_POSES,
    BodySize,
    hips_from_pelvis,
    pelvis_shift,
    rest_turns,
)
from soma_isaac.inversion.smpl_joints import COLLAR_SHARE, rotvec_between
from soma_isaac.math.frames import zup_from_yup_points, zup_from_yup_rotations
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS, PUBLIC_JOINT_NAMES, template_rest_offsets

_LIMBS = (
    ("Arm", 16),
    ("ForeArm", 18),
    ("Hand", 20),
    ("Leg", 1),
    ("Shin", 4),
    ("Foot", 7),
    ("ToeBase", 10),
)


def amass_from_soma(motion: SomaMotion, model: str = "smplh") -> AmassClip:
    """Convert a motion to a clip in AMASS's world (Z-up).

    Args:
        motion: The motion.
        model: ``smpl``, ``smplh`` or ``smplx``.

    Returns:
        The clip. Betas and gender are those of the motion's identity where it is of the same family, since SMPL and
        SMPL-H share their shape space; else empty and ``None``.

    Raises:
        InputRejected: The model is unknown.
    """
    if model not in ZERO_POSES:
        raise InputRejected(f"no SMPL model {model!r}; there are {', '.join(ZERO_POSES)}")
    world = _soma_world(motion)
    turns = rest_turns(model)
    smpl = _body_world(world, turns)
    local = smpl.copy()
    for joint, parent in enumerate(SMPL_PARENTS):
        if parent >= 0:
            local[:, joint] = np.swapaxes(smpl[:, parent], -1, -2) @ smpl[:, joint]
    size = size_of(motion, model)
    pelvis = motion.root_translation - (hips_from_pelvis(np.zeros(3), smpl[:, 0], size, model))
    trans = pelvis - size.scale * pelvis_shift(model, "z")
    local[:, 0] = zup_from_yup_rotations(local[:, 0])
    notes = [f"SMPL's spine2 was put half way between its neighbours; body {size.reason}"]
    identity = motion.identity
    families = {"smpl": ("smpl", "smplh"), "smplh": ("smpl", "smplh"), "smplx": ("smplx",)}[model]
    same = identity.model in families
    if not same:
        notes.append(f"the motion's identity is of the model {identity.model}; betas and gender are unknown")
    return AmassClip(
        model,
        motion.fps,
        motion.provenance.fps_key,
        identity.gender if same else None,
        identity.coefficients if same else np.zeros(0),
        rotvec_from_matrix(local),
        None if model == "smpl" else _fingers(world, smpl, turns),
        _face(world) if model == "smplx" else None,
        zup_from_yup_points(trans),
        tuple(notes),
        motion.provenance.source_digest,
    )


def size_of(motion: SomaMotion, model: str) -> BodySize:
    """The person's size as far as it places the pelvis, read off the motion's bones."""
    index = PUBLIC_JOINT_NAMES.index
    offsets, template = motion.identity.rest_offsets, template_rest_offsets()

    def length(joint: str) -> float:
        return float(np.linalg.norm(offsets[index(joint)]) / np.linalg.norm(template[index(joint)]))

    hip = abs(float(offsets[index("LeftLeg"), 0] - offsets[index("RightLeg"), 0])) / (2.0 * ZERO_POSES[model]["hip"][0])
    thigh = float(np.linalg.norm(offsets[index("LeftShin")]) / np.linalg.norm(ZERO_POSES[model]["knee"]))
    shank = float(np.linalg.norm(offsets[index("LeftFoot")]) / np.linalg.norm(ZERO_POSES[model]["ankle"]))
    foot = float(np.linalg.norm(offsets[index("LeftToeBase")]) / np.linalg.norm(ZERO_POSES[model]["ball"]))
    return BodySize(length("Spine1") / TRUNK_RATIO, hip, thigh, shank, foot, "measured on the motion's bones")


def _soma_world(motion: SomaMotion) -> dict[str, np.ndarray]:
    world = motion.rotations.copy()
    for joint, parent in enumerate(POSE_PARENTS):
        if parent >= 0:
            world[:, joint] = world[:, parent] @ motion.rotations[:, joint]
    return {name: world[:, joint] for joint, name in enumerate(POSE_JOINT_NAMES)}


def _body_world(world: dict[str, np.ndarray], turns: dict[str, np.ndarray]) -> np.ndarray:
    """World rotations [T, 22, 3, 3] of SMPL's body joints, Y-up."""
    smpl = np.empty((len(world["Hips"]), len(SMPL_PARENTS), 3, 3))
    for joint, name in ((0, "Hips"), (3, "Spine2"), (9, "Chest"), (12, "Neck2"), (15, "Head")):
        smpl[:, joint] = world[name]
    smpl[:, 6] = smpl[:, 3] @ matrix_from_rotvec(0.5 * rotvec_between(smpl[:, 3], smpl[:, 9]))
    for shift, side in enumerate(("Left", "Right")):
        collar = rotvec_between(smpl[:, 9], world[f"{side}Shoulder"]) / COLLAR_SHARE
        smpl[:, 13 + shift] = smpl[:, 9] @ matrix_from_rotvec(collar)
        for name, joint in _LIMBS:
            smpl[:, joint + shift] = world[side + name] @ turns[side + name].T
    return smpl


def _fingers(world: dict[str, np.ndarray], smpl: np.ndarray, turns: dict[str, np.ndarray]) -> np.ndarray:
    hands = np.empty((len(smpl), 2, 15, 3))
    for shift, side in enumerate(("Left", "Right")):
        for finger, (name, segments) in enumerate(FINGERS):
            above = smpl[:, 20 + shift]
            for segment, soma_segment in enumerate(segments):
                joint = f"{side}Hand{name}{soma_segment}"
                turned = world[joint] @ turns[joint].T
                hands[:, shift, 3 * finger + segment] = rotvec_from_matrix(np.swapaxes(above, -1, -2) @ turned)
                above = turned
    return hands


def _face(world: dict[str, np.ndarray]) -> np.ndarray:
    head = np.swapaxes(world["Head"], -1, -2)
    return np.stack([rotvec_from_matrix(head @ world[name]) for name in ("Jaw", "LeftEye", "RightEye")], axis=1)
