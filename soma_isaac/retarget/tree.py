"""A robot's kinematic tree from a URDF; its kinematics are those of :mod:`soma_isaac.motion.robot_clip`.

Order of joints and bodies: depth first, children in the order of the file. That is the order of MuJoCo, of Unitree's
SDK and CSV, and of Pinocchio. Links on fixed joints are merged into the body that carries them (mass, centre of mass
and inertia; a massless link only disappears), as Isaac's importer does with ``merge_fixed_joints`` and as MuJoCo does:
a body is the root link or the child of a moving joint.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.urdf import Urdf, UrdfJoint, UrdfLink
from soma_isaac.motion.robot_clip import Tree as Tree
from soma_isaac.motion.robot_clip import body_poses as body_poses
from soma_isaac.motion.robot_clip import body_twists as body_twists

MAX_LINKS = 256


@dataclass
class MergedBody:
    """A body of the tree: the joint that moves it, where it hangs, and the links merged into it.

    Attributes:
        name: Name of its first link.
        parent: Index of the parent body, -1 for the root.
        joint: The revolute joint, ``None`` for the root.
        translation: [3] m, origin in the parent body's frame.
        rotation: [3, 3] axes in the parent body's frame at joint position 0.
        links: Its links with their origin and axes in the body's frame.
    """

    name: str
    parent: int
    joint: UrdfJoint | None
    translation: np.ndarray
    rotation: np.ndarray
    links: list[tuple[UrdfLink, np.ndarray, np.ndarray]] = field(default_factory=list)

    def inertial(self) -> tuple[float, np.ndarray, np.ndarray]:
        """Mass [kg], centre of mass [3] m and inertia [3, 3] kg m^2 about it, of all links, in the body's frame."""
        mass = sum(link.mass for link, _, _ in self.links)
        if mass == 0.0:
            return 0.0, np.zeros(3), np.zeros((3, 3))
        parts = [(link, place + turn @ link.com, turn) for link, place, turn in self.links]
        com = sum((link.mass * own for link, own, _ in parts), np.zeros(3)) / mass
        inertia = np.zeros((3, 3))
        for link, own, turn in parts:
            arm = own - com
            # Steiner's theorem
            inertia += turn @ link.inertia @ turn.T + link.mass * (arm @ arm * np.eye(3) - np.outer(arm, arm))
        return mass, com, inertia


def merged_bodies(urdf: Urdf) -> list[MergedBody]:
    """Bodies of a URDF depth first, with the links on fixed joints merged.

    Raises:
        InputRejected: The links are no tree with one root, are too many, or a joint is neither revolute nor fixed.
    """
    if len(urdf.links) > MAX_LINKS:
        raise InputRejected(f"the robot has {len(urdf.links)} links; at most {MAX_LINKS} are read")
    links = {link.name: link for link in urdf.links}
    children: dict[str, list[UrdfJoint]] = {link.name: [] for link in urdf.links}
    for joint in urdf.joints:
        children[joint.parent].append(joint)
    held = [joint.child for joint in urdf.joints]
    roots = [link.name for link in urdf.links if link.name not in held]
    if len(roots) != 1 or len(set(held)) != len(held):
        raise InputRejected(f"the links are no tree with one root (roots: {', '.join(roots) or 'none'})")
    root = roots[0]
    if len(children[root]) == 1 and children[root][0].kind == "floating":
        root = children[root][0].child  # a "world" link above the robot
    bodies = [MergedBody(root, -1, None, np.zeros(3), np.eye(3))]
    entered: set[str] = {roots[0]}

    def enter(link: str, owner: int, translation: np.ndarray, rotation: np.ndarray) -> None:
        entered.add(link)
        bodies[owner].links.append((links[link], translation, rotation))
        for joint in children[link]:
            place, turn = translation + rotation @ joint.translation, rotation @ joint.rotation
            if joint.kind == "fixed":
                enter(joint.child, owner, place, turn)
            elif joint.kind == "revolute":
                bodies.append(MergedBody(joint.child, owner, joint, place, turn))
                enter(joint.child, len(bodies) - 1, np.zeros(3), np.eye(3))
            else:
                raise InputRejected(f"joint {joint.name} is {joint.kind}; a G1 has revolute and fixed joints only")

    enter(root, 0, np.zeros(3), np.eye(3))
    if len(entered) != len(links):
        raise InputRejected(f"links in a loop of joints: {', '.join(sorted(set(links) - entered))}")
    return bodies
