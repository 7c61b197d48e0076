"""The converters: a folder of motions of one kind becomes SOMA animations, or SMPL family parameters."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from soma_isaac import __version__
from soma_isaac.batch.discovery import InputRules
from soma_isaac.batch.ledger import LedgerRecord
from soma_isaac.errors import MissingDependency
from soma_isaac.pipelines.config import settings_digest
from soma_isaac.pipelines.convert_config import VERBS, ConvertConfig, check_config, conversion_settings, output_names
from soma_isaac.pipelines.fingerprint import code_digest
from soma_isaac.pipelines.folder_run import (
    FolderPlan,
    FolderReport,
    dry_run_folder,
    plan_folder,
    run_folder,
    states_of,
)
from soma_isaac.pipelines.mhr_files import mhr_settings
from soma_isaac.pipelines.run_config import REFUSED_SUFFIXES, skipped_name
from soma_isaac.pipelines.smpl_files import MESH_CODE_PARTS, MESH_DATA_FILES, smpl_key, smpl_settings
from soma_isaac.rig.skeleton import data_path

CONVERTER = "soma_isaac.pipelines.convert_clip:convert_clip"
CODE_PARTS = (
    "math",
    "rig",
    "motion",
    "formats",
    "inversion",
    "pipelines/motion_in.py",
    "pipelines/convert_clip.py",
)
LIBRARIES = ("numpy", "scipy")
DATA_FILES = ("SOMA_skeleton.json",)


def plan_convert(config: ConvertConfig) -> FolderPlan:
    """Find the inputs and plan them; nothing is written.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: Source or model files do not exist, or there is no motion in the source.
        OutputConflict: Two inputs claim one output.
    """
    check_config(config)
    settings = conversion_settings(config)
    digest = settings_digest(settings)
    smpl, mhr = smpl_settings(config.smpl), _mhr_settings(config)
    parts, data, libraries = CODE_PARTS, DATA_FILES, LIBRARIES
    if smpl is not None or mhr is not None:
        parts, data = (*parts, *MESH_CODE_PARTS, "pipelines/mhr_samples.py"), (*data, *MESH_DATA_FILES)
        libraries = (*libraries, "warp-lang", *(("torch",) if mhr is not None else ()))
    code = code_digest(parts, tuple(data_path(name) for name in data), libraries)
    suffixes = VERBS[config.verb]
    return plan_folder(
        config,
        source=Path(config.source.path or "").expanduser(),
        rules=InputRules(suffixes, REFUSED_SUFFIXES, skipped_name),
        outputs_of=lambda relative: output_names(relative, config.verb),
        key_parts=(digest, code, *smpl_key(smpl), *(sorted(mhr["digests"]) if mhr is not None else ())),
        digest=digest,
        settings={**settings, "smpl": smpl, "mhr": mhr},
    )


def run_convert(config: ConvertConfig, stream: TextIO, converter: str = CONVERTER) -> FolderReport:
    """Plan, convert, record, report; resumes what an earlier run in the same folder left.

    Args:
        config: The settings.
        stream: Where progress is shown.
        converter: ``module:function`` that the workers call per clip.

    Raises:
        ConfigRefused, InputRejected, OutputConflict: As `plan_convert`, or outputs of other settings are in the way.
        OutputLocked, LedgerCorrupt, DiskRefused, WorkersUnusable: The machine, not a clip; the run can be resumed.
        MissingDependency: torch, or pyarrow for parquet, is not installed; nothing was written.
    """
    plan = plan_convert(config)
    if config.dry_run:
        return dry_run_folder(plan, config, stream)
    if converter != CONVERTER:
        return run_folder(plan, config, stream, converter)
    _require_packages(config, plan)  # before the first file fails of it, and all others after it
    return run_folder(plan, config, stream, converter, lambda done, states: _write_report(config, done, states))


def _require_packages(config: ConvertConfig, plan: FolderPlan) -> None:
    if config.verb != "mhr":
        return
    if importlib.util.find_spec("torch") is None:
        raise MissingDependency("torch", "verb=mhr", "pip install 'soma_isaac[torch]'")
    parquet = any(entry.input.lower().endswith(".parquet") and not entry.verdict for entry in plan.entries)
    if parquet and importlib.util.find_spec("pyarrow") is None:
        raise MissingDependency("pyarrow", "reading parquet files", "pip install 'soma_isaac[parquet]'")


def _mhr_settings(config: ConvertConfig) -> dict[str, Any] | None:
    if config.verb != "mhr":
        return None
    return mhr_settings(config.mhr)


def _write_report(config: ConvertConfig, plan: FolderPlan, records: Mapping[str, LedgerRecord]) -> Path:
    from soma_isaac.pipelines.convert_report import write_convert_report

    facts = {
        "Source": str(config.source.path),
        "Verb": config.verb,
        "Rate": "as in the clips" if config.fps is None else f"{config.fps:g} Hz",
        "Smoothing": config.smooth or "none",
        "Models": _models(plan.settings),
        "Settings": plan.digest[:12],
        "Version": __version__,
    }
    return write_convert_report(plan.out, states_of(plan.entries, records), facts)


def _models(settings: Mapping[str, Any]) -> str:
    if settings["smpl"] is None:
        return "none"
    return ", ".join(
        f"{name} ({digest[:12]})" for name, files in settings["smpl"]["models"].items() for _, digest in files[:1]
    )
