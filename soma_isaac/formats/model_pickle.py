"""Body model pickles (SMPL, SMPL-H, SMPL-X, MANO) read without unpickling.

The official ``.pkl`` files hold numpy arrays, scipy sparse matrices and chumpy objects, most of them written by
Python 2. Unpickling such a file runs whatever its author wants. Here the pickle is only walked
(:mod:`soma_isaac.formats.inert_pickle`): each name of the exact list below becomes a record, and an array is made from
a record only when it is asked for, after its declared shape was found equal to the bytes held.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.inert_pickle import Global, InertPickle
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits

_NUMPY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMPY_BUFFER_MODULES = ("numpy.core.numeric", "numpy._core.numeric")
_SPARSE_NAMES = {"csc_matrix": True, "csc_array": True, "csr_matrix": False, "csr_array": False}
_ARRAY_MAKERS = frozenset(Global(module, "_reconstruct") for module in _NUMPY_MODULES)
_SCALAR_MAKERS = frozenset(Global(module, "scalar") for module in _NUMPY_MODULES)
_BUFFER_MAKERS = frozenset(Global(module, "_frombuffer") for module in _NUMPY_BUFFER_MODULES)
_SPARSE = {
    Global(f"scipy.sparse.{module}", name): by_column
    for name, by_column in _SPARSE_NAMES.items()
    for module in (name[:3], f"_{name[:3]}")
}
_CHUMPY = frozenset({Global("chumpy.ch", "Ch"), Global("chumpy.reordering", "Select")})
_RECONSTRUCTORS = frozenset({Global("copy_reg", "_reconstructor"), Global("copyreg", "_reconstructor")})
_OBJECT_TYPES = frozenset({Global("__builtin__", "object"), Global("builtins", "object")})
_SET_TYPES = frozenset(Global(module, name) for module in ("__builtin__", "builtins") for name in ("set", "frozenset"))
_BYTES_TYPES = frozenset({Global("__builtin__", "bytes"), Global("builtins", "bytes")})
_NDARRAY, _DTYPE = Global("numpy", "ndarray"), Global("numpy", "dtype")
_ENCODE, _ORDERED = Global("_codecs", "encode"), Global("collections", "OrderedDict")
_ALLOWED = (
    _ARRAY_MAKERS | _SCALAR_MAKERS | _BUFFER_MAKERS | _SPARSE.keys() | _CHUMPY | _RECONSTRUCTORS | _OBJECT_TYPES
) | (_SET_TYPES | _BYTES_TYPES | {_NDARRAY, _DTYPE, _ENCODE, _ORDERED})
_NUMBER_TYPE = re.compile(r"(?:b1|[iu][1248]|f[248])")
_DEEPEST = 8


@dataclass
class _ElementType:
    code: str
    order: str = "="

    def dtype(self) -> np.dtype:
        if not _NUMBER_TYPE.fullmatch(self.code):
            raise ValueError(f"elements of type {self.code[:20]!r} are no numbers")
        return np.dtype(self.order + self.code)


@dataclass
class _Array:
    """An array as the pickle describes it; ``state`` is (shape, type, column-major, bytes)."""

    state: tuple[Any, Any, Any, Any] | None = None


@dataclass
class _Object:
    """An instance with a dictionary: a chumpy object or a sparse matrix."""

    kind: Global
    state: dict[str, Any] | None = None


class _ModelWalk(InertPickle):
    def find(self, module: str, name: str) -> Global:
        found = Global(module, name)
        return found if found in _ALLOWED else super().find(module, name)

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        if function in _ARRAY_MAKERS:
            if not arguments or arguments[0] != _NDARRAY:
                raise ValueError("an array of another class than numpy.ndarray")
            return _Array()
        if function in _BUFFER_MAKERS:
            data, kind, shape, order = arguments
            return _Array((shape, kind, order == "F", data))
        if function in _SCALAR_MAKERS:
            kind, data = arguments
            return _Array(((), kind, False, data))
        if function == _DTYPE:
            return _ElementType(_text(arguments[0]))
        if function == _ENCODE:
            return self._encoded(*arguments)
        if function in _RECONSTRUCTORS:
            kind, base, value = arguments
            if not isinstance(base, Global) or base not in _OBJECT_TYPES or not isinstance(kind, Global) or value:
                raise ValueError("an instance with another base than object")
            return self.call(kind, ())
        if function in _CHUMPY or function in _SPARSE:
            return _Object(function)
        if function in _SET_TYPES or function in _BYTES_TYPES or function == _ORDERED:
            return self._container(function, arguments)
        raise ValueError(f"{function.name} cannot be called")

    def _encoded(self, text: Any, encoding: Any) -> bytes:
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("bytes in another encoding than latin1")
        self.spend(len(text))
        return text.encode("latin-1")

    def _container(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        if function == _ORDERED and not arguments:
            return {}
        if function in _BYTES_TYPES and not arguments:
            return b""
        if function in _SET_TYPES and len(arguments) == 1 and isinstance(arguments[0], list):
            self.spend(8 * len(arguments[0]))
            return tuple(arguments[0])
        raise ValueError(f"{function.name} of something unexpected")

    def build(self, target: Any, state: Any) -> None:
        if isinstance(target, _Array) and target.state is None:
            _, shape, kind, fortran, data = state
            target.state = (shape, kind, fortran, data)
        elif isinstance(target, _ElementType):
            order = _text(state[1])
            if order not in ("<", ">", "|", "="):
                raise ValueError("an unknown byte order")
            target.order = order
        elif isinstance(target, _Object) and target.state is None and isinstance(state, dict):
            target.state = state
        else:
            super().build(target, state)


class ModelPickle:
    """The arrays of one body model pickle, made on request within one budget.

    Args:
        source: The file's bytes.
        limits: Budgets.

    Raises:
        InputRejected: The bytes are no pickle, it names anything that is not allowed, or it is no dictionary.
    """

    def __init__(self, source: SourceBytes, limits: ReadLimits = DEFAULT_LIMITS) -> None:
        self.path = source.path
        self.digest = source.digest
        self._walk = _ModelWalk(source.data, source.path, "the pickle", limits.array_bytes)
        entries = self._walk.decode()
        if not isinstance(entries, dict):
            raise InputRejected(f"the pickle holds a {type(entries).__name__}, expected a dictionary", self.path)
        self._entries = {key: value for key, value in entries.items() if isinstance(key, str)}

    def __contains__(self, key: str) -> bool:
        return key in self._entries

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the entries, in file order."""
        return tuple(self._entries)

    def text(self, key: str) -> str:
        """One text.

        Raises:
            InputRejected: There is none under this key.
        """
        try:
            return _text(self._entries.get(key))
        except ValueError as error:
            raise InputRejected(f"entry {key!r} is no text", self.path) from error

    def numbers(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """One array of numbers as float64, from an array, a chumpy object or a sparse matrix (made dense).

        Args:
            key: Entry.
            shape: Expected shape; ``None`` accepts any size.

        Raises:
            InputRejected: There is none, it is malformed, over the budget, or has another shape.
        """
        array = self.array(key)
        fits = array.ndim == len(shape) and all(
            want is None or want == have for want, have in zip(shape, array.shape, strict=True)
        )
        if not fits:
            shown = tuple("any" if size is None else size for size in shape)
            raise InputRejected(f"entry {key!r} has shape {array.shape}, expected {shown}", self.path)
        return array

    def array(self, key: str) -> np.ndarray:
        """One array of numbers as float64, of any shape; see :meth:`numbers`.

        Raises:
            InputRejected: There is none, it is malformed or over the budget.
        """
        if key not in self._entries:
            raise InputRejected(f"has no entry {key!r}; it has {[name[:40] for name in self.keys[:40]]}", self.path)
        try:
            return self._array(self._entries[key], 0)
        except (ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
            raise InputRejected(f"entry {key!r} cannot be read: {str(error)[:120]}", self.path) from error

    def _array(self, value: Any, depth: int) -> np.ndarray:
        if depth > _DEEPEST:
            raise ValueError("nested too deeply")
        if isinstance(value, _Array):
            return self._plain(value)
        if not isinstance(value, _Object) or value.state is None:
            raise ValueError(f"a {type(value).__name__} is no array")
        if value.kind in _SPARSE:
            return self._dense(value.state, by_column=_SPARSE[value.kind])
        if value.kind.name == "Ch":
            return self._array(value.state["x"], depth + 1)
        source = self._array(value.state["a"], depth + 1).reshape(-1)
        rows = _indices(self._array(value.state["idxs"], depth + 1), len(source))
        self._walk.spend(rows.size * 8)
        picked = source[rows]
        shape = value.state.get("preferred_shape")
        return picked if shape is None else picked.reshape(_sizes(shape))

    def _plain(self, array: _Array) -> np.ndarray:
        if array.state is None:
            raise ValueError("an array without content")
        shape, kind, fortran, data = array.state
        if not isinstance(kind, _ElementType) or not isinstance(data, bytes):
            raise ValueError("an array without type or bytes")
        dtype, sizes = kind.dtype(), _sizes(shape)
        if math.prod(sizes) * dtype.itemsize != len(data):
            raise ValueError(f"shape {sizes} of {dtype} does not fit {len(data)} bytes")
        self._walk.spend(math.prod(sizes) * 8)
        flat = np.frombuffer(data, dtype)
        return flat.reshape(sizes, order="F" if fortran else "C").astype(np.float64, order="C")

    def _dense(self, state: dict[str, Any], *, by_column: bool) -> np.ndarray:
        rows, columns = _sizes(state["_shape"] if "_shape" in state else state["shape"])
        data, indices, starts = (self._array(state[name], 1).reshape(-1) for name in ("data", "indices", "indptr"))
        outer, inner = (columns, rows) if by_column else (rows, columns)
        starts = _indices(starts, len(data) + 1)
        if len(starts) != outer + 1 or starts[0] != 0 or starts[-1] != len(data) or (np.diff(starts) < 0).any():
            raise ValueError("a sparse matrix with a broken index")
        if len(indices) != len(data):
            raise ValueError("a sparse matrix with a broken index")
        self._walk.spend(rows * columns * 8)
        dense = np.zeros((outer, inner))
        np.add.at(dense, (np.repeat(np.arange(outer), np.diff(starts)), _indices(indices, inner)), data)
        return np.ascontiguousarray(dense.T) if by_column else dense


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if not isinstance(value, str):
        raise ValueError("not a text")
    return value


def _sizes(shape: Any) -> tuple[int, ...]:
    values = (shape,) if isinstance(shape, int) else shape
    if not isinstance(values, (tuple, list)) or len(values) > 8:
        raise ValueError("not a shape")
    for size in values:
        if type(size) is not int or not 0 <= size < 1 << 40:
            raise ValueError("a size that is no count")
    return tuple(values)


def _indices(values: np.ndarray, end: int) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        whole = values.astype(np.int64)
    if (whole != values).any() or (whole.size and (whole.min() < 0 or whole.max() >= end)):
        raise ValueError("an index out of range")
    return whole
