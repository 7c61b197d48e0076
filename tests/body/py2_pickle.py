"""Pickles as Python 2, numpy, scipy and chumpy wrote them, opcode by opcode: none of those is needed to write one."""

import struct

import numpy as np
import scipy.sparse


class Ch:
    """A chumpy array to write: it keeps its value under ``x``."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x


class Select:
    """chumpy's selection of flat entries ``idxs`` of ``a``."""

    def __init__(self, a: object, idxs: np.ndarray, shape: tuple[int, ...]) -> None:
        self.a, self.idxs, self.shape = a, idxs, shape


class Py2Pickler:
    """Python 2's pickle of what body models hold, protocol 0 (text, as SMPL 1.1.0) or 2 (binary, as SMPL 1.0.0)."""

    def __init__(self, protocol: int, numpy_module: str = "numpy.core.multiarray") -> None:
        self.protocol = protocol
        self.numpy_module = numpy_module

    def dumps(self, value: object) -> bytes:
        return (b"\x80\x02" if self.protocol == 2 else b"") + self.item(value) + b"."

    def item(self, value: object) -> bytes:
        if value is None:
            return b"N"
        if isinstance(value, bool):
            return (b"\x88" if value else b"\x89") if self.protocol == 2 else (b"I01\n" if value else b"I00\n")
        if isinstance(value, int):
            return struct.pack("<ci", b"J", value) if self.protocol == 2 else f"I{value}\n".encode()
        if isinstance(value, float):
            return b"G" + struct.pack(">d", value) if self.protocol == 2 else f"F{value!r}\n".encode()
        if isinstance(value, (str, bytes)):
            return self.text(value.encode("latin-1") if isinstance(value, str) else value)
        if isinstance(value, tuple):
            return b"(" + b"".join(map(self.item, value)) + b"t"
        if isinstance(value, list):
            return b"(l" + b"".join(self.item(item) + b"a" for item in value)
        if isinstance(value, dict):
            return b"(d" + b"".join(self.item(key) + self.item(entry) + b"s" for key, entry in value.items())
        if isinstance(value, set):
            return b"c__builtin__\nset\n(" + self.item(sorted(value)) + b"tR"
        return self.record(value)

    def text(self, value: bytes) -> bytes:
        if self.protocol == 0:
            return b"S" + repr(value)[1:].encode() + b"\n"
        return b"U" + bytes([len(value)]) + value if len(value) < 256 else b"T" + struct.pack("<I", len(value)) + value

    def record(self, value: object) -> bytes:
        if isinstance(value, np.ndarray):
            return self.array(value)
        if isinstance(value, Ch):
            return self.instance("chumpy.ch\nCh", {"x": value.x, "_dirty_vars": {"x"}, "_itr": None, "_status": "new"})
        if isinstance(value, Select):
            state = {"a": value.a, "idxs": value.idxs, "preferred_shape": value.shape, "_dirty_vars": set()}
            return self.instance("chumpy.reordering\nSelect", state)
        if isinstance(value, (scipy.sparse.csc_matrix, scipy.sparse.csr_matrix)):
            state = {"_shape": tuple(map(int, value.shape)), "maxprint": 50}
            state |= {"indices": value.indices, "indptr": value.indptr, "data": value.data}
            return self.instance(f"scipy.sparse.{value.format}\n{value.format}_matrix", state)
        raise TypeError(type(value))

    def instance(self, name: str, state: dict) -> bytes:
        if self.protocol == 2:
            made = b"c" + name.encode() + b"\n)\x81"
        else:
            made = b"ccopy_reg\n_reconstructor\n(c" + name.encode() + b"\nc__builtin__\nobject\nNtR"
        return made + self.item(state) + b"b"

    def array(self, value: np.ndarray) -> bytes:
        made = (
            f"c{self.numpy_module}\n_reconstruct\n".encode() + b"(cnumpy\nndarray\n" + self.item((0,)) + self.item("b")
        )
        code = value.dtype.str.lstrip("<>|=")
        order = "|" if value.dtype.itemsize == 1 else value.dtype.str[0]
        kind = b"cnumpy\ndtype\n" + self.item((code, 0, 1)) + b"R"
        kind += self.item((3, order, None, None, None, -1, -1, 0)) + b"b"
        fortran = value.flags.f_contiguous and not value.flags.c_contiguous
        data = self.item(value.tobytes("F" if fortran else "C"))
        shape = self.item(tuple(map(int, value.shape)))
        return made + b"tR(" + self.item(1) + shape + kind + self.item(fortran) + data + b"tb"
