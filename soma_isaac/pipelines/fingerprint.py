"""What the bytes of an output depend on besides input and settings: our code, our data, the libraries."""

from __future__ import annotations

import importlib.metadata
import zlib
from pathlib import Path

import soma_isaac
from soma_isaac.batch.plan import content_key
from soma_isaac.formats.atomic import sha256_of_file


def code_digest(parts: tuple[str, ...], data: tuple[Path, ...], distributions: tuple[str, ...]) -> str:
    """Digest of source files, data files and library versions, hex.

    Args:
        parts: Folders or files of the package, relative to it.
        data: Data files that the code reads; a missing one counts as such.
        distributions: Names on PyPI; a missing one counts as such. zlib, which packs npz files, is always in.
    """
    package = Path(soma_isaac.__file__).resolve().parent
    words = [f"zlib {zlib.ZLIB_RUNTIME_VERSION}"]
    for part in parts:
        sources = [package / part] if part.endswith(".py") else sorted((package / part).rglob("*.py"))
        words.extend(f"{source.relative_to(package).as_posix()} {_digest(source)}" for source in sources)
    words.extend(f"{path.name} {_digest(path)}" for path in data)
    words.extend(f"{name} {_version(name)}" for name in distributions)
    return content_key(*words)


def _digest(path: Path) -> str:
    return sha256_of_file(path) if path.is_file() else "missing"


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
