"""Hydra's side of the commands: schemas, errors that name the nearest key, the resolved config with its digest."""

from __future__ import annotations

import difflib
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from soma_isaac.batch.names import escaped
from soma_isaac.errors import SomaError
from soma_isaac.pipelines.command_help import HELP_FLAGS, help_text
from soma_isaac.rig.skeleton import data_path

EXIT_USAGE = 2

Schema = TypeVar("Schema")


class ConfigRefused(SomaError):
    """A key or value of the command line or config file is not one that the command knows."""


def register_schema(name: str, schema: type) -> None:
    """Let config files name ``schema`` in their defaults, so that Hydra checks keys and types against it."""
    ConfigStore.instance().store(name=name, node=schema)


def dotted_keys(schema: type, prefix: str = "") -> tuple[str, ...]:
    """Every key of a dataclass and of the dataclasses in it, dotted."""
    keys: list[str] = []
    hints = get_type_hints(schema)
    for item in fields(schema):
        keys.append(prefix + item.name)
        if is_dataclass(hints[item.name]):
            keys.extend(dotted_keys(hints[item.name], f"{prefix}{item.name}."))
    return tuple(keys)


def nearest(name: str, known: Sequence[str]) -> str:
    """A clause that names the known name nearest to ``name``, or all but those in groups if none is near."""
    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if not matches:
        tails = {key.rpartition(".")[2]: key for key in known}
        matches = [tails[tail] for tail in difflib.get_close_matches(name.rpartition(".")[2], list(tails), n=1)]
    if matches:
        return f"did you mean {matches[0]!r}?"
    return f"there are {', '.join(key for key in known if '.' not in key)}"


def check_overrides(arguments: Sequence[str], schema: type) -> None:
    """Refuse command-line arguments that Hydra would refuse, with an error that says what to write instead.

    Args:
        arguments: The command line without the program's name; flags and ``hydra.`` keys are left to Hydra.
        schema: Dataclass of the command.

    Raises:
        ConfigRefused: No override at all, an unknown key, a value of the wrong type, or a sweep.
    """
    known = dotted_keys(schema)
    base = OmegaConf.structured(schema)
    parser = OverridesParser.create()
    for argument in arguments:
        if argument.startswith("-") or argument.lstrip("+~").startswith("hydra"):
            continue
        if "=" not in argument:
            raise ConfigRefused(f"{argument!r} is not key=value; {nearest(argument, known)}")
        key = argument.partition("=")[0]
        if key not in known:
            raise ConfigRefused(f"unknown key {key!r}; {nearest(key.lstrip('+~'), known)}")
        try:
            override = parser.parse_override(argument)
        except HydraException as error:
            raise ConfigRefused(f"{argument!r} cannot be read; quote it as in '{key}=\"a[b]=c.npz\"'") from error
        if override.is_sweep_override():
            raise ConfigRefused(f"{argument!r}: one run takes one value; lists are written [a,b]")
        _try_value(base, key, override.value(), known, repr(argument))


def check_config_file(path: Path, schema: type) -> None:
    """Refuse a config file of the user's (``--config-dir=... --config-name=...``) that Hydra would refuse.

    Args:
        path: The YAML file; its ``defaults`` and ``hydra`` are left to Hydra.
        schema: Dataclass of the command.

    Raises:
        ConfigRefused: The file cannot be read, or a key or a value's type is wrong.
    """
    try:
        values = OmegaConf.to_container(OmegaConf.load(path))
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        raise ConfigRefused(f"{str(path)!r} cannot be read: {' '.join(str(error).split())}") from error
    known, base = dotted_keys(schema), OmegaConf.structured(schema)
    for key, value in values.items() if isinstance(values, dict) else ():
        if key in known:
            _try_value(base, str(key), value, known, f"{key!r} in {str(path)!r}")
        elif key not in ("defaults", "hydra"):
            raise ConfigRefused(f"unknown key {key!r} in {str(path)!r}; {nearest(str(key), known)}")


def _config_file(arguments: Sequence[str]) -> Path | None:
    """The config file that a command line names instead of the command's own."""
    named = dict(
        argument.split("=", 1) for argument in arguments if argument.startswith("--config-") and "=" in argument
    )
    if not {"--config-dir", "--config-name"} <= named.keys():
        return None
    path = Path(named["--config-dir"]) / f"{named['--config-name'].removesuffix('.yaml')}.yaml"
    return path if path.is_file() else None  # Hydra says where it looked


def _try_value(base: DictConfig, key: str, value: object, known: Sequence[str], where: str) -> None:
    for inner in _inner_keys(key, value, known):
        if inner not in known:
            raise ConfigRefused(f"unknown key {inner!r}; {nearest(inner, known)}")
    try:
        OmegaConf.update(base, key, value)
    except (OmegaConfBaseException, OverflowError) as error:
        raise ConfigRefused(f"{where}: {str(error).splitlines()[0]}") from error


def _inner_keys(key: str, value: object, known: Sequence[str]) -> Iterator[str]:
    """Dotted keys that a group's value ``{a: 1, b: {c: 2}}`` sets."""
    if isinstance(value, Mapping) and any(name.startswith(f"{key}.") for name in known):
        for name, inner in value.items():
            yield f"{key}.{name}"
            yield from _inner_keys(f"{key}.{name}", inner, known)


def check_ranges(config: object, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Refuse numbers of a config that are outside their ranges; ``None`` passes.

    Args:
        config: A dataclass.
        ranges: Least and greatest value of each key.

    Raises:
        ConfigRefused: Names the key, the value and the range.
    """
    for key, (low, high) in ranges.items():
        value = getattr(config, key)
        if value is not None and not low <= value <= high:
            raise ConfigRefused(f"{key}: {value!r} is outside {low:g} to {high:g}")


def config_object(config: DictConfig, schema: type[Schema]) -> Schema:
    """The dataclass that a composed config stands for.

    Raises:
        ConfigRefused: It does not fit the schema.
    """
    try:
        return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), config))  # type: ignore[return-value]
    except OmegaConfBaseException as error:
        raise ConfigRefused(str(error).splitlines()[0]) from error


def settings_digest(settings: Mapping[str, Any]) -> str:
    """sha256, hex, of JSON values; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True, allow_nan=False).encode("utf-8")).hexdigest()


def config_yaml(config: object, digest: str) -> bytes:
    """A dataclass as YAML, followed by the digest of what the outputs depend on."""
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    return f"{text}digest: {digest}\n".encode()


def check_command_line(name: str, schema: type, arguments: Sequence[str]) -> None:
    """Register ``schema`` as ``name`` and check the arguments before Hydra sees them; ``--help`` is answered here.

    Args:
        name: ``NAME_schema``; the command's defaults and examples are in ``config/NAME.yaml``.
        schema: Dataclass of the command.
        arguments: The command line without the program's name.

    Raises:
        SystemExit: With 2, after one line on stderr, where an argument is wrong; with 0 after the help.
    """
    if any(flag in arguments for flag in HELP_FLAGS):
        file = data_path("").parent / "config" / f"{name.removesuffix('_schema')}.yaml"
        sys.stdout.write(help_text(schema, file, getattr(sys.modules["__main__"], "__doc__", None) or ""))
        raise SystemExit(0)
    register_schema(name, schema)
    file = _config_file(arguments)
    try:
        if file is not None:
            check_config_file(file, schema)
        check_overrides(arguments, schema)
    except ConfigRefused as error:
        sys.stderr.write(f"error: {escaped(str(error))}\n")
        raise SystemExit(EXIT_USAGE) from error
