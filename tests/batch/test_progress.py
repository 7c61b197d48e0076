"""What the user sees, on a terminal and elsewhere."""

from __future__ import annotations

import io
import logging
import re

from soma_isaac.batch import progress as progress_module
from soma_isaac.batch.ledger import LedgerRecord
from soma_isaac.batch.log import OneLineFormatter
from soma_isaac.batch.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def record(state: str, name: str = "a.npz", reason: str = "") -> LedgerRecord:
    return LedgerRecord(name, "k", state, 1, reason)


def feed(progress: Progress) -> None:
    progress.settled(record("done"))
    for state in ("done", "rejected", "crashed", "timeout", "failed", "done"):
        progress.ended(record(state, f"{state}\x1b[31m.npz", "because\n\x1b]0;x\x07"))
    progress.close()


def test_bar_counts_and_estimates():
    stream = Terminal()
    feed(Progress(7, stream))
    text = stream.getvalue()
    assert "done 3, rejected 1, failed 3" in text
    assert re.search(r"6/6 \[\d\d:\d\d<\d\d:\d\d", text), "no time left is shown"
    assert "\x1b[31m" not in text and "\x1b]" not in text and "rejected\\x1b[31m.npz" in text


def test_plain_lines_without_a_terminal(monkeypatch):
    monkeypatch.setattr(progress_module, "PLAIN_PERIOD_S", 0.0)
    stream = io.StringIO()
    feed(Progress(7, stream))
    lines = stream.getvalue().splitlines()
    assert lines[-1].startswith("6/6 clips: done 3, rejected 1, failed 3, ETA ")
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()
    assert len(lines) == 6 + 4


def test_reader_that_goes_away_does_not_end_the_run():
    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    feed(Progress(7, Closed()))


def test_quiet_says_only_what_went_wrong(monkeypatch):
    monkeypatch.setattr(progress_module, "PLAIN_PERIOD_S", 0.0)
    stream = io.StringIO()
    feed(Progress(7, stream, quiet=True))
    assert [line.partition(":")[0] for line in stream.getvalue().splitlines()] == [
        "rejected",
        "crashed",
        "timeout",
        "failed",
    ]


def test_log_record_is_one_line_and_traceback_is_indented():
    try:
        raise KeyError("evil\x1b[2J\n2026-01-01 forged")
    except KeyError as error:
        info = (KeyError, error, error.__traceback__)
    made = logging.LogRecord("n", logging.ERROR, "f", 1, "%s failed", ("a\nb\x1b[31m\u202e",), info)
    first, *rest = OneLineFormatter("%(message)s").format(made).splitlines()
    assert first == "a\\nb\\x1b[31m\\u202e failed"
    assert rest and all(line.startswith("    ") and line.isprintable() for line in rest)
