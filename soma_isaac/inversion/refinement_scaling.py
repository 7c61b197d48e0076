"""Variables in which a pose's error falls evenly in all directions, for optimizers that know gradients only."""

from __future__ import annotations

import numpy as np

from soma_isaac.body.layout import top_influences
from soma_isaac.body.soma import SomaBody

_RIDGE = 1e-8
_OWN_RIDGE = 1e-3
_SAMPLES = 5000


class VertexMoves:
    """How much each public joint moves each vertex; twist helpers are taken to follow their parents.

    Args:
        body: Whose mesh; of large meshes evenly spread vertices stand for all.
    """

    def __init__(self, body: SomaBody) -> None:
        layout = body.layout
        public, count = layout.public_count, body.vertex_count
        offsets, joints, weights = top_influences(body.rig.mesh(body.lod), layout)
        parents = np.concatenate([layout.parents, layout.helper_parents])
        below = np.zeros((len(parents), count))
        np.add.at(below, (joints, np.repeat(np.arange(count), np.diff(offsets))), weights)
        for joint in range(len(parents) - 1, 0, -1):
            below[parents[joint]] += below[joint]
        self.rows = np.arange(0, count, -(-count // _SAMPLES))
        self._below = below[1:public, self.rows].astype(np.float32)
        self._orientations = body.orientations[1:]

    def scalings(
        self, vertices: np.ndarray, transforms: np.ndarray, shares: np.ndarray, *, height: float, prior: float
    ) -> np.ndarray:
        """Matrices S with variables = S z: one step of z against the gradient is nearly a Gauss-Newton step.

        They are inverse Cholesky factors of the normal equations of ``dv = W_jv A_j d_j x (v - p_j)``, where ``d_j`` is
        a rotation vector from the right and ``A_j`` the joint's world rotation since the T-pose.

        Args:
            vertices: [B, V, 3] m, posed.
            transforms: [B, P, 4, 4] m, posed public joints.
            shares: [1 or B, V] vertex weights.
            height: Of the body [m]; a translation of 1 is as much.
            prior: Cost of a rotation [m^2 / rad^2].

        Returns:
            [B, 3 P, 3 P] for the P - 1 joints and the translation.
        """
        size = 3 * (len(self._below) + 1)
        result = np.empty((len(vertices), size, size))
        for frame in range(len(vertices)):
            share = shares[frame % len(shares), self.rows]
            share = share / max(float(share.sum()), 1e-6)
            arms = vertices[frame, self.rows] - transforms[frame, 1:, None, :3, 3]
            axes = transforms[frame, 1:, :3, :3] @ np.swapaxes(self._orientations, -1, -2)
            moves = np.zeros((len(self.rows), 3, size), dtype=np.float32)
            for axis in range(3):
                turned = np.cross(axes[:, None, :, axis], arms) * self._below[..., None]
                moves[:, :, axis : size - 3 : 3] = np.moveaxis(turned, 0, -1)
            moves[:, :, size - 3 :] = height * np.eye(3)
            moves *= np.sqrt(share)[:, None, None]
            flat = moves.reshape(-1, size)
            normal = (flat.T @ flat).astype(np.float64)
            diagonal = np.arange(size)
            normal[diagonal[:-3], diagonal[:-3]] += prior
            normal[diagonal, diagonal] += _OWN_RIDGE * normal[diagonal, diagonal] + _RIDGE * height**2
            result[frame] = np.linalg.inv(np.linalg.cholesky(normal)).T
        return result
