"""Names that come from outside: which of them we accept as output names, and how they are shown."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from soma_isaac.formats.atomic import NAME_BYTES_MAX

PATH_BYTES_MAX = 1024
"""Longest relative path [bytes]; far below the 4096 of Linux, so that OUT and a format folder fit before it."""

_RESERVED = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)


def escaped(text: str) -> str:
    """``text`` as one line: what is not printable (escape sequences, newlines, bidi overrides) as Python escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode("ascii") for c in text)


def shown(name: str, limit: int = 160) -> str:
    """A foreign name for terminals and logs: `escaped`, backslashes doubled, without its middle if long."""
    text = escaped(name.replace("\\", "\\\\"))
    if len(text) > limit:
        half = (limit - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return text


def name_problem(relative: str) -> str | None:
    """Why ``relative`` (a path with ``/``) cannot name an output on every usual file system, or ``None`` if it can."""
    if not relative or relative.startswith("/"):
        return "the name is empty or absolute"
    try:
        size = len(relative.encode("utf-8"))
    except UnicodeEncodeError:
        return "the name is not valid UTF-8; rename the file"
    if size > PATH_BYTES_MAX:
        return f"the relative path is longer than {PATH_BYTES_MAX} bytes; rename or move the file"
    for part in relative.split("/"):
        problem = _part_problem(part)
        if problem is not None:
            return f"the name part '{shown(part, 60)}' {problem}; rename it"
    return None


def _part_problem(part: str) -> str | None:
    if part in ("", ".", ".."):
        return "leads elsewhere"
    if any(unicodedata.category(c) == "Cc" for c in part):
        return "holds control characters"
    if any(c in '\\:*?"<>|' for c in part):
        return 'holds one of \\ : * ? " < > |, which not every file system can store'
    if part[-1] in ". ":
        return "ends with a dot or a space"
    if _RESERVED.fullmatch(part):
        return "is reserved on Windows"
    if len(part.encode("utf-8")) > NAME_BYTES_MAX:
        return f"is longer than {NAME_BYTES_MAX} bytes"
    return None


def folded(name: str) -> str:
    """``name`` as a file system that ignores case and Unicode composition sees it."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def collisions(claims: Iterable[tuple[str, str]]) -> list[tuple[str, str, str]]:
    """Outputs that more than one input claims.

    Args:
        claims: Pairs of an output's relative path and the input that claims it.

    Returns:
        Triples (output, first input, second input): the same output up to case and Unicode composition, or one
        output lying where another needs a folder.
    """
    claimants: dict[str, str] = {}
    found = []
    ordered = list(claims)
    for output, claimant in ordered:
        first = claimants.setdefault(folded(output), claimant)
        if first != claimant:
            found.append((output, first, claimant))
    for output, claimant in ordered:
        key = folded(output)
        while "/" in key:
            key = key.rpartition("/")[0]
            if key in claimants:
                found.append((output, claimants[key], claimant))
    return found
