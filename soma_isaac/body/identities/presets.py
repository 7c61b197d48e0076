"""Named bodies in the open shape space: ``preset("child")`` gives coefficients for the ``soma`` identity model."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import open_npz
from soma_isaac.rig.skeleton import data_path

OPEN_SHAPE_SPACE = "SOMA_neutral.npz"
"""The shape space that ships with soma_isaac; ``scripts/build_shape_model.py`` makes it together with the presets."""

_LARGEST_COEFFICIENT = 20.0


def open_shape_space() -> Path:
    """Path of the shape space that ships with soma_isaac."""
    return data_path(OPEN_SHAPE_SPACE)


def preset_names(path: Path | None = None) -> tuple[str, ...]:
    """Names of the bodies in a shape space file; none in files of SOMA-X.

    Args:
        path: The file; the one that ships with soma_isaac by default.

    Raises:
        InputRejected: The file cannot be read or its presets are not sound.
    """
    return tuple(_presets(open_shape_space() if path is None else path))


def preset(name: str, path: Path | None = None) -> np.ndarray:
    """Coefficients [K] (standard deviations, read-only) of a named body.

    They belong to the file that they are read from: in other shape spaces, as SOMA-X's own, they mean other bodies.

    Args:
        name: One of :func:`preset_names`.
        path: The file; the one that ships with soma_isaac by default.

    Raises:
        InputRejected: There is no such body, or the file cannot be read or is not sound.
    """
    bodies = _presets(open_shape_space() if path is None else path)
    if name not in bodies:
        raise InputRejected(f"no body named {name!r}; there are {', '.join(bodies) or 'none in this file'}")
    return bodies[name]


@functools.lru_cache(maxsize=4)
def _presets(path: Path) -> Mapping[str, np.ndarray]:
    archive = open_npz(path)
    if "preset_names" not in archive:
        return MappingProxyType({})
    names = archive.texts("preset_names")
    dtype, shape = archive.header("eigenvalues")
    if dtype.kind != "f" or len(shape) != 1:
        raise InputRejected(f"array 'eigenvalues' is {dtype} {shape}, expected numbers (K,)", archive.path)
    table = archive.numbers("preset_coefficients", (len(names), shape[0]))
    if len(set(names)) != len(names) or not (np.abs(table) <= _LARGEST_COEFFICIENT).all():
        raise InputRejected("preset names repeat, or a coefficient is not a sensible number", archive.path)
    table.setflags(write=False)
    return MappingProxyType(dict(zip(names, table, strict=True)))
