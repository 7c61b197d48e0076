"""``SOMAHand.npz`` of SOMA-X 0.3: which part of the body's mid mesh is a hand, and the hands' shape space.

Keys per side (``left_``, ``right_``): ``vert_ids`` (Vh,), ``hand_joint_ids_global`` (25,) among the 78 public joints,
``joint_parent_ids`` (25,), ``boundary_loop`` (N,) and ``triangles`` (F, 3) into the hand, ``wrist_global_id``; and,
for both sides, ``left_mean`` (Vh, 3) cm in the frame of the left wrist, ``left_shapedirs`` (K, 3 Vh) cm,
``left_eigenvalues`` (K,). The right hand's vertices are listed in the order of their left twins.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.formats.pca_binary import PcaSpace

_METRES_PER_CENTIMETRE = 0.01


@dataclass(frozen=True, eq=False)
class HandFile:
    """One side of the file.

    Attributes:
        vertices: [Vh] int32, mid vertex of the body for each vertex of the hand.
        border: [N] int32, vertices of the hand on its open end.
        joints: [25] int32, public joints, the wrist first.
        left_space: Shapes of the **left** hand, m, in its wrist's frame; ``None`` where the file has none.
    """

    vertices: np.ndarray
    border: np.ndarray
    joints: np.ndarray
    left_space: PcaSpace | None


def read_hand_npz(path: Path, side: str, limits: ReadLimits = DEFAULT_LIMITS) -> HandFile:
    """Read one hand.

    Args:
        path: The file.
        side: ``left`` or ``right``.
        limits: What to accept.

    Raises:
        InputRejected: It cannot be read, an array is missing or has another shape, or an index is out of range.
    """
    archive = NpzArchive(read_source(path, limits), limits)
    vertices = _indices(archive, f"{side}_vert_ids", (None,), 1 << 24)
    space = None
    if "left_mean" in archive:
        space = _space(archive, len(vertices))
    return HandFile(
        vertices=vertices,
        border=_indices(archive, f"{side}_boundary_loop", (None,), len(vertices)),
        joints=_indices(archive, f"{side}_hand_joint_ids_global", (25,), 78),
        left_space=space,
    )


def _space(archive: NpzArchive, count: int) -> PcaSpace:
    eigenvalues = archive.numbers("left_eigenvalues", (None,))
    directions = archive.numbers("left_shapedirs", (len(eigenvalues), 3 * count))
    try:
        return PcaSpace(
            archive.numbers("left_mean", (count, 3)) * _METRES_PER_CENTIMETRE,
            directions.reshape(len(eigenvalues), count, 3) * _METRES_PER_CENTIMETRE,
            eigenvalues,
            archive.digest,
        )
    except InputRejected as error:
        raise InputRejected(error.reason, archive.path) from error


def _indices(archive: NpzArchive, key: str, shape: tuple[int | None, ...], end: int) -> np.ndarray:
    values = archive.numbers(key, shape)
    if not np.isfinite(values).all() or (values != np.floor(values)).any():
        raise InputRejected(f"array {key!r} does not hold whole numbers", archive.path)
    if values.size and (values.min() < 0 or values.max() >= end):
        raise InputRejected(f"array {key!r} points outside the {end} it may index", archive.path)
    return values.astype(np.int32)
