"""What to render, as plain data made from a seed: bodies, poses, light and cameras of every scene.

A plan names no renderer: the kit-less one and any other can follow it. Every scene draws its chances from its own
generator, seeded with the run's seed and the scene's number, so that more scenes leave the first ones as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from soma_isaac.render.cameras import TURN, view_angles

Rgb = tuple[float, float, float]

SKIN_RGB: tuple[Rgb, ...] = (
    (0.80, 0.58, 0.45), (0.62, 0.42, 0.31), (0.86, 0.67, 0.55), (0.40, 0.26, 0.20), (0.72, 0.50, 0.38),
)  # fmt: skip
CLOTH_RGB: tuple[Rgb, ...] = (
    (0.16, 0.24, 0.42), (0.48, 0.14, 0.15), (0.14, 0.34, 0.24), (0.60, 0.50, 0.22), (0.30, 0.30, 0.33),
    (0.70, 0.70, 0.68), (0.40, 0.24, 0.44), (0.10, 0.11, 0.13), (0.22, 0.45, 0.52),
)  # fmt: skip
HAIR_RGB: tuple[Rgb, ...] = (
    (0.03, 0.025, 0.02), (0.09, 0.05, 0.03), (0.20, 0.12, 0.06), (0.42, 0.29, 0.14), (0.30, 0.30, 0.30),
)  # fmt: skip
BALD_SHARE = 0.1
"""Share of the people whose hair has the colour of their skin."""

PHENOTYPE_RANGES = ((0.0, 1.0), (0.0, 1.0), (0.2, 0.9), (0.1, 1.0), (0.2, 0.8), (0.2, 0.8))
"""Anny's gender, age (from a baby to old), muscle, weight, height and proportions."""

SAMPLE_DEVIATION = 1.4
SAMPLE_LIMIT = 2.5
"""Spread of sampled shapes, wider than the population's so that few pictures show different builds, and its limit."""


@dataclass(frozen=True)
class ClipFile:
    """A motion file.

    Attributes:
        name: Path below the folder of clips, with ``/``.
        path: Absolute path.
        sha256: Digest of its bytes.
    """

    name: str
    path: str
    sha256: str


@dataclass(frozen=True)
class BodySpec:
    """One person in a scene.

    Attributes:
        kind: Where the shape comes from: ``preset``, ``sampled`` or ``anny``.
        name: The preset, or the kind.
        model: Identity model, ``soma`` or ``anny``.
        coefficients: Of that model.
        clip: The motion.
        phase: Where in the clip the scene begins: 0 at its start, 1 as late as the frames allow.
        heading: Turn about the vertical [rad].
        place: Where the Hips stand, x and y [m].
        skin_rgb, top_rgb, bottom_rgb, shoe_rgb, hair_rgb: Linear colours.
        long_sleeves: Whether the top covers the forearms.
        shorts: Whether the shins are bare.
    """

    kind: str
    name: str
    model: str
    coefficients: tuple[float, ...]
    clip: ClipFile
    phase: float
    heading: float
    place: tuple[float, float]
    skin_rgb: Rgb
    top_rgb: Rgb
    bottom_rgb: Rgb
    shoe_rgb: Rgb
    hair_rgb: Rgb
    long_sleeves: bool
    shorts: bool


@dataclass(frozen=True)
class LightSpec:
    """Sun and sky.

    Attributes:
        azimuth, elevation: Where the sun stands [rad].
        sun_rgb, sky_rgb, background_rgb: Linear colour times strength.
    """

    azimuth: float
    elevation: float
    sun_rgb: Rgb
    sky_rgb: Rgb
    background_rgb: Rgb

    def to_sun(self) -> tuple[float, float, float]:
        """Unit vector towards the sun, world, Z-up."""
        flat = np.cos(self.elevation)
        return float(flat * np.cos(self.azimuth)), float(flat * np.sin(self.azimuth)), float(np.sin(self.elevation))


@dataclass(frozen=True)
class ViewSpec:
    """One camera; how far away it stands follows from the bodies.

    Attributes:
        azimuth, elevation: Where it stands, seen from the bodies [rad].
        vertical_fov: [rad].
        turn: How far it goes around the bodies while the scene's frames pass [rad].
    """

    azimuth: float
    elevation: float
    vertical_fov: float
    turn: float = 0.0

    def azimuths(self, frame_count: int) -> list[float]:
        """Azimuth [rad] in each of the scene's frames; the frame after the last would be where the turn ends."""
        return [self.azimuth + self.turn * frame / frame_count for frame in range(frame_count)]


@dataclass(frozen=True)
class Shot:
    """Some consecutive frames of one scene: what one job renders.

    Attributes:
        scene: Number of the scene.
        first: First frame.
        count: Frames.
        scene_frames: Frames of the whole scene, over which the cameras are fitted.
        fps: Frames per second of the clip's time.
        size: (width, height) in pixels.
        lod: Level of detail.
        correctives: Add pose correctives.
        bodies: The people.
        light: Sun and sky.
        views: The cameras.
    """

    scene: int
    first: int
    count: int
    scene_frames: int
    fps: float
    size: tuple[int, int]
    lod: str
    correctives: bool
    bodies: tuple[BodySpec, ...]
    light: LightSpec
    views: tuple[ViewSpec, ...]

    @property
    def name(self) -> str:
        """The shot's name: scene and first frame."""
        return f"s{self.scene:05d}_f{self.first:05d}"

    def image_names(self) -> list[str]:
        """Name of each picture, frame by frame, camera by camera."""
        frames = range(self.first, self.first + self.count)
        return [f"s{self.scene:05d}_f{frame:05d}_c{view:02d}" for frame in frames for view in range(len(self.views))]

    def to_json(self) -> bytes:
        """The shot as JSON, the same bytes for the same shot."""
        return json.dumps(asdict(self), sort_keys=True, indent=1, allow_nan=False).encode("ascii") + b"\n"

    @classmethod
    def from_json(cls, data: bytes) -> Shot:
        """The shot that `to_json` wrote."""
        fields = json.loads(data)
        bodies = tuple(BodySpec(**{**_tuples(body), "clip": ClipFile(**body["clip"])}) for body in fields.pop("bodies"))
        light, views = LightSpec(**_tuples(fields.pop("light"))), tuple(ViewSpec(**v) for v in fields.pop("views"))
        return cls(**_tuples(fields), bodies=bodies, light=light, views=views)


@dataclass(frozen=True)
class SceneChoices:
    """What scenes are made of.

    Attributes:
        seed: Decides everything that is left to chance.
        kinds: Kinds of body, taken in turn.
        presets: Named bodies with their coefficients.
        shape_count: Coefficients of a sampled shape.
        clips: The motions.
        per_scene: Bodies in one scene.
        spacing: Distance between neighbours in a scene [m].
        rig: Cameras, see :func:`soma_isaac.render.cameras.view_angles`.
        vertical_fov: [rad].
    """

    seed: int
    kinds: tuple[str, ...]
    presets: Mapping[str, tuple[float, ...]]
    shape_count: int
    clips: tuple[ClipFile, ...]
    per_scene: int
    spacing: float
    rig: str
    vertical_fov: float


def scene_parts(
    choices: SceneChoices, scene: int, body_count: int
) -> tuple[tuple[BodySpec, ...], LightSpec, tuple[ViewSpec, ...]]:
    """Bodies, light and cameras of one scene.

    Args:
        choices: What there is.
        scene: Number of the scene.
        body_count: Bodies in it; the last scene may have fewer.

    Raises:
        InputRejected: There is no such camera rig.
    """
    generator = np.random.default_rng([choices.seed, scene])
    places = _places(generator, body_count, choices.spacing)
    first = scene * choices.per_scene
    bodies = tuple(_body(choices, generator, first + number, places[number]) for number in range(body_count))
    light = _light(generator)
    turn = _short(2.0 * np.pi) if choices.rig == TURN else 0.0
    views = tuple(
        ViewSpec(_short(azimuth), _short(elevation), choices.vertical_fov, turn)
        for azimuth, elevation in view_angles(choices.rig, generator)
    )
    return bodies, light, views


def _body(choices: SceneChoices, generator: np.random.Generator, number: int, place: tuple[float, float]) -> BodySpec:
    kind = choices.kinds[number % len(choices.kinds)]
    round_number = number // len(choices.kinds)
    name, model = kind, "soma"
    if kind == "preset":
        # every named body once before any comes again, in an order of the seed's
        names = sorted(choices.presets)
        order = np.random.default_rng([choices.seed, 7, round_number // len(names)]).permutation(len(names))
        name = names[order[round_number % len(names)]]
        coefficients = choices.presets[name]
    elif kind == "anny":
        model = "anny"
        coefficients = tuple(_short(float(generator.uniform(low, high))) for low, high in PHENOTYPE_RANGES)
    else:
        drawn = np.clip(generator.normal(0.0, SAMPLE_DEVIATION, choices.shape_count), -SAMPLE_LIMIT, SAMPLE_LIMIT)
        coefficients = tuple(_short(float(value)) for value in drawn)
    skin = SKIN_RGB[int(generator.integers(len(SKIN_RGB)))]
    # top and bottom differ: people in one colour look like mannequins
    top, bottom = (CLOTH_RGB[int(number)] for number in generator.choice(len(CLOTH_RGB), 2, replace=False))
    shoe = CLOTH_RGB[int(generator.integers(len(CLOTH_RGB)))]
    hair = skin if generator.uniform() < BALD_SHARE else HAIR_RGB[int(generator.integers(len(HAIR_RGB)))]
    long_sleeves, shorts = (bool(generator.uniform() < share) for share in (0.4, 0.25))
    return BodySpec(
        kind=kind,
        name=name,
        model=model,
        coefficients=coefficients,
        clip=choices.clips[int(generator.integers(len(choices.clips)))],
        phase=_short(float(generator.uniform())),
        heading=_short(float(generator.uniform(-np.pi, np.pi))),
        place=place,
        skin_rgb=skin,
        top_rgb=top,
        bottom_rgb=bottom,
        shoe_rgb=shoe,
        hair_rgb=hair,
        long_sleeves=long_sleeves,
        shorts=shorts,
    )


def _places(generator: np.random.Generator, count: int, spacing: float) -> list[tuple[float, float]]:
    """Places [m] on a grid around the origin, shaken by up to 15 % of its spacing; one body stands at the origin."""
    if count == 1:
        return [(0.0, 0.0)]
    side = int(np.ceil(np.sqrt(count)))
    cells = generator.permutation(side * side)[:count]
    grid = np.stack([cells // side, cells % side], axis=1) - 0.5 * (side - 1)
    places = (grid + generator.uniform(-0.15, 0.15, grid.shape)) * spacing
    return [(_short(float(x)), _short(float(y))) for x, y in places]


def _light(generator: np.random.Generator) -> LightSpec:
    strength, warmth = generator.uniform(0.75, 1.15), generator.uniform(0.0, 0.18)
    sky = generator.uniform(0.75, 1.0)
    tint = generator.uniform(-0.04, 0.04)
    return LightSpec(
        azimuth=_short(float(generator.uniform(-np.pi, np.pi))),
        elevation=_short(float(np.deg2rad(generator.uniform(30.0, 70.0)))),
        sun_rgb=_rgb(strength, strength * (1.0 - 0.4 * warmth), strength * (1.0 - warmth)),
        sky_rgb=_rgb(sky * (0.97 + tint), sky, sky * (1.03 - tint)),
        background_rgb=_rgb(0.88 + tint, 0.90, 0.93 - tint),
    )


def shots_of_scene(
    scene: int,
    parts: tuple[tuple[BodySpec, ...], LightSpec, tuple[ViewSpec, ...]],
    *,
    frames: int,
    frames_per_shot: int,
    fps: float,
    size: tuple[int, int],
    lod: str,
    correctives: bool,
) -> list[Shot]:
    """The shots of one scene, at most ``frames_per_shot`` frames each; see :class:`Shot` for the other arguments."""
    bodies, light, views = parts
    return [
        Shot(
            scene=scene,
            first=first,
            count=min(frames_per_shot, frames - first),
            scene_frames=frames,
            fps=fps,
            size=size,
            lod=lod,
            correctives=correctives,
            bodies=bodies,
            light=light,
            views=views,
        )
        for first in range(0, frames, frames_per_shot)
    ]


def _short(value: float) -> float:
    return round(value, 6)


def _rgb(*values: float) -> Rgb:
    red, green, blue = (_short(float(value)) for value in values)
    return red, green, blue


def _tuples(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else value
            for key, value in fields.items()}  # fmt: skip
