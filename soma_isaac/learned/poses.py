"""Poses to train and test on: where they come from, how they are split, their mean."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.learned.predictor import turn_about_y
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, MIRROR, body_kinematics, template_skeleton
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.math.so3 import project_to_so3

JOINT_COUNT = len(BODY_JOINT_NAMES)
REFLECTION = np.array([-1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False)
class PoseSet:
    """Poses of the 23 body joints with the person each belongs to.

    Attributes:
        rotations: [M, 23, 3, 3] float32 local rotations.
        subject: [M] labels: the person, or the data set that is held out as one.
    """

    rotations: np.ndarray
    subject: np.ndarray

    def __post_init__(self) -> None:
        """Check shapes and that every matrix is a rotation.

        Raises:
            InputRejected: Any of these fails, or there are no poses.
        """
        rotations = frozen_array("rotations", self.rotations, (None, JOINT_COUNT, 3, 3), np.float32)
        object.__setattr__(self, "rotations", rotations)
        if len(rotations) == 0 or len(self.subject) != len(rotations):
            raise InputRejected(f"there are {len(rotations)} poses and {len(self.subject)} subjects")
        check_rotations("rotations (pose, joint)", rotations)

    @property
    def count(self) -> int:
        """Number of poses M."""
        return len(self.rotations)

    def of(self, subjects: Collection[str]) -> PoseSet:
        """The poses of these subjects.

        Raises:
            InputRejected: A subject has no pose.
        """
        known = set(self.subject.tolist())
        unknown = sorted(set(subjects) - known)
        if unknown:
            raise InputRejected(f"no poses of {', '.join(unknown)}; there are {', '.join(sorted(known))}")
        chosen = np.isin(self.subject, list(subjects))
        return PoseSet(self.rotations[chosen], self.subject[chosen])

    def without(self, subjects: Collection[str]) -> PoseSet:
        """The poses of everybody else."""
        chosen = ~np.isin(self.subject, list(subjects))
        return PoseSet(self.rotations[chosen], self.subject[chosen])

    def with_mirrored(self) -> PoseSet:
        """These poses and their mirror images: left and right exchanged, ``S R S`` with ``S = diag(-1, 1, 1)``."""
        mirrored = REFLECTION[:, None] * self.rotations[:, list(MIRROR)] * REFLECTION
        return PoseSet(np.concatenate([self.rotations, mirrored]), np.concatenate([self.subject, self.subject]))

    def mean_pose(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The mean pose, heading +Z: chordal mean of the local rotations after the heading is taken out.

        Returns:
            Local rotations [23, 3, 3]; joint positions [23, 3] m and world rotations [23, 3, 3] of the template body
            with its Hips at the origin.
        """
        rotations = self.rotations.astype(np.float64)
        heading = turn_about_y(rotations[:, 0, 2, 2], rotations[:, 0, 0, 2])
        rotations[:, 0] = np.swapaxes(heading, -1, -2) @ rotations[:, 0]
        mean = project_to_so3(rotations.mean(axis=0))
        positions, world = body_kinematics(mean[None], np.zeros((1, 3)), template_skeleton().rest_offsets)
        return mean, positions[0], world[0]
