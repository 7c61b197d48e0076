"""Characters of every format as SOMA joints: names by table, places from the file's rest pose, missing ones NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import read_bvh
from soma_isaac.formats.character_gltf import read_gltf_character
from soma_isaac.formats.character_skeleton import CharacterSkeleton
from soma_isaac.formats.character_usd import read_usd_character
from soma_isaac.inversion.bvh_names import match_family
from soma_isaac.inversion.bvh_skeleton import bone_offsets, decide_unit, leg_length, t_pose
from soma_isaac.pipelines.character_names import match_character
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES


@dataclass(frozen=True, eq=False)
class Character:
    """A character to be fitted.

    Attributes:
        joints: [78, 3] in the file's unit, NaN for joints that it lacks.
        metres_per_unit: Its unit where that is known.
        family: The family of names it was read by.
        notes: Decisions taken while reading, one sentence each.
    """

    joints: np.ndarray
    metres_per_unit: float | None
    family: str
    notes: tuple[str, ...]


def read_character(path: Path) -> Character:
    """Read a character; the suffix says which format.

    Raises:
        InputRejected: The suffix or the skeleton is none that we know, or the file is not sound.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise InputRejected(f"is no character file; {', '.join(READERS)} are read", str(path))
    try:
        return reader(path)
    except InputRejected as error:
        if error.path is not None:
            raise
        raise InputRejected(error.reason, str(path)) from error


def _from_skeleton(skeleton: CharacterSkeleton) -> Character:
    family, matched = match_character(skeleton.joint_names)
    joints = np.full((len(PUBLIC_JOINT_NAMES), 3), np.nan)
    for name, index in matched.items():
        joints[PUBLIC_JOINT_NAMES.index(name)] = skeleton.positions[index]
    note = f"skeleton family {family}, {len(matched)} joints by name, from its {skeleton.pose}"
    return Character(joints, skeleton.metres_per_unit, family, (note,))


def _read_usd(path: Path) -> Character:
    return _from_skeleton(read_usd_character(path))


def _read_gltf(path: Path) -> Character:
    return _from_skeleton(read_gltf_character(path))


def _read_bvh(path: Path) -> Character:
    """The T-pose that the converter takes; End Sites are the joints that the table has below the last named ones."""
    clip = read_bvh(path)
    family, matched = match_family(clip.joint_names)
    offsets, notes = bone_offsets(clip, matched["Hips"])
    pose = t_pose(clip, family, matched, offsets)
    metres, unit_note = decide_unit(leg_length(clip, matched, offsets))
    positions = np.zeros((len(clip.joint_names), 3))
    for joint, parent in enumerate(clip.parent_indices):
        if parent >= 0:
            positions[joint] = positions[parent] + pose.bones[joint]
    # The converter's table has no fingers and ends; ours adds those that go by the same names.
    try:
        named = {**match_character(clip.joint_names)[1], **matched}
    except InputRejected:
        named = dict(matched)
    joints = np.full((len(PUBLIC_JOINT_NAMES), 3), np.nan)
    for name, index in named.items():
        joints[PUBLIC_JOINT_NAMES.index(name)] = positions[index]
    for parent, offset in zip(clip.end_parents, clip.end_offsets, strict=True):
        for name, end in (("Head", "HeadEnd"), ("LeftToeBase", "LeftToeEnd"), ("RightToeBase", "RightToeEnd")):
            if named.get(name) == parent and end not in named:
                place = positions[parent] + pose.axes[parent] @ offset
                joints[PUBLIC_JOINT_NAMES.index(end)] = place
    return Character(joints, metres, family.name, (f"skeleton family {family.name}; {pose.what}", unit_note, *notes))


READERS: Mapping[str, Callable[[Path], Character]] = MappingProxyType(
    {
        ".usda": _read_usd,
        ".bvh": _read_bvh,
        ".glb": _read_gltf,
        ".gltf": _read_gltf,
        ".vrm": _read_gltf,
    }
)
"""By suffix."""
