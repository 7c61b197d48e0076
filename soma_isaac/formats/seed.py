"""BONES-SEED samples: all 78 SOMA joints as local transforms on the rig's own axes, Y-up, metres, with a frame rate.

``human_local_transforms`` [T, 78, 7] are position + quaternion in the parent's frame (``scalar_first`` false: xyzw).
``human_reference_local_transforms`` [78, 7] has identity rotations: it gives bone lengths, not a pose, so the rotations
are absolute in the rig's local axes and become T-pose-relative with the template's T-pose orientations ``O_j``:
``R_j = O_parent A_j O_j^T``. The up axis is Y whatever ``human_up_axis`` says. ``robot_*`` arrays are not read.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import decide_fps, require_finite, require_frames
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.math.arrays import check_unit_quaternions
from soma_isaac.math.so3 import matrix_from_quat_wxyz, matrix_from_quat_xyzw
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import (
    POSE_PARENTS,
    PUBLIC_JOINT_NAMES,
    PUBLIC_PARENTS,
    forward_kinematics,
    template_rest_rotations,
)

FPS_KEYS = ("fps",)
LARGEST_POSITION = 1000.0
FK_TOLERANCE = 1e-3
"""Largest distance [m] between our forward kinematics and the file's own ``human_global_pos``."""


def is_seed(archive: NpzArchive) -> bool:
    """Whether the keys are those of a BONES-SEED sample."""
    return "human_local_transforms" in archive and "human_joint_names" in archive


def read_seed(archive: NpzArchive, source: str, source_fps: float | None = None) -> SomaMotion:
    """Convert a BONES-SEED sample.

    Args:
        archive: The file.
        source: Name of the source for the provenance.
        source_fps: Frame rate given by the user [Hz]; it wins.

    Raises:
        InputRejected: Joints, shapes or quaternions are wrong, or the file's own global positions are not reproduced.
    """
    path = archive.path
    _check_skeleton(archive)
    local = archive.numbers("human_local_transforms", (None, 78, 7))
    reference = archive.numbers("human_reference_local_transforms", (78, 7))
    require_frames(len(local), path)
    require_finite("human_local_transforms", local, path, PUBLIC_JOINT_NAMES, LARGEST_POSITION)
    require_finite("human_reference_local_transforms", reference, path)
    stored = {key: archive.scalar(key) for key in FPS_KEYS if key in archive}
    rate = decide_fps(stored, FPS_KEYS, source_fps, path)
    check_unit_quaternions("human_local_transforms (frame, joint)", local[..., 3:], tolerance=1e-3)
    if np.abs(local[:, 0, :3]).max() > 1e-4:
        raise InputRejected("moves the Root joint; expected it to stay at the origin", path)
    to_matrix = matrix_from_quat_wxyz if archive.flag("scalar_first", False) else matrix_from_quat_xyzw
    absolute = to_matrix(local[..., 3:])
    orient = template_rest_rotations()
    parents = np.array(POSE_PARENTS) + 1
    rotations = orient[parents] @ absolute[:, 1:] @ np.swapaxes(orient[1:], -1, -2)
    rotations[:, 0] = absolute[:, 0] @ rotations[:, 0]
    offsets = np.zeros((78, 3))
    offsets[1:] = np.einsum("jab,jb->ja", orient[parents], reference[1:, :3])
    error = _worst_position_error(archive, rotations, local[:, 1, :3], offsets)
    return SomaMotion(
        rate.fps,
        rotations,
        local[:, 1, :3],
        MotionIdentity("soma", np.zeros(0), None, offsets, "file"),
        Provenance(
            source,
            archive.digest,
            "seed",
            rate.key,
            "y",
            "format",
            (*rate.notes, f"the file's own joint positions are reproduced to {error:.1e} m"),
        ),
    )


def _check_skeleton(archive: NpzArchive) -> None:
    names = archive.texts("human_joint_names")
    if names != PUBLIC_JOINT_NAMES:
        raise InputRejected(f"lists {len(names)} joints, expected the 78 SOMA joints in their order", archive.path)
    if "human_parent_indices" in archive:
        parents = archive.numbers("human_parent_indices", (78,))
        if tuple(int(parent) for parent in parents[1:]) != PUBLIC_PARENTS[1:]:
            raise InputRejected("lists other parents than the SOMA skeleton has", archive.path)


def _worst_position_error(
    archive: NpzArchive, rotations: np.ndarray, root_translation: np.ndarray, offsets: np.ndarray
) -> float:
    """Largest distance [m] to ``human_global_pos``; 0 where the file has none.

    Raises:
        InputRejected: It exceeds :data:`FK_TOLERANCE`: the file means its rotations in some other way.
    """
    if "human_global_pos" not in archive:
        return 0.0
    stated = archive.numbers("human_global_pos", (len(rotations), 78, 3))
    positions, _ = forward_kinematics(rotations, root_translation, offsets)
    distance = np.linalg.norm(positions - stated[:, 1:], axis=-1)
    if not distance.max() <= FK_TOLERANCE:
        frame, joint = (
            int(i) for i in np.unravel_index(int(np.nan_to_num(distance, nan=1e9).argmax()), distance.shape)
        )
        raise InputRejected(
            f"its transforms put {PUBLIC_JOINT_NAMES[joint + 1]} {distance[frame, joint]:.3g} m from its own "
            f"human_global_pos at frame {frame}",
            archive.path,
        )
    return float(distance.max())
