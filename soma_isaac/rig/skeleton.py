"""The public SOMA skeleton: 78 joints in their fixed order, and its kinematics in the T-pose-relative convention.

Joint 0, ``Root``, is a dummy at the origin. Poses hold the other 77 joints (``POSE_JOINT_NAMES``); entry 0 is ``Hips``.
Rotations are relative to the T-pose and expressed in world-aligned axes, so zero pose means T-pose
(SOMA-X ``absolute_pose=False``; Kimodo's ``global_rot_mats`` are the products of these along the chain).
"""

from __future__ import annotations

import functools
import importlib.resources
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.math.arrays import frozen_array

_FINGERS = {
    "Thumb": ("1", "2", "3", "End"),
    "Index": ("1", "2", "3", "4", "End"),
    "Middle": ("1", "2", "3", "4", "End"),
    "Ring": ("1", "2", "3", "4", "End"),
    "Pinky": ("1", "2", "3", "4", "End"),
}


def _joint_table() -> tuple[tuple[str, ...], tuple[int, ...]]:
    names: list[str] = []
    parents: list[int] = []

    def add(name: str, parent: str | None) -> None:
        parents.append(-1 if parent is None else names.index(parent))
        names.append(name)

    add("Root", None)
    for name, parent in (
        ("Hips", "Root"),
        ("Spine1", "Hips"),
        ("Spine2", "Spine1"),
        ("Chest", "Spine2"),
        ("Neck1", "Chest"),
        ("Neck2", "Neck1"),
        ("Head", "Neck2"),
        ("HeadEnd", "Head"),
        ("Jaw", "Head"),
        ("LeftEye", "Head"),
        ("RightEye", "Head"),
    ):
        add(name, parent)
    for side in ("Left", "Right"):
        for name, parent in (("Shoulder", "Chest"), ("Arm", "Shoulder"), ("ForeArm", "Arm"), ("Hand", "ForeArm")):
            add(side + name, parent if parent == "Chest" else side + parent)
        for finger, segments in _FINGERS.items():
            parent = f"{side}Hand"
            for segment in segments:
                add(f"{side}Hand{finger}{segment}", parent)
                parent = f"{side}Hand{finger}{segment}"
    for side in ("Left", "Right"):
        for name, parent in (
            ("Leg", "Hips"),
            ("Shin", "Leg"),
            ("Foot", "Shin"),
            ("ToeBase", "Foot"),
            ("ToeEnd", "ToeBase"),
        ):
            add(side + name, parent if parent == "Hips" else side + parent)
    return tuple(names), tuple(parents)


PUBLIC_JOINT_NAMES, PUBLIC_PARENTS = _joint_table()
"""The 78 public joints and their parents' indices (-1 for ``Root``); parents always precede children."""

POSE_JOINT_NAMES = PUBLIC_JOINT_NAMES[1:]
"""The 77 joints that a pose holds, ``Hips`` first."""

POSE_PARENTS = tuple(parent - 1 for parent in PUBLIC_PARENTS[1:])
"""Parents of the 77 pose joints as indices into the 77 (-1 for ``Hips``)."""


@dataclass(frozen=True, eq=False)
class Skeleton:
    """A joint tree with its bind pose and its T-pose.

    Attributes:
        joint_names: J unique names; parents precede children.
        parent_indices: [J] int32; -1 for the root.
        bind_T_world_joint: [J, 4, 4] column-vector transforms, translations in m.
        rest_T_world_joint: [J, 4, 4] the T-pose, same convention.
    """

    joint_names: tuple[str, ...]
    parent_indices: np.ndarray
    bind_T_world_joint: np.ndarray
    rest_T_world_joint: np.ndarray

    def __post_init__(self) -> None:
        """Check counts, names and topological order.

        Raises:
            RigMismatch: Names repeat, or a parent does not precede its child.
            InputRejected: An array has another shape or is not finite.
        """
        count = len(self.joint_names)
        if len(set(self.joint_names)) != count:
            raise RigMismatch("joint names of a skeleton must be unique")
        object.__setattr__(
            self, "parent_indices", frozen_array("parent_indices", self.parent_indices, (count,), np.int32)
        )
        for field in ("bind_T_world_joint", "rest_T_world_joint"):
            object.__setattr__(self, field, frozen_array(field, getattr(self, field), (count, 4, 4)))
        if any(parent >= joint or parent < -1 for joint, parent in enumerate(self.parent_indices)):
            raise RigMismatch("a skeleton's parents must precede their children")

    @property
    def joint_count(self) -> int:
        """Number of joints J."""
        return len(self.joint_names)

    def index(self, name: str) -> int:
        """Index of the joint ``name``.

        Raises:
            RigMismatch: There is no such joint; the message lists near names.
        """
        try:
            return self.joint_names.index(name)
        except ValueError:
            near = [other for other in self.joint_names if name.lower() in other.lower()] or self.joint_names[:12]
            raise RigMismatch(f"no joint named {name!r}; there are {', '.join(near)}") from None


@functools.lru_cache(maxsize=1)
def template_rest_offsets() -> np.ndarray:
    """T-pose offsets [78, 3] m of the template body, each from its parent joint, in world-aligned axes.

    Row 1 (``Hips``) is the T-pose Hips position above the floor. Read from ``data/SOMA_skeleton.json``, which
    ``scripts/build_template_rig.py`` writes together with the template rig.
    """
    return frozen_array("rest_offsets", _template_record()["rest_offsets_m"], (78, 3))


@functools.lru_cache(maxsize=1)
def template_rest_rotations() -> np.ndarray:
    """T-pose world orientations ``O_j`` [78, 3, 3] of the template's joints: columns are local axes in the world."""
    from soma_isaac.math.so3 import matrix_from_quat_xyzw  # scipy: the commands start without it

    quats_xyzw = frozen_array("rest_rotations", _template_record()["rest_rotations_world_xyzw"], (78, 4))
    return frozen_array("rest_rotations", matrix_from_quat_xyzw(quats_xyzw), (78, 3, 3))


def _template_record() -> dict[str, list]:
    record = json.loads(data_path("SOMA_skeleton.json").read_text(encoding="utf-8"))
    if tuple(record["joint_names"]) != PUBLIC_JOINT_NAMES:
        raise RigMismatch("data/SOMA_skeleton.json does not list the 78 public joints in their order")
    return record


def data_path(name: str) -> Path:
    """Path of a file that ships with soma_isaac, in a checkout (``data/``) or in an installed wheel."""
    packaged = Path(str(importlib.resources.files("soma_isaac"))) / "data" / name
    return packaged if packaged.exists() else Path(__file__).resolve().parents[2] / "data" / name


def forward_kinematics(
    rotations: np.ndarray, root_translation: np.ndarray, rest_offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Joint positions and T-pose-relative world rotations of a pose.

    Args:
        rotations: [T, 77, 3, 3] T-pose-relative local rotations.
        root_translation: [T, 3] m, Hips in the world.
        rest_offsets: [78, 3] m, T-pose offsets from the parent in world-aligned axes.

    Returns:
        Positions [T, 77, 3] m and world rotations [T, 77, 3, 3] (identity in the T-pose). With
        ``G_j = G_parent R_j`` and ``p_j = p_parent + G_parent o_j``: because ``R_j`` is world-aligned at the T-pose,
        this equals the rig's own kinematics ``W_j = W_parent [O_p^T R_j O_j, t_j]``.
    """
    world = np.empty_like(rotations)
    positions = np.empty(rotations.shape[:2] + (3,), dtype=rotations.dtype)
    for joint, parent in enumerate(POSE_PARENTS):
        if parent < 0:
            world[:, joint] = rotations[:, joint]
            positions[:, joint] = root_translation
        else:
            world[:, joint] = world[:, parent] @ rotations[:, joint]
            positions[:, joint] = positions[:, parent] + world[:, parent] @ rest_offsets[joint + 1]
    return positions, world
