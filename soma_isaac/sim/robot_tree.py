"""A robot's links and hinges as plain numpy: enough to lay a robot out, without a solver.

Retargeting has Pinocchio for this (``soma_isaac.retarget``); inside a simulator Pinocchio must not be loaded, and a
stage or a reference needs only the tree itself.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.urdf import Urdf, UrdfJoint, UrdfLink
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.motion.robot_clip import Tree, body_poses, clip_from_motion


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

    @functools.cached_property
    def kinematics(self) -> Tree:
        """What :func:`soma_isaac.motion.robot_clip.body_poses` and ``body_twists`` work on."""
        return Tree(
            parents=self.parents,
            translations=np.stack([np.zeros(3), *(joint.translation for joint in self.joints)]),
            rotations=np.stack([np.eye(3), *(joint.rotation for joint in self.joints)]),
            axes=np.array([joint.axis for joint in self.joints]).reshape(-1, 3),
        )

    def rest_poses(self) -> tuple[np.ndarray, np.ndarray]:
        """Origins [B, 3] m and rotations [B, 3, 3] of all links with the root at the origin and the joints at zero."""
        root, still = np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0, 0.0]])
        positions, rotations = body_poses(self.kinematics, root, still, np.zeros((1, len(self.joints))))
        return positions[0], rotations[0]

    def clip(self, motion: RobotMotion) -> ReferenceClip:
        """The reference clip of a motion, as :mod:`soma_isaac.motion.robot_clip` makes it.

        Raises:
            RigMismatch: The motion has other joints.
        """
        return clip_from_motion(
            motion,
            self.kinematics,
            joint_names=self.joint_names,
            body_names=self.link_names,
            body_com_b=np.array([link.com for link in self.links]),
            digest=self.digest,
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
