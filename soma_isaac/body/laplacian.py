"""Fill in parts of a shape that have no counterpart in another topology, so that they follow their surroundings.

Eye and mouth bags of the SOMA mesh lie inside bodies that other topologies leave out. Their vertices keep the
cotangent Laplacian that they have in the rest mesh, with the rest of the body held where it is. Since the rest mesh
itself meets that condition, what is solved for is a harmonic displacement:
``X_F = V_F + W (X_B - V_B)`` with the rest mesh ``V``, the free vertices ``F``, the border ``B`` and
``W = -L_FF^-1 L_FB``, one small dense matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse
import scipy.sparse.linalg
from numpy.typing import ArrayLike

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.math.arrays import frozen_array

if TYPE_CHECKING:
    import torch

_FLAT = 1e-6


def cotangent_laplacian(points: np.ndarray, triangles: np.ndarray) -> scipy.sparse.csr_array:
    """Symmetric matrix [V, V] with rows that sum to zero: half the cotangents opposite each edge, off the diagonal.

    Args:
        points: [V, 3].
        triangles: [F, 3]; triangles without area count as flat, not as infinite.
    """
    rows, columns, values = [], [], []
    for corner in range(3):
        apex, left, right = (triangles[:, (corner + turn) % 3] for turn in range(3))
        to_left, to_right = points[left] - points[apex], points[right] - points[apex]
        cross = np.linalg.norm(np.cross(to_left, to_right), axis=1)
        size = np.linalg.norm(to_left, axis=1) * np.linalg.norm(to_right, axis=1)
        cotangent = 0.5 * (to_left * to_right).sum(1) / np.maximum(cross, _FLAT * np.maximum(size, 1e-300))
        rows += [left, right]
        columns += [right, left]
        values += [cotangent, cotangent]
    count = len(points)
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    weights = scipy.sparse.coo_array(entries, shape=(count, count)).tocsr()
    return scipy.sparse.csr_array(weights - scipy.sparse.diags_array(weights.sum(axis=1)))


class LaplacianFill:
    """Displace free vertices with their surroundings; factorised once for a mesh.

    Example::

        fill = LaplacianFill(wrap_points, triangles, bag_vertices)
        points = fill.apply(points)  # (B, V, 3), in the unit of wrap_points
    """

    def __init__(self, points: ArrayLike, triangles: ArrayLike, free_vertices: ArrayLike) -> None:
        """Factorise.

        Args:
            points: [V, 3] rest mesh.
            triangles: [F, 3].
            free_vertices: [N] vertices to fill in.

        Raises:
            InputRejected: A shape is another, a value is not finite or a free vertex does not exist.
            RigMismatch: A part of the free vertices touches no other vertex, or the system is singular.
        """
        self.points = frozen_array("points", points, (None, 3))
        faces = frozen_array("triangles", triangles, (None, 3), np.int32)
        self.free_vertices = np.unique(np.asarray(free_vertices, dtype=np.int64))
        count = len(self.points)
        if self.free_vertices.size and (self.free_vertices[0] < 0 or self.free_vertices[-1] >= count):
            raise InputRejected(f"free_vertices point outside the {count} vertices")
        held = np.setdiff1d(np.arange(count), self.free_vertices)
        rows = scipy.sparse.csr_array(cotangent_laplacian(self.points, faces)[self.free_vertices])
        inner, outer = scipy.sparse.csc_array(rows[:, self.free_vertices]), scipy.sparse.csc_array(rows[:, held])
        border = np.flatnonzero(np.diff(outer.indptr))
        self.border_vertices = held[border]
        self.weights = _border_weights(inner, outer[:, border].toarray())

    def apply(self, points: ArrayLike) -> np.ndarray:
        """Shapes [B, V, 3] with their free vertices filled in; other vertices as they are.

        Raises:
            InputRejected: The shape is another.
        """
        shapes = np.array(points)
        self._check(shapes.shape)
        moved = shapes[:, self.border_vertices] - self.points[self.border_vertices]
        shapes[:, self.free_vertices] = self.points[self.free_vertices] + self.weights @ moved
        return shapes

    def apply_torch(self, points: torch.Tensor) -> torch.Tensor:
        """:meth:`apply` on a torch tensor, with gradients, in its dtype and on its device.

        Raises:
            InputRejected: The shape is another.
        """
        import torch

        self._check(tuple(points.shape))
        rest, weights = torch.tensor(self.points).to(points), torch.tensor(self.weights).to(points)
        free, border = (torch.tensor(rows, device=points.device) for rows in (self.free_vertices, self.border_vertices))
        return points.index_copy(1, free, rest[free] + weights @ (points[:, border] - rest[border]))

    def _check(self, shape: tuple[int, ...]) -> None:
        if len(shape) != 3 or shape[1:] != self.points.shape:
            raise InputRejected(f"points has shape {shape}, expected (B, {len(self.points)}, 3)")


def _border_weights(inner: scipy.sparse.csc_array, outer: np.ndarray) -> np.ndarray:
    """``-inner^-1 outer`` [N, M]; rows sum to 1.

    The cotangent Laplacian is definite, obtuse triangles or not, but for triangles without area, whose weights are
    clipped: hence LU with pivoting and not Cholesky.

    Raises:
        RigMismatch: There is no unique solution.
    """
    if not len(outer):
        return np.zeros(outer.shape)
    try:
        weights = -scipy.sparse.linalg.splu(inner).solve(outer)
    except RuntimeError as error:
        raise RigMismatch("the free vertices of the Laplacian fill are not held by the rest of the mesh") from error
    if not np.isfinite(weights).all() or np.abs(weights.sum(axis=1) - 1.0).max() > 1e-6:
        raise RigMismatch("the free vertices of the Laplacian fill are not held by the rest of the mesh")
    return weights
