"""What a user does to effectors: plain Python on the presenter's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from soma_isaac.learned.predictor import turn_about_y
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodySkeleton, body_kinematics, template_skeleton
from soma_isaac.ui.choices import POSED, PointEffector

if TYPE_CHECKING:
    from soma_isaac.ui.state import PanelState

FIRST = ("Hips", "LeftHand", "RightHand", "LeftFoot", "RightFoot")
"""The joints that are held to begin with."""

REACH_M = 5.0
"""No point is further than this from the origin in any direction."""

Places = tuple[tuple[float, float, float], ...]

AHEAD_M = 1.0
"""A joint that looks at something looks at a point this far ahead to begin with."""


class Posing:
    """Adds, chooses, moves and takes away effectors. Solving is the renderer's, in its thread.

    Args:
        read: Gives the state.
        change: Changes fields of it.
    """

    def __init__(self, read: Callable[[], PanelState], change: Callable[..., None]) -> None:
        self._read, self._change = read, change

    @property
    def chosen(self) -> PointEffector | None:
        """The chosen effector, or ``None``."""
        state = self._read()
        return state.effectors[state.chosen_effector] if 0 <= state.chosen_effector < len(state.effectors) else None

    def start(self) -> None:
        """Show the pose that effectors ask for, with hips, hands and feet held where they are if there are none."""
        state = self._read()
        if state.clip is not None:
            self._change(joints=standing_ahead(state.joints))
        effectors = state.effectors or tuple(PointEffector(joint, False, self._place(joint)) for joint in FIRST)
        self._change(effectors=effectors, clip=None, still=POSED, playback=state.playback.of_still(), error="")

    def reset(self) -> None:
        """Back to the effectors of the beginning, in the body's own T-pose."""
        self._change(effectors=(), chosen_effector=-1, clip=None, joints=self._read().rest_joints)
        self.start()

    def add(self, joint: str, look: bool = False) -> None:
        """Hold a joint where it is, or have it look ahead; one that is held so already is chosen."""
        if joint not in BODY_JOINT_NAMES:
            return
        self.start()
        effectors = self._read().effectors
        for index, each in enumerate(effectors):
            if (each.joint, each.look) == (joint, look):
                self.choose(index)
                return
        x, y, z = self._place(joint)
        effector = PointEffector(joint, look, (x, y, z + AHEAD_M) if look else (x, y, z))
        self._change(effectors=(*effectors, effector), chosen_effector=len(effectors))

    def choose(self, index: int) -> None:
        """Choose an effector; -1 for none."""
        if -1 <= index < len(self._read().effectors):
            self._change(chosen_effector=index)

    def remove(self) -> None:
        """Take the chosen effector away; one that says where the body is has to stay."""
        state = self._read()
        left = [each for index, each in enumerate(state.effectors) if index != state.chosen_effector]
        if self.chosen is None:
            self._change(error="Choose an effector.")
        elif all(each.look for each in left):
            self._change(error="One joint has to be held in a place.")
        else:
            self._change(effectors=tuple(left), chosen_effector=min(state.chosen_effector, len(left) - 1), error="")

    def move(self, index: int, point: tuple[float, float, float]) -> None:
        """Put the point of an effector somewhere [m]; the body follows."""
        effectors = list(self._read().effectors)
        if not 0 <= index < len(effectors):
            return
        old = effectors[index]
        x, y, z = (min(max(float(value), -REACH_M), REACH_M) for value in point)
        if (x, y, z) != old.point:
            effectors[index] = PointEffector(old.joint, old.look, (x, y, z))
            self._change(effectors=tuple(effectors))

    def move_chosen(self, axis: int, value: float) -> None:
        """Move the chosen effector along one axis: 0 the body's left, 1 up, 2 ahead [m]."""
        chosen = self.chosen
        if chosen is not None:
            point = list(chosen.point)
            point[axis] = value
            self.move(self._read().chosen_effector, (point[0], point[1], point[2]))

    def _place(self, joint: str) -> tuple[float, float, float]:
        """Where a joint is in the newest picture, or in the template's T-pose."""
        joints = self._read().joints or rest_places(template_skeleton())
        return joints[BODY_JOINT_NAMES.index(joint)]


def standing_ahead(joints: Places) -> Places:
    """A pose somewhere in a clip, as it is where the body stands above the origin and looks ahead (+Z).

    Args:
        joints: [23] places, m; or none.
    """
    if not joints:
        return ()
    places = np.array(joints)
    left = places[BODY_JOINT_NAMES.index("LeftLeg")] - places[BODY_JOINT_NAMES.index("RightLeg")]
    heading = turn_about_y(left[[0]], -left[[2]])[0]  # a turn by a takes +X to (cos a, 0, -sin a)
    return rounded_places((places - places[0] * [1.0, 0.0, 1.0]) @ heading)


def rest_places(skeleton: BodySkeleton) -> Places:
    """The 23 joints [m] of a body in its T-pose."""
    offsets = skeleton.rest_offsets
    places, _ = body_kinematics(np.tile(np.eye(3), (1, len(offsets), 1, 1)), offsets[:1], offsets)
    return rounded_places(places[0])


def rounded_places(places: np.ndarray) -> Places:
    """Places [N, 3] m in mm steps, as plain values."""
    return tuple((round(x, 3), round(y, 3), round(z, 3)) for x, y, z in places.tolist())
