"""A budgeted npz reader: nothing is unpickled, evaluated or allocated before it is known to fit.

An npz file is a zip of npy members. ``numpy.load`` decodes whatever it is promised and lets a dozen exception types
out; here the central directory, every member's name and each npy header are checked first, the declared size of an
array must equal the bytes held, and anything wrong is one :class:`InputRejected`.
"""

from __future__ import annotations

import contextlib
import io
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes, read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\- ]{0,126}\.npy")
_DTYPE = re.compile(r"(?:[<>|=]?(?:b1|[iu][1248]|f[248]))|(?:[<>|=]?[SU]\d{1,6})")
_HEADER = re.compile(
    r"\{(?=.*'descr':'(?P<descr>[^']{1,12})')(?=.*'fortran_order':(?P<fortran>True|False))"
    r"(?=.*'shape':\((?P<shape>(?:\d{1,18}L?,)*(?:\d{1,18}L?)?)\))"
    r"(?:'descr':'[^']*'|'fortran_order':\w+|'shape':\([\dL,]*\)|,){3,6}\}"
)
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    IndexError,
    KeyError,
)
_MOST_TEXTS = 4096
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class NpzArchive:
    """The arrays of one npz file, decoded on request within one budget.

    Args:
        source: The file's bytes.
        limits: Budgets.

    Raises:
        InputRejected: The bytes are no sound zip of npy members.
    """

    def __init__(self, source: SourceBytes, limits: ReadLimits = DEFAULT_LIMITS) -> None:
        self.path = source.path
        self.digest = source.digest
        self._limits = limits
        self._spent = 0
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(source.data))
            members = self._zip.infolist()
        except _ZIP_ERRORS as error:
            raise InputRejected(f"is not a readable npz (zip) file: {error}", self.path) from error
        if len(members) > limits.member_count:
            raise InputRejected(f"holds {len(members)} members, more than {limits.member_count}", self.path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            self._admit(member, source.data)

    def _admit(self, member: zipfile.ZipInfo, data: bytes) -> None:
        name = member.filename
        if not _NAME.fullmatch(name) or ".." in name or name != member.orig_filename:
            raise InputRejected(f"has a member named {name[:80]!r}; expected plain names ending in .npy", self.path)
        if name[:-4] in self._members:
            raise InputRejected(f"holds two members named {name!r}", self.path)
        if member.flag_bits & 0x41 or member.compress_type not in _METHODS:
            raise InputRejected(f"member {name!r} is encrypted or compressed in an unusual way", self.path)
        if member.compress_size > len(data):
            raise InputRejected(f"member {name!r} claims more bytes than the file has", self.path)
        # the directory and the member itself must agree on the name: else a changed byte makes a key disappear
        local = data[member.header_offset : member.header_offset + 30 + len(name)]
        if local[:4] != b"PK\x03\x04" or local[30:] != name.encode():
            raise InputRejected(f"member {name!r} is not where the file's directory says", self.path)
        self._members[name[:-4]] = member

    def __contains__(self, key: str) -> bool:
        return key in self._members

    @property
    def keys(self) -> tuple[str, ...]:
        """Names of the arrays, in file order."""
        return tuple(self._members)

    def header(self, key: str) -> tuple[np.dtype, tuple[int, ...]]:
        """Type and shape of one array as declared, without decoding it.

        Raises:
            InputRejected: There is none, or its header is wrong.
        """
        with self._stream(key) as stream:
            dtype, shape, _, _ = self._read_header(stream, key)
        return dtype, shape

    def read(self, key: str) -> np.ndarray:
        """Decode one array; native byte order, C order.

        Raises:
            InputRejected: There is none, its header or size is wrong, it holds objects, or the budget is spent.
        """
        with self._stream(key) as stream:
            dtype, shape, fortran, offset = self._read_header(stream, key)
            size = math.prod(shape) * dtype.itemsize
            held = self._members[key].file_size - offset
            if size != held:
                raise InputRejected(
                    f"array {key!r} declares {size} bytes ({dtype}, shape {shape}) but holds {held}", self.path
                )
            self._spend(size)
            data = stream.read()
        if len(data) != size:
            raise InputRejected(f"array {key!r} ends after {len(data)} of {size} bytes", self.path)
        try:
            array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
            return np.ascontiguousarray(array, dtype=dtype.newbyteorder("=")).reshape(shape)
        except (ValueError, OverflowError) as error:
            raise InputRejected(f"array {key!r} cannot be shaped: {error}", self.path) from error

    def _spend(self, size: int) -> None:
        self._spent += size
        if self._spent > self._limits.array_bytes:
            raise InputRejected(f"asks for more than the budget of {self._limits.array_bytes} array bytes", self.path)

    @contextlib.contextmanager
    def _stream(self, key: str) -> Iterator[IO[bytes]]:
        """The decompressed bytes of a member; whatever the zip layer raises becomes an InputRejected."""
        member = self._members.get(key)
        if member is None:
            raise InputRejected(f"has no array {key!r}; it has {', '.join(self.keys[:20])}", self.path)
        try:
            with self._zip.open(member) as stream:
                yield stream
        except _ZIP_ERRORS as error:
            raise InputRejected(f"array {key!r} cannot be decoded: {error}", self.path) from error

    def _read_header(self, stream: IO[bytes], key: str) -> tuple[np.dtype, tuple[int, ...], bool, int]:
        start = stream.read(8)
        if len(start) < 8 or start[:6] != b"\x93NUMPY" or start[6:] not in (b"\x01\x00", b"\x02\x00"):
            raise InputRejected(f"member {key!r} is not an npy array of version 1 or 2", self.path)
        width, layout = (2, "<H") if start[6] == 1 else (4, "<I")
        length = int(struct.unpack(layout, stream.read(width))[0])
        if length > self._limits.header_bytes:
            raise InputRejected(f"array {key!r} has a header of {length} bytes", self.path)
        text = stream.read(length).decode("latin-1")
        match = _HEADER.fullmatch(re.sub(r"[ \n\t]", "", text.replace('"', "'")))
        if match is None or not _DTYPE.fullmatch(match["descr"]):
            shown = " ".join(text.split())[:120]
            raise InputRejected(f"array {key!r} is not of numbers or text (header {shown!r})", self.path)
        dtype = np.dtype(match["descr"])
        if dtype.kind in "SU" and not 0 < dtype.itemsize <= 4 * self._limits.text_length:
            raise InputRejected(f"array {key!r} holds strings of {dtype.itemsize} bytes", self.path)
        shape = tuple(int(size.rstrip("L")) for size in match["shape"].split(",") if size)
        if len(shape) > 8:
            raise InputRejected(f"array {key!r} has {len(shape)} dimensions", self.path)
        return dtype, shape, match["fortran"] == "True", 8 + width + length

    def numbers(self, key: str, shape: Iterable[int | None]) -> np.ndarray:
        """Decode an array of numbers as float64 and check its shape (``None`` accepts any size).

        Raises:
            InputRejected: As :meth:`read`, or it holds no numbers, or the shape differs.
        """
        dtype, declared = self.header(key)
        wanted = tuple(shape)
        fits = len(declared) == len(wanted) and all(
            want is None or want == have for want, have in zip(wanted, declared, strict=True)
        )
        if not fits or dtype.kind not in "iuf":
            shown = tuple("any" if size is None else size for size in wanted)
            raise InputRejected(f"array {key!r} is {dtype} {declared}, expected numbers {shown}", self.path)
        if dtype.itemsize < 8:  # the float64 copy is held at the same time
            self._spend(math.prod(declared) * 8)
        return self.read(key).astype(np.float64, copy=False)

    def scalar(self, key: str) -> np.ndarray:
        """Decode an array of one value, of any type that we read.

        Raises:
            InputRejected: As :meth:`read`, or there is not exactly one value.
        """
        dtype, shape = self.header(key)
        if math.prod(shape) != 1:
            raise InputRejected(f"array {key!r} is {dtype} {shape}, expected one value", self.path)
        return self.read(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """Decode an array of strings, flattened; bytes as UTF-8 with invalid ones replaced.

        Raises:
            InputRejected: As :meth:`read`, or it holds no text.
        """
        dtype, shape = self.header(key)
        if dtype.kind not in "SU" or math.prod(shape) > _MOST_TEXTS:
            raise InputRejected(f"array {key!r} is {dtype} {shape}, expected text", self.path)
        array = self.read(key).reshape(-1)
        if dtype.kind == "S":
            return tuple(item.decode("utf-8", "replace") for item in array.tolist())
        # numpy hands any 32 bits on as a character; Python then fails deep inside
        points = array.view(np.uint32)
        if (points > 0x10FFFF).any() or ((points >= 0xD800) & (points <= 0xDFFF)).any():
            raise InputRejected(f"array {key!r} holds code points that are no characters", self.path)
        return tuple(array.tolist())

    def text(self, key: str) -> str:
        """Decode one string.

        Raises:
            InputRejected: As :meth:`texts`, or there is not exactly one.
        """
        items = self.texts(key)
        if len(items) != 1:
            raise InputRejected(f"array {key!r} holds {len(items)} strings, expected one", self.path)
        return items[0]

    def flag(self, key: str, default: bool) -> bool:
        """Decode one truth value; ``default`` where the key is absent.

        Raises:
            InputRejected: It is neither a bool nor 0 or 1.
        """
        if key not in self:
            return default
        value = self.scalar(key).reshape(-1)[0]
        if value.dtype.kind not in "biu" or value not in (0, 1):
            raise InputRejected(f"array {key!r} is {str(value)[:40]}, expected one truth value", self.path)
        return bool(value)


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Encode arrays as compressed npz: the same arrays give the same bytes (fixed dates, given order).

    Raises:
        ValueError: An array holds objects.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, member.getvalue(), compresslevel=9)
    return buffer.getvalue()


def open_npz(path: Path, limits: ReadLimits = DEFAULT_LIMITS, name: str | None = None) -> NpzArchive:
    """Read an npz file once and check its directory; ``name`` is what errors call it instead of its path.

    Raises:
        InputRejected: It cannot be read or is no sound npz.
    """
    return NpzArchive(read_source(path, limits, name), limits)
