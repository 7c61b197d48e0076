"""Settings of ``scripts/pose.py``, as Hydra checks them and as the command uses them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from soma_isaac.pipelines.config import ConfigRefused, nearest

FORMATS = ("npz", "usda", "usdc", "glb", "png")
LODS = ("mid", "low", "xlo")
SHEET_PIXELS = 100_000_000
"""Of a whole sheet of poses: more than anybody looks at, and 300 MB."""


@dataclass
class PoseBodyConfig:
    """Which body is posed.

    Attributes:
        identity: ``template``, or an identity model: ``soma``, ``anny``, ``smpl``, ...
        preset: A named body of the open shape space, e.g. ``child``.
        coefficients: Of the identity model; ``null`` for its defaults.
        groups: Further groups of coefficients by name, ``bone_scales`` among them.
        scale: Factor on the body.
        assets: Folder in SOMA-X layout with the identity model's files.
        model_path: The identity model's own file.
        bones: Instead of an identity: a motion file (npz, BVH) whose own bones are taken, an npz with
            ``rest_offsets_m``, or a character at rest (``.usda``, ``.glb``, ``.gltf``, ``.vrm``).
        lod: Level of detail of the skin.
    """

    identity: str = "template"
    preset: str | None = None
    coefficients: list[float] | None = None
    groups: dict[str, list[float]] = field(default_factory=dict)
    scale: float = 1.0
    assets: str | None = None
    model_path: str | None = None
    bones: str | None = None
    lod: str = "mid"


@dataclass
class PictureConfig:
    """How the poses are drawn.

    Attributes:
        azimuth_deg: Where the camera stands about the vertical: 0 in front of who faces +Z (+X in a Z-up world).
        size: Width and height of one pose's picture [pixels].
        columns: Poses side by side.
    """

    azimuth_deg: float = 35.0
    size: list[int] = field(default_factory=lambda: [420, 520])
    columns: int = 4


@dataclass
class PoseConfig:
    """All keys of ``pose.py``.

    Attributes:
        effectors: YAML or JSON file of poses as effectors, see
            :func:`soma_isaac.pipelines.pose_effectors.read_poses`.
        output: Folder of the results, which are named after the effectors' file.
        formats: What to write: ``npz`` (a SOMA motion of one frame per pose), ``usdc``, ``usda`` or ``glb`` (the
            skinned body, one frame per pose), ``png`` (a sheet with the effectors drawn).
        body: Who is posed.
        network: A trained pose network; ``null`` for the one that ships with soma_isaac, ``still`` for none.
        limits: Keep joints within the ranges that people's joints have (stored with the network).
        up_axis: ``y`` or ``z``, the world of the effectors; ``null`` takes what the file says, else ``y``.
        picture: How the poses are drawn.
        replace: Overwrite outputs that have other bytes.
    """

    effectors: str = ""
    output: str = "out/poses"
    formats: list[str] = field(default_factory=lambda: ["npz", "usdc", "png"])
    body: PoseBodyConfig = field(default_factory=PoseBodyConfig)
    network: str | None = None
    limits: bool = True
    up_axis: str | None = None
    picture: PictureConfig = field(default_factory=PictureConfig)
    replace: bool = False


def check_config(config: PoseConfig) -> None:
    """Refuse values that no pose can be made with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if not config.effectors:
        raise ConfigRefused("effectors: name the YAML or JSON file of what joints shall do")
    if not config.output or Path(config.output).expanduser().is_file():
        raise ConfigRefused(f"output: {config.output!r} is no folder")
    if not config.formats:
        raise ConfigRefused(f"formats: choose some of {', '.join(FORMATS)}")
    for name in config.formats:
        if name not in FORMATS:
            raise ConfigRefused(f"formats: unknown format {name!r}; {nearest(name, FORMATS)}")
    if config.up_axis not in (None, "y", "z"):
        raise ConfigRefused(f"up_axis: {config.up_axis!r} is neither y nor z")
    size, columns = config.picture.size, config.picture.columns
    if len(size) != 2 or not all(32 <= side <= 4096 for side in size) or not 1 <= columns <= 100:
        raise ConfigRefused("picture: size is [width, height] of 32 to 4096 pixels, columns 1 to 100")
    if not abs(config.picture.azimuth_deg) <= 3600.0:
        raise ConfigRefused(f"picture.azimuth_deg: {config.picture.azimuth_deg!r} is no angle")
    _check_body(config.body)


def check_picture(picture: PictureConfig, poses: int) -> None:
    """Refuse a sheet that is too large.

    Raises:
        ConfigRefused: Says how many poses fit.
    """
    most = SHEET_PIXELS // (picture.size[0] * picture.size[1])
    if poses > most:
        raise ConfigRefused(
            f"formats: a png shows at most {most} poses of {picture.size[0]} x {picture.size[1]} pixels, not {poses}; "
            "leave it out, or make picture.size= smaller"
        )


def _check_body(body: PoseBodyConfig) -> None:
    if body.lod not in LODS:
        raise ConfigRefused(f"body.lod: {body.lod!r} is none of {', '.join(LODS)}")
    if not 0.1 <= body.scale <= 10.0:
        raise ConfigRefused(f"body.scale: {body.scale!r} is outside 0.1 to 10")
    if body.preset is not None and (body.identity not in ("template", "soma") or body.coefficients is not None):
        raise ConfigRefused("body.preset: a named body is one of identity=soma and has its own coefficients")
    files = [key for key in ("assets", "model_path") if getattr(body, key) is not None]
    if files and (body.preset is not None or body.identity == "template"):
        raise ConfigRefused(f"body.{files[0]}: goes with an identity model; choose body.identity=soma, anny, smpl, ...")
    others = [key for key in ("preset", "coefficients") if getattr(body, key) is not None]
    if body.bones is not None and (others or body.groups or body.identity != "template" or body.scale != 1.0):
        raise ConfigRefused("body.bones: a body of given bones has no other identity, preset, coefficients or scale")
