"""The name table of BVH skeletons (``config/bvh_names.yaml``), and which family a file belongs to."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, data_path, template_rest_rotations

REQUIRED = ("Hips", "Chest", "Head") + tuple(
    f"{side}{name}" for side in ("Left", "Right") for name in ("Arm", "ForeArm", "Hand", "Leg", "Shin", "Foot")
)
"""SOMA joints that a file must have."""

_DIRECTIONS = {
    "left": (1.0, 0.0, 0.0),
    "right": (-1.0, 0.0, 0.0),
    "up": (0.0, 1.0, 0.0),
    "down": (0.0, -1.0, 0.0),
    "ahead": (0.0, 0.0, 1.0),
    "back": (0.0, 0.0, -1.0),
}


@dataclass(frozen=True, eq=False)
class BvhFamily:
    """One family of skeletons.

    Attributes:
        name: Its key in the table.
        aliases: Possible names in the file, by SOMA joint.
        axes: By SOMA joint [3, 3]: columns are the joint's own axes in the T-pose, seen from the person (x left, y up,
            z ahead); ``None`` if the family's zero pose is a T-pose.
        exact: Whether the T-pose is SOMA's own, so that no bone needs to be turned.
    """

    name: str
    aliases: MappingProxyType[str, tuple[str, ...]]
    axes: MappingProxyType[str, np.ndarray] | None
    exact: bool


@functools.lru_cache(maxsize=1)
def bvh_families() -> tuple[BvhFamily, ...]:
    """The families of the table.

    Raises:
        InputRejected: The table names an unknown SOMA joint or direction.
    """
    path = data_path("").parent / "config" / "bvh_names.yaml"
    table = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(table, dict)
    return tuple(_family(name, entry, str(path)) for name, entry in table["families"].items())


def _family(name: str, entry: dict[str, Any], path: str) -> BvhFamily:
    joints = {joint: joint for joint in PUBLIC_JOINT_NAMES} if entry["joints"] == "same" else entry["joints"]
    unknown = sorted((set(joints) | set(REQUIRED)) - set(PUBLIC_JOINT_NAMES)) + sorted(set(REQUIRED) - set(joints))
    if unknown:
        raise InputRejected(f"family {name} lists an unknown joint, or lacks a required one: {unknown[0]}", path)
    aliases = {joint: (value,) if isinstance(value, str) else tuple(value) for joint, value in joints.items()}
    axes = entry.get("axes")
    if axes == "rig":
        frames = dict(zip(PUBLIC_JOINT_NAMES, template_rest_rotations(), strict=True))
        return BvhFamily(name, MappingProxyType(aliases), MappingProxyType(frames), True)
    if axes is None:
        return BvhFamily(name, MappingProxyType(aliases), None, False)
    frames = {joint: _frame(words, f"{name}.axes.{joint}", path) for joint, words in axes.items()}
    for joint, slope in entry.get("slopes", {}).items():
        # Positive slopes nod the joint's frame down: about +x (left), "ahead" goes down.
        frames[joint] = matrix_from_rotvec(np.array([np.radians(slope), 0.0, 0.0])) @ frames[joint]
    return BvhFamily(name, MappingProxyType(aliases), MappingProxyType(frames), False)


def _frame(words: str, what: str, path: str) -> np.ndarray:
    names = words.split()
    if len(names) != 2 or any(word not in _DIRECTIONS for word in names):
        raise InputRejected(f"{what} is {words!r}, expected two of {', '.join(_DIRECTIONS)}", path)
    x, y = (np.array(_DIRECTIONS[word]) for word in names)
    if x @ y != 0.0:
        raise InputRejected(f"{what} is {words!r}: the two are not perpendicular", path)
    return np.stack([x, y, np.cross(x, y)], axis=1)


def match_family(joint_names: Sequence[str]) -> tuple[BvhFamily, dict[str, int]]:
    """The family with the most joints in a file, and the file's joint index by SOMA joint.

    Raises:
        InputRejected: No family has its required joints there; the message names what the nearest one lacks.
    """
    index = {name.rsplit(":", 1)[-1]: joint for joint, name in reversed(list(enumerate(joint_names)))}
    found: list[tuple[int, BvhFamily, dict[str, int]]] = []
    lacking: list[tuple[int, int, str, list[str]]] = []
    for family in bvh_families():
        matched = {
            joint: index[next(alias for alias in aliases if alias in index)]
            for joint, aliases in family.aliases.items()
            if any(alias in index for alias in aliases)
        }
        missing = [family.aliases[joint][0] for joint in REQUIRED if joint not in matched]
        if missing:
            lacking.append((len(missing), -len(matched), family.name, missing))
        else:
            found.append((len(matched), family, matched))
    if not found:
        _, _, name, missing = min(lacking)
        raise InputRejected(
            f"has joint names of no known skeleton; nearest is {name!r}, which lacks {', '.join(missing[:6])} "
            "(the table is config/bvh_names.yaml)"
        )
    _, family, matched = max(found, key=lambda entry: entry[0])
    return family, matched
