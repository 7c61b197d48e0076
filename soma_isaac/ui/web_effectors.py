"""Effectors on the preview page: a section of the controls, and arrows in the scene to drag their points by."""

from __future__ import annotations

from typing import Any

from soma_isaac.learned.skeleton import BODY_JOINT_NAMES
from soma_isaac.ui.choices import PointEffector
from soma_isaac.ui.posing import REACH_M
from soma_isaac.ui.presenter import Presenter
from soma_isaac.ui.state import PanelState
from soma_isaac.ui.web_widgets import Widgets

AXES = ("Left [m]", "Up [m]", "Ahead [m]")
NONE = "(none)"
CONTROL_M, BALL_M = 0.16, 0.028
PLACE_RGB, LOOK_RGB = (220, 40, 40), (50, 95, 215)


class EffectorControls:
    """Widgets and transform controls on a presenter's effectors.

    Args:
        widgets: Makes widgets and holds what the user did until it is obeyed.
        scene: ``viser.SceneApi`` of a server or a client; ``None`` for widgets alone.
        anchor: Name of the node that the body stands in.
        presenter: What they control and show.
        after: The section that theirs comes after, or ``None``.
    """

    def __init__(self, widgets: Widgets, scene: Any, anchor: str, presenter: Presenter, *, after: Any = None) -> None:
        self._widgets, self._scene, self._anchor, self._presenter = widgets, scene, anchor, presenter
        self._handles: list[tuple[PointEffector, Any, Any]] = []
        posing = presenter.posing
        with widgets.folder("Effectors", closed=True, after=after):
            widgets.button("pose", "Pose by effectors", posing.start)
            widgets.dropdown("effector", "Effector", (NONE,), self._choose)
            for axis, label in enumerate(AXES):
                widgets.slider(
                    f"effector:{axis}", label, -REACH_M, REACH_M, lambda value, axis=axis: self._move(axis, value)
                )
            widgets.dropdown("joint", "Joint", BODY_JOINT_NAMES, lambda _: None)
            widgets.button("hold", "Hold it in a place", lambda: posing.add(self._joint))
            widgets.button("look", "Let it look", lambda: posing.add(self._joint, True))
            widgets.button("unhold", "Remove effector", posing.remove)
            widgets.button("repose", "Begin anew", posing.reset)

    @property
    def _joint(self) -> str:
        return str(self._widgets.handles["joint"].value)

    def show(self, state: PanelState) -> None:
        """Show the state's effectors: widgets always, arrows while they pose the body."""
        widgets, chosen = self._widgets, self._presenter.posing.chosen
        widgets.options("effector", (NONE, *(each.words for each in state.effectors)))
        widgets.put("effector", chosen.words if chosen is not None else NONE)
        widgets.set("unhold", disabled=chosen is None)
        for axis in range(3):
            widgets.set(f"effector:{axis}", visible=chosen is not None)
            if chosen is not None:
                widgets.put(f"effector:{axis}", round(chosen.point[axis], 3))
        if self._scene is not None:
            self._show_arrows(state.effectors if self._presenter.request().posed else ())

    def _show_arrows(self, effectors: tuple[PointEffector, ...]) -> None:
        shown = [(each.joint, each.look) for each, _, _ in self._handles]
        if shown != [(each.joint, each.look) for each in effectors]:
            for _, control, ball in self._handles:
                ball.remove()
                control.remove()
            self._handles = [(each, *self._arrows(index, each)) for index, each in enumerate(effectors)]
        for index, (each, (old, control, ball)) in enumerate(zip(effectors, self._handles, strict=True)):
            # What the browser said last is what it shows, or it is on its way to something newer.
            if each.point != old.point and each.point != self._widgets.given(f"arrows:{index}"):
                control.position = each.point
            self._handles[index] = (each, control, ball)

    def _arrows(self, index: int, effector: PointEffector) -> tuple[Any, Any]:
        name = f"{self._anchor}/effector_{index}"
        control = self._scene.add_transform_controls(
            name, scale=CONTROL_M, disable_rotations=True, depth_test=False, position=effector.point
        )
        color = LOOK_RGB if effector.look else PLACE_RGB
        ball = self._scene.add_icosphere(f"{name}/ball", radius=BALL_M, color=color)
        self._widgets.listen(
            f"arrows:{index}",
            control.on_update,
            lambda: tuple(float(value) for value in control.position),
            lambda point: self._drag(index, point),
        )
        return control, ball

    def _drag(self, index: int, point: tuple[float, float, float]) -> None:
        self._presenter.posing.choose(index)
        self._presenter.posing.move(index, point)

    def _choose(self, words: str) -> None:
        names = [each.words for each in self._presenter.state.effectors]
        self._presenter.posing.choose(names.index(words) if words in names else -1)

    def _move(self, axis: int, value: float) -> None:
        self._presenter.posing.move_chosen(axis, value)
