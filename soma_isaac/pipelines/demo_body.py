"""A person that walks on legs solved to planted feet, told in SMPL joint rotations: what the demo clips are made of.

World Y-up: x left, y up, z ahead, the floor at y = 0. Joint frames are SMPL's (identity in its zero pose).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.inversion.smpl_body import PELVIS_FROM_TRANS, ZERO_POSES, mirrored
from soma_isaac.math.frames import ROTATION_ZUP_FROM_YUP, zup_from_yup_points
from soma_isaac.math.so3 import matrix_from_rotvec, rotvec_from_matrix

SIDES = ("Left", "Right")
ZERO_POSE = ZERO_POSES["smplh"]
REACH = 0.995
"""Share of a leg's full length that the solved hip-to-ankle distance may have: a knee is never locked."""


def rotation_about(axis: int, angle: np.ndarray | float) -> np.ndarray:
    """Rotations [..., 3, 3] by ``angle`` [rad] about the axis 0, 1 or 2."""
    rotvec = np.zeros((*np.shape(angle), 3))
    rotvec[..., axis] = angle
    return matrix_from_rotvec(rotvec)


@dataclass(frozen=True, eq=False)
class FootTrack:
    """Where a foot is, frame by frame.

    Attributes:
        ankle: [T, 3] m.
        foot: [T, 3, 3] world rotation of the foot.
        toe: [T, 3, 3] world rotation of the toes.
        yaw: [T] rad, heading of the foot.
        weight: [T] 1 while the foot stands, 0 while it swings.
    """

    ankle: np.ndarray
    foot: np.ndarray
    toe: np.ndarray
    yaw: np.ndarray
    weight: np.ndarray


def leg_length(side: str) -> float:
    """Largest hip-to-ankle distance [m] over all knee angles."""
    thigh, shank = mirrored(ZERO_POSE["knee"], side)[1:], mirrored(ZERO_POSE["ankle"], side)[1:]
    lateral = ZERO_POSE["knee"][0] + ZERO_POSE["ankle"][0]
    return float(np.hypot(lateral, np.linalg.norm(thigh) + np.linalg.norm(shank)))


def solve_leg(
    hip: np.ndarray, ankle: np.ndarray, lateral: np.ndarray, side: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """World rotations of thigh and shank [T, 3, 3] and the knee's flexion [T] rad that put the ankle where it belongs.

    The knee is a hinge about the thigh's x axis, which is turned as near to ``lateral`` [T, 3] as the leg allows. With
    thigh ``a`` and shank ``b``, ``|a + Rx(t) b|`` = distance fixes the flexion t; then one rotation aims the leg.

    Raises:
        ValueError: A target is out of reach; the clip's author must lower the pelvis.
    """
    a, b = mirrored(ZERO_POSE["knee"], side), mirrored(ZERO_POSE["ankle"], side)
    target = ankle - hip
    distance = np.linalg.norm(target, axis=-1)
    cosine, sine = a[1] * b[1] + a[2] * b[2], a[2] * b[1] - a[1] * b[2]
    rest = 0.5 * (distance**2 - a @ a - b @ b) - a[0] * b[0]
    share = rest / np.hypot(cosine, sine)
    if share.max() > 1.0 or share.min() < -1.0:
        raise ValueError(f"the {side} ankle is {distance.max():.3f} m from the hip, out of the leg's reach")
    flexion = np.arctan2(sine, cosine) + np.arccos(share)
    chord = a + rotation_about(0, flexion) @ b
    thigh = _frame(target, lateral) @ np.swapaxes(_frame(chord, np.broadcast_to([1.0, 0.0, 0.0], chord.shape)), -1, -2)
    return thigh, thigh @ rotation_about(0, flexion), flexion


def _frame(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Orthonormal frames [T, 3, 3]: columns along ``first``, ``second`` squared to it, and their product."""
    x = first / np.linalg.norm(first, axis=-1, keepdims=True)
    y = second - np.sum(second * x, axis=-1, keepdims=True) * x
    y /= np.linalg.norm(y, axis=-1, keepdims=True)
    return np.stack([x, y, np.cross(x, y)], axis=-1)


def reachable_height(pelvis: np.ndarray, rotation: np.ndarray, feet: dict[str, FootTrack]) -> np.ndarray:
    """Largest pelvis height [T] m at which both ankles are within ``REACH`` of the legs' length."""
    heights = []
    for side, track in feet.items():
        hip = pelvis + rotation @ mirrored(ZERO_POSE["hip"], side)
        level = np.linalg.norm((track.ankle - hip)[:, [0, 2]], axis=-1)
        rise = np.sqrt(np.maximum((REACH * leg_length(side)) ** 2 - level**2, 0.0))
        heights.append(track.ankle[:, 1] + rise - (hip[:, 1] - pelvis[:, 1]))
    return np.minimum(*heights)


def pose_legs(local: np.ndarray, pelvis: np.ndarray, rotation: np.ndarray, feet: dict[str, FootTrack]) -> None:
    """Set the leg, foot and toe rotations of ``local`` [T, 22, 3, 3] so that the feet follow their tracks."""
    heading = np.arctan2(rotation[:, 0, 2], rotation[:, 2, 2])
    for side, joint in zip(SIDES, (1, 2), strict=True):
        track = feet[side]
        outward = 0.5 * np.angle(np.exp(1j * (track.yaw - heading)))
        lateral = rotation_about(1, heading + outward)[:, :, 0]
        hip = pelvis + rotation @ mirrored(ZERO_POSE["hip"], side)
        thigh, shank, _ = solve_leg(hip, track.ankle, lateral, side)
        local[:, joint] = np.swapaxes(rotation, -1, -2) @ thigh
        local[:, joint + 3] = np.swapaxes(thigh, -1, -2) @ shank
        local[:, joint + 6] = np.swapaxes(shank, -1, -2) @ track.foot
        local[:, joint + 9] = np.swapaxes(track.foot, -1, -2) @ track.toe


def pose_trunk(local: np.ndarray, bend: np.ndarray, head: np.ndarray) -> None:
    """Share the trunk's rotation vector [T, 3] among the three spine joints and the head's [T, 3] with the neck."""
    for joint in (3, 6, 9):
        local[:, joint] = matrix_from_rotvec(bend / 3.0)
    for joint in (12, 15):
        local[:, joint] = matrix_from_rotvec(head / 2.0)


def pose_arm(
    local: np.ndarray, side: str, raise_out: np.ndarray, swing: np.ndarray, twist: np.ndarray, elbow: np.ndarray
) -> None:
    """Set one arm from angles [T] rad.

    Args:
        local: [T, 22, 3, 3] to be written to.
        side: ``Left`` or ``Right``.
        raise_out: Upper arm against the vertical: 0 hangs down, pi / 2 is the T-pose.
        swing: Turn of the arm about the lateral axis, positive ahead and up.
        twist: Turn of the upper arm about itself, positive brings the flexed forearm up (arm out)
            or outwards (arm down).
        elbow: Flexion of the elbow.
    """
    sign, joint = (1.0, 16) if side == "Left" else (-1.0, 17)
    lowered = rotation_about(2, sign * (raise_out - np.pi / 2.0))
    local[:, joint] = rotation_about(0, -swing) @ lowered @ rotation_about(0, -twist)
    local[:, joint + 2] = rotation_about(1, -sign * elbow)


def amass_arrays(pelvis: np.ndarray, rotation: np.ndarray, local: np.ndarray, fps: float) -> dict[str, np.ndarray]:
    """The arrays of an AMASS clip in SMPL-H layout (Z-up) for a body of mean proportions.

    Args:
        pelvis: [T, 3] m, Y-up.
        rotation: [T, 3, 3] world rotation of the pelvis, Y-up.
        local: [T, 22, 3, 3] local rotations; entry 0 is not read.
        fps: Frame rate [Hz].
    """
    rotations = local.copy()
    rotations[:, 0] = ROTATION_ZUP_FROM_YUP @ rotation
    poses = np.zeros((len(pelvis), 156), dtype=np.float32)
    poses[:, :66] = rotvec_from_matrix(rotations).reshape(len(pelvis), 66)
    poses[:, 66:] = _relaxed_hands()
    trans = zup_from_yup_points(pelvis) - np.array(PELVIS_FROM_TRANS["smplh"])
    return {
        "trans": trans.astype(np.float32),
        "gender": np.array("neutral"),
        "mocap_framerate": np.array(float(fps)),
        "betas": np.zeros(16),
        "poses": poses,
    }


def _relaxed_hands() -> np.ndarray:
    """Slightly curled fingers [90] rad of both hands; SMPL's order is index, middle, pinky, ring, thumb."""
    curl = np.zeros((2, 15, 3))
    for hand, sign in enumerate((-1.0, 1.0)):
        curl[hand, :12, 2] = sign * np.tile([0.25, 0.35, 0.2], 4)
        curl[hand, 12:, 1] = -sign * 0.15
    return curl.reshape(90)
