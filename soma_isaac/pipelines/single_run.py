"""What commands with one result have in common: a file that is not overwritten unasked, and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig

from soma_isaac.batch.names import escaped
from soma_isaac.errors import InputRejected, OutputConflict, SomaError
from soma_isaac.formats.atomic import discard, publish, sha256_of_bytes, sha256_of_file, write_file
from soma_isaac.pipelines.config import EXIT_USAGE, ConfigRefused, config_object
from soma_isaac.pipelines.warp_log import hush_warp

EXIT_INFRASTRUCTURE = 4
USAGE_ERRORS = (ConfigRefused, InputRejected, OutputConflict)

Settings = TypeVar("Settings")


def run_single(config: DictConfig, schema: type[Settings], job: Callable[[Settings], Sequence[str]]) -> int:
    """Run a job; what it says on stdout, errors on stderr.

    Returns:
        0 done, 2 usage, input or output refused, 4 infrastructure.
    """
    hush_warp()
    try:
        lines = job(config_object(config, schema))
    except USAGE_ERRORS as error:
        sys.stderr.write(f"error: {escaped(str(error))}\n")
        return EXIT_USAGE
    except (SomaError, OSError) as error:
        sys.stderr.write(f"error: {escaped(str(error))}\n")
        return EXIT_INFRASTRUCTURE
    sys.stdout.write("".join(f"{escaped(line)}\n" for line in lines))
    return 0


def check_no_input(outputs: Sequence[Path], inputs: Sequence[Path]) -> None:
    """Refuse outputs that are inputs, which ``replace`` must not allow either.

    Raises:
        OutputConflict: One is.
    """
    read = {path.resolve() for path in inputs}
    for path in outputs:
        if path.resolve() in read:
            raise OutputConflict(f"{str(path)!r} is an input; name another output")


def check_free(path: Path, replace: bool) -> None:
    """Refuse at once, before any work, an output that exists; for results that are never made twice with equal bytes.

    Raises:
        OutputConflict: It exists and ``replace`` is not set.
    """
    if os.path.lexists(path) and not replace:
        raise OutputConflict(f"{str(path)!r} exists; name another output or add replace=true")


def check_place(path: Path, data: bytes | Path, replace: bool) -> str:
    """What writing ``data`` to ``path`` would be: ``written``, ``replaced``, or ``unchanged`` where it is there.

    Args:
        path: The output.
        data: Its bytes, or the file that holds them.
        replace: Other bytes may be overwritten.

    Raises:
        OutputConflict: Other bytes are there and ``replace`` is not set, or it is no place for a file.
    """
    if not os.path.lexists(path):
        return "written"
    if path.is_symlink() or not path.is_file():
        raise OutputConflict(f"{str(path)!r} is a folder or a link; name a file")
    digest = sha256_of_file(data) if isinstance(data, Path) else sha256_of_bytes(data)
    if sha256_of_file(path) == digest:
        return "unchanged"
    if not replace:
        raise OutputConflict(f"{str(path)!r} exists with other bytes; name another output or add replace=true")
    return "replaced"


def publish_result(staged: Path, final: Path, replace: bool) -> str:
    """Give a staged file its name unless other bytes have it; it is gone in the end, whatever happens.

    Returns:
        As :func:`check_place`.

    Raises:
        OutputConflict: As :func:`check_place`.
        OSError: The disk refused; ``final`` is what it was before.
    """
    try:
        state = check_place(final, staged, replace)
        if state != "unchanged":
            publish(staged, final)
    finally:
        discard(staged)
    return state


def write_results(files: Sequence[tuple[Path, bytes]], replace: bool, inputs: Sequence[Path] = ()) -> list[str]:
    """Write files, all of them or, where one is refused, none; one line about each.

    Args:
        files: Paths and their bytes.
        replace: Overwrite what has other bytes.
        inputs: What was read; these are never written to.

    Raises:
        OutputConflict: As :func:`check_place`, or a path is an input's.
        OSError: The disk refused.
    """
    check_no_input([path for path, _ in files], inputs)
    states = [check_place(path, data, replace) for path, data in files]
    for (path, data), state in zip(files, states, strict=True):
        if state != "unchanged":
            path.parent.mkdir(parents=True, exist_ok=True)
            write_file(path, data)
    return [f"{path}: {state}, {len(data) / 1e6:.2f} MB" for (path, data), state in zip(files, states, strict=True)]
