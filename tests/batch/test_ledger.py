"""The ledger: torn at any byte it reads as what was whole, and its last words win."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from soma_isaac.batch.ledger import (
    LEDGER_NAME,
    STATES,
    Ledger,
    LedgerCorrupt,
    LedgerRecord,
    latest,
    latest_done,
    read_ledger,
)

RECORDS = [
    LedgerRecord("a.npz", "k1", "crashed", 1, "SIGSEGV"),
    LedgerRecord("a.npz", "k1", "done", 2, "", {"csv/a.csv": "00"}, {"error_m": 0.01}),
    LedgerRecord("b\n\x1b[31m\udc80.npz", "k2", "rejected", 1, "line\nbreak"),
    LedgerRecord("a.npz", "k9", "done", 1, "", {"csv/a.csv": "11"}),
]


@pytest.fixture
def written(tmp_path) -> bytes:
    with Ledger(tmp_path) as ledger:
        for record in RECORDS:
            ledger.append(record)
    return (tmp_path / LEDGER_NAME).read_bytes()


def test_one_line_per_record_and_back(written, tmp_path):
    assert written.count(b"\n") == len(RECORDS) and written.isascii() and b"\x1b" not in written
    assert read_ledger(tmp_path / LEDGER_NAME) == (RECORDS, len(written))


def test_torn_at_every_byte(written, tmp_path, monkeypatch):
    """Every prefix: the whole lines are read, the rest is cut when the next run opens, and appending goes on."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # thousands; that they happen is tested with the faults
    path = tmp_path / LEDGER_NAME
    for size in range(len(written) + 1):
        path.write_bytes(written[:size])
        whole = written[:size].count(b"\n")
        assert read_ledger(path)[0] == RECORDS[:whole]
        with Ledger(tmp_path) as ledger:
            assert ledger.records == RECORDS[:whole]
            ledger.append(RECORDS[0])
        assert read_ledger(path)[0] == [*RECORDS[:whole], RECORDS[0]]


@pytest.mark.parametrize(
    "tail", [b"\0" * 4096, b"\0" * 100 + b"\n", b'{"input": 3}\n', b"\xff\xfe\n", b'{"state": "do']
)
def test_garbage_tail_is_cut(tail, written, tmp_path):
    """Blocks that never reached the disk read as zeros."""
    (tmp_path / LEDGER_NAME).write_bytes(written + tail)
    with Ledger(tmp_path) as ledger:
        assert ledger.records == RECORDS
    assert (tmp_path / LEDGER_NAME).read_bytes() == written


@pytest.mark.parametrize(
    "line", [b"garbage\n", b"\n", b'{"input": "x"}\n', b'{"input":"x","key":"k","state":"lost"}\n']
)
def test_damage_before_the_last_line_is_refused_not_repaired(line, written, tmp_path):
    (tmp_path / LEDGER_NAME).write_bytes(line + written)
    with pytest.raises(LedgerCorrupt, match="line 1 "):
        Ledger(tmp_path)
    assert (tmp_path / LEDGER_NAME).read_bytes() == line + written


def test_unknown_state_is_refused():
    with pytest.raises(ValueError, match="done, skipped"):
        LedgerRecord("a", "k", "fine")


def test_last_word_wins():
    assert latest(RECORDS)["a.npz", "k1"].state == "done"
    assert latest_done(RECORDS)["csv/a.csv"].key == "k9"


class LedgerMachine(RuleBasedStateMachine):
    """Append, close, tear and reopen in any order: what was appended whole is never lost and never changed."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.ledger = Ledger(self.path)
        self.model: list[LedgerRecord] = []

    @rule(name=st.text(max_size=8), state=st.sampled_from(STATES), reason=st.text(max_size=20))
    def append(self, name: str, state: str, reason: str) -> None:
        record = LedgerRecord(name, "k", state, 1, reason)
        self.ledger.append(record)
        self.model.append(record)

    @rule(tail=st.binary(max_size=40).filter(lambda data: b"\n" not in data))
    def tear_and_reopen(self, tail: bytes) -> None:
        self.ledger.close()
        with (self.path / LEDGER_NAME).open("ab") as stream:
            stream.write(tail)
        assert read_ledger(self.path / LEDGER_NAME)[0] == self.model
        self.ledger = Ledger(self.path)
        assert self.ledger.records == self.model

    @rule(share=st.floats(0.0, 1.0))
    def lose_the_end_of_the_last_line(self, share: float) -> None:
        if not self.model:
            return
        self.ledger.close()
        path = self.path / LEDGER_NAME
        data = path.read_bytes()
        last = len(data.splitlines(keepends=True)[-1])
        path.write_bytes(data[: len(data) - 1 - int(share * (last - 1))])
        self.model.pop()
        self.ledger = Ledger(self.path)

    @invariant()
    def everything_is_there(self) -> None:
        assert read_ledger(self.path / LEDGER_NAME)[0] == self.model

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)


def test_ledger_lines_are_plain_json(written):
    for line in written.splitlines():
        assert set(json.loads(line)) == {"input", "key", "state", "attempt", "reason", "outputs", "details"}
