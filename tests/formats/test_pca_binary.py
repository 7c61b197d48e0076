"""The garment shape space: binary and npz say the same; sizes must account for every byte."""

import struct

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.pca_binary import PcaSpace, pca_npz_bytes, read_pca

pytestmark = pytest.mark.py312

MATRIX = np.arange(18.0).reshape(6, 3) / 10.0  # m = 6 rows (two vertices), n = 3 columns
MEAN, EIGENVALUES = np.arange(6.0), np.array([4.0, 1.0, 0.25])
BINARY = struct.pack("<II", 6, 3) + b"".join(
    part.astype("<f8").tobytes(order="F") for part in (MATRIX, MEAN, EIGENVALUES)
)


def read(tmp_path, data: bytes) -> PcaSpace:
    path = tmp_path / "point.pca"
    path.write_bytes(data)
    return read_pca(path)


def test_the_matrix_is_stored_column_after_column(tmp_path):
    space = read(tmp_path, BINARY)
    np.testing.assert_array_equal(space.directions.reshape(3, 6), MATRIX.T)
    np.testing.assert_array_equal(space.mean, MEAN.reshape(2, 3))
    np.testing.assert_array_equal(space.eigenvalues, EIGENVALUES)


def test_binary_and_npz_are_the_same_space(tmp_path):
    space = read(tmp_path, BINARY)
    path = tmp_path / "point.npz"
    path.write_bytes(pca_npz_bytes(space))
    with np.load(path) as archive:  # SOMA-X's own layout
        np.testing.assert_array_equal(archive["pca_matrix"], MATRIX)
        assert archive["pca_mean"].shape == (6,)
    again = read_pca(path)
    for name in ("mean", "directions", "eigenvalues"):
        np.testing.assert_array_equal(getattr(again, name), getattr(space, name))


def test_every_truncation_and_wrong_sizes_are_refused(tmp_path):
    for end in range(1, len(BINARY)):
        with pytest.raises(InputRejected):
            read(tmp_path, BINARY[:end])
    for data in (BINARY + b"\0", struct.pack("<II", 2**32 - 1, 2**32 - 1) + BINARY[8:], struct.pack("<II", 0, 0)):
        with pytest.raises(InputRejected, match="declares"):
            read(tmp_path, data)
    rows = struct.pack("<II", 4, 1) + bytes(8 * 9)
    with pytest.raises(InputRejected, match="in threes"):
        read(tmp_path, rows)


def test_values_that_make_no_space_are_refused(tmp_path):
    with pytest.raises(InputRejected, match="negative eigenvalue"):
        read(tmp_path, BINARY[:-8] + struct.pack("<d", -1.0))
    with pytest.raises(InputRejected, match="not finite"):
        read(tmp_path, BINARY[:8] + struct.pack("<d", np.nan) + BINARY[16:])
