"""A foreign character's skeleton as it rests in its file: names, parents and places, whatever the format."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import frozen_array

MAX_JOINTS = 4096


@dataclass(frozen=True, eq=False)
class CharacterSkeleton:
    """Joints at rest.

    Attributes:
        joint_names: J names as in the file; they may repeat.
        parent_indices: [J] int32, -1 for roots.
        positions: [J, 3] in the file's world and unit.
        metres_per_unit: The file's unit where it states one.
        pose: What pose these are, for a note: ``restTransforms``, ``node transforms``, ...
    """

    joint_names: tuple[str, ...]
    parent_indices: np.ndarray
    positions: np.ndarray
    metres_per_unit: float | None
    pose: str

    def __post_init__(self) -> None:
        """Check counts and finiteness.

        Raises:
            InputRejected: There are no joints or too many, or an array has another shape or is not finite.
        """
        count = len(self.joint_names)
        if not 0 < count <= MAX_JOINTS:
            raise InputRejected(f"has {count} joints, expected 1 to {MAX_JOINTS}")
        for field, shape, dtype in (("parent_indices", (count,), np.int32), ("positions", (count, 3), np.float64)):
            object.__setattr__(self, field, frozen_array(field, getattr(self, field), shape, dtype))


def world_matrices(local: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """World transforms [J, 4, 4] of local ones (column vectors), parents in any order.

    Raises:
        InputRejected: The parents form a ring.
    """
    world = np.array(local, dtype=np.float64)
    for joint in parents_first(parents):
        if parents[joint] >= 0:
            world[joint] = world[parents[joint]] @ world[joint]
    return world


def parents_first(parents: np.ndarray) -> list[int]:
    """Joints in an order in which parents [J] (-1 for roots) precede children; time and memory grow with J alone.

    Raises:
        InputRejected: The parents form a ring.
    """
    children: list[list[int]] = [[] for _ in parents]
    order = []
    for joint, parent in enumerate(parents.tolist()):
        (order if parent < 0 else children[parent]).append(joint)
    for joint in order:  # grows meanwhile
        order += children[joint]
    if len(order) != len(parents):
        raise InputRejected("has joints that are their own ancestors")
    return order
