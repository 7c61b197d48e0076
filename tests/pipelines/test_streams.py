"""Commands without standard streams, or whose reader goes away."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from soma_isaac.batch.ledger import Ledger, LedgerRecord
from soma_isaac.batch.plan import PlanEntry, store_plan

ROOT = Path(__file__).resolve().parents[2]
STATUS = "scripts/prepare_g1_refs.py mode=status output.dir="


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An output folder in which one input was skipped."""
    store_plan([PlanEntry("a.txt", 0, "", (), "key", "skipped", "no motion")], [], tmp_path, replace=False)
    with Ledger(tmp_path) as ledger:
        ledger.append(LedgerRecord("a.txt", "key", "skipped"))
    return tmp_path


def shell(line: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", line], cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_files_never_take_the_numbers_of_closed_streams(tmp_path: Path):
    code = (
        "from soma_isaac.pipelines.streams import hold_standard_streams as hold; hold(); import os, sys;"
        f"file = open({str(tmp_path / 'ledger')!r}, 'w'); file.write(str(file.fileno())); file.flush();"
        "os.write(1, b'native'); os.write(2, b'native'); print('words'); sys.stderr.write('words')"
    )
    assert shell(f"{sys.executable} -c {shlex.quote(code)} <&- >&- 2>&-").returncode == 0
    assert int((tmp_path / "ledger").read_text()) > 2


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(folder: Path, streams: str):
    result = shell(f"{sys.executable} {STATUS}{shlex.quote(str(folder))} {streams}")
    assert result.returncode == 0 and "Traceback" not in result.stderr


def test_a_reader_that_goes_away_does_not_change_the_exit_code(folder: Path):
    # true ends at once; the command needs far longer to start than that takes
    result = shell(f"{sys.executable} {STATUS}{shlex.quote(str(folder))} 2>&1 | true; exit ${{PIPESTATUS[0]}}")
    assert (result.returncode, result.stderr) == (0, "")
    refused = shell(f"{sys.executable} {STATUS}nowhere 2>&1 | true; exit ${{PIPESTATUS[0]}}")
    assert (refused.returncode, refused.stderr) == (2, "")


def test_a_full_disk_under_stdout_is_said(folder: Path):
    result = shell(f"{sys.executable} {STATUS}{shlex.quote(str(folder))} >/dev/full")
    assert result.returncode == 4 and result.stderr == "error: [Errno 28] No space left on device\n"
