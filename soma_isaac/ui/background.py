"""Work off the UI thread of which only the newest request counts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from soma_isaac.ui.plain_words import SHOWABLE_ERRORS, plain_words

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

CLOSE_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Reply(Generic[Asked, Answer]):
    """What came of a request.

    Attributes:
        asked: The request.
        answer: The result, ``None`` if it failed.
        error: What went wrong in plain words, empty if nothing did.
    """

    asked: Asked
    answer: Answer | None
    error: str = ""


class LatestWorker(Generic[Asked, Answer]):
    """One thread that works on the newest request; requests that were overtaken while they waited are dropped.

    Neither :meth:`ask` nor :meth:`take` ever waits for the work.

    Args:
        work: Called in the thread with the request.
        name: Of the thread, for debuggers.
    """

    def __init__(self, work: Callable[[Asked], Answer], name: str) -> None:
        self._work = work
        self._name = name
        self._wanted: Asked | None = None
        self._condition = threading.Condition()
        self._waiting: list[Asked] = []
        self._replies: list[Reply[Asked, Answer]] = []
        self._working = False
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def busy(self) -> bool:
        """Whether a request waits or is worked on."""
        with self._condition:
            return self._working or bool(self._waiting)

    def ask(self, request: Asked) -> None:
        """Have ``request`` worked on next, instead of any that waits. Ignored after :meth:`close`."""
        with self._condition:
            if self._closed:
                return
            self._waiting = [request]
            if self._thread is None:
                self._begin()
            self._condition.notify()

    def want(self, request: Asked, *, patient: bool = False) -> None:
        """:meth:`ask` for ``request`` unless it is the one wanted last.

        Args:
            request: What is wanted now.
            patient: Not while another is worked on. Called once per frame this gives fewer answers, not later ones.
        """
        if request != self._wanted and not (patient and self.busy):
            self._wanted = request
            self.ask(request)

    def forget(self) -> None:
        """What was wanted last is to be worked on again when it is wanted again."""
        self._wanted = None

    def take(self) -> Reply[Asked, Answer] | None:
        """The newest reply that was not taken yet."""
        with self._condition:
            replies, self._replies = self._replies, []
        return replies[-1] if replies else None

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Drop what waits and end the thread.

        Args:
            timeout_s: How long to wait for what is being worked on [s].

        Returns:
            Whether the thread has ended; otherwise it ends when its work does.
        """
        with self._condition:
            self._closed = True
            self._waiting = []
            self._condition.notify()
            thread = self._thread
        if thread is None:
            return True
        thread.join(timeout_s)
        return not thread.is_alive()

    def _begin(self) -> None:
        self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closed:
                    self._condition.wait()
                if self._closed:
                    return
                request = self._waiting.pop()
                self._working = True
            reply: Reply[Asked, Answer] | None = None
            try:
                reply = Reply(request, self._work(request))
            except SHOWABLE_ERRORS as error:
                reply = Reply(request, None, plain_words(error))
            finally:
                with self._condition:
                    self._working = False
                    self._replies = [reply or Reply(request, None, "The work ended without a result.")]
                    if reply is None:  # a fault of the program ends this thread; what waits is for another
                        self._thread = None
                        if self._waiting:
                            self._begin()
