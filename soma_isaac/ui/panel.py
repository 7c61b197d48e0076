"""The panel: only ``omni.ui``, which is the same inside Kit and in NVIDIA's standalone ``ovui``.

Widgets call the presenter; :meth:`Panel.update`, called once per frame, lets time pass and shows what has changed.
"""

# pyright: reportAttributeAccessIssue=true

from __future__ import annotations

from itertools import groupby
from typing import Any

import numpy as np
import omni.ui as ui

from soma_isaac.ui.choices import (
    LODS,
    SHAPE,
    SIZE_RANGE,
    SPEED_RANGE,
    STILL_POSES,
    STILL_TITLES,
    SliderSpec,
    group_title,
)
from soma_isaac.ui.panel_effectors import EffectorSection
from soma_isaac.ui.panel_widgets import (
    CHOSEN,
    GREEN,
    GREY,
    LABEL,
    RED,
    ROW,
    STYLE,
    WORDS,
    Widgets,
    put,
    scrollbar_off,
    scrolling,
    section,
)
from soma_isaac.ui.presenter import BACKENDS, Presenter
from soma_isaac.ui.stage_bodies import StageBodies
from soma_isaac.ui.state import PanelState

WINDOW_TITLE = "SOMA"
NO_PRESET = "(none)"
_ROWS_SHOWN = 10
_SLIDER_ROW = ROW + 2
_SLIDER_LABEL = 128


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
        self._make = Widgets()
        self.widgets = self._make.by_name
        self._provider = ui.ByteImageProvider()
        self._sliders: list[Any] = []
        self._shown = -1
        self._picture: object = None
        self.window.frame.style = STYLE
        with self.window.frame, ui.ScrollingFrame(horizontal_scrollbar_policy=scrollbar_off()), ui.VStack(spacing=4):
            self._build_picture()
            self._build_motion()
            self._build_body()
            self._effectors = EffectorSection(self._make, presenter)
            self._build_view()
            if presenter.stage is not None:
                self._build_stage(presenter.stage)
            self._build_jobs()
            self._build_export()
        self.update(0.0)

    def update(self, elapsed_s: float) -> None:
        """Let ``elapsed_s`` [s] pass and show what has changed; call it once per frame on the UI thread."""
        self.presenter.tick(elapsed_s)
        if self.presenter.revision == self._shown and not self._make.take_entered():
            return
        self._shown = self.presenter.revision
        with self._make.showing():
            self._show(self.presenter.state)

    def close(self) -> None:
        """Take the window away."""
        self.window.visible = False
        self.window.destroy()
        self._make.forget()
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
        with scrolling(WORDS), ui.VStack(height=0):
            for name, color in (("error", RED), ("message", GREEN), ("note", GREY), ("caption", GREY)):
                self._make.label(name, word_wrap=True, visible=False, style={"color": color})

    def _build_motion(self) -> None:
        presenter, make = self.presenter, self._make
        with section("Motion"):
            with ui.HStack(height=ROW, spacing=4):
                make.button("play", "Play", lambda: presenter.play(not presenter.state.playback.playing), width=64)
                make.slider("time", 0.0, 1.0, presenter.seek, format="%.2f s")
                make.label("duration", width=52)
            make.labelled_slider("speed", "Speed", *SPEED_RANGE, presenter.set_speed, format="%.2f x")
            with ui.HStack(height=ROW, spacing=4):
                ui.Label("Still", width=LABEL)
                for pose in STILL_POSES:
                    make.button(pose, STILL_TITLES[pose], lambda pose=pose: presenter.choose_still(pose), height=ROW)
            make.labelled_text("folder", "Clips in", presenter.open_folder)
            with scrolling(176):
                make.rebuilt("clips", self._build_clips)

    def _build_clips(self) -> None:
        state = self.presenter.state
        with ui.VStack(height=0, spacing=2):
            for clip in state.clips:
                button = self._make.button(
                    f"clip:{clip.name}", clip.name, lambda clip=clip: self.presenter.choose_clip(clip), height=ROW
                )
                if clip == state.clip:
                    button.style = CHOSEN
            if not state.clips:
                ui.Label("No motions (.npz, .bvh) here.", style={"color": GREY}, height=20)

    def _build_body(self) -> None:
        presenter, make = self.presenter, self._make
        with section("Body"):
            make.combo("backend", "Model", BACKENDS, presenter.choose_backend)
            presets = (NO_PRESET, *presenter.presets)
            make.combo(
                "preset", "Named body", presets, lambda n: presenter.choose_preset(None if n == NO_PRESET else n)
            )
            make.labelled_text("assets", "Model files", presenter.set_assets)
            make.labelled_slider("size", "Size", *SIZE_RANGE, presenter.set_size, format="%.2f x")
            make.rebuilt("sliders", self._build_sliders, height=0)
            with ui.HStack(height=ROW, spacing=4):
                make.button("reset", "Reset shape", presenter.reset_shape)
            make.combo("lod", "Detail", LODS, presenter.set_lod)
            with ui.HStack(height=ROW, spacing=4):
                make.check("twist", "Twist joints", presenter.set_twist)
                make.check("correctives", "Pose correctives", presenter.set_correctives, presenter.correctives_reason)

    def _build_sliders(self) -> None:
        """All groups of coefficients; those besides the shape are folded, and each scrolls by itself."""
        state = self.presenter.state
        self._sliders = []
        rows = list(zip(range(len(state.sliders)), state.sliders, state.coefficients, strict=False))
        with self._make.showing(), ui.VStack(height=0, spacing=2):
            for group, members in groupby(rows, key=lambda row: row[1].group):
                listed = list(members)
                title = f"{group_title(group)} ({len(listed)})"
                with section(title, collapsed=group != SHAPE) as frame:
                    self.widgets[f"group:{group}"] = frame
                    with (
                        scrolling(min(len(listed), _ROWS_SHOWN) * _SLIDER_ROW),
                        ui.VStack(height=0, spacing=2),
                    ):
                        for index, spec, value in listed:
                            self._build_slider(index, spec, value)

    def _build_slider(self, index: int, spec: SliderSpec, value: float) -> None:
        words = spec.name.replace("_", " ")
        slider = self._make.labelled_slider(
            f"shape:{index}",
            words,
            spec.low,
            spec.high,
            lambda value: self.presenter.set_coefficient(index, value),
            tooltip=f"{words}: {spec.low:g} to {spec.high:g} {spec.unit}",
            label=_SLIDER_LABEL,
        )
        slider.model.set_value(value)
        self._sliders.append(slider)

    def _build_view(self) -> None:
        presenter, make = self.presenter, self._make
        with section("View"):
            make.labelled_slider("turn", "Turn", -180.0, 180.0, presenter.set_turn, format="%.0f deg")
            with ui.HStack(height=ROW, spacing=4):
                make.check("skeleton", "Skeleton", presenter.show_skeleton)
                make.check("robot", "G1 beside the body", presenter.show_robot)

    def _build_stage(self, stage: StageBodies) -> None:
        make = self._make
        with section("Stage"):
            with ui.HStack(height=ROW, spacing=4):
                make.button("stage_add", "Add to stage", self.presenter.add_to_stage, height=ROW)
                make.button("stage_remove", "Remove", stage.remove, width=80, height=ROW)
                make.check("stage_live", "Follows this panel", stage.set_live)
            with scrolling(3 * (ROW + 2)):
                make.rebuilt("stage", lambda: self._build_stage_bodies(stage))

    def _build_stage_bodies(self, stage: StageBodies) -> None:
        with ui.VStack(height=0, spacing=2):
            for path in stage.state.bodies:
                button = self._make.button(f"stage:{path}", path, lambda path=path: stage.choose(path), height=ROW)
                if path == stage.state.chosen:
                    button.style = CHOSEN
            if not stage.state.bodies:
                ui.Label("No bodies on the stage yet.", style={"color": GREY}, height=20)

    def _build_jobs(self) -> None:
        presenter, make = self.presenter, self._make
        with section("Jobs"):
            with ui.HStack(height=ROW, spacing=4):
                make.check("only_clip", "Only the chosen clip", presenter.set_only_clip)
                make.check("overwrite_references", "Overwrite", presenter.set_overwrite_references)
            make.labelled_text("references", "References", presenter.set_references)
            with ui.HStack(height=ROW, spacing=4):
                ui.Spacer(width=LABEL)
                make.button("prepare", "Prepare G1 references", presenter.prepare_references, height=ROW)
            make.labelled_text("pictures", "Pictures", presenter.set_pictures)
            with ui.HStack(height=ROW, spacing=4):
                ui.Label("Bodies", width=LABEL)
                make.integer("body_count", presenter.set_body_count)
                make.button("render", "Render batch", presenter.render_batch, height=ROW)
            with ui.HStack(height=ROW, spacing=4):
                self.widgets["progress"] = ui.ProgressBar(height=ROW, identifier="soma_progress")
                make.button("cancel", "Cancel", presenter.cancel_job, width=80, height=ROW)
            with scrolling(WORDS):
                make.label("job", word_wrap=True, height=0)

    def _build_export(self) -> None:
        presenter, make = self.presenter, self._make
        with section("Export"):
            make.labelled_text("export_path", "File", presenter.set_export_path)
            with ui.HStack(height=ROW, spacing=4):
                make.button("export", "Export", presenter.export, width=120, height=ROW)
                make.check("overwrite", "Overwrite", presenter.set_overwrite)

    # Showing.

    def _show(self, state: PanelState) -> None:
        self._show_picture(state)
        caption = "" if state.error or state.message or state.note else state.caption
        for name, text in (
            ("error", state.error),
            ("message", state.message),
            ("note", state.note),
            ("caption", caption),
        ):
            self.widgets[name].text = text
            self.widgets[name].visible = bool(text)
        time = self.widgets["time"]
        time.max = max(state.playback.duration, 0.01)
        time.enabled = state.playback.duration > 0.0
        self.widgets["play"].text = "Pause" if state.playback.playing else "Play"
        self.widgets["play"].enabled = state.clip is not None
        for pose in STILL_POSES:
            self.widgets[pose].style = CHOSEN if state.clip is None and state.still == pose else {}
        self.widgets["duration"].text = f"{state.playback.duration:.1f} s" if state.playback.duration else ""
        self._show_values(state)
        self._make.rebuild("clips", (state.clips, state.clip))
        self._make.rebuild("sliders", state.sliders)
        for slider, value in zip(self._sliders, state.coefficients, strict=False):
            put(slider.model, value)
        self._effectors.show(state)
        if state.stage is not None:
            self._make.rebuild("stage", (state.stage.bodies, state.stage.chosen))
            self.widgets["stage_add"].enabled = not state.stage.adding
            self.widgets["stage_add"].text = "Adding ..." if state.stage.adding else "Add to stage"
            self.widgets["stage_remove"].enabled = bool(state.stage.chosen)
            self._make.put("stage_live", state.stage.live)
        self._show_jobs(state)

    def _show_values(self, state: PanelState) -> None:
        body, view = state.body, state.view
        for name, value in (
            ("time", state.playback.time),
            ("speed", state.playback.speed),
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
            self._make.put(name, value)
        presets = (NO_PRESET, *self.presenter.presets)
        for name, items, chosen in (
            ("backend", BACKENDS, body.backend),
            ("preset", presets, body.preset or NO_PRESET),
            ("lod", LODS, body.lod),
        ):
            put(self.widgets[name].model.get_item_value_model(), items.index(chosen))

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
        self.widgets["job"].style = {"color": RED if state.job.state == "failed" else GREY}
        self.widgets["prepare"].enabled = self.widgets["render"].enabled = not live
        self.widgets["cancel"].enabled = state.job.state == "running"
        self.widgets["export"].enabled = not state.exporting
        self.widgets["export"].text = "Exporting ..." if state.exporting else "Export"
