"""From a composed Hydra config to an exit code: what ``train_ik.py`` runs."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from omegaconf import DictConfig

from soma_isaac.batch.names import escaped
from soma_isaac.errors import InputRejected, SomaError
from soma_isaac.pipelines.config import EXIT_USAGE, ConfigRefused, check_command_line, config_object
from soma_isaac.pipelines.folder_run import EXIT_INFRASTRUCTURE, EXIT_SIGNAL
from soma_isaac.pipelines.train_ik import TrainIkReport, run_train_ik
from soma_isaac.pipelines.train_ik_config import TrainIkConfig


def train_ik_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("train_ik_schema", TrainIkConfig, arguments)


def train_ik_command(config: DictConfig) -> int:
    """Run what the config asks for; results on stdout, progress and errors on stderr.

    Returns:
        0 trained, 2 usage or data, 4 infrastructure, 130 or 143 stopped by SIGINT or SIGTERM (the same command goes
        on from there).
    """
    try:
        settings = config_object(config, TrainIkConfig)
        report = run_train_ik(settings, sys.stderr)
    except (ConfigRefused, InputRejected) as error:
        return _refuse(error, EXIT_USAGE)
    except (SomaError, OSError) as error:
        return _refuse(error, EXIT_INFRASTRUCTURE)
    except KeyboardInterrupt:  # while reading; while steps are done it is a request, not an exception
        return EXIT_SIGNAL + signal.SIGINT
    sys.stdout.write("\n".join(report_lines(report)) + "\n")
    return report.exit_code


def report_lines(report: TrainIkReport) -> list[str]:
    """What is said at the end."""
    if report.weights is None:
        return [f"stopped after {report.steps} steps; the same command goes on from the checkpoint in {report.out}"]
    lines = [f"{report.steps} steps: {report.weights}"]
    for part, figures in (report.metrics or {}).items():
        for name, values in figures.items():
            lines.append(f"{part}, {name}: MPJPE {values['mpjpe_mm']} mm, PA {values['pa_mpjpe_mm']} mm")
    return lines


def _refuse(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {escaped(str(error))}\n")
    return code
