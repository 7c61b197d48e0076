"""Small YAML and JSON files that people write by hand: mappings of names to numbers, lists and texts."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import read_source, repeated
from soma_isaac.formats.limits import DEFAULT_LIMITS, MEBIBYTE

VALUE_SUFFIXES = (".yaml", ".yml", ".json")
_LIMITS = replace(DEFAULT_LIMITS, file_bytes=8 * MEBIBYTE)


class _PlainLoader(yaml.SafeLoader):
    """Plain values by YAML 1.2's core schema, as in JSON: ``1e-3`` is a number, ``yes``, ``1:30`` and dates are texts.

    Refused are aliases, with which a few bytes become gigabytes, tags, and names given twice.
    """

    yaml_implicit_resolvers: dict[str, Any] = {}  # PyYAML's own are YAML 1.1's, where 010 is eight

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("aliases (*name) are not read")
        if getattr(self.peek_event(), "tag", None) is not None:  # type: ignore[no-untyped-call]
            raise yaml.YAMLError("tags (!name) are not read")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.YAMLError(f"a name is given twice in the mapping of line {node.start_mark.line + 1}")
        return mapping

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return int(str(node.value))


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)
for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
):
    _PlainLoader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), _first)


def read_values(path: Path) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Raises:
        InputRejected: It has another suffix, cannot be read, or holds no mapping of names.
    """
    suffix = path.suffix.lower()
    if suffix not in VALUE_SUFFIXES:
        raise InputRejected(f"has the suffix {path.suffix!r}; expected one of {', '.join(VALUE_SUFFIXES)}", str(path))
    source = read_source(path, _LIMITS)
    try:
        text = source.data.decode("utf-8-sig")
        values = _from_json(text) if suffix == ".json" else yaml.load(text, Loader=_PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputRejected(f"cannot be read: {' '.join(str(error).split())[:200]}", str(path)) from error
    if not isinstance(values, dict) or not all(isinstance(name, str) for name in values):
        raise InputRejected("holds no mapping of names to values", str(path))
    return values


def _from_json(text: str) -> Any:
    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError(f"the name {repeated(name for name, _ in pairs)[0][:40]!r} is given twice")
        return found

    return json.loads(text, object_pairs_hook=mapping)


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


def numbers(values: Any, shape: tuple[int | None, ...], what: str, largest: float = np.inf) -> np.ndarray:
    """Numbers of a shape, finite and from ``-largest`` to ``largest``.

    Raises:
        InputRejected: They are none.
    """
    array = _array(values)
    fits = array.ndim == len(shape) and all(
        want in (None, have) for want, have in zip(shape, array.shape, strict=False)
    )
    if not fits or not np.isfinite(array).all():
        size = " x ".join("N" if each is None else str(each) for each in shape) or "one"
        raise InputRejected(f"{what} is not {size} finite number{'' if size == 'one' else 's'}")
    if np.abs(array).max(initial=0.0) > largest:
        raise InputRejected(f"{what} is beyond {largest:g}")
    return array


def number(values: Any, what: str, least: float = -np.inf, largest: float = np.inf) -> float:
    """One finite number from ``least`` to ``largest``.

    Raises:
        InputRejected: It is none.
    """
    value = float(numbers(values, (), what))
    if not least <= value <= largest:
        raise InputRejected(f"{what} is {value:g}, expected {least:g} to {largest:g}")
    return value


_NO_ARRAY = np.full((1,) * 8, np.nan)


def _array(values: Any) -> np.ndarray:
    """Float64 of numbers in lists; an array that is never asked for where there is anything else among them.

    numpy on its own would take texts and booleans for numbers.
    """

    def sound(value: Any, depth: int = 8) -> bool:
        if isinstance(value, list | tuple):
            return depth > 0 and all(sound(each, depth - 1) for each in value)
        return isinstance(value, int | float) and not isinstance(value, bool)

    try:
        return np.asarray(values, dtype=np.float64) if sound(values) else _NO_ARRAY
    except (ValueError, OverflowError):  # lists of different lengths, an integer beyond floats
        return _NO_ARRAY
