"""Collision shapes of a robot: spheres and capsules as segments with a radius, and their distances."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.math.arrays import frozen_array
from soma_isaac.retarget.tree import Tree, body_poses


@dataclass(frozen=True, eq=False)
class CollisionShapes:
    """Capsules (and spheres, whose two ends are one point) fixed to bodies.

    Attributes:
        names: S names.
        bodies: [S] body index.
        p0: [S, 3] m, first cap centre in the body frame.
        p1: [S, 3] m, second cap centre in the body frame.
        radius: [S] m.
        pairs: [P, 2] indices of shapes to check against each other: on different bodies that are no parent and child,
            and whose bodies do not overlap with all joints at zero (those overlap by design, at every pose).
    """

    names: tuple[str, ...]
    bodies: np.ndarray
    p0: np.ndarray
    p1: np.ndarray
    radius: np.ndarray
    pairs: np.ndarray

    def __post_init__(self) -> None:
        """Freeze the arrays.

        Raises:
            InputRejected: A shape differs or a value is not finite.
        """
        count = len(self.names)
        object.__setattr__(self, "bodies", frozen_array("bodies", self.bodies, (count,), np.int64))
        object.__setattr__(self, "p0", frozen_array("p0", self.p0, (count, 3)))
        object.__setattr__(self, "p1", frozen_array("p1", self.p1, (count, 3)))
        object.__setattr__(self, "radius", frozen_array("radius", self.radius, (count,)))
        object.__setattr__(self, "pairs", frozen_array("pairs", self.pairs, (None, 2), np.int64))


def collision_shapes(
    names: tuple[str, ...], bodies: np.ndarray, p0: np.ndarray, p1: np.ndarray, radius: np.ndarray, tree: Tree
) -> CollisionShapes:
    """Shapes with the pairs of them to check, chosen as :class:`CollisionShapes` says.

    Args:
        names: S names.
        bodies: [S] body index.
        p0: [S, 3] m, body frame.
        p1: [S, 3] m, body frame.
        radius: [S] m.
        tree: The robot's tree.
    """
    parents = np.array(tree.parents)
    i, j = np.triu_indices(len(names), 1)
    first, second = bodies[i], bodies[j]
    apart = (first != second) & (parents[first] != second) & (parents[second] != first)
    pairs = np.stack([i[apart], j[apart]], axis=1)
    shapes = CollisionShapes(names, bodies, p0, p1, radius, pairs)
    rest = body_poses(tree, np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0, 0.0]]), np.zeros((1, len(tree.axes))))
    overlap = pair_distances(shapes, *rest)[0] < 0.0
    by_design = {frozenset(bodies[pair].tolist()) for pair in pairs[overlap]}
    keep = np.array([frozenset(bodies[pair].tolist()) not in by_design for pair in pairs], dtype=bool)
    return CollisionShapes(names, bodies, p0, p1, radius, pairs[keep])


def shape_ends(shapes: CollisionShapes, body_pos: np.ndarray, body_rot: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cap centres [T, S, 3] and [T, S, 3] in the world, from body poses [T, B, 3] and [T, B, 3, 3]."""
    rotation = body_rot[:, shapes.bodies]
    origin = body_pos[:, shapes.bodies]
    first = origin + np.einsum("tsij,sj->tsi", rotation, shapes.p0)
    second = origin + np.einsum("tsij,sj->tsi", rotation, shapes.p1)
    return first, second


def segment_closest(
    p0: np.ndarray, p1: np.ndarray, q0: np.ndarray, q1: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Closest points of pairs of segments (Ericson, Real-Time Collision Detection, 5.1.9), any leading dimensions.

    Args:
        p0: [..., 3] m, start of the first segment.
        p1: [..., 3] m, its end (may equal the start).
        q0: [..., 3] m, start of the second segment.
        q1: [..., 3] m, its end (may equal the start).

    Returns:
        Fractions along the first and second segment [...] in 0..1, and the distance [...] in m.
    """
    along_p, along_q, between = p1 - p0, q1 - q0, p0 - q0
    a = np.einsum("...i,...i->...", along_p, along_p)
    e = np.einsum("...i,...i->...", along_q, along_q)
    b = np.einsum("...i,...i->...", along_p, along_q)
    c = np.einsum("...i,...i->...", along_p, between)
    f = np.einsum("...i,...i->...", along_q, between)
    tiny = 1e-15
    determinant = a * e - b * b
    s = np.where(determinant > tiny, (b * f - c * e) / np.maximum(determinant, tiny), 0.0)
    s = np.clip(s, 0.0, 1.0)
    t = np.clip(np.where(e > tiny, (b * s + f) / np.maximum(e, tiny), 0.0), 0.0, 1.0)
    # With t on its segment, the best s follows from it alone.
    s = np.clip(np.where(a > tiny, (b * t - c) / np.maximum(a, tiny), 0.0), 0.0, 1.0)
    gap = between + s[..., None] * along_p - t[..., None] * along_q
    return s, t, np.sqrt(np.einsum("...i,...i->...", gap, gap))


def pair_distances(
    shapes: CollisionShapes, body_pos: np.ndarray, body_rot: np.ndarray, pairs: np.ndarray | None = None
) -> np.ndarray:
    """Signed distances [T, P] in m (negative: penetration) of pairs of shapes.

    Args:
        shapes: The shapes.
        body_pos: [T, B, 3] m.
        body_rot: [T, B, 3, 3].
        pairs: [P, 2] shape indices; ``shapes.pairs`` if not given.
    """
    pairs = shapes.pairs if pairs is None else pairs
    first, second = shape_ends(shapes, body_pos, body_rot)
    i, j = pairs[:, 0], pairs[:, 1]
    _, _, distance = segment_closest(first[:, i], second[:, i], first[:, j], second[:, j])
    return distance - shapes.radius[i] - shapes.radius[j]


def lowest_points(shapes: CollisionShapes, body_pos: np.ndarray, body_rot: np.ndarray) -> np.ndarray:
    """Height [T, S] in m of the lowest point of each shape, from body poses [T, B, 3] and [T, B, 3, 3]."""
    first, second = shape_ends(shapes, body_pos, body_rot)
    return np.minimum(first[..., 2], second[..., 2]) - shapes.radius
