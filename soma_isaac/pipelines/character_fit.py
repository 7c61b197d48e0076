"""Which body has a character's bones: from a skeleton file to identity parameters, with what they are worth."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from soma_isaac.errors import InputRejected
from soma_isaac.pipelines.character_fit_config import CharacterFitConfig, check_config
from soma_isaac.pipelines.config import check_command_line
from soma_isaac.pipelines.single_run import run_single, write_results

if TYPE_CHECKING:
    from soma_isaac.learned.shape_inversion import LengthFit
    from soma_isaac.pipelines.character_file import Character

SIZE_IN_DOUBT = 1.2
"""A body that had to be scaled by more, or less than its inverse, to fit the file is worth a word."""


@dataclass(frozen=True, eq=False)
class CharacterFitReport:
    """What was found and written.

    Attributes:
        path: The result.
        record: Its content.
    """

    path: Path
    record: dict[str, Any]


def fit_character(config: CharacterFitConfig) -> CharacterFitReport:
    """Fit one character and write the result.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: The character or a model file cannot be read, or it has too few bones.
        MissingDependency: The identity model needs a package that is not installed.
        OutputConflict: The result is there with other bytes and ``replace`` is not set.
        OSError: The disk refused.
    """
    check_config(config)
    # Imported here so that --help and wrong arguments are answered at once.
    from soma_isaac.body.identities import SomaTarget, load_identity
    from soma_isaac.formats.rig_usd import load_template_rig
    from soma_isaac.learned.shape_inversion import LengthInversion
    from soma_isaac.pipelines.character_file import read_character

    source = Path(config.source or "").expanduser()
    path = Path(config.output.dir).expanduser() / f"{source.stem}.{config.model}.json"
    character = read_character(source)
    unit = None
    if config.known_size:
        if character.metres_per_unit is None:
            raise InputRejected("states no unit; leave known_size=false", str(source))
        unit = character.metres_per_unit
    options = {"local_changes": False} if config.model == "anny" else {}
    target = SomaTarget.of(load_template_rig(), "low")
    model = load_identity(config.model, target, assets=config.assets, model_path=config.model_path, **options)
    try:
        fit = LengthInversion(model).fit(joints=character.joints[None], metres_per_unit=unit, noise=config.noise)
    except InputRejected as error:
        raise InputRejected(error.reason, str(source)) from error
    record = fit_record(character, fit, config.model, source.name)
    data = (json.dumps(record, indent=2, allow_nan=False) + "\n").encode("ascii")
    write_results([(path, data)], config.replace, [source])
    return CharacterFitReport(path, record)


def fit_record(character: Character, fit: LengthFit, model: str, source: str) -> dict[str, Any]:
    """The result as JSON values; lengths in the file's unit, missing ones left out."""
    from soma_isaac.learned.shape_features import SEGMENT_NAMES

    values = fit.coefficients[0] if fit.scales is None else np.concatenate([fit.coefficients[0], fit.scales[0]])
    parameters = {
        name: {
            "value": round(float(values[k]), 5),
            "std": round(float(fit.posterior_std[0, k]), 5),
            "observable": bool(fit.observable[0, k]),
            "at_bound": bool(fit.at_bounds[0, k]),
        }
        for k, name in enumerate(fit.names)
    }
    lengths = {
        name: {"body": round(float(fit.lengths[0, k]), 6), "error": round(float(fit.length_error[0, k]), 6)}
        for k, name in enumerate(SEGMENT_NAMES)
        if np.isfinite(fit.length_error[0, k])
    }
    seen = np.abs(fit.length_error[0][np.isfinite(fit.length_error[0])])
    size = float(fit.size[0])
    known = character.metres_per_unit
    return {
        "source": source,
        "model": model,
        "coefficients": [round(float(value), 5) for value in fit.coefficients[0]],
        "scales": None if fit.scales is None else [round(float(value), 5) for value in fit.scales[0]],
        "units_per_metre_of_body": float(f"{size:.6g}"),
        "body_scale": None if known is None else float(f"{size * known:.6g}"),
        "parameters": parameters,
        "lengths": lengths,
        "mean_length_error": round(float(seen.mean()), 6),
        "largest_length_error": round(float(seen.max()), 6),
        "noise": round(float(fit.noise[0]), 6),
        "deviation": round(float(fit.deviation[0]), 3),
        "converged": bool(fit.converged[0]),
        "notes": list(character.notes),
    }


def report_lines(report: CharacterFitReport) -> list[str]:
    """What the command says: the parameters that bones tell, the others by name, and how well the lengths fit."""
    record = report.record
    told = [
        f"{name} {entry['value']:.3f} +- {entry['std']:.3f}"
        for name, entry in record["parameters"].items()
        if entry["observable"]
    ]
    others = [name for name, entry in record["parameters"].items() if not entry["observable"]]
    more = f" and {len(others) - 8} more" if len(others) > 8 else ""
    scale = record["body_scale"]
    doubt = scale is not None and not 1.0 / SIZE_IN_DOUBT < scale < SIZE_IN_DOUBT
    return [
        f"{record['model']}: {', '.join(told) or 'nothing observable'}",
        f"not observable from these bones: {', '.join(others[:8]) or 'none'}{more}",
        f"{len(record['lengths'])} lengths: {100 * record['mean_length_error']:.2f} % off in the mean, "
        f"{100 * record['largest_length_error']:.2f} % at most; {record['units_per_metre_of_body']:g} units per metre",
        *([f"by its file's unit the character is {scale:g} times this body; known_size=true counts size"] * doubt),
        str(report.path),
    ]


def fit_character_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("fit_character_schema", CharacterFitConfig, arguments)


def fit_character_command(config: DictConfig) -> int:
    """Run what the config asks for; see :func:`~soma_isaac.pipelines.single_run.run_single` for exit codes."""
    return run_single(config, CharacterFitConfig, lambda settings: report_lines(fit_character(settings)))
