"""Feet that carry a robot: where a point lies in the support polygon, and what each foot has to give.

Everything runs over all frames at once and works on z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_BLOCK = 256
"""Frames per block of the distance: keeps its temporaries inside the processor's cache."""


def distance_outside(points: np.ndarray, corners: np.ndarray, carries: np.ndarray) -> np.ndarray:
    """Signed distance of points to the convex hulls of corners, frame by frame.

    Over all directions u, the largest ``u . x - max_k u . c_k`` is the distance of x to the hull, and minus its depth
    where x is inside. It is reached where u is square to an edge, or points from a corner to x; so it is enough to try
    the normals of all pairs of corners, whether or not they are edges, and the directions from all corners. Hulls
    that are a line or a point need no special case.

    Args:
        points: [T, 2] m.
        corners: [T, C, 2] m.
        carries: [T, C] bool, corners that count; at least one in each frame.

    Returns:
        [T] m, positive outside, negative inside.
    """
    # A corner that does not count takes the place of one that does, which leaves the hull as it is.
    stand_in = np.take_along_axis(corners, carries.argmax(axis=1)[:, None, None], axis=1)
    corners = np.where(carries[..., None], corners, stand_in)
    out = np.empty(len(points))
    for start in range(0, len(points), _BLOCK):
        block = slice(start, start + _BLOCK)
        out[block] = _distance_outside(points[block].T[:, None], corners[block].transpose(2, 1, 0))
    return out


def _distance_outside(point: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """``point`` [2, 1, T], ``corners`` [2, C, T]."""
    first, second = np.triu_indices(corners.shape[1], 1)
    edge = corners[:, second] - corners[:, first]
    length = np.hypot(*edge)
    normal = np.stack([-edge[1], edge[0]]) / np.where(length > 0.0, length, 1.0)
    along = normal[0] * point[0] + normal[1] * point[1]
    reach = normal[0, :, None] * corners[0] + normal[1, :, None] * corners[1]
    beyond = np.maximum(along - reach.max(axis=1), reach.min(axis=1) - along)
    beyond = np.where(length > 0.0, beyond, -np.inf).max(axis=0)
    arm = point - corners
    away = np.hypot(*arm)
    arm = arm / np.where(away > 0.0, away, 1.0)
    reach = arm[0, :, None] * corners[0] + arm[1, :, None] * corners[1]
    ahead = arm[0] * point[0] + arm[1] * point[1] - reach.max(axis=1)
    found = np.maximum(beyond, np.where(away > 0.0, ahead, -np.inf).max(axis=0))
    return np.where(np.isneginf(found), 0.0, found)  # the point is the only corner


@dataclass(frozen=True, eq=False)
class Soles:
    """The soles of the left and the right foot, and what of them can carry.

    Attributes:
        corners: [T, 2, C, 3] m.
        headings: [T, 2, 2] unit, horizontal direction in which each foot points.
        carries: [T, 2, C] bool, corners that carry: of a foot that is planted or touches the floor, those little above
            its lowest one.
    """

    corners: np.ndarray
    headings: np.ndarray
    carries: np.ndarray

    @property
    def down(self) -> np.ndarray:
        """[T, 2] bool, some corner of the foot carries."""
        return np.any(self.carries, axis=2)

    @property
    def grounded(self) -> np.ndarray:
        """[T] bool, some corner carries; the robot flies in the other frames."""
        return np.any(self.carries, axis=(1, 2))

    def distance_outside(self, points: np.ndarray) -> np.ndarray:
        """Distance [T] in m of points [T, 2] from the support polygon, negative inside; NaN without either."""
        out = np.full(len(points), np.nan)
        judged = self.grounded & np.isfinite(points).all(axis=1)
        corners = self.corners[judged][..., :2]
        count = len(corners), corners.shape[1] * corners.shape[2]
        out[judged] = distance_outside(points[judged], corners.reshape(*count, 2), self.carries[judged].reshape(count))
        return out


@dataclass(frozen=True, eq=False)
class FootLoads:
    """What the ground does to the left and the right foot.

    Attributes:
        centres: [T, 2, 3] m, centres of pressure.
        forces: [T, 2, 3] N.
        twists: [T, 2] N m, moments about the vertical through the centres.
    """

    centres: np.ndarray
    forces: np.ndarray
    twists: np.ndarray


def foot_soles(
    position: np.ndarray, rotation: np.ndarray, points: np.ndarray, planted: np.ndarray, thickness: float
) -> Soles:
    """Soles from the poses of the foot links.

    Args:
        position: [T, 2, 3] m.
        rotation: [T, 2, 3, 3].
        points: [2, C, 3] m, corners of the soles in their links.
        planted: [T, 2] bool.
        thickness: A sole this near the floor [m] touches it, planted or not, and corners this little above its lowest
            one carry too.
    """
    corners = position[:, :, None] + np.einsum("tfij,fcj->tfci", rotation, points)
    lowest = corners[..., 2].min(axis=2)
    down = planted | (lowest <= thickness)
    carries = down[..., None] & (corners[..., 2] <= lowest[..., None] + thickness)
    heading = rotation[..., :2, 0]
    length = np.linalg.norm(heading, axis=-1, keepdims=True)
    heading = np.where(length > 1e-6, heading / np.maximum(length, 1e-6), [1.0, 0.0])  # a foot that points at the sky
    return Soles(corners, heading, carries)


def share_load(soles: Soles, zmp: np.ndarray, force: np.ndarray, moment: np.ndarray) -> FootLoads:
    """Divide what the ground gives over the feet, each carrying it inside its sole.

    With both feet down the share of a foot is how near the zero moment point is to it, along the line between the feet
    (Kajita et al., "Biped walking stabilization based on linear inverted pendulum tracking", IROS 2010). Both centres
    of pressure lie off the middle of their foot by what the zero moment point lies off that line, moved to the nearest
    point of the sole (of its bounding box along the foot) where that is outside. The forces add up to the given one
    exactly, and no foot is pulled down while the ground as a whole is not. The moments add up where no centre had to be
    moved; where the zero moment point is outside the support they cannot, and what is missing is left out rather than
    charged to the ankles. One of many possible divisions: a robot can also press its feet together or apart.

    Args:
        soles: The soles.
        zmp: [T, 2] m; NaN where there is none: then both feet carry half, in their middle.
        force: [T, 3] N, world.
        moment: [T, 3] N m about the world's origin.

    Returns:
        Loads; zero for feet that are not down.
    """
    down = soles.down
    weight = soles.carries / np.maximum(soles.carries.sum(axis=2), 1)[..., None]
    middles = (weight[..., None] * soles.corners).sum(axis=2)
    line = middles[:, 1, :2] - middles[:, 0, :2]
    square = (line**2).sum(axis=1)
    towards = ((zmp - middles[:, 0, :2]) * line).sum(axis=1) / np.where(square > 0.0, square, 1.0)
    right = np.where(np.isfinite(towards) & (square > 0.0), np.clip(towards, 0.0, 1.0), 0.5)
    share = np.where(np.all(down, axis=1, keepdims=True), np.stack([1.0 - right, right], axis=1), down)
    offset = np.nan_to_num(zmp - (share[..., None] * middles[..., :2]).sum(axis=1))
    centres = middles.copy()
    centres[..., :2] = _into_sole(soles, middles[..., :2] + offset[:, None])
    # About the zero moment point the moment is vertical; where there is none, take it about the middles.
    point = np.where(np.isfinite(zmp), zmp, (share[..., None] * middles[..., :2]).sum(axis=1))
    twist = moment[:, 2] - (point[:, 0] * force[:, 1] - point[:, 1] * force[:, 0])
    return FootLoads(centres, share[..., None] * force[:, None], share * twist[:, None])


def _into_sole(soles: Soles, points: np.ndarray) -> np.ndarray:
    """The nearest points [T, 2, 2] to given ones in the boxes around the corners that carry."""
    ahead = soles.headings
    axes = np.stack([ahead, np.stack([-ahead[..., 1], ahead[..., 0]], axis=-1)], axis=-2)
    corners = np.einsum("tfij,tfcj->tfci", axes, soles.corners[..., :2])
    carries = soles.carries[..., None]
    low = np.where(carries, corners, np.inf).min(axis=2)
    high = np.where(carries, corners, -np.inf).max(axis=2)
    inside = np.maximum(np.minimum(np.einsum("tfij,tfj->tfi", axes, points), high), low)
    down = soles.down[..., None]
    return np.where(down, np.einsum("tfij,tfi->tfj", axes, np.where(down, inside, 0.0)), points)
