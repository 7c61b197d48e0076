"""The panel's section of effectors: only ``omni.ui``. A list, and three fields to drag the chosen one's point by."""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

import omni.ui as ui

from soma_isaac.learned.skeleton import BODY_JOINT_NAMES
from soma_isaac.ui.panel_widgets import CHOSEN, GREY, LABEL, ROW, Widgets, scrolling, section
from soma_isaac.ui.posing import REACH_M
from soma_isaac.ui.presenter import Presenter
from soma_isaac.ui.state import PanelState

AXES = ("x", "y", "z")
AXIS_TIPS = ("towards the body's left [m]", "up [m]", "ahead [m]")
STEP_M = 0.005
_ROWS_SHOWN = 6


class EffectorSection:
    """Widgets on a presenter's effectors.

    Args:
        make: Makes the widgets.
        presenter: What they control and show.
    """

    def __init__(self, make: Widgets, presenter: Presenter) -> None:
        self._make, self._presenter = make, presenter
        self._joint = BODY_JOINT_NAMES[0]
        posing = presenter.posing
        with section("Effectors", collapsed=True) as frame:
            make.by_name["effectors"] = frame
            with ui.HStack(height=ROW, spacing=4):
                make.button("pose", "Pose by effectors", posing.start, height=ROW)
                make.button("repose", "Begin anew", posing.reset, height=ROW)
            with scrolling(_ROWS_SHOWN * (ROW + 2)):
                make.rebuilt("effectors", self._build_list)
            with ui.HStack(height=ROW, spacing=4):
                ui.Label("Point [m]", width=LABEL)
                for axis, (name, tip) in enumerate(zip(AXES, AXIS_TIPS, strict=True)):
                    make.drag(
                        f"effector:{name}",
                        -REACH_M,
                        REACH_M,
                        STEP_M,
                        lambda value, axis=axis: posing.move_chosen(axis, value),
                        tooltip=f"{name}: {tip}",
                        format=f"{name} %.3f",
                    )
            make.combo("joint", "Joint", BODY_JOINT_NAMES, self._choose_joint)
            with ui.HStack(height=ROW, spacing=4):
                make.button("hold", "Hold it", lambda: posing.add(self._joint), height=ROW)
                make.button("look", "Let it look", lambda: posing.add(self._joint, True), height=ROW)
                make.button("unhold", "Remove", posing.remove, width=80, height=ROW)

    def show(self, state: PanelState) -> None:
        """Show the state's effectors."""
        chosen = self._presenter.posing.chosen
        self._make.rebuild("effectors", ([each.words for each in state.effectors], state.chosen_effector))
        self._make.by_name["unhold"].enabled = chosen is not None
        for axis, name in enumerate(AXES):
            self._make.by_name[f"effector:{name}"].enabled = chosen is not None
            if chosen is not None:
                self._make.put(f"effector:{name}", float(chosen.point[axis]))

    def _build_list(self) -> None:
        state, posing = self._presenter.state, self._presenter.posing
        with ui.VStack(height=0, spacing=2):
            for index, each in enumerate(state.effectors):
                button = self._make.button(
                    f"effector:{index}", each.words, lambda index=index: posing.choose(index), height=ROW
                )
                if index == state.chosen_effector:
                    button.style = CHOSEN
            if not state.effectors:
                ui.Label("None yet: pose by effectors to hold hips, hands and feet.", style={"color": GREY}, height=20)

    def _choose_joint(self, name: str) -> None:
        self._joint = name
