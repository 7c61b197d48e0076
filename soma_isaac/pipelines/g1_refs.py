"""The main job: a folder of human motions becomes reference clips for a Unitree G1, with nothing lost on the way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from soma_isaac import __version__
from soma_isaac.batch.discovery import InputRules
from soma_isaac.batch.ledger import LedgerRecord
from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.pipelines.config import settings_digest
from soma_isaac.pipelines.fingerprint import code_digest
from soma_isaac.pipelines.folder_run import (
    FolderPlan,
    FolderReport,
    dry_run_folder,
    plan_folder,
    run_folder,
    states_of,
)
from soma_isaac.pipelines.g1_config import G1RefsConfig, check_config, conversion_settings, output_names, retarget_words
from soma_isaac.pipelines.run_config import MOTION_SUFFIXES, REFUSED_SUFFIXES, skipped_name
from soma_isaac.pipelines.smpl_files import MESH_CODE_PARTS, MESH_DATA_FILES, smpl_key, smpl_settings
from soma_isaac.retarget.pinocchio_model import require_pinocchio
from soma_isaac.rig.skeleton import data_path

CONVERTER = "soma_isaac.pipelines.g1_clip:convert_clip"
DEMO_CLIPS = "demo_clips"
BUNDLED_URDF = "g1/g1_29dof.urdf"
CODE_PARTS = (
    "math",
    "rig",
    "motion",
    "formats",
    "inversion",
    "retarget",
    "pipelines/motion_in.py",
    "pipelines/g1_clip.py",
)
LIBRARIES = ("numpy", "scipy")
DATA_FILES = ("SOMA_skeleton.json", BUNDLED_URDF)  # its collision shapes serve robots whose own file has meshes


def plan_g1_refs(config: G1RefsConfig) -> FolderPlan:
    """Find the inputs and plan them; nothing is written.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: Source, URDF or SMPL files do not exist, or there is no motion in the source.
        OutputConflict: Two inputs claim one output.
    """
    check_config(config)
    source = data_path(DEMO_CLIPS) if config.source.path is None else Path(config.source.path).expanduser()
    robot_urdf = (Path(config.robot.urdf).expanduser() if config.robot.urdf else data_path(BUNDLED_URDF)).resolve()
    if not robot_urdf.is_file():
        raise InputRejected("no such file; robot.urdf= takes a URDF of a G1", str(robot_urdf))
    digest, robot_digest = settings_digest(conversion_settings(config)), sha256_of_file(robot_urdf)
    smpl = smpl_settings(config.smpl)
    parts, data, libraries = CODE_PARTS, DATA_FILES, LIBRARIES
    if smpl is not None:
        parts, data, libraries = (*parts, *MESH_CODE_PARTS), (*data, *MESH_DATA_FILES), (*libraries, "warp-lang")
    code = code_digest(parts, tuple(data_path(name) for name in data), libraries)
    return plan_folder(
        config,
        source=source,
        rules=InputRules(MOTION_SUFFIXES, REFUSED_SUFFIXES, skipped_name),
        outputs_of=lambda relative: output_names(relative, config.formats),
        key_parts=(digest, robot_digest, code, *smpl_key(smpl)),
        digest=digest,
        settings={
            **conversion_settings(config),
            "robot_urdf": str(robot_urdf),
            "robot_digest": robot_digest,
            "smpl": smpl,
        },
    )


def run_g1_refs(config: G1RefsConfig, stream: TextIO, converter: str = CONVERTER) -> FolderReport:
    """Plan, convert, record, report; resumes what an earlier run in the same folder left.

    Args:
        config: The settings.
        stream: Where progress is shown.
        converter: ``module:function`` that the workers call per clip.

    Raises:
        ConfigRefused, InputRejected, OutputConflict: As `plan_g1_refs`, or outputs of other settings are in the way.
        OutputLocked, LedgerCorrupt, DiskRefused, WorkersUnusable: The machine, not a clip; the run can be resumed.
        MissingDependency: Pinocchio is not installed; nothing was written.
    """
    plan = plan_g1_refs(config)
    if config.dry_run:
        return dry_run_folder(plan, config, stream)
    if converter != CONVERTER:
        return run_folder(plan, config, stream, converter)
    require_pinocchio()  # before the first clip fails of it, and all others after it
    return run_folder(plan, config, stream, converter, lambda done, states: _write_report(config, done, states))


def _write_report(config: G1RefsConfig, plan: FolderPlan, records: Mapping[str, LedgerRecord]) -> Path:
    from soma_isaac.pipelines.g1_report import write_g1_report  # it draws with Warp and USD, which workers never need

    robot_urdf = Path(plan.settings["robot_urdf"])
    facts = {
        "Source": "bundled clips" if config.source.path is None else config.source.path,
        "Robot": f"{robot_urdf.name} ({plan.settings['robot_digest'][:12]})",
        "Rate": f"{config.fps:g} Hz",
        "Formats": ", ".join(sorted(config.formats)),
        "AMASS clips": "by joint rotations" if plan.settings["smpl"] is None else "by mesh, with the person's own body",
        "Settings": plan.digest[:12],
        "Version": __version__,
    }
    if words := retarget_words(config):
        facts["Retargeting"] = words
    return write_g1_report(plan.out, states_of(plan.entries, records), facts, robot_urdf)
