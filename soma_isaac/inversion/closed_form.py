"""The best affine pose in closed form: one constant matrix per body, then nothing but a product per frame.

If every joint could shear and stretch, the skinning energy would be linear least squares in the 3x4 matrices D_k. Two
facts about any pose are linear too and are built in: a joint sits where its parent carries it, and a twist helper keeps
its axis. Without further data a joint moves with its parent, at a small price. The minimiser is ``D = M Q`` with a
matrix ``Q`` that depends on the body alone; on a mesh that the body itself made it is the pose, whatever the pose.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

_NOISE = 3e-4
"""Distance, as a share of the body's height, that targets are expected to be from an affine pose: half a millimetre."""

_DEVIATION = 0.5
"""How far a joint's turn usually is from its parent's, about as in radians."""


@dataclass(frozen=True, eq=False)
class ClosedForm:
    """The affine solution of one body.

    Attributes:
        matrix: [4 N, 3 S + 1] from moments to the turns of S solved joints and, last, the position of joint 1.
        joints: [S] public joints.
        information: [S, 3, 3] how well each joint's affine turn is known in which direction: weights of the rotation
            closest to it.
    """

    matrix: np.ndarray
    joints: np.ndarray
    information: np.ndarray


def quadratic_form(pairs: np.ndarray, sums: np.ndarray, node_count: int) -> np.ndarray:
    """The full matrix G [4 N, 4 N] of sums [Q, 4, 4] of node pairs [Q, 2]."""
    form = np.zeros((node_count, 4, node_count, 4))
    form[pairs[:, 0], :, pairs[:, 1]] = sums
    form[pairs[:, 1], :, pairs[:, 0]] = np.swapaxes(sums, -1, -2)
    return form.reshape(4 * node_count, 4 * node_count)


def affine_basis(
    parents: np.ndarray, offsets: np.ndarray, axes: np.ndarray, moved: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Free numbers of an affine pose and what they do.

    Args:
        parents: [K] parent of each skinned joint; parents precede children.
        offsets: [K, 3] m, from the parent in the bind pose.
        axes: [H, 3] unit axes of the helpers (the last joints) in the bind pose.
        moved: [K] whether a joint moves any vertex, itself or through joints below; the others follow their parents.

    Returns:
        A basis [U, K, 4], so that a row of ``D_k`` is ``z basis[:, k]``, and [U] whether a number is a deviation from
        the parent.
    """
    helpers_begin = len(parents) - len(axes)
    widths = np.where(moved, 3, 0)
    widths[helpers_begin:] = np.where(moved[helpers_begin:], 2, 0)
    widths[:2] = (0, 4)
    begin = np.cumsum([0, *widths])
    basis = np.zeros((begin[-1], len(parents), 4))
    deviation = np.ones(begin[-1], dtype=bool)
    for joint in range(1, len(parents)):
        own = slice(begin[joint], begin[joint + 1])
        if joint == 1:
            basis[own, 1] = np.eye(4)
            deviation[own] = False
            continue
        parent = parents[joint]
        basis[:, joint, :3] = basis[:, parent, :3]
        basis[:, joint, 3] = basis[:, parent, 3] + basis[:, parent, :3] @ offsets[joint]
        if widths[joint] == 3:
            basis[own, joint, :3] += np.eye(3)
        elif widths[joint] == 2:
            basis[own, joint, :3] += np.linalg.svd(axes[joint - helpers_begin][None])[2][1:]
    return basis, deviation


def closed_form(
    form: np.ndarray, basis: np.ndarray, deviation: np.ndarray, *, nodes: np.ndarray, joints: np.ndarray, height: float
) -> ClosedForm:
    """Solve for the affine pose once and for all moments.

    Args:
        form: [4 N, 4 N], see :func:`quadratic_form`.
        basis: [U, K, 4], see :func:`affine_basis`.
        deviation: [U].
        nodes: [N] skinned joints of the form.
        joints: [S] public joints to solve for.
        height: Of the body, m.
    """
    count = len(basis)
    moving = basis[:, nodes].reshape(count, -1)
    normal = moving @ form @ moving.T
    weight = float(np.trace(form[3::4, 3::4]))
    normal[np.diag_indices(count)] += np.where(deviation, (_NOISE * height / _DEVIATION) ** 2, 1e-12 * weight)
    turns = basis[:, joints, :3].reshape(count, -1)
    wanted = np.concatenate([turns, basis[:, 1, 3:]], axis=1)
    factor = scipy.linalg.cho_factor(normal, lower=True)
    solved = scipy.linalg.cho_solve(factor, wanted)
    covariance = np.einsum("usa,usb->sab", turns.reshape(count, -1, 3), solved[:, :-1].reshape(count, -1, 3))
    return ClosedForm(
        matrix=np.ascontiguousarray(moving.T @ solved),
        joints=joints,
        information=np.linalg.inv(covariance),
    )
