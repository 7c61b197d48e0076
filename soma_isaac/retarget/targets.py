"""What the robot should do in every frame, from what the person does: scale, path, limb vectors, orientations, feet."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix
from soma_isaac.retarget.contacts import ContactConfig, FootContacts, detect_contacts
from soma_isaac.retarget.footplan import FootPlan, FootPlanConfig, plan_feet
from soma_isaac.retarget.human import KEYPOINT_NAMES, HumanKeypoints
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.scoring_pose import HEAD_OFFSET, ORIENTED, POINT_LINKS, tpose_rotations

SIDES = ("left", "right")

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


@dataclass(frozen=True)
class ScaleConfig:
    """From the person's size to the robot's.

    Attributes:
        leg_fill: Share of the robot's straight leg that a straight human leg becomes; the rest is reserve for the
            knees.
        stance: Share of the robot's wider hips that is added to the distance of the feet, along the pelvis' side: 0
            keeps the person's scaled steps, 1 the directions of the legs.
        ankle_turn: Largest turn [rad] of a person's foot against the shank that is believed; more is an error of the
            data.
    """

    leg_fill: float = 0.985
    stance: float = 0.15
    ankle_turn: float = 1.2


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
    """
    sites = robot_sites(robot)
    contacts = detect_contacts(human, contact)
    points = {name: human.positions[:, index] for index, name in enumerate(KEYPOINT_NAMES)}
    ankles = np.stack([points["left_ankle"], points["right_ankle"]], axis=1)
    ankle_height = _standing_ankle(ankles, contacts, human.stature)
    sole = -float(robot.sole_points[..., 2].min())
    factor = scale.leg_fill * _leg_length(robot, sites, sole) / _human_leg(points, ankle_height)

    def placed(position: np.ndarray) -> np.ndarray:
        out = factor * position
        out[..., 2] += sole - factor * (contacts.floor + ankle_height)
        return out

    hips, shoulders = _middle(points, "hip"), _middle(points, "shoulder")
    segments = []
    for start, end in SEGMENTS:
        vector = points[end] - points[start]
        segments.append(vector * (sites.length(start, end) / np.linalg.norm(vector, axis=1, keepdims=True)))
    trunk = shoulders - hips
    rest = {name: sites.rest[index][None] for index, name in enumerate(POINTS)}
    trunk_length = np.linalg.norm(_middle(rest, "shoulder") - _middle(rest, "hip"))
    lengths = [np.linalg.norm(trunk, axis=1), *(np.linalg.norm(points[b] - points[a], axis=1) for a, b in SEGMENTS[4:])]
    upper = trunk_length + sum(sites.length(a, b) for a, b in SEGMENTS[4:]) / len(SIDES)
    upper /= float(np.median(lengths[0] + sum(lengths[1:]) / len(SIDES)))
    tpose = tpose_rotations()
    orientations = np.stack(
        [human.rotations[:, human.index(keypoint)] @ tpose[name] for name, (keypoint, _) in ORIENTED.items()], axis=1
    )
    feet = [BODIES.index(f"{side}_foot") for side in SIDES]
    shanks = human.rotations[:, [human.index(f"{side}_knee") for side in SIDES]]
    orientations[:, feet] = _within_turn(shanks, orientations[:, feet], scale.ankle_turn)
    width = sites.rest[POINTS.index("left_hip"), 1] - 0.5 * factor * _hip_width(points)
    outward = scale.stance * width * _sideways(human.rotations[:, human.index("pelvis")])
    wanted = placed(ankles) + np.stack([outward, -outward], axis=1)
    planned = plan_feet(wanted, orientations[:, feet], contacts, robot.sole_points, human.fps, plan)
    orientations[:, feet] = planned.rotations
    return Targets(
        factor,
        placed(hips),
        trunk * (trunk_length / np.linalg.norm(trunk, axis=1, keepdims=True)),
        np.stack(segments, axis=1),
        upper * (np.stack([points[name] for name in REACHED], axis=1) - hips[:, None]),
        orientations,
        shanks[..., 1],
        planned,
    )


def _middle(points: dict[str, np.ndarray], name: str) -> np.ndarray:
    return 0.5 * (points[f"left_{name}"] + points[f"right_{name}"])


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


def _leg_length(robot: RobotModel, sites: Sites, sole: float) -> float:
    return sites.length("left_hip", "left_knee") + sites.length("left_knee", "left_ankle") + sole


def _human_leg(points: dict[str, np.ndarray], ankle_height: float) -> float:
    """Thigh, shank and ankle height [m]: median over the clip, mean of both sides."""
    lengths = [
        np.median(np.linalg.norm(points[f"{side}_{end}"] - points[f"{side}_{start}"], axis=1))
        for start, end in (("hip", "knee"), ("knee", "ankle"))
        for side in SIDES
    ]
    return 0.5 * float(np.sum(lengths)) + ankle_height
