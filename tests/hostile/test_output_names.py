"""Fifty odd file names through the whole command: nothing outside OUT, no control byte on any stream or in any log."""

from __future__ import annotations

import os
from pathlib import Path

from soma_isaac.batch.audit import folder_status
from tests.recovery.driver import assert_nothing_lost, run, start

ODD = [
    *(f"esc{index}\x1b[{code}.npz" for index, code in enumerate(("31m", "2J", "?25l", "1;1H", "6n", "0;31mred"))),
    "title\x1b]0;owned\x07.npz",
    "link\x1b]8;;http-evil\x1b\\.npz",
    *(f"control{ord(c)}{c}.npz" for c in "\x01\x07\x08\t\n\x0b\x0c\r\x7f\x80\x85\x9b\x9f"),
    "forged\n2026-01-01 00:00:00 INFO all is well.npz",
    "erased\r\x1b[2K.npz",
    "a[/bold].npz",
    "[red]b[/red].npz",
    "<script>alert(1)</script>.npz",
    "<img src=x onerror=alert(1)>.npz",
    "&amp;.npz",
    "%s%n%x.npz",
    "{0.__class__}.npz",
    "${source.path}.npz",
    "rtl\u202egpj.npz",
    "isolate\u2066x\u2069.npz",
    "zero\u200bwidth.npz",
    "line\u2028sep.npz",
    "para\u2029sep.npz",
    "bom\ufeff.npz",
    "tag\U000e0041.npz",
    "private\ue000.npz",
    "combining" + "\u0301" * 60 + ".npz",
    "emoji👩‍👩‍👧.npz",
    " leading.npz",
    "trailing .npz",
    "-rf.npz",
    "--help.npz",
    "~.npz",
    "*.npz",
    "CON.npz",
    "nul.npz",
    "Aux.tar.npz",
    "x" * 240 + ".npz",
    "back\\slash.npz",
    "C:drive.npz",
    "quote'\".npz",
    "`id`.npz",
    "$(id).npz",
    "a;b|c&d.npz",
]


def make_odd_source(folder: Path) -> Path:
    folder.mkdir()
    for index, name in enumerate(ODD):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(f'{{"do": "{"ok" if index % 2 else "error"}", "n": {index}}}')
    (folder / os.fsdecode(b"latin\xe9.npz")).write_text('{"do": "ok"}')
    (folder / "notes \x1b[31m.txt").write_text("skipped by rule")
    return folder


def foul(data: bytes) -> list[bytes]:
    """Bytes that a terminal or log reader would obey: C0 and C1 controls, bidi and line separators."""
    text = data.decode("utf-8", "surrogateescape")
    return [c.encode("utf-8", "surrogateescape") for c in text if c != "\n" and not c.isprintable()]


def test_fifty_odd_names(tmp_path):
    assert len(ODD) >= 50 and len(set(ODD)) == len(ODD)
    source, out = make_odd_source(tmp_path / "source"), tmp_path / "out"
    before = {path for path in tmp_path.rglob("*") if out not in path.parents}
    process = start(source, out, "formats=[mjlab]", text=False)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 3
    total = len(ODD) + 2
    assert_nothing_lost(out, total)
    assert {path for path in tmp_path.rglob("*") if out not in path.parents} - before == {out}
    log = (out / "log.txt").read_bytes()
    assert foul(stdout) == foul(stderr) == foul(log) == []
    assert b"\\x1b[31m" in stderr, "the test sees no escaped name: it shows nothing"
    assert not any(line.startswith(b"2026-01-01") for line in log.splitlines() + stderr.splitlines())
    counts = folder_status(out).counts
    assert counts["rejected"] >= 30 and counts["done"] >= 8 and counts["failed"] >= 8 and counts["skipped"] == 1
    for mode in ("status", "verify"):
        process = start(source, out, f"mode={mode}", text=False)
        assert foul(b"".join(process.communicate(timeout=300))) == []


def test_dry_run_shows_odd_names_escaped(tmp_path):
    source, out = make_odd_source(tmp_path / "source"), tmp_path / "out"
    process = start(source, out, "dry_run=true", text=False)
    stdout, stderr = process.communicate(timeout=300)
    assert foul(stdout + stderr) == [] and b"rejected: esc0\\x1b[31m.npz" in stderr
    assert not out.exists()


def test_links_inside_the_output_folder_are_not_followed(tmp_path):
    """A format folder, a sub-folder or an output that is a link: refused, the link's target untouched."""
    source, out, outside = tmp_path / "source", tmp_path / "out", tmp_path / "outside"
    for folder in (source / "a", source / "b", out / "mjlab", outside):
        folder.mkdir(parents=True)
    for name in ("a/1.npz", "b/2.npz", "c.npz"):
        (source / name).write_text('{"do": "ok"}')
    (outside / "victim.npz").write_bytes(b"precious")
    (out / "mjlab/a").symlink_to(outside)
    (out / "csv").symlink_to(outside)
    assert run(source, out, "formats=[mjlab]").returncode == 3
    assert run(source, out, "formats=[mjlab,csv]").returncode == 3
    assert [path.name for path in outside.iterdir()] == ["victim.npz"]
    (out / "mjlab/d.npz").symlink_to(outside / "victim.npz")
    (source / "d.npz").write_text('{"do": "ok"}')
    assert run(source, out, "formats=[mjlab]").returncode == 2
    assert (outside / "victim.npz").read_bytes() == b"precious"
