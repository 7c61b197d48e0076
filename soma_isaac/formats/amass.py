"""AMASS npz: SMPL-family joint rotations, translation, body coefficients and the frame rate, as stored.

Layouts: ``poses`` [T, 156] (SMPL-H), [T, 165] (SMPL-X), [T, 72] (SMPL) or [T, 66] (22 body joints), or the split keys
``root_orient`` / ``pose_body`` / ``pose_hand`` / ``pose_jaw`` / ``pose_eye``; rotation vectors [rad], with ``trans``
[T, 3] m. The frame rate is ``mocap_framerate`` (SMPL-H releases) or ``mocap_frame_rate`` (SMPL-X releases). Z-up by
format.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import decide_fps, require_finite, require_frames
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.math.arrays import frozen_array

FPS_KEYS = ("mocap_framerate", "mocap_frame_rate")
BODY_JOINT_COUNT = 22
LARGEST_ANGLE = 100.0
LARGEST_POSITION = 1000.0
_GENDERS = ("male", "female", "neutral")
_COLUMNS = {
    66: ("smpl", None),
    72: ("smpl", None),
    156: ("smplh", 66),
    165: ("smplx", 75),
}
"""Columns of ``poses`` -> model, and where the 90 columns of the hands begin."""


@dataclass(frozen=True, eq=False)
class AmassClip:
    """One AMASS clip as stored, world axes as in the file.

    Attributes:
        model: ``smpl``, ``smplh`` or ``smplx``.
        fps: Frame rate [Hz].
        fps_key: Key under which it stood, ``option`` if the user gave it.
        gender: ``male``, ``female``, ``neutral`` or ``None``.
        betas: [K] body coefficients of the model; empty if the file has none.
        body: [T, 22, 3] rotation vectors [rad] of the body joints, pelvis first.
        hands: [T, 2, 15, 3] left and right finger joints (index, middle, pinky, ring, thumb), or ``None``.
        face: [T, 3, 3] jaw, left eye, right eye, or ``None``.
        trans: [T, 3] m, the model's translation (not the pelvis).
        notes: Decisions taken while reading.
        digest: sha256 of the file.
    """

    model: str
    fps: float
    fps_key: str
    gender: str | None
    betas: np.ndarray
    body: np.ndarray
    hands: np.ndarray | None
    face: np.ndarray | None
    trans: np.ndarray
    notes: tuple[str, ...]
    digest: str

    def __post_init__(self) -> None:
        """Freeze the arrays.

        Raises:
            InputRejected: A shape differs or a value is not finite.
        """
        frames = len(self.trans)
        for name, shape in (
            ("betas", (None,)),
            ("body", (frames, BODY_JOINT_COUNT, 3)),
            ("hands", (frames, 2, 15, 3)),
            ("face", (frames, 3, 3)),
            ("trans", (frames, 3)),
        ):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, frozen_array(name, getattr(self, name), shape))


def is_amass(archive: NpzArchive) -> bool:
    """Whether the keys are those of an AMASS clip."""
    return "trans" in archive and ("poses" in archive or {"root_orient", "pose_body"} <= set(archive.keys))


def read_amass(archive: NpzArchive, source_fps: float | None = None) -> AmassClip:
    """Read an AMASS clip.

    Args:
        archive: The file.
        source_fps: Frame rate given by the user [Hz]; it wins.

    Raises:
        InputRejected: Shapes are those of no SMPL model, values are not finite, or the frame rate is missing or
            contradictory.
    """
    path = archive.path
    stored = {key: archive.scalar(key) for key in FPS_KEYS if key in archive}
    rate = decide_fps(stored, FPS_KEYS, source_fps, path)
    trans = archive.numbers("trans", (None, 3))
    require_frames(len(trans), path)
    require_finite("trans", trans, path, largest=LARGEST_POSITION)
    model, body, hands, face = _rotations(archive, len(trans))
    betas, beta_notes = read_betas(archive)
    gender, gender_notes = read_gender(archive)
    return AmassClip(
        model,
        rate.fps,
        rate.key,
        gender,
        betas,
        body,
        hands,
        face,
        trans,
        (*rate.notes, *beta_notes, *gender_notes),
        archive.digest,
    )


def _rotations(archive: NpzArchive, frames: int) -> tuple[str, np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Model, body [T, 22, 3], hands [T, 2, 15, 3] and face [T, 3, 3] from either layout."""
    path = archive.path
    if "poses" not in archive:
        return _split_rotations(archive, frames)
    poses = archive.numbers("poses", (frames, None))
    if poses.shape[1] not in _COLUMNS:
        listed = ", ".join(str(width) for width in _COLUMNS)
        raise InputRejected(f"poses has {poses.shape[1]} columns; AMASS layouts have {listed}", path)
    model, hands_at = _COLUMNS[poses.shape[1]]
    joints = poses.reshape(frames, -1, 3)
    require_finite("poses", joints, path, [f"{i}" for i in range(joints.shape[1])], LARGEST_ANGLE)
    hands = None if hands_at is None else poses[:, hands_at : hands_at + 90].reshape(frames, 2, 15, 3)
    face = joints[:, 22:25] if model == "smplx" else None
    return model, joints[:, :BODY_JOINT_COUNT], hands, face


def _split_rotations(archive: NpzArchive, frames: int) -> tuple[str, np.ndarray, np.ndarray | None, np.ndarray | None]:
    path = archive.path

    def part(key: str, joints: int) -> np.ndarray:
        values = archive.numbers(key, (frames, joints * 3)).reshape(frames, joints, 3)
        require_finite(key, values, path, [f"{i}" for i in range(joints)], LARGEST_ANGLE)
        return values

    body = np.concatenate([part("root_orient", 1), part("pose_body", 21)], axis=1)
    hands = part("pose_hand", 30).reshape(frames, 2, 15, 3) if "pose_hand" in archive else None
    face = None
    if "pose_jaw" in archive:
        eyes = part("pose_eye", 2) if "pose_eye" in archive else np.zeros((frames, 2, 3))
        face = np.concatenate([part("pose_jaw", 1), eyes], axis=1)
    model = "smplx" if face is not None else ("smpl" if hands is None else "smplh")
    if "surface_model_type" in archive:
        stated = archive.text("surface_model_type").lower()
        model = stated if stated in ("smpl", "smplh", "smplx") else model
    return model, body, hands, face


def read_betas(archive: NpzArchive) -> tuple[np.ndarray, tuple[str, ...]]:
    """``betas`` [K] of a file, empty if it has none, and notes."""
    if "betas" not in archive:
        return np.zeros(0), ("the file has no betas",)
    dtype, shape = archive.header("betas")
    if len(shape) not in (1, 2) or not 0 < shape[-1] <= 400 or shape[0] < 1:
        raise InputRejected(f"betas is {dtype} {shape}, expected (K,)", archive.path)
    betas = archive.numbers("betas", shape)
    require_finite("betas", betas, archive.path, largest=1000.0)
    if betas.ndim == 1:
        return betas, ()
    varies = len(betas) > 1 and not np.allclose(betas, betas[0], atol=1e-5)
    return betas[0], ("betas vary over the clip; those of its first frame are kept",) if varies else ()


def read_gender(archive: NpzArchive) -> tuple[str | None, tuple[str, ...]]:
    """``gender`` of a file, ``None`` if it states none that we know, and notes."""
    if "gender" not in archive:
        return None, ("the file states no gender",)
    stated = archive.text("gender").strip().lower()
    if stated[:2] in ("b'", 'b"'):  # older releases stored str(bytes)
        stated = stated[2:-1]
    if stated in _GENDERS:
        return stated, ()
    return None, (f"the file's gender {stated[:20]!r} is none of {', '.join(_GENDERS)}",)
