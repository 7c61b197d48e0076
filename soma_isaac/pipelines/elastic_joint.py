"""Flesh around one joint as an elastic solid: what skin does when a bone turns, without the collapse of blending.

The body around the joint is filled with a lattice of cubes, six tetrahedra each. Two rods of bone move rigidly, the rim
of the region follows linear blend skinning, and projective dynamics finds the shape in between that keeps shape and
volume best. Skin that would touch skin (inside a bent elbow) is not kept apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from soma_isaac.kernels.elastic import launch_project, points_inside

VOLUME_SHARE = 0.75
"""Weight of volume against shape."""

ITERATIONS = 30
RIM = 0.85
"""From this share of the region's radius on, flesh follows the skinning."""

_CORNERS = np.array([(i >> 2 & 1, i >> 1 & 1, i & 1) for i in range(8)])
# Kuhn's six tetrahedra of a cube: one per order in which the three axes are walked from corner 0 to corner 7.
_TETRAHEDRA = np.array([(0, 4, 6, 7), (0, 4, 5, 7), (0, 2, 6, 7), (0, 2, 3, 7), (0, 1, 5, 7), (0, 1, 3, 7)])
_LEAST_FILL = 0.15


@dataclass(frozen=True, eq=False)
class JointRegion:
    """What surrounds one joint in the bind pose.

    Attributes:
        points: [V, 3] m, the whole body's skin.
        triangles: [N, 3] of it, closed.
        shares: [V] skin weight of the joint and all below it.
        center: [3] m, the joint.
        parent_end: [3] m, other end of the bone before it.
        child_end: [3] m, other end of the bone that it turns.
        radius: Of the region [m].
        cell: Edge of a lattice cube [m].
        bone: Radius of a bone [m].
        side: Cells with x below this are left out (the other leg) [m].
    """

    points: np.ndarray
    triangles: np.ndarray
    shares: np.ndarray
    center: np.ndarray
    parent_end: np.ndarray
    child_end: np.ndarray
    radius: float
    cell: float
    bone: float
    side: float = -np.inf


class ElasticJoint:
    """The elastic solid of one region, factorised once and solved for many rotations."""

    def __init__(self, region: JointRegion) -> None:
        """Fill the region with tetrahedra and factorise the global step."""
        self.region = region
        near = np.linalg.norm(region.points - region.center, axis=1) < region.radius
        near &= region.points[:, 0] > region.side + region.cell
        self.vertices = np.flatnonzero(near)
        nodes, cubes, fill = _lattice(region, region.points[self.vertices])
        self._origin = region.center - region.radius
        tetrahedra = cubes[:, _TETRAHEDRA].reshape(-1, 4)
        self.nodes = nodes
        edges = nodes[tetrahedra[:, 1:]] - nodes[tetrahedra[:, :1]]
        inverse = np.linalg.inv(np.swapaxes(edges, 1, 2))
        self._gradient = _gradient_matrix(tetrahedra, inverse, len(nodes))
        weight = np.repeat(fill, 6) * region.cell**3 / 6.0
        weighted = scipy.sparse.csr_array(self._gradient.T @ scipy.sparse.diags_array(np.repeat(weight, 3)))
        system = scipy.sparse.csc_array(weighted @ self._gradient)
        tree = cKDTree(region.points)
        distance, nearest = tree.query(nodes, k=4)
        closeness = 1.0 / (distance + 1e-4)
        shares = (region.shares[nearest] * closeness).sum(axis=1) / closeness.sum(axis=1)
        parent_bone, child_bone = self._bones()
        self.shares = np.where(parent_bone, 0.0, np.where(child_bone, 1.0, shares))
        rim = np.linalg.norm(nodes - region.center, axis=1) > RIM * region.radius
        rim |= nodes[:, 0] < region.side + 1.5 * region.cell
        fixed = rim | parent_bone | child_bone
        self._fixed, self._free = np.flatnonzero(fixed), np.flatnonzero(~fixed)
        self._weighted = weighted
        self._coupling = system[self._free][:, self._fixed]
        self._solver = splu(scipy.sparse.csc_matrix(system[self._free][:, self._free]), permc_spec="MMD_AT_PLUS_A")
        self._embedding = _embedding(region, nodes, cubes, region.points[self.vertices])

    def _bones(self) -> tuple[np.ndarray, np.ndarray]:
        """Masks of the nodes on either bone; near the joint they belong to flesh, so that the bones do not cross."""
        region = self.region
        masks = []
        for end in (region.parent_end, region.child_end):
            along = end - region.center
            length = np.linalg.norm(along)
            share = np.clip((self.nodes - region.center) @ along / length**2, 0.0, 1.0)
            away = np.linalg.norm(self.nodes - region.center - share[:, None] * along, axis=1)
            masks.append((away < region.bone) & (share * length > region.bone))
        both = masks[0] & masks[1]
        return masks[0] & ~both, masks[1] & ~both

    def blended(self, rotation: np.ndarray, points: np.ndarray, shares: np.ndarray) -> np.ndarray:
        """Linear blend skinning [N, 3] of points with the share ``shares`` [N] of a rotation about the joint."""
        offset = points - self.region.center
        return points + shares[:, None] * (offset @ (rotation - np.eye(3)).T)

    def solve(self, rotation: np.ndarray, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Elastic skin for a rotation of the joint.

        Args:
            rotation: [3, 3] in the world of the bind pose.
            start: [M, 3] nodes of a nearby solution; the blended ones by default.

        Returns:
            Skin points [len(vertices), 3] m and nodes [M, 3] m.
        """
        blended = self.blended(rotation, self.nodes, self.shares)
        nodes = blended if start is None else start.copy()
        nodes[self._fixed] = blended[self._fixed]
        push = self._coupling @ nodes[self._fixed]
        for _ in range(ITERATIONS):
            gradients = np.swapaxes((self._gradient @ nodes).reshape(-1, 3, 3), 1, 2)
            targets = np.swapaxes(launch_project(gradients, VOLUME_SHARE), 1, 2).reshape(-1, 3)
            nodes[self._free] = self._solver.solve((self._weighted @ targets)[self._free] - push)
        return self._embedding @ nodes, nodes


def _lattice(region: JointRegion, skin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Nodes [M, 3], cubes [C, 8] into them and how full each cube is [C]; cubes with skin vertices are always there."""
    size = int(np.ceil(2.0 * region.radius / region.cell)) + 1
    origin = region.center - region.radius
    grid = np.stack(np.meshgrid(*[np.arange(size + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    corners = origin + grid * region.cell
    reach = np.linalg.norm(corners - region.center, axis=1) < 1.2 * region.radius
    inside = np.zeros(len(grid), dtype=bool)
    inside[reach] = points_inside(corners[reach], region.points, region.triangles)
    inside = inside.reshape([size + 1] * 3).astype(float)
    fill = np.mean([inside[x : size + x, y : size + y, z : size + z] for x, y, z in _CORNERS], axis=0)
    start = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1)
    middle = origin + (start + 0.5) * region.cell
    used = (fill > 0.5) & (np.linalg.norm(middle - region.center, axis=-1) < region.radius)
    used &= middle[..., 0] > region.side
    used[tuple(np.floor((skin - origin) / region.cell).astype(int).T)] = True
    chosen = start[used]
    index = (chosen[:, None] + _CORNERS) @ np.array([(size + 1) ** 2, size + 1, 1])
    kept, cubes = np.unique(index, return_inverse=True)
    return corners[kept], cubes.reshape(-1, 8), np.maximum(fill[used], _LEAST_FILL)


def _gradient_matrix(tetrahedra: np.ndarray, inverse: np.ndarray, count: int) -> scipy.sparse.csr_array:
    """Sparse [3 T, M]: transposed deformation gradients from node positions; ``F = D inverse`` with edges D."""
    rows = np.repeat(np.arange(len(tetrahedra) * 3), 4)
    # row k of F^T is sum_i inverse[i, k] (x_{i+1} - x_0)
    others = np.swapaxes(inverse, 1, 2)
    values = np.concatenate([-others.sum(axis=2, keepdims=True), others], axis=2)
    columns = np.repeat(tetrahedra, 3, axis=0)
    return scipy.sparse.csr_array((values.ravel(), (rows, columns.ravel())), shape=(len(tetrahedra) * 3, count))


def _embedding(region: JointRegion, nodes: np.ndarray, cubes: np.ndarray, skin: np.ndarray) -> scipy.sparse.csr_array:
    """Sparse [N, M]: skin points by trilinear weights of the cube that they lie in."""
    origin = region.center - region.radius
    keys = np.rint((nodes[cubes[:, 0]] - origin) / region.cell).astype(int)
    cell_of = {tuple(key): row for row, key in enumerate(keys.tolist())}
    place = (skin - origin) / region.cell
    base = np.floor(place).astype(int)
    rows = np.array([cell_of[tuple(key)] for key in base.tolist()])
    local = place - base
    weights = np.prod(np.where(_CORNERS[None] == 1, local[:, None], 1.0 - local[:, None]), axis=2)
    index = np.repeat(np.arange(len(skin)), 8)
    return scipy.sparse.csr_array((weights.ravel(), (index, cubes[rows].ravel())), shape=(len(skin), len(nodes)))
