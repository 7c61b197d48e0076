"""Find every file under the source: each becomes an input, a skipped one or a rejected one; none is passed over."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from soma_isaac.batch.names import name_problem
from soma_isaac.batch.plan import FoundInput
from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import sha256_of_file


@dataclass(frozen=True)
class InputRules:
    """Which files are inputs.

    Attributes:
        suffixes: Suffixes (lower case, with dot) that are read.
        refused: Suffixes of motion files that are refused, with the reason.
        skipped_name: Rule for names that are no motion although the suffix is read; gives the rule or ``None``.
    """

    suffixes: tuple[str, ...]
    refused: Mapping[str, str] = field(default_factory=dict)
    skipped_name: Callable[[str], str | None] = lambda name: None


def discover(source: Path, rules: InputRules, out: Path | None = None) -> list[FoundInput]:
    """Find and digest the inputs.

    Args:
        source: A folder, searched to the bottom, or one file.
        rules: What is an input.
        out: The output folder, left out where it lies inside the source.

    Returns:
        One item per file, unsorted.

    Raises:
        InputRejected: The source does not exist or is neither folder nor file.
        OSError: The source folder cannot be listed.
    """
    if source.is_file():
        return [_judge(source, source.name, source.parent.resolve(), rules, named_by_user=True)]
    if not source.is_dir():
        raise InputRejected("no such folder or file; source.path= takes a folder of clips or one clip", str(source))
    root = source.resolve()
    barred = None if out is None else out.resolve()
    return [_judge(path, relative, root, rules) for path, relative in _files(root, "", barred)]


def _files(folder: Path, prefix: str, barred: Path | None) -> Iterator[tuple[Path, str]]:
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        path = folder / entry.name
        relative = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            if path != barred:
                yield from _files(path, relative + "/", barred)
        else:
            yield path, relative


def _judge(path: Path, relative: str, root: Path, rules: InputRules, named_by_user: bool = False) -> FoundInput:
    """Decide on one file; only what will be converted is opened."""
    try:
        target = path.resolve(strict=True)
        status = target.stat()
    except (OSError, RuntimeError):
        return FoundInput(relative, 0, "", "rejected", "a link that leads nowhere")
    size = status.st_size if stat.S_ISREG(status.st_mode) else 0
    inside = named_by_user or target.is_relative_to(root)
    verdict = _verdict(relative, status.st_mode, inside, rules)
    if verdict is not None:
        return FoundInput(relative, size, "", *verdict)
    try:
        return FoundInput(relative, size, sha256_of_file(path))
    except OSError as error:
        return FoundInput(relative, size, "", "rejected", f"cannot be read: {error.strerror}")


def _verdict(relative: str, mode: int, inside: bool, rules: InputRules) -> tuple[str, str] | None:
    name = relative.rpartition("/")[2]
    suffix = os.path.splitext(name)[1].lower()
    if stat.S_ISDIR(mode):
        if inside:
            return "skipped", "a link to a folder of the source; its clips are found there"
        return "rejected", "a link to a folder outside the source; give that folder as source.path"
    if name.startswith("."):
        return "skipped", "hidden files are not read"
    if suffix in rules.refused:
        return "rejected", rules.refused[suffix]
    if suffix not in rules.suffixes:
        return "skipped", f"not one of the motion formats {', '.join(rules.suffixes)}"
    if not stat.S_ISREG(mode):
        return "rejected", "not a regular file"
    if not inside:
        return "rejected", "a link to a file outside the source; copy it or give its folder as source.path"
    problem = name_problem(relative)
    if problem is not None:
        return "rejected", problem
    rule = rules.skipped_name(name)
    return None if rule is None else ("skipped", rule)
