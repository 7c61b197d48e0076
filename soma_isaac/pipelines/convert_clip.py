"""One motion in a worker of ``convert.py``: a file of the verb's kind becomes a SOMA animation and its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from soma_isaac.batch.job import ConversionJob, ConvertedClip
from soma_isaac.errors import InputRejected
from soma_isaac.formats.amass import is_amass, read_amass
from soma_isaac.formats.kimodo import is_kimodo, read_kimodo
from soma_isaac.formats.npz import NpzArchive, open_npz
from soma_isaac.formats.seed import is_seed, read_seed
from soma_isaac.formats.smpl_params import amass_npz_bytes, is_smpl_params, read_smpl_params
from soma_isaac.formats.soma_npz import is_soma_npz, provenance_array, read_soma_npz, soma_npz_bytes
from soma_isaac.inversion.smpl_from_soma import amass_from_soma
from soma_isaac.inversion.smpl_joints import soma_from_amass
from soma_isaac.motion.resample import resample
from soma_isaac.motion.smooth import smooth
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.run_config import DETAILS_FOLDER

if TYPE_CHECKING:
    from soma_isaac.inversion.smpl_mesh import MeshMotion
    from soma_isaac.inversion.soma_to_smpl import SmplMotion

CHANGED = "the file changed after the run was planned; run again to plan it anew"
VERSION = 1
BY_MESH, BY_JOINTS, AS_STORED = "mesh", "joint_rotations", "as_stored"
"""How a result was made: ``as_stored`` where the source has SOMA's own joints."""


def convert_clip(job: ConversionJob) -> ConvertedClip:
    """Convert one file.

    Args:
        job: The input; ``settings`` as :func:`soma_isaac.pipelines.convert_config.conversion_settings` gives them, with
            ``smpl`` and ``mhr``.

    Returns:
        The files that the job names; equal job and input give equal bytes.

    Raises:
        InputRejected: The file is not what the verb reads, not the one that was planned, or has no model.
        RigMismatch: A model file is not the one that was planned.
    """
    verb = job.settings["verb"]
    if verb == "mhr":
        from soma_isaac.pipelines.mhr_samples import convert_mhr  # it needs torch

        return convert_mhr(job)
    data, record = _to_smpl(job) if verb == "soma2smpl" else _to_soma(job)
    details = json.dumps({"version": VERSION, **record}, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"
    files = {name: details if name.partition("/")[0] == DETAILS_FOLDER else data for name in job.outputs}
    return ConvertedClip(files, {"frames": record["frames"], "path": record["path"]})


def _to_soma(job: ConversionJob) -> tuple[bytes, dict[str, Any]]:
    settings = job.settings
    extras: dict[str, np.ndarray] = {}
    if settings["verb"] in ("amass", "smpl"):
        motion, mesh = _from_smpl(job)
        path = BY_JOINTS if mesh is None else BY_MESH
        if mesh is not None:
            extras |= _errors(mesh, settings["vertex_errors"])
            if settings["smooth"]:
                motion = _noted(motion, "errors are those of the poses before smoothing")
    else:
        motion, path = _read(job), BY_JOINTS if settings["verb"] == "bvh" else AS_STORED
        if settings["fps"] is not None:
            motion = resample(motion, settings["fps"])
    if settings["smooth"]:
        motion = smooth(motion, settings["smooth"])
    extras["conversion"] = np.array(path)
    extras["provenance"] = provenance_array(motion.provenance)
    record = _record(motion, path, extras)
    return soma_npz_bytes(motion, extras), record


def _noted(motion: SomaMotion, note: str) -> SomaMotion:
    return replace(motion, provenance=replace(motion.provenance, notes=(*motion.provenance.notes, note)))


def _record(motion: SomaMotion, path: str, extras: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What the report tells of a clip; JSON values."""
    identity, origin = motion.identity, motion.provenance
    record: dict[str, Any] = {
        "frames": motion.frame_count,
        "fps": motion.fps,
        "path": path,
        "model": identity.model,
        "gender": identity.gender,
        "up_axis": f"{origin.up_axis} ({origin.up_axis_source})",
        "fps_key": origin.fps_key,
        "notes": list(origin.notes),
        "error_mm": None,
    }
    if "per_frame_error" in extras:
        mean, largest = extras["per_frame_error"].T * 1e3
        record["error_mm"] = {
            "mean": float(mean.mean()),
            "worst_frame_mean": float(mean.max()),
            "largest": float(largest.max()),
        }
    return record


def _from_smpl(job: ConversionJob) -> tuple[SomaMotion, MeshMotion | None]:
    """A motion from SMPL parameters, at the rate that was asked for; by mesh where there are models."""
    settings, archive = job.settings, _archive(job)
    verb = settings["verb"]
    if verb == "amass":
        _require(archive, is_amass, "AMASS clip", job)
        clip = read_amass(archive, settings["source_fps"])
    else:
        _require(archive, is_smpl_params, "file of SMPL parameters", job)
        clip = read_smpl_params(archive, settings["source_fps"])
    if settings["smpl"] is None:
        motion = soma_from_amass(clip, job.input, settings["up_axis"])
        if settings["fps"] is not None:
            motion = resample(motion, settings["fps"])
        return _of_format(motion, verb), None
    from soma_isaac.pipelines.smpl_mesh import convert_smpl  # it loads Warp and USD, which the joint path never needs

    mesh = convert_smpl(clip, settings["smpl"], job.input, settings["up_axis"], settings["fps"])
    return _of_format(mesh.motion, verb), mesh


def _of_format(motion: SomaMotion, name: str) -> SomaMotion:
    return replace(motion, provenance=replace(motion.provenance, format=name))


def _read(job: ConversionJob) -> SomaMotion:
    """A motion of the verbs whose files have SOMA's own joints, or BVH."""
    settings = job.settings
    if settings["verb"] == "bvh":
        motion = load_motion(
            Path(job.source), source_fps=settings["source_fps"], up_axis=settings["up_axis"], name=job.input
        )
        if motion.provenance.source_digest != job.sha256:
            raise InputRejected(CHANGED, job.input)
        return motion
    archive = _archive(job)
    if settings["verb"] == "kimodo":
        _require(archive, is_kimodo, "Kimodo motion", job)
        return read_kimodo(archive, job.input, settings["source_fps"])
    _require(archive, is_seed, "BONES-SEED sample", job)
    return read_seed(archive, job.input, settings["source_fps"])


def _to_smpl(job: ConversionJob) -> tuple[bytes, dict[str, Any]]:
    settings, archive = job.settings, _archive(job)
    _require(archive, is_soma_npz, "SOMA animation", job)
    motion = read_soma_npz(archive, job.input, settings["source_fps"], settings["up_axis"])
    if settings["fps"] is not None:
        motion = resample(motion, settings["fps"])
    if settings["smooth"]:
        motion = smooth(motion, settings["smooth"])
    extras = {"provenance": provenance_array(motion.provenance)}
    path = BY_JOINTS if settings["smpl"] is None else BY_MESH
    if settings["smpl"] is None:
        clip = amass_from_soma(motion, settings["target"])
    else:
        from soma_isaac.pipelines.smpl_mesh import convert_to_smpl  # it loads Warp and USD

        found = convert_to_smpl(motion, settings["smpl"], settings["target"], job.input)
        clip = found.clip
        extras |= _errors(found, settings["vertex_errors"])
    extras["conversion"] = np.array(path)
    record = {**_record(motion, path, extras), "model": clip.model, "gender": clip.gender}
    return amass_npz_bytes(clip, extras), {**record, "notes": [*record["notes"], *clip.notes]}


def _errors(found: MeshMotion | SmplMotion, per_vertex: bool) -> dict[str, np.ndarray]:
    """Arrays of a mesh path's errors."""
    errors = {"per_frame_error": np.stack([found.mean_error, found.largest_error], axis=1)}
    return {**errors, "per_vertex_error": found.per_vertex_error} if per_vertex else errors


def _archive(job: ConversionJob) -> NpzArchive:
    archive = open_npz(Path(job.source), name=job.input)
    if archive.digest != job.sha256:
        raise InputRejected(CHANGED, job.input)
    return archive


def _require(archive: NpzArchive, test: Any, what: str, job: ConversionJob) -> None:
    if test(archive):
        return
    kinds = {
        "kimodo": is_kimodo,
        "seed": is_seed,
        "soma2smpl": is_soma_npz,
        "amass": is_amass,
        "smpl": is_smpl_params,
    }
    other = next((verb for verb, is_kind in kinds.items() if is_kind(archive)), None)
    hint = f"verb={other} reads it" if other else f"its arrays are {', '.join(archive.keys[:12])}"
    raise InputRejected(f"is no {what}; {hint}", job.input)
