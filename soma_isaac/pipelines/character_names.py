"""The name table of characters (``config/character_names.yaml``), and which family a skeleton belongs to."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from omegaconf import OmegaConf

from soma_isaac.errors import InputRejected
from soma_isaac.inversion.bvh_names import bvh_families
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, data_path

TABLE = "character_names.yaml"
_LIMB = ("Leg", "Shin", "Foot", "Arm", "ForeArm", "Hand")
_IGNORED = re.compile(r"[\s_.\-]")


@functools.lru_cache(maxsize=1)
def character_families() -> Mapping[str, Mapping[str, tuple[str, ...]]]:
    """Possible names in a file, by family and SOMA joint.

    Raises:
        InputRejected: The table names an unknown SOMA joint or family.
    """
    path = data_path("").parent / "config" / TABLE
    table = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(table, dict)
    return MappingProxyType({name: _family(name, entry, str(path)) for name, entry in table["families"].items()})


def _family(name: str, entry: dict[str, Any], path: str) -> Mapping[str, tuple[str, ...]]:
    known = {family.name: family.aliases for family in bvh_families()}
    base = entry.get("extends")
    if base is not None and base not in known:
        raise InputRejected(f"family {name} extends {base!r}, which bvh_names.yaml does not have", path)
    aliases = dict(known[base]) if base is not None else {}
    for joint, value in entry.get("joints", {}).items():
        names = (value,) if isinstance(value, str) else tuple(value)
        if any("{}" in alias for alias in names):
            for soma, side in zip(("Left", "Right"), entry["sides"], strict=True):
                aliases[soma + joint] = tuple(alias.replace("{}", side) for alias in names)
        else:
            aliases[joint] = names
    unknown = sorted(set(aliases) - set(PUBLIC_JOINT_NAMES))
    if unknown:
        raise InputRejected(f"family {name} lists {unknown[0]!r}, which is no SOMA joint", path)
    return MappingProxyType(aliases)


def plain_name(name: str) -> str:
    """A joint's name without what does not count: name spaces, case, blanks, dots, dashes and underscores."""
    return re.sub(r"^mixamorig\d*", "", _IGNORED.sub("", re.split(r"[:|]", name)[-1]).lower())


def match_character(joint_names: Sequence[str]) -> tuple[str, dict[str, int]]:
    """The family with the most joints in a file, and the file's joint index by SOMA joint.

    Raises:
        InputRejected: No family has an arm and a leg there; the message names what the nearest one lacks.
    """
    index = {plain_name(name): joint for joint, name in reversed(list(enumerate(joint_names)))}
    found: dict[str, dict[str, int]] = {}
    for family, aliases in character_families().items():
        plain = {joint: [plain_name(alias) for alias in names] for joint, names in aliases.items()}
        found[family] = {
            joint: index[next(alias for alias in names if alias in index)]
            for joint, names in plain.items()
            if any(alias in index for alias in names)
        }
    complete = {family: matched for family, matched in found.items() if not _lacking(matched)}
    if not complete:
        family = max(found, key=lambda name: (-len(_lacking(found[name])), len(found[name])))
        lacks = ", ".join(character_families()[family][f"Left{joint}"][0] for joint in _lacking(found[family]))
        raise InputRejected(
            f"has joint names of no known skeleton; nearest is {family!r}, which lacks {lacks} (the table is "
            f"config/{TABLE})"
        )
    family = max(complete, key=lambda name: len(complete[name]))
    return family, complete[family]


def _lacking(matched: Mapping[str, int]) -> list[str]:
    """Limb joints that neither side has."""
    return [joint for joint in _LIMB if f"Left{joint}" not in matched and f"Right{joint}" not in matched]
