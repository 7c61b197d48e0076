"""``SOMA_procedural_transforms.json``: the twist table beside a rig (schema 1.1.0), read with checks and written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import repeated
from soma_isaac.rig.twist import TWIST_MODES, TwistSegment, TwistTable

MAX_SIDECAR_BYTES = 8 << 20
_AXES = {"x": 0, "y": 1, "z": 2, 0: 0, 1: 1, 2: 2}


@dataclass(frozen=True)
class TwistSidecar:
    """What a sidecar file says.

    Attributes:
        public_joint_names: Joints of the public rig in order.
        twist: Segments and parameter matrices.
    """

    public_joint_names: tuple[str, ...]
    twist: TwistTable


def read_twist_sidecar(path: Path) -> TwistSidecar:
    """Read a sidecar.

    Raises:
        InputRejected: Unreadable, too large, or against the schema; the message names the entry.
    """
    try:
        if path.stat().st_size > MAX_SIDECAR_BYTES:
            raise InputRejected(f"larger than {MAX_SIDECAR_BYTES} bytes", str(path))
        record = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputRejected(f"not readable JSON ({error})", str(path)) from error
    try:
        return parse_twist_sidecar(record)
    except InputRejected as error:
        raise InputRejected(error.reason, str(path)) from error


def parse_twist_sidecar(record: Any) -> TwistSidecar:
    """Check a decoded sidecar and turn it into a table.

    Raises:
        InputRejected: It is against the schema; the message names the entry.
    """
    if not isinstance(_at(record, "schema_version", str), str) or not record["schema_version"]:
        raise InputRejected("schema_version is empty")
    modes = _unique_names(_at(record, "modes", list), "modes")
    unknown = [mode for mode in modes if mode not in TWIST_MODES]
    if unknown:
        raise InputRejected(f"modes lists {unknown[0]!r}; known are {', '.join(TWIST_MODES)}")
    extractors = _at(record, "channel_extractors", dict)
    missing = [mode for mode in modes if mode not in extractors]
    if missing:
        raise InputRejected(f"channel_extractors lacks the mode {missing[0]!r}")
    derivation = _at(record, "public_rig_derivation", dict)
    public = _unique_names(_at(derivation, "main_joint_names", list), "main_joint_names")
    segments = tuple(_segment(entry, number, set(public)) for number, entry in enumerate(_at(record, "segments", list)))
    helpers = [name for segment in segments for name in segment.twist_joints]
    _unique_names(helpers, "twist_joints of all segments")
    clash = sorted(set(helpers) & set(public))
    if clash:
        raise InputRejected(f"{clash[0]!r} is both a public and a twist joint")
    chosen = _modes(_at(record, "rotation_extraction", (str, dict)), helpers, modes)
    matrices = _at(record, "parameter_matrices", dict)
    rotation = _entries(_at(matrices, "rotation", dict), "rotation", helpers, public)
    translation = _entries(_at(matrices, "translation", dict), "translation", helpers, [*public, *helpers])
    return TwistSidecar(public, TwistTable(segments, chosen, rotation, translation))


def _at(record: Any, key: str, kind: type | tuple[type, ...]) -> Any:
    if not isinstance(record, dict) or not isinstance(record.get(key), kind):
        wanted = kind.__name__ if isinstance(kind, type) else " or ".join(item.__name__ for item in kind)
        raise InputRejected(f"{key} is missing or is not a {wanted}")
    return record[key]


def _unique_names(values: Iterable[Any], what: str) -> tuple[str, ...]:
    names = tuple(values)
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong or not names:
        raise InputRejected(f"{what} must be a list of names" + (f", not {wrong[0]!r}" if wrong else ""))
    twice = repeated(names)
    if twice:
        raise InputRejected(f"{what} repeats {twice[0]!r}")
    return names


def _segment(entry: Any, number: int, public: set[str]) -> TwistSegment:
    what = f"segments[{number}]"
    start, end = (_at(entry, key, str) for key in ("start_joint", "end_joint"))
    parent = entry.get("parent_joint")
    for name in (start, end) if parent is None else (start, end, parent):
        if not isinstance(name, str) or name not in public:
            raise InputRejected(f"{what} names {name!r}, which is no public joint")
    reverse = entry.get("reverse", False)
    axis, sign = entry.get("source_axis", "x"), entry.get("source_sign", 1)
    if not isinstance(reverse, bool):
        raise InputRejected(f"{what} has reverse {reverse!r}, expected true or false")
    if isinstance(axis, bool) or not isinstance(axis, (str, int)) or axis not in _AXES:
        raise InputRejected(f"{what} has source_axis {axis!r}, expected x, y or z")
    if isinstance(sign, bool) or sign not in (1, -1):
        raise InputRejected(f"{what} has source_sign {sign!r}, expected 1 or -1")
    helpers = _unique_names(_at(entry, "twist_joints", list), f"{what}.twist_joints")
    return TwistSegment(start, end, parent, helpers, reverse, _AXES[axis], float(sign))


def _modes(extraction: str | dict[str, Any], helpers: list[str], allowed: tuple[str, ...]) -> dict[str, str]:
    if isinstance(extraction, str):
        extraction = {"default": extraction}
    default, overrides = extraction.get("default"), extraction.get("per_procedural_joint", {})
    if not isinstance(overrides, dict):
        raise InputRejected("per_procedural_joint is not an object")
    stray = sorted(set(overrides) - set(helpers))
    if stray:
        raise InputRejected(f"rotation_extraction names {stray[0]!r}, which is no twist joint")
    chosen: dict[str, str] = {}
    for helper in helpers:
        mode = overrides.get(helper, default)
        if isinstance(mode, str) and mode in allowed:
            chosen[helper] = mode
        else:
            raise InputRejected(
                f"rotation_extraction of {helper} is {mode!r}; the file's modes are {', '.join(allowed)}"
            )
    return chosen


def _entries(
    matrix: dict[str, Any], what: str, rows: Iterable[str], columns: Iterable[str]
) -> tuple[tuple[str, str, float], ...]:
    if matrix.get("format") != "sparse_coo_named" or matrix.get("dtype") != "float32":
        raise InputRejected(f"parameter matrix {what} must be sparse_coo_named in float32")
    known_rows, known_columns = set(rows), set(columns)
    found: dict[tuple[str, str], float] = {}
    for entry in _at(matrix, "entries", list):
        row, column = (_at(entry, key, str) for key in ("row", "column"))
        value = _at(entry, "value", (int, float))
        if row not in known_rows or column not in known_columns:
            raise InputRejected(f"parameter matrix {what} has an entry for unknown joints {row!r}, {column!r}")
        if (row, column) in found:
            raise InputRejected(f"parameter matrix {what} repeats the entry {row!r}, {column!r}")
        if isinstance(value, bool) or not abs(value) < 1e6:
            raise InputRejected(f"parameter matrix {what} has the value {value!r} at {row!r}, {column!r}")
        found[row, column] = float(value)
    if not found:
        raise InputRejected(f"parameter matrix {what} has no entries")
    return tuple((row, column, value) for (row, column), value in found.items())


def twist_sidecar_json(sidecar: TwistSidecar, parents: dict[str, str | None], definition_name: str) -> str:
    """Text of a sidecar file.

    Args:
        sidecar: What to write.
        parents: Parent joint of every joint in the rig file, helpers included.
        definition_name: Free text for the file's ``definition_name``.
    """
    public, twist = sidecar.public_joint_names, sidecar.twist
    helpers = twist.joint_names
    modes = sorted(set(twist.modes.values()))
    common = modes[0]
    record: dict[str, Any] = {
        "schema_version": "1.1.0",
        "definition_name": definition_name,
        "template_asset": {"file": "SOMA_template_rig.usda", "joint_count": len(parents)},
        "conventions": {
            "length_unit": "cm",
            "angle_unit": "radians",
            "dtype": "float32",
            "matrix_layout": "row_major",
            "euler_order": "XYZ",
            "quaternion_order": "xyzw",
            "up_axis": "+Y",
            "forward_axis": "+Z",
        },
        "modes": modes,
        "channel_extractors": {mode: {"output": "angle_per_public_joint"} for mode in modes},
        "public_rig_derivation": {
            "main_joint_names": list(public),
            "removed_joint_parent_remap": {name: parents[name] for name in helpers},
            "removed_skin_weight_aggregation": "nearest_kept_ancestor",
        },
        "segments": [
            {
                "start_joint": segment.start_joint,
                "end_joint": segment.end_joint,
                **({} if segment.parent_joint is None else {"parent_joint": segment.parent_joint}),
                "twist_joints": list(segment.twist_joints),
                "reverse": segment.reverse,
                "source_axis": "xyz"[segment.source_axis],
                "source_sign": int(segment.source_sign),
            }
            for segment in twist.segments
        ],
        "rotation_extraction": {
            "default": common,
            "per_procedural_joint": {name: mode for name, mode in twist.modes.items() if mode != common},
        },
        "parameter_matrices": {
            "rotation": _coo(twist.rotation_entries),
            "translation": _coo(twist.translation_entries),
        },
        "output_emitters": {"rotation": "local_x", "translation": "bind_fraction"},
        "evaluation_order": ["public_joints", "channels", "twist_joints"],
    }
    return json.dumps(record, indent=1) + "\n"


def _coo(entries: tuple[tuple[str, str, float], ...]) -> dict[str, Any]:
    rows = [{"row": row, "column": column, "value": value} for row, column, value in entries]
    return {"format": "sparse_coo_named", "dtype": "float32", "entries": rows}
