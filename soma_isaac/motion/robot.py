"""A motion of a floating-base robot: what the retargeter produces."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.math.arrays import check_unit_quaternions, frozen_array
from soma_isaac.motion.soma import check_fps


@dataclass(frozen=True, eq=False)
class RobotMotion:
    """Root pose and joint positions over time in the Z-up robot world, floor at z = 0.

    Attributes:
        fps: Frame rate [Hz].
        joint_names: N names in the order of ``joint_pos``.
        root_pos: [T, 3] m, origin of the root link.
        root_quat_wxyz: [T, 4] unit, root link to world, w first, continuous in time.
        joint_pos: [T, N] rad.
        foot_contacts: [T, 2] bool, left and right foot planted.
    """

    fps: float
    joint_names: tuple[str, ...]
    root_pos: np.ndarray
    root_quat_wxyz: np.ndarray
    joint_pos: np.ndarray
    foot_contacts: np.ndarray

    def __post_init__(self) -> None:
        """Check rate, shapes, finiteness and unit norms.

        Raises:
            InputRejected: Any of these fails.
        """
        object.__setattr__(self, "fps", check_fps(self.fps))
        object.__setattr__(self, "joint_names", tuple(self.joint_names))
        object.__setattr__(self, "joint_pos", frozen_array("joint_pos", self.joint_pos, (None, len(self.joint_names))))
        frames = len(self.joint_pos)
        if frames == 0:
            raise InputRejected("the robot motion has no frames")
        object.__setattr__(self, "root_pos", frozen_array("root_pos", self.root_pos, (frames, 3)))
        object.__setattr__(self, "root_quat_wxyz", frozen_array("root_quat_wxyz", self.root_quat_wxyz, (frames, 4)))
        object.__setattr__(
            self, "foot_contacts", frozen_array("foot_contacts", self.foot_contacts, (frames, 2), np.bool_)
        )
        check_unit_quaternions("root_quat_wxyz", self.root_quat_wxyz)

    @property
    def frame_count(self) -> int:
        """Number of frames T."""
        return len(self.joint_pos)
