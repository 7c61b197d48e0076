"""SOMA animation npz as SOMA-X writes it, and as we write it back.

Keys: ``poses`` (N, 77 | 78, 3) rotation vectors or (..., 3, 3) matrices, ``transl`` (older texts: ``root_translation``)
(N, 3) Hips position in ``unit``, ``joint_names``, ``identity_model_type``, ``identity_coeffs``, ``keep_root``,
``absolute_pose``, ``rotation_repr``, ``joint_orient`` (78, 3, 3). SOMA-X stores no frame rate and writes 32-bit
floats; ours add ``fps``, ``gender``, ``rest_offsets_m``, ``rest_source`` and ``up_axis``, hold the translation under
both names, and are 64-bit so that nothing is lost. Converters add more, e.g. ``provenance`` (JSON).

SOMA is Y-up, but SOMA-X's AMASS converter leaves its results Z-up; a person who stands along Z is turned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import decide_fps, require_finite, require_frames
from soma_isaac.formats.npz import NpzArchive, npz_bytes
from soma_isaac.math.arrays import check_rotations
from soma_isaac.math.frames import METRES_PER_UNIT, yup_from_zup_points, yup_from_zup_rotations
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec, project_to_so3
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import (
    POSE_JOINT_NAMES,
    POSE_PARENTS,
    PUBLIC_JOINT_NAMES,
    template_rest_offsets,
    template_rest_rotations,
)

FPS_KEYS = ("fps", "frame_rate", "mocap_framerate", "mocap_frame_rate")
TRANSLATION_KEYS = ("transl", "root_translation")
LARGEST_ANGLE = 100.0
LARGEST_POSITION_M = 1000.0
LARGEST_OFFSET_M = 10.0
_UNITS = {"m": "m", "meters": "m", "metres": "m", "cm": "cm", "centimeters": "cm", "mm": "mm", "millimeters": "mm"}


def is_soma_npz(archive: NpzArchive) -> bool:
    """Whether the keys are those of a SOMA animation."""
    return "poses" in archive and any(key in archive for key in TRANSLATION_KEYS)


def read_soma_npz(
    archive: NpzArchive, source: str, source_fps: float | None = None, up_axis: str | None = None
) -> SomaMotion:
    """Convert a SOMA animation.

    Args:
        archive: The file.
        source: Name of the source for the provenance.
        source_fps: Frame rate given by the user [Hz]; it wins. Files of SOMA-X need it.
        up_axis: ``y`` or ``z`` if the user says so; ``None`` decides.

    Raises:
        InputRejected: Shapes, joints, flags or rotations are not those of a SOMA animation, or no frame rate is known.
    """
    path = archive.path
    stored = {key: archive.scalar(key) for key in FPS_KEYS if key in archive}
    rate = decide_fps(stored, FPS_KEYS, source_fps, path)
    matrices = _matrices(archive)
    frames = len(matrices)
    key = next(key for key in TRANSLATION_KEYS if key in archive)
    metres, unit_notes = _metres_per_unit(archive)
    translation = archive.numbers(key, (frames, 3)) * metres
    require_finite(key, translation, path, largest=LARGEST_POSITION_M)
    if matrices.shape[1] == 78:
        # transl places Hips in its parent's frame, and that parent is Root
        translation = np.einsum("tij,tj->ti", matrices[:, 0], translation)
        matrices = np.concatenate([matrices[:, :1] @ matrices[:, 1:2], matrices[:, 2:]], axis=1)
    rotations, pose_notes = _relative(archive, matrices)
    axis, axis_source = _up_axis(archive, rotations[:, 0], translation, up_axis)
    if axis == "z":
        rotations = rotations.copy()
        rotations[:, 0] = yup_from_zup_rotations(rotations[:, 0])
        translation = yup_from_zup_points(translation)
    identity, identity_notes = _identity(archive)
    notes = (*rate.notes, *unit_notes, *pose_notes, *identity_notes)
    provenance = Provenance(source, archive.digest, "soma_npz", rate.key, axis, axis_source, notes)
    return SomaMotion(rate.fps, rotations, translation, identity, provenance)


def _matrices(archive: NpzArchive) -> np.ndarray:
    """Local rotations [N, 77 | 78, 3, 3] in the order of the public joints, whatever convention."""
    path = archive.path
    dtype, shape = archive.header("poses")
    if len(shape) not in (3, 4) or shape[1] not in (77, 78) or shape[2:] not in ((3,), (3, 3)):
        raise InputRejected(f"poses is {dtype} {shape}, expected (N, 77 or 78, 3) or (N, 77 or 78, 3, 3)", path)
    poses = archive.numbers("poses", shape)
    require_frames(len(poses), path)
    expected = PUBLIC_JOINT_NAMES if poses.shape[1] == 78 else POSE_JOINT_NAMES
    require_finite("poses", poses, path, expected, LARGEST_ANGLE)
    if "rotation_repr" in archive and archive.text("rotation_repr") != ("rotvec", "matrix")[poses.ndim - 3]:
        raise InputRejected(f"rotation_repr {archive.text('rotation_repr')!r} does not fit {poses.shape}", path)
    if "joint_names" in archive:
        names = archive.texts("joint_names")
        if sorted(names) != sorted(expected):
            odd = [name[:40] for name in names if name not in expected][:5]
            raise InputRejected(f"joint_names are not the {len(expected)} SOMA joints (unknown: {odd})", path)
        poses = poses[:, [names.index(name) for name in expected]]
    if poses.ndim == 3:
        return matrix_from_rotvec(poses)
    check_rotations("poses (frame, joint)", poses)
    # 64-bit matrices that are rotations already pass bit for bit; 32-bit ones are put back on SO(3)
    exact = np.abs(poses @ np.swapaxes(poses, -1, -2) - np.eye(3)).max() < 1e-9
    return poses if exact else project_to_so3(poses)


def _metres_per_unit(archive: NpzArchive) -> tuple[float, tuple[str, ...]]:
    if "unit" not in archive:
        return 1.0, ("the file names no unit; metres, SOMA-X's default, are assumed",)
    stated = archive.text("unit").strip().lower()
    if stated not in _UNITS:
        raise InputRejected(f"unit {stated[:40]!r} is none of {', '.join(_UNITS)}", archive.path)
    return METRES_PER_UNIT[_UNITS[stated]], ()


def _relative(archive: NpzArchive, matrices: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """T-pose-relative rotations [N, 77, 3, 3] from either convention.

    ``absolute_pose``: the matrices are local on the rig's axes, ``R_j = O_parent A_j O_j^T``. Otherwise they are
    relative to the file's own T-pose; where its ``joint_orient`` differs from the template's, the joint's world axes
    ``G_j O_file`` are kept: ``G_j O_file O_j^T`` are the world rotations here.
    """
    orient = template_rest_rotations()[1:]
    parents = np.array(POSE_PARENTS)
    stored = _joint_orient(archive)
    if archive.flag("absolute_pose", False):
        parent_orient = np.concatenate([np.eye(3)[None], orient[parents[1:]]])
        return parent_orient @ matrices @ np.swapaxes(orient, -1, -2), ("absolute poses were told from the T-pose",)
    if "absolute_pose" not in archive and stored is None:
        return matrices, ("the file does not say which convention its poses follow; T-pose-relative is assumed",)
    if stored is None:
        return matrices, ()
    differs = float(np.degrees(geodesic_angle(stored, orient).max()))
    if differs < 0.01:
        return matrices, ()
    turn = stored @ np.swapaxes(orient, -1, -2)
    back = np.concatenate([np.eye(3)[None], np.swapaxes(turn, -1, -2)[parents[1:]]])
    return back @ matrices @ turn, (f"the file's T-pose differs from the template's by up to {differs:.2f} deg",)


def _joint_orient(archive: NpzArchive) -> np.ndarray | None:
    """``joint_orient`` of the 77 pose joints, or ``None``; SOMA-X stores 78 rows even where poses have 77."""
    if "joint_orient" not in archive:
        return None
    orient = archive.numbers("joint_orient", (None, 3, 3))
    if len(orient) not in (77, 78):
        raise InputRejected(f"joint_orient has {len(orient)} rows, expected 77 or 78", archive.path)
    require_finite("joint_orient", orient, archive.path)
    check_rotations("joint_orient", orient)
    return project_to_so3(orient[-77:])


def _up_axis(archive: NpzArchive, hips: np.ndarray, translation: np.ndarray, up_axis: str | None) -> tuple[str, str]:
    if up_axis is not None:
        if up_axis not in ("y", "z"):
            raise InputRejected(f"up axis {up_axis!r} is neither 'y' nor 'z'")
        return up_axis, "option"
    if "up_axis" in archive:
        stated = archive.text("up_axis").lower()
        if stated not in ("y", "z"):
            raise InputRejected(f"up_axis {stated[:20]!r} is neither 'y' nor 'z'", archive.path)
        return stated, "file"
    along = hips[:, :, 1]
    stands_along_z = np.mean(along[:, 2] > 0.8) > 0.95 and not np.any(along[:, 1] > 0.8)
    if stands_along_z and np.median(translation[:, 2]) > 0.4:
        return "z", "detected"
    return "y", "format"


def _identity(archive: NpzArchive) -> tuple[MotionIdentity, tuple[str, ...]]:
    model = archive.text("identity_model_type")[:40] if "identity_model_type" in archive else "soma"
    notes: list[str] = []
    coefficients = np.zeros(0)
    if "identity_coeffs" in archive:
        _, shape = archive.header("identity_coeffs")
        if len(shape) not in (1, 2) or shape[-1] > 4096 or shape[0] < 1:
            raise InputRejected(f"identity_coeffs is {shape}, expected (1 or N, C)", archive.path)
        values = np.atleast_2d(archive.numbers("identity_coeffs", shape))
        require_finite("identity_coeffs", values, archive.path)
        coefficients = values[0]
        if len(values) > 1 and not np.array_equal(values, np.broadcast_to(values[0], values.shape)):
            notes.append("identity coefficients vary over the clip; those of its first frame are kept")
    gender = archive.text("gender") if "gender" in archive else ""
    offsets, rest_source = template_rest_offsets(), "template"
    if "rest_offsets_m" in archive:
        offsets = archive.numbers("rest_offsets_m", (78, 3))
        require_finite("rest_offsets_m", offsets, archive.path, largest=LARGEST_OFFSET_M)
        rest_source = archive.text("rest_source") if "rest_source" in archive else "file"
    elif "global_scale" in archive:
        scale = float(archive.numbers("global_scale", ()))
        if not 0.1 <= scale <= 10.0:
            raise InputRejected(f"global_scale is {scale:g}, expected 0.1 to 10", archive.path)
        offsets = offsets * scale
        notes.append(f"the template's bones were scaled by the file's global_scale {scale:g}")
    else:
        notes.append("the file gives no bone lengths; the template's are taken")
    return MotionIdentity(model, coefficients, gender or None, offsets, rest_source), tuple(notes)


def soma_npz_bytes(motion: SomaMotion, extras: Mapping[str, np.ndarray] | None = None) -> bytes:
    """Encode a motion as SOMA animation npz, readable by SOMA-X and by :func:`read_soma_npz`.

    T-pose-relative matrices in metres, Y-up. Reading the bytes gives the same motion bit for bit (its provenance names
    this file instead); the same motion gives the same bytes.

    Args:
        motion: The motion.
        extras: Further arrays, e.g. ``per_vertex_error``; they may not take the place of the motion's own.

    Raises:
        InputRejected: An extra array has the name of one of the motion's, or the motion is larger than what is read.
    """
    identity = motion.identity
    require_finite("root_translation", motion.root_translation, None, largest=LARGEST_POSITION_M)
    if np.abs(identity.rest_offsets).max() > LARGEST_OFFSET_M:
        raise InputRejected(f"the body has a bone of more than {LARGEST_OFFSET_M:g} m; take a smaller scale")
    arrays = _arrays(motion, identity)
    for name, values in (extras or {}).items():
        if name in arrays:
            raise InputRejected(f"{name!r} is an array of every SOMA animation and cannot be given")
        arrays[name] = np.asarray(values)
    return npz_bytes(arrays)


def _arrays(motion: SomaMotion, identity: MotionIdentity) -> dict[str, np.ndarray]:
    return {
        "poses": motion.rotations,
        "transl": motion.root_translation,
        "root_translation": motion.root_translation,
        "joint_names": np.array(POSE_JOINT_NAMES),
        "identity_model_type": np.array(identity.model),
        "identity_coeffs": identity.coefficients[None],
        "keep_root": np.array(False),
        "absolute_pose": np.array(False),
        "rotation_repr": np.array("matrix"),
        "unit": np.array("meters"),
        "joint_orient": template_rest_rotations(),
        "fps": np.array([motion.fps]),
        "gender": np.array(identity.gender or ""),
        "rest_offsets_m": identity.rest_offsets,
        "rest_source": np.array(identity.rest_source),
        "up_axis": np.array("y"),
    }


def provenance_array(provenance: Provenance) -> np.ndarray:
    """A motion's origin as JSON text, for ``extras``."""
    return np.array(json.dumps(asdict(provenance), sort_keys=True))
