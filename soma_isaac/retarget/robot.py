"""The robot: a Unitree G1 with 29 joints, from a URDF, as plain facts and as a Pinocchio model.

Bodies, their order and the merging of fixed links are as ``retarget.tree`` says, so Unitree's own file with its extra
fixed links gives the same 30 bodies as the bundled one.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.urdf import Urdf, UrdfJoint, read_urdf
from soma_isaac.math.arrays import frozen_array
from soma_isaac.retarget.collision import CollisionShapes, collision_shapes
from soma_isaac.retarget.pinocchio_model import pinocchio_model
from soma_isaac.retarget.tree import MergedBody, Tree, body_twists, merged_bodies
from soma_isaac.retarget.tree import body_poses as tree_body_poses
from soma_isaac.rig.skeleton import data_path

BUNDLED_URDF = "g1/g1_29dof.urdf"
_SIDES = ("left", "right")
_LEG = ("hip_pitch", "hip_roll", "hip_yaw", "knee", "ankle_pitch", "ankle_roll")
_ARM = ("shoulder_pitch", "shoulder_roll", "shoulder_yaw", "elbow", "wrist_roll", "wrist_pitch", "wrist_yaw")
G1_JOINT_NAMES = (
    *(f"{side}_{joint}_joint" for side in _SIDES for joint in _LEG),
    *(f"waist_{joint}_joint" for joint in ("yaw", "roll", "pitch")),
    *(f"{side}_{joint}_joint" for side in _SIDES for joint in _ARM),
)
"""The 29 joints of the G1 that a robot description has to have (no more, no fewer)."""

FOOT_BODIES = ("left_ankle_roll_link", "right_ankle_roll_link")
SOLE_POINTS = frozen_array("SOLE_POINTS", [[x, y, -0.035] for x in (0.13, -0.055) for y in (0.025, -0.025)], (4, 3))
"""[4, 3] m: corners of a G1's sole (front left, front right, rear left, rear right) in its ankle roll link."""


@dataclass(frozen=True, eq=False)
class RobotModel:
    """A floating-base robot; body 0 is the root link, body j + 1 hangs on joint j.

    Attributes:
        name: Robot name.
        joint_names: N names, depth first.
        body_names: B = N + 1 names, depth first, root first; no world.
        body_parents: [B] parent body, -1 for the root.
        body_translations: [B, 3] m, origin in the parent body's frame (root: zero).
        body_rotations: [B, 3, 3] axes in the parent body's frame at joint position 0 (root: identity).
        joint_axes: [N, 3] unit axes in the frame of the body that the joint moves.
        lower: [N] rad.
        upper: [N] rad.
        velocity_limit: [N] rad/s.
        effort_limit: [N] N m.
        body_mass: [B] kg.
        body_com_b: [B, 3] m, centre of mass in the body frame.
        body_inertia_b: [B, 3, 3] kg m^2 about the centre of mass, axes of the body frame.
        shapes: Collision capsules and spheres with the pairs to check.
        foot_bodies: Body indices of the left and the right foot.
        sole_points: [2, 4, 3] m, sole corners of each foot in its body frame.
        digest: sha256 of the URDF bytes, hex.
    """

    name: str
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    body_parents: tuple[int, ...]
    body_translations: np.ndarray
    body_rotations: np.ndarray
    joint_axes: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    velocity_limit: np.ndarray
    effort_limit: np.ndarray
    body_mass: np.ndarray
    body_com_b: np.ndarray
    body_inertia_b: np.ndarray
    shapes: CollisionShapes
    foot_bodies: tuple[int, int]
    sole_points: np.ndarray
    digest: str

    def __post_init__(self) -> None:
        """Check shapes, finiteness and limits.

        Raises:
            InputRejected: Any of these fails.
        """
        joints, bodies = len(self.joint_names), len(self.body_names)
        for name, shape in (
            ("body_translations", (bodies, 3)),
            ("body_rotations", (bodies, 3, 3)),
            ("joint_axes", (joints, 3)),
            ("lower", (joints,)),
            ("upper", (joints,)),
            ("velocity_limit", (joints,)),
            ("effort_limit", (joints,)),
            ("body_mass", (bodies,)),
            ("body_com_b", (bodies, 3)),
            ("body_inertia_b", (bodies, 3, 3)),
            ("sole_points", (2, 4, 3)),
        ):
            object.__setattr__(self, name, frozen_array(name, getattr(self, name), shape))
        for index, joint in enumerate(self.joint_names):
            if not self.lower[index] < self.upper[index]:
                raise InputRejected(f"joint {joint} has the lower limit {self.lower[index]} >= {self.upper[index]}")
            if not (self.velocity_limit[index] > 0.0 and self.effort_limit[index] > 0.0):
                raise InputRejected(f"joint {joint} needs positive velocity and effort limits")

    @functools.cached_property
    def tree(self) -> Tree:
        """The kinematic tree alone."""
        return Tree(self.body_parents, self.body_translations, self.body_rotations, self.joint_axes)

    @functools.cached_property
    def pinocchio(self) -> Any:
        """The ``pinocchio.Model``: free flyer ``root_joint``, then our joints in our order; bodies are frames by name.

        Built from these figures, not from the file, so that order and merged links agree by construction.
        In Pinocchio quaternions are xyzw, and the free flyer's velocity is in the root's own axes.

        Raises:
            MissingDependency: Pinocchio is not installed.
        """
        return pinocchio_model(self)

    def joint_index(self, name: str) -> int:
        """Index of a joint.

        Raises:
            RigMismatch: There is no such joint.
        """
        return _index(self.joint_names, name, "joint")

    def body_index(self, name: str) -> int:
        """Index of a body.

        Raises:
            RigMismatch: There is no such body.
        """
        return _index(self.body_names, name, "body")

    def body_poses(
        self, root_pos: np.ndarray, root_quat_wxyz: np.ndarray, joint_pos: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """World poses of all bodies over a clip.

        Args:
            root_pos: [T, 3] m.
            root_quat_wxyz: [T, 4].
            joint_pos: [T, N] rad.

        Returns:
            Body origins [T, B, 3] in m and rotations body to world [T, B, 3, 3].
        """
        return tree_body_poses(self.tree, root_pos, root_quat_wxyz, joint_pos)

    def body_twists(
        self,
        body_pos: np.ndarray,
        body_rot: np.ndarray,
        root_lin_vel: np.ndarray,
        root_ang_vel: np.ndarray,
        joint_vel: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """World velocities of all body origins over a clip: the Jacobian of :meth:`body_poses` times velocities.

        Args:
            body_pos: [T, B, 3] m.
            body_rot: [T, B, 3, 3].
            root_lin_vel: [T, 3] m/s, world.
            root_ang_vel: [T, 3] rad/s, world axes.
            joint_vel: [T, N] rad/s.

        Returns:
            Linear [T, B, 3] in m/s and angular velocities [T, B, 3] in rad/s.
        """
        return body_twists(self.tree, body_pos, body_rot, root_lin_vel, root_ang_vel, joint_vel)

    def sole_corners(self, body_pos: np.ndarray, body_rot: np.ndarray) -> np.ndarray:
        """Sole corners [T, 2, 4, 3] in the world (left, right foot), from :meth:`body_poses`."""
        feet = list(self.foot_bodies)
        return body_pos[:, feet, None] + np.einsum("tfij,fcj->tfci", body_rot[:, feet], self.sole_points)


def load_robot(urdf: Path | None = None) -> RobotModel:
    """Load a G1.

    Collision shapes come from the file if all of them are capsules and spheres; otherwise (meshes, boxes, none) the
    bundled model's shapes are used on the bodies of the same names.

    Args:
        urdf: The user's own URDF; the bundled mesh-free model if not given.

    Raises:
        InputRejected: The file is no URDF, is no tree, lacks limits, or does not have exactly the 29 joints of the G1.
    """
    if urdf is None:
        return _bundled_robot()
    return _robot_from_bytes(read_source(urdf).data, str(urdf))


@functools.lru_cache(maxsize=1)
def _bundled_robot() -> RobotModel:
    path = data_path(BUNDLED_URDF)
    return _robot_from_bytes(path.read_bytes(), BUNDLED_URDF)


def _robot_from_bytes(data: bytes, source: str) -> RobotModel:
    urdf = read_urdf(data, source)
    try:
        return _robot_from_urdf(urdf)
    except InputRejected as error:
        raise InputRejected(error.reason, source) from error


def _robot_from_urdf(urdf: Urdf) -> RobotModel:
    bodies = merged_bodies(urdf)
    joints = [body.joint for body in bodies if body.joint is not None]
    _require_g1(joints)
    masses = [body.inertial() for body in bodies]
    names = tuple(body.name for body in bodies)
    feet = [names.index(foot) if foot in names else -1 for foot in FOOT_BODIES]
    if -1 in feet:
        raise InputRejected(f"the robot lacks the foot links {', '.join(FOOT_BODIES)}")
    tree = Tree(
        tuple(body.parent for body in bodies),
        np.array([body.translation for body in bodies]),
        np.array([body.rotation for body in bodies]),
        np.array([joint.axis for joint in joints]),
    )
    return RobotModel(
        name=urdf.name,
        joint_names=tuple(joint.name for joint in joints),
        body_names=names,
        body_parents=tree.parents,
        body_translations=tree.translations,
        body_rotations=tree.rotations,
        joint_axes=tree.axes,
        lower=np.array([joint.lower for joint in joints]),
        upper=np.array([joint.upper for joint in joints]),
        velocity_limit=np.array([joint.velocity for joint in joints]),
        effort_limit=np.array([joint.effort for joint in joints]),
        body_mass=np.array([mass for mass, _, _ in masses]),
        body_com_b=np.array([com for _, com, _ in masses]),
        body_inertia_b=np.array([inertia for _, _, inertia in masses]),
        shapes=_shapes(bodies, tree),
        foot_bodies=(feet[0], feet[1]),
        sole_points=np.stack([SOLE_POINTS, SOLE_POINTS]),
        digest=urdf.digest,
    )


def _require_g1(joints: Sequence[UrdfJoint]) -> None:
    names = {joint.name for joint in joints}
    missing = [name for name in G1_JOINT_NAMES if name not in names]
    extra = sorted(names - set(G1_JOINT_NAMES))
    if missing or extra:
        raise InputRejected(
            "the robot is not a G1 with 29 joints: "
            f"missing {', '.join(missing) or 'none'}; unknown {', '.join(extra) or 'none'}"
        )
    unlimited = [j.name for j in joints if not np.isfinite([j.lower, j.upper, j.velocity, j.effort]).all()]
    if unlimited:
        raise InputRejected(f"position, velocity or effort limits are missing for {', '.join(unlimited)}")


def _shapes(bodies: Sequence[MergedBody], tree: Tree) -> CollisionShapes:
    found = [
        (shape, index, place, turn)
        for index, body in enumerate(bodies)
        for link, place, turn in body.links
        for shape in link.shapes
    ]
    if not found or any(shape.kind not in ("capsule", "sphere") for shape, *_ in found):
        return _bundled_shapes(tuple(body.name for body in bodies), tree)
    ends = []
    for shape, _, place, turn in found:
        half = 0.5 * shape.size[1] if shape.kind == "capsule" else 0.0
        centre, along = place + turn @ shape.translation, turn @ shape.rotation[:, 2]
        ends.append((centre - half * along, centre + half * along))
    return collision_shapes(
        tuple(shape.name for shape, *_ in found),
        np.array([index for _, index, _, _ in found]),
        np.array([p0 for p0, _ in ends]),
        np.array([p1 for _, p1 in ends]),
        np.array([shape.size[0] for shape, *_ in found]),
        tree,
    )


def _bundled_shapes(names: tuple[str, ...], tree: Tree) -> CollisionShapes:
    bundled = _bundled_robot()
    shapes = bundled.shapes
    wanted = [bundled.body_names[body] for body in shapes.bodies]
    missing = sorted(set(wanted) - set(names))
    if missing:
        raise InputRejected(
            f"the file has no capsules and spheres of its own, and the bundled ones need the links {', '.join(missing)}"
        )
    indices = np.array([names.index(name) for name in wanted])
    return collision_shapes(shapes.names, indices, shapes.p0, shapes.p1, shapes.radius, tree)


def _index(names: tuple[str, ...], name: str, what: str) -> int:
    if name not in names:
        raise RigMismatch(f"the robot has no {what} {name!r}; it has {', '.join(names)}")
    return names.index(name)
