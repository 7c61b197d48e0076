"""World frames and units.

SOMA's world is Y-up: +Y up, +Z where the character faces in the T-pose, +X its left.
The robot world (Isaac, MuJoCo, AMASS) is Z-up: +Z up, +X forward, +Y left.
One cyclic permutation of the axes joins them, so that a character facing SOMA's +Z faces the robot's +X.
"""

from __future__ import annotations

import numpy as np

ROTATION_ZUP_FROM_YUP = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
ROTATION_ZUP_FROM_YUP.setflags(write=False)

METRES_PER_UNIT = {"m": 1.0, "cm": 0.01, "mm": 0.001}


def zup_from_yup_points(points: np.ndarray) -> np.ndarray:
    """Points or vectors [..., 3] of the Y-up SOMA world in the Z-up robot world."""
    return np.asarray(points)[..., [2, 0, 1]]


def yup_from_zup_points(points: np.ndarray) -> np.ndarray:
    """Points or vectors [..., 3] of the Z-up robot world in the Y-up SOMA world."""
    return np.asarray(points)[..., [1, 2, 0]]


def zup_from_yup_rotations(rotations: np.ndarray) -> np.ndarray:
    """World rotations [..., 3, 3] of bodies, from the Y-up to the Z-up world (left product only).

    The body's own axes stay as they are: a SOMA joint at its T-pose keeps ``+Y up, +Z ahead`` as local axes.
    """
    return ROTATION_ZUP_FROM_YUP @ rotations


def yup_from_zup_rotations(rotations: np.ndarray) -> np.ndarray:
    """World rotations [..., 3, 3] of bodies, from the Z-up to the Y-up world (left product only)."""
    return ROTATION_ZUP_FROM_YUP.T @ rotations
