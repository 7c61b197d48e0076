"""The template rig's own facts: its twist table, its 110 joints, and the skin weights of its helpers.

Four helper joints sit on each of eight limb segments. On a ``reverse`` segment (upper arm, thigh) they cancel the twist
that the segment's start joint received, all the more the nearer they are to the torso; on the other segments they take
up the end joint's twist on the way to it.
"""

from __future__ import annotations

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.math.so3 import project_to_so3
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS, Skeleton
from soma_isaac.rig.twist import TwistSegment, TwistTable

HELPER_FRACTIONS = (0.05, 0.3333333, 0.6666667, 0.95)
WEIGHT_UNITS = 10_000_000
"""Authored weights are whole multiples of 1e-7, so that parts add up to their whole exactly."""

_MODE = "aligned_x_swing_twist"
_LIMBS = (
    ("Arm", "ForeArm", "{side}Shoulder"),
    ("ForeArm", "Hand", None),
    ("Leg", "Shin", "Hips"),
    ("Shin", "Foot", None),
)


def template_twist_table() -> TwistTable:
    """The eight segments of SOMA's v0027 rig and their parameter matrices."""
    segments, rotations, translations = [], [], []
    for side in ("Left", "Right"):
        for start, end, parent in _LIMBS:
            helpers = tuple(f"{side}{start}Twist{number}" for number in range(1, len(HELPER_FRACTIONS) + 1))
            reverse = parent is not None
            torso = None if parent is None else parent.format(side=side)
            segments.append(TwistSegment(side + start, side + end, torso, helpers, reverse))
            for helper, fraction in zip(helpers, HELPER_FRACTIONS, strict=True):
                rest = round(1.0 - fraction, 7)
                if reverse:
                    rotations.append((helper, side + start, -rest))
                rotations.append((helper, side + end, fraction))
                translations += [(helper, side + start, rest), (helper, side + end, fraction)]
    modes = {helper: _MODE for segment in segments for helper in segment.twist_joints}
    return TwistTable(tuple(segments), modes, tuple(rotations), tuple(translations))


def skeleton_with_helpers(bind: np.ndarray, rest: np.ndarray, twist: TwistTable) -> Skeleton:
    """The 78 public joints followed by the helpers of ``twist``.

    A helper has its start joint's rotation and stands at its translation entries' weighted mean, in both poses.

    Args:
        bind: [78, 4, 4] bind pose in the world, column vectors, m.
        rest: [78, 4, 4] T-pose, same convention.
        twist: Segments between public joints.
    """
    names = PUBLIC_JOINT_NAMES + twist.joint_names
    parents = list(PUBLIC_PARENTS) + [
        PUBLIC_JOINT_NAMES.index(segment.start_joint) for segment in twist.segments for _ in segment.twist_joints
    ]
    poses = []
    for public in (bind, rest):
        world = np.concatenate([public, public[parents[len(PUBLIC_JOINT_NAMES) :]]])
        world[:, :3, :3] = project_to_so3(world[:, :3, :3])
        for helper in twist.joint_names:
            world[names.index(helper), :3, 3] = 0.0
        for helper, joint, weight in twist.translation_entries:
            world[names.index(helper), :3, 3] += weight * world[names.index(joint), :3, 3]
        poses.append(world)
    return Skeleton(names, np.array(parents), poses[0], poses[1])


def segment_fractions(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Where points [V, 3] project on the segment from ``start`` to ``end`` [3]: 0 at its start, 1 at its end."""
    axis = end - start
    return (points - start) @ axis / (axis @ axis)


def helper_shares(fractions: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Piecewise linear partition of unity [V, K]: share k is 1 at ``knots[k]``, 0 at and beyond its neighbours.

    The first and last shares stay 1 outside the knots.
    """
    below = np.clip(np.searchsorted(knots, fractions, side="right") - 1, 0, len(knots) - 2)
    blend = np.clip((fractions - knots[below]) / (knots[below + 1] - knots[below]), 0.0, 1.0)
    shares = np.zeros((len(fractions), len(knots)))
    rows = np.arange(len(fractions))
    shares[rows, below] = 1.0 - blend
    shares[rows, below + 1] += blend
    return shares


def split_helper_weights(points: np.ndarray, weights: np.ndarray, skeleton: Skeleton, twist: TwistTable) -> np.ndarray:
    """Split the weights of each segment's start joint between that joint and its helpers.

    Along a segment the twist is linear in the fraction. On a plain segment the start joint itself is its value at 0, so
    it keeps the share up to the first helper; on a reverse segment it carries the full twist and is no point of that
    line, so that its helpers take all of it.

    Args:
        points: [V, 3] m, bind pose.
        weights: [V, 78] rows sum to 1 within float32 rounding.
        skeleton: Public joints followed by the helpers.
        twist: The segments; helper fractions come from the translation entries of their end joints.

    Returns:
        Weights [V, J], whole multiples of 1e-7 with rows that sum to 1; folding each helper onto its parent gives
        ``weights`` back to 1e-7.
    """
    whole = _in_units(weights)
    result = np.zeros((len(points), skeleton.joint_count), dtype=np.int64)
    result[:, : whole.shape[1]] = whole
    fraction_of = {(helper, joint): weight for helper, joint, weight in twist.translation_entries}
    for segment in twist.segments:
        start, end = skeleton.index(segment.start_joint), skeleton.index(segment.end_joint)
        knots = [fraction_of[helper, segment.end_joint] for helper in segment.twist_joints]
        joints = [skeleton.index(helper) for helper in segment.twist_joints]
        if not segment.reverse:
            knots, joints = [0.0, *knots], [start, *joints]
        rows = np.flatnonzero(whole[:, start])
        position = skeleton.bind_T_world_joint[:, :3, 3]
        shares = helper_shares(segment_fractions(points[rows], position[start], position[end]), np.array(knots))
        parts = np.floor(shares * whole[rows, start, None] + 0.5).astype(np.int64)
        largest = np.argmax(shares, axis=1)
        parts[np.arange(len(rows)), largest] += whole[rows, start] - parts.sum(axis=1)
        result[rows, start] = 0
        result[rows[:, None], joints] = parts
    return result / WEIGHT_UNITS


def _in_units(weights: np.ndarray) -> np.ndarray:
    units = np.rint(weights * WEIGHT_UNITS).astype(np.int64)
    difference = WEIGHT_UNITS - units.sum(axis=1)
    if np.abs(difference).max(initial=0) > 100:
        raise RigMismatch(f"skin weights of vertex {int(np.abs(difference).argmax())} do not sum to 1")
    units[np.arange(len(units)), np.argmax(units, axis=1)] += difference
    return units


def fold_helper_weights(weights: np.ndarray, skeleton: Skeleton, kept_joint_names: tuple[str, ...]) -> np.ndarray:
    """Weights [V, len(kept)] on the kept joints: every other joint's weight goes to its nearest kept ancestor.

    Raises:
        RigMismatch: A kept joint is missing, or a joint that bears weight has no kept ancestor.
    """
    column = {skeleton.index(name): position for position, name in enumerate(kept_joint_names)}
    folded = np.zeros((len(weights), len(kept_joint_names)))
    for joint in range(skeleton.joint_count):
        ancestor = joint
        while ancestor >= 0 and ancestor not in column:
            ancestor = int(skeleton.parent_indices[ancestor])
        if ancestor >= 0:
            folded[:, column[ancestor]] += weights[:, joint]
        elif weights[:, joint].any():
            raise RigMismatch(f"joint {skeleton.joint_names[joint]} bears weight and has no kept ancestor")
    return folded


def packed_weights(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint indices [V, K] int32 and weights [V, K], largest first, from a full table [V, J]; K is the most in use."""
    influences = max(int((weights > 0.0).sum(axis=1).max(initial=0)), 1)
    indices = np.argsort(-weights, axis=1, kind="stable")[:, :influences]
    values = np.take_along_axis(weights, indices, axis=1)
    return np.where(values > 0.0, indices, 0).astype(np.int32), values


def largest_weights(weights: np.ndarray, count: int) -> np.ndarray:
    """Weights [V, J] with all but the ``count`` largest of each row set to zero and rows scaled back to 1."""
    order = np.argsort(-weights, axis=1, kind="stable")
    kept = weights.copy()
    np.put_along_axis(kept, order[:, count:], 0.0, axis=1)
    return kept / kept.sum(axis=1, keepdims=True)
