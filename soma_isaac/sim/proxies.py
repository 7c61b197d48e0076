"""Collision capsules of a body: one per limb, between its joints, as thick as the skin around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.identity import PreparedIdentity, rigid_inverse
from soma_isaac.body.layout import top_influences
from soma_isaac.body.soma import SomaBody
from soma_isaac.errors import RigMismatch
from soma_isaac.math.so3 import quat_xyzw_from_matrix, shortest_arc

_SIDED = (
    ("UpperArm", "Arm", "ForeArm"),
    ("ForeArm", "ForeArm", "Hand"),
    ("Hand", "Hand", "HandMiddle1"),
    ("Thigh", "Leg", "Shin"),
    ("Shin", "Shin", "Foot"),
    ("Foot", "Foot", "ToeEnd"),
)
LIMBS: tuple[tuple[str, str, str], ...] = (
    ("Pelvis", "Hips", "Spine1"),
    ("Waist", "Spine1", "Spine2"),
    ("Belly", "Spine2", "Chest"),
    ("Chest", "Chest", "Neck1"),
    ("Neck", "Neck1", "Head"),
    ("Head", "Head", "HeadEnd"),
    *((side + name, side + start, side + end) for side in ("Left", "Right") for name, start, end in _SIDED),
)
"""Name, joint that the capsule moves with, joint that it points to."""

_QUANTILE = 0.6


@dataclass(frozen=True, eq=False)
class LimbCapsules:
    """Capsules of I bodies.

    Attributes:
        names: [K] limbs.
        joints: [K] int32, public joint that each capsule moves with.
        offsets: [I, K, 7] position m and quaternion xyzw of the capsule in the joint's frame; its axis is z.
        radii: [I, K] m.
        half_heights: [I, K] m, half the length without the caps.
    """

    names: tuple[str, ...]
    joints: np.ndarray
    offsets: np.ndarray
    radii: np.ndarray
    half_heights: np.ndarray


def limb_capsules(body: SomaBody, identity: PreparedIdentity) -> LimbCapsules:
    """Fit capsules to the rest shape of each identity.

    A limb's skin are the vertices that its joint moves most, or a joint below it that no other limb starts from. The
    axis runs along the bone through the middle of that skin, from end to end of it. The radius is the 60 % quantile of
    the skin's distance from the axis, so that parts of it stick out a little.

    Raises:
        RigMismatch: The rig lacks a joint, or no skin follows a limb.
    """
    layout = body.layout
    offsets, joints, weights = top_influences(body.rig.mesh(body.lod), layout)
    public = {name: index for index, name in enumerate(layout.joint_names[: layout.public_count])}
    missing = [name for limb in LIMBS for name in limb[1:] if name not in public]
    if missing:
        raise RigMismatch(f"the rig lacks {missing[0]!r}, between which capsules are laid")
    ends = np.array([(public[start], public[end]) for _, start, end in LIMBS], dtype=np.int32)
    limb_of = _limb_of_joint(ends[:, 0], layout.parents)
    owner = np.concatenate([np.arange(layout.public_count), layout.helper_parents])
    limb = limb_of[owner[joints[_strongest(offsets, weights)]]]
    for index, (name, *_) in enumerate(LIMBS):
        if (limb == index).sum() < 3:
            raise RigMismatch(f"no skin follows the limb {name}")
    table = np.array(
        [
            [_capsule(points[limb == index], bind[start], bind[end]) for index, (start, end) in enumerate(ends)]
            for points, bind in zip(identity.rest_points, identity.bind_T_world_joint, strict=True)
        ]
    )
    return LimbCapsules(
        names=tuple(name for name, *_ in LIMBS),
        joints=ends[:, 0].copy(),
        offsets=table[..., :7],
        radii=table[..., 7],
        half_heights=table[..., 8],
    )


def _strongest(offsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Entry [V] of each vertex with the largest weight."""
    vertex = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    order = np.lexsort((-weights, vertex))
    return order[offsets[:-1]]


def _limb_of_joint(starts: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Limb [P] of each public joint: that of the nearest joint above it, or itself, that a limb starts from; or -1."""
    limb = np.full(len(parents), -1)
    for joint, parent in enumerate(parents):
        own = np.flatnonzero(starts == joint)
        limb[joint] = own[0] if own.size else (limb[parent] if parent >= 0 else -1)
    return limb


def _capsule(skin: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Offset in the start joint's frame (position, xyzw), radius and half height of one capsule."""
    axis = end[:3, 3] - start[:3, 3]
    rotation = shortest_arc(np.array([0.0, 0.0, 1.0]), axis / np.linalg.norm(axis))
    local = (skin - start[:3, 3]) @ rotation
    low, high = np.quantile(local, [0.01, 0.99], axis=0)
    centre = 0.5 * (low + high)
    radius = float(np.quantile(np.linalg.norm(local[:, :2] - centre[:2], axis=1), _QUANTILE))
    half_height = max(0.5 * (high[2] - low[2]) - radius, 0.0)
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = rotation, start[:3, 3] + rotation @ centre
    offset = rigid_inverse(start) @ world
    return np.array([*offset[:3, 3], *quat_xyzw_from_matrix(offset[:3, :3]), radius, half_height])
