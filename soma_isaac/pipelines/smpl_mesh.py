"""The mesh path in a worker: pick the model that a clip was made with, load it once, convert."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import pair_transfer, read_pair
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.smpl_forward import SmplBody
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.amass import AmassClip
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.formats.smpl_model import read_smpl_model
from soma_isaac.inversion.amass_resample import resample_clip
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.smpl_mesh import MeshMotion, SmplMeshConverter
from soma_isaac.inversion.soma_to_smpl import FAMILIES, SmplMotion, SomaToSmpl
from soma_isaac.motion.soma import SomaMotion

LOD = "low"
MODEL_KINDS = {"smpl": ("smpl", "smplh"), "smplh": ("smplh", "smpl"), "smplx": ("smplx",)}
"""Models that may pose a clip of a layout, best first; SMPL and SMPL-H share mesh, body joints and shape space."""


def convert_smpl(
    clip: AmassClip, settings: Mapping[str, Any], source: str, up_axis: str | None, fps: float | None = None
) -> MeshMotion:
    """Convert a clip by mesh.

    Resampling comes first: after it each frame stands for itself, so that errors are those of the frames that are
    given, and a clip of 120 Hz costs no more than one of 50.

    Args:
        clip: The clip.
        settings: Of :func:`soma_isaac.pipelines.smpl_files.smpl_settings`.
        source: Name of the clip.
        up_axis: ``y``, ``z`` or ``None``.
        fps: Frame rate [Hz] of the result; the clip's own by default.

    Raises:
        InputRejected: The clip tells no gender and the settings neither, or the user has no model of its kind and
            gender, or several.
        RigMismatch: A file changed after the run was planned.
    """
    converter = clip_converter(clip, settings, source)
    if fps is not None:
        clip = resample_clip(clip, fps)
    return converter.convert(clip, source, up_axis, flat_hands=settings["hands"] == "flat")


def clip_converter(clip: AmassClip, settings: Mapping[str, Any], source: str) -> SmplMeshConverter:
    """The converter with the model that a clip was made with; kept for the next clip of the same kind and gender.

    Raises:
        InputRejected, RigMismatch: As :func:`convert_smpl`.
    """
    kind, gender = choose_model(clip.model, clip.gender, settings, source)
    return _converter(*_key(kind, gender, settings))


def convert_to_smpl(motion: SomaMotion, settings: Mapping[str, Any], target: str, source: str) -> SmplMotion:
    """Convert a SOMA motion by mesh.

    Args:
        motion: The motion.
        settings: Of :func:`soma_isaac.pipelines.smpl_files.smpl_settings`.
        target: ``smpl``, ``smplh`` or ``smplx``; the user must have that model.
        source: Name of the motion.

    Raises:
        InputRejected: As :func:`convert_smpl`.
        RigMismatch: A file changed after the run was planned.
    """
    gender = motion.identity.gender if motion.identity.model in FAMILIES[target] else None
    kind, gender = choose_model(target, gender, settings, source, exact=True)
    return _to_smpl(*_key(kind, gender, settings)).convert(motion)


def choose_model(
    model: str, gender: str | None, settings: Mapping[str, Any], source: str, *, exact: bool = False
) -> tuple[str, str]:
    """Kind and gender of the model for a clip of layout ``model``; never another gender's.

    Args:
        model: ``smpl``, ``smplh`` or ``smplx``.
        gender: As the clip states it, or ``None``.
        settings: Of :func:`soma_isaac.pipelines.smpl_files.smpl_settings`.
        source: Name of the clip.
        exact: Take no other kind either.

    Raises:
        InputRejected: As :func:`convert_smpl`.
    """
    gender = gender or settings["gender"]
    if gender is None:
        raise InputRejected("states no gender; smpl.gender= says which model to take for such clips", source)
    models = settings["models"]
    for kind in (model,) if exact else MODEL_KINDS[model]:
        files = models.get(f"{kind}/{gender}")
        if files is None or kind not in settings["pairs"]:
            continue
        if len(files) > 1:
            listed = ", ".join(path for path, _ in files[:4])
            raise InputRejected(f"there are several {kind} models of gender {gender} ({listed}); give one", source)
        return kind, gender
    raise InputRejected(
        f"needs a {model} model of gender {gender}; smpl.model_path= has {', '.join(sorted(models))}",
        source,
    )


def _key(kind: str, gender: str, settings: Mapping[str, Any]) -> tuple[Any, ...]:
    """What identifies a converter in this process, hashable."""
    return (
        kind,
        gender,
        *settings["models"][f"{kind}/{gender}"][0],
        *(word for file in settings["pairs"][kind] for word in file),
        *(settings["neutral"] or (None, None)),
    )


@functools.lru_cache(maxsize=1)
def soma_inversion() -> tuple[SomaLayer, PoseInversion]:
    """The template's layer and the inversion of its body, made once per worker."""
    layer = SomaLayer(load_template_rig(), lod=LOD, threads=1)
    return layer, PoseInversion(layer.body)


@functools.lru_cache(maxsize=3)
def _converter(
    kind: str,
    gender: str,
    model: str,
    model_digest: str,
    base: str,
    base_digest: str,
    wrap: str,
    wrap_digest: str,
    neutral: str | None,
    neutral_digest: str | None,
) -> SmplMeshConverter:
    for path, digest in ((base, base_digest), (wrap, wrap_digest), (neutral, neutral_digest)):
        if path is not None and sha256_of_file(Path(path)) != digest:
            raise RigMismatch(f"{path!r} changed after the run was planned; run again to plan it anew")
    smpl = SmplBody(read_smpl_model(Path(model), kind))
    if smpl.model.digest != model_digest:
        raise RigMismatch(f"{model!r} changed after the run was planned; run again to plan it anew")
    layer, inversion = soma_inversion()
    target = SomaTarget.of(layer.rig, LOD, None if neutral is None else read_neutral(Path(neutral)))
    transfer, _ = pair_transfer(target, Path(base), Path(wrap), unit_metres=1.0, native_count=smpl.vertex_count)
    return SmplMeshConverter(smpl, transfer, layer, inversion, gender)


@functools.lru_cache(maxsize=3)
def _to_smpl(*key: Any) -> SomaToSmpl:
    converter = _converter(*key)
    base, wrap = read_pair(Path(key[4]), Path(key[6]), 1.0)
    target = SomaTarget.of(converter.layer.rig, LOD)
    return SomaToSmpl(converter, TopologyTransfer(wrap[target.mid_rows], target.triangles, base.points))
