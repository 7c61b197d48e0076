"""``--help`` of the commands: examples from the config file, and every key with its default and its meaning.

Hydra's own help lists keys and defaults alone. What a key means stands in the docstring of the command's dataclass, and
only there.
"""

from __future__ import annotations

import argparse
import inspect
import json
import re
import textwrap
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from omegaconf import OmegaConf

HELP_FLAGS = ("--help", "-h")
WIDTH = 120
MEANING_COLUMN = 30


def help_text(schema: type, config_file: Path, title: str = "") -> str:
    """What ``--help`` prints.

    Args:
        schema: Dataclass of the command; docstrings of it and of the dataclasses in it say what the keys mean.
        config_file: The command's YAML; the comment on top of it has the examples.
        title: What the command does.
    """
    examples: list[str] = []
    for line in config_file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        examples.append(f"  {line[1:].removeprefix(' ')}".rstrip())
    defaults = OmegaConf.to_container(OmegaConf.structured(schema))
    parts = [
        plain(title.strip()),
        "\n".join(examples),
        "Keys and their defaults:",
        "\n".join(entries(schema, defaults)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def entries(schema: type, defaults: Any, prefix: str = "") -> list[str]:
    """One entry per key of a dataclass and of those in it: ``key=default`` and what the key means.

    Args:
        schema: The dataclass.
        defaults: Its default values; a group's may differ from those of its class.
        prefix: Dotted name of the group.
    """
    meanings, hints, lines = attribute_meanings(schema), get_type_hints(schema), []
    for item in fields(schema):
        key, value = prefix + item.name, defaults[item.name]
        if is_dataclass(hints[item.name]):
            lines += entries(hints[item.name], value, f"{key}.")
        else:
            lines.append(_entry(f"{key}={_shown(value)}", meanings.get(item.name, "")))
    return lines


def attribute_meanings(schema: type) -> dict[str, str]:
    """What the ``Attributes:`` sections of a class and its bases say, by attribute."""
    found: dict[str, str] = {}
    for each in reversed(schema.__mro__):
        section = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2]
        for entry in re.split(r"\n(?=    \w)", f"\n{section}"):
            name, separator, meaning = entry.strip().partition(":")
            if separator and name.isidentifier():
                found[name] = plain(" ".join(meaning.split()))
    return found


def add_options(parser: argparse.ArgumentParser, defaults: Any) -> None:
    """Give a parser an option per field of a dataclass instance, with its value as default and its meaning as help."""
    meanings = attribute_meanings(type(defaults))
    for item in fields(defaults):
        value = getattr(defaults, item.name)
        flag = f"--{item.name.replace('_', '-')}"
        parser.add_argument(flag, type=type(value), default=value, help=meanings.get(item.name))


def plain(text: str) -> str:
    """Text without the marks of reStructuredText: roles keep the last name, code keeps its words."""
    return re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"\1", text).replace("`", "")


def _shown(value: Any) -> str:
    """A default as it would be typed."""
    if isinstance(value, str):
        return value if value else "''"
    return json.dumps(value).replace('"', "").replace(", ", ",")


def _entry(start: str, meaning: str) -> str:
    margin = " " * MEANING_COLUMN
    lines = textwrap.wrap(meaning, WIDTH, initial_indent=margin, subsequent_indent=margin)
    if lines and len(start) + 4 <= MEANING_COLUMN:
        lines[0] = f"  {start}".ljust(MEANING_COLUMN) + lines[0].lstrip()
        return "\n".join(lines)
    return "\n".join([f"  {start}", *lines])
