"""Errors in words that can stand in a panel."""

from __future__ import annotations

import re

from soma_isaac.errors import SomaError

SHOWABLE_ERRORS = (SomaError, OSError, ValueError, RuntimeError, ImportError, MemoryError)
"""What work in the background may end with and still be shown; anything else is a fault of the program."""

_KEYS = (
    (r"say where it is with assets=PATH( or model_path=FILE)?", "name the folder in 'Model files'"),
    (r"(add )?replace=true", "switch 'Overwrite' on"),
    (r"output\.dir= takes", "this takes"),
    (r"output\.dir", "folder"),
    (r"^output: ", "File: "),
)
"""Keys of the command line in what the library says, and what they are in a panel."""


def plain_words(error: BaseException) -> str:
    """One sentence for a user.

    Args:
        error: What went wrong.
    """
    if isinstance(error, SomaError):
        return panel_words(str(error))
    if isinstance(error, FileNotFoundError):
        return f"{error.filename!r} does not exist."
    if isinstance(error, PermissionError):
        return f"{error.filename!r} may not be read or written by you."
    if isinstance(error, (FileExistsError, NotADirectoryError)) and error.filename is not None:
        return f"{error.filename!r} is a file where a folder is needed."
    if isinstance(error, OSError):
        place = "" if error.filename is None else f" ({error.filename!r})"
        return f"The disk refused: {error.strerror or error}{place}."
    if isinstance(error, MemoryError):
        return "There is not enough memory for this; choose a lower level of detail."
    if isinstance(error, ImportError):
        return f"A package is missing: {error}."
    return f"This did not work ({type(error).__name__}: {error})."


def panel_words(text: str) -> str:
    """A command's words as a sentence about switches and fields instead of keys.

    Args:
        text: What a command says.
    """
    for key, words in _KEYS:
        text = re.sub(key, words, text)
    return text[:1].upper() + text[1:] + "." * (not text.endswith((".", "!", "?")))
