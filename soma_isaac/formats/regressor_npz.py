"""The shipped joint regressor weights of the template rig: results of a factorisation that takes half a second.

``data/SOMA_regressor.npz`` holds, for each group of joints that share their vertices, a key made from the very numbers
that the factorisation reads (:func:`regressor_key`) and its weights. A rig with other numbers finds no entry.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from soma_isaac.formats.npz import npz_bytes, open_npz
from soma_isaac.rig.skeleton import data_path

REGRESSOR_FILE = "SOMA_regressor.npz"


def regressor_key(points: np.ndarray, queries: np.ndarray) -> str:
    """sha256 of the control points [n, 3] and the queries [q, 3], rounded to float32, and of their shapes."""
    digest = hashlib.sha256(repr((points.shape, queries.shape)).encode())
    for values in (points, queries):
        digest.update(np.ascontiguousarray(values, dtype="<f4").tobytes())
    return digest.hexdigest()


@functools.lru_cache(maxsize=1)
def shipped_regressor_weights() -> Mapping[str, np.ndarray]:
    """Weights [q, n] by key; empty where the file is absent.

    Raises:
        InputRejected: The file is damaged.
    """
    path = data_path(REGRESSOR_FILE)
    if not path.exists():
        return MappingProxyType({})
    archive = open_npz(path)
    keys = archive.texts("keys")
    shapes = archive.numbers("shapes", (len(keys), 2)).astype(np.int64)
    weights = archive.numbers("weights", (int(np.prod(shapes, axis=1).sum()),))
    ends = np.cumsum(np.prod(shapes, axis=1))
    return MappingProxyType(
        {
            key: weights[end - rows * columns : end].reshape(rows, columns)
            for key, end, (rows, columns) in zip(keys, ends, shapes, strict=True)
        }
    )


def regressor_bytes(entries: Mapping[str, np.ndarray]) -> bytes:
    """The file's bytes from weights [q, n] by key, in the order of the keys."""
    keys = sorted(entries)
    return npz_bytes(
        {
            "keys": np.array(keys),
            "shapes": np.array([entries[key].shape for key in keys], dtype=np.int32),
            "weights": np.concatenate([np.asarray(entries[key], dtype=np.float64).ravel() for key in keys]),
        }
    )
