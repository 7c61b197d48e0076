"""Joint positions as weighted sums of skin vertices: radial basis functions with affine precision.

For each joint, the interpolant ``sum w_i |x - v_i| + affine`` through values at its vertices, evaluated at the
template joint, is a fixed weighted sum of those values. Its weights sum to 1 and reproduce affine maps, so that joints
follow any change of units, scale or position exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import scipy.linalg
import scipy.sparse
from scipy.spatial.distance import cdist

from soma_isaac.body.layout import JointLayout
from soma_isaac.errors import RigMismatch
from soma_isaac.formats.regressor_npz import regressor_key
from soma_isaac.rig.rig import SkinnedMesh

_JITTER = 1e-10
"""Added to the kernel's diagonal relative to its largest entry; keeps coincident vertices apart."""

_SINGLE_FROM = 64
"""From this many vertices on the kernel is factorised in float32: half the time, joints differ by less than 1e-7 m."""

_BLOCK_ROWS = 128


def folded_weights(mesh: SkinnedMesh, layout: JointLayout) -> np.ndarray:
    """Weights [V, P] on the public joints: every other joint's weight goes to the public joint it moves with.

    Args:
        mesh: V vertices.
        layout: A layout without helpers (``joint_layout(rig, twist=False)``).
    """
    keys = np.arange(mesh.vertex_count)[:, None] * layout.public_count + layout.slots[mesh.joint_indices]
    total = np.bincount(keys.ravel(), mesh.joint_weights.ravel(), mesh.vertex_count * layout.public_count)
    return total.reshape(mesh.vertex_count, layout.public_count)


def regressor_vertices(
    weights: np.ndarray, parents: np.ndarray, excluded_vertices: np.ndarray | None = None
) -> list[np.ndarray]:
    """The vertices that each joint's position is regressed from.

    They are where the joint's own skin meets its parent's. Joints without such vertices take their own, and those of
    their nearest ancestor that has any (finger tips, eyes, the head's end).

    Args:
        weights: [V, J] folded skin weights.
        parents: [J], -1 for the root.
        excluded_vertices: Vertices that follow no bone (eye and mouth bags); kept for a joint that has no others.

    Returns:
        J ascending vertex lists; the root's is empty.

    Raises:
        RigMismatch: A joint has no vertices at all.
    """
    moved = weights > 0.0
    parents = np.maximum(parents, 0)
    chosen = moved & moved[:, parents]
    empty = np.flatnonzero(~chosen.any(axis=0))
    chosen[:, empty] = moved[:, empty]
    ancestors = parents
    while len(empty) > 1:
        chosen[:, empty] |= moved[:, ancestors[empty]]
        empty = np.flatnonzero(~chosen.any(axis=0))
        if np.array_equal(parents[ancestors], ancestors):
            break
        ancestors = parents[ancestors]
    if empty.tolist() == [0, 1]:
        chosen[:, 1] = chosen[:, np.flatnonzero(parents == 1)].any(axis=1)
    allowed = chosen.copy()
    if excluded_vertices is not None:
        allowed[excluded_vertices] = False
        allowed = np.where(allowed.any(axis=0), allowed, chosen)
    allowed[:, 0] = False
    bare = np.flatnonzero(~allowed.any(axis=0))
    if len(bare) > 1:
        raise RigMismatch(f"joint {int(bare[1])} of the rig has no skin to be regressed from")
    return [np.flatnonzero(column) for column in allowed.T]


def interpolation_weights(points: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Weights [Q, N] with which values at ``points`` [N, 3] interpolate at ``queries`` [Q, 3].

    The kernel ``|a| + |b| - |a - b|`` is positive definite (the covariance of Brownian motion in space) and equals
    ``-|a - b|`` up to terms that affine precision removes. So the saddle point system that interpolation leads to
    becomes one Cholesky factorisation and one 4x4 system. Vertices in a plane, on a line or at one point give affine
    precision within it.

    Raises:
        RigMismatch: The kernel is not positive definite, whatever the precision.
    """
    center = points.mean(axis=0)
    offsets, targets = points - center, queries - center
    length = np.linalg.norm(offsets, axis=1)
    _, spread, axes = np.linalg.svd(offsets, full_matrices=False)
    axes = axes[spread > 1e-6 * max(spread[0], 1e-12)]
    polynomial = np.concatenate([np.ones((len(points), 1)), offsets @ axes.T], axis=1)
    values = np.concatenate([np.ones((len(queries), 1)), targets @ axes.T], axis=1)
    radial = length[:, None] - cdist(offsets, targets)
    # A constant changes nothing but rounding: it is one of the polynomials.
    right = np.concatenate([polynomial, radial - radial.mean(axis=0)], axis=1)
    solved = _solved(offsets, length, right)
    basis, free = np.split(solved, [polynomial.shape[1]], axis=1)
    missing = values.T - polynomial.T @ free
    return (free + basis @ np.linalg.solve(polynomial.T @ basis, missing)).T


def _solved(offsets: np.ndarray, length: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solve with the Brownian kernel of ``offsets`` [N, 3] for right-hand sides [N, R]."""
    for dtype in (np.float32, np.float64)[int(len(offsets) < _SINGLE_FROM) :]:
        kernel = _lower_kernel(offsets, length, dtype)
        factorise, solve = scipy.linalg.get_lapack_funcs(("potrf", "potrs"), (kernel,))
        factor, failed = factorise(kernel.T, lower=0, overwrite_a=1, clean=0)
        if not failed:
            return solve(factor, right.astype(dtype), lower=0)[0].astype(np.float64)
    raise RigMismatch(f"the regression of a joint from {len(offsets)} vertices is singular")


def _lower_kernel(offsets: np.ndarray, length: np.ndarray, dtype: type) -> np.ndarray:
    """The kernel [N, N] on and below its diagonal, block by block so that temporaries stay in the cache."""
    count = len(offsets)
    kernel = np.empty((count, count), dtype)
    for begin in range(0, count, _BLOCK_ROWS):
        end = min(begin + _BLOCK_ROWS, count)
        block = cdist(offsets[begin:end], offsets[:end])
        np.subtract(length[:end], block, out=block)
        block += length[begin:end, None]
        kernel[begin:end, :end] = block
    kernel.flat[:: count + 1] += _JITTER * max(2.0 * float(length.max()), 1e-12)
    return kernel


def joint_regressor(
    points: np.ndarray,
    joints: np.ndarray,
    vertices: list[np.ndarray],
    known: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> scipy.sparse.csr_array:
    """Sparse [J, V] matrix that gives joint positions from vertices.

    Joints with the same vertices (those that hang below one skinned joint) share a factorisation.

    Args:
        points: [V, 3] template bind shape.
        joints: [J, 3] template bind positions.
        vertices: J vertex lists; an empty list makes an empty row.
        known: Results by :func:`soma_isaac.formats.regressor_npz.regressor_key`, taken instead of factorising anew.
    """
    values = [np.zeros(0)] * len(joints)
    for group in _sharing(vertices):
        rows = vertices[group[0]]
        if len(rows):
            shared = known.get(regressor_key(points[rows], joints[group]))
            if shared is None:
                shared = interpolation_weights(points[rows], joints[group])
            for joint, weights in zip(group, shared, strict=True):
                values[joint] = weights
    offsets = np.cumsum([0, *(len(rows) for rows in vertices)])
    return scipy.sparse.csr_array(
        (np.concatenate(values), np.concatenate(vertices), offsets), shape=(len(joints), len(points))
    )


def factorised_groups(
    points: np.ndarray, joints: np.ndarray, vertices: list[np.ndarray], smallest: int
) -> dict[str, np.ndarray]:
    """The weights of all groups with at least ``smallest`` vertices by their key: what is worth shipping."""
    return {
        regressor_key(points[rows], joints[group]): interpolation_weights(points[rows], joints[group])
        for group in _sharing(vertices)
        if len(rows := vertices[group[0]]) >= smallest
    }


def _sharing(vertices: list[np.ndarray]) -> list[list[int]]:
    """Joints with equal vertex lists."""
    sharing: dict[bytes, list[int]] = {}
    for joint, rows in enumerate(vertices):
        sharing.setdefault(rows.tobytes(), []).append(joint)
    return list(sharing.values())
