"""MHR samples in a worker of ``convert.py``."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np

from soma_isaac.batch.job import ConversionJob, ConvertedClip
from soma_isaac.body.identities.mhr import MhrIdentity
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.asset_tree import AssetTree
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.formats.mhr_samples import MhrSamples, read_mhr_samples
from soma_isaac.formats.soma_samples import soma_samples_bytes
from soma_isaac.inversion.mhr_mesh import FLEXIBLES, SCALES, MeshSamples, convert_samples
from soma_isaac.motion.soma import Provenance
from soma_isaac.pipelines.convert_clip import BY_MESH, CHANGED, VERSION
from soma_isaac.pipelines.mhr_files import BASE, WRAP
from soma_isaac.pipelines.run_config import DETAILS_FOLDER
from soma_isaac.pipelines.smpl_mesh import LOD, soma_inversion


def convert_mhr(job: ConversionJob) -> ConvertedClip:
    """Convert one file of samples.

    Args:
        job: The input; ``settings`` has ``flexibles``, ``vertex_errors`` and ``mhr`` of ``mhr_files.mhr_settings``.

    Raises:
        InputRejected: The file holds no MHR samples, or is not the one that was planned.
        MissingDependency: torch, or pyarrow for parquet, is not installed.
        RigMismatch: A model file is not the one that was planned.
    """
    samples = read_mhr_samples(Path(job.source), job.input)
    if samples.digest != job.sha256:
        raise InputRejected(CHANGED, job.input)
    settings = job.settings["mhr"]
    model = _model(settings["assets"], settings["model"], tuple(settings["digests"]))
    flexibles = bool(job.settings["flexibles"])
    layer, inversion = soma_inversion()
    found = convert_samples(model, layer, inversion, samples.shapes, samples.parameters, flexibles=flexibles)
    record = _record(samples, found)
    details = json.dumps({"version": VERSION, **record}, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"
    data = _encode(job, samples, found, record["notes"])
    files = {name: details if name.partition("/")[0] == DETAILS_FOLDER else data for name in job.outputs}
    return ConvertedClip(files, {"frames": record["frames"], "path": BY_MESH})


def _encode(job: ConversionJob, samples: MhrSamples, found: MeshSamples, notes: list[str]) -> bytes:
    extras = {
        "scale_params": samples.parameters[:, SCALES],
        "sample_rows": samples.rows,
        "per_frame_error": np.stack([found.mean_error, found.largest_error], axis=1),
        "conversion": np.array(BY_MESH),
    }
    if job.settings["flexibles"]:
        extras["bone_length_flexibles"] = samples.parameters[:, FLEXIBLES]
    if job.settings["vertex_errors"]:
        extras["per_vertex_error"] = found.per_vertex_error
    provenance = Provenance(job.input, samples.digest, "mhr", "", "y", "format", tuple(notes))
    return soma_samples_bytes(found.rotations, found.root_translation, "mhr", samples.shapes, provenance, extras)


def _record(samples: MhrSamples, found: MeshSamples) -> dict:
    mean, largest = 1e3 * found.mean_error, 1e3 * found.largest_error
    left_out = samples.total - len(samples.rows)
    return {
        "frames": len(samples.rows),
        "fps": 0.0,
        "path": BY_MESH,
        "model": "mhr",
        "gender": None,
        "up_axis": "y (format)",
        "fps_key": "",
        "notes": [f"{left_out} of {samples.total} rows are not valid and were left out"] if left_out else [],
        "error_mm": {
            "mean": float(mean.mean()),
            "worst_frame_mean": float(mean.max()),
            "largest": float(largest.max()),
        },
    }


@functools.lru_cache(maxsize=1)
def _model(assets: str, model: str, digests: tuple[str, ...]) -> MhrIdentity:
    files = (Path(model), Path(assets) / BASE, Path(assets) / WRAP)
    for path, digest in zip(files, digests, strict=True):
        if sha256_of_file(path) != digest:
            raise RigMismatch(f"{str(path)!r} changed after the run was planned; run again to plan it anew")
    layer, _ = soma_inversion()
    return MhrIdentity.load(SomaTarget.of(layer.rig, LOD), assets=AssetTree(Path(assets)), model_path=Path(model))
