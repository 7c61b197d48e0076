"""PNG pictures (RFC 2083): grey or RGB, 8 or 16 bits, written and read without any library."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES = {1: 0, 3: 2}
_PIXELS_MAX = 1 << 28


def png_bytes(image: np.ndarray, level: int = 9) -> bytes:
    """Encode a picture, each row as differences to the row above (filter "up").

    Args:
        image: [H, W] or [H, W, 3], uint8 or uint16.
        level: How hard zlib tries, 1 to 9.

    Raises:
        ValueError: Another shape or type.
    """
    pixels = image[..., None] if image.ndim == 2 else image
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOR_TYPES or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"a picture of shape {image.shape} and type {image.dtype} is neither grey nor RGB")
    height, width, channels = pixels.shape
    depth = pixels.dtype.itemsize
    big_endian = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">"))
    raw = big_endian.view(np.uint8).reshape(height, width * channels * depth)
    rows = np.empty((height, raw.shape[1] + 1), np.uint8)
    rows[:, 0] = 2
    rows[0, 1:] = raw[0]
    np.subtract(raw[1:], raw[:-1], out=rows[1:, 1:])  # uint8 wraps, as the filter does
    header = struct.pack(">IIBBBBB", width, height, 8 * depth, _COLOR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), level)), (b"IEND", b""))
    return SIGNATURE + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )


def read_png(path: Path) -> np.ndarray:
    """Read a picture that `png_bytes` wrote; [H, W] or [H, W, 3], uint8 or uint16.

    Raises:
        InputRejected: The file is not such a picture.
        OSError: It cannot be read.
    """
    data = path.read_bytes()
    if len(data) < 57 or data[:8] != SIGNATURE or data[12:16] != b"IHDR" or data[37:41] != b"IDAT":
        raise InputRejected("is no PNG picture of ours", str(path))
    width, height, bits, color_type = struct.unpack(">IIBB", data[16:26])
    channels = {kind: count for count, kind in _COLOR_TYPES.items()}.get(color_type)
    if channels is None or bits not in (8, 16) or not 0 < width * height <= _PIXELS_MAX:
        raise InputRejected("is no grey or RGB picture of 8 or 16 bits", str(path))
    stride = width * channels * bits // 8
    size = height * (stride + 1)
    (length,) = struct.unpack(">I", data[33:37])
    try:
        packed = zlib.decompressobj().decompress(data[41 : 41 + length], size + 1)
    except zlib.error as error:
        raise InputRejected(f"cannot be unpacked ({error})", str(path)) from error
    if len(packed) != size:
        raise InputRejected("holds another number of bytes than its size says", str(path))
    rows = np.frombuffer(packed, np.uint8).reshape(height, stride + 1)
    if (rows[:, 0] != 2).any():
        raise InputRejected("uses a row filter that we do not write", str(path))
    raw = np.add.accumulate(rows[:, 1:], axis=0, dtype=np.uint8)
    pixels = raw.view(np.uint8 if bits == 8 else np.dtype(">u2")).astype(np.uint8 if bits == 8 else np.uint16)
    return pixels.reshape((height, width) if channels == 1 else (height, width, channels))
