"""The panel's widgets: only ``omni.ui``, which is the same inside Kit and in NVIDIA's standalone ``ovui``.

Widgets call the presenter; :meth:`Panel.update`, called once per frame, lets time pass and shows what has changed.
"""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import omni.ui as ui

from soma_isaac.ui.choices import LODS, SIZE_RANGE, SPEED_RANGE, STILL_POSES, Clip
from soma_isaac.ui.presenter import BACKENDS, Presenter
from soma_isaac.ui.state import PanelState

WINDOW_TITLE = "SOMA"
SLIDERS_SHOWN = 12
NO_PRESET = "(none)"
_ROW = 24
_LABEL = 96
_WORDS = 56
_GREY, _RED, _GREEN, _BLUE = 0xFF9A9A9A, 0xFF6A6AF2, 0xFF7FC97F, 0xFFB5803C

_STYLE = {
    "Button:disabled": {"background_color": 0xFF3A3A3A},
    "Button.Label:disabled": {"color": 0xFF6E6E6E},
    "Slider": {"draw_mode": ui.SliderDrawMode.FILLED, "secondary_color": _BLUE, "background_color": 0xFF222222},
    "ProgressBar": {"color": _BLUE, "background_color": 0xFF222222},
}

Action = Callable[[Any], None]


class Panel:
    """One window on a presenter.

    Args:
        presenter: What it shows; it is not closed with the window.
        width: Of the window [px].
        height: Of the window [px].
        visible: Whether it opens at once.
        **window_options: Further properties of ``omni.ui.Window``.
    """

    def __init__(
        self, presenter: Presenter, *, width: int = 460, height: int = 1000, visible: bool = True, **window_options: Any
    ) -> None:
        self.presenter = presenter
        self.window = ui.Window(WINDOW_TITLE, width=width, height=height, visible=visible, **window_options)
        self.widgets: dict[str, Any] = {}
        self._provider = ui.ByteImageProvider()
        self._frames: dict[str, tuple[Any, object]] = {}
        self._sliders: list[Any] = []
        self._shown = -1
        self._picture: object = None
        self._showing = False
        self.window.frame.style = _STYLE
        with self.window.frame, ui.ScrollingFrame(horizontal_scrollbar_policy=_scrollbar_off()), ui.VStack(spacing=4):
            self._build_picture()
            self._build_motion()
            self._build_body()
            self._build_view()
            self._build_jobs()
            self._build_export()
        self.update(0.0)

    def update(self, elapsed_s: float) -> None:
        """Let ``elapsed_s`` [s] pass and show what has changed; call it once per frame on the UI thread."""
        self.presenter.tick(elapsed_s)
        if self.presenter.revision == self._shown:
            return
        self._shown = self.presenter.revision
        self._showing = True  # models that are set here are not user input
        try:
            self._show(self.presenter.state)
        finally:
            self._showing = False

    def close(self) -> None:
        """Take the window away."""
        self.window.visible = False
        self.window.destroy()
        self.widgets.clear()
        self._frames.clear()
        self._sliders.clear()

    # Building.

    def _build_picture(self) -> None:
        width, height = self.presenter.state.view.size
        self._provider.set_bytes_data([45, 45, 45, 255] * (width * height), [width, height])
        self.widgets["picture"] = ui.ImageWithProvider(
            self._provider,
            width=ui.Fraction(1),
            height=height,
            fill_policy=ui.IwpFillPolicy.IWP_PRESERVE_ASPECT_FIT,
            identifier="soma_picture",
        )
        # A place of its own for words, so that nothing below moves when they come and go.
        with ui.ScrollingFrame(height=_WORDS, horizontal_scrollbar_policy=_scrollbar_off()), ui.VStack(height=0):
            for name, color in (("error", _RED), ("message", _GREEN), ("note", _GREY)):
                label = ui.Label("", word_wrap=True, visible=False, style={"color": color}, identifier=f"soma_{name}")
                self.widgets[name] = label

    def _build_motion(self) -> None:
        presenter = self.presenter
        with _section("Motion"):
            with ui.HStack(height=_ROW, spacing=4):
                self._button("play", "Play", lambda: presenter.play(not presenter.state.playing), width=64)
                self._slider("time", 0.0, 1.0, presenter.seek)
                self.widgets["duration"] = ui.Label("", width=52, identifier="soma_duration")
            self._labelled_slider("speed", "Speed", *SPEED_RANGE, presenter.set_speed)
            with ui.HStack(height=_ROW, spacing=4):
                for pose in STILL_POSES:
                    self._button(pose, pose, lambda pose=pose: presenter.choose_still(pose))
            self._labelled_text("folder", "Clips in", presenter.open_folder)
            with ui.ScrollingFrame(height=176, horizontal_scrollbar_policy=_scrollbar_off()):
                self._frames["clips"] = (ui.Frame(build_fn=self._build_clips), None)

    def _build_clips(self) -> None:
        state = self.presenter.state
        with ui.VStack(height=0, spacing=0):
            for clip in state.clips:
                button = self._button(
                    f"clip:{clip.name}", clip.name, lambda clip=clip: self.presenter.choose_clip(clip), height=_ROW
                )
                if clip == state.clip:
                    button.style = {"Button": {"background_color": _BLUE}}
            if not state.clips:
                ui.Label("No motions (.npz, .bvh) here.", style={"color": _GREY}, height=20)

    def _build_body(self) -> None:
        presenter = self.presenter
        with _section("Body"):
            self._combo("backend", "Model", BACKENDS, presenter.choose_backend)
            presets = (NO_PRESET, *presenter.presets)
            self._combo(
                "preset", "Named body", presets, lambda n: presenter.choose_preset(None if n == NO_PRESET else n)
            )
            self._labelled_text("assets", "Model files", presenter.set_assets)
            self._labelled_slider("size", "Size", *SIZE_RANGE, presenter.set_size)
            self._frames["sliders"] = (ui.Frame(build_fn=self._build_sliders, height=0), None)
            with ui.HStack(height=_ROW, spacing=4):
                self._button("reset", "Reset shape", presenter.reset_shape)
            self._combo("lod", "Detail", LODS, presenter.set_lod)
            with ui.HStack(height=_ROW, spacing=4):
                self._check("twist", "Twist joints", presenter.set_twist)
                self._check("correctives", "Pose correctives", presenter.set_correctives, presenter.correctives_reason)

    def _build_sliders(self) -> None:
        state = self.presenter.state
        self._sliders = []
        with ui.VStack(height=0, spacing=2):
            for index, spec in enumerate(state.sliders[:SLIDERS_SHOWN]):
                label = spec.name.replace("_", " ")
                name = f"shape:{index}"
                self._labelled_slider(
                    name,
                    label,
                    spec.low,
                    spec.high,
                    lambda value, index=index: self.presenter.set_coefficient(index, value),
                    tooltip=f"{label}: {spec.low:g} to {spec.high:g} {spec.unit}",
                )
                self._sliders.append(self.widgets[name])
                self._sliders[-1].model.set_value(state.coefficients[index])
            left = len(state.sliders) - SLIDERS_SHOWN
            if left > 0:
                ui.Label(f"and {left} more, which stay as they are", style={"color": _GREY}, height=18)

    def _build_view(self) -> None:
        presenter = self.presenter
        with _section("View"):
            self._labelled_slider("turn", "Turn", -180.0, 180.0, presenter.set_turn)
            with ui.HStack(height=_ROW, spacing=4):
                self._check("skeleton", "Skeleton", presenter.show_skeleton)
                self._check("robot", "G1 beside the body", presenter.show_robot)

    def _build_jobs(self) -> None:
        presenter = self.presenter
        with _section("Jobs"):
            self._labelled_text("references", "References", presenter.set_references)
            with ui.HStack(height=_ROW, spacing=4):
                self._check("only_clip", "Only the chosen clip", presenter.set_only_clip)
                self._check("overwrite_references", "Overwrite", presenter.set_overwrite_references)
            self._labelled_text("pictures", "Pictures", presenter.set_pictures)
            with ui.HStack(height=_ROW, spacing=4):
                ui.Label("Bodies", width=_LABEL)
                self.widgets["body_count"] = ui.IntField(identifier="soma_body_count", width=64)
                self._button("render", "Render batch", presenter.render_batch)
            model = self.widgets["body_count"].model
            model.add_end_edit_fn(lambda model: self._input(presenter.set_body_count, model.as_int))
            with ui.HStack(height=_ROW, spacing=4):
                self._button("prepare", "Prepare G1 references", presenter.prepare_references)
                self._button("cancel", "Cancel", presenter.cancel_job, width=80)
            self.widgets["progress"] = ui.ProgressBar(height=_ROW, identifier="soma_progress")
            with ui.ScrollingFrame(height=_WORDS, horizontal_scrollbar_policy=_scrollbar_off()):
                self.widgets["job"] = ui.Label("", word_wrap=True, height=0, identifier="soma_job")

    def _build_export(self) -> None:
        presenter = self.presenter
        with _section("Export"):
            self._labelled_text("export_path", "File", presenter.set_export_path)
            with ui.HStack(height=_ROW, spacing=4):
                self._button("export", "Export", presenter.export, width=120)
                self._check("overwrite", "Overwrite", presenter.set_overwrite)

    # One widget each.

    def _button(self, name: str, text: str, action: Callable[[], None], **options: Any) -> Any:
        button = ui.Button(text, clicked_fn=action, identifier=f"soma_{name}", **options)
        self.widgets[name] = button
        return button

    def _slider(self, name: str, low: float, high: float, action: Action, **options: Any) -> None:
        slider = ui.FloatSlider(min=low, max=high, precision=2, identifier=f"soma_{name}", **options)
        slider.model.add_value_changed_fn(lambda model: self._input(action, model.as_float))
        self.widgets[name] = slider

    def _labelled_slider(
        self, name: str, text: str, low: float, high: float, action: Action, tooltip: str = ""
    ) -> None:
        with ui.HStack(height=_ROW, spacing=4):
            ui.Label(text, width=_LABEL, tooltip=tooltip)
            self._slider(name, low, high, action, tooltip=tooltip)

    def _labelled_text(self, name: str, text: str, action: Action) -> None:
        with ui.HStack(height=_ROW, spacing=4):
            ui.Label(text, width=_LABEL)
            field = ui.StringField(identifier=f"soma_{name}")
        field.model.add_end_edit_fn(lambda model: self._input(action, model.as_string))
        self.widgets[name] = field

    def _combo(self, name: str, text: str, items: tuple[str, ...], action: Action) -> None:
        with ui.HStack(height=_ROW, spacing=4):
            ui.Label(text, width=_LABEL)
            combo = ui.ComboBox(0, *items, identifier=f"soma_{name}")

        def changed(model: Any, _item: Any) -> None:
            self._input(action, items[model.get_item_value_model().as_int])

        combo.model.add_item_changed_fn(changed)
        self.widgets[name] = combo

    def _check(self, name: str, text: str, action: Action, reason: str = "") -> None:
        with ui.HStack(height=_ROW, spacing=4):
            with ui.VStack(width=20):
                ui.Spacer()
                box = ui.CheckBox(height=16, identifier=f"soma_{name}", enabled=not reason)
                ui.Spacer()
            ui.Label(text, tooltip=reason, style={"color": _GREY} if reason else {})
        box.model.add_value_changed_fn(lambda model: self._input(action, model.as_bool))
        self.widgets[name] = box

    def _input(self, action: Action, value: Any) -> None:
        if not self._showing:
            action(value)

    # Showing.

    def _show(self, state: PanelState) -> None:
        self._show_picture(state)
        for name, text in (("error", state.error), ("message", state.message), ("note", state.note)):
            self.widgets[name].text = text
            self.widgets[name].visible = bool(text)
        time = self.widgets["time"]
        time.max = max(state.duration, 0.01)
        time.enabled = state.duration > 0.0
        self.widgets["play"].text = "Pause" if state.playing else "Play"
        self.widgets["play"].enabled = state.clip is not None
        self.widgets["duration"].text = f"{state.duration:.1f} s" if state.duration else ""
        body, view = state.body, state.view
        for name, value in (
            ("time", state.time),
            ("speed", state.speed),
            ("size", body.size),
            ("turn", view.turn),
            ("twist", body.twist),
            ("correctives", body.correctives),
            ("skeleton", view.skeleton),
            ("robot", view.robot),
            ("only_clip", state.only_clip),
            ("overwrite_references", state.overwrite_references),
            ("overwrite", state.overwrite),
            ("folder", state.clips_folder),
            ("references", state.references),
            ("pictures", state.pictures),
            ("body_count", state.body_count),
            ("assets", body.assets or ""),
            ("export_path", state.export_path),
        ):
            _put(self.widgets[name].model, value)
        presets = (NO_PRESET, *self.presenter.presets)
        for name, items, chosen in (
            ("backend", BACKENDS, body.backend),
            ("preset", presets, body.preset or NO_PRESET),
            ("lod", LODS, body.lod),
        ):
            _put(self.widgets[name].model.get_item_value_model(), items.index(chosen))
        self._rebuild("clips", (state.clips, state.clip))
        self._rebuild("sliders", state.sliders)
        for slider, value in zip(self._sliders, state.coefficients, strict=False):
            _put(slider.model, value)
        self._show_jobs(state)

    def _show_picture(self, state: PanelState) -> None:
        if state.picture is None or state.picture is self._picture:
            return
        self._picture = state.picture
        image = state.picture.image
        height, width, _ = image.shape
        opaque = np.full((height, width, 1), 255, np.uint8)
        pixels = np.ascontiguousarray(np.concatenate([image, opaque], axis=2))
        if hasattr(self._provider, "set_data_array"):
            self._provider.set_data_array(pixels, [width, height])
        else:
            self._provider.set_bytes_data(pixels.reshape(-1).tolist(), [width, height])

    def _show_jobs(self, state: PanelState) -> None:
        live = self.presenter.job_live
        self.widgets["progress"].model.set_value(state.job.fraction)
        self.widgets["job"].text = state.job.text
        self.widgets["job"].style = {"color": _RED if state.job.state == "failed" else _GREY}
        self.widgets["prepare"].enabled = self.widgets["render"].enabled = not live
        self.widgets["cancel"].enabled = state.job.state == "running"
        self.widgets["export"].enabled = not state.exporting
        self.widgets["export"].text = "Exporting ..." if state.exporting else "Export"

    def _rebuild(self, name: str, content: object) -> None:
        frame, shown = self._frames[name]
        if content != shown:
            self._frames[name] = (frame, content)
            frame.rebuild()


def clip_button(clip: Clip) -> str:
    """Key in :attr:`Panel.widgets` of a clip's button."""
    return f"clip:{clip.name}"


def _section(title: str) -> Any:
    """A collapsable section; used as a context with a column in it."""
    return _Section(title)


class _Section:
    def __init__(self, title: str) -> None:
        self._frame = ui.CollapsableFrame(title, height=0)
        with self._frame:
            self._column = ui.VStack(spacing=3, height=0)

    def __enter__(self) -> Any:
        return self._column.__enter__()

    def __exit__(self, *error: object) -> None:
        self._column.__exit__(*error)


def _scrollbar_off() -> Any:
    return ui.ScrollBarPolicy.SCROLLBAR_ALWAYS_OFF


def _put(model: Any, value: bool | int | float | str) -> None:
    """Set a model unless it has the value: setting a field while the user types in it would take the text away."""
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
