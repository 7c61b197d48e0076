"""What a user does to effectors: plain Python on the presenter's state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from soma_isaac.learned.skeleton import BODY_JOINT_NAMES
from soma_isaac.ui.choices import POSED, PointEffector

if TYPE_CHECKING:
    from soma_isaac.ui.state import PanelState

FIRST = ("Hips", "LeftHand", "RightHand", "LeftFoot", "RightFoot")
"""The joints that are held to begin with."""

REACH_M = 5.0
"""No point is further than this from the origin in any direction."""

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
        effectors = state.effectors or tuple(PointEffector(joint, False, self._place(joint)) for joint in FIRST)
        self._change(effectors=effectors, clip=None, still=POSED, time=0.0, duration=0.0, playing=False, error="")

    def reset(self) -> None:
        """Back to the effectors of the beginning, in the T-pose."""
        self._change(effectors=(), chosen_effector=-1, joints=())
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
        joints = self._read().joints or _template_joints()
        return joints[BODY_JOINT_NAMES.index(joint)]


def _template_joints() -> tuple[tuple[float, float, float], ...]:
    import numpy as np

    from soma_isaac.learned.skeleton import body_kinematics, template_skeleton

    offsets = template_skeleton().rest_offsets
    places, _ = body_kinematics(np.tile(np.eye(3), (1, 23, 1, 1)), offsets[:1], offsets)
    return tuple((round(x, 3), round(y, 3), round(z, 3)) for x, y, z in places[0].tolist())
