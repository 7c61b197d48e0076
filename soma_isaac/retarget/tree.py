"""A robot's kinematic tree: from a URDF, and its forward kinematics and twists for all frames of a clip at once.

Order of joints and bodies: depth first, children in the order of the file. That is the order of MuJoCo, of Unitree's
SDK and CSV, and of Pinocchio. Links on fixed joints are merged into the body that carries them (mass, centre of mass
and inertia; a massless link only disappears), as Isaac's importer does with ``merge_fixed_joints`` and as MuJoCo does:
a body is the root link or the child of a moving joint.

The kinematics make one pass over the bodies; every operation runs over all frames. Arrays are kept component by
component ([3, T] and [3, 3, T]) on the way, so that a product of small matrices is a handful of long vector operations.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.urdf import Urdf, UrdfJoint, UrdfLink
from soma_isaac.math.so3 import matrix_from_quat_wxyz

MAX_LINKS = 256


@dataclass(frozen=True, eq=False)
class Tree:
    """A kinematic tree: body 0 is the free root, body j + 1 hangs on revolute joint j.

    Attributes:
        parents: [B] parent body, -1 for the root; parents come before their children.
        translations: [B, 3] m, body origin in its parent's frame (root: zero).
        rotations: [B, 3, 3] body axes in its parent's frame at joint position 0 (root: identity).
        axes: [B - 1, 3] unit joint axes in the body's own frame.
    """

    parents: tuple[int, ...]
    translations: np.ndarray
    rotations: np.ndarray
    axes: np.ndarray


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


def body_poses(
    tree: Tree, root_pos: np.ndarray, root_quat_wxyz: np.ndarray, joint_pos: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World poses of all bodies.

    Args:
        tree: The robot.
        root_pos: [T, 3] m.
        root_quat_wxyz: [T, 4], normalised on the way.
        joint_pos: [T, B - 1] rad.

    Returns:
        Body origins [T, B, 3] in m and rotations body to world [T, B, 3, 3].
    """
    root_pos = np.asarray(root_pos, dtype=np.float64)
    frames, bodies = len(root_pos), len(tree.parents)
    positions = np.empty((bodies, 3, frames))
    rotations = np.empty((bodies, 3, 3, frames))
    positions[0] = root_pos.T
    rotations[0] = matrix_from_quat_wxyz(root_quat_wxyz).transpose(1, 2, 0)
    angles = np.ascontiguousarray(np.asarray(joint_pos, dtype=np.float64).T)
    sines, cosines = np.sin(angles), np.cos(angles)
    for body in range(1, bodies):
        parent, joint = tree.parents[body], body - 1
        positions[body] = positions[parent] + tree.translations[body] @ rotations[parent]
        np.matmul(tree.rotations[body].T, rotations[parent], out=rotations[body])
        _rotate(rotations[body], tree.axes[joint], sines[joint], cosines[joint])
    return positions.transpose(2, 0, 1).copy(), rotations.transpose(3, 0, 1, 2).copy()


def _rotate(rotation: np.ndarray, axis: np.ndarray, sine: np.ndarray, cosine: np.ndarray) -> None:
    """Multiply [3, 3, T] from the right by rotations about ``axis``, in place."""
    along = int(np.argmax(np.abs(axis)))
    if abs(axis[along]) == 1.0:
        sine = sine * axis[along]
        first, second = (along + 1) % 3, (along + 2) % 3
        turned = cosine * rotation[:, first] + sine * rotation[:, second]
        rotation[:, second] = cosine * rotation[:, second] - sine * rotation[:, first]
        rotation[:, first] = turned
        return
    # Rodrigues: R (c I + s [a]x + (1 - c) a a^T); a row r of R times [a]x is the cross product r x a.
    rows = rotation.copy()
    dot = np.einsum("ijt,j->it", rows, axis)
    cross = np.cross(rows, axis[None, :, None], axis=1)
    rotation[:] = cosine * rows + sine * cross + (1.0 - cosine) * dot[:, None] * axis[None, :, None]


def body_twists(
    tree: Tree,
    positions: np.ndarray,
    rotations: np.ndarray,
    root_lin_vel: np.ndarray,
    root_ang_vel: np.ndarray,
    joint_vel: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """World velocities of all bodies: the Jacobian of :func:`body_poses` times the given velocities.

    Args:
        tree: The robot.
        positions: [T, B, 3] m, from :func:`body_poses`.
        rotations: [T, B, 3, 3], from :func:`body_poses`.
        root_lin_vel: [T, 3] m/s, velocity of the root's origin in the world.
        root_ang_vel: [T, 3] rad/s, in world axes.
        joint_vel: [T, B - 1] rad/s.

    Returns:
        Velocities of the body origins [T, B, 3] in m/s and angular velocities [T, B, 3] in rad/s, world axes.
    """
    linear = np.empty_like(positions)
    angular = np.empty_like(positions)
    linear[:, 0] = root_lin_vel
    angular[:, 0] = root_ang_vel
    for body in range(1, len(tree.parents)):
        parent, joint = tree.parents[body], body - 1
        arm = positions[:, body] - positions[:, parent]
        linear[:, body] = linear[:, parent] + np.cross(angular[:, parent], arm)
        axis = rotations[:, body] @ tree.axes[joint]
        angular[:, body] = angular[:, parent] + axis * joint_vel[:, joint, None]
    return linear, angular
