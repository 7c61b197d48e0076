"""The controls of the preview page: the panel's, and two runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from math import ceil
from typing import Any

from soma_isaac.batch.thumbnails import APART
from soma_isaac.ui.choices import (
    COUNT_RANGE,
    LODS,
    SHAPE,
    SIZE_RANGE,
    SPEED_RANGE,
    STILL_POSES,
    STILL_TITLES,
    SliderSpec,
    group_title,
)
from soma_isaac.ui.presenter import BACKENDS
from soma_isaac.ui.state import PanelState
from soma_isaac.ui.web_compare import Difference
from soma_isaac.ui.web_renderer import PageFrame, PagePresenter
from soma_isaac.ui.web_widgets import Widgets

NO_PRESET = "(none)"
NO_CLIP = "(still pose)"
SLIDERS_SHOWN = 12
APART_RANGE = (0.0, 3.0)
TIME_PERIOD_S = 0.1
"""How often [s] the time slider moves while a clip plays."""


class Controls:
    """Widgets on a presenter.

    Args:
        gui: ``viser.GuiApi`` of a server or a client.
        presenter: What they control and show.
        allowed: Whether an event comes from a user.
        before: Output folder of a run to compare with ``after`` later on; what the fields hold at first.
        after: Of the other run.

    Attributes:
        apart: Distance [m] between two figures.
        follow: Keep the figure in the middle.
        body_folder: The section of the body.
    """

    def __init__(
        self,
        gui: Any,
        presenter: PagePresenter,
        allowed: Callable[[Any], bool],
        before: str = "",
        after: str = "",
    ) -> None:
        self.widgets = Widgets(gui, allowed)
        self._presenter = presenter
        self._sliders: tuple[tuple[SliderSpec, ...], list[Any]] = ((), [])
        self._plot: tuple[Difference | None, Any] = (None, None)
        self._time_shown = -TIME_PERIOD_S
        self.apart = 2.0 * APART
        self.follow = True
        gui.set_panel_label("SOMA")
        self.widgets.words("status")
        self._build_motion()
        self._build_body()
        self._build_view()
        self._build_runs(before, after)
        self._build_jobs()
        self._build_export()

    def obey(self) -> bool:
        """Do what the user did since the last call, and say whether there was anything."""
        return self.widgets.obey()

    # Building.

    def _build_motion(self) -> None:
        widgets, presenter = self.widgets, self._presenter
        with widgets.folder("Motion"):
            widgets.dropdown("clip", "Clip", (NO_CLIP,), self._choose_clip)
            widgets.button("play", "Play", lambda: presenter.play(not presenter.state.playback.playing))
            widgets.slider("time", "Time [s]", 0.0, 1.0, presenter.seek)
            widgets.slider("speed", "Speed", *SPEED_RANGE, presenter.set_speed)
            poses = {STILL_TITLES[pose]: pose for pose in STILL_POSES}
            widgets.buttons("still", "Still", tuple(poses), lambda title: presenter.choose_still(poses[title]))
            widgets.text("folder", "Clips in", presenter.open_folder)

    def _build_body(self) -> None:
        widgets, presenter = self.widgets, self._presenter
        with widgets.folder("Body") as self.body_folder:
            widgets.dropdown("backend", "Model", BACKENDS, presenter.choose_backend)
            presets = (NO_PRESET, *presenter.presets)
            widgets.dropdown(
                "preset", "Named body", presets, lambda n: presenter.choose_preset(None if n == NO_PRESET else n)
            )
            widgets.text("assets", "Model files", presenter.set_assets)
            widgets.dropdown("lod", "Detail", LODS, presenter.set_lod)
            widgets.check("twist", "Twist joints", presenter.set_twist)
            widgets.button("reset", "Reset shape", presenter.reset_shape)
            widgets.slider("size", "Size", *SIZE_RANGE, presenter.set_size)

    def _build_view(self) -> None:
        widgets, presenter = self.widgets, self._presenter
        with widgets.folder("View"):
            widgets.check("robot", "G1 beside", presenter.show_robot)
            widgets.check("skeleton", "Skeleton", presenter.show_skeleton)
            widgets.check("follow", "Follow", self._set_follow)
            widgets.slider("apart", "Apart [m]", *APART_RANGE, self._set_apart)

    def _build_runs(self, before: str, after: str) -> None:
        widgets = self.widgets
        with widgets.folder("Before and after", closed=not before) as self._runs_folder:
            widgets.text("before", "Before", lambda _: None)
            widgets.text("after", "After", lambda _: None)
            widgets.button("compare", "Compare", self._compare)
            widgets.button("end", "End comparison", self._presenter.end_comparison)
            widgets.words("difference")
        widgets.put("before", before)
        widgets.put("after", after)

    def _build_jobs(self) -> None:
        widgets, presenter = self.widgets, self._presenter
        with widgets.folder("Jobs", closed=True):
            widgets.check("only_clip", "Only this clip", presenter.set_only_clip)
            widgets.check("overwrite_references", "Overwrite", presenter.set_overwrite_references)
            widgets.text("references", "References", presenter.set_references)
            widgets.button("prepare", "Prepare G1 references", presenter.prepare_references)
            widgets.text("pictures", "Pictures", presenter.set_pictures)
            low, high = (int(value) for value in COUNT_RANGE)
            widgets.number("body_count", "Bodies", low, high, presenter.set_body_count)
            widgets.button("render", "Render batch", presenter.render_batch)
            widgets.progress("progress")
            widgets.words("job")
            widgets.button("cancel", "Cancel", presenter.cancel_job)

    def _build_export(self) -> None:
        widgets, presenter = self.widgets, self._presenter
        with widgets.folder("Export", closed=True):
            widgets.text("export_path", "File", presenter.set_export_path)
            widgets.check("overwrite", "Overwrite", presenter.set_overwrite)
            widgets.button("export", "Export", presenter.export)

    # What is not the presenter's, or takes more than one call.

    def _set_follow(self, on: bool) -> None:
        self.follow = bool(on)

    def _set_apart(self, value: float) -> None:
        self.apart = float(value)

    def _choose_clip(self, name: str) -> None:
        for clip in self._presenter.clips:
            if clip.name == name:
                self._presenter.choose_clip(clip)
                return
        if self._presenter.state.clip is not None:
            self._presenter.choose_still(STILL_POSES[0])

    def _compare(self) -> None:
        before, after = (str(self.widgets.handles[name].value) for name in ("before", "after"))
        self._presenter.compare(before, after)

    # Showing.

    def show(self, now: float) -> None:
        """Show the presenter's state.

        Args:
            now: A clock [s], for what is shown less often than every frame.
        """
        state, widgets = self._presenter.state, self.widgets
        said = [(kind, getattr(state, kind)) for kind in ("error", "message", "note")]
        widgets.say("status", [*said, ("note", state.caption if state.late else "")])
        self._show_motion(state, now)
        body, view = state.body, state.view
        for name, value in (
            ("speed", state.playback.speed),
            ("size", body.size),
            ("backend", body.backend),
            ("preset", body.preset or NO_PRESET),
            ("lod", body.lod),
            ("twist", body.twist),
            ("assets", body.assets or ""),
            ("skeleton", view.skeleton),
            ("robot", view.robot),
            ("follow", self.follow),
            ("apart", self.apart),
            ("only_clip", state.only_clip),
            ("overwrite_references", state.overwrite_references),
            ("overwrite", state.overwrite),
            ("references", state.references),
            ("pictures", state.pictures),
            ("body_count", state.body_count),
            ("export_path", state.export_path),
        ):
            widgets.put(name, value)
        self._show_sliders(state)
        self._show_jobs(state)
        frame = state.picture
        self._show_difference(frame.difference if isinstance(frame, PageFrame) else None)

    def _show_motion(self, state: PanelState, now: float) -> None:
        widgets = self.widgets
        widgets.options("clip", (NO_CLIP, *(clip.name for clip in self._presenter.clips)))
        chosen = state.clip.name if state.clip is not None else NO_CLIP
        if chosen in widgets.handles["clip"].options:
            widgets.put("clip", chosen)
        widgets.put("folder", state.clips_folder)
        widgets.set("play", label="Pause" if state.playback.playing else "Play", disabled=state.clip is None)
        end = ceil(100.0 * state.playback.duration) / 100.0
        widgets.set("time", max=max(end, 0.01), visible=state.playback.duration > 0.0)
        if not state.playback.playing or now - self._time_shown >= TIME_PERIOD_S:
            self._time_shown = now
            widgets.put("time", round(state.playback.time, 2))

    def _show_sliders(self, state: PanelState) -> None:
        if state.sliders != self._sliders[0]:
            for handle in self._sliders[1]:
                handle.remove()
            self._sliders = (state.sliders, self._new_sliders(state))
        for index, value in enumerate(state.coefficients):
            self.widgets.put(f"shape:{index}", round(value, 4))  # the models hold float32

    def _new_sliders(self, state: PanelState) -> list[Any]:
        """Sliders of the body: the first dozen of its shape at once, everything else in closed folders."""
        roots = []
        numbered = list(zip(range(len(state.sliders)), state.sliders, state.coefficients, strict=True))
        with self.body_folder:
            for (group, at_once), members in groupby(numbered, key=_group):
                place: AbstractContextManager[Any] = nullcontext()
                if not at_once:
                    title = "More shape" if group == SHAPE else group_title(group)
                    place = self.widgets.folder(title, closed=True)
                    roots.append(place)
                with place:
                    made = [self._shape_slider(*member) for member in members]
                roots += made if at_once else []
        return roots

    def _shape_slider(self, index: int, spec: SliderSpec, value: float) -> Any:
        label = spec.name.replace("_", " ")
        return self.widgets.slider(
            f"shape:{index}",
            label,
            spec.low,
            spec.high,
            lambda moved: self._presenter.set_coefficient(index, moved),
            value=value,
            hint=f"{label}: {spec.low:g} to {spec.high:g} {spec.unit}",
        )

    def _show_jobs(self, state: PanelState) -> None:
        widgets, live = self.widgets, self._presenter.job_live
        widgets.put("progress", round(100.0 * state.job.fraction, 1))
        widgets.say("job", [("error" if state.job.state == "failed" else "note", state.job.text)])
        widgets.set("prepare", disabled=live)
        widgets.set("render", disabled=live)
        widgets.set("cancel", disabled=state.job.state != "running")
        widgets.set("export", disabled=state.exporting)

    def _show_difference(self, found: Difference | None) -> None:
        shown, plot = self._plot
        self.widgets.set("end", disabled=not self._presenter.against)
        if found is shown:
            return
        if plot is not None:
            plot.remove()
            plot = None
        self.widgets.say("difference", [("note", "" if found is None else found.text())])
        if found is not None and len(found.times) > 1:
            with self._runs_folder:
                plot = self.widgets.gui.add_uplot(
                    (found.times, 1e3 * found.mean, 1e3 * found.largest),
                    (
                        {"label": "s"},
                        {"label": "mean mm", "stroke": "#36c", "width": 1},
                        {"label": "largest mm", "stroke": "#d63", "width": 1},
                    ),
                    scales={"x": {"time": False}},
                    height=180,
                )
        self._plot = (found, plot)


def _group(member: tuple[int, SliderSpec, float]) -> tuple[str, bool]:
    """Which group a slider is of, and whether it is one of those that are shown at once."""
    index, spec, _ = member
    return spec.group, spec.group == SHAPE and index < SLIDERS_SHOWN
