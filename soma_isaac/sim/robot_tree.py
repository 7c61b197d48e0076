"""A robot's links and hinges as plain numpy: enough to lay a robot out, without a solver.

Retargeting has Pinocchio for this (``soma_isaac.retarget``); inside a simulator Pinocchio must not be loaded, and a
stage or a reference needs only the tree itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.urdf import Urdf, UrdfJoint, UrdfLink
from soma_isaac.math.resample import mean_of_steps
from soma_isaac.math.so3 import (
    continuous_quats,
    matrix_from_quat_wxyz,
    matrix_from_rotvec,
    quat_wxyz_from_matrix,
    rotvec_from_matrix,
)
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.robot import RobotMotion


@dataclass(frozen=True, eq=False)
class RobotTree:
    """Links of a robot on hinges, depth first.

    Attributes:
        links: [B] links, the root first, parents before children.
        joints: [B - 1] joints; ``joints[i]`` carries ``links[i + 1]``.
        parents: [B] index of each link's parent, -1 for the root.
        digest: sha256 of the description.
    """

    links: tuple[UrdfLink, ...]
    joints: tuple[UrdfJoint, ...]
    parents: tuple[int, ...]
    digest: str

    @property
    def link_names(self) -> tuple[str, ...]:
        """Names of the links."""
        return tuple(link.name for link in self.links)

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints."""
        return tuple(joint.name for joint in self.joints)

    def poses(self, root_pos: np.ndarray, root_rot: np.ndarray, joint_pos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Origins [T, B, 3] m and rotations [T, B, 3, 3] of all links in the world.

        Args:
            root_pos: [T, 3] m.
            root_rot: [T, 3, 3] root link to world.
            joint_pos: [T, B - 1] rad.
        """
        positions = np.empty((len(root_pos), len(self.links), 3))
        rotations = np.empty((len(root_pos), len(self.links), 3, 3))
        positions[:, 0], rotations[:, 0] = root_pos, root_rot
        for child, joint in enumerate(self.joints, start=1):
            parent = self.parents[child]
            turn = matrix_from_rotvec(joint_pos[:, child - 1, None] * joint.axis)
            rotations[:, child] = rotations[:, parent] @ joint.rotation @ turn
            positions[:, child] = positions[:, parent] + rotations[:, parent] @ joint.translation
        return positions, rotations

    def twists(
        self,
        positions: np.ndarray,
        rotations: np.ndarray,
        root_lin_vel: np.ndarray,
        root_ang_vel: np.ndarray,
        joint_vel: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Velocities [T, B, 3] of all link origins (m/s) and links (rad/s), world axes.

        Args:
            positions: [T, B, 3] m, of :meth:`poses`.
            rotations: [T, B, 3, 3], of :meth:`poses`.
            root_lin_vel: [T, 3] m/s, of the root link's origin.
            root_ang_vel: [T, 3] rad/s, world.
            joint_vel: [T, B - 1] rad/s.
        """
        linear, angular = np.empty_like(positions), np.empty_like(positions)
        linear[:, 0], angular[:, 0] = root_lin_vel, root_ang_vel
        for child, joint in enumerate(self.joints, start=1):
            parent = self.parents[child]
            arm = positions[:, child] - positions[:, parent]
            linear[:, child] = linear[:, parent] + np.cross(angular[:, parent], arm)
            axis = rotations[:, child] @ joint.axis
            angular[:, child] = angular[:, parent] + axis * joint_vel[:, child - 1, None]
        return linear, angular

    def clip(self, motion: RobotMotion) -> ReferenceClip:
        """The reference clip of a motion, with the derivatives of :mod:`soma_isaac.retarget.clip`.

        Raises:
            RigMismatch: The motion has other joints.
        """
        if set(motion.joint_names) != set(self.joint_names) or len(motion.joint_names) != len(self.joints):
            raise RigMismatch("motion and robot do not have the same joints")
        joint_pos = motion.joint_pos[:, [motion.joint_names.index(name) for name in self.joint_names]]
        root_rot = matrix_from_quat_wxyz(motion.root_quat_wxyz)
        turns = rotvec_from_matrix(root_rot[1:] @ np.swapaxes(root_rot[:-1], -1, -2))
        joint_vel = mean_of_steps(np.diff(joint_pos, axis=0) * motion.fps)
        positions, rotations = self.poses(motion.root_pos, root_rot, joint_pos)
        linear, angular = self.twists(
            positions,
            rotations,
            mean_of_steps(np.diff(motion.root_pos, axis=0) * motion.fps),
            mean_of_steps(turns * motion.fps),
            joint_vel,
        )
        return ReferenceClip(
            fps=motion.fps,
            joint_names=self.joint_names,
            body_names=self.link_names,
            body_parents=self.parents,
            joint_pos=joint_pos,
            joint_vel=joint_vel,
            body_pos_w=positions,
            body_quat_wxyz=continuous_quats(quat_wxyz_from_matrix(rotations)),
            body_lin_vel_w=linear,
            body_ang_vel_w=angular,
            body_com_b=np.array([link.com for link in self.links]),
            foot_contacts=motion.foot_contacts,
            robot_digest=self.digest,
        )


def robot_tree(urdf: Urdf) -> RobotTree:
    """The tree of a description whose joints are all hinges.

    Raises:
        InputRejected: A joint is of another kind, the links are no single tree, or a link has no mass.
    """
    other = [joint.name for joint in urdf.joints if joint.kind not in ("revolute", "continuous")]
    if other:
        raise InputRejected(f"joint {other[0]} is no hinge; merge fixed joints first")
    links = {link.name: link for link in urdf.links}
    children = {joint.child for joint in urdf.joints}
    roots = [name for name in links if name not in children]
    if len(roots) != 1 or len(children) != len(urdf.joints):
        raise InputRejected("the links are no single tree")
    massless = [name for name, link in links.items() if link.mass <= 0.0]
    if massless:
        raise InputRejected(f"link {massless[0]} has no mass")
    names, joints, parents = [roots[0]], [], [-1]

    def descend(name: str) -> None:
        parent = names.index(name)
        for joint in urdf.joints:
            if joint.parent == name:
                names.append(joint.child)
                joints.append(joint)
                parents.append(parent)
                descend(joint.child)

    descend(roots[0])
    return RobotTree(tuple(links[name] for name in names), tuple(joints), tuple(parents), urdf.digest)
