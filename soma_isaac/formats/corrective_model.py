"""Pose corrective weights: SOMA-X's ``correctives_model.pt`` (read inertly) and our own safetensors file.

A safetensors file holds ``bind_rotations`` [J, 3, 3] float32 and both layers as compressed rows: ``hidden_offsets``
[K + 1], ``hidden_inputs`` [E] int32, ``hidden_weights`` [E] float32 (entries of each hidden unit), ``vertex_offsets``
[V + 1], ``vertex_units`` [F] int32, ``vertex_values`` [F, 3] float32 m (entries of each vertex). Its metadata are
``format`` = ``soma_isaac correctives``, ``version`` = ``1``, ``squash`` = ``true`` or ``false``, ``note``.
"""

# pyright: reportOptionalSubscript=false, reportArgumentType=false
from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.guard import SourceBytes, read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.formats.torch_zip import Opaque, read_torch_zip
from soma_isaac.math.arrays import frozen_array

INPUTS_PER_JOINT = 6
FORMAT = "soma_isaac correctives"
_METRES = {"millimeters": 0.001, "centimeters": 0.01, "meters": 1.0}
_LARGEST = 1 << 27


@dataclass(frozen=True, eq=False)
class CorrectiveWeights:
    """A corrective model: offsets = f(x W1) W2, see :mod:`soma_isaac.kernels.correctives`.

    Attributes:
        bind_rotations: [J, 3, 3] local rotations of the public joints at which the inputs are zero.
        squash: tanh after relu.
        hidden_offsets: [K + 1] int32.
        hidden_inputs: [E] int32, rows of x.
        hidden_weights: [E] float32.
        vertex_offsets: [V + 1] int32.
        vertex_units: [F] int32, hidden units.
        vertex_values: [F, 3] float32 m.
        note: Where the weights come from.
    """

    bind_rotations: np.ndarray
    squash: bool
    hidden_offsets: np.ndarray
    hidden_inputs: np.ndarray
    hidden_weights: np.ndarray
    vertex_offsets: np.ndarray
    vertex_units: np.ndarray
    vertex_values: np.ndarray
    note: str = ""

    def __post_init__(self) -> None:
        """Check shapes and ranges.

        Raises:
            InputRejected: They contradict each other, or a value is not finite.
        """
        for name, shape, dtype in (
            ("bind_rotations", (None, 3, 3), np.float32),
            ("hidden_offsets", (None,), np.int32),
            ("hidden_inputs", (None,), np.int32),
            ("hidden_weights", (len(self.hidden_inputs),), np.float32),
            ("vertex_offsets", (None,), np.int32),
            ("vertex_units", (None,), np.int32),
            ("vertex_values", (len(self.vertex_units), 3), np.float32),
        ):
            object.__setattr__(self, name, frozen_array(name, getattr(self, name), shape, dtype))
        inputs = INPUTS_PER_JOINT * len(self.bind_rotations)
        for offsets, indices, end in (
            (self.hidden_offsets, self.hidden_inputs, inputs),
            (self.vertex_offsets, self.vertex_units, len(self.hidden_offsets) - 1),
        ):
            rows = len(offsets) and offsets[0] == 0 and offsets[-1] == len(indices) and (np.diff(offsets) >= 0).all()
            if not rows or (indices.size and (indices.min() < 0 or indices.max() >= end)):
                raise InputRejected("the rows of a corrective model do not fit its tables")

    @property
    def unit_count(self) -> int:
        """Hidden units K."""
        return len(self.hidden_offsets) - 1

    @property
    def vertex_count(self) -> int:
        """Vertices V."""
        return len(self.vertex_offsets) - 1

    @classmethod
    def from_matrices(
        cls,
        bind_rotations: np.ndarray,
        first: scipy.sparse.sparray | np.ndarray,
        second: scipy.sparse.sparray | np.ndarray,
        *,
        squash: bool,
        note: str = "",
    ) -> CorrectiveWeights:
        """From ``W1`` [6 J, K] and ``W2`` [K, 3 V] (m), dense or sparse, masks applied.

        Raises:
            InputRejected: The shapes do not fit.
        """
        hidden = scipy.sparse.csr_array(scipy.sparse.csr_array(first).T)
        hidden.eliminate_zeros()
        hidden.sort_indices()
        by_column = scipy.sparse.csr_array(scipy.sparse.csc_array(second).T)  # [3 V, K]
        if hidden.shape[0] != by_column.shape[1] or by_column.shape[0] % 3:
            raise InputRejected(f"W1 and W2 have the shapes {hidden.shape[::-1]} and {by_column.shape[::-1]}")
        by_column.eliminate_zeros()
        offsets, units, values = _vertex_entries(by_column)
        return cls(
            bind_rotations=bind_rotations,
            squash=squash,
            hidden_offsets=hidden.indptr,
            hidden_inputs=hidden.indices,
            hidden_weights=hidden.data,
            vertex_offsets=offsets,
            vertex_units=units,
            vertex_values=values,
            note=note,
        )

    def matrices(self) -> tuple[scipy.sparse.csr_array, scipy.sparse.csr_array]:
        """``W1`` [6 J, K] and ``W2`` [K, 3 V] m."""
        inputs = INPUTS_PER_JOINT * len(self.bind_rotations)
        first = scipy.sparse.csr_array(
            (self.hidden_weights, self.hidden_inputs, self.hidden_offsets), shape=(self.unit_count, inputs)
        )
        rows = np.repeat(np.arange(self.vertex_count), np.diff(self.vertex_offsets))
        columns = (rows[:, None] * 3 + np.arange(3)).ravel()
        second = scipy.sparse.coo_array(
            (self.vertex_values.ravel(), (np.repeat(self.vertex_units, 3), columns)),
            shape=(self.unit_count, 3 * self.vertex_count),
        )
        return scipy.sparse.csr_array(first.T), scipy.sparse.csr_array(second)


def _vertex_entries(by_column: scipy.sparse.csr_array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Offsets, units and values [F, 3] of the vertices from the transposed second layer [3 V, K]."""
    count, width = by_column.shape[0] // 3, by_column.shape[1]
    axes = [by_column[axis::3] for axis in range(3)]
    ones = [scipy.sparse.csr_array((np.ones(a.nnz, np.float32), a.indices, a.indptr), shape=a.shape) for a in axes]
    used = ones[0] + ones[1] + ones[2]
    del ones
    used.sort_indices()

    def keys(table: scipy.sparse.csr_array) -> np.ndarray:
        return np.repeat(np.arange(count), np.diff(table.indptr)) * width + table.indices

    known = keys(used)
    values = np.zeros((used.nnz, 3), dtype=np.float32)
    for axis, table in enumerate(axes):
        values[np.searchsorted(known, keys(table)), axis] = table.data
    return used.indptr, used.indices, values


def read_correctives(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> CorrectiveWeights:
    """Read a corrective model of either kind; its contents decide, not its name.

    Raises:
        InputRejected: It is neither, or damaged, or its tables contradict each other.
    """
    source = read_source(path, limits)
    try:
        if source.data[:2] != b"PK":
            return _from_safetensors(source)
        record = read_torch_zip(source.data, source.path)
        shown = source.path
        del source  # large, and no longer needed
        return _from_checkpoint(record, shown)
    except InputRejected as error:
        raise InputRejected(error.reason, str(path)) from error


def write_correctives(path: Path, weights: CorrectiveWeights) -> None:
    """Write the safetensors file, durably.

    Raises:
        OSError: The disk refused.
    """
    from safetensors.numpy import save

    tensors = {name: np.ascontiguousarray(getattr(weights, name)) for name in _TENSORS}
    squash = "true" if weights.squash else "false"
    write_file(path, save(tensors, {"format": FORMAT, "version": "1", "squash": squash, "note": weights.note}))


_TENSORS = (
    *("bind_rotations", "hidden_offsets", "hidden_inputs", "hidden_weights"),
    *("vertex_offsets", "vertex_units", "vertex_values"),
)


def _from_safetensors(source: SourceBytes) -> CorrectiveWeights:
    import json

    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(source.data)
        size = int.from_bytes(source.data[:8], "little")
        metadata = json.loads(source.data[8 : 8 + size]).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError, RecursionError) as error:
        raise InputRejected(f"is neither a torch checkpoint nor a safetensors file ({str(error)[:120]})") from error
    if metadata.get("format") != FORMAT or metadata.get("version") != "1":
        raise InputRejected(f"is a safetensors file, but not {FORMAT!r} of version 1")
    missing = [name for name in _TENSORS if name not in tensors]
    if missing or metadata.get("squash") not in ("true", "false"):
        raise InputRejected(f"lacks {', '.join(missing) or 'squash'}")
    return CorrectiveWeights(
        **{name: tensors[name] for name in _TENSORS},
        squash=metadata["squash"] == "true",
        note=str(metadata.get("note", "")),
    )


def _from_checkpoint(record: Any, path: str) -> CorrectiveWeights:
    if not isinstance(record, dict):
        raise InputRejected("is no dictionary of weights")
    for name in ("C_max", "bindpose", "W1", "W2"):
        if name not in record:
            raise InputRejected(f"lacks {name!r}; expected SOMA-X's correctives_model.pt")
    per_joint, bind = record["C_max"], record["bindpose"]
    if not isinstance(bind, np.ndarray) or bind.ndim != 3 or bind.shape[1:] not in ((3, 3), (4, 4)):
        raise InputRejected("'bindpose' is not (J, 3, 3) or (J, 4, 4)")
    if type(per_joint) is not int or not 0 < per_joint < 4096:
        raise InputRejected("'C_max' is no sensible number")
    unit = str(record.get("unit", "centimeters")).lower()
    if unit not in _METRES:
        raise InputRejected(f"has the unit {unit[:40]!r}; known are {', '.join(_METRES)}")
    joints, units = len(bind), len(bind) * per_joint
    first = _sparse("W1", record["W1"], (INPUTS_PER_JOINT * joints, units))
    second = _sparse("W2", record.pop("W2"), (units, None))
    if second.shape[1] % 3:
        raise InputRejected("the width of 'W2' is not three numbers per vertex")
    if record.get("M1_mask") is not None:
        mask = _sparse("M1_mask", record["M1_mask"], (joints, joints))
        first = _masked(first, mask, INPUTS_PER_JOINT, per_joint)
    if record.get("M2_mask") is not None:
        mask = _sparse("M2_mask", record["M2_mask"], (joints, second.shape[1] // 3))
        second = _masked(second, mask, per_joint, 3)
    return CorrectiveWeights.from_matrices(
        bind[:, :3, :3], first, second * np.float32(_METRES[unit]), squash=bool(record.get("use_tanh", True)), note=path
    )


def _masked(
    values: scipy.sparse.coo_array, mask: scipy.sparse.coo_array, height: int, width: int
) -> scipy.sparse.coo_array:
    """Multiply by a mask whose entries stand for blocks of ``height`` x ``width``."""
    if mask.shape[0] * mask.shape[1] >= _LARGEST:
        raise InputRejected("a mask is too large")
    table = mask.toarray().astype(np.float32)
    rows, columns = values.coords
    return scipy.sparse.coo_array(
        (values.data * table[rows // height, columns // width], (rows, columns)), shape=values.shape
    )


def _sparse(name: str, value: Any, shape: tuple[int, int | None]) -> scipy.sparse.coo_array:
    """A dense or sparse (COO) matrix of a checkpoint, checked; repeated entries add up, as torch has it."""
    matrix = scipy.sparse.coo_array(np.atleast_2d(value)) if isinstance(value, np.ndarray) else _coo(name, value)
    if len(matrix.shape) != 2 or any(want not in (None, got) for want, got in zip(shape, matrix.shape, strict=True)):
        raise InputRejected(f"{name!r} has shape {matrix.shape}, expected {shape}")
    if not np.isfinite(matrix.data).all():
        raise InputRejected(f"{name!r} is not finite")
    matrix.sum_duplicates()
    return matrix


def _coo(name: str, value: Any) -> scipy.sparse.coo_array:
    problem = InputRejected(f"{name!r} is no sparse matrix of coordinates")
    if not isinstance(value, Opaque) or not value.name.endswith("_rebuild_sparse_tensor") or len(value.arguments) != 2:
        raise problem
    parts = value.arguments[1]
    if not isinstance(parts, (tuple, list)) or len(parts) < 3:
        raise problem
    indices, data, size = parts[:3]
    if isinstance(size, Opaque):  # torch.Size((rows, columns))
        size = size.arguments[0] if size.arguments else ()
    sized = (
        isinstance(size, (tuple, list)) and len(size) == 2 and all(type(n) is int and 0 <= n < _LARGEST for n in size)
    )
    arrays = isinstance(indices, np.ndarray) and isinstance(data, np.ndarray)
    if not sized or not arrays or indices.shape != (2, len(data)) or data.ndim != 1 or indices.dtype.kind != "i":
        raise problem
    if len(data) and (indices.min() < 0 or (indices.max(axis=1) >= np.array(size)).any()):
        raise problem
    if len(data) == 0:
        return scipy.sparse.coo_array(tuple(size), dtype=np.float32)
    smaller = (index.astype(np.int32) for index in indices)
    return scipy.sparse.coo_array((data.astype(np.float32), tuple(smaller)), shape=tuple(size))
