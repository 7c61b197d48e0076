"""What the robot should do in every frame, from what the person does: scale, path, limb vectors, orientations, feet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.retarget.contacts import FootContacts, detect_contacts
from soma_isaac.retarget.footplan import FootPlan, plan_feet
from soma_isaac.retarget.human import KEYPOINT_NAMES, HumanKeypoints
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.scoring_pose import HEAD_OFFSET, ORIENTED, POINT_LINKS, tpose_rotations
from soma_isaac.retarget.settings import ContactConfig, FootPlanConfig, ScaleConfig

SIDES = ("left", "right")

SHORTEST_LIMB = 0.02
"""No limb of a person is shorter [m]; what is was not given in metres."""

POINTS = tuple(f"{side}_{point}" for point in POINT_LINKS for side in SIDES) + ("head",)
"""The robot's keypoints that tasks are made of: hips, knees, ankles, shoulders, elbows, wrists, head."""

SEGMENTS = (
    *((f"{side}_{start}", f"{side}_{end}") for start, end in (("hip", "knee"), ("knee", "ankle")) for side in SIDES),
    *(
        (f"{side}_{start}", f"{side}_{end}")
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist"))
        for side in SIDES
    ),
)
"""Limb segments, from and to: thighs, shanks, upper arms, forearms, left before right."""

REACHED = tuple(f"{side}_{point}" for point in ("elbow", "wrist") for side in SIDES)
"""Points whose place relative to the hips matters, besides the directions of the limbs that lead to them."""

BODIES = tuple(ORIENTED)
"""Oriented bodies: pelvis, torso, feet, hands."""


@dataclass(frozen=True, eq=False)
class Sites:
    """Where the robot's keypoints are.

    Attributes:
        bodies: [P] body index per entry of :data:`POINTS`.
        offsets: [P, 3] m in the body's frame.
        oriented: [6] body index per entry of :data:`BODIES`.
        rest: [P, 3] m, positions with all joints at zero, in the root's frame.
    """

    bodies: np.ndarray
    offsets: np.ndarray
    oriented: np.ndarray
    rest: np.ndarray

    def length(self, start: str, end: str) -> float:
        """Distance [m] of two points at zero (a segment's length where both are on neighbouring links)."""
        return float(np.linalg.norm(self.rest[POINTS.index(end)] - self.rest[POINTS.index(start)]))


def robot_sites(robot: RobotModel) -> Sites:
    """The keypoints of a robot whose links are named like the G1's."""
    bodies = [robot.body_index(f"{side}_{link}_link") for link in POINT_LINKS.values() for side in SIDES]
    bodies.append(robot.body_index("torso_link"))
    offsets = np.zeros((len(bodies), 3))
    offsets[-1] = HEAD_OFFSET
    zero = np.zeros((1, len(robot.joint_names)))
    pos, rot = robot.body_poses(np.zeros((1, 3)), np.array([[1.0, 0.0, 0.0, 0.0]]), zero)
    rest = pos[0, bodies] + np.einsum("pij,pj->pi", rot[0, bodies], offsets)
    return Sites(np.array(bodies), offsets, np.array([robot.body_index(link) for _, link in ORIENTED.values()]), rest)


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of T frames in the robot's world (floor at z = 0).

    Attributes:
        scale: Robot over human, one factor for the paths of root and feet.
        hips: [T, 3] m, middle of the hip keypoints.
        trunk: [T, 3] m, from the hips' middle to the shoulders' middle.
        segments: [T, 8, 3] m, limb vectors by :data:`SEGMENTS`.
        reach: [T, 4, 3] m, from the hips' middle to elbows and wrists by :data:`REACHED`, the person's by the robot's
            size.
        orientations: [T, 6, 3, 3] by :data:`BODIES`; the feet's are the plan's.
        knee_axes: [T, 2, 3] unit, the person's knee axes, towards the left.
        feet: The foot plan.
    """

    scale: float
    hips: np.ndarray
    trunk: np.ndarray
    segments: np.ndarray
    reach: np.ndarray
    orientations: np.ndarray
    knee_axes: np.ndarray
    feet: FootPlan

    def __len__(self) -> int:
        return len(self.hips)

    def frames(self, which: slice | np.ndarray) -> Targets:
        """Some of the frames."""
        feet = self.feet
        return Targets(
            self.scale,
            self.hips[which],
            self.trunk[which],
            self.segments[which],
            self.reach[which],
            self.orientations[which],
            self.knee_axes[which],
            FootPlan(feet.positions[which], feet.rotations[which], feet.planted[which], feet.flat[which]),
        )


def build_targets(
    human: HumanKeypoints,
    robot: RobotModel,
    scale: ScaleConfig,
    contact: ContactConfig,
    plan: FootPlanConfig,
) -> Targets:
    """Targets for every frame of ``human``.

    The person's world is scaled about a point on the floor under its origin by one factor, so that what stands, stands.
    Limbs keep their directions and get the robot's lengths.

    Raises:
        InputRejected: A limb of the person has no length.
    """
    sites = robot_sites(robot)
    points = {name: human.positions[:, index] for index, name in enumerate(KEYPOINT_NAMES)}
    limbs = {pair: points[pair[1]] - points[pair[0]] for pair in SEGMENTS}
    sizes = {pair: _limb_length(pair, limbs[pair]) for pair in SEGMENTS}
    contacts = detect_contacts(human, contact)
    ankles = np.stack([points["left_ankle"], points["right_ankle"]], axis=1)
    ankle_height = _standing_ankle(ankles, contacts, human.stature)
    sole = -float(robot.sole_points[..., 2].min())
    legs, arms = SEGMENTS[:4], SEGMENTS[4:]
    robot_leg, robot_arm = (sum(sites.length(*pair) for pair in limb) / len(SIDES) for limb in (legs, arms))
    leg, arm = (sum(sizes[pair] for pair in limb) / len(SIDES) for limb in (legs, arms))
    factor = scale.leg_fill * (robot_leg + sole) / (leg + ankle_height)

    def placed(position: np.ndarray) -> np.ndarray:
        out = factor * position
        out[..., 2] += sole - factor * (contacts.floor + ankle_height)
        return out

    hips = _middle(points, "hip")
    trunk, trunk_length = _middle(points, "shoulder") - hips, _trunk_length(sites)
    upper = (trunk_length + robot_arm) / (_limb_length(("hips", "shoulders"), trunk) + arm)
    shanks = human.rotations[:, [human.index(f"{side}_knee") for side in SIDES]]
    orientations, feet = _wanted_orientations(human), [BODIES.index(f"{side}_foot") for side in SIDES]
    raw = _within_turn(shanks, orientations[:, feet], scale.ankle_turn)
    width = sites.rest[POINTS.index("left_hip"), 1] - 0.5 * factor * _hip_width(points)
    outward = scale.stance * width * _sideways(human.rotations[:, human.index("pelvis")])
    wanted = placed(ankles) + np.stack([outward, -outward], axis=1)
    planned = plan_feet(wanted, raw, contacts, robot.sole_points, human.fps, plan)
    orientations[:, feet] = planned.rotations
    return Targets(
        scale=factor,
        hips=placed(hips),
        trunk=_with_length(trunk, trunk_length),
        segments=np.stack([_with_length(limbs[pair], sites.length(*pair)) for pair in SEGMENTS], axis=1),
        reach=upper * (np.stack([points[name] for name in REACHED], axis=1) - hips[:, None]),
        orientations=orientations,
        knee_axes=shanks[..., 1],
        feet=planned,
    )


def _wanted_orientations(human: HumanKeypoints) -> np.ndarray:
    """[T, 6, 3, 3] the robot's links turned from their T-pose as the person's are."""
    tpose = tpose_rotations()
    wanted = [human.rotations[:, human.index(keypoint)] @ tpose[name] for name, (keypoint, _) in ORIENTED.items()]
    return np.stack(wanted, axis=1)


def _limb_length(pair: tuple[str, str], vector: np.ndarray) -> float:
    length = float(np.median(np.linalg.norm(vector, axis=1)))
    if length < SHORTEST_LIMB:
        raise InputRejected(
            f"the person measures {length:.3g} m from {pair[0]} to {pair[1]}: no body, or not in metres"
        )
    return length


def _with_length(vector: np.ndarray, length: float) -> np.ndarray:
    return vector * (length / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-9))


def _middle(points: dict[str, np.ndarray], name: str) -> np.ndarray:
    return 0.5 * (points[f"left_{name}"] + points[f"right_{name}"])


def _trunk_length(sites: Sites) -> float:
    rest = {name: sites.rest[index][None] for index, name in enumerate(POINTS)}
    return float(np.linalg.norm(_middle(rest, "shoulder") - _middle(rest, "hip")))


def _within_turn(base: np.ndarray, rotation: np.ndarray, largest: float) -> np.ndarray:
    """``rotation`` [..., 3, 3], turned towards ``base`` where it is further than ``largest`` [rad] from it."""
    turn = rotvec_from_matrix(base.swapaxes(-1, -2) @ rotation)
    angle = np.linalg.norm(turn, axis=-1)
    far = angle > largest
    out = rotation.copy()
    out[far] = base[far] @ matrix_from_rotvec(turn[far] * (largest / angle[far])[:, None])
    return out


def _hip_width(points: dict[str, np.ndarray]) -> float:
    return float(np.median(np.linalg.norm(points["left_hip"] - points["right_hip"], axis=1)))


def _sideways(pelvis: np.ndarray) -> np.ndarray:
    """[T, 3] horizontal direction to the left of a pelvis, shorter where its side axis is not horizontal."""
    return pelvis[:, :, 1] * np.array([1.0, 1.0, 0.0])


def _standing_ankle(ankles: np.ndarray, contacts: FootContacts, stature: float) -> float:
    """Height [m] of the ankle joint above the floor when the foot is flat."""
    standing = ankles[..., 2][contacts.flat]
    return float(np.median(standing)) - contacts.floor if standing.size else 0.04 * stature
