"""From a composed Hydra config to an exit code: what the commands over folders run."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig

from soma_isaac.batch.ledger import LedgerCorrupt
from soma_isaac.batch.lock import OutputLocked
from soma_isaac.batch.names import escaped
from soma_isaac.batch.run import DiskRefused
from soma_isaac.batch.supervisor import WorkersUnusable
from soma_isaac.errors import InputRejected, MissingDependency, OutputConflict, RigMismatch, SomaError
from soma_isaac.pipelines.config import EXIT_USAGE, ConfigRefused, check_command_line, config_object
from soma_isaac.pipelines.convert import run_convert
from soma_isaac.pipelines.convert_config import ConvertConfig
from soma_isaac.pipelines.folder_run import (
    EXIT_INFRASTRUCTURE,
    EXIT_SIGNAL,
    FolderReport,
    counts_line,
    status_lines,
    verify_lines,
)
from soma_isaac.pipelines.g1_config import G1RefsConfig
from soma_isaac.pipelines.g1_refs import run_g1_refs
from soma_isaac.pipelines.render_bodies import run_render_bodies
from soma_isaac.pipelines.render_bodies_config import RenderBodiesConfig
from soma_isaac.pipelines.run_config import FolderRunConfig
from soma_isaac.pipelines.streams import hold_standard_streams, say, settle_standard_streams

Settings = TypeVar("Settings", bound=FolderRunConfig)

USAGE_ERRORS = (ConfigRefused, InputRejected, OutputConflict)
INFRASTRUCTURE_ERRORS = (
    OutputLocked, LedgerCorrupt, DiskRefused, WorkersUnusable, MissingDependency, RigMismatch, OSError
)  # fmt: skip


def prepare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    hold_standard_streams()
    check_command_line("g1_refs_schema", G1RefsConfig, arguments)


def convert_command_line(arguments: Sequence[str]) -> list[str]:
    """The same for ``convert.py``, whose first word may be the verb; returns the arguments for Hydra."""
    words = list(arguments)
    if words and "=" not in words[0] and not words[0].startswith("-"):  # a verb that is none is told so by its check
        words[0] = f"verb={words[0]}"
    hold_standard_streams()
    check_command_line("convert_schema", ConvertConfig, words)
    return words


def render_bodies_command_line(arguments: Sequence[str]) -> None:
    """The same as `prepare_command_line` for ``render_bodies.py``."""
    hold_standard_streams()
    check_command_line("render_bodies_schema", RenderBodiesConfig, arguments)


def g1_refs_command(config: DictConfig) -> int:
    """Run what the config asks for; results on stdout, progress and errors on stderr.

    Returns:
        0 all done or skipped, 2 usage, 3 finished with some rejected, crashed, hung or failed, 4 infrastructure,
        130 or 143 ended by SIGINT or SIGTERM.
    """
    return _run(config, G1RefsConfig, lambda settings: run_g1_refs(settings, sys.stderr))


def convert_command(config: DictConfig) -> int:
    """The same for ``convert.py``."""
    return _run(config, ConvertConfig, lambda settings: run_convert(settings, sys.stderr))


def render_bodies_command(config: DictConfig) -> int:
    """The same for ``render_bodies.py``."""
    return _run(config, RenderBodiesConfig, lambda settings: run_render_bodies(settings, sys.stderr))


def _run(config: DictConfig, schema: type[Settings], job: Callable[[Settings], FolderReport]) -> int:
    try:
        return _dispatch(config_object(config, schema), job)
    except USAGE_ERRORS as error:
        return _refuse(error, EXIT_USAGE)
    except (*INFRASTRUCTURE_ERRORS, SomaError) as error:
        return _refuse(error, EXIT_INFRASTRUCTURE)
    except (
        KeyboardInterrupt
    ):  # while planning or reporting; while clips are converted it is a request, not an exception
        return EXIT_SIGNAL + signal.SIGINT
    finally:
        settle_standard_streams()


def _refuse(error: Exception, code: int) -> int:
    with suppress(OSError):
        sys.stderr.write(f"error: {escaped(str(error))}\n")
    return code


def _dispatch(config: Settings, job: Callable[[Settings], FolderReport]) -> int:
    if config.mode in ("status", "verify"):
        lines, code = (status_lines if config.mode == "status" else verify_lines)(Path(config.output.dir))
        say("\n".join(lines) + "\n")
        return code
    report = job(config)
    if not config.quiet and not config.dry_run:
        say(f"{report.total} inputs: {counts_line(report.counts)} in {escaped(str(report.out))}\n")
        if report.report_path is not None:
            say(f"report: {escaped(str(report.report_path))}\n")
    return report.exit_code
