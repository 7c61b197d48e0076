"""SMPL, SMPL-H, SMPL-X and MANO model files: ``.npz``, or ``.pkl`` without unpickling.

Every file of the family holds ``v_template`` (V, 3) m, ``shapedirs`` (V, 3, K) or (K, V, 3), ``J_regressor`` (J, V),
``weights`` (V, J), ``f`` (F, 3), ``kintree_table`` (2, J) and ``posedirs``. SMPL-X appends expression components
to its shape components; they are no betas and are not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.formats.model_pickle import ModelPickle
from soma_isaac.formats.npz import NpzArchive, npz_bytes

SMPL_KINDS = {"smpl": 24, "smplh": 52, "smplx": 55}
"""Members of the family that are bodies, and their numbers of joints."""

_JOINTS = {**SMPL_KINDS, "mano": 16}

_SMPLX_SHAPES = {20: 10, 400: 300}
"""How many of SMPL-X's components are shape, by how many the file holds; the others are expression."""


@dataclass(frozen=True, eq=False)
class SmplModel:
    """One model, zero pose, metres, Y-up, facing +Z.

    Attributes:
        kind: ``smpl``, ``smplh``, ``smplx`` or ``mano`` (one hand).
        points: [V, 3] float64 template.
        shape_directions: [K, V, 3] float32, betas only.
        triangles: [F, 3] int32.
        joint_regressor: [J, V] float64: joints of a shaped template.
        weights: [V, J] float64.
        parents: [J] int32, column of each joint's parent; -1 for the root.
        pose_directions: [9 (J - 1), V, 3] float32; ``None`` where it was not asked for.
        digest: sha256 of the file.
        hand_means: [2, 15, 3] float64 rad, mean pose of the left and right fingers as the file gives it
            (``hands_meanl``, ``hands_meanr``); ``None`` where it does not.
    """

    kind: str
    points: np.ndarray
    shape_directions: np.ndarray
    triangles: np.ndarray
    joint_regressor: np.ndarray
    weights: np.ndarray
    parents: np.ndarray
    pose_directions: np.ndarray | None
    digest: str
    hand_means: np.ndarray | None = None


def read_smpl_model(
    path: Path, kind: str, *, betas: int | None = None, pose: bool = True, limits: ReadLimits = DEFAULT_LIMITS
) -> SmplModel:
    """Read one model file.

    Args:
        path: ``.npz`` or ``.pkl`` (told apart by content, never unpickled).
        kind: ``smpl``, ``smplh``, ``smplx`` or ``mano``; the file must have that many joints.
        betas: How many shape components to keep; all by default.
        pose: Read the pose blend shapes too (the largest array; shapes alone do not need it).
        limits: Budgets.

    Raises:
        InputRejected: It cannot be read, an array is missing or has another shape, or it has fewer components.
    """
    if kind not in _JOINTS:
        raise InputRejected(f"no SMPL model {kind!r}; there are {', '.join(_JOINTS)}")
    source = read_source(path, limits)
    entries = NpzArchive(source, limits) if source.data[:2] == b"PK" else ModelPickle(source, limits)
    points = _finite(entries, "v_template", (None, 3))
    count, joints = len(points), _JOINTS[kind]
    triangles = _counts(_finite(entries, _one_of(entries, "f", "faces"), (None, 3)), count, "faces", entries.path)
    tree = _finite(entries, "kintree_table", (2, None))
    if tree.shape[1] != joints:
        raise InputRejected(f"has {tree.shape[1]} joints; a {kind} model has {joints}", entries.path)
    return SmplModel(
        kind=kind,
        points=points,
        shape_directions=_shapes(entries, kind, count, betas),
        triangles=triangles,
        joint_regressor=_finite(entries, "J_regressor", (joints, count)),
        weights=_finite(entries, _one_of(entries, "weights", "lbs_weights"), (count, joints)),
        parents=_parents(tree, entries.path),
        pose_directions=_poses(entries, count, joints) if pose else None,
        digest=source.digest,
        hand_means=_hand_means(entries),
    )


def _hand_means(entries: NpzArchive | ModelPickle) -> np.ndarray | None:
    if "hands_meanl" not in entries or "hands_meanr" not in entries:
        return None
    return np.stack([_finite(entries, key, (45,)).reshape(15, 3) for key in ("hands_meanl", "hands_meanr")])


def _one_of(entries: NpzArchive | ModelPickle, *keys: str) -> str:
    return next((key for key in keys if key in entries), keys[0])


def _finite(entries: NpzArchive | ModelPickle, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
    values = entries.numbers(key, shape)
    if not np.isfinite(values).all():
        raise InputRejected(f"array {key!r} holds values that are not finite", entries.path)
    return values


def _counts(values: np.ndarray, end: int, what: str, path: str) -> np.ndarray:
    if (values != np.round(values)).any() or (values.size and (values.min() < 0 or values.max() >= end)):
        raise InputRejected(f"{what} point outside the {end} vertices", path)
    return values.astype(np.int32)


def _shapes(entries: NpzArchive | ModelPickle, kind: str, count: int, betas: int | None) -> np.ndarray:
    values = _finite(entries, "shapedirs", (None, None, None))
    if values.shape[:2] == (count, 3):
        values = np.moveaxis(values, 2, 0)
    elif values.shape[1:] != (count, 3):
        raise InputRejected(
            f"array 'shapedirs' has shape {values.shape}, expected ({count}, 3, K) or (K, {count}, 3)", entries.path
        )
    held = _SMPLX_SHAPES.get(len(values), len(values)) if kind == "smplx" else len(values)
    if betas is not None and not 1 <= betas <= held:
        raise InputRejected(f"holds {held} shape components; {betas} were asked for", entries.path)
    return np.ascontiguousarray(values[: held if betas is None else betas], dtype=np.float32)


def _poses(entries: NpzArchive | ModelPickle, count: int, joints: int) -> np.ndarray:
    """Pose blend shapes: (V, 3, P) in the official files, (P, 3 V) in files that passed through the smplx package."""
    size = 9 * (joints - 1)
    if isinstance(entries, ModelPickle):
        values = entries.array("posedirs")
    else:
        values = entries.numbers("posedirs", (None,) * len(entries.header("posedirs")[1]))
    if not np.isfinite(values).all():
        raise InputRejected("array 'posedirs' holds values that are not finite", entries.path)
    if values.shape == (count, 3, size):
        values = np.moveaxis(values, 2, 0)
    elif values.shape == (3 * count, size):
        values = values.T
    elif values.shape not in ((size, count, 3), (size, 3 * count)):
        raise InputRejected(f"array 'posedirs' has shape {values.shape}, expected ({count}, 3, {size})", entries.path)
    return np.ascontiguousarray(values.reshape(size, count, 3), dtype=np.float32)


def _parents(tree: np.ndarray, path: str) -> np.ndarray:
    columns = {int(joint): column for column, joint in enumerate(tree[1])}
    parents = [-1]
    for column in range(1, tree.shape[1]):
        parent = columns.get(int(tree[0, column]), -1)
        if not 0 <= parent < column:
            raise InputRejected(f"joint {column} of the kintree_table has no parent before it", path)
        parents.append(parent)
    return np.array(parents, dtype=np.int32)


def smpl_npz_bytes(model: SmplModel) -> bytes:
    """The model as an npz with the official names, so that the ``.pkl`` need not be read again.

    Raises:
        InputRejected: The model was read without its pose blend shapes.
    """
    if model.pose_directions is None:
        raise InputRejected("the model was read without its pose blend shapes")
    parents = np.where(model.parents < 0, 2**32 - 1, model.parents).astype(np.uint32)
    means = {}
    if model.hand_means is not None:
        means = {"hands_meanl": model.hand_means[0].ravel(), "hands_meanr": model.hand_means[1].ravel()}
    return npz_bytes(
        {
            **means,
            "v_template": model.points,
            "shapedirs": np.ascontiguousarray(np.moveaxis(model.shape_directions, 0, 2)),
            "posedirs": np.ascontiguousarray(np.moveaxis(model.pose_directions, 0, 2)),
            "f": model.triangles,
            "J_regressor": model.joint_regressor,
            "weights": model.weights,
            "kintree_table": np.stack([parents, np.arange(len(parents), dtype=np.uint32)]),
        }
    )
