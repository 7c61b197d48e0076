"""One widget each for the panel: only ``omni.ui``. What is shown is not taken for what the user does."""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import omni.ui as ui

ROW = 24
LABEL = 96
WORDS = 72
"""Height [px] of a place for four lines."""
GREY, RED, GREEN, BLUE = 0xFF9A9A9A, 0xFF6A6AF2, 0xFF7FC97F, 0xFFB5803C

STYLE = {
    "Button": {"margin": 0},  # so that buttons stand level with what shares their row
    "Button:hovered": {"background_color": 0xFF4A4A4A},
    "Button:disabled": {"background_color": 0xFF3A3A3A},
    "Button.Label:disabled": {"color": 0xFF6E6E6E},
    "Slider": {"draw_mode": ui.SliderDrawMode.FILLED, "secondary_color": BLUE, "background_color": 0xFF222222},
    "ProgressBar": {"color": BLUE, "background_color": 0xFF222222},
}
CHOSEN = {"Button": {"background_color": BLUE}, "Button:hovered": {"background_color": 0xFFC9955A}}

Action = Callable[[Any], None]


class Widgets:
    """Widgets by name; each has its name, after ``soma_``, as identifier."""

    def __init__(self) -> None:
        self.by_name: dict[str, Any] = {}
        self._frames: dict[str, tuple[Any, object]] = {}
        self._showing = False
        self._edited: set[str] = set()
        self._entered = False

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Models that are set meanwhile are not user input."""
        before, self._showing = self._showing, True
        try:
            yield
        finally:
            self._showing = before

    def forget(self) -> None:
        """Let all widgets go."""
        self.by_name.clear()
        self._frames.clear()
        self._edited.clear()

    def button(self, name: str, text: str, action: Callable[[], None], **options: Any) -> Any:
        """A button."""
        button = ui.Button(text, clicked_fn=action, identifier=f"soma_{name}", **options)
        self.by_name[name] = button
        return button

    def label(self, name: str, text: str = "", **options: Any) -> Any:
        """Words that change."""
        label = ui.Label(text, identifier=f"soma_{name}", **options)
        self.by_name[name] = label
        return label

    def slider(self, name: str, low: float, high: float, action: Action, **options: Any) -> Any:
        """A slider alone."""
        slider = ui.FloatSlider(
            min=low, max=high, precision=2, identifier=f"soma_{name}", **{"format": "%.2f", **options}
        )
        slider.model.add_value_changed_fn(lambda model: self._input(action, model.as_float))
        self.by_name[name] = slider
        return slider

    def labelled_slider(
        self, name: str, text: str, low: float, high: float, action: Action, *, label: int = LABEL, **options: Any
    ) -> Any:
        """A slider in a row with its name."""
        with ui.HStack(height=ROW, spacing=4):
            ui.Label(text, width=label, tooltip=options.get("tooltip", ""), elided_text=True)
            return self.slider(name, low, high, action, **options)

    def drag(self, name: str, low: float, high: float, step: float, action: Action, **options: Any) -> None:
        """A field whose number is dragged or typed."""
        field = ui.FloatDrag(min=low, max=high, step=step, precision=3, identifier=f"soma_{name}", **options)
        field.model.add_value_changed_fn(lambda model: self._input(action, model.as_float))
        self._field(name, field)

    def labelled_text(self, name: str, text: str, action: Action) -> None:
        """A text field in a row with its name; it acts when the user leaves it."""
        with ui.HStack(height=ROW, spacing=4):
            ui.Label(text, width=LABEL)
            field = ui.StringField(identifier=f"soma_{name}")
        self._field(name, field)
        field.model.add_end_edit_fn(lambda model: self._input(action, model.as_string))

    def integer(self, name: str, action: Action, width: int = 64) -> None:
        """A field for a whole number."""
        field = ui.IntField(identifier=f"soma_{name}", width=width)
        self._field(name, field)
        field.model.add_end_edit_fn(lambda model: self._input(action, model.as_int))

    def combo(self, name: str, text: str, items: tuple[str, ...], action: Action) -> None:
        """A choice among words in a row with its name."""
        with ui.HStack(height=ROW, spacing=4):
            ui.Label(text, width=LABEL)
            combo = ui.ComboBox(0, *items, identifier=f"soma_{name}")

        def changed(model: Any, _item: Any) -> None:
            self._input(action, items[model.get_item_value_model().as_int])

        combo.model.add_item_changed_fn(changed)
        self.by_name[name] = combo

    def check(self, name: str, text: str, action: Action, reason: str = "") -> None:
        """A switch; off and grey with a ``reason``."""
        with ui.HStack(height=ROW, spacing=4):
            with ui.VStack(width=20):
                ui.Spacer()
                box = ui.CheckBox(height=16, identifier=f"soma_{name}", enabled=not reason)
                ui.Spacer()
            ui.Label(text, tooltip=reason, style={"color": GREY} if reason else {})
        box.model.add_value_changed_fn(lambda model: self._input(action, model.as_bool))
        self.by_name[name] = box

    def rebuilt(self, name: str, build: Callable[[], None], **options: Any) -> None:
        """A frame that :meth:`rebuild` fills anew."""
        self._frames[name] = (ui.Frame(build_fn=build, **options), None)

    def rebuild(self, name: str, content: object) -> None:
        """Fill a frame anew if what it shows is another ``content`` than the last time."""
        frame, shown = self._frames[name]
        if content != shown:
            self._frames[name] = (frame, content)
            frame.rebuild()

    def put(self, name: str, value: bool | int | float | str) -> None:
        """Show a value, unless it is shown or the user is typing there: what is half typed is not yet anybody's."""
        if name not in self._edited:
            put(self.by_name[name].model, value)
            if isinstance(value, str):
                self.by_name[name].tooltip = value  # a path is longer than its field

    def take_entered(self) -> bool:
        """Whether somebody left a field since the last call: what was made of the entry is to be shown there."""
        entered, self._entered = self._entered, False
        return entered

    def _field(self, name: str, field: Any) -> None:
        self.by_name[name] = field
        self._edited.discard(name)
        field.model.add_begin_edit_fn(lambda _model: self._edited.add(name))
        field.model.add_end_edit_fn(lambda _model: self._left(name))

    def _left(self, name: str) -> None:
        self._edited.discard(name)
        self._entered = True

    def _input(self, action: Action, value: Any) -> None:
        if not self._showing:
            action(value)


def put(model: Any, value: bool | int | float | str) -> None:
    """Set a model unless it has the value."""
    if isinstance(value, bool):
        current = model.as_bool
    elif isinstance(value, int):
        current = model.as_int
    elif isinstance(value, float):
        current = model.as_float
    else:
        current = model.as_string
    if current != value:
        model.set_value(value)


@contextmanager
def section(title: str, *, collapsed: bool = False) -> Iterator[Any]:
    """A collapsable section with a column in it; yields the frame."""
    frame = ui.CollapsableFrame(title, height=0, collapsed=collapsed)
    with frame, ui.VStack(spacing=3, height=0):
        yield frame


def scrolling(height: int) -> Any:
    """A frame of a height that scrolls down."""
    return ui.ScrollingFrame(height=height, horizontal_scrollbar_policy=scrollbar_off())


def scrollbar_off() -> Any:
    """No scroll bar."""
    return ui.ScrollBarPolicy.SCROLLBAR_ALWAYS_OFF
