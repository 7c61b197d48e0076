"""Log lines that stay one line: foreign names must not colour the terminal or forge an entry."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TextIO

from soma_isaac.batch.names import escaped

LOG_NAME = "log.txt"
_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


class OneLineFormatter(logging.Formatter):
    """Formats a record with every control character of message and traceback escaped; traceback lines are indented."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text: one line, plus one indented line per traceback line."""
        trace = record.exc_info
        plain = logging.makeLogRecord({**record.__dict__, "exc_info": None, "exc_text": None, "stack_info": None})
        text = escaped(super().format(plain))
        if trace:
            lines = logging.Formatter().formatException(trace).splitlines()
            text = "\n".join([text, *("    " + escaped(line) for line in lines)])
        return text


class _QuietHandler(logging.StreamHandler):
    """A handler that stays silent when the disk is full: the run itself will say so."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the record."""


def log_to_stream(stream: TextIO, level: int = logging.INFO) -> logging.Handler:
    """Send the package's log to ``stream`` and return the handler, for removal."""
    handler = _QuietHandler(stream)
    handler.setFormatter(OneLineFormatter(_FORMAT))
    handler.setLevel(level)
    logger = logging.getLogger("soma_isaac")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return handler


def open_log(out: Path) -> TextIO:
    """Open the run's log file for appending; workers write to it as well.

    Raises:
        OSError: The disk refused.
    """
    return (out / LOG_NAME).open("a", encoding="ascii", errors="backslashreplace", buffering=1)
