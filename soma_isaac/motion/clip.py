"""A motion-tracking reference: joint and body states over time, with names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import check_unit_quaternions, frozen_array
from soma_isaac.motion.soma import check_fps


@dataclass(frozen=True, eq=False)
class ReferenceClip:
    """Joint and body states of a robot over time; world frame Z-up, floor at z = 0.

    Attributes:
        fps: Frame rate [Hz].
        joint_names: N names, the order of the joint arrays.
        body_names: B = N + 1 names, the order of the body arrays (no ``world`` body); body j + 1 hangs on joint j.
        body_parents: B indices, parent of each body, -1 for the root, which comes first; parents precede children.
        joint_pos: [T, N] rad.
        joint_vel: [T, N] rad/s.
        body_pos_w: [T, B, 3] m, link origins.
        body_quat_wxyz: [T, B, 4] unit, link to world, w first.
        body_lin_vel_w: [T, B, 3] m/s, velocity of the link ORIGIN (writers convert to the COM where it is asked for).
        body_ang_vel_w: [T, B, 3] rad/s.
        body_com_b: [B, 3] m, centre of mass of each link in its own frame.
        foot_contacts: [T, 2] bool, left and right foot planted.
        robot_digest: sha256 of the robot description.
    """

    fps: float
    joint_names: tuple[str, ...]
    body_names: tuple[str, ...]
    body_parents: tuple[int, ...]
    joint_pos: np.ndarray
    joint_vel: np.ndarray
    body_pos_w: np.ndarray
    body_quat_wxyz: np.ndarray
    body_lin_vel_w: np.ndarray
    body_ang_vel_w: np.ndarray
    body_com_b: np.ndarray
    foot_contacts: np.ndarray
    robot_digest: str

    def __post_init__(self) -> None:
        """Check rate, names, tree, shapes, finiteness and unit norms.

        Raises:
            InputRejected: Any of these fails.
        """
        object.__setattr__(self, "fps", check_fps(self.fps))
        object.__setattr__(self, "joint_names", tuple(self.joint_names))
        object.__setattr__(self, "body_names", tuple(self.body_names))
        object.__setattr__(self, "body_parents", tuple(int(parent) for parent in self.body_parents))
        joints, bodies = len(self.joint_names), len(self.body_names)
        for what, names in (("joint", self.joint_names), ("body", self.body_names)):
            if len(set(names)) != len(names):
                raise InputRejected(f"{what} names are used twice")
        if bodies != joints + 1 or len(self.body_parents) != bodies:
            raise InputRejected(
                f"{joints} joints move {joints + 1} bodies with the root, "
                f"but there are {bodies} body names and {len(self.body_parents)} parents"
            )
        for body, parent in enumerate(self.body_parents):
            if not (parent == -1 if body == 0 else 0 <= parent < body):
                raise InputRejected(f"body {self.body_names[body]} has the parent {parent}; parents come first")
        frames = len(np.asarray(self.joint_pos))
        if frames == 0:
            raise InputRejected("the reference clip has no frames")
        for name, shape, dtype in (
            ("joint_pos", (frames, joints), np.float64),
            ("joint_vel", (frames, joints), np.float64),
            ("body_pos_w", (frames, bodies, 3), np.float64),
            ("body_quat_wxyz", (frames, bodies, 4), np.float64),
            ("body_lin_vel_w", (frames, bodies, 3), np.float64),
            ("body_ang_vel_w", (frames, bodies, 3), np.float64),
            ("body_com_b", (bodies, 3), np.float64),
            ("foot_contacts", (frames, 2), np.bool_),
        ):
            object.__setattr__(self, name, frozen_array(name, getattr(self, name), shape, dtype))
        check_unit_quaternions("body_quat_wxyz", self.body_quat_wxyz)

    @property
    def frame_count(self) -> int:
        """Number of frames T."""
        return len(self.joint_pos)
