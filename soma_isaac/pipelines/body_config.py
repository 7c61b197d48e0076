"""Settings of the body export, as Hydra checks them and as the export uses them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from soma_isaac.errors import InputRejected
from soma_isaac.motion.soma import check_fps
from soma_isaac.pipelines.config import ConfigRefused, nearest

# The next line repeats formats.usd_stage_file.USD_SUFFIXES (a test holds them equal): ``--help`` shall not load USD.
USD_SUFFIXES = (".usd", ".usda", ".usdc")
SUFFIXES = (*USD_SUFFIXES, ".glb", ".npz")
KINDS = ("skel", "points")
POSES = ("t", "bind")
LODS = ("mid", "low", "xlo")


@dataclass
class BodyExportConfig:
    """All keys of ``body.py``.

    Attributes:
        motion: Motion file (AMASS, SOMA, Kimodo or BONES-SEED npz, or BVH).
        pose: Instead of a motion: ``t`` for the T-pose, ``bind`` for the bind pose.
        output: File to write; its suffix says what: ``.usd``, ``.usda``, ``.usdc``, ``.glb``, or ``.npz`` for a SOMA-X
            motion. Its folder is made if need be.
        kind: ``skel`` for a skinned body with joint animation, ``points`` for posed vertices without a skeleton.
        lod: Level of detail: ``mid``, ``low`` or ``xlo``.
        frame: Only this frame of the motion, counted from 0 (after resampling).
        fps: Frame rate [Hz] to resample to; ``null`` keeps the motion's.
        source_fps: Frame rate [Hz] of the motion where its file does not say it; it wins where it does.
        up_axis: ``y`` or ``z`` where the file's world is known; ``null`` lets its content decide.
        identity: ``template`` for the rig's own body, or an identity model: ``soma``, ``anny``, ``smpl``, ...
        preset: A named body of the open shape space, e.g. ``child``; goes with ``identity=soma`` and no files.
        coefficients: Coefficients of the identity model; ``null`` for its defaults.
        groups: Further groups of coefficients by name: ``bone_scales`` (60, for any body), ``scales`` and others of the
            identity model, e.g. ``groups={bone_scales:[...]}``; neutral where left out.
        assets: Folder in SOMA-X layout with the identity model's files.
        model_path: The identity model's own file, where it does not lie in ``assets``.
        scale: Factor on the body; ``null`` gives the template the leg length of the person in the motion, and leaves
            other bodies as they are. A body with longer or shorter legs than the person's takes other steps.
        correctives: File of a pose corrective model, for vertices (``kind=points``): a skin has none.
        normals: With ``kind=points`` in USD, write vertex normals per frame (twice the size).
        replace: Overwrite an output that has other bytes.
    """

    motion: str | None = None
    pose: str | None = None
    output: str = ""
    kind: str = "skel"
    lod: str = "mid"
    frame: int | None = None
    fps: float | None = None
    source_fps: float | None = None
    up_axis: str | None = None
    identity: str = "template"
    preset: str | None = None
    coefficients: list[float] | None = None
    groups: dict[str, list[float]] = field(default_factory=dict)
    assets: str | None = None
    model_path: str | None = None
    scale: float | None = None
    correctives: str | None = None
    normals: bool = True
    replace: bool = False


def check_config(config: BodyExportConfig) -> None:
    """Refuse values that no export can work with.

    Raises:
        ConfigRefused: Names the key, the value and what would be accepted.
    """
    if (config.motion is None) == (config.pose is None):
        raise ConfigRefused("motion, pose: give one of them, motion=FILE or pose=t|bind")
    if not config.output:
        raise ConfigRefused(f"output: name the file to write; its suffix is one of {', '.join(SUFFIXES)}")
    suffix = Path(config.output).suffix.lower()
    if suffix not in SUFFIXES:
        raise ConfigRefused(f"output: unknown suffix {suffix!r}; {nearest(suffix, SUFFIXES)}")
    for key, known in (("pose", POSES), ("kind", KINDS), ("lod", LODS), ("up_axis", ("y", "z"))):
        value = getattr(config, key)
        if value is not None and value not in known:
            raise ConfigRefused(f"{key}: {value!r} is none of {', '.join(known)}")
    for key in ("fps", "source_fps"):
        try:
            if getattr(config, key) is not None:
                check_fps(getattr(config, key))
        except InputRejected as error:
            raise ConfigRefused(f"{key}: {error.reason}") from error
    if config.scale is not None and not 0.1 <= config.scale <= 10.0:
        raise ConfigRefused(f"scale: {config.scale!r} is outside 0.1 to 10")
    if config.frame is not None and (config.frame < 0 or config.motion is None):
        raise ConfigRefused(f"frame: {config.frame!r}; it counts from 0 and belongs to a motion")
    _check_combination(config, suffix)
    _check_identity(config)


def check_presets(names: Sequence[str]) -> None:
    """Refuse an empty list of named bodies, or a name that no body has.

    Raises:
        ConfigRefused: Says which, and the nearest name.
    """
    from soma_isaac.body.identities.presets import preset_names

    known = preset_names()
    for name in names:
        if name not in known:
            raise ConfigRefused(f"presets: unknown body {name!r}; {nearest(name, known)}")
    if not names:
        raise ConfigRefused("presets: name at least one body")


def _check_combination(config: BodyExportConfig, suffix: str) -> None:
    if suffix == ".npz" and config.kind != "skel":
        raise ConfigRefused("kind: an .npz holds joint rotations; vertices go to .usd, .usda, .usdc or .glb")
    if suffix == ".glb" and config.kind == "points" and config.motion is not None and config.frame is None:
        raise ConfigRefused("kind: a .glb holds one posed mesh; add frame=N, or use .usdc for a point cache")
    if config.correctives is not None and config.kind != "points":
        raise ConfigRefused("correctives: UsdSkel and glTF skins have no pose correctives; add kind=points")
    if not config.normals and (config.kind != "points" or suffix not in USD_SUFFIXES):
        raise ConfigRefused("normals: only a USD point cache (kind=points) can do without")


def _check_identity(config: BodyExportConfig) -> None:
    if config.preset is not None and (config.identity not in ("template", "soma") or config.coefficients is not None):
        raise ConfigRefused("preset: a named body is one of identity=soma and has its own coefficients")
    files = [key for key in ("coefficients", "assets", "model_path") if getattr(config, key) is not None]
    if files and config.identity == "template" and config.preset is None:
        raise ConfigRefused(f"{files[0]}: the template body has none; choose identity=soma, anny, smpl, ...")
    if config.preset is not None and (config.assets is not None or config.model_path is not None):
        raise ConfigRefused(
            "preset: named bodies belong to the shape space that ships with soma_isaac; leave out files"
        )
