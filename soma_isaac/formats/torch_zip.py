"""Tensors of a torch zip checkpoint, without torch and without running its pickle.

A ``.pt`` file is a zip: ``<name>/data.pkl`` describes the object, ``<name>/data/<key>`` hold the raw storages. The
description is walked opcode by opcode over an explicit list: the only callables it can name are the three that torch
uses to describe a strided tensor, an ordered dictionary and a size, and none of them is ever imported or called.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.inert_pickle import Global, InertPickle

MAX_DESCRIPTION_BYTES = 1 << 20
MAX_STORAGE_BYTES = 256 << 20
MAX_READ_BYTES = 512 << 20
"""Sum over the storages, each counted whenever the description asks for it."""

_STORAGE_DTYPES = {
    Global("torch", "FloatStorage"): "<f4",
    Global("torch", "DoubleStorage"): "<f8",
    Global("torch", "LongStorage"): "<i8",
    Global("torch", "IntStorage"): "<i4",
}
_CALLABLES = frozenset(
    {
        Global("torch._utils", "_rebuild_tensor_v2"),
        Global("torch._utils", "_rebuild_sparse_tensor"),
        Global("torch.serialization", "_get_layout"),
        Global("torch", "Size"),
        Global("collections", "OrderedDict"),
    }
)


@dataclass(frozen=True)
class Opaque:
    """Something that the description mentions and that is of no use here (a sparse tensor, a layout).

    Attributes:
        name: The callable's name in the file.
        arguments: What it would have been called with.
    """

    name: str
    arguments: tuple[Any, ...]


def read_torch_zip(payload: bytes, path: str) -> Any:
    """Decode a torch zip checkpoint.

    Args:
        payload: The file's bytes.
        path: How to name the file in errors.

    Returns:
        Dictionaries, lists, tuples, strings and numbers as the file has them; dense tensors as read-only numpy
        arrays; anything else that is allowed as :class:`Opaque`.

    Raises:
        InputRejected: Not such a file, too large, or its description uses anything outside the allow-list.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(payload)) as archive:
            return _Description(archive, path).decode()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputRejected(f"not a readable zip archive ({error})", path) from error
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise InputRejected(f"the tensor description is malformed ({error!r})", path) from error


class _Description(InertPickle):
    """One walk over ``data.pkl``."""

    def __init__(self, archive: zipfile.ZipFile, path: str) -> None:
        self._archive = archive
        self.path = path
        names = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        if len(names) != 1:
            raise InputRejected(f"expected one */data.pkl, found {len(names)}", path)
        self._prefix = names[0].filename.removesuffix("data.pkl")
        byteorder = self._prefix + "byteorder"
        if byteorder in archive.namelist() and self._member(byteorder, 16).strip() != b"little":
            raise InputRejected("storages are not little endian", path)
        opcodes = self._member(names[0].filename, MAX_DESCRIPTION_BYTES)
        super().__init__(opcodes, path, "the tensor description", MAX_READ_BYTES)

    def _member(self, name: str, limit: int) -> bytes:
        if self._archive.getinfo(name).file_size > limit:
            raise InputRejected(f"member {name!r} is larger than {limit} bytes", self.path)
        return self._archive.read(name)

    def find(self, module: str, name: str) -> Global:
        """Admit the names of the allow-list."""
        found = Global(module, name)
        return found if found in _CALLABLES or found in _STORAGE_DTYPES else super().find(module, name)

    def persistent(self, reference: Any) -> np.ndarray:
        """The storage that a reference names."""
        kind, storage_type, key, _, count = reference
        if kind != "storage" or not isinstance(storage_type, Global) or storage_type not in _STORAGE_DTYPES:
            raise ValueError("not a storage reference")
        if not isinstance(key, str):
            raise ValueError("a storage is not named by a text")
        data = self._member(f"{self._prefix}data/{key}", MAX_STORAGE_BYTES)
        self.spend(len(data))
        storage = np.frombuffer(data, _STORAGE_DTYPES[storage_type])
        if len(storage) != count:
            raise ValueError(f"storage {key} holds {len(storage)} items, declared {count}")
        return storage

    def call(self, function: Global, arguments: tuple[Any, ...]) -> Any:
        """A dense tensor as an array, anything else as :class:`Opaque`."""
        if function.name != "_rebuild_tensor_v2":
            return Opaque(f"{function.module} {function.name}", arguments)
        storage, offset, shape, strides = arguments[:4]
        if any(type(size) is not int for size in (offset, *shape, *strides)):
            raise ValueError("a tensor's sizes are no integers")
        if min((offset, *shape, *strides), default=0) < 0 or len(shape) != len(strides):
            raise ValueError("negative sizes in a tensor")
        if math.prod(shape) > len(storage):
            raise ValueError("a tensor has more items than its storage")
        if all(shape):
            last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
            if last >= len(storage):
                raise ValueError("a tensor reaches past its storage")
        return np.lib.stride_tricks.as_strided(
            storage[offset:], shape, [stride * storage.itemsize for stride in strides], writeable=False
        )
