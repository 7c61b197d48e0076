"""PNG: others read what we write; we read it back and refuse everything else."""

import struct
import zlib

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.png import png_bytes, read_png

SHAPES = [((5, 7), np.uint8), ((5, 7), np.uint16), ((1, 1, 3), np.uint8), ((9, 4, 3), np.uint8), ((4, 3, 3), np.uint16)]


def _image(shape, kind):
    return np.random.default_rng(0).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


@pytest.mark.parametrize("shape,kind", SHAPES)
def test_round_trip(shape, kind, tmp_path):
    image = _image(shape, kind)
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(image, 4))
    back = read_png(path)
    assert back.dtype == kind
    np.testing.assert_array_equal(back, image)


@pytest.mark.parametrize("shape,kind", SHAPES[:4])
def test_pillow_reads_the_same_pixels(shape, kind, tmp_path):
    pillow = pytest.importorskip("PIL.Image", reason="Pillow comes with matplotlib only")
    image = _image(shape, kind)
    (tmp_path / "a.png").write_bytes(png_bytes(image))
    np.testing.assert_array_equal(np.asarray(pillow.open(tmp_path / "a.png")).astype(kind), image)


@pytest.mark.parametrize("image", [np.zeros((2, 2)), np.zeros((2, 2, 4), np.uint8), np.zeros(3, np.uint8)])
def test_other_arrays_are_refused(image):
    with pytest.raises(ValueError, match="neither grey nor RGB"):
        png_bytes(image)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    good = png_bytes(_image((9, 4, 3), np.uint8))
    (length,) = struct.unpack(">I", good[33:37])
    bomb = zlib.compress(bytes(10_000_000))
    other_filter = zlib.compress(b"\x01" + bytes(12) + bytes(13 * 8))
    cases = [
        b"",
        b"GIF89a" + good[6:],
        good[:50] + b"\xff\xff\xff" + good[53:],
        good[:41] + bomb + good[41 + length :],
        good[:33] + struct.pack(">I", len(bomb)) + b"IDAT" + bomb + good[41 + length :],
        good[:33] + struct.pack(">I", len(other_filter)) + b"IDAT" + other_filter + good[41 + length :],
        good[:16] + struct.pack(">II", 1 << 30, 1 << 30) + good[24:],
        good[:25] + b"\x06" + good[26:],
    ]
    for number, data in enumerate(cases):
        path = tmp_path / f"{number}.png"
        path.write_bytes(data)
        with pytest.raises(InputRejected):
            read_png(path)
