"""The 23 body joints that learned IK poses, their bone lengths, and their kinematics.

A subset of the 77 pose joints of :mod:`soma_isaac.rig.skeleton` without fingers, face and end points, under the same
convention: rotations are relative to the T-pose in world-aligned axes, the world is Y-up, metres.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, POSE_PARENTS, template_rest_offsets

BODY_JOINT_NAMES = (
    *("Hips", "Spine1", "Spine2", "Chest", "Neck1", "Neck2", "Head"),
    *("LeftShoulder", "LeftArm", "LeftForeArm", "LeftHand"),
    *("RightShoulder", "RightArm", "RightForeArm", "RightHand"),
    *("LeftLeg", "LeftShin", "LeftFoot", "LeftToeBase"),
    *("RightLeg", "RightShin", "RightFoot", "RightToeBase"),
)
"""The 23 joints; parents precede children."""

POSE_INDICES = tuple(POSE_JOINT_NAMES.index(name) for name in BODY_JOINT_NAMES)
"""Where each body joint stands among the 77 pose joints."""

BODY_PARENTS = tuple(-1 if POSE_PARENTS[i] < 0 else POSE_INDICES.index(POSE_PARENTS[i]) for i in POSE_INDICES)
"""Parents as indices into the 23 (-1 for ``Hips``)."""

MIRROR = tuple(
    BODY_JOINT_NAMES.index(name.replace("Left", "\0").replace("Right", "Left").replace("\0", "Right"))
    for name in BODY_JOINT_NAMES
)
"""The joint on the other side of the body, itself for the spine and head."""

SHORTEST_BONE_M = 1e-4


@dataclass(frozen=True, eq=False)
class BodySkeleton:
    """The body that is posed: any identity of any backend, or a custom character.

    Attributes:
        rest_offsets: [23, 3] m, T-pose offset of each joint from its parent in world-aligned Y-up axes; row 0 is the
            T-pose Hips position above the floor.
    """

    rest_offsets: np.ndarray

    def __post_init__(self) -> None:
        """Check shape, finiteness and that no bone has vanished.

        Raises:
            InputRejected: A shape differs, a value is not finite, or a bone is shorter than 0.1 mm.
        """
        offsets = frozen_array("rest_offsets", self.rest_offsets, (len(BODY_JOINT_NAMES), 3))
        object.__setattr__(self, "rest_offsets", offsets)
        lengths = np.linalg.norm(offsets[1:], axis=-1)
        if lengths.min() < SHORTEST_BONE_M:
            name = BODY_JOINT_NAMES[1 + int(lengths.argmin())]
            raise InputRejected(f"the bone to {name} is {lengths.min():.2g} m long; a body needs bones of length")

    @classmethod
    def from_public_offsets(cls, rest_offsets: np.ndarray) -> BodySkeleton:
        """The 23 joints of a body given by its 78 public joints.

        Args:
            rest_offsets: [78, 3] m as in :class:`~soma_isaac.motion.soma.MotionIdentity`.

        Raises:
            InputRejected: As the constructor.
        """
        offsets = frozen_array("rest_offsets", rest_offsets, (78, 3))
        return cls(offsets[1:][list(POSE_INDICES)])

    @functools.cached_property
    def log_bone_ratios(self) -> np.ndarray:
        """[22] natural logarithm of each bone's length over the template's: what the network is told of the body."""
        return log_bone_ratios(self.rest_offsets)

    @functools.cached_property
    def scale(self) -> float:
        """Size of the body relative to the template: geometric mean of its bone ratios."""
        return float(np.exp(self.log_bone_ratios.mean()))


def log_bone_ratios(rest_offsets: np.ndarray) -> np.ndarray:
    """Log bone-length ratios [..., 22] to the template body of offsets [..., 23, 3] m."""
    lengths = np.linalg.norm(rest_offsets[..., 1:, :], axis=-1)
    return np.log(np.maximum(lengths, SHORTEST_BONE_M)) - np.log(_template_lengths())


@functools.lru_cache(maxsize=1)
def template_skeleton() -> BodySkeleton:
    """The template body's 23 joints."""
    return BodySkeleton.from_public_offsets(template_rest_offsets())


@functools.lru_cache(maxsize=1)
def _template_lengths() -> np.ndarray:
    return np.linalg.norm(template_skeleton().rest_offsets[1:], axis=-1)


@dataclass(frozen=True, eq=False)
class BodyPose:
    """B poses of the 23 body joints.

    Attributes:
        rotations: [B, 23, 3, 3] local rotations relative to the T-pose in world-aligned axes.
        root_position: [B, 3] m, Hips in the Y-up world.
    """

    rotations: np.ndarray
    root_position: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes, finiteness and that every matrix is a rotation.

        Raises:
            InputRejected: Any of these fails.
        """
        rotations = frozen_array("rotations", self.rotations, (None, len(BODY_JOINT_NAMES), 3, 3))
        object.__setattr__(self, "rotations", rotations)
        object.__setattr__(
            self, "root_position", frozen_array("root_position", self.root_position, (len(rotations), 3))
        )
        check_rotations("rotations (pose, joint)", rotations)

    @property
    def count(self) -> int:
        """Number of poses B."""
        return len(self.rotations)

    def full(self, rest: np.ndarray | None = None) -> np.ndarray:
        """Rotations [B, 77, 3, 3] of all pose joints.

        Args:
            rest: [77, 3, 3] or [B, 77, 3, 3] rotations of the joints that learned IK leaves alone (fingers, face);
                identity (T-pose) by default.
        """
        start = np.eye(3) if rest is None else rest
        full = np.broadcast_to(start, (self.count, len(POSE_JOINT_NAMES), 3, 3)).astype(np.float64)
        full[:, list(POSE_INDICES)] = self.rotations
        return full


def body_kinematics(
    rotations: np.ndarray, root_position: np.ndarray, rest_offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Joint positions and world rotations of poses of the 23 joints.

    Args:
        rotations: [B, 23, 3, 3] local rotations.
        root_position: [B, 3] m.
        rest_offsets: [23, 3] or [B, 23, 3] m.

    Returns:
        Positions [B, 23, 3] m and world rotations [B, 23, 3, 3], identity in the T-pose:
        ``G_j = G_parent R_j`` and ``p_j = p_parent + G_parent o_j``.
    """
    offsets = np.broadcast_to(rest_offsets, (len(rotations), len(BODY_JOINT_NAMES), 3))
    world = np.empty_like(rotations)
    positions = np.empty(rotations.shape[:2] + (3,), dtype=rotations.dtype)
    for joint, parent in enumerate(BODY_PARENTS):
        if parent < 0:
            world[:, joint], positions[:, joint] = rotations[:, joint], root_position
        else:
            world[:, joint] = world[:, parent] @ rotations[:, joint]
            turned = (world[:, parent] @ offsets[:, joint, :, None])[..., 0]
            positions[:, joint] = positions[:, parent] + turned
    return positions, world
