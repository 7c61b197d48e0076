"""The disk refuses, or the power goes, at each single system call that a run makes to keep its results."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from soma_isaac.batch import ledger, plan
from soma_isaac.batch.run import DiskRefused
from soma_isaac.formats import atomic
from soma_isaac.pipelines import folder_run, g1_refs
from tests.recovery.driver import (
    InlineSupervisor,
    add_clip,
    assert_nothing_lost,
    make_source,
    results,
    run,
    run_inline,
    staged_files,
)

CALLS = ("open", "write", "fsync", "replace", "mkdir", "unlink", "ftruncate")
FORMATS = ["mjlab", "csv"]
CLIPS = 3


class PowerCut(BaseException):
    """The machine is gone: no handler of the program runs any more."""


class FailingOs(SimpleNamespace):
    """The ``os`` module, whose n-th call that changes the disk fails, and every later one too if ``lasting``."""

    def __init__(self, fail_at: int = -1, error: int | None = errno.ENOSPC, lasting: bool = False) -> None:
        super().__init__(**{name: getattr(os, name) for name in dir(os) if not name.startswith("__")})
        self.count = 0
        for name in CALLS:
            setattr(self, name, self._watched(name, fail_at, error, lasting))

    def _watched(self, name, fail_at, error, lasting):
        real = getattr(os, name)

        def call(*args, **kwargs):
            index, self.count = self.count, self.count + 1
            if index == fail_at and name == "write":
                real(args[0], bytes(args[1])[: len(args[1]) // 2])  # a torn write
            if index == fail_at or (lasting and index > fail_at >= 0):
                raise PowerCut if error is None else OSError(error, os.strerror(error))
            return real(*args, **kwargs)

        return call


@pytest.fixture
def disk(monkeypatch):
    """Put another ``os`` under everything that writes."""
    monkeypatch.setattr(folder_run, "Supervisor", InlineSupervisor)
    monkeypatch.setattr(g1_refs, "code_digest", lambda *_: "fake")

    def use(stand_in) -> None:
        for module in (atomic, ledger, plan):
            monkeypatch.setattr(module, "os", stand_in)

    return use


@pytest.fixture
def folder(tmp_path) -> Iterator[Path]:
    """A folder in memory where there is one: thousands of real fsyncs would take minutes on a busy disk."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or shutil.disk_usage(memory).free < 32_000_000:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.fixture
def source(folder) -> Path:
    return make_source(folder / "source", CLIPS)


@pytest.fixture
def undisturbed(disk, source, folder) -> tuple[dict[str, bytes], int]:
    watch = FailingOs()
    disk(watch)
    report = run_inline(source, folder / "good", formats=FORMATS)
    assert report.exit_code == 0
    return results(folder / "good"), watch.count


def assert_whole(out: Path, expected: dict[str, bytes]) -> None:
    """What stands under a final name is the whole file."""
    for name, data in results(out).items() if out.exists() else ():
        assert data == expected[name], name


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
def test_disk_refuses_each_call(lasting, disk, source, undisturbed, folder):
    """Full, failing or read-only disk at call n, for all n: the run says so, nothing is torn, the next completes."""
    expected, calls = undisturbed
    assert calls > 60, "the watch sees too little"
    refused = 0
    for index in range(calls):
        out = folder / f"out{index}"
        error = (errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT)[index % 4]
        disk(FailingOs(index, error, lasting))
        try:
            report = run_inline(source, out, formats=FORMATS)
        except DiskRefused as refusal:
            assert os.strerror(error) in str(refusal)
            refused += 1
        else:  # only a call whose failure harms nobody may pass: the sweep of staged files at the end
            assert report.counts["done"] == CLIPS
        disk(os)
        assert_whole(out, expected)
        assert run_inline(source, out, formats=FORMATS).exit_code == 0
        assert_nothing_lost(out, CLIPS)
        assert results(out) == expected
    assert refused >= calls - 2


def test_power_goes_at_each_call(disk, source, undisturbed, folder):
    """The deterministic sister of the kill tests: no cleanup runs after call n, for all n."""
    expected, calls = undisturbed
    left_staged = 0
    for index in range(calls):
        out = folder / f"out{index}"
        disk(FailingOs(index, None, lasting=True))
        with pytest.raises(PowerCut):
            run_inline(source, out, formats=FORMATS)
        disk(os)
        left_staged += len(staged_files(out))
        assert_whole(out, expected)
        assert run_inline(source, out, formats=FORMATS).exit_code == 0
        assert_nothing_lost(out, CLIPS)
        assert results(out) == expected
    assert left_staged > 0, "no cut came between stage and rename: the test shows nothing"


def test_replacing_is_as_safe(disk, source, undisturbed, folder):
    """A cut while other settings replace a finished folder: each file is whole, old or new, and the run completes."""
    disk(os)
    assert run_inline(source, folder / "new", formats=FORMATS, fps=30.0).exit_code == 0
    old, new = undisturbed[0], results(folder / "new")
    watch = FailingOs()
    assert run_inline(source, folder / "counted", formats=FORMATS).exit_code == 0
    disk(watch)
    assert run_inline(source, folder / "counted", formats=FORMATS, fps=30.0, replace=True).exit_code == 0
    disk(os)
    for index in range(0, watch.count, 2):
        out = folder / f"out{index}"
        assert run_inline(source, out, formats=FORMATS).exit_code == 0
        disk(FailingOs(index, None, lasting=True))
        with pytest.raises(PowerCut):
            run_inline(source, out, formats=FORMATS, fps=30.0, replace=True)
        disk(os)
        for name, data in results(out).items():
            assert data in (old.get(name), new.get(name), old["plan.jsonl"]), name
        assert run_inline(source, out, formats=FORMATS, fps=30.0, replace=True).exit_code == 0
        assert_nothing_lost(out, CLIPS)
        found = results(out)
        assert found.pop("plan.1.jsonl") == old["plan.jsonl"]
        assert found == new


def test_file_size_limit_of_the_kernel(tmp_path):
    """A refusal that no test double makes: RLIMIT_FSIZE stops the workers' writes; exit 4, then resumable."""
    import resource

    source = make_source(tmp_path / "source", 3)
    add_clip(source, "large.npz", size=3_000_000)
    out = tmp_path / "out"
    refused = run(source, out, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)))
    assert refused.returncode == 4
    assert "File too large" in refused.stderr
    assert not [path for path in out.rglob("large*")] and not staged_files(out)
    assert run(source, out).returncode == 0
    assert_nothing_lost(out, 4)


def test_read_only_output_folder(tmp_path):
    """An output folder that cannot be made is exit 4, not a trace."""
    source = make_source(tmp_path / "source", 1)
    result = run(source, Path("/proc/soma_isaac"))
    assert result.returncode == 4
    assert result.stderr.startswith("error:") and "Traceback" not in result.stderr
