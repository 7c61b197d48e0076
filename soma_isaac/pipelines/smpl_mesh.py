"""The mesh path in a worker: pick the model that a clip was made with, load it once, convert."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.body.identities.transfer import pair_transfer
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.smpl_forward import SmplBody
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.amass import AmassClip
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.formats.smpl_model import read_smpl_model
from soma_isaac.inversion.amass_resample import resample_clip
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.smpl_mesh import MeshMotion, SmplMeshConverter

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
    kind, gender = choose_model(clip, settings, source)
    if fps is not None:
        clip = resample_clip(clip, fps)
    converter = _converter(
        kind,
        gender,
        *settings["models"][f"{kind}/{gender}"][0],
        *(word for file in settings["pairs"][kind] for word in file),
        *(settings["neutral"] or (None, None)),
    )
    return converter.convert(clip, source, up_axis, flat_hands=settings["hands"] == "flat")


def choose_model(clip: AmassClip, settings: Mapping[str, Any], source: str) -> tuple[str, str]:
    """Kind and gender of the model for a clip; never another gender's.

    Raises:
        InputRejected: As :func:`convert_smpl`.
    """
    gender = clip.gender or settings["gender"]
    if gender is None:
        raise InputRejected("states no gender; smpl.gender= says which model to take for such clips", source)
    models = settings["models"]
    for kind in MODEL_KINDS[clip.model]:
        files = models.get(f"{kind}/{gender}")
        if files is None or kind not in settings["pairs"]:
            continue
        if len(files) > 1:
            listed = ", ".join(path for path, _ in files[:4])
            raise InputRejected(f"there are several {kind} models of gender {gender} ({listed}); give one", source)
        return kind, gender
    raise InputRejected(
        f"was made with a {clip.model} model of gender {gender}; smpl.model_path= has {', '.join(sorted(models))}",
        source,
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
