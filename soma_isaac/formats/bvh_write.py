"""BVH clips as text: what :func:`soma_isaac.formats.bvh.parse_bvh` reads back."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.spatial.transform import Rotation

from soma_isaac.formats.bvh import BvhClip

ORDER = "ZXY"
_DIGITS = 9


def bvh_bytes(clip: BvhClip) -> bytes:
    """Encode a clip: the same skeleton, rotations as Z, X, Y angles, positions where the clip has them.

    Reading the bytes gives the joint names, offsets, positions and rotations again, to nine decimals.
    """
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(clip.parent_indices.tolist()):
        children.setdefault(parent, []).append(joint)
    order: list[int] = []
    lines = ["HIERARCHY"]
    for root in children.get(-1, []):
        _write_joint(clip, root, 0, children, order, lines)
    lines += ["MOTION", f"Frames: {clip.frame_count}", f"Frame Time: {1.0 / clip.fps:.9g}"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # gimbal lock: one of the many triples is as good as another
        angles = Rotation.from_matrix(clip.rotations.reshape(-1, 3, 3)).as_euler(ORDER, degrees=True)
    angles = angles.reshape(clip.frame_count, -1, 3)
    slots = {int(joint): slot for slot, joint in enumerate(clip.positioned_joints)}
    columns = []
    for joint in order:
        if joint in slots:
            columns.append(clip.positions[:, slots[joint]])
        columns.append(angles[:, joint])
    values = np.round(np.concatenate(columns, axis=1), _DIGITS) + 0.0
    lines += [" ".join(f"{value:.{_DIGITS}f}" for value in row) for row in values]
    return ("\n".join(lines) + "\n").encode()


def _write_joint(
    clip: BvhClip, joint: int, depth: int, children: dict[int, list[int]], order: list[int], lines: list[str]
) -> None:
    order.append(joint)
    tab, inner = "\t" * depth, "\t" * (depth + 1)
    rotations = " ".join(f"{axis}rotation" for axis in ORDER)
    channels = f"CHANNELS 3 {rotations}"
    if joint in clip.positioned_joints:
        channels = f"CHANNELS 6 Xposition Yposition Zposition {rotations}"
    lines += [f"{tab}{'ROOT' if depth == 0 else 'JOINT'} {clip.joint_names[joint]}", f"{tab}{{"]
    lines += [f"{inner}OFFSET {_vector(clip.offsets[joint])}", f"{inner}{channels}"]
    for child in children.get(joint, []):
        _write_joint(clip, child, depth + 1, children, order, lines)
    for end in np.flatnonzero(clip.end_parents == joint):
        lines += [f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {_vector(clip.end_offsets[end])}", f"{inner}}}"]
    lines.append(f"{tab}}}")


def _vector(values: np.ndarray) -> str:
    return " ".join(f"{value:.{_DIGITS}g}" for value in values)
