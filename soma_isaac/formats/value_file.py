"""Small YAML and JSON files that people write by hand: mappings of names to numbers, lists and texts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, MEBIBYTE

VALUE_SUFFIXES = (".yaml", ".yml", ".json")
_LIMITS = replace(DEFAULT_LIMITS, file_bytes=8 * MEBIBYTE)


class _PlainLoader(yaml.SafeLoader):
    """Builds plain values only; aliases, with which a few bytes become gigabytes, are refused."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("aliases (*name) are not read")
        return super().compose_node(parent, index)


def read_values(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Raises:
        InputRejected: It has another suffix, cannot be read, or holds no mapping of names.
    """
    if path.suffix.lower() not in VALUE_SUFFIXES:
        raise InputRejected(f"has the suffix {path.suffix!r}; expected one of {', '.join(VALUE_SUFFIXES)}", str(path))
    source = read_source(path, _LIMITS)
    try:
        values = yaml.load(source.data.decode("utf-8"), Loader=_PlainLoader)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise InputRejected(f"cannot be read: {' '.join(str(error).split())[:200]}", str(path)) from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputRejected("holds no mapping of names to values", str(path))
    return values


def check_names(values: Any, known: Collection[str], what: str) -> Mapping[str, Any]:
    """``values`` if it is a mapping whose names are all ``known``.

    Raises:
        InputRejected: It is none, or a name is unknown; the message lists what there is.
    """
    if not isinstance(values, Mapping):
        raise InputRejected(f"{what} is no mapping of {', '.join(known)}")
    for name in values:
        if name not in known:
            raise InputRejected(f"{what} has an unknown name {str(name)[:40]!r}; there are {', '.join(known)}")
    return values


def numbers(values: Any, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    """Numbers of a shape, finite.

    Raises:
        InputRejected: They are none.
    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.zeros(0)
        shape = (*shape, -1)  # fits nothing
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits or not np.isfinite(array).all():
        size = " x ".join("N" if each is None else str(each) for each in shape if each != -1) or "one"
        raise InputRejected(f"{what} is not {size} finite number{'' if size == 'one' else 's'}")
    return array


def number(values: Any, what: str) -> float:
    """One finite number.

    Raises:
        InputRejected: It is none.
    """
    if isinstance(values, bool):
        raise InputRejected(f"{what} is not one finite number")
    return float(numbers(values, (), what))
