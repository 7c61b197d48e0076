"""Which joints get pose correctives, the flesh around each, and the directions that its bone takes in training."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.body.layout import JointLayout
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.pipelines.elastic_joint import JointRegion
from soma_isaac.rig.rig import Rig

_AZIMUTHS = np.radians((-60.0, -25.0, 0.0, 25.0, 60.0))


@dataclass(frozen=True)
class JointPlan:
    """How one joint is treated.

    Attributes:
        joint: Left joint that turns.
        parent: Other end of the bone before it.
        child: Other end of its own bone.
        radius: Of the region [m].
        cell: Lattice [m].
        bone: Radius of the bones [m].
        side: Leave out what has a smaller x [m].
        hinge: Bend as in the bind pose, further; otherwise a ball joint.
        largest: Largest angle from the bind pose [rad].
        low, high: Bounds of the bone's direction in the world of the bind pose, for ball joints.
        poses: Directions of a ball joint, bends of a hinge about each axis.
        units: Hidden units.
    """

    joint: str
    parent: str
    child: str
    radius: float
    cell: float
    bone: float
    side: float
    hinge: bool
    largest: float
    low: tuple[float, float, float] = (-1.0, -1.0, -1.0)
    high: tuple[float, float, float] = (1.0, 1.0, 1.0)
    poses: int = 9
    units: int = 14


PLANS = (
    JointPlan("LeftForeArm", "LeftArm", "LeftHand", 0.13, 0.009, 0.011, 0.0, True, np.radians(125.0)),
    JointPlan("LeftShin", "LeftLeg", "LeftFoot", 0.19, 0.013, 0.016, 0.0, True, np.radians(135.0)),
    JointPlan("LeftHand", "LeftForeArm", "LeftHandMiddle1", 0.08, 0.006, 0.009, 0.0, False, np.radians(80.0), poses=35),
    JointPlan(
        *("LeftArm", "LeftShoulder", "LeftForeArm", 0.20, 0.014, 0.014, 0.0, False, np.radians(135.0)),
        low=(-0.4, -1.0, -0.75),
        poses=85,
        units=24,
    ),
    JointPlan(
        *("LeftLeg", "Hips", "LeftShin", 0.26, 0.018, 0.02, 0.0, False, np.radians(120.0)),
        low=(-0.4, -1.0, -0.6),
        high=(0.85, 0.5, 1.0),
        poses=55,
        units=20,
    ),
)


def joint_region(rig: Rig, layout: JointLayout, weights: np.ndarray, plan: JointPlan) -> JointRegion:
    """The flesh around a joint of the template in its bind pose; ``weights`` [V, 78] are the folded skin weights."""
    mesh = rig.mesh("mid")
    joint = layout.index(plan.joint)
    below = np.zeros(layout.public_count, dtype=bool)
    below[joint] = True
    for other in range(joint + 1, layout.public_count):
        below[other] = below[layout.parents[other]]
    places = layout.bind_T_world_joint[:, :3, 3]
    return JointRegion(
        points=mesh.points,
        triangles=mesh.triangles,
        shares=weights[:, below].sum(axis=1),
        center=places[joint],
        parent_end=places[layout.index(plan.parent)],
        child_end=places[layout.index(plan.child)],
        radius=plan.radius,
        cell=plan.cell,
        bone=plan.bone,
        side=plan.side,
    )


def bone_directions(region: JointRegion, plan: JointPlan) -> np.ndarray:
    """Unit directions [P, 3] that the bone takes, in the world of the bind pose, the least turned first.

    A hinge bends about the axis about which it is bent in the bind pose, and about axes 25 and 60 degrees beside
    that one. A ball joint's directions are spread evenly over the part of the sphere that its plan allows.
    """
    bone = unit_vector(region.child_end - region.center)
    if plan.hinge:
        axis = unit_vector(np.cross(region.center - region.parent_end, bone))
        angles = np.concatenate([[-0.15], np.linspace(0.25, plan.largest, plan.poses - 1)])
        axes = matrix_from_rotvec(_AZIMUTHS[:, None] * bone) @ axis
        turns = matrix_from_rotvec((angles[:, None, None] * axes).reshape(-1, 3))
        return turns @ bone
    steps = np.arange(40 * plan.poses) + 0.5
    height, around = 1.0 - 2.0 * steps / len(steps), steps * np.pi * (3.0 - np.sqrt(5.0))
    ring = np.sqrt(1.0 - height**2)
    sphere = np.stack([ring * np.cos(around), height, ring * np.sin(around)], axis=1)
    allowed = (sphere @ bone > np.cos(plan.largest)) & (sphere @ bone < np.cos(0.15))
    allowed &= ((sphere >= plan.low) & (sphere <= plan.high)).all(axis=1)
    chosen = sphere[allowed]
    chosen = chosen[np.linspace(0, len(chosen) - 1, plan.poses).astype(int)]
    return chosen[np.argsort(-(chosen @ bone))]


def unit_vector(vector: np.ndarray) -> np.ndarray:
    """The vector [3] at length 1."""
    return vector / np.linalg.norm(vector)
