"""What the panel's controls do: plain Python, so that any view can be put on it and tests can press it.

The view calls the methods below and :meth:`Presenter.tick` once per frame, and reads :attr:`Presenter.state` when
:attr:`Presenter.revision` has changed. No method waits for slow work: pictures, folders and exports are made in
threads, the main job in a child process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from soma_isaac.body.identities import IDENTITY_SPECS
from soma_isaac.body.identities.presets import preset_names
from soma_isaac.errors import InputRejected
from soma_isaac.rig.skeleton import data_path
from soma_isaac.ui.background import LatestWorker
from soma_isaac.ui.choices import (
    COUNT_RANGE,
    LODS,
    POSED,
    SHAPE,
    SIZE_RANGE,
    SPEED_RANGE,
    STILL_POSES,
    TEMPLATE,
    BodyChoice,
    Clip,
    PreviewRequest,
    ViewChoice,
    grouped,
    list_clips,
)
from soma_isaac.ui.export import write_body
from soma_isaac.ui.jobs import LIVE, FolderJob, g1_refs_command, jobs_python, render_bodies_command
from soma_isaac.ui.plain_words import plain_words
from soma_isaac.ui.posing import Posing
from soma_isaac.ui.stage_bodies import StageBodies, StagePort
from soma_isaac.ui.state import PanelSettings, PanelState

if TYPE_CHECKING:
    from soma_isaac.ui.preview import PreviewPicture

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
        self._preview: LatestWorker[PreviewRequest, PreviewPicture] = LatestWorker(draw or _Lazy(), "soma-preview")
        self._listing: LatestWorker[str, tuple[Clip, ...]] = LatestWorker(list_clips, "soma-clips")
        write = export or write_body
        self._exports: LatestWorker[tuple[PreviewRequest, str, bool], str] = LatestWorker(
            lambda job: write(*job), "soma-export"
        )
        self.stage = None if stage is None else StageBodies(stage)
        self._job: FolderJob | None = None
        self._asked: PreviewRequest | None = None
        self.posing = Posing(lambda: self.state, self._change)
        self._listing.ask(folder)

    # What the view reads besides the state.

    @property
    def correctives_reason(self) -> str:
        """Why there are no correctives; empty if there are."""
        return "" if data_path("SOMA_correctives.safetensors").is_file() else CORRECTIVES_REASON

    @property
    def job_live(self) -> bool:
        """Whether the main job runs."""
        return self.state.job.state in LIVE

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
        self._body(size=_clamped(value, SIZE_RANGE))

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
        """Show a motion from its start."""
        self._change(clip=clip, time=0.0, duration=0.0, error="")

    def choose_still(self, pose: str) -> None:
        """Show a still pose."""
        if pose == POSED:
            self.posing.start()
        elif pose in STILL_POSES:
            self._change(clip=None, still=pose, time=0.0, duration=0.0, playing=False, error="")

    def play(self, on: bool) -> None:
        """Let time run or stop it; at the end it starts over."""
        if on and self.state.clip is None:
            self._change(error="Choose a clip to play.")
        else:
            self._change(playing=bool(on))

    def seek(self, time: float) -> None:
        """Go to a time in the clip [s]."""
        self._change(time=_clamped(time, (0.0, self.state.duration)))

    def set_speed(self, value: float) -> None:
        """Speed of the playback, within ``SPEED_RANGE``."""
        self._change(speed=_clamped(value, SPEED_RANGE))

    # The view.

    def show_skeleton(self, on: bool) -> None:
        """Bones over the picture."""
        self._view(skeleton=bool(on))

    def show_robot(self, on: bool) -> None:
        """A G1 beside the body."""
        self._view(robot=bool(on))

    def set_turn(self, degrees: float) -> None:
        """Angle of the camera around the body [deg]."""
        self._view(turn=_clamped(degrees, (-180.0, 180.0)))

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
        out = _absolute(self.state.references)
        self._start(
            lambda source, python: g1_refs_command(
                source, out, python, self._settings.workers, self.state.overwrite_references
            ),
            out,
            "clip",
        )

    def set_pictures(self, folder: str) -> None:
        """Where rendered batches go."""
        self._change(pictures=folder.strip() or self._settings.pictures)

    def set_body_count(self, count: int) -> None:
        """How many bodies a batch has, within ``COUNT_RANGE``."""
        self._change(body_count=int(_clamped(count, COUNT_RANGE)))

    def render_batch(self) -> None:
        """Start the batch renderer; nothing happens while a job runs."""
        out, count = _absolute(self.state.pictures), self.state.body_count
        self._start(
            lambda source, python: render_bodies_command(
                source, out, count, python, self._settings.workers, self.state.overwrite_references
            ),
            out,
            "scene",
        )

    def _start(self, command_of: Callable[[str, str | None], list[str]], out: str, unit: str) -> None:
        state = self.state
        if self.job_live:
            return
        if state.only_clip and state.clip is None:
            self._change(error="Choose a clip, or switch 'only the chosen clip' off.")
            return
        source = state.clip.path if state.only_clip and state.clip is not None else state.clips_folder
        try:
            command = command_of(_absolute(source), jobs_python(self._settings.jobs_python or None))
            job = FolderJob(command, Path(out), unit)
            job.start()
        except (InputRejected, OSError) as error:
            self._change(error=plain_words(error))
            return
        self._job = job
        self._change(job=job.status, message="", error="")

    def cancel_job(self) -> None:
        """Cancel the main job."""
        if self._job is not None:
            self._job.cancel()

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

    def dismiss(self) -> None:
        """Take messages away."""
        self._change(message="", error="")

    # Life.

    def request(self) -> PreviewRequest:
        """The picture that the state asks for."""
        state = self.state
        asked = PreviewRequest(
            state.body, state.clip, state.still, state.time, state.view, state.references, draft=state.playing
        )
        return replace(asked, effectors=state.effectors) if asked.posed else asked

    def tick(self, elapsed_s: float) -> None:
        """Let ``elapsed_s`` [s] pass: play, collect what came in, ask for what is missing. Call it once per frame."""
        state = self.state
        if state.playing and state.duration > 0.0:
            # A new picture is asked for when the last one has come: a slow machine shows fewer, not later ones.
            self._change(time=(state.time + elapsed_s * state.speed) % state.duration)
        self._collect()
        request = self.request()
        if self.stage is not None:
            self._tick_stage(self.stage, elapsed_s, request)
        if request != self._asked and not (self.state.playing and self._preview.busy):
            self._asked = request
            self._preview.ask(request)
        if self.state.busy != self._preview.busy:
            self._change(busy=self._preview.busy)

    def close(self) -> None:
        """End everything that was started: threads, and a running job."""
        if self._job is not None:
            self._job.close()
        if self.stage is not None:
            self.stage.close()
        for worker in (self._preview, self._listing, self._exports):
            worker.close()

    def _tick_stage(self, stage: StageBodies, elapsed_s: float, request: PreviewRequest) -> None:
        stage.tick(elapsed_s, request)
        self._change(stage=stage.state)
        if stage.message or stage.error:
            self._change(message=stage.message, error=stage.error)
            stage.message = stage.error = ""

    def _collect(self) -> None:
        drawn = self._preview.take()
        if drawn is not None and drawn.answer is not None:
            self._show(drawn.asked, drawn.answer)
        elif drawn is not None and (drawn.asked.body, drawn.asked.clip) == (self.state.body, self.state.clip):
            self._change(error=drawn.error, playing=False)
        listed = self._listing.take()
        if listed is not None and listed.asked == self.state.clips_folder:
            self._change(clips=listed.answer or (), error=listed.error or self.state.error)
        exported = self._exports.take()
        if exported is not None:
            self._change(exporting=False, message=exported.answer or "", error=exported.error)
        if self._job is not None and self._job.status != self.state.job:
            ended_before = self.state.job.ended
            self._change(job=self._job.status)
            if self.state.job.ended != ended_before:
                self._asked = None  # the G1 may have a reference now

    def _show(self, request: PreviewRequest, picture: PreviewPicture) -> None:
        state = self.state
        self._change(picture=picture, note=picture.note, joints=picture.joints)
        if request.clip == state.clip:
            self._change(duration=picture.duration)
        # Sliders that the user has moved in the meantime stay where they are.
        if request.body == state.body:
            self._change(sliders=picture.sliders, coefficients=picture.coefficients)

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


class _Lazy:
    """The real renderer, imported and made in the thread that uses it."""

    def __init__(self) -> None:
        self._draw: Callable[[PreviewRequest], PreviewPicture] | None = None

    def __call__(self, request: PreviewRequest) -> PreviewPicture:
        if self._draw is None:
            from soma_isaac.ui.preview import PreviewRenderer

            self._draw = PreviewRenderer().draw
        return self._draw(request)


def _clamped(value: float, limits: tuple[float, float]) -> float:
    return min(max(float(value), limits[0]), limits[1])


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().resolve())
