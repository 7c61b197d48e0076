"""Standard streams as commands find them: closed from the start, or with a reader that goes away."""

from __future__ import annotations

import os
import sys
from contextlib import suppress


def hold_standard_streams() -> None:
    """Open the standard streams that the command was started without (``2>&-``) on the null device.

    The next files to be opened would take their numbers, and what a native library says would end up in a ledger.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - they are to stay open
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def say(text: str) -> None:
    """Write results to stdout; a reader that went away (``| head``) does not change what the run came to."""
    with suppress(BrokenPipeError):
        sys.stdout.write(text)
        sys.stdout.flush()


def settle_standard_streams() -> None:
    """Drop what nobody reads any more: the interpreter would leave with 120 for it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            os.close(null)
