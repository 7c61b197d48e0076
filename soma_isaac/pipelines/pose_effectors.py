"""Effectors that people write down: a YAML or JSON file of poses, each a list of what joints shall do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.value_file import check_names, number, numbers, read_values
from soma_isaac.learned.effectors import POSITION, Effector, Effectors, look_at, position, rotation
from soma_isaac.math.frames import yup_from_zup_points, yup_from_zup_rotations
from soma_isaac.math.so3 import matrix_from_quat_wxyz, matrix_from_rotvec

KIND_KEYS = ("position", "rotation_deg", "rotation_wxyz", "look_at")
ENTRY_KEYS = ("joint", *KIND_KEYS, "direction", "tolerance_m", "tolerance_deg", "weight")
AXES = ("y", "z")
MOST_POSES = 10_000
MOST_EFFECTORS = 64
"""Entries of one pose; sets are padded to the longest."""

LONGEST_NAME = 100
LARGEST_M, LARGEST_LOOK_M, LARGEST_DEG = 500.0, 1e6, 1e5
"""How far positions, and targets of look-ats, may lie from the origin, and how far a turn may go."""

LARGEST_TOLERANCE, LARGEST_WEIGHT = 1e3, 1e6


@dataclass(frozen=True)
class NamedPoses:
    """What a file asks for.

    Attributes:
        names: One per pose.
        sets: The effectors of each, Y-up world.
    """

    names: tuple[str, ...]
    sets: tuple[tuple[Effector, ...], ...]

    @property
    def effectors(self) -> Effectors:
        """All sets, padded to the longest."""
        return Effectors.of(*self.sets)


def read_poses(path: Path, up_axis: str | None = None) -> NamedPoses:
    """Read poses as effectors.

    The file has ``poses``: a mapping of names to lists of effectors, or ``effectors``: one list. Each effector names
    its ``joint`` and one or several of

    * ``position``: [x, y, z] m, where the joint shall be, within ``tolerance_m``;
    * ``rotation_deg``: rotation vector [deg], or ``rotation_wxyz``: quaternion, of the joint in the world, none in the
      T-pose, within ``tolerance_deg``;
    * ``look_at``: [x, y, z] m, where ``direction`` (in the joint's T-pose axes; ahead by default) shall point.

    Args:
        path: The file.
        up_axis: ``y`` or ``z``; by default what the file says under ``up_axis``, else ``y``. In a Z-up world people
            look along +X and have +Y on their left; in the Y-up world they look along +Z and have +X on their left.

    Raises:
        InputRejected: The file is not of this form; the message names the pose and the effector.
    """
    try:
        return poses_of(read_values(path), path.stem, up_axis)
    except InputRejected as error:
        raise InputRejected(error.reason, error.path or str(path)) from error


def poses_of(values: Mapping[str, Any], name: str, up_axis: str | None = None) -> NamedPoses:
    """:func:`read_poses` of values that were read already; ``name`` is that of a single pose.

    Raises:
        InputRejected: As there.
    """
    check_names(values, ("up_axis", "poses", "effectors"), "the file")
    z_up = axis_of(values, up_axis) == "z"
    if ("poses" in values) == ("effectors" in values):
        raise InputRejected("the file needs one of poses (a mapping of names to lists) and effectors (one list)")
    poses = values["poses"] if "poses" in values else {name: values["effectors"]}
    if not isinstance(poses, Mapping) or not 0 < len(poses) <= MOST_POSES:
        raise InputRejected(f"poses is no mapping of names to 1 to {MOST_POSES} lists of effectors")
    named = [(str(name) if isinstance(name, int) else name, entries) for name, entries in poses.items()]
    return NamedPoses(tuple(name for name, _ in named), tuple(_pose(*each, z_up) for each in named))


def _pose(name: Any, entries: Any, z_up: bool) -> tuple[Effector, ...]:
    """The effectors of one pose."""
    if not isinstance(name, str) or len(name) > LONGEST_NAME or not name.isprintable():
        raise InputRejected(f"a pose is named {str(name)[:20]!r}; take one line of at most {LONGEST_NAME} characters")
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not 0 < len(entries) <= MOST_EFFECTORS:
        raise InputRejected(f"pose {name} is no list of 1 to {MOST_EFFECTORS} effectors")
    made = [
        effector
        for k, entry in enumerate(entries)
        for effector in effectors_of(entry, f"effector {k + 1} of pose {name}", z_up)
    ]
    if not any(effector.kind == POSITION and effector.weight > 0.0 for effector in made):
        raise InputRejected(f"pose {name} has no position with a weight: it would be nowhere")
    return tuple(made)


def axis_of(values: Mapping[str, Any], up_axis: str | None) -> str:
    """``y`` or ``z``: as asked for, else as the file says, else ``y``.

    Raises:
        InputRejected: It is neither.
    """
    axis = values.get("up_axis", "y") if up_axis is None else up_axis
    if axis not in AXES:
        raise InputRejected(f"up_axis {axis!r} is neither y nor z")
    return axis


def effectors_of(entry: Any, what: str, z_up: bool) -> list[Effector]:
    """The effectors that one entry of the file stands for, Y-up.

    Raises:
        InputRejected: It is not of that form.
    """
    check_names(entry, ENTRY_KEYS, what)
    if not isinstance(entry.get("joint"), str):
        raise InputRejected(f"{what} names no joint")
    if not any(key in entry for key in KIND_KEYS):
        raise InputRejected(f"{what} asks for nothing; give one of {', '.join(KIND_KEYS)}")
    joint, weight = entry["joint"], number(entry.get("weight", 1.0), f"{what}: weight", 0.0, LARGEST_WEIGHT)
    metres, degrees = (
        number(entry.get(key, 0.0), f"{what}: {key}", 0.0, LARGEST_TOLERANCE)
        for key in ("tolerance_m", "tolerance_deg")
    )
    if 0.0 < weight < 1.0 / LARGEST_WEIGHT:
        raise InputRejected(f"{what}: weight is {weight:g}; 0 leaves an effector out")
    radians = np.radians(degrees)
    made = []
    try:
        if "position" in entry:
            made.append(position(joint, point_of(entry, "position", what, z_up), tolerance=metres, weight=weight))
        matrix = rotation_of(entry, what, z_up)
        if matrix is not None:
            made.append(rotation(joint, matrix, tolerance=radians, weight=weight))
        if "look_at" in entry:
            ahead = {"direction": point_of(entry, "direction", what, z_up)} if "direction" in entry else {}
            target = point_of(entry, "look_at", what, z_up)
            made.append(look_at(joint, target, tolerance=radians, weight=weight, **ahead))
    except InputRejected as error:
        raise InputRejected(error.reason if error.reason.startswith(what) else f"{what}: {error.reason}") from error
    return made


def point_of(entry: Mapping[str, Any], key: str, what: str, z_up: bool) -> list[float]:
    """A point or direction [3], turned to the Y-up world.

    Raises:
        InputRejected: It is none, or too far away.
    """
    largest = LARGEST_M if key in ("position", "offset") else LARGEST_LOOK_M
    point = numbers(entry[key], (3,), f"{what}: {key}", largest)
    return (yup_from_zup_points(point) if z_up else point).tolist()


def rotation_of(entry: Mapping[str, Any], what: str, z_up: bool) -> np.ndarray | None:
    """The rotation [3, 3] that an entry asks for in the Y-up world, or ``None``.

    Raises:
        InputRejected: It gives two, or a quaternion of no length.
    """
    if "rotation_deg" in entry and "rotation_wxyz" in entry:
        raise InputRejected(f"{what} gives two rotations; leave out rotation_deg or rotation_wxyz")
    if "rotation_deg" in entry:
        matrix = matrix_from_rotvec(
            np.radians(numbers(entry["rotation_deg"], (3,), f"{what}: rotation_deg", LARGEST_DEG))
        )
    elif "rotation_wxyz" in entry:
        quat = numbers(entry["rotation_wxyz"], (4,), f"{what}: rotation_wxyz", 1e6)
        if np.linalg.norm(quat) < 1e-6:
            raise InputRejected(f"{what}: rotation_wxyz has no length")
        matrix = matrix_from_quat_wxyz(quat)
    else:
        return None
    if not z_up:
        return matrix
    # The T-pose is none in both worlds, so that the axes turn on both sides.
    return yup_from_zup_rotations(matrix) @ yup_from_zup_rotations(np.eye(3)).T
