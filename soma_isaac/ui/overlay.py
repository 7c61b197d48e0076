"""Bones drawn over a picture of a body."""

from __future__ import annotations

import numpy as np

from soma_isaac.render.cameras import project
from soma_isaac.render.scene import Camera
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS

BONE_RGB = (40, 225, 160)
JOINT_RGB = (255, 240, 120)
_FINGER_WORDS = ("Thumb", "Index", "Middle", "Ring", "Pinky")
_FINE = np.array([any(word in name for word in _FINGER_WORDS) for name in POSE_JOINT_NAMES])


def draw_skeleton(image: np.ndarray, joints: np.ndarray, camera: Camera) -> None:
    """Draw bones and joints into an image, in place.

    Args:
        image: [H, W, 3] uint8.
        joints: [77, 3] m, world, Z up, in pose order.
        camera: With which the image was made.
    """
    pixels = project(joints, camera, (image.shape[1], image.shape[0]))
    for joint, parent in enumerate(POSE_PARENTS):
        if parent >= 0:
            length = np.abs(pixels[joint] - pixels[parent]).max()
            steps = 2 if not np.isfinite(length) else int(min(length, 4096.0)) + 2
            line = np.linspace(pixels[parent], pixels[joint], steps)
            _stamp(image, line, BONE_RGB, 1 if _FINE[joint] else 2)
    _stamp(image, pixels[~_FINE], JOINT_RGB, 3)


def _stamp(image: np.ndarray, pixels: np.ndarray, rgb: tuple[int, int, int], width: int) -> None:
    """Squares of ``width`` pixels around ``pixels`` [N, 2]; what lies outside is left out."""
    kept = pixels[np.isfinite(pixels).all(axis=1)]
    kept = kept[(np.abs(kept) < 1e6).all(axis=1)]
    corner = np.rint(kept - 0.5 * (width - 1)).astype(np.int64)
    for down in range(width):
        for across in range(width):
            columns, rows = corner[:, 0] + across, corner[:, 1] + down
            inside = (columns >= 0) & (columns < image.shape[1]) & (rows >= 0) & (rows < image.shape[0])
            image[rows[inside], columns[inside]] = rgb
