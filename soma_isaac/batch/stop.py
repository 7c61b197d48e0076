"""Polite signals: the first lets the clips in hand end, the second drops them."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

GRACE_S = 5.0
"""Time [s] for the clips in hand after the first signal."""


class StopRequest:
    """Context manager that catches SIGINT and SIGTERM; main thread only.

    Attributes:
        received: Number of the first signal, ``None`` so far.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._count = 0
        self._previous: dict[int, object] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self.received is None:
            self.received = number

    def grace_s(self) -> float | None:
        """``None`` to go on, otherwise how long the clips in hand may take [s]."""
        if self.received is None:
            return None
        return GRACE_S if self._count == 1 else 0.0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
