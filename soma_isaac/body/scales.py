"""Bone scales of SOMA's own identities, and the overall scale of any identity.

A bone scale stretches a joint's distance from its parent when posing: ``LeftForeArm = 1.5`` makes the upper arm half as
long again. The skin is not fitted anew, linear blend skinning stretches it between the joints.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.errors import InputRejected
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS
from soma_isaac.rig.twist import TwistTable


def _scaled_joints() -> tuple[str, ...]:
    names: list[str] = []
    for side in ("Left", "Right"):
        names += [f"{side}Arm", f"{side}ForeArm", f"{side}Hand"]
        names += [name for name in PUBLIC_JOINT_NAMES if name.startswith(f"{side}Hand") and name != f"{side}Hand"]
    names += [side + joint for joint in ("Shin", "Foot", "ToeBase") for side in ("Left", "Right")]
    return tuple(names)


BONE_SCALE_JOINTS = _scaled_joints()
"""The 60 joints that a bone scale belongs to, in SOMA-X's order (0.3)."""

BONE_SCALE_JOINTS_56 = BONE_SCALE_JOINTS[:56]
"""The 56 of SOMA-X before 0.3: without feet and toes."""

BONE_SCALE_SEGMENTS = tuple(
    (PUBLIC_JOINT_NAMES[PUBLIC_PARENTS[PUBLIC_JOINT_NAMES.index(name)]], name) for name in BONE_SCALE_JOINTS
)
"""(parent, joint) of each bone scale: the bone that it stretches."""

_SLOTS = np.array([PUBLIC_JOINT_NAMES.index(name) for name in BONE_SCALE_JOINTS])


def joint_scales(bone_scales: ArrayLike | None) -> np.ndarray:
    """Scale of every public joint's distance from its parent [B, 78]; 1 for joints without a bone scale.

    Args:
        bone_scales: [B, 60] or [B, 56] in the order of :data:`BONE_SCALE_JOINTS`, positive; ``None`` is [1, 60] ones.

    Raises:
        InputRejected: The shape is another, or a value is not a positive finite number.
    """
    if bone_scales is None:
        return np.ones((1, len(PUBLIC_JOINT_NAMES)))
    values = np.asarray(bone_scales, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] not in (len(BONE_SCALE_JOINTS), len(BONE_SCALE_JOINTS_56)):
        raise InputRejected(f"bone scales have shape {values.shape}, expected (B, 60) or (B, 56)")
    _check_positive("bone scales", values)
    scales = np.ones((len(values), len(PUBLIC_JOINT_NAMES)))
    scales[:, _SLOTS[: values.shape[1]]] = values
    return scales


def helper_scales(scales: np.ndarray, twist: TwistTable) -> np.ndarray:
    """Scale [B, H] of each twist helper's distance from its parent: that of the joint at its segment's end.

    Args:
        scales: [B, 78], from :func:`joint_scales`.
        twist: The helpers' table; H helpers in its order.
    """
    ends = [PUBLIC_JOINT_NAMES.index(segment.end_joint) for segment in twist.segments for _ in segment.twist_joints]
    return scales[:, ends]


def global_scales(global_scale: ArrayLike, count: int) -> np.ndarray:
    """Overall scale of each of ``count`` identities [count].

    Args:
        global_scale: A positive number, or [count].
        count: Number of identities.

    Raises:
        InputRejected: The shape is another, or a value is not a positive finite number.
    """
    values = np.asarray(global_scale, dtype=np.float64)
    if values.shape not in ((), (1,), (count,)):
        raise InputRejected(f"global_scale has shape {values.shape}, expected a number or ({count},)")
    _check_positive("global_scale", values)
    return np.broadcast_to(values.reshape(-1), (count,)).copy()


def _check_positive(name: str, values: np.ndarray) -> None:
    if not (np.isfinite(values) & (values > 0.0)).all():
        raise InputRejected(f"{name} must be positive finite numbers")
