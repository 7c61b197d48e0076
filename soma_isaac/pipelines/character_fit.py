"""Which body has a character's bones: from a skeleton file to identity parameters, with what they are worth."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from soma_isaac.batch.names import escaped
from soma_isaac.errors import InputRejected, OutputConflict, SomaError
from soma_isaac.pipelines.character_fit_config import CharacterFitConfig, check_config
from soma_isaac.pipelines.config import EXIT_USAGE, ConfigRefused, check_command_line, config_object
from soma_isaac.pipelines.warp_log import hush_warp

if TYPE_CHECKING:
    from soma_isaac.learned.shape_inversion import LengthFit
    from soma_isaac.pipelines.character_file import Character

EXIT_INFRASTRUCTURE = 4
USAGE_ERRORS = (ConfigRefused, InputRejected, OutputConflict)


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
    from soma_isaac.formats.atomic import write_file
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
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise OutputConflict(f"{str(path)!r} is a folder or a link; name another output.dir=")
    if path.is_file() and path.read_bytes() != data and not config.replace:
        raise OutputConflict(f"{str(path)!r} exists with other bytes; name another output.dir= or add replace=true")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
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
    return [
        f"{record['model']}: {', '.join(told) or 'nothing observable'}",
        f"not observable from these bones: {', '.join(others[:8]) or 'none'}{more}",
        f"{len(record['lengths'])} lengths: {100 * record['mean_length_error']:.2f} % off in the mean, "
        f"{100 * record['largest_length_error']:.2f} % at most; {record['units_per_metre_of_body']:g} units per metre",
        str(report.path),
    ]


def fit_character_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("fit_character_schema", CharacterFitConfig, arguments)


def fit_character_command(config: DictConfig) -> int:
    """Run what the config asks for; the result on stdout, errors on stderr.

    Returns:
        0 done, 2 usage, input or output refused, 4 infrastructure.
    """
    hush_warp()
    try:
        report = fit_character(config_object(config, CharacterFitConfig))
    except USAGE_ERRORS as error:
        return _refuse(error, EXIT_USAGE)
    except (SomaError, OSError) as error:
        return _refuse(error, EXIT_INFRASTRUCTURE)
    sys.stdout.write("".join(f"{escaped(line)}\n" for line in report_lines(report)))
    return 0


def _refuse(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {escaped(str(error))}\n")
    return code
