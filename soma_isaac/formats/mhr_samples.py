"""MHR parameters of many persons, as SAM 3D Body datasets hold them: parquet columns, or the same arrays in an npz.

``mhr_valid`` (N,) bool, ``shape_params`` (N, 45), ``model_params`` (N, 204): 0 to 2 translation, 3 to 135 pose, 136 to
203 scales. Rows that are not valid are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.guard import SourceBytes, read_source, require_finite
from soma_isaac.formats.npz import NpzArchive

SHAPE_COUNT, PARAMETER_COUNT = 45, 204
COLUMNS = ("mhr_valid", "shape_params", "model_params")
LARGEST_PARAMETER = 1e5
LARGEST_TABLE_BYTES = 2_000_000_000
_PARQUET_MARK = b"PAR1"


@dataclass(frozen=True, eq=False)
class MhrSamples:
    """Persons of one file.

    Attributes:
        rows: [N] which rows of the file were valid.
        total: Rows of the file.
        shapes: [N, 45] float64.
        parameters: [N, 204] float64.
        digest: sha256 of the file.
    """

    rows: np.ndarray
    total: int
    shapes: np.ndarray
    parameters: np.ndarray
    digest: str


def read_mhr_samples(path: Path, name: str | None = None) -> MhrSamples:
    """Read a parquet or npz file.

    Args:
        path: The file; told apart by content.
        name: What errors call it.

    Raises:
        InputRejected: A column is missing, has another shape or holds values that are not finite, or no row is valid.
        MissingDependency: The file is parquet and pyarrow is not installed.
    """
    source = read_source(path, name=name)
    if source.data[:4] == _PARQUET_MARK:
        valid, shapes, parameters = _parquet(source)
    else:
        archive = NpzArchive(source)
        shapes = archive.numbers("shape_params", (None, SHAPE_COUNT))
        parameters = archive.numbers("model_params", (len(shapes), PARAMETER_COUNT))
        valid = np.ones(len(shapes), dtype=bool)
        if "mhr_valid" in archive:
            dtype, shape = archive.header("mhr_valid")
            if shape != (len(shapes),) or dtype.kind not in "biu":
                raise InputRejected(f"mhr_valid is {dtype} {shape}, expected bool ({len(shapes)},)", source.path)
            valid = archive.read("mhr_valid") != 0
    rows = np.flatnonzero(valid)
    if not rows.size:
        raise InputRejected(f"holds no valid sample among {len(valid)} rows", source.path)
    for key, values in (("shape_params", shapes[rows]), ("model_params", parameters[rows])):
        require_finite(key, values, source.path, largest=LARGEST_PARAMETER)
    return MhrSamples(rows, len(valid), shapes[rows], parameters[rows], source.digest)


def _parquet(source: SourceBytes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingDependency("pyarrow", "reading parquet files", "pip install 'soma_isaac[parquet]'") from error
    try:
        file = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(source.data))
        names = file.schema_arrow.names
        missing = [column for column in COLUMNS[1:] if column not in names]
        if missing:
            raise InputRejected(f"has no column {missing[0]!r}; it has {', '.join(names[:20])}", source.path)
        if file.metadata.num_rows * 8 * (SHAPE_COUNT + PARAMETER_COUNT) > LARGEST_TABLE_BYTES:
            raise InputRejected(f"holds {file.metadata.num_rows} rows, more than the budget; split it", source.path)
        table = file.read(columns=[column for column in COLUMNS if column in names])
        valid = np.ones(table.num_rows, dtype=bool)
        if COLUMNS[0] in names:
            valid = np.array([bool(value) for value in table[COLUMNS[0]].to_pylist()], dtype=bool)
        lists = (("shape_params", SHAPE_COUNT), ("model_params", PARAMETER_COUNT))
        shapes, parameters = (_lists(table[key], key, width, valid, source.path) for key, width in lists)
    except (pyarrow.ArrowException, ValueError, TypeError) as error:
        raise InputRejected(f"is no parquet file that can be read ({str(error)[:200]})", source.path) from error
    return valid, shapes, parameters


def _lists(column: Any, key: str, width: int, valid: np.ndarray, path: str) -> np.ndarray:
    """A list column as [N, width]; rows that are not valid may hold nothing and become zero."""
    values = column.to_pylist()
    result = np.zeros((len(values), width))
    for row in np.flatnonzero(valid):
        item = values[row]
        if item is None or len(item) != width:
            found = "nothing" if item is None else f"{len(item)} values"
            raise InputRejected(f"{key} of row {row} holds {found}, expected {width}", path)
        result[row] = item
    return result
