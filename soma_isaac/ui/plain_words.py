"""Errors in words that can stand in a panel."""

from __future__ import annotations

from soma_isaac.errors import SomaError

SHOWABLE_ERRORS = (SomaError, OSError, ValueError, RuntimeError, ImportError, MemoryError)
"""What work in the background may end with and still be shown; anything else is a fault of the program."""


def plain_words(error: BaseException) -> str:
    """One sentence for a user.

    Args:
        error: What went wrong.
    """
    if isinstance(error, SomaError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return f"{error.filename!r} does not exist."
    if isinstance(error, PermissionError):
        return f"{error.filename!r} may not be read or written by you."
    if isinstance(error, OSError):
        place = "" if error.filename is None else f" ({error.filename!r})"
        return f"The disk refused: {error.strerror or error}{place}."
    if isinstance(error, MemoryError):
        return "There is not enough memory for this; choose a lower level of detail."
    if isinstance(error, ImportError):
        return f"A package is missing: {error}."
    return f"This did not work ({type(error).__name__}: {error})."
