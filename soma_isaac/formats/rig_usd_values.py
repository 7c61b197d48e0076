"""Guards between text USD from outside and the native parser and numpy: nesting depth, declared types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pxr import Sdf

from soma_isaac.errors import InputRejected, RigMismatch

MAX_NESTING = 200
"""Braces, brackets and parentheses inside each other; the native parser overflows its stack at thousands."""

POINTS = ("point3f[]", "point3d[]", "float3[]", "double3[]", "vector3f[]")
INTEGERS = ("int[]",)
WEIGHTS = ("float[]", "double[]", "half[]")
TOKENS = ("token[]", "string[]")
MATRICES = ("matrix4d[]",)
MATRIX = ("matrix4d",)

_CHUNK = 1 << 24


def check_nesting(content: bytes, path: str) -> None:
    """Refuse text that nests deeper than :data:`MAX_NESTING`; those in strings and comments count as well.

    Raises:
        InputRejected: It does.
    """
    change = np.zeros(256, dtype=np.int8)
    change[list(b"([{")] = 1
    change[list(b")]}")] = -1
    depth = 0
    for begin in range(0, len(content), _CHUNK):
        steps = change[np.frombuffer(content[begin : begin + _CHUNK], dtype=np.uint8)]
        levels = depth + np.cumsum(steps[steps != 0], dtype=np.int64)
        if levels.size:
            depth = int(levels[-1])
            if levels.max() > MAX_NESTING:
                raise InputRejected(f"nests deeper than {MAX_NESTING} brackets", path)


def attribute_default(prim: Sdf.PrimSpec, name: str, types: tuple[str, ...]) -> Any:
    """Default value of an attribute, ``None`` where there is none.

    Raises:
        RigMismatch: The attribute is declared with another type.
    """
    if name not in prim.attributes:
        return None
    spec = prim.attributes[name]
    value = spec.default
    if value is None or isinstance(value, Sdf.ValueBlock):
        return None
    if str(spec.typeName) not in types:
        raise RigMismatch(f"{name} of {prim.name} is declared as {spec.typeName}, expected {' or '.join(types)}")
    return value


def nearest_ancestors(paths: Sequence[str]) -> list[int]:
    """For each of J different joint paths, which of the others is the longest one above it; -1 where none is.

    In the order of their parts a path stands right behind what lies above it, so that one walk with the chain down to
    the last path finds all: no path is cut part by part, which takes forever where somebody nests a million.
    """
    parts = [path.split("/") for path in paths]
    ancestors = [-1] * len(paths)
    chain: list[int] = []
    for joint in sorted(range(len(paths)), key=parts.__getitem__):
        while chain and parts[joint][: len(parts[chain[-1]])] != parts[chain[-1]]:
            chain.pop()
        ancestors[joint] = chain[-1] if chain else -1
        chain.append(joint)
    return ancestors
