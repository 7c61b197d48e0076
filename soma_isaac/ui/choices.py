"""What a user chose, and what can be chosen: plain values that two views can share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

TEMPLATE = "template"
SHAPE, SCALES, BONES = "coefficients", "scales", "bone_scales"
"""Groups of sliders: the identity model's shape, its part scales, and bone lengths, which every body has."""
GROUP_TITLES = {SHAPE: "Shape", SCALES: "Part scales", BONES: "Bone lengths"}
"""What a view calls them; other groups have their own name."""

LODS = ("low", "mid", "xlo")
POSED = "posed"
"""The pose that the effectors ask for."""

STILL_POSES = ("T-pose", "bind pose", POSED)
STILL_TITLES = {"T-pose": "T-pose", "bind pose": "Bind pose", POSED: "Effectors"}
"""What a view calls them."""

MOTION_SUFFIXES = (".npz", ".bvh")
CLIPS_SHOWN = 500
SIZE_RANGE = (0.5, 1.5)
SPEED_RANGE = (0.1, 3.0)
COUNT_RANGE = (1.0, 4096.0)


@dataclass(frozen=True)
class BodyChoice:
    """Which body.

    Attributes:
        backend: ``template`` or an identity model.
        preset: A named body of the open shape space, or ``None``.
        coefficients: Of the identity model; ``None`` for its defaults or those of the preset.
        groups: Further groups of coefficients by name, see :class:`SliderSpec`; neutral where left out.
        size: Factor on the whole body.
        lod: Level of detail.
        twist: Drive the twist helpers.
        correctives: Add pose correctives.
        assets: Folder in SOMA-X layout for identity models that need files, or ``None``.
    """

    backend: str = TEMPLATE
    preset: str | None = None
    coefficients: tuple[float, ...] | None = None
    groups: tuple[tuple[str, tuple[float, ...]], ...] = ()
    size: float = 1.0
    lod: str = "low"
    twist: bool = True
    correctives: bool = False
    assets: str | None = None


@dataclass(frozen=True)
class Clip:
    """A motion that can be chosen.

    Attributes:
        name: Path below the folder, with ``/``.
        path: The file.
    """

    name: str
    path: str


@dataclass(frozen=True)
class PointEffector:
    """What one joint shall do, with a point that can be dragged.

    Attributes:
        joint: One of the 23 body joints of learned IK.
        look: The joint looks at the point instead of going there.
        point: m, in the body's own Y-up world, floor at 0.
    """

    joint: str
    look: bool
    point: tuple[float, float, float]

    @property
    def words(self) -> str:
        """What to call it."""
        return f"{self.joint} looks at" if self.look else self.joint


@dataclass(frozen=True)
class ViewChoice:
    """How to look at it.

    Attributes:
        skeleton: Draw the bones over the picture.
        robot: Stand a G1 beside the body.
        turn: Angle of the camera around the body [deg].
        size: (width, height) of the picture in pixels.
    """

    skeleton: bool = False
    robot: bool = False
    turn: float = 0.0
    size: tuple[int, int] = (440, 400)


@dataclass(frozen=True)
class PreviewRequest:
    """Everything that a picture depends on.

    Attributes:
        body: Which body.
        clip: The motion, or ``None`` for a still pose.
        still: Which of ``STILL_POSES``, where there is no clip.
        time: Seconds into the clip.
        view: How to look at it.
        references: Folder with prepared G1 references.
        draft: Half as fine, in a quarter of the time: for pictures that are soon overtaken.
        effectors: What the pose ``POSED`` is asked for; empty for the others.
    """

    body: BodyChoice
    clip: Clip | None
    still: str
    time: float
    view: ViewChoice
    references: str
    draft: bool = False
    effectors: tuple[PointEffector, ...] = ()

    @property
    def posed(self) -> bool:
        """Whether effectors say what the body does."""
        return self.clip is None and self.still == POSED


@dataclass(frozen=True)
class SliderSpec:
    """One shape slider.

    Attributes:
        name: As the identity model calls it.
        low: Lowest sensible value.
        high: Highest sensible value.
        unit: What a value means.
        group: Which group of coefficients it belongs to; those of one group stand together.
        default: Value of the neutral body.
    """

    name: str
    low: float
    high: float
    unit: str
    group: str = SHAPE
    default: float = 0.0


def group_title(group: str) -> str:
    """What a view calls a group of sliders."""
    return GROUP_TITLES.get(group, group.replace("_", " ").capitalize())


def clamped(value: float, limits: tuple[float, float]) -> float:
    """The value, or the nearer of the limits where it is outside."""
    return min(max(float(value), limits[0]), limits[1])


def grouped(sliders: tuple[SliderSpec, ...], values: Sequence[float]) -> dict[str, tuple[float, ...]]:
    """Values of all sliders, group by group.

    Args:
        sliders: Of all groups.
        values: One per slider.
    """
    groups: dict[str, tuple[float, ...]] = {}
    for slider, value in zip(sliders, values, strict=True):
        groups[slider.group] = (*groups.get(slider.group, ()), float(value))
    return groups


def list_clips(folder: str) -> tuple[Clip, ...]:
    """Motion files in a folder and below, by name; at most ``CLIPS_SHOWN``.

    Args:
        folder: The folder.

    Raises:
        FileNotFoundError: There is no such folder.
        OSError: It cannot be read.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        raise FileNotFoundError(2, "No such folder", str(root))
    found = []
    for path in root.rglob("*"):
        if path.suffix.lower() in MOTION_SUFFIXES and not path.name.startswith(".") and path.is_file():
            found.append(Clip(path.relative_to(root).as_posix(), str(path)))
            if len(found) == CLIPS_SHOWN:
                break
    return tuple(sorted(found, key=lambda clip: clip.name))
