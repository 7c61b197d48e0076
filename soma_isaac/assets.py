"""SOMA-X assets: ``python -m soma_isaac.assets fetch | status | import-smpl``.

Nothing is ever downloaded by a constructor or at import, only by ``fetch``. It takes the files of ``nvidia/soma-x`` at
a pinned revision through ``huggingface_hub`` (which resumes broken downloads and shows progress), compares each with
the digest that the hub itself states (sha256 for LFS files, the git blob id for the others), and records sha256, size
and commit in a lock file. The first fetch is trusted; afterwards the lock is: another commit under the same
revision, or other bytes, is refused.
"""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from soma_isaac.errors import InputRejected, MissingDependency, OutputConflict, SomaError
from soma_isaac.formats.asset_tree import (
    LOCK_NAME,
    AssetLock,
    AssetTree,
    LockedFile,
    checked_relative,
    read_lock,
    verify,
    write_lock,
)
from soma_isaac.formats.atomic import sha256_of_file, write_file
from soma_isaac.formats.smpl_model import SMPL_KINDS, read_smpl_model, smpl_npz_bytes

REPOSITORY = "nvidia/soma-x"
REVISION = "v0.3.4"
"""The tag that py-soma-x 0.3.4 pins. (anny pins commit 6db1b4e8d737db240e680ca5358ae2897f2d9427, the v0.1.0 assets.)"""

PARTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "core": ("SOMA_neutral.npz", "SOMA_template_rig.usda", "SOMA_procedural_transforms.json"),
        "correctives": ("correctives_model.pt",),
        "anny": ("Anny/*.obj",),
        "mhr": ("MHR/*",),
        "smpl": ("SMPL/*.obj",),
        "smplx": ("SMPLX/*.obj",),
        "garment": ("GarmentMeasurements/*.obj",),
        "hands": ("MANO/*.obj", "SOMAHand.npz"),
    }
)
"""What can be fetched by itself. Licensed models (SMPL, SMPL-X, MANO, GarmentMeasurements' point.pca) are in none."""

ENVIRONMENT = "SOMA_ISAAC_ASSETS"
_INSTALL = "pip install 'soma_isaac[assets]'"
_BLOCK = 1 << 20
EXIT_REFUSED = 4


@dataclass(frozen=True)
class RemoteFile:
    """One file as the hub describes it.

    Attributes:
        name: Path in the repository.
        size: Bytes, if stated.
        sha256: Digest of an LFS file, if it is one.
        blob: Git blob id (SHA-1), if stated.
    """

    name: str
    size: int | None
    sha256: str | None
    blob: str | None


@dataclass(frozen=True)
class Hub:
    """The two things that are asked of the hub, so that tests can stand in for it.

    Attributes:
        describe: Revision -> commit and files.
        download: Name, commit, folder -> path of the file in that folder.
        failures: Exceptions of the transport.
    """

    describe: Callable[[str], tuple[str, list[RemoteFile]]]
    download: Callable[[str, str, Path], Path]
    failures: tuple[type[BaseException], ...]


def default_assets() -> Path:
    """The folder that ``fetch`` fills unless told otherwise: ``$SOMA_ISAAC_ASSETS``, else one in the user's cache."""
    if named := os.environ.get(ENVIRONMENT):
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "soma_isaac" / f"soma-x-{REVISION}"


def hugging_face_hub() -> Hub:
    """The real hub.

    Raises:
        MissingDependency: ``huggingface_hub`` is not installed.
    """
    try:
        from huggingface_hub import HfApi, hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError
    except ImportError as error:
        raise MissingDependency("huggingface_hub", "fetching assets", _INSTALL) from error

    def describe(revision: str) -> tuple[str, list[RemoteFile]]:
        info: Any = HfApi().model_info(REPOSITORY, revision=revision, files_metadata=True)
        files = [
            RemoteFile(item.rfilename, item.size, item.lfs.sha256 if item.lfs else None, item.blob_id)
            for item in info.siblings or ()
        ]
        return str(info.sha), files

    def download(name: str, commit: str, folder: Path) -> Path:
        return Path(hf_hub_download(REPOSITORY, name, revision=commit, local_dir=folder))

    # its errors derive from those of whatever HTTP client this version uses
    return Hub(describe, download, (OSError, *HfHubHTTPError.__bases__))


def fetch(
    folder: Path,
    *,
    parts: Sequence[str] = tuple(PARTS),
    revision: str = REVISION,
    hub: Hub | None = None,
    report: Callable[[str], None] = lambda line: None,
) -> AssetLock:
    """Download parts of the assets, check every file, and record it.

    Args:
        folder: Where the assets go; made if it is missing.
        parts: Keys of :data:`PARTS`.
        revision: Tag or commit of the repository.
        hub: Stand-in for tests; the real hub by default.
        report: Takes one line per file.

    Returns:
        The lock, as written.

    Raises:
        MissingDependency: ``huggingface_hub`` is not installed.
        InputRejected: A part is unknown, the hub cannot be reached, or bytes are not what was stated or recorded.
        OutputConflict: The folder holds another revision, or the revision's commit is another one now.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise InputRejected(f"no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    hub = hugging_face_hub() if hub is None else hub
    folder.mkdir(parents=True, exist_ok=True)
    old = read_lock(folder)
    try:
        commit, remote = hub.describe(revision)
    except hub.failures as error:
        raise _unreachable(folder, error) from error
    _check_same_source(folder, old, revision, commit)
    patterns = [pattern for part in parts for pattern in PARTS[part]]
    wanted = [item for item in remote if any(fnmatch.fnmatchcase(item.name, pattern) for pattern in patterns)]
    absent = [p for p in patterns if not any(fnmatch.fnmatchcase(item.name, p) for item in remote)]
    if absent:
        report(f"revision {revision} has no {', '.join(absent)}")
    files = dict(old.files) if old is not None else {}
    lock = AssetLock(REPOSITORY, revision, commit, files)
    for item in wanted:
        name = checked_relative(item.name)
        entry = _fetch_one(hub, item, commit, folder, files.get(name))
        if files.get(name) != entry:
            files[name] = entry
            write_lock(folder, lock)  # after every file: what is there is known, also when the next one fails
        report(f"{name}: {entry.size} bytes, sha256 {entry.sha256[:16]}..., checked against the {entry.source}")
    return lock


def _fetch_one(hub: Hub, item: RemoteFile, commit: str, folder: Path, known: LockedFile | None) -> LockedFile:
    path = folder / item.name
    if known is not None and path.is_file():
        verify(path, known)
        return known
    try:
        path = hub.download(item.name, commit, folder)
    except hub.failures as error:
        raise _unreachable(folder, error) from error
    if path.resolve() != (folder / item.name).resolve():
        raise InputRejected(f"was downloaded to {str(path)!r}, outside its place", item.name)
    entry = _checked(path, item)
    if known is not None and entry.sha256 != known.sha256:
        raise InputRejected(
            f"is not what was fetched first (sha256 {entry.sha256} now, {known.sha256} then)", str(path)
        )
    return entry if known is None else known


def _checked(path: Path, item: RemoteFile) -> LockedFile:
    """Digest of a downloaded file after comparing it with what the hub states; a wrong file is removed."""
    size = path.stat().st_size
    digest = sha256_of_file(path)
    if item.sha256 is not None:
        source, fits = "hub sha256", digest == item.sha256
    elif item.blob is not None:
        source, fits = "hub git blob", _git_blob(path, size) == item.blob
    else:
        source, fits = "first fetch", True
    if not fits or item.size not in (None, size):
        path.unlink()
        raise InputRejected(
            f"was downloaded with {size} bytes and sha256 {digest}, the hub states {item.size} bytes and "
            f"{item.sha256 or item.blob}; it was removed, fetch again",
            str(path),
        )
    return LockedFile(size, digest, source)


def _git_blob(path: Path, size: int) -> str:
    digest = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _check_same_source(folder: Path, old: AssetLock | None, revision: str, commit: str) -> None:
    if old is None:
        return
    if (old.repository, old.revision) != (REPOSITORY, revision):
        raise OutputConflict(
            f"{str(folder)!r} holds {old.repository} at {old.revision}; fetch {revision} into another folder (--to)"
        )
    if old.commit != commit:
        raise OutputConflict(
            f"revision {revision} was commit {old.commit} at the first fetch and is {commit} now; tags should not "
            f"move: find out why, then fetch into an empty folder"
        )


def _unreachable(folder: Path, error: BaseException) -> InputRejected:
    return InputRejected(
        f"huggingface.co cannot be reached or refused ({type(error).__name__}: {str(error)[:200]}). With a network, "
        f"run the same command again: what is complete is kept, what is not is resumed. Without one, fetch on another "
        f"machine and copy the folder, {LOCK_NAME} included, to {str(folder)!r}; give any folder in SOMA-X layout with "
        f"assets=PATH"
    )


def status(folder: Path) -> tuple[list[str], bool]:
    """Verify a folder against its lock.

    Returns:
        Lines to show, and whether everything that the lock lists is there and unchanged.

    Raises:
        InputRejected: There is no such folder, or its lock is damaged.
    """
    tree = AssetTree(folder)
    if tree.lock is None:
        return [f"{str(folder)!r} has no {LOCK_NAME}: its files are used as they are"], True
    lines = [f"{tree.lock.repository} at {tree.lock.revision} (commit {tree.lock.commit})"]
    sound = True
    for name in tree.lock.files:
        try:
            verify(tree.root / name, tree.lock.files[name])
            lines.append(f"ok       {name}")
        except InputRejected as error:
            sound = False
            lines.append(f"changed  {name}: {error.reason}" if tree.has(name) else f"missing  {name}")
    return lines, sound


def import_smpl(source: Path, kind: str, target: Path) -> None:
    """Turn a model file (``.pkl`` or ``.npz``) into an npz with the same names, so that the pickle is read once.

    Raises:
        InputRejected: The source is not what we accept.
        OutputConflict: The target exists.
        OSError: The disk refused.
    """
    if target.exists():
        raise OutputConflict(f"{str(target)!r} exists already")
    write_file(target, smpl_npz_bytes(read_smpl_model(source, kind)))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 done, 2 usage, 4 refused."""
    parser = argparse.ArgumentParser(prog="python -m soma_isaac.assets", description="SOMA-X assets")
    verbs = parser.add_subparsers(dest="verb", required=True)
    fetcher = verbs.add_parser("fetch", help=f"download {REPOSITORY} at {REVISION}")
    fetcher.add_argument(
        "--only",
        nargs="+",
        choices=tuple(PARTS),
        default=tuple(PARTS),
        metavar="PART",
        help=f"{', '.join(PARTS)}; all of them by default, about 1 GB, most of it mhr",
    )
    fetcher.add_argument("--revision", default=REVISION, help="tag or commit; the default is the pinned one")
    for verb in (fetcher, verbs.add_parser("status", help="verify a folder against its lock")):
        verb.add_argument(
            "--to",
            type=Path,
            default=default_assets(),
            metavar="FOLDER",
            help="default: " + str(default_assets()).replace("%", "%%"),
        )
    importer = verbs.add_parser("import-smpl", help="turn a model .pkl into .npz without unpickling it")
    importer.add_argument("source", type=Path)
    importer.add_argument("target", type=Path)
    importer.add_argument("--kind", choices=tuple(SMPL_KINDS), default="smpl")
    given = parser.parse_args(arguments)
    try:
        return _run(given)
    except (SomaError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_REFUSED


def _run(given: argparse.Namespace) -> int:
    def show(line: str) -> None:
        sys.stdout.write(line + "\n")

    if given.verb == "fetch":
        lock = fetch(given.to, parts=given.only, revision=given.revision, report=show)
        show(f"{len(lock.files)} files in {str(given.to)!r}")
        return 0
    if given.verb == "import-smpl":
        import_smpl(given.source, given.kind, given.target)
        return 0
    lines, sound = status(given.to)
    show("\n".join(lines))
    return 0 if sound else EXIT_REFUSED


if __name__ == "__main__":
    sys.exit(main())
