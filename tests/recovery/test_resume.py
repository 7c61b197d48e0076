"""What a second run does: skips by key and hash, retries what may be retried, and never mixes two settings."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from soma_isaac.batch.ledger import read_ledger
from soma_isaac.errors import OutputConflict
from soma_isaac.pipelines import folder_run, g1_refs
from tests.recovery.driver import InlineSupervisor, add_clip, assert_nothing_lost, make_source, results, run_inline

FORMATS = ["mjlab", "csv"]


class CountingSupervisor(InlineSupervisor):
    """Remembers which inputs were converted, and whether alone."""

    ran: list[tuple[str, bool]] = []

    def run(self, jobs, alone=False):
        self.ran.extend((job.input, alone) for job in jobs)
        yield from super().run(jobs, alone)


@pytest.fixture
def ran(monkeypatch) -> list[tuple[str, bool]]:
    monkeypatch.setattr(folder_run, "Supervisor", CountingSupervisor)
    monkeypatch.setattr(g1_refs, "code_digest", lambda *_: "fake")
    CountingSupervisor.ran = []
    return CountingSupervisor.ran


def states(out: Path) -> Counter[str]:
    return Counter(record.state for record in read_ledger(out / "ledger.jsonl")[0])


def test_second_run_converts_nothing_and_writes_nothing(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 4), tmp_path / "out"
    run_inline(source, out, formats=FORMATS)
    ledger = (out / "ledger.jsonl").read_bytes()
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    ran.clear()
    assert run_inline(source, out, formats=FORMATS, workers=1, quiet=True, timeout_s=5.0).exit_code == 0
    assert ran == []
    assert (out / "ledger.jsonl").read_bytes() == ledger
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")} == before


def test_missing_output_is_made_again(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 4), tmp_path / "out"
    run_inline(source, out, formats=FORMATS)
    expected = results(out)
    (out / "csv/b/clip01.csv").unlink()
    ran.clear()
    assert run_inline(source, out, formats=FORMATS).exit_code == 0
    assert ran == [("b/clip01.npz", False)]
    assert results(out) == expected


def test_edited_output_is_not_overwritten_unless_asked(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 2), tmp_path / "out"
    run_inline(source, out, formats=FORMATS)
    expected = results(out)
    (out / "csv/b/clip01.csv").write_bytes(b"mine")
    report = run_inline(source, out, formats=FORMATS)
    assert report.exit_code == 3
    assert "exists with other bytes" in report.records["b/clip01.npz"].reason
    assert (out / "csv/b/clip01.csv").read_bytes() == b"mine"
    assert run_inline(source, out, formats=FORMATS, replace=True).exit_code == 0
    assert results(out) == expected


@pytest.mark.parametrize("change", ["fps", "source_fps", "input", "code"])
def test_other_settings_are_refused_and_nothing_is_touched(change, ran, tmp_path, monkeypatch):
    source, out = make_source(tmp_path / "source", 2), tmp_path / "out"
    run_inline(source, out, formats=FORMATS)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "log.txt"}
    keys = {"formats": FORMATS}
    if change == "fps":
        keys["fps"] = 30.0
    elif change == "source_fps":
        config = g1_refs.G1RefsConfig()
        config.source.fps = 60.0
        assert g1_refs.conversion_settings(config) != g1_refs.conversion_settings(g1_refs.G1RefsConfig())
        return
    elif change == "input":
        add_clip(source, "a/clip00.npz", n=99)
    else:
        monkeypatch.setattr(g1_refs, "code_digest", lambda *_: "newer")
    with pytest.raises(OutputConflict, match="replace=true"):
        run_inline(source, out, **keys)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file() and path.name != "log.txt"} == before
    assert run_inline(source, out, replace=True, **keys).exit_code == 0
    assert_nothing_lost(out, 2)
    assert (out / "plan.1.jsonl").read_bytes() == before[out / "plan.jsonl"]


def test_added_clips_and_added_formats_extend_the_folder(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 3), tmp_path / "out"
    run_inline(source, out, formats=["mjlab"])
    add_clip(source, "later.npz")
    ran.clear()
    assert run_inline(source, out, formats=["mjlab"]).exit_code == 0
    assert ran == [("later.npz", False)]
    assert (out / "plan.1.jsonl").exists()
    assert run_inline(source, out, formats=["mjlab", "amp"]).exit_code == 0
    assert len(list(out.glob("amp/**/*.npz"))) == 4
    assert_nothing_lost(out, 4)


def test_foreign_file_in_the_way_is_found_before_any_work(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 1), tmp_path / "out"
    (out / "mjlab/a").mkdir(parents=True)
    (out / "mjlab/a/clip00.npz").write_bytes(b"mine")
    with pytest.raises(OutputConflict, match="clip00"):
        run_inline(source, out, formats=["mjlab"])
    assert ran == [] and (out / "mjlab/a/clip00.npz").read_bytes() == b"mine"


def test_rejected_is_not_retried_until_the_input_changes(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 1), tmp_path / "out"
    add_clip(source, "bad.npz", "reject", reason="too short")
    for _ in range(2):
        report = run_inline(source, out, formats=FORMATS)
        assert (report.exit_code, report.records["bad.npz"].reason) == (3, "too short")
    assert ran.count(("bad.npz", False)) == 1
    run_inline(source, out, formats=FORMATS, retry=True)
    assert ran.count(("bad.npz", False)) == 2
    add_clip(source, "bad.npz", "ok")
    assert run_inline(source, out, formats=FORMATS).exit_code == 0
    assert_nothing_lost(out, 2)


def test_failed_is_retried_by_each_run(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 1), tmp_path / "out"
    add_clip(source, "bad.npz", "solve")
    for _ in range(2):
        report = run_inline(source, out, formats=FORMATS)
        assert report.records["bad.npz"].reason == "SolveFailed: frame 3: no solution"
    assert states(out) == Counter(done=1, failed=2)


@pytest.mark.parametrize("attempts,expected", [(1, [("a.npz", True)]), (2, [])])
def test_crashed_is_retried_once_alone(attempts, expected, ran, tmp_path):
    """Also when the second attempt falls to a later run."""
    source, out = tmp_path / "source", tmp_path / "out"
    add_clip(source, "a.npz")
    run_inline(source, out, formats=FORMATS)
    lines = (out / "ledger.jsonl").read_text().splitlines()
    crashed = {**json.loads(lines[0]), "state": "crashed", "reason": "SIGSEGV", "outputs": {}}
    text = "".join(json.dumps({**crashed, "attempt": number + 1}) + "\n" for number in range(attempts))
    (out / "ledger.jsonl").write_text(text)
    ran.clear()
    run_inline(source, out, formats=FORMATS)
    assert ran == expected


@pytest.mark.parametrize("index", range(10))
def test_input_changed_while_the_run_works(index, ran, tmp_path):
    """The converter's own input changes under its hands: rejected, not mixed; the others are kept."""
    source, out = make_source(tmp_path / "source", 10), tmp_path / "out"
    add_clip(source, f"{'abc'[index % 3]}/clip{index:02}.npz", "edit", n=index)
    report = run_inline(source, out, formats=FORMATS)
    assert report.exit_code == 3
    assert report.counts["done"] == 9 and report.counts["rejected"] == 1
    record = report.records[f"{'abc'[index % 3]}/clip{index:02}.npz"]
    assert "changed after the run was planned" in record.reason
    assert not list(out.rglob(f"clip{index:02}.*"))


def test_converter_that_strays_from_the_plan_fails(ran, tmp_path):
    source, out = tmp_path / "source", tmp_path / "out"
    add_clip(source, "a.npz", "escape")
    add_clip(source, "b.npz", "nan")
    report = run_inline(source, out, formats=FORMATS)
    assert report.counts["failed"] == 2
    assert not (tmp_path / "stolen.npz").exists() and not list(out.rglob("*.npz"))


def test_strict_ends_at_the_first_bad_clip(ran, tmp_path):
    source, out = make_source(tmp_path / "source", 3), tmp_path / "out"
    add_clip(source, "a/clip00.npz", "reject")
    report = run_inline(source, out, formats=FORMATS, strict=True)
    assert report.exit_code == 3
    assert report.counts == Counter(rejected=1, pending=2)
