"""The errors that soma_isaac raises on purpose.

Every error names what was given, what would have been accepted, and what to do about it. Offending
data are attributes, so that a ledger or a panel can show them without parsing the message.
"""

from __future__ import annotations


class SomaError(Exception):
    """Base of every error that soma_isaac raises on purpose."""


class InputRejected(SomaError):
    """A file or value from outside is not what it claims to be, or not what we accept.

    Args:
        reason: What is wrong and what would be accepted, one sentence.
        path: The file, as given by the user, if the value came from one.
    """

    def __init__(self, reason: str, path: str | None = None) -> None:
        self.reason = reason
        self.path = path
        super().__init__(f"{path!r}: {reason}" if path is not None else reason)

    def __reduce__(self) -> tuple[type[InputRejected], tuple[str, str | None]]:
        return type(self), (self.reason, self.path)


class MissingDependency(SomaError):
    """An optional package is needed for what was asked.

    Args:
        package: The distribution's name on PyPI.
        purpose: What it is needed for.
        install: The command that installs it.
    """

    def __init__(self, package: str, purpose: str, install: str) -> None:
        self.package = package
        self.purpose = purpose
        self.install = install
        super().__init__(f"{purpose} needs the package {package!r}: {install}")

    def __reduce__(self) -> tuple[type[MissingDependency], tuple[str, str, str]]:
        return type(self), (self.package, self.purpose, self.install)


class RigMismatch(SomaError):
    """A rig, mesh or skeleton does not fit the one it is used with."""


class SolveFailed(SomaError):
    """A numerical solve did not reach a usable result.

    Args:
        reason: What failed, with the figures that show it.
        frame: First offending frame, if one can be named.
    """

    def __init__(self, reason: str, frame: int | None = None) -> None:
        self.reason = reason
        self.frame = frame
        super().__init__(reason if frame is None else f"frame {frame}: {reason}")

    def __reduce__(self) -> tuple[type[SolveFailed], tuple[str, int | None]]:
        return type(self), (self.reason, self.frame)


class OutputConflict(SomaError):
    """Two inputs claim one output, or an output exists with other bytes and may not be replaced."""
