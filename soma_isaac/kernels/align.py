"""Rotations from 3x3 covariances, in float64: the alignment that fits a skeleton to a shape.

With ``H = sum a b^T`` the rotation that takes the vectors ``b`` closest to ``a`` is the orthogonal polar factor of
``H`` (Kabsch). It is found with Higham's scaled Newton iteration, which converges quadratically in five to eight steps
however flat the vectors lie; where ``H`` is singular or a reflection, Horn's quaternion matrix gives the best proper
rotation.
"""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.shapes import check_array

# Loops stay loops: unrolled they take ten times as long to compile and run no faster.
wp.set_module_options({"enable_backward": False, "max_unroll": 1})

AUTO, KABSCH, NEWTON_SCHULZ = range(3)
"""How a covariance becomes a rotation, by SOMA-X's names; see :func:`aligned_rotation`."""

_AUTO = wp.constant(AUTO)
_NEWTON_SCHULZ = wp.constant(NEWTON_SCHULZ)
# Of SOMA-X: below this share of a full-rank covariance's determinant, identity is blended in with this weight.
_FLATNESS = wp.constant(wp.float64(1.0e-6))
_PRIOR = wp.constant(wp.float64(0.05))
# Below this share Newton's first step would lose too many digits, and a reflection has another best rotation.
_SINGULAR = wp.constant(wp.float64(1.0e-12))
_ITERATIONS = wp.constant(24)
_SWEEPS = wp.constant(12)


@wp.func
def row_of(matrix: wp.mat33d, row: int) -> wp.vec3d:
    """Row ``row``."""
    return wp.vec3d(matrix[row, 0], matrix[row, 1], matrix[row, 2])


@wp.func
def matrix_from_rows(first: wp.vec3d, second: wp.vec3d, third: wp.vec3d) -> wp.mat33d:
    """The matrix with these rows."""
    return wp.mat33d(first[0], first[1], first[2], second[0], second[1], second[2], third[0], third[1], third[2])


@wp.func
def _size(matrix: wp.mat33d) -> wp.float64:
    return wp.sqrt(wp.ddot(matrix, matrix))


@wp.func
def polar_rotation(covariance: wp.mat33d) -> wp.mat33d:
    """Orthogonal polar factor of a matrix with a positive determinant, by Higham's scaled Newton iteration."""
    x = covariance / _size(covariance)
    for _step in range(_ITERATIONS):
        first = row_of(x, 0)
        second = row_of(x, 1)
        third = row_of(x, 2)
        cofactors = wp.cross(second, third)
        inverse = matrix_from_rows(cofactors, wp.cross(third, first), wp.cross(first, second)) / wp.dot(
            first, cofactors
        )
        scale = wp.sqrt(_size(inverse) / _size(x))
        closer = wp.float64(0.5) * (scale * x + inverse / scale)
        change = _size(closer - x)
        x = closer
        if change < wp.float64(1.0e-9):
            break
    return x


@wp.func
def best_rotation(covariance: wp.mat33d) -> wp.mat33d:
    """The proper rotation with the largest ``trace(R^T H)`` for any ``H``: Horn's matrix and Jacobi's method."""
    h = covariance / wp.max(_size(covariance), wp.float64(1.0e-300))
    xx = h[0, 0]
    yy = h[1, 1]
    zz = h[2, 2]
    yz = h[2, 1] - h[1, 2]
    zx = h[0, 2] - h[2, 0]
    xy = h[1, 0] - h[0, 1]
    sxy = h[1, 0] + h[0, 1]
    szx = h[0, 2] + h[2, 0]
    syz = h[2, 1] + h[1, 2]
    a = wp.matrix_from_rows(
        wp.vec4d(xx + yy + zz, yz, zx, xy),
        wp.vec4d(yz, xx - yy - zz, sxy, szx),
        wp.vec4d(zx, sxy, yy - xx - zz, syz),
        wp.vec4d(xy, szx, syz, zz - xx - yy),
    )
    vectors = wp.identity(n=4, dtype=wp.float64)
    for _sweep in range(_SWEEPS):
        for p in range(3):
            for q in range(p + 1, 4):
                off = a[p, q]
                if wp.abs(off) > wp.float64(1.0e-17):
                    ratio = (a[q, q] - a[p, p]) / (wp.float64(2.0) * off)
                    sign = wp.where(ratio < wp.float64(0.0), wp.float64(-1.0), wp.float64(1.0))
                    tangent = sign / (wp.abs(ratio) + wp.sqrt(ratio * ratio + wp.float64(1.0)))
                    cosine = wp.float64(1.0) / wp.sqrt(tangent * tangent + wp.float64(1.0))
                    sine = tangent * cosine
                    for k in range(4):
                        left = a[k, p]
                        right = a[k, q]
                        a[k, p] = cosine * left - sine * right
                        a[k, q] = sine * left + cosine * right
                    for k in range(4):
                        left = a[p, k]
                        right = a[q, k]
                        a[p, k] = cosine * left - sine * right
                        a[q, k] = sine * left + cosine * right
                    for k in range(4):
                        left = vectors[k, p]
                        right = vectors[k, q]
                        vectors[k, p] = cosine * left - sine * right
                        vectors[k, q] = sine * left + cosine * right
    best = int(0)
    for k in range(1, 4):
        if a[k, k] > a[best, best]:
            best = k
    return wp.quat_to_matrix(wp.quatd(vectors[1, best], vectors[2, best], vectors[3, best], vectors[0, best]))


@wp.func
def _largest_row_sum(matrix: wp.mat33d) -> wp.float64:
    size = wp.float64(0.0)
    for row in range(3):
        size = wp.max(size, wp.abs(matrix[row, 0]) + wp.abs(matrix[row, 1]) + wp.abs(matrix[row, 2]))
    return size


@wp.func
def aligned_rotation(covariance: wp.mat33d, method: int) -> wp.mat33d:
    """Rotation ``R`` with ``R b`` closest to ``a``, from ``H = sum a b^T``.

    ``AUTO`` leans (nearly) flat sets towards the identity and takes the best proper rotation; ``KABSCH`` does the
    latter only; ``NEWTON_SCHULZ`` negates the last column of the polar factor where ``H`` is a reflection, as SOMA-X
    before 0.3 did.
    """
    h = covariance
    size = _largest_row_sum(h)
    if size < wp.float64(1.0e-30):
        return wp.identity(n=3, dtype=wp.float64)
    share = wp.determinant(h) / (size * size * size)
    if method == _AUTO and wp.abs(share) < _FLATNESS:
        weight = (_FLATNESS - wp.abs(share)) / _FLATNESS
        h += _PRIOR * weight * size * wp.identity(n=3, dtype=wp.float64)
        share = wp.determinant(h) / (size * size * size)
    if share > _SINGULAR:
        return polar_rotation(h)
    if method == _NEWTON_SCHULZ and share < -_SINGULAR:
        mirrored = -polar_rotation(-h)
        return wp.mat33d(
            mirrored[0, 0], mirrored[0, 1], -mirrored[0, 2],
            mirrored[1, 0], mirrored[1, 1], -mirrored[1, 2],
            mirrored[2, 0], mirrored[2, 1], -mirrored[2, 2],
        )  # fmt: skip
    return best_rotation(h)


@wp.func
def scaled_normal(first: wp.vec3d, second: wp.vec3d) -> wp.vec3d:
    """Normal of two vectors, as long as the first; zero where they are (nearly) parallel."""
    normal = wp.cross(first, second)
    length = wp.length(normal)
    if length <= wp.float64(1.0e-9) * wp.length(first) * wp.length(second):
        return wp.vec3d()
    return normal * (wp.length(first) / length)


@wp.func
def arc_rotation(start: wp.vec3d, end: wp.vec3d) -> wp.mat33d:
    """Smallest turn that takes the direction of ``start`` to that of ``end``; identity if either is zero.

    Of opposite directions half a turn about an axis square to ``start``, as SOMA-X chooses it.
    """
    unit = wp.identity(n=3, dtype=wp.float64)
    if wp.length(start) < wp.float64(1.0e-30) or wp.length(end) < wp.float64(1.0e-30):
        return unit
    a = wp.normalize(start)
    b = wp.normalize(end)
    cosine = wp.dot(a, b)
    if cosine < wp.float64(-1.0) + wp.float64(1.0e-12):
        other = wp.vec3d(wp.float64(1.0), wp.float64(0.0), wp.float64(0.0))
        if wp.abs(a[0]) > wp.float64(0.6):
            other = wp.vec3d(wp.float64(0.0), wp.float64(1.0), wp.float64(0.0))
        axis = wp.normalize(wp.cross(a, other))
        return wp.float64(2.0) * wp.outer(axis, axis) - unit
    skew = wp.skew(wp.cross(a, b))
    return unit + skew + skew * skew / (wp.float64(1.0) + cosine)


@wp.kernel
def align_kernel(
    covariances: wp.array(dtype=wp.mat33d),
    method: int,
    # out
    rotations_out: wp.array(dtype=wp.mat33d),
):
    """One rotation."""
    row = wp.tid()
    rotations_out[row] = aligned_rotation(covariances[row], method)


def launch_align(*, covariances: wp.array, method: int, rotations_out: wp.array) -> None:
    """Rotations of N covariances.

    Args:
        covariances: [N] mat33d, ``H = sum a b^T``.
        method: ``AUTO``, ``KABSCH`` or ``NEWTON_SCHULZ``.
        rotations_out: [N] mat33d.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    check_array("covariances", covariances, rotations_out.shape, rotations_out.device)
    wp.launch(
        align_kernel,
        dim=len(rotations_out),
        inputs=[covariances, method],
        outputs=[rotations_out],
        device=rotations_out.device,
    )
