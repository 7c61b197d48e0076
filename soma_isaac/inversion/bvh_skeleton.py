"""What a BVH skeleton is made of: unit, T-pose, and the person's bones as offsets of the SOMA skeleton."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import BvhClip
from soma_isaac.inversion.bvh_names import BvhFamily
from soma_isaac.math.so3 import shortest_arc
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS, PUBLIC_JOINT_NAMES, template_rest_offsets

UNITS_M = {"m": 1.0, "cm": 0.01, "mm": 0.001, "inch": 0.0254, "CMU unit (1/0.45 inch)": 0.0254 / 0.45}
LEG_RANGE_M = (0.45, 1.25)
"""Hip to ankle: from a child of five to a person of 2.3 m."""

_LIMBS = tuple(
    (side + joint, side + child)
    for side in ("Left", "Right")
    for joint, child in (("Leg", "Shin"), ("Shin", "Foot"), ("Arm", "ForeArm"), ("ForeArm", "Hand"))
)
_LEVEL = np.array([1.0, 0.0, 1.0])
LARGEST_FIT_ERROR = np.radians(70.0)
BONE_CHANGE = 0.01
"""Share of the longest bone by which animated offsets may vary before it is noted."""


@dataclass(frozen=True, eq=False)
class BvhTPose:
    """The T-pose of a file's skeleton, seen from the person (x left, y up, z ahead).

    Attributes:
        axes: [J, 3, 3] columns are the axes of each joint of the file.
        bones: [J, 3] offset of each joint from its parent, file unit.
        error: Largest angle [rad] between a limb in it and in SOMA's T-pose.
        what: How it was found.
        exact: Whether it is SOMA's own T-pose, so that limbs need no turn.
    """

    axes: np.ndarray
    bones: np.ndarray
    error: float
    what: str
    exact: bool


def decide_unit(leg: float) -> tuple[float, str]:
    """Unit of a file from the length of its legs.

    Args:
        leg: Hip to ankle along the bones, file unit, mean of both sides.

    Returns:
        Metres per unit, and a note that names the unit.

    Raises:
        InputRejected: In none of the units are these a person's legs.
    """
    template = template_rest_offsets()
    usual = sum(np.linalg.norm(template[PUBLIC_JOINT_NAMES.index(name)]) for name in ("LeftShin", "LeftFoot"))
    fits = {name: metres for name, metres in UNITS_M.items() if LEG_RANGE_M[0] <= leg * metres <= LEG_RANGE_M[1]}
    if not fits:
        raise InputRejected(f"has legs of {leg:.4g} units from hip to ankle, no person's in {', '.join(UNITS_M)}")
    name = min(fits, key=lambda unit: abs(np.log(leg * fits[unit] / usual)))
    return fits[name], f"unit decided to be {name}: the legs are {leg * fits[name]:.3f} m from hip to ankle"


def bone_offsets(clip: BvhClip, hips: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Local offsets of a file's joints, file unit.

    Args:
        clip: The file.
        hips: Index of the hips; at and above them, positions are where the person is, not bones.

    Returns:
        Offsets [J, 3]: OFFSET, or where positions are animated their median over the clip, and a note if they vary.
    """
    offsets = np.array(clip.offsets)
    above = {hips}
    while (parent := int(clip.parent_indices[min(above)])) >= 0:
        above.add(parent)
    change, where = 0.0, ""
    for slot, joint in enumerate(clip.positioned_joints.tolist()):
        if joint in above:
            continue
        offsets[joint] = np.median(clip.positions[:, slot], axis=0)
        moved = float(np.linalg.norm(clip.positions[:, slot] - offsets[joint], axis=1).max())
        if moved > change:
            change, where = moved, clip.joint_names[joint]
    bones = np.delete(offsets, sorted(above), axis=0)
    if change > BONE_CHANGE * float(np.linalg.norm(bones, axis=1).max(initial=0.0)):
        return offsets, (f"the file animates bone offsets (up to {change:.3g} units at {where}); medians are used",)
    return offsets, ()


def leg_length(clip: BvhClip, matched: Mapping[str, int], offsets: np.ndarray) -> float:
    """Length of hip to knee to ankle in the file's unit, mean of both legs."""
    length = 0.0
    for side in ("Left", "Right"):
        for joint, ancestor in (("Foot", "Shin"), ("Shin", "Leg")):
            length += float(np.linalg.norm(_chain_sum(clip, matched[side + joint], matched[side + ancestor], offsets)))
    return length / 2.0


def _chain_sum(clip: BvhClip, joint: int, ancestor: int, vectors: np.ndarray) -> np.ndarray:
    """Sum of ``vectors`` [J, 3] from below ``ancestor`` down to ``joint``.

    Raises:
        InputRejected: ``joint`` does not hang below ``ancestor``.
    """
    total, walk = np.zeros(3), joint
    while walk != ancestor:
        if walk < 0:
            below, above = clip.joint_names[joint], clip.joint_names[ancestor]
            raise InputRejected(f"has {below} elsewhere than below {above}: not a person's skeleton")
        total = total + vectors[walk]
        walk = int(clip.parent_indices[walk])
    return total


def t_pose(clip: BvhClip, family: BvhFamily, matched: Mapping[str, int], offsets: np.ndarray) -> BvhTPose:
    """The better of the family's own axes and the zero pose as T-pose.

    Raises:
        InputRejected: In neither do the limbs point roughly where they do in a T-pose.
    """
    candidates = [(_zero_pose_axes(clip, matched, offsets), "its zero pose is taken for the T-pose", family.exact)]
    if family.axes is not None:
        axes = np.tile(np.eye(3), (len(clip.joint_names), 1, 1))
        known = {index: family.axes[joint] for joint, index in matched.items() if joint in family.axes}
        for joint, parent in enumerate(clip.parent_indices):
            axes[joint] = known.get(joint, axes[parent] if parent >= 0 else np.eye(3))
        candidates.append((axes, "the joints' axes in the T-pose are the family's", family.exact))
    poses = []
    for axes, what, exact in candidates:
        bones = np.array(offsets)
        inner = np.flatnonzero(clip.parent_indices >= 0)
        bones[inner] = np.einsum("jab,jb->ja", axes[clip.parent_indices[inner]], offsets[inner])
        poses.append(BvhTPose(axes, bones, _fit_error(clip, matched, bones), what, exact))
    best = min(poses, key=lambda pose: pose.error)
    if best.error > LARGEST_FIT_ERROR:
        raise InputRejected(
            f"has a zero pose whose limbs are up to {np.degrees(best.error):.0f} deg off a T-pose, and axes that are "
            f"not the {family.name} family's: the rotations cannot be interpreted"
        )
    return best


def _fit_error(clip: BvhClip, matched: Mapping[str, int], bones: np.ndarray) -> float:
    """Largest angle [rad] between a limb of the file's T-pose and SOMA's."""
    template, worst = template_rest_offsets(), 0.0
    for joint, child in _LIMBS:
        bone = _chain_sum(clip, matched[child], matched[joint], bones)
        rest = template[PUBLIC_JOINT_NAMES.index(child)]
        scale = np.linalg.norm(bone) * np.linalg.norm(rest)
        if scale == 0.0:
            raise InputRejected(f"has no length from {clip.joint_names[matched[joint]]} to its child")
        worst = max(worst, float(np.arccos(np.clip(bone @ rest / scale, -1.0, 1.0))))
    return worst


def _zero_pose_axes(clip: BvhClip, matched: Mapping[str, int], offsets: np.ndarray) -> np.ndarray:
    """Axes [J, 3, 3] if the zero pose were a T-pose: all alike, turned as hips and spine say, by quarter turns."""
    hips = matched["Hips"]
    left = _chain_sum(clip, matched["LeftLeg"], hips, offsets) - _chain_sum(clip, matched["RightLeg"], hips, offsets)
    up = _chain_sum(clip, matched["Head"], hips, offsets)
    person = np.stack([left, up, np.cross(left, up)])
    length = np.linalg.norm(person, axis=1, keepdims=True)
    if length.min() < 1e-9 * max(1.0, float(length.max())):
        raise InputRejected("has hips or a spine without extent")
    person /= length
    best, axes = -np.inf, np.eye(3)
    for first in range(3):
        for second in {0, 1, 2} - {first}:
            for signs in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
                rows = np.zeros((3, 3))
                rows[0, first], rows[1, second] = signs
                rows[2] = np.cross(rows[0], rows[1])
                if (score := float((rows * person).sum())) > best:
                    best, axes = score, rows
    return np.tile(axes, (len(clip.joint_names), 1, 1))


def rest_turns(pose: BvhTPose, matched: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Constants ``C_j`` [3, 3] by SOMA joint: from the SOMA T-pose bone to the file's."""
    if pose.exact:
        return {}
    template, turns = template_rest_offsets(), {}

    def rest(name: str) -> np.ndarray:
        return template[PUBLIC_JOINT_NAMES.index(name)]

    for joint, child in _LIMBS:
        turns[joint] = shortest_arc(rest(child), pose.bones[matched[child]])
    for side in ("Left", "Right"):
        turns[f"{side}Hand"] = turns[f"{side}ForeArm"]
        toe = f"{side}ToeBase"
        ahead = pose.bones[matched[toe]] * _LEVEL if toe in matched else np.zeros(3)
        # Soles are level in both T-poses: feet are turned about the vertical only.
        if np.linalg.norm(ahead) > 0.0 and ahead[2] > 0.0:
            turns[f"{side}Foot"] = turns[toe] = shortest_arc(rest(toe) * _LEVEL, ahead)
    return turns


def rest_offsets(
    clip: BvhClip, matched: Mapping[str, int], pose: BvhTPose, turns: Mapping[str, np.ndarray], metres: float
) -> np.ndarray:
    """T-pose offsets [78, 3] m of the person: the file's bones, the template's where it has none."""
    template = template_rest_offsets()
    parents = dict(zip(POSE_JOINT_NAMES, POSE_PARENTS, strict=True))
    sizes = [
        np.linalg.norm(_chain_sum(clip, matched[child], matched[joint], pose.bones))
        * metres
        / np.linalg.norm(template[PUBLIC_JOINT_NAMES.index(child)])
        for joint, child in _LIMBS
    ]
    offsets = template * float(np.mean(sizes))
    offsets[0] = 0.0
    for name in POSE_JOINT_NAMES[1:]:
        if name not in matched:
            continue
        between = [name]
        while (ancestor := POSE_JOINT_NAMES[parents[between[-1]]]) not in matched:
            between.append(ancestor)
        bone = _chain_sum(clip, matched[name], matched[ancestor], pose.bones) * metres
        bone = turns.get(ancestor, np.eye(3)).T @ bone
        rows = [PUBLIC_JOINT_NAMES.index(joint) for joint in between]
        lengths = np.linalg.norm(template[rows], axis=1)
        offsets[rows] = lengths[:, None] / lengths.sum() * bone
    drop = [
        sum(offsets[PUBLIC_JOINT_NAMES.index(side + joint), 1] for joint in ("Leg", "Shin", "Foot", "ToeBase"))
        for side in ("Left", "Right")
    ]
    floor = _toe_height() * float(np.mean(sizes))
    offsets[1] = (0.0, floor - float(np.mean(drop)), 0.0)
    return offsets


def _toe_height() -> float:
    """Height [m] of the template's toe joints above the floor in the T-pose."""
    template = template_rest_offsets()
    return sum(
        float(template[PUBLIC_JOINT_NAMES.index(name), 1])
        for name in ("Hips", "LeftLeg", "LeftShin", "LeftFoot", "LeftToeBase")
    )
