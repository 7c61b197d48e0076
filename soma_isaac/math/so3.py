"""SO(3) on batches, every quaternion order spelled out.

Thin array functions over :class:`scipy.spatial.transform.Rotation` (which stores xyzw), so that callers keep
their leading dimensions and can never mix up orders silently.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation


def _from_flat(flat: np.ndarray, lead: tuple[int, ...]) -> np.ndarray:
    return flat.reshape(lead + flat.shape[1:])


def matrix_from_rotvec(rotvec: np.ndarray) -> np.ndarray:
    """Exponential map: rotation vectors [..., 3] in rad to matrices [..., 3, 3]."""
    rotvec = np.array(rotvec, dtype=np.float64)  # a copy: scipy takes no read-only buffer here
    return _from_flat(Rotation.from_rotvec(rotvec.reshape(-1, 3)).as_matrix(), rotvec.shape[:-1])


def rotvec_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Logarithm: matrices [..., 3, 3] to rotation vectors [..., 3] in rad, angle in [0, pi]."""
    matrix = np.asarray(matrix, dtype=np.float64)
    return _from_flat(Rotation.from_matrix(matrix.reshape(-1, 3, 3)).as_rotvec(), matrix.shape[:-2])


def matrix_from_quat_xyzw(quat_xyzw: np.ndarray) -> np.ndarray:
    """Quaternions [..., 4] in x, y, z, w order (normalised on the way) to matrices [..., 3, 3]."""
    quat_xyzw = np.asarray(quat_xyzw, dtype=np.float64)
    return _from_flat(Rotation.from_quat(quat_xyzw.reshape(-1, 4)).as_matrix(), quat_xyzw.shape[:-1])


def matrix_from_quat_wxyz(quat_wxyz: np.ndarray) -> np.ndarray:
    """Quaternions [..., 4] in w, x, y, z order (normalised on the way) to matrices [..., 3, 3]."""
    return matrix_from_quat_xyzw(xyzw_from_wxyz(quat_wxyz))


def quat_xyzw_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Matrices [..., 3, 3] to quaternions [..., 4] in x, y, z, w order with w >= 0.

    Shepperd's method: of the four rows of ``4 q q^T`` that a rotation matrix gives, the one with the largest diagonal
    is well conditioned. Whole-array numpy, several times the speed of going through scipy: resampling needs it.
    """
    m = np.asarray(matrix, dtype=np.float64)
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    xy, xz, yz = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    xw, yw, zw = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    squares = (1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22, 1 + m00 + m11 + m22)
    x, y, z, w = squares
    rows = ((x, xy, xz, xw), (xy, y, yz, yw), (xz, yz, z, zw), (xw, yw, zw, w))
    largest = np.argmax(np.stack(squares, axis=-1), axis=-1)
    quat = np.stack([np.choose(largest, [row[i] for row in rows]) for i in range(4)], axis=-1)
    quat /= np.linalg.norm(quat, axis=-1, keepdims=True)
    return np.where(quat[..., 3:] < 0.0, -quat, quat)


def quat_wxyz_from_matrix(matrix: np.ndarray) -> np.ndarray:
    """Matrices [..., 3, 3] to quaternions [..., 4] in w, x, y, z order with w >= 0."""
    return wxyz_from_xyzw(quat_xyzw_from_matrix(matrix))


def wxyz_from_xyzw(quat_xyzw: np.ndarray) -> np.ndarray:
    """Reorder quaternions [..., 4] from x, y, z, w to w, x, y, z."""
    return np.asarray(quat_xyzw)[..., [3, 0, 1, 2]]


def xyzw_from_wxyz(quat_wxyz: np.ndarray) -> np.ndarray:
    """Reorder quaternions [..., 4] from w, x, y, z to x, y, z, w."""
    return np.asarray(quat_wxyz)[..., [1, 2, 3, 0]]


def continuous_quats(quats: np.ndarray) -> np.ndarray:
    """Flip signs along axis 0 so that consecutive quaternions [T, ..., 4] (any order) lie in one half space."""
    quats = np.array(quats, dtype=np.float64)
    if len(quats) > 1:
        dots = np.einsum("t...i,t...i->t...", quats[1:], quats[:-1])
        signs = np.cumprod(np.where(dots < 0.0, -1.0, 1.0), axis=0)
        quats[1:] *= signs[..., None]
    return quats


def geodesic_angle(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle [...] in rad of the rotation between matrices ``a`` and ``b`` [..., 3, 3]; exact near 0 and pi."""
    return np.linalg.norm(rotvec_from_matrix(np.swapaxes(a, -1, -2) @ b), axis=-1)


def project_to_so3(matrix: np.ndarray) -> np.ndarray:
    """Nearest rotations (Frobenius) to matrices [..., 3, 3], by SVD with the determinant fixed to +1."""
    u, _, vt = np.linalg.svd(matrix)
    u[..., :, 2] *= np.sign(np.linalg.det(u @ vt))[..., None]
    return u @ vt


def shortest_arc(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Rotation [3, 3] of the smallest turn that takes the direction of ``start`` to that of ``end`` [3], both non-zero.

    Of opposite directions any half turn would do; one about the axis most square to ``start`` is taken.
    """
    a, b = start / np.linalg.norm(start), end / np.linalg.norm(end)
    cross, cosine = np.cross(a, b), float(a @ b)
    if cosine < -1.0 + 1e-9:
        axis = np.cross(a, np.eye(3)[int(np.argmin(np.abs(a)))])
        axis /= np.linalg.norm(axis)
        return 2.0 * np.outer(axis, axis) - np.eye(3)
    skew = np.array([[0.0, -cross[2], cross[1]], [cross[2], 0.0, -cross[0]], [-cross[1], cross[0], 0.0]])
    return np.eye(3) + skew + skew @ skew / (1.0 + cosine)
