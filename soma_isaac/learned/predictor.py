"""What turns effectors into a first whole pose: the network, or the rest pose put where the effectors are."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from soma_isaac.learned.effectors import POSITION, ROTATION, Effectors
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, BodySkeleton, body_kinematics, log_bone_ratios

HEADING_OF_ROTATION_M = 0.3
"""A rotation effector says as much about the heading as a position effector this far from the centroid."""


class PosePredictor(Protocol):
    """Anything that proposes a whole pose; the exact stage (:mod:`soma_isaac.learned.refine`) does the rest."""

    def predict(self, effectors: Effectors, skeleton: BodySkeleton) -> BodyPose:
        """One pose per set of effectors, of the body ``skeleton``."""
        ...


class StillPose:
    """A fixed pose, turned about the vertical and moved to fit the effectors as well as a still pose can.

    Args:
        rotations: [23, 3, 3] local rotations; the T-pose by default.
    """

    def __init__(self, rotations: np.ndarray | None = None) -> None:
        self.rotations = np.broadcast_to(np.eye(3), (23, 3, 3)) if rotations is None else np.asarray(rotations)

    def predict(self, effectors: Effectors, skeleton: BodySkeleton) -> BodyPose:
        """The pose with heading and place from :func:`placement`."""
        return self.predict_bodies(effectors, skeleton.rest_offsets[None])

    def predict_bodies(self, effectors: Effectors, rest_offsets: np.ndarray) -> BodyPose:
        """The same for bodies of offsets [B, 23, 3] m, or [1, 23, 3] for all sets."""
        rotations = np.broadcast_to(self.rotations, (len(rest_offsets), 23, 3, 3))
        positions, world = body_kinematics(rotations, np.zeros((len(rest_offsets), 3)), rest_offsets)
        scale = np.exp(log_bone_ratios(rest_offsets).mean(axis=1))[:, None]
        turn, centroid, template_centroid = placement(effectors, positions / scale[..., None], world[0], scale)
        rotations = np.broadcast_to(self.rotations, (effectors.count, 23, 3, 3)).copy()
        rotations[:, 0] = turn @ rotations[:, 0]
        return BodyPose(rotations, centroid - scale * (turn @ template_centroid[..., None])[..., 0])


def placement(
    effectors: Effectors,
    template_positions: np.ndarray,
    template_rotations: np.ndarray,
    scale: float | np.ndarray = 1.0,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The heading and place that bring a template pose nearest to the effectors.

    The turn about Y is the closed form of orthogonal Procrustes in the plane, over the position effectors' offsets
    from their centroid and, as lever arms of 0.3 m, the axes of rotation effectors. It turns with the effectors, so
    that whatever is computed in its frame is equivariant to heading.

    Args:
        effectors: B sets.
        template_positions: [23, 3] or [B, 23, 3] m joint positions of the template pose.
        template_rotations: [23, 3, 3] its world rotations.
        scale: Size of the bodies [B] over that of the template.

    Returns:
        Turns [B, 3, 3], weighted centroids [B, 3] m of the position effectors, and the centroids [B, 3] m of the same
        joints in the template.
    """
    weight = effectors.weight * (effectors.kind == POSITION)
    share = (weight / weight.sum(axis=1, keepdims=True))[..., None]
    points = np.broadcast_to(template_positions, (effectors.count, len(BODY_JOINT_NAMES), 3))
    template = np.take_along_axis(points, effectors.joint[..., None], axis=1)
    centroid, template_centroid = (share * effectors.target).sum(axis=1), (share * template).sum(axis=1)
    have = template - template_centroid[:, None]
    want = (effectors.target - centroid[:, None]) / np.reshape(scale, (-1, 1, 1))
    axes = HEADING_OF_ROTATION_M * effectors.weight * (effectors.kind == ROTATION)
    axes_have = axes[..., None, None] * template_rotations[effectors.joint]
    axes_want = HEADING_OF_ROTATION_M * effectors.rotation
    # sum over points of (z, x) pairs as complex numbers: the argument of conj(have) * want is the turn about +Y
    cosine = (weight * (have[..., 0] * want[..., 0] + have[..., 2] * want[..., 2])).sum(axis=1)
    sine = (weight * (have[..., 2] * want[..., 0] - have[..., 0] * want[..., 2])).sum(axis=1)
    cosine += (axes_have[..., 0, :] * axes_want[..., 0, :] + axes_have[..., 2, :] * axes_want[..., 2, :]).sum((1, 2))
    sine += (axes_have[..., 2, :] * axes_want[..., 0, :] - axes_have[..., 0, :] * axes_want[..., 2, :]).sum((1, 2))
    return turn_about_y(cosine, sine), centroid, template_centroid


def turn_about_y(cosine: np.ndarray, sine: np.ndarray) -> np.ndarray:
    """Rotations [B, 3, 3] about +Y by the angle of (cosine, sine) [B], of any length; none where both vanish."""
    length = np.hypot(cosine, sine)
    known = length > 1e-9
    c = np.where(known, cosine / np.maximum(length, 1e-9), 1.0)
    s = np.where(known, sine / np.maximum(length, 1e-9), 0.0)
    zero, one = np.zeros_like(c), np.ones_like(c)
    return np.stack([np.stack([c, zero, s], -1), np.stack([zero, one, zero], -1), np.stack([-s, zero, c], -1)], -2)
