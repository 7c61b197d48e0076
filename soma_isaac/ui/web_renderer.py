"""The preview page's side of the presenter: bones instead of pictures, and two runs side by side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from soma_isaac.body.skin_animation import joint_transforms
from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.reference_clip import read_reference_clip
from soma_isaac.math.frames import ROTATION_ZUP_FROM_YUP
from soma_isaac.math.so3 import matrix_from_quat_wxyz, matrix_from_rotvec, quat_wxyz_from_matrix
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.sample import pose_at
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.warp_log import hush_warp
from soma_isaac.ui.background import Reply
from soma_isaac.ui.choices import STILL_POSES, Clip, PreviewRequest
from soma_isaac.ui.presenter import Presenter
from soma_isaac.ui.preview import PreviewPicture, reference_pose
from soma_isaac.ui.preview_models import (
    ROBOT_STANDS,
    PreviewModels,
    body_coefficients,
    body_joints,
    body_sliders,
    ground,
)
from soma_isaac.ui.state import PanelSettings
from soma_isaac.ui.web_compare import Difference, common_clips, counterpart, difference
from soma_isaac.ui.web_figures import BodyFigure, Figure, Links, RobotFigure, body_skin, robot_links

ALONE_NOTE = "The G1 stands still: prepare G1 references to see it do this clip."
REFERENCE_NOTE = "This is a G1 reference: the sliders of the body do not move it."
CORRECTIVES_NOTE = "The page moves skin by bones alone, so it shows no pose correctives."
_NO_IMAGE = np.zeros((0, 0, 3), np.uint8)
_FLAT = np.array([1.0, 1.0, 0.0])


@dataclass(frozen=True)
class PageRequest(PreviewRequest):
    """A request of the page.

    Attributes:
        against: Output folder of another run to show beside, or empty.
    """

    against: str = ""


@dataclass(frozen=True, eq=False)
class PageFrame(PreviewPicture):
    """What stands on the page at one moment; there is no picture, the browser draws.

    Attributes:
        figures: One, or two from left to right.
        names: What each figure is.
        centre: [2] m, above which point of the floor the first figure's root is.
        difference: How far the two are apart, where two runs are compared.
    """

    figures: tuple[Figure, ...] = ()
    names: tuple[str, ...] = ()
    centre: np.ndarray | None = None
    difference: Difference | None = None


class PagePresenter(Presenter):
    """The panel's presenter, which can also compare with another run.

    Args:
        settings: The configuration.
        draw: Makes frames, in a thread; a :class:`PageRenderer` by default.
    """

    def __init__(
        self, settings: PanelSettings | None = None, *, draw: Callable[[PreviewRequest], PageFrame] | None = None
    ) -> None:
        self.against = ""
        self._common: tuple[object, tuple[Clip, ...]] = (None, ())
        super().__init__(settings, draw=draw or PageRenderer().draw)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """The clips to choose from: those of the folder, in a comparison those that both runs have."""
        if not self.against:
            return self.state.clips
        asked = (self.state.clips, self.against)
        if asked != self._common[0]:
            self._common = (asked, common_clips(self.state.clips, self.against))
        return self._common[1]

    def compare(self, before: str, after: str) -> None:
        """Show the clips of one run beside those of another.

        Args:
            before: Output folder of the one.
            after: Of the other.
        """
        for name, folder in (("Before", before.strip()), ("After", after.strip())):
            if not folder or not Path(folder).expanduser().is_dir():
                what = f"{folder!r} does not exist" if folder else "is empty"
                self._change(error=f"{name}: {what}; a comparison takes the output folders of two runs.")
                return
        self.choose_still(STILL_POSES[0])
        self.against = after.strip()
        self.open_folder(before)

    def _list(self, listed: Reply[str, tuple[Clip, ...]]) -> None:
        super()._list(listed)
        if self.against and not listed.error and not self.clips:
            self._change(error="The two runs have no clip of the same name.")

    def end_comparison(self) -> None:
        """Show one run again."""
        self.against = ""
        self.revision += 1

    def request(self) -> PageRequest:
        """What the page is to show."""
        asked = super().request()
        values = {item.name: getattr(asked, item.name) for item in fields(asked)}
        return PageRequest(**values, against=self.against if asked.clip is not None else "")


class PageRenderer:
    """Makes the frames of a page. For one thread; nothing is loaded before the first request."""

    def __init__(self) -> None:
        self._models = PreviewModels()
        self._skin = lru_cache(4)(body_skin)
        self._links: Links | None = None
        self._difference = lru_cache(4)(difference)

    def draw(self, request: PreviewRequest) -> PageFrame:
        """Pose what a request asks for.

        Raises:
            InputRejected: A clip or a model file is not sound, a coefficient is out of range, or the other run has no
                such clip.
            MissingDependency: The identity model needs a package that is not installed.
            OSError: A file cannot be read.
        """
        hush_warp()
        layer = self._models.layer(request.body)
        coefficients = body_coefficients(layer, request.body)
        shown = (coefficients, body_sliders(layer))
        clips = _clips(request)
        sources = [self._source(request, clip) for clip in clips]
        apart = self._difference(sources[0], sources[1]) if len(sources) == 2 else None
        facing, start = self._ground(request, coefficients, sources[0])
        figures = [self._figure(request, coefficients, source, facing, start) for source in sources]
        names, notes = ["before", "after"][: len(figures)] if apart is not None else ["body"], []
        if apart is not None:
            notes.append(apart.note)
        elif isinstance(sources[0], ReferenceClip):
            names = ["G1"]
            notes.append(REFERENCE_NOTE)
        elif request.view.robot:
            machine, note = self._robot_beside(request, figures[0], facing)
            figures.append(machine)
            names.append("G1")
            notes.append(note)
        if request.posed and isinstance(sources[0], SomaMotion):
            notes += sources[0].provenance.notes
        if request.body.correctives and any(isinstance(figure, BodyFigure) for figure in figures):
            notes.append(CORRECTIVES_NOTE)
        still = request.clip is None
        length = 0.0 if still else max((source.frame_count - 1) / source.fps for source in sources)
        return PageFrame(
            _NO_IMAGE,
            tuple(float(value) for value in shown[0]),
            shown[1],
            length,
            sources[0].fps,
            " ".join(note for note in notes if note),
            body_joints(figures[0].joints) if isinstance(figures[0], BodyFigure) else (),
            self._models.rest_joints(request.body, coefficients),
            figures=tuple(figures),
            names=tuple(names),
            centre=None if request.posed else _centre(figures[0]),
            difference=apart,
        )

    def _source(self, request: PreviewRequest, clip: Clip | None) -> SomaMotion | ReferenceClip:
        if clip is not None and _is_reference(clip.path, _changed(clip.path)):
            return _reference(clip.path, _changed(clip.path))
        return self._models.motion(replace(request, clip=clip))

    def _stride(self, request: PreviewRequest, coefficients: np.ndarray, motion: SomaMotion) -> float:
        layer = self._models.layer(request.body)
        return self._models.identity(layer, request.body, coefficients)[1] / float(motion.identity.rest_offsets[1, 1])

    def _ground(
        self, request: PreviewRequest, coefficients: np.ndarray, source: SomaMotion | ReferenceClip
    ) -> tuple[np.ndarray, np.ndarray]:
        """The turn [3, 3] after which the first figure starts towards +X, and where [3] m on the floor it starts."""
        if isinstance(source, SomaMotion):
            return ground(request, source, self._stride(request, coefficients, source))
        ahead = matrix_from_quat_wxyz(source.body_quat_wxyz[0, 0])[:, 0]
        turn = matrix_from_rotvec(np.array([0.0, 0.0, -np.arctan2(ahead[1], ahead[0])]))
        return turn, source.body_pos_w[0, 0] * _FLAT

    def _figure(
        self,
        request: PreviewRequest,
        coefficients: np.ndarray,
        source: SomaMotion | ReferenceClip,
        facing: np.ndarray,
        start: np.ndarray,
    ) -> Figure:
        if isinstance(source, ReferenceClip):
            return self._robot(source, request.time, facing, start)
        layer = self._models.layer(request.body)
        identity, _ = self._models.identity(layer, request.body, coefficients)
        rotations, hips = pose_at(source, request.time)
        root = hips * self._stride(request, coefficients, source)
        if request.clip is None and request.still == STILL_POSES[1]:
            root = identity.bind_T_world_joint[0, 1, :3, 3]
        pose = layer.pose(rotations[None], root[None], identity=identity, fk_only=True)
        skin = self._skin(layer.body, identity)
        bones = joint_transforms(layer.body, identity, pose.transforms)[0, skin.joints].astype(np.float64)
        turn = facing @ ROTATION_ZUP_FROM_YUP
        return BodyFigure(
            skin,
            bones[:, :3, 3],
            quat_wxyz_from_matrix(bones[:, :3, :3]),
            pose.joints.numpy()[0],
            -facing @ start,
            quat_wxyz_from_matrix(turn),
        )

    def _robot_beside(self, request: PreviewRequest, body: Figure, facing: np.ndarray) -> tuple[RobotFigure, str]:
        reference = None if request.clip is None else self._models.reference(request.clip, request.references)
        if reference is not None:
            return self._robot(reference, request.time, facing, reference.body_pos_w[0, 0] * _FLAT), ""
        robot = self._models.robot
        root, quat = np.array([[0.0, 0.0, ROBOT_STANDS]]), np.array([[1.0, 0.0, 0.0, 0.0]])
        places = robot.body_poses(root, quat, np.zeros((1, len(robot.joint_names))))
        x, y = _centre(body)
        return self._posed(*places, np.eye(3), np.array([x, y, 0.0])), ALONE_NOTE if request.clip is not None else ""

    def _robot(self, clip: ReferenceClip, time: float, facing: np.ndarray, start: np.ndarray) -> RobotFigure:
        places = self._models.robot.body_poses(*reference_pose(clip, self._models.robot, time))
        return self._posed(*places, facing, -facing @ start)

    def _posed(self, pos: np.ndarray, rot: np.ndarray, turn: np.ndarray, place: np.ndarray) -> RobotFigure:
        if self._links is None:
            self._links = robot_links(self._models.robot)
        return RobotFigure(self._links, pos[0], quat_wxyz_from_matrix(rot[0]), place, quat_wxyz_from_matrix(turn))


def _clips(request: PreviewRequest) -> list[Clip | None]:
    against = getattr(request, "against", "")
    if request.clip is None or not against:
        return [request.clip]
    other = counterpart(request.clip, against)
    if other is None:
        raise InputRejected(f"holds no {request.clip.name!r} to compare with", against)
    return [request.clip, other]


def _centre(figure: Figure) -> np.ndarray:
    """Where [2] m on the floor a figure's root is."""
    root = figure.joints[0] if isinstance(figure, BodyFigure) else figure.positions[0]
    return (matrix_from_quat_wxyz(figure.wxyz) @ root + figure.place)[:2]


def _changed(path: str) -> int:
    return Path(path).stat().st_mtime_ns


@lru_cache(64)
def _is_reference(path: str, changed: int) -> bool:
    if not path.lower().endswith(".npz"):
        return False
    archive = open_npz(Path(path))
    return "body_quat_w" in archive or "dof_positions" in archive


@lru_cache(4)
def _reference(path: str, changed: int) -> ReferenceClip:
    return read_reference_clip(Path(path))
