"""How a rig's joints are used for skinning: public joints first, then twist helpers, everything else folded away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.rig.rig import Rig, SkinnedMesh

INFLUENCE_COUNT = 8
"""Joints that may move one vertex; SOMA-X keeps the 8 largest weights and renormalises them."""


@dataclass(frozen=True, eq=False)
class JointLayout:
    """The skinned joints of a rig: its P public joints and, with twist on, its H helpers.

    Attributes:
        joint_names: P + H names.
        public_count: P.
        parents: [P] int32, nearest public ancestor; -1 for the root.
        helper_parents: [H] int32, public parent of each helper.
        bind_T_world_joint: [P + H, 4, 4] m, the template's bind pose.
        rest_T_world_joint: [P, 4, 4] m, the template's T-pose.
        slots: [rig joints] int32: the skinned joint that each joint of the rig moves with.
        twisted: Whether helpers are used.
    """

    joint_names: tuple[str, ...]
    public_count: int
    parents: np.ndarray
    helper_parents: np.ndarray
    bind_T_world_joint: np.ndarray
    rest_T_world_joint: np.ndarray
    slots: np.ndarray
    twisted: bool

    def index(self, name: str) -> int:
        """Index of a skinned joint.

        Raises:
            RigMismatch: There is no such joint.
        """
        if name not in self.joint_names:
            raise RigMismatch(f"the twist table names {name!r}, which is neither a public joint nor a twist helper")
        return self.joint_names.index(name)

    def public_index(self, name: str) -> int:
        """Index of a public joint.

        Raises:
            RigMismatch: The joint is not public.
        """
        index = self.index(name)
        if index >= self.public_count:
            raise RigMismatch(f"the twist table uses {name!r} where a public joint is needed")
        return index


def joint_layout(rig: Rig, *, twist: bool) -> JointLayout:
    """Lay out the joints of a rig.

    Args:
        rig: The rig; every joint that is neither public nor a helper moves rigidly with its nearest ancestor that is.
        twist: Keep the helpers; otherwise they are folded into their public parents like any other joint.

    Raises:
        RigMismatch: Twist is asked of a rig without helpers, the first public joint is not the root, a public joint
            precedes its parent, or a helper hangs below another helper.
    """
    if twist and rig.twist is None:
        raise RigMismatch("the rig has no twist table; pose it with twist=False")
    helpers = rig.twist.joint_names if twist and rig.twist is not None else ()
    names = (*rig.public_joint_names, *helpers)
    public_count = len(rig.public_joint_names)
    slot_of_name = {name: slot for slot, name in enumerate(names)}
    slots = np.full(rig.skeleton.joint_count, -1, dtype=np.int32)
    parent_slots = np.full(rig.skeleton.joint_count, -1, dtype=np.int32)
    for joint, name in enumerate(rig.skeleton.joint_names):
        parent = rig.skeleton.parent_indices[joint]
        parent_slots[joint] = slots[parent] if parent >= 0 else -1
        slots[joint] = slot_of_name.get(name, int(parent_slots[joint]))
    if (slots < 0).any():
        orphan = rig.skeleton.joint_names[int(np.argmax(slots < 0))]
        raise RigMismatch(f"the joint {orphan!r} has no public joint above it")
    rows = np.array([rig.skeleton.index(name) for name in names])
    parents = parent_slots[rows]
    _check_tree(names, parents, public_count)
    return JointLayout(
        joint_names=names,
        public_count=public_count,
        parents=parents[:public_count].copy(),
        helper_parents=parents[public_count:].copy(),
        bind_T_world_joint=rig.skeleton.bind_T_world_joint[rows],
        rest_T_world_joint=rig.skeleton.rest_T_world_joint[rows[:public_count]],
        slots=slots,
        twisted=twist,
    )


def _check_tree(names: tuple[str, ...], parents: np.ndarray, public_count: int) -> None:
    """Refuse orders that the kinematics cannot walk in one pass."""
    if parents[0] != -1 or parents[1] != 0 or (parents[2:public_count] < 1).any():
        raise RigMismatch(f"{names[0]!r} must be the root and {names[1]!r} the only joint below it")
    for slot in range(1, public_count):
        if parents[slot] >= slot:
            raise RigMismatch(f"the public joint {names[slot]!r} precedes its parent {names[parents[slot]]!r}")
    for slot in range(public_count, len(names)):
        if parents[slot] >= public_count:
            raise RigMismatch(f"the helper {names[slot]!r} hangs below the helper {names[parents[slot]]!r}")


def top_influences(mesh: SkinnedMesh, layout: JointLayout) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The joints that move each vertex: the 8 largest weights, renormalised, as compressed rows.

    With helpers the 8 are chosen among the rig's joints (SOMA-X skins with the expanded rig); without, among the
    public joints after folding. Then weights of joints that move together are merged.

    Args:
        mesh: V vertices with K weights each.
        layout: Where the joints of the mesh go.

    Returns:
        Row offsets [V + 1] int32, skinned joints [E] int32, weights [E] float64 with rows that sum to 1.

    Raises:
        RigMismatch: A vertex has no positive weight.
    """
    count = mesh.vertex_count
    weights = np.where(mesh.joint_weights > 0.0, mesh.joint_weights, 0.0)
    joints = mesh.joint_indices
    if not layout.twisted:
        joints, weights = _merged(layout.slots[joints], weights)
    order = np.argsort(-weights, axis=1, kind="stable")[:, :INFLUENCE_COUNT]
    weights = np.take_along_axis(weights, order, axis=1)
    joints = np.take_along_axis(joints, order, axis=1)
    if layout.twisted:
        joints, weights = _merged(layout.slots[joints], weights)
    total = weights.sum(axis=1)
    if (total <= 0.0).any():
        raise RigMismatch(f"mesh {mesh.name}: vertex {int(np.argmin(total))} has no skin weight")
    used = weights > 0.0
    offsets = np.zeros(count + 1, dtype=np.int32)
    np.cumsum(used.sum(axis=1), out=offsets[1:])
    return offsets, joints[used].astype(np.int32), (weights / total[:, None])[used]


def _merged(joints: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Add up the weights [V, K] of equal joints within each row; all but the first of them become 0."""
    merged = weights.copy()
    for slot in range(1, joints.shape[1]):
        open_rows = np.ones(len(joints), dtype=bool)
        for earlier in range(slot):
            same = open_rows & (joints[:, slot] == joints[:, earlier]) & (merged[:, slot] > 0.0)
            merged[same, earlier] += merged[same, slot]
            merged[same, slot] = 0.0
            open_rows &= ~same
    return joints, merged
