"""Durable writes: a file appears whole under its name or not at all, also when the machine dies.

The bytes go to ``.name.pid.token.tmp`` in the same folder, are fsynced, and only then take their name (`publish`),
which fsyncs the folder. Whoever stages need not be the one who publishes: in a batch the workers stage and the
parent publishes, so that nothing under a final name is unknown to the ledger's writer for longer than one rename.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from pathlib import Path

from soma_isaac.errors import OutputConflict

NAME_BYTES_MAX = 200
"""Longest name [bytes] of an output: with the decoration of a staged file it still fits the usual 255."""

_STAGED_NAME = re.compile(r"\.(?P<name>.+)\.(?P<pid>\d{1,10})\.(?P<token>[0-9a-f]{16})\.tmp", re.DOTALL)


def is_staged_name(name: str) -> bool:
    """Whether ``name`` (no folder) is one that `stage` gives."""
    return _STAGED_NAME.fullmatch(name) is not None


def sha256_of_bytes(data: bytes) -> str:
    """sha256 of ``data``, hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """sha256 of a file's bytes, hex, read in blocks.

    Raises:
        OSError: The file cannot be read.
    """
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def staged_path(final: Path) -> Path:
    """A new name beside ``final`` for bytes that are not to be seen yet."""
    return final.with_name(f".{final.name}.{os.getpid()}.{secrets.token_hex(8)}.tmp")


def stage(final: Path, data: bytes) -> Path:
    """Write ``data`` beside ``final`` under a staged name and fsync it; ``final`` itself is not touched.

    Args:
        final: The name the file shall have once published; its folder exists.
        data: All bytes of the file.

    Returns:
        The staged file.

    Raises:
        OSError: The disk refused (full, read-only, I/O error); nothing is left behind where the disk allows that.
    """
    staged = staged_path(final)
    descriptor = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o644)
    try:
        try:
            write_all(descriptor, data)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        discard(staged)
        error.filename = error.filename or str(final)  # a failing write knows no name
        raise
    return staged


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte of ``data``: the operating system may take them in parts.

    Raises:
        OSError: The disk refused.
    """
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def publish(staged: Path, final: Path) -> None:
    """Give a staged file its name, replacing what has that name, and make the rename durable.

    Raises:
        OSError: The disk refused; the old file, if there was one, is whole.
    """
    os.replace(staged, final)
    fsync_folder(final.parent)


def discard(staged: Path) -> None:
    """Remove a staged file if the disk lets us; a leftover is swept by `remove_stale`."""
    try:
        os.unlink(staged)
    except OSError:
        return


def write_file(final: Path, data: bytes) -> None:
    """Stage and publish in one go.

    Raises:
        OSError: The disk refused; ``final`` is what it was before.
    """
    staged = stage(final, data)
    try:
        publish(staged, final)
    except OSError:
        discard(staged)
        raise


def fsync_folder(folder: Path) -> None:
    """Make the entries of ``folder`` durable.

    Raises:
        OSError: The disk refused.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def folder_inside(root: Path, relative: str) -> Path:
    """Make (durably) the folder ``relative`` under ``root``, which exists, and return its path.

    Raises:
        OutputConflict: A component is a link or a file, so that output would land elsewhere or nowhere.
        OSError: The disk refused.
    """
    folder = root
    for part in Path(relative).parts:
        if part in ("..", os.sep):
            raise OutputConflict(f"the folder {relative!r} leads out of the output folder")
        parent, folder = folder, folder / part
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise OutputConflict(f"{str(folder)!r} is a link or a file; an output folder has to be there")
        if not folder.is_dir():
            try:
                os.mkdir(folder)
            except FileExistsError:
                continue  # another worker of this run was faster
            fsync_folder(parent)
    return folder


def remove_stale(root: Path) -> int:
    """Remove every staged file under ``root``, as left by a run that was killed; links are not followed.

    Returns:
        How many were removed.

    Raises:
        OSError: A staged file cannot be removed.
    """
    removed = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if is_staged_name(name):
                os.unlink(os.path.join(folder, name))
                removed += 1
    return removed
