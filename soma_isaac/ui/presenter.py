"""What the panel's controls do: plain Python, so that any view can be put on it and tests can press it.

The view calls the methods below and :meth:`Presenter.tick` once per frame, and reads :attr:`Presenter.state` when
:attr:`Presenter.revision` has changed. No method waits for slow work: pictures, folders and exports are made in
threads, the main job in a child process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from soma_isaac.body.identities import IDENTITY_SPECS
from soma_isaac.body.identities.presets import preset_names
from soma_isaac.rig.skeleton import data_path
from soma_isaac.ui.background import LatestWorker, Reply
from soma_isaac.ui.choices import (
    CLIPS_SHOWN,
    COUNT_RANGE,
    LODS,
    POSED,
    SHAPE,
    SIZE_RANGE,
    STILL_POSES,
    TEMPLATE,
    BodyChoice,
    Clip,
    PreviewRequest,
    ViewChoice,
    clamped,
    grouped,
    list_clips,
)
from soma_isaac.ui.export import write_body
from soma_isaac.ui.job_control import JobControl
from soma_isaac.ui.posing import Posing
from soma_isaac.ui.stage_bodies import StageBodies, StagePort
from soma_isaac.ui.state import PanelSettings, PanelState

if TYPE_CHECKING:
    from soma_isaac.ui.preview import PreviewPicture, PreviewRenderer

BACKENDS = (TEMPLATE, *IDENTITY_SPECS)
CORRECTIVES_REASON = "This version ships without pose correctives."


class Presenter:
    """The state and what can be done to it.

    Args:
        settings: The configuration.
        draw: Makes pictures, in a thread; the real renderer by default.
        export: Writes a body, in a thread; gives one line about it. The real export by default.
        stage: The application's stage, where it has one.

    Attributes:
        stage: What can be done to the stage, or ``None``.
        posing: What can be done to effectors.
    """

    def __init__(
        self,
        settings: PanelSettings | None = None,
        *,
        draw: Callable[[PreviewRequest], PreviewPicture] | None = None,
        export: Callable[[PreviewRequest, str, bool], str] | None = None,
        stage: StagePort | None = None,
    ) -> None:
        self._settings = settings = PanelSettings() if settings is None else settings
        folder = settings.clips_folder or str(data_path("demo_clips"))
        self.state = PanelState(
            body=BodyChoice(assets=settings.assets),
            view=ViewChoice(size=settings.picture),
            clips_folder=folder,
            references=settings.references,
            pictures=settings.pictures,
            export_path=settings.export_path,
        )
        self.revision = 0
        self.presets: tuple[str, ...] = preset_names()
        self._preview = LatestWorker(draw or _draw_lazily(), "soma-preview")
        self._listing = LatestWorker(list_clips, "soma-clips")
        write = export or write_body
        self._exports: LatestWorker[tuple[PreviewRequest, str, bool], str] = LatestWorker(
            lambda job: write(*job), "soma-export"
        )
        self.stage = None if stage is None else StageBodies(stage)
        self._not_drawn = ""
        self.posing = Posing(lambda: self.state, self._change)
        self._jobs = JobControl(settings, lambda: self.state, self._change)
        self._listing.ask(folder)

    # What the view reads besides the state.

    @property
    def correctives_reason(self) -> str:
        """Why there are no correctives; empty if there are."""
        return "" if data_path("SOMA_correctives.safetensors").is_file() else CORRECTIVES_REASON

    @property
    def job_live(self) -> bool:
        """Whether the main job runs."""
        return self._jobs.live

    # The body.

    def choose_backend(self, name: str) -> None:
        """Take another identity model, with its neutral body."""
        if name in BACKENDS:
            self._body(backend=name, preset=None, coefficients=None, groups=())

    def choose_preset(self, name: str | None) -> None:
        """Take a named body of the open shape space; ``None`` for its mean."""
        # Named bodies belong to the shape space that ships with soma_isaac, not to one from the user's files.
        assets = self.state.body.assets if name is None else None
        self._body(backend="soma", preset=name, coefficients=None, groups=(), assets=assets)

    def set_assets(self, folder: str) -> None:
        """Where identity models find their files, in SOMA-X layout; empty for none."""
        self._body(assets=folder.strip() or None)

    def set_coefficient(self, index: int, value: float) -> None:
        """Move one of ``state.sliders``, of whatever group; the others stay where they are."""
        values = list(self.state.coefficients)
        if index < len(values) and values[index] != value:
            values[index] = float(value)
            self._change(coefficients=tuple(values))
            groups = grouped(self.state.sliders, values)
            shape = groups.pop(SHAPE, None)
            self._body(coefficients=shape, groups=tuple(groups.items()), preset=None)

    def reset_shape(self) -> None:
        """Back to the neutral body of the identity model, in its own size."""
        self._body(coefficients=None, groups=(), preset=None, size=1.0)

    def set_size(self, value: float) -> None:
        """Overall size, within ``SIZE_RANGE``."""
        self._body(size=clamped(value, SIZE_RANGE))

    def set_lod(self, name: str) -> None:
        """Level of detail."""
        if name in LODS:
            self._body(lod=name)

    def set_twist(self, on: bool) -> None:
        """Twist helpers on or off."""
        self._body(twist=bool(on))

    def set_correctives(self, on: bool) -> None:
        """Pose correctives on or off, where there are any."""
        if on and self.correctives_reason:
            self._change(error=self.correctives_reason)
        else:
            self._body(correctives=bool(on))

    # The motion.

    def open_folder(self, folder: str) -> None:
        """Look for motions in another folder; an empty name is that of the bundled clips."""
        folder = folder.strip() or str(data_path("demo_clips"))
        self._change(clips_folder=folder, clips=(), message="", error="")
        self._listing.ask(folder)

    def choose_clip(self, clip: Clip) -> None:
        """Show a motion from its start; the one that is shown is read anew."""
        if clip == self.state.clip:
            self._preview.forget()
            self.seek(0.0)
        else:
            self._change(clip=clip, playback=self.state.playback.of_new_clip(), error="")

    def choose_still(self, pose: str) -> None:
        """Show a still pose."""
        if pose == POSED:
            self.posing.start()
        elif pose in STILL_POSES:
            self._change(clip=None, still=pose, playback=self.state.playback.of_still(), error="")

    def play(self, on: bool) -> None:
        """Let time run or stop it; at the end it starts over."""
        if on and self.state.clip is None:
            self._change(error="Choose a clip to play.")
        else:
            self._change(playback=self.state.playback.run(on))

    def seek(self, time: float) -> None:
        """Go to a time in the clip [s]."""
        self._change(playback=self.state.playback.at(time))

    def set_speed(self, value: float) -> None:
        """Speed of the playback, within ``SPEED_RANGE``."""
        self._change(playback=self.state.playback.with_speed(value))

    # The view.

    def show_skeleton(self, on: bool) -> None:
        """Bones over the picture."""
        self._view(skeleton=bool(on))

    def show_robot(self, on: bool) -> None:
        """A G1 beside the body."""
        self._view(robot=bool(on))

    def set_turn(self, degrees: float) -> None:
        """Angle of the camera around the body [deg]."""
        self._view(turn=clamped(degrees, (-180.0, 180.0)))

    # Jobs.

    def set_references(self, folder: str) -> None:
        """Where prepared G1 references go."""
        self._change(references=folder.strip() or self._settings.references)

    def set_only_clip(self, on: bool) -> None:
        """The main job for the chosen clip alone, or for all in the folder."""
        self._change(only_clip=bool(on))

    def set_overwrite_references(self, on: bool) -> None:
        """Whether the main job may overwrite results of other settings or another version."""
        self._change(overwrite_references=bool(on))

    def prepare_references(self) -> None:
        """Start the main job; nothing happens while one runs."""
        self._jobs.prepare_references()

    def set_pictures(self, folder: str) -> None:
        """Where rendered batches go."""
        self._change(pictures=folder.strip() or self._settings.pictures)

    def set_body_count(self, count: int) -> None:
        """How many bodies a batch has, within ``COUNT_RANGE``."""
        self._change(body_count=int(clamped(count, COUNT_RANGE)))

    def render_batch(self) -> None:
        """Start the batch renderer; nothing happens while a job runs."""
        self._jobs.render_batch()

    def cancel_job(self) -> None:
        """Cancel the main job."""
        self._jobs.cancel()

    def set_export_path(self, path: str) -> None:
        """Where the export goes."""
        self._change(export_path=path.strip())

    def set_overwrite(self, on: bool) -> None:
        """Whether the export may take the place of another file."""
        self._change(overwrite=bool(on))

    def export(self) -> None:
        """Write the body with the chosen motion or pose to ``export_path``; nothing happens while one runs."""
        if not self.state.exporting:
            self._change(exporting=True, message="", error="")
            self._exports.ask((self.request(), self.state.export_path, self.state.overwrite))

    def add_to_stage(self) -> None:
        """Put the body with the chosen motion or pose on the application's stage."""
        if self.stage is not None:
            self._change(message="", error="")
            self.stage.add(self.request())

    # Life.

    def request(self) -> PreviewRequest:
        """The picture that the state asks for."""
        return self.state.request()

    def tick(self, elapsed_s: float) -> None:
        """Let ``elapsed_s`` [s] pass: play, collect what came in, ask for what is missing. Call it once per frame."""
        self._change(playback=self.state.playback.after(elapsed_s))
        self._collect()
        request = self.request()
        if self.stage is not None:
            self._change(**self.stage.tick(elapsed_s, request))
        self._preview.want(request, patient=self.state.playback.playing)
        if self.state.busy != self._preview.busy:
            self._change(busy=self._preview.busy)

    def close(self) -> None:
        """End everything that was started: threads, and a running job."""
        self._jobs.close()
        if self.stage is not None:
            self.stage.close()
        for worker in (self._preview, self._listing, self._exports):
            worker.close()

    def _collect(self) -> None:
        drawn = self._preview.take()
        if drawn is not None:
            self._show(drawn)
        listed = self._listing.take()
        if listed is not None and listed.asked == self.state.clips_folder:
            self._list(listed)
        exported = self._exports.take()
        if exported is not None:
            self._change(exporting=False, message=exported.answer or "", error=exported.error)
        if self._jobs.follow():
            self._preview.forget()  # the G1 may have a reference now

    def _show(self, drawn: Reply[PreviewRequest, PreviewPicture]) -> None:
        request, picture, state = drawn.asked, drawn.answer, self.state
        if picture is None:
            if (request.body, request.clip) == (state.body, state.clip):
                self._not_drawn = drawn.error
                self._change(error=drawn.error, playback=state.playback.run(False))
            return
        self._change(picture=picture, note=picture.note, shown=request)
        if state.error == self._not_drawn:
            self._change(error="")  # whatever stood in the way of a picture does so no more
        if request.clip == state.clip:
            self._change(playback=state.playback.of_length(picture.duration))
        if (request.clip, request.still) == (state.clip, state.still):
            self._change(joints=picture.joints)
        # Sliders that the user has moved in the meantime stay where they are.
        if request.body == state.body:
            self._change(sliders=picture.sliders, coefficients=picture.coefficients, rest_joints=picture.rest_joints)

    def _list(self, listed: Reply[str, tuple[Clip, ...]]) -> None:
        clips = listed.answer or ()
        if self.state.clip is not None and self.state.clip not in clips:
            self.choose_still(STILL_POSES[0])  # what cannot be chosen is not shown
        full = f"Only {CLIPS_SHOWN} of the motions in this folder are listed." if len(clips) == CLIPS_SHOWN else ""
        self._change(clips=clips, error=listed.error or self.state.error, message=full or self.state.message)

    def _body(self, **changes: Any) -> None:
        if changes.get("backend", self.state.body.backend) != self.state.body.backend:
            self._change(sliders=(), coefficients=())  # another model's do not fit; its own come with its picture
        self._change(body=replace(self.state.body, **changes), error="")

    def _view(self, **changes: Any) -> None:
        self._change(view=replace(self.state.view, **changes))

    def _change(self, **changes: Any) -> None:
        if any(getattr(self.state, name) != value for name, value in changes.items()):
            self.state = replace(self.state, **changes)
            self.revision += 1


def _draw_lazily() -> Callable[[PreviewRequest], PreviewPicture]:
    """The real renderer, imported and made in the thread that uses it."""

    @cache
    def renderer() -> PreviewRenderer:
        from soma_isaac.ui.preview import PreviewRenderer

        return PreviewRenderer()

    return lambda request: renderer().draw(request)
