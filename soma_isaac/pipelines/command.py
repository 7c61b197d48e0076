"""From a composed Hydra config to an exit code: what ``scripts/prepare_g1_refs.py`` runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from soma_isaac.batch.ledger import LedgerCorrupt
from soma_isaac.batch.lock import OutputLocked
from soma_isaac.batch.names import escaped
from soma_isaac.batch.run import DiskRefused
from soma_isaac.batch.supervisor import WorkersUnusable
from soma_isaac.errors import InputRejected, MissingDependency, OutputConflict, RigMismatch, SomaError
from soma_isaac.pipelines.config import ConfigRefused, check_overrides, config_object, register_schema
from soma_isaac.pipelines.folder_run import (
    EXIT_INFRASTRUCTURE,
    EXIT_SIGNAL,
    EXIT_USAGE,
    counts_line,
    status_lines,
    verify_lines,
)
from soma_isaac.pipelines.g1_config import G1RefsConfig
from soma_isaac.pipelines.g1_refs import run_g1_refs

USAGE_ERRORS = (ConfigRefused, InputRejected, OutputConflict)
INFRASTRUCTURE_ERRORS = (
    OutputLocked, LedgerCorrupt, DiskRefused, WorkersUnusable, MissingDependency, RigMismatch, OSError
)  # fmt: skip


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    register_schema("g1_refs_schema", G1RefsConfig)
    try:
        check_overrides(arguments, G1RefsConfig)
    except ConfigRefused as error:
        sys.stderr.write(f"error: {escaped(str(error))}\n")
        raise SystemExit(EXIT_USAGE) from error


def g1_refs_command(config: DictConfig) -> int:
    """Run what the config asks for; results on stdout, progress and errors on stderr.

    Returns:
        0 all done or skipped, 2 usage, 3 finished with some rejected, crashed, hung or failed, 4 infrastructure,
        130 or 143 ended by SIGINT or SIGTERM.
    """
    try:
        return _dispatch(config_object(config, G1RefsConfig))
    except USAGE_ERRORS as error:
        return _refuse(error, EXIT_USAGE)
    except (*INFRASTRUCTURE_ERRORS, SomaError) as error:
        return _refuse(error, EXIT_INFRASTRUCTURE)
    except (
        KeyboardInterrupt
    ):  # while planning or reporting; while clips are converted it is a request, not an exception
        return EXIT_SIGNAL + signal.SIGINT


def _refuse(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {escaped(str(error))}\n")
    return code


def _dispatch(config: G1RefsConfig) -> int:
    if config.mode in ("status", "verify"):
        lines, code = (status_lines if config.mode == "status" else verify_lines)(Path(config.output.dir))
        sys.stdout.write("\n".join(lines) + "\n")
        return code
    report = run_g1_refs(config, sys.stderr)
    if not config.quiet and not config.dry_run:
        sys.stdout.write(f"{report.total} inputs: {counts_line(report.counts)} in {escaped(str(report.out))}\n")
        if report.report_path is not None:
            sys.stdout.write(f"report: {escaped(str(report.report_path))}\n")
    return report.exit_code
