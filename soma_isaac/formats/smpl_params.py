"""SMPL family parameters as body estimators and the ``smplx`` package name them, and as we write them.

Read: ``global_orient`` and ``body_pose`` as rotation vectors (T, 3) and (T, 63 or 69) or (T, n, 3), as matrices
(T, n, 3, 3), or as six numbers per joint (``global_orient_6d``, ``body_pose_6d``: the first two rows of the matrix, as
pytorch3d writes them); optional ``left_hand_pose``, ``right_hand_pose`` (T, 45), ``jaw_pose``, ``leye_pose``,
``reye_pose`` (T, 3), ``betas``, ``gender``, ``transl`` or ``trans`` (T, 3) m, and a frame rate. Written: AMASS layout.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import (
    BODY_JOINT_COUNT,
    LARGEST_ANGLE,
    LARGEST_POSITION,
    AmassClip,
    is_amass,
    read_amass,
    read_betas,
    read_gender,
)
from soma_isaac.formats.guard import decide_fps, require_finite, require_frames
from soma_isaac.formats.npz import NpzArchive, npz_bytes
from soma_isaac.math.arrays import check_rotations
from soma_isaac.math.so3 import rotvec_from_matrix

FPS_KEYS = ("fps", "frame_rate", "mocap_framerate", "mocap_frame_rate")
TRANSLATION_KEYS = ("transl", "trans")
_SHORTEST_ROW = 1e-6


def is_smpl_params(archive: NpzArchive) -> bool:
    """Whether the keys are those of SMPL parameters, AMASS's own included."""
    return is_amass(archive) or any(key in archive for key in ("body_pose", "body_pose_6d"))


def read_smpl_params(archive: NpzArchive, source_fps: float | None = None) -> AmassClip:
    """Read SMPL parameters, world axes as in the file.

    Args:
        archive: The file.
        source_fps: Frame rate given by the user [Hz]; it wins.

    Raises:
        InputRejected: Shapes are those of no SMPL model, values are not finite or no rotations, a part is missing, or
            the frame rate is missing or contradictory.
    """
    if is_amass(archive):
        return read_amass(archive, source_fps)
    path = archive.path
    body = _rotations(archive, "body_pose")
    frames = len(body)
    require_frames(frames, path)
    if body.shape[1] not in (BODY_JOINT_COUNT - 1, BODY_JOINT_COUNT + 1):
        raise InputRejected(f"body_pose has {body.shape[1]} joints; SMPL has 23, SMPL-H and SMPL-X 21", path)
    root = _rotations(archive, "global_orient")
    if root.shape != (frames, 1, 3):
        raise InputRejected(
            f"global_orient has {root.shape[1]} joints in {len(root)} frames, expected 1 in {frames}", path
        )
    key = next((key for key in TRANSLATION_KEYS if key in archive), None)
    if key is None:
        raise InputRejected(f"has no translation (keys looked for: {', '.join(TRANSLATION_KEYS)})", path)
    trans = archive.numbers(key, (frames, 3))
    require_finite(key, trans, path, largest=LARGEST_POSITION)
    rate = decide_fps({name: archive.scalar(name) for name in FPS_KEYS if name in archive}, FPS_KEYS, source_fps, path)
    hands = _hands(archive, frames)
    face = _face(archive, frames)
    model = "smplx" if face is not None else ("smpl" if body.shape[1] == BODY_JOINT_COUNT + 1 else "smplh")
    betas, beta_notes = read_betas(archive)
    gender, gender_notes = read_gender(archive)
    full = np.concatenate([root, body[:, : BODY_JOINT_COUNT - 1]], axis=1)
    notes = (*rate.notes, *beta_notes, *gender_notes)
    return AmassClip(model, rate.fps, rate.key, gender, betas, full, hands, face, trans, notes, archive.digest)


def _hands(archive: NpzArchive, frames: int) -> np.ndarray | None:
    if "left_hand_pose" not in archive or "right_hand_pose" not in archive:
        return None
    hands = [_rotations(archive, f"{side}_hand_pose") for side in ("left", "right")]
    for side, values in zip(("left", "right"), hands, strict=True):
        if values.shape != (frames, 15, 3):
            raise InputRejected(
                f"{side}_hand_pose is {values.shape}, expected ({frames}, 15, 3); components are not read", archive.path
            )
    return np.stack(hands, axis=1)


def _face(archive: NpzArchive, frames: int) -> np.ndarray | None:
    if "jaw_pose" not in archive:
        return None
    parts = [
        _rotations(archive, key) if key in archive else np.zeros((frames, 1, 3))
        for key in ("jaw_pose", "leye_pose", "reye_pose")
    ]
    if any(part.shape != (frames, 1, 3) for part in parts):
        raise InputRejected(f"jaw_pose, leye_pose and reye_pose need ({frames}, 3)", archive.path)
    return np.concatenate(parts, axis=1)


def _rotations(archive: NpzArchive, name: str) -> np.ndarray:
    """Rotation vectors [T, n, 3] from whichever form the file has."""
    path = archive.path
    six = f"{name}_6d"
    key = name if name in archive else six
    shape = archive.header(key)[1]
    values = archive.numbers(key, (None,) * len(shape))
    if len(shape) < 2 or not values.size:
        raise InputRejected(f"{key} is {shape}, expected one row per frame", path)
    require_finite(key, values.reshape(len(values), -1), path, largest=LARGEST_ANGLE)
    if key == six:
        return _from_six(key, values.reshape(len(values), -1, 6) if shape[-1] % 6 == 0 else values, path)
    if len(shape) > 2 and shape[-2:] == (3, 3):  # (T, 3, 3) too: no part of a pose has three joints
        matrices = values.reshape(len(values), -1, 3, 3)
        check_rotations(f"{key} (frame, joint)", matrices)
        return rotvec_from_matrix(matrices)
    if len(shape) > 3 or values[0].size % 3:
        raise InputRejected(f"{key} is {shape}, expected rotation vectors (T, n, 3) or matrices (T, n, 3, 3)", path)
    return values.reshape(len(values), -1, 3)


def _from_six(key: str, values: np.ndarray, path: str) -> np.ndarray:
    """Gram-Schmidt over the two rows."""
    if values.ndim != 3:
        raise InputRejected(f"{key} is {values.shape}, expected (T, n, 6)", path)
    first, second = values[..., :3], values[..., 3:]
    x = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), _SHORTEST_ROW)
    y = second - np.sum(x * second, axis=-1, keepdims=True) * x
    length = np.linalg.norm(y, axis=-1, keepdims=True)
    if np.linalg.norm(first, axis=-1).min() < _SHORTEST_ROW or length.min() < _SHORTEST_ROW:
        raise InputRejected(f"{key} has rows that span no rotation", path)
    y = y / length
    return rotvec_from_matrix(np.stack([x, y, np.cross(x, y)], axis=-2))


def amass_npz_bytes(clip: AmassClip, extras: dict[str, np.ndarray] | None = None) -> bytes:
    """Encode a clip in AMASS layout, readable by :func:`read_amass`: the same clip gives the same bytes.

    SMPL-H has 156 columns, SMPL-X 165, SMPL 72; fingers and face that the clip lacks are zero, betas and gender
    that it lacks are left out. The rate stands under both spellings.
    """
    frames = len(clip.trans)
    parts = [clip.body.reshape(frames, -1)]
    if clip.model == "smpl":
        parts.append(np.zeros((frames, 6)))
    else:
        if clip.model == "smplx":
            parts.append(np.zeros((frames, 9)) if clip.face is None else clip.face.reshape(frames, -1))
        parts.append(np.zeros((frames, 90)) if clip.hands is None else clip.hands.reshape(frames, -1))
    arrays = {
        "poses": np.concatenate(parts, axis=1),
        "trans": clip.trans,
        "mocap_framerate": np.array(clip.fps),
        "mocap_frame_rate": np.array(clip.fps),
        "surface_model_type": np.array(clip.model),
    }
    if clip.betas.size:
        arrays["betas"] = clip.betas
    if clip.gender is not None:
        arrays["gender"] = np.array(clip.gender)
    for name, values in (extras or {}).items():
        if name in arrays:
            raise InputRejected(f"{name!r} is an array of every AMASS clip and cannot be given")
        arrays[name] = np.asarray(values)
    return npz_bytes(arrays)
