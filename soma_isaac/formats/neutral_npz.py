"""``SOMA_neutral.npz``: SOMA's own shape space with its topology, levels of detail and named vertex groups.

Section layout of the file (V = 18056 mid vertices): ``mean`` (V, 3) cm, ``shapedirs`` (K, 3 V) cm, ``eigenvalues``
(K,), ``triangles`` (N, 3); optionally ``triangles_low``, ``lod_mid_to_low``, ``mirror_vert_indices``, ``segment_*``
vertex groups, ``metadata`` and a history of reference poses. Centimetres become metres here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.formats.npz import NpzArchive
from soma_isaac.formats.pca_binary import PcaSpace
from soma_isaac.math.arrays import check_rotations

METRES_PER_CENTIMETRE = 0.01
BAG_SEGMENTS = ("eye_bags", "mouth_bag")
"""Vertex groups that other bodies' meshes do not have; they are filled in after a topology transfer."""

_REFERENCE_MARKS = ("__v", "__sha256_")
_REFERENCE_PARTS = ("__joint_names", "__parent_ids")


@dataclass(frozen=True, eq=False)
class ReferencePose:
    """World rotations of an older T-pose (0.3.x), for motion that was saved against it.

    Attributes:
        joint_names: Names of the J joints.
        parents: [J] int32.
        rotations: [J, 3, 3] world rotations.
    """

    joint_names: tuple[str, ...]
    parents: np.ndarray
    rotations: np.ndarray


@dataclass(frozen=True, eq=False)
class NeutralShape:
    """The file, in metres.

    Attributes:
        space: Mean and directions in SOMA mid topology, m, bind pose.
        triangles: [N, 3] int32 mid faces.
        triangles_low: [M, 3] int32 low faces, or ``None``.
        low_from_mid: [L] int32, mid vertex of each low vertex, or ``None``.
        mirror: [V] int32 left-right permutation, or ``None``.
        segments: Mid vertex indices by group name, e.g. ``eye_bags``.
        metadata: JSON text, empty where there is none.
        reference_poses: By identifier, e.g. ``t_pose__v1.0.0``.
        reference_metadata: JSON text, empty where there is none.
    """

    space: PcaSpace
    triangles: np.ndarray
    triangles_low: np.ndarray | None
    low_from_mid: np.ndarray | None
    mirror: np.ndarray | None
    segments: Mapping[str, np.ndarray]
    metadata: str
    reference_poses: Mapping[str, ReferencePose]
    reference_metadata: str

    @property
    def bag_vertices(self) -> np.ndarray:
        """Mid vertices [F] of the eye and mouth bags, sorted; empty where the file names none."""
        found = [self.segments[name] for name in BAG_SEGMENTS if name in self.segments]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, dtype=np.int32)


def read_neutral(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> NeutralShape:
    """Read the file.

    Raises:
        InputRejected: It cannot be read, an array is missing, has another shape, or points outside the mesh.
    """
    archive = NpzArchive(read_source(path, limits), limits)
    mean = archive.numbers("mean", (None, 3))
    eigenvalues = archive.numbers("eigenvalues", (None,))
    count = len(mean)
    dtype, shape = archive.header("shapedirs")
    if dtype.kind != "f" or shape not in ((len(eigenvalues), 3 * count), (len(eigenvalues), count, 3)):
        raise InputRejected(
            f"array 'shapedirs' is {dtype} {shape}, expected numbers {(len(eigenvalues), 3 * count)}", archive.path
        )
    directions = archive.read("shapedirs").reshape(len(eigenvalues), count, 3).astype(np.float32, copy=False)
    low = _optional_indices(archive, "lod_mid_to_low", (None,), count)
    try:
        space = PcaSpace(
            mean * METRES_PER_CENTIMETRE,
            directions * np.float32(METRES_PER_CENTIMETRE),
            eigenvalues,
            archive.digest,
        )
    except InputRejected as error:
        raise InputRejected(error.reason, archive.path) from error
    return NeutralShape(
        space=space,
        triangles=_indices(archive, "triangles", (None, 3), count),
        triangles_low=None if low is None else _optional_indices(archive, "triangles_low", (None, 3), len(low)),
        low_from_mid=low,
        mirror=_optional_indices(archive, "mirror_vert_indices", (count,), count),
        segments={
            key.removeprefix("segment_"): _indices(archive, key, (None,), count)
            for key in archive.keys
            if key.startswith("segment_")
        },
        metadata=archive.text("metadata") if "metadata" in archive else "",
        reference_poses=_reference_poses(archive),
        reference_metadata=_optional_text(archive, "reference_pose_history_metadata"),
    )


def _optional_text(archive: NpzArchive, key: str) -> str:
    return archive.text(key) if key in archive else ""


def _optional_indices(archive: NpzArchive, key: str, shape: tuple[int | None, ...], end: int) -> np.ndarray | None:
    return _indices(archive, key, shape, end) if key in archive else None


def _indices(archive: NpzArchive, key: str, shape: tuple[int | None, ...], end: int) -> np.ndarray:
    values = archive.numbers(key, shape)
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if (whole != values).any() or (whole.size and (whole.min() < 0 or whole.max() >= end)):
        raise InputRejected(f"array {key!r} points outside the {end} vertices", archive.path)
    return whole.astype(np.int32)


def _reference_poses(archive: NpzArchive) -> dict[str, ReferencePose]:
    found = {}
    for key in archive.keys:
        if not any(mark in key for mark in _REFERENCE_MARKS) or key.endswith(_REFERENCE_PARTS):
            continue
        names, parents = (key + part for part in _REFERENCE_PARTS)
        if names not in archive or parents not in archive:
            raise InputRejected(f"reference pose {key!r} lacks its joint names or parents", archive.path)
        joint_names = archive.texts(names)
        rotations = archive.numbers(key, (len(joint_names), 3, 3))
        try:
            check_rotations(key, rotations, 1e-4)
        except InputRejected as error:
            raise InputRejected(error.reason, archive.path) from error
        table = archive.numbers(parents, (len(joint_names),))
        found[key] = ReferencePose(joint_names, table.astype(np.int32), rotations)
    return found
