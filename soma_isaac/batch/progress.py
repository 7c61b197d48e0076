"""What the user sees while clips are converted: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import AbstractContextManager, suppress
from time import monotonic
from typing import TextIO

from tqdm import tqdm

from soma_isaac.batch.ledger import LedgerRecord
from soma_isaac.batch.names import escaped, shown

PLAIN_PERIOD_S = 10.0
"""Seconds between plain progress lines."""


def counts_text(counts: Counter[str]) -> str:
    """The bar's three figures; crashed, timeout and failed are one, skipped is counted as done with."""
    bad = counts["failed"] + counts["crashed"] + counts["timeout"]
    return f"done {counts['done']}, rejected {counts['rejected']}, failed {bad}"


class Progress:
    """Counts states and shows them.

    Args:
        total: Size of the plan.
        stream: Where to show.
        quiet: Show nothing but what went wrong.
    """

    def __init__(self, total: int, stream: TextIO, quiet: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self._total = total
        self._stream = stream
        self._quiet = quiet
        self._began = self._shown_at = monotonic()
        self._worked = 0
        self._bar = None
        if stream.isatty() and not quiet:
            width = shutil.get_terminal_size().columns  # never 0, as a terminal without a known size says of itself
            self._bar = tqdm(total=total, file=stream, unit="clip", ncols=width, nrows=20, desc="clips")

    def settled(self, record: LedgerRecord) -> None:
        """Count an entry that an earlier run or the plan settled; it does not enter the estimate of time."""
        self.counts[record.state] += 1
        self._total -= 1
        if self._bar is not None:
            self._bar.total = self._total
            with self._harmless():
                self._bar.set_postfix_str(counts_text(self.counts))

    def ended(self, record: LedgerRecord) -> None:
        """Count an entry that this run has brought to its end, and name it if it went wrong."""
        self.counts[record.state] += 1
        self._worked += 1
        if record.state not in ("done", "skipped"):
            self.say(f"{record.state}: {shown(record.input)}: {record.reason}")
        if self._bar is not None:
            with self._harmless():
                self._bar.set_postfix_str(counts_text(self.counts), refresh=False)
                self._bar.update()
        elif not self._quiet and monotonic() - self._shown_at >= PLAIN_PERIOD_S:
            self._shown_at = monotonic()
            self.say(f"{self._worked}/{self._total} clips: {counts_text(self.counts)}, ETA {self._eta()}")

    def say(self, text: str) -> None:
        """Show one line, whatever it holds."""
        line = escaped(text)
        with self._harmless():
            if self._bar is not None:
                self._bar.write(line, file=self._stream)
            else:
                self._stream.write(line + "\n")
                self._stream.flush()

    def _harmless(self) -> AbstractContextManager[None]:
        """A reader that went away (``| head``, a closed terminal) is no reason to end a run."""
        return suppress(OSError)

    def _eta(self) -> str:
        left = (monotonic() - self._began) / max(self._worked, 1) * (self._total - self._worked)
        return tqdm.format_interval(left)

    def close(self) -> None:
        """Take the bar down."""
        if self._bar is not None:
            with self._harmless():
                self._bar.close()
