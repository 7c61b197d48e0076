"""One run per output folder: an advisory lock that dies with its process and names it while it lives."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path
from types import TracebackType

from soma_isaac.errors import SomaError

LOCK_NAME = ".lock"


class OutputLocked(SomaError):
    """Another run works in the output folder.

    Args:
        folder: The folder.
        holder: What the lock file says of the other run.
    """

    def __init__(self, folder: str, holder: str) -> None:
        self.folder = folder
        self.holder = holder
        super().__init__(f"another run works in {folder!r} ({holder}); wait for it or choose another output.dir")


class RunLock:
    """Context manager that holds the lock of an output folder.

    The file stays when the lock is released: removing it would let two runs lock two different files of one name.
    ``flock`` rather than a pid check, so that a run that was killed leaves no lock behind.

    Args:
        folder: The output folder, which exists.

    Raises:
        OutputLocked: On entering, another process holds the lock.
        OSError: On entering, the lock file cannot be made or the file system has no locks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptor = -1

    def __enter__(self) -> RunLock:
        path = self._folder / LOCK_NAME
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._holder()
            self._close()
            raise OutputLocked(str(self._folder), holder) from None
        except OSError:
            self._close()
            raise
        try:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        except OSError:
            self._close()
            raise
        return self

    def _holder(self) -> str:
        try:
            fields = json.loads(os.pread(self._descriptor, 4096, 0))
            return f"process {int(fields['pid'])} on host {str(fields['host'])[:64]!r}"
        except (ValueError, KeyError, TypeError):
            return "it has not said its process id yet"

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()
