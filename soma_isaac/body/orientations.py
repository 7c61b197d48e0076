"""Reference orientations of the joints: rotations relative to a T-pose, absolute ones, and their mirror images.

A pose is stored relative to the T-pose in world-aligned axes, ``R = O_p A O_j^T`` with the absolute local rotation
``A`` and the T-pose's world rotations ``O`` (``O_Root = I``). A motion that was stored against another T-pose stays
valid if its own reference orientations are known: convert it with :func:`convert_reference`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import check_rotations
from soma_isaac.motion.soma import MotionIdentity, SomaMotion
from soma_isaac.rig.rig import Rig
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS, template_rest_rotations

REFERENCE_TOLERANCE = 1e-4
"""How far a reference orientation may be from SO(3), and the root's from the identity (SOMA-X's figure)."""

_JOINT_COUNT = len(PUBLIC_JOINT_NAMES)
_PARENTS = np.array(PUBLIC_PARENTS[1:])


def reference_orientations(source: Rig | ArrayLike | None = None) -> np.ndarray:
    """World rotations [78, 3, 3] of the joints in a reference pose, ``Root`` being the identity.

    Args:
        source: A rig (its T-pose), rotations [78, 3, 3], transforms [78, 4, 4] (their translations are not read), or
            ``None`` for the template's T-pose.

    Raises:
        InputRejected: The shape is another, or a matrix is not a rotation, or the root's is not the identity.
        RigMismatch: The rig lacks a public joint.
    """
    if source is None:
        rotations = template_rest_rotations().copy()
        rotations[0] = np.eye(3)
    elif isinstance(source, Rig):
        rows = [source.skeleton.index(name) for name in PUBLIC_JOINT_NAMES]
        rotations = source.skeleton.rest_T_world_joint[rows, :3, :3].copy()
        rotations[0] = np.eye(3)
    else:
        rotations = np.array(source, dtype=np.float64)
        if rotations.shape not in ((_JOINT_COUNT, 3, 3), (_JOINT_COUNT, 4, 4)):
            raise InputRejected(
                f"reference orientations have shape {rotations.shape}, expected ({_JOINT_COUNT}, 3, 3) or "
                f"({_JOINT_COUNT}, 4, 4) in the order of the public joints, Root first"
            )
        rotations = rotations[:, :3, :3].copy()
    if not np.isfinite(rotations).all():
        raise InputRejected("reference orientations are not finite")
    check_rotations("reference orientations (joint)", rotations, REFERENCE_TOLERANCE)
    if np.abs(rotations[0] - np.eye(3)).max() > REFERENCE_TOLERANCE:
        raise InputRejected("the reference orientation of Root is not the identity")
    return rotations


def absolute_from_relative(
    rotations: np.ndarray, reference: np.ndarray, parents: np.ndarray | None = None
) -> np.ndarray:
    """Absolute local rotations of the rig ``O_p^T R O_j`` from rotations relative to a reference pose.

    Args:
        rotations: [..., 77, 3, 3].
        reference: [78, 3, 3] from :func:`reference_orientations`.
        parents: [78] parents of the joints of another rig; SOMA's public joints by default.
    """
    above = _PARENTS if parents is None else parents[1:]
    return np.swapaxes(reference[above], -1, -2) @ rotations @ reference[1:]


def relative_from_absolute(rotations: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Rotations relative to a reference pose ``O_p A O_j^T`` from absolute local ones.

    Args:
        rotations: [..., 77, 3, 3].
        reference: [78, 3, 3] from :func:`reference_orientations`.
    """
    return reference[_PARENTS] @ rotations @ np.swapaxes(reference[1:], -1, -2)


def convert_reference(rotations: np.ndarray, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The same pose, relative to another reference pose.

    Args:
        rotations: [..., 77, 3, 3] relative to ``source``.
        source: [78, 3, 3] reference orientations that the rotations were stored against.
        target: [78, 3, 3] reference orientations to express them against.
    """
    return relative_from_absolute(absolute_from_relative(rotations, source), target)


def _mirror_table() -> tuple[np.ndarray, np.ndarray]:
    twins, signs = [], []
    for name in PUBLIC_JOINT_NAMES:
        other = name
        for side, opposite in (("Left", "Right"), ("Right", "Left")):
            if name.startswith(side):
                other = opposite + name.removeprefix(side)
        twins.append(PUBLIC_JOINT_NAMES.index(other))
        # Eyes are paired, but their frames are parallel to the head's.
        limb = other != name and not name.endswith("Eye")
        signs.append((-1.0, 1.0, 1.0) if name == "Root" else (-1.0, -1.0, -1.0) if limb else (1.0, 1.0, -1.0))
    return np.array(twins), np.array(signs)


MIRROR_TWINS, _AXIS_SIGNS = _mirror_table()
"""[78] the public joint on the other side; central joints are their own."""

_FLIP = np.array([-1.0, 1.0, 1.0])


def mirrored_points(points: np.ndarray) -> np.ndarray:
    """Points or vectors [..., 3] mirrored at the plane x = 0 that divides left from right."""
    return np.asarray(points) * _FLIP


def mirrored_transforms(transforms: np.ndarray) -> np.ndarray:
    """World transforms [..., 78, 4, 4] of the public joints of the mirror image, left and right exchanged.

    The frames of SOMA's right limbs are the left ones with all three axes reversed; those of central joints and of the
    eyes have their x and y axes in the mirror plane. So the mirror image of a joint's frame, with those axes reversed,
    is its twin's frame in the mirrored pose. Exact for rigs whose T-pose is symmetric. (SOMA-X counts the eyes as limbs
    and turns them by half a turn.)

    Raises:
        InputRejected: The shape is another.
    """
    values = np.asarray(transforms)
    if values.shape[-3:] != (_JOINT_COUNT, 4, 4):
        raise InputRejected(f"transforms have shape {values.shape}, expected (..., {_JOINT_COUNT}, 4, 4)")
    result = values[..., MIRROR_TWINS, :, :].copy()
    result[..., :3, :] *= _FLIP[:, None]
    result[..., :3, :3] *= _AXIS_SIGNS[:, None, :]
    return result


def mirrored_rotations(rotations: np.ndarray) -> np.ndarray:
    """T-pose-relative rotations [..., 77, 3, 3] of the mirror image: ``M R_twin M``, ``M = diag(-1, 1, 1)``.

    Raises:
        InputRejected: The shape is another.
    """
    values = np.asarray(rotations)
    if values.shape[-3:] != (_JOINT_COUNT - 1, 3, 3):
        raise InputRejected(f"rotations have shape {values.shape}, expected (..., {_JOINT_COUNT - 1}, 3, 3)")
    return values[..., MIRROR_TWINS[1:] - 1, :, :] * np.outer(_FLIP, _FLIP)


def mirrored_motion(motion: SomaMotion) -> SomaMotion:
    """The mirror image of a motion, made for the mirror image of its body.

    The identity's coefficients are kept: they describe a symmetric body in every model that SOMA reads.
    """
    identity: MotionIdentity = dataclasses.replace(
        motion.identity, rest_offsets=mirrored_points(motion.identity.rest_offsets[MIRROR_TWINS])
    )
    provenance = dataclasses.replace(motion.provenance, notes=(*motion.provenance.notes, "Mirrored at x = 0."))
    return SomaMotion(
        fps=motion.fps,
        rotations=mirrored_rotations(motion.rotations),
        root_translation=mirrored_points(motion.root_translation),
        identity=identity,
        provenance=provenance,
    )
