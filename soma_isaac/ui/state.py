"""The configuration of the panel and everything that it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from soma_isaac.ui.choices import (
    STILL_POSES,
    BodyChoice,
    Clip,
    PointEffector,
    PreviewRequest,
    SliderSpec,
    ViewChoice,
)
from soma_isaac.ui.jobs import JobStatus
from soma_isaac.ui.playback import Playback
from soma_isaac.ui.stage_bodies import StageState

if TYPE_CHECKING:
    from soma_isaac.ui.preview import PreviewPicture


@dataclass(frozen=True)
class PanelSettings:
    """What the application or the user configures.

    Attributes:
        clips_folder: Where motions are looked for; the bundled clips by default.
        references: Where prepared G1 references go.
        pictures: Where rendered batches go.
        export_path: Where an export goes at first.
        assets: Folder in SOMA-X layout, or ``None``.
        jobs_python: Python of the main job; looked for if empty.
        workers: Processes of the main job.
        picture: (width, height) of the picture in pixels.
    """

    clips_folder: str = ""
    references: str = "out/g1_refs"
    pictures: str = "out/bodies"
    export_path: str = "out/body.usda"
    assets: str | None = None
    jobs_python: str = ""
    workers: int = 1
    picture: tuple[int, int] = (440, 400)


@dataclass(frozen=True, eq=False)
class PanelState:
    """Everything a view shows.

    Attributes:
        body: The body.
        view: How it is looked at.
        clip: The chosen motion, ``None`` for a still pose.
        still: The still pose, shown where there is no clip.
        clips_folder: Where motions are looked for.
        clips: What was found there.
        references: Where prepared G1 references go.
        pictures: Where rendered batches go.
        body_count: Bodies of a batch.
        playback: Where in the clip the picture is, and how time runs.
        sliders: Of the identity model shown.
        coefficients: Their values.
        effectors: What the joints shall do while the pose ``POSED`` is shown.
        chosen_effector: Index of the chosen one, -1 for none.
        joints: Places of the 23 body joints [m] in the newest picture, in the body's own Y-up world; empty before.
        rest_joints: The same in the T-pose of the body shown.
        picture: The newest picture, ``None`` before the first.
        shown: What the newest picture was asked to show.
        busy: Whether a newer picture is being made.
        only_clip: Jobs are for the chosen clip alone rather than for all in the folder.
        overwrite_references: A job may overwrite results of other settings or another version.
        job: The job that runs, or ran last.
        export_path: Where the export goes.
        overwrite: Whether the export may take the place of another file.
        exporting: Whether an export runs.
        stage: What is on the application's stage; ``None`` where there is no stage.
        note: Something to know about the picture.
        message: How the last action ended.
        error: What went wrong, in plain words; empty if nothing did.
    """

    body: BodyChoice
    view: ViewChoice
    clips_folder: str
    references: str
    pictures: str
    export_path: str
    clip: Clip | None = None
    still: str = STILL_POSES[0]
    clips: tuple[Clip, ...] = ()
    playback: Playback = Playback()
    sliders: tuple[SliderSpec, ...] = ()
    coefficients: tuple[float, ...] = ()
    effectors: tuple[PointEffector, ...] = ()
    chosen_effector: int = -1
    joints: tuple[tuple[float, float, float], ...] = ()
    rest_joints: tuple[tuple[float, float, float], ...] = ()
    picture: PreviewPicture | None = None
    shown: PreviewRequest | None = None
    busy: bool = True
    only_clip: bool = False
    body_count: int = 16
    overwrite_references: bool = False
    job: JobStatus = JobStatus()
    overwrite: bool = False
    exporting: bool = False
    stage: StageState | None = None
    note: str = ""
    message: str = ""
    error: str = ""

    @property
    def caption(self) -> str:
        """What is shown, or soon will be, in a few words."""
        body = (self.body.preset or self.body.backend).replace("_", " ")
        clip = self.still if self.clip is None else self.clip.name
        return f"{body}, {clip}{' is on its way ...' if self.late else ''}"

    @property
    def late(self) -> bool:
        """Whether the picture still shows another model, named body, clip or pose than was chosen."""
        return self.busy and (self.shown is None or _choices(self.shown) != _choices(self.request()))

    def request(self) -> PreviewRequest:
        """The picture that the state asks for."""
        time, playing = self.playback.time, self.playback.playing
        asked = PreviewRequest(self.body, self.clip, self.still, time, self.view, self.references, draft=playing)
        return replace(asked, effectors=self.effectors) if asked.posed else asked


def _choices(request: PreviewRequest) -> tuple[object, ...]:
    """What of a request may take long to load."""
    body = request.body
    return body.backend, body.preset, body.lod, body.assets, request.clip, request.still
