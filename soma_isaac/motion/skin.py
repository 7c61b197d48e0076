"""A moving skinned body as exporters need it: skeleton, skin and the joints' transforms frame by frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.math.so3 import continuous_quats, quat_wxyz_from_matrix
from soma_isaac.motion.soma import check_fps
from soma_isaac.rig.rig import SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class SkinAnimation:
    """One body in motion, or in one pose (one frame), in the Y-up SOMA world.

    Attributes:
        name: What the animation is called, e.g. the clip's name.
        fps: Frame rate [Hz].
        skeleton: J joints with the bind pose of ``mesh`` and the T-pose, m.
        mesh: Skin of the body in its bind pose; linear blend skinning with its weights gives the posed vertices.
        T_world_joint: [T, J, 4, 4] m, rigid transforms of the joints, twist helpers included.
    """

    name: str
    fps: float
    skeleton: Skeleton
    mesh: SkinnedMesh
    T_world_joint: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes and that the transforms are rigid.

        Raises:
            InputRejected: A shape differs, a value is not finite or a rotation is none.
            RigMismatch: There is no frame, or the mesh uses joints that the skeleton lacks.
        """
        object.__setattr__(self, "fps", check_fps(self.fps))
        transforms = frozen_array("T_world_joint", self.T_world_joint, (None, self.skeleton.joint_count, 4, 4))
        object.__setattr__(self, "T_world_joint", transforms)
        if not len(transforms):
            raise RigMismatch("an animation needs at least one frame")
        check_rotations("T_world_joint (frame, joint)", transforms[..., :3, :3])
        if self.mesh.joint_indices.size and self.mesh.joint_indices.max() >= self.skeleton.joint_count:
            raise RigMismatch(f"mesh {self.mesh.name} uses joints beyond the skeleton's {self.skeleton.joint_count}")

    @property
    def frame_count(self) -> int:
        """Number of frames T."""
        return len(self.T_world_joint)

    def local_transforms(self) -> tuple[np.ndarray, np.ndarray]:
        """Unit quaternions [T, J, 4] in w, x, y, z order and translations [T, J, 3] m relative to each joint's parent.

        Quaternions of consecutive frames lie in one half space, so that interpolating them takes the short way.
        """
        return parent_relative(self.T_world_joint, self.skeleton.parent_indices)


def parent_relative(world: np.ndarray, parents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Quaternions [T, J, 4] (w, x, y, z) and translations [T, J, 3] relative to the parents; the root keeps its own.

    Args:
        world: [T, J, 4, 4] rigid transforms.
        parents: [J], -1 for the root.
    """
    above = np.where(parents[:, None, None] >= 0, world[:, np.maximum(parents, 0)], np.eye(4))
    turned_back = np.swapaxes(above[..., :3, :3], -1, -2)
    rotations = turned_back @ world[..., :3, :3]
    translations = np.einsum("tjab,tjb->tja", turned_back, world[..., :3, 3] - above[..., :3, 3])
    return continuous_quats(quat_wxyz_from_matrix(rotations)), translations
