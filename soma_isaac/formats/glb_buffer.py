"""The GLB container: accessors over one binary chunk, and the two chunks as bytes (glTF 2.0, sections 3.6 and 4.4)."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np

ARRAY_BUFFER, ELEMENT_ARRAY_BUFFER = 34962, 34963
_COMPONENT_TYPES = {"u1": 5121, "u2": 5123, "u4": 5125, "f4": 5126}
_SHAPES = {(): "SCALAR", (2,): "VEC2", (3,): "VEC3", (4,): "VEC4", (4, 4): "MAT4"}
_MAGIC, _VERSION = 0x46546C67, 2
_JSON_CHUNK, _BINARY_CHUNK = 0x4E4F534A, 0x004E4942


class GlbBuffer:
    """Collects arrays into the binary chunk and describes them."""

    def __init__(self) -> None:
        """Start empty."""
        self._parts: list[bytes] = []
        self._length = 0
        self._views: list[dict[str, Any]] = []
        self._accessors: list[dict[str, Any]] = []

    def add(self, values: np.ndarray, *, target: int | None = None, bounds: bool = False) -> int:
        """Store an array and return the index of its accessor.

        Args:
            values: [N] scalars, [N, 2] to [N, 4] vectors, or [N, 4, 4] matrices (stored column by column); uint8,
                uint16, uint32 or float32. The bytes of one element must be a multiple of 4, except for indices.
            target: ``ARRAY_BUFFER`` for vertex attributes, ``ELEMENT_ARRAY_BUFFER`` for indices.
            bounds: State the smallest and largest value per component, which positions and key times need.
        """
        shape = values.shape[1:]
        stored = np.swapaxes(values, 1, 2) if shape == (4, 4) else values
        stored = np.ascontiguousarray(stored).astype(values.dtype.newbyteorder("<"))
        view = {"buffer": 0, "byteOffset": self._length, "byteLength": stored.nbytes}
        if target is not None:
            view["target"] = target
        accessor: dict[str, Any] = {
            "bufferView": len(self._views),
            "componentType": _COMPONENT_TYPES[values.dtype.str[1:]],
            "count": len(values),
            "type": _SHAPES[shape],
        }
        if bounds:
            accessor["min"] = np.atleast_1d(values.min(axis=0)).tolist()
            accessor["max"] = np.atleast_1d(values.max(axis=0)).tolist()
        padding = -stored.nbytes % 4
        self._parts += [stored.tobytes(), bytes(padding)]
        self._length += stored.nbytes + padding
        self._views.append(view)
        self._accessors.append(accessor)
        return len(self._accessors) - 1

    def glb(self, document: dict[str, Any]) -> bytes:
        """The whole file.

        Args:
            document: The glTF JSON without ``accessors``, ``bufferViews`` and ``buffers``.
        """
        whole = document | {
            "accessors": self._accessors,
            "bufferViews": self._views,
            "buffers": [{"byteLength": self._length}],
        }
        text = json.dumps(whole, separators=(",", ":"), allow_nan=False).encode("utf-8")
        text += b" " * (-len(text) % 4)
        return b"".join(
            [
                struct.pack("<III", _MAGIC, _VERSION, 12 + 8 + len(text) + 8 + self._length),
                struct.pack("<II", len(text), _JSON_CHUNK),
                text,
                struct.pack("<II", self._length, _BINARY_CHUNK),
                *self._parts,
            ]
        )
