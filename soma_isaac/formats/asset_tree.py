"""A folder in the layout of the ``nvidia/soma-x`` repository: where each file lies, and whether it is what was fetched.

``python -m soma_isaac.assets fetch`` writes a lock file into the folder: for every file its size and sha256. Files that
the lock lists are verified before they are used; other files (a user's own SMPL model) are used as they are.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from soma_isaac.errors import InputRejected
from soma_isaac.formats.atomic import sha256_of_file, write_file
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.limits import ReadLimits

LOCK_NAME = "soma_assets.lock.json"
LOCK_VERSION = 1
FETCH_COMMAND = "python -m soma_isaac.assets fetch"
_LFS_MARK = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1024
_LOCK_LIMITS = ReadLimits(file_bytes=4 << 20)
_verified: dict[tuple[str, int, int, str], None] = {}
_verified_lock = threading.Lock()


@dataclass(frozen=True)
class LockedFile:
    """One file as it was fetched.

    Attributes:
        size: Bytes.
        sha256: Hex digest.
        source: What the digest rests on: ``hub sha256``, ``hub git blob`` (SHA-1 of the blob, agreed by the hub), or
            ``first fetch`` where the hub stated nothing.
    """

    size: int
    sha256: str
    source: str


@dataclass(frozen=True)
class AssetLock:
    """What was fetched, from where.

    Attributes:
        repository: E.g. ``nvidia/soma-x``.
        revision: The revision that was asked for, e.g. ``v0.3.4``.
        commit: The commit it stood for at the first fetch.
        files: By path inside the folder, with forward slashes.
    """

    repository: str
    revision: str
    commit: str
    files: Mapping[str, LockedFile]


def checked_relative(name: str, path: str | None = None) -> str:
    """A path inside the folder, as given.

    Raises:
        InputRejected: It is absolute, leaves the folder, or has empty or odd parts.
    """
    parts = PurePosixPath(name).parts
    odd = not parts or "\\" in name or ":" in name or not name.isprintable() or str(PurePosixPath(name)) != name
    if odd or name.startswith("/") or ".." in parts or len(name) > 400:
        raise InputRejected(f"a file is named {name[:80]!r}, which does not stay inside the folder", path)
    return name


def read_lock(root: Path) -> AssetLock | None:
    """The folder's lock; ``None`` where there is none.

    Raises:
        InputRejected: The lock is damaged.
    """
    path = root / LOCK_NAME
    if not path.is_file():
        return None
    source = read_source(path, _LOCK_LIMITS)
    try:
        record = json.loads(source.data)
        if record["version"] != LOCK_VERSION:
            raise InputRejected(f"is a lock of version {record['version']!r}, expected {LOCK_VERSION}", source.path)
        files = {
            checked_relative(name, source.path): LockedFile(
                int(entry["size"]), str(entry["sha256"]), str(entry["source"])
            )
            for name, entry in record["files"].items()
        }
        return AssetLock(str(record["repository"]), str(record["revision"]), str(record["commit"]), files)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputRejected("is a damaged lock; fetch the assets again into an empty folder", source.path) from error


def write_lock(root: Path, lock: AssetLock) -> None:
    """Write the folder's lock, durably.

    Raises:
        OSError: The disk refused.
    """
    record = {
        "version": LOCK_VERSION,
        "repository": lock.repository,
        "revision": lock.revision,
        "commit": lock.commit,
        "files": {
            name: {"size": entry.size, "sha256": entry.sha256, "source": entry.source}
            for name, entry in sorted(lock.files.items())
        },
    }
    write_file(root / LOCK_NAME, (json.dumps(record, indent=1) + "\n").encode())


def require_content(path: Path) -> None:
    """Refuse a git-LFS pointer that stands where the file itself should be.

    Raises:
        InputRejected: It is one, or it cannot be read.
    """
    try:
        if path.stat().st_size > _LFS_POINTER_BYTES:
            return
        with path.open("rb") as stream:
            start = stream.read(len(_LFS_MARK))
    except OSError as error:
        raise InputRejected(f"cannot be read: {error.strerror or error}", str(path)) from error
    if start == _LFS_MARK:
        raise InputRejected(
            f"is a git-LFS pointer, not the file; run git lfs pull in that clone, or {FETCH_COMMAND}", str(path)
        )


def verify(path: Path, expected: LockedFile) -> None:
    """Compare a file with the lock; a file that did not change since is hashed once per process.

    Raises:
        InputRejected: It differs or cannot be read.
    """
    try:
        state = path.stat()
        key = (str(path), state.st_size, state.st_mtime_ns, expected.sha256)
        if key in _verified:
            return
        digest = sha256_of_file(path) if state.st_size == expected.size else ""
    except OSError as error:
        raise InputRejected(f"cannot be read: {error.strerror or error}", str(path)) from error
    if digest != expected.sha256:
        raise InputRejected(
            f"is not what was fetched ({state.st_size} bytes, the lock says {expected.size} and sha256 "
            f"{expected.sha256[:16]}...); remove it and run {FETCH_COMMAND}",
            str(path),
        )
    with _verified_lock:
        _verified[key] = None


class AssetTree:
    """A folder in SOMA-X layout.

    Args:
        root: The folder.

    Raises:
        InputRejected: It is no folder, or its lock is damaged.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise InputRejected(f"is no folder; make one with {FETCH_COMMAND} --to FOLDER", str(root))
        self.root = root
        self.lock = read_lock(root)

    def has(self, relative: str) -> bool:
        """Whether the file is there (or a pointer to it)."""
        return (self.root / relative).is_file()

    def file(self, relative: str, *, purpose: str, origin: str) -> Path:
        """Path of one file, checked.

        Args:
            relative: Path inside the folder, e.g. ``MHR/base_body_lod1.obj``.
            purpose: What it is needed for, e.g. ``the mhr identity model``.
            origin: Where to get it, one sentence.

        Raises:
            InputRejected: It is missing, a git-LFS pointer, or not what was fetched.
        """
        return self.first((relative,), purpose=purpose, origin=origin)

    def first(self, candidates: Sequence[str], *, purpose: str, origin: str) -> Path:
        """The first of several files that is there, checked; see :meth:`file`.

        Raises:
            InputRejected: None is there, or the one that is fails its check.
        """
        for relative in candidates:
            path = self.root / relative
            if not path.is_file():
                continue
            require_content(path)
            if self.lock is not None and relative in self.lock.files:
                verify(path, self.lock.files[relative])
            return path
        names = " or ".join(candidates)
        raise InputRejected(f"lacks {names}, needed for {purpose}; {origin}", str(self.root))
