"""Tensors of a torch zip checkpoint, without torch and without running its pickle.

A ``.pt`` file is a zip: ``<name>/data.pkl`` describes the object, ``<name>/data/<key>`` hold the raw storages. The
description is walked opcode by opcode over an explicit list: the only callables it can name are the three that torch
uses to describe a strided tensor, an ordered dictionary and a size, and none of them is ever imported or called.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected

MAX_DESCRIPTION_BYTES = 1 << 20
MAX_STORAGE_BYTES = 256 << 20

_STORAGE_DTYPES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
}
_CALLABLES = frozenset(
    {
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_sparse_tensor",
        "torch.serialization _get_layout",
        "torch Size",
        "collections OrderedDict",
    }
)
_MARK = object()


@dataclass(frozen=True)
class Opaque:
    """Something that the description mentions and that is of no use here (a sparse tensor, a layout).

    Attributes:
        name: The callable's name in the file.
        arguments: What it would have been called with.
    """

    name: str
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class _Global:
    name: str


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


class _Description:
    """One walk over ``data.pkl``: a stack, a memo, and nothing that executes."""

    def __init__(self, archive: zipfile.ZipFile, path: str) -> None:
        self._archive = archive
        self._path = path
        names = [info for info in archive.infolist() if info.filename.endswith("/data.pkl")]
        if len(names) != 1:
            raise InputRejected(f"expected one */data.pkl, found {len(names)}", path)
        self._prefix = names[0].filename.removesuffix("data.pkl")
        byteorder = self._prefix + "byteorder"
        if byteorder in archive.namelist() and self._member(byteorder, 16).strip() != b"little":
            raise InputRejected("storages are not little endian", path)
        self._opcodes = self._member(names[0].filename, MAX_DESCRIPTION_BYTES)
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def _member(self, name: str, limit: int) -> bytes:
        if self._archive.getinfo(name).file_size > limit:
            raise InputRejected(f"member {name!r} is larger than {limit} bytes", self._path)
        return self._archive.read(name)

    def decode(self) -> Any:
        """Walk to STOP and return what is on top."""
        for opcode, argument, _ in pickletools.genops(self._opcodes):
            if opcode.name == "STOP":
                return self._stack[-1]
            self._step(opcode.name, argument)
        raise InputRejected("the tensor description has no end", self._path)

    def _pop_to_mark(self) -> list[Any]:
        for position in range(len(self._stack) - 1, -1, -1):
            if self._stack[position] is _MARK:
                items = self._stack[position + 1 :]
                del self._stack[position:]
                return items
        raise ValueError("no mark on the stack")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        if name in ("BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"):
            stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(self._memo[argument])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("NEWTRUE", "NEWFALSE", "NONE"):
            stack.append({"NEWTRUE": True, "NEWFALSE": False, "NONE": None}[name])
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            count = int(name[-1])
            items = tuple(stack[-count:])
            del stack[-count:]
            stack.append(items)
        elif name in ("APPENDS", "SETITEMS"):
            items, target = self._pop_to_mark(), stack[-1]
            if name == "APPENDS" and isinstance(target, list):
                target.extend(items)
            elif name == "SETITEMS" and isinstance(target, dict):
                target.update(zip(items[0::2], items[1::2], strict=True))
            else:
                raise ValueError(f"{name} on something else")
        elif name == "GLOBAL":
            if argument not in _CALLABLES and argument not in _STORAGE_DTYPES:
                raise InputRejected(f"the description names {argument!r}, which is not allowed", self._path)
            stack.append(_Global(argument))
        elif name == "BINPERSID":
            stack.append(self._storage(stack.pop()))
        elif name == "REDUCE":
            arguments = stack.pop()
            stack.append(self._rebuild(stack.pop(), arguments))
        elif name != "PROTO":
            raise InputRejected(f"the description uses opcode {name}, which is not allowed", self._path)

    def _storage(self, reference: Any) -> np.ndarray:
        kind, storage_type, key, _, count = reference
        if kind != "storage" or not isinstance(storage_type, _Global) or storage_type.name not in _STORAGE_DTYPES:
            raise ValueError(f"not a storage reference: {reference!r}")
        storage = np.frombuffer(
            self._member(f"{self._prefix}data/{key}", MAX_STORAGE_BYTES), _STORAGE_DTYPES[storage_type.name]
        )
        if len(storage) != count:
            raise ValueError(f"storage {key} holds {len(storage)} items, declared {count}")
        return storage

    def _rebuild(self, function: Any, arguments: tuple[Any, ...]) -> Any:
        if not isinstance(function, _Global):
            raise ValueError("the description calls something that is not a name")
        if function.name != "torch._utils _rebuild_tensor_v2":
            return Opaque(function.name, arguments)
        storage, offset, shape, strides = arguments[:4]
        if min((offset, *shape, *strides), default=0) < 0 or len(shape) != len(strides):
            raise ValueError("negative sizes in a tensor")
        if math.prod(shape) > len(storage):
            raise ValueError("a tensor has more items than its storage")
        if all(shape):
            last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
            if last >= len(storage):
                raise ValueError("a tensor reaches past its storage")
        view = np.lib.stride_tricks.as_strided(
            storage[offset:], shape, [stride * storage.itemsize for stride in strides], writeable=False
        )
        return view
