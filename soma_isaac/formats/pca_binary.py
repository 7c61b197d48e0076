"""The shape space of GarmentMeasurements: its binary ``.pca`` file, and the npz that SOMA-X makes of it.

The binary, little endian: uint32 m, uint32 n, m * n float64 (the m x n matrix, column after column), m float64 (the
mean), n float64 (the eigenvalues); m = 3 V, metres, Y-up. The npz holds ``pca_matrix`` (m, n), ``pca_mean`` (m,) and
``eigenvalues`` (n,).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes, read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, ReadLimits
from soma_isaac.formats.npz import NpzArchive, npz_bytes

_MOST_COMPONENTS = 4096


@dataclass(frozen=True, eq=False)
class PcaSpace:
    """A linear shape space: points = mean + sum of coefficient k * sqrt(eigenvalue k) * directions k.

    Attributes:
        mean: [V, 3] float64, in the file's own unit and axes.
        directions: [K, V, 3] float64.
        eigenvalues: [K] float64, not negative.
        digest: sha256 of the file.
    """

    mean: np.ndarray
    directions: np.ndarray
    eigenvalues: np.ndarray
    digest: str

    def __post_init__(self) -> None:
        """Check that the parts agree.

        Raises:
            InputRejected: Shapes disagree, a value is not finite, or an eigenvalue is negative.
        """
        count = len(self.eigenvalues)
        if self.mean.ndim != 2 or self.mean.shape[1] != 3 or self.directions.shape != (count, *self.mean.shape):
            raise InputRejected(
                f"a shape space with mean {self.mean.shape}, directions {self.directions.shape} and {count} "
                "eigenvalues; expected (V, 3), (K, V, 3) and K"
            )
        for name in ("mean", "directions", "eigenvalues"):
            if not np.isfinite(getattr(self, name)).all():
                raise InputRejected(f"the shape space's {name} hold values that are not finite")
        if (self.eigenvalues < 0).any():
            raise InputRejected("the shape space has a negative eigenvalue")


def parse_pca(source: SourceBytes) -> PcaSpace:
    """Decode the binary file; the declared sizes must account for every byte.

    Raises:
        InputRejected: They do not, or a value is not finite.
    """
    if len(source.data) < 8:
        raise InputRejected("is too short for a .pca file", source.path)
    rows, columns = struct.unpack("<II", source.data[:8])
    expected = 8 + 8 * (rows * columns + rows + columns)
    if len(source.data) != expected or rows == 0 or rows % 3 or not 1 <= columns <= _MOST_COMPONENTS:
        raise InputRejected(
            f"declares a matrix of {rows} x {columns}, that is {expected} bytes, but holds {len(source.data)}; "
            "expected rows in threes",
            source.path,
        )
    values = np.frombuffer(source.data, "<f8", offset=8).astype(np.float64)
    matrix, mean = values[: rows * columns].reshape(columns, rows), values[rows * columns : -columns]
    return _space(mean, matrix, values[-columns:], source.digest, source.path)


def parse_pca_npz(archive: NpzArchive) -> PcaSpace:
    """Decode SOMA-X's npz of the same.

    Raises:
        InputRejected: An array is missing, has another shape, or is not finite.
    """
    eigenvalues = archive.numbers("eigenvalues", (None,))
    mean = archive.numbers("pca_mean", (None,))
    matrix = archive.numbers("pca_matrix", (len(mean), len(eigenvalues)))
    if len(mean) % 3:
        raise InputRejected(f"array 'pca_mean' has {len(mean)} values, expected a multiple of three", archive.path)
    return _space(mean, matrix.T, eigenvalues, archive.digest, archive.path)


def _space(mean: np.ndarray, rows: np.ndarray, eigenvalues: np.ndarray, digest: str, path: str) -> PcaSpace:
    try:
        return PcaSpace(mean.reshape(-1, 3), rows.reshape(len(eigenvalues), -1, 3), eigenvalues, digest)
    except InputRejected as error:
        raise InputRejected(error.reason, path) from error


def read_pca(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> PcaSpace:
    """Read either form, told apart by the zip signature.

    Raises:
        InputRejected: It is neither.
    """
    source = read_source(path, limits)
    return parse_pca_npz(NpzArchive(source, limits)) if source.data[:2] == b"PK" else parse_pca(source)


def pca_npz_bytes(space: PcaSpace) -> bytes:
    """The npz in SOMA-X's layout."""
    count = len(space.eigenvalues)
    return npz_bytes(
        {
            "pca_matrix": np.ascontiguousarray(space.directions.reshape(count, -1).T),
            "pca_mean": space.mean.reshape(-1),
            "eigenvalues": space.eigenvalues,
        }
    )
