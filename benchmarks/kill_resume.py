"""Kill a run over 40 clips at 20 random moments, resume it, and compare every byte with an undisturbed run.

    python benchmarks/kill_resume.py [--kills 20] [--clips 40] [--seed 0] [--source DIR]

Each trial starts the real command in a process group of its own, ends the whole group with SIGKILL at a random moment,
and runs the command again until it ends. A moment is a random number of clips recorded (none to all, so that planning
and the report get their share) and a random wait of up to half a second after it: a time alone would depend on what
else the machine does. Without ``--source`` the clips are stretches of the bundled ones, no two equal.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from soma_isaac.batch.audit import folder_status, verify_folder
from soma_isaac.formats.atomic import is_staged_name
from soma_isaac.pipelines.demo_clips import CLIPS

CHECKOUT = Path(__file__).resolve().parents[1]
COMMAND = CHECKOUT / "scripts" / "prepare_g1_refs.py"
OF_THE_RUN = {"log.txt", "ledger.jsonl", ".lock", "config.yaml"}
"""Files that tell of a run (times, order, its own folder), not of its clips."""


def make_clips(folder: Path, count: int, seconds: float = 1.2) -> None:
    """``count`` short AMASS clips, each another stretch of a bundled one."""
    made = {name: make() for name, make in CLIPS.items()}
    for index in range(count):
        name = list(made)[index % len(made)]
        clip = made[name]
        frames = len(clip["poses"])
        length = int(seconds * float(clip["mocap_framerate"]))
        start = (37 * index) % max(frames - length, 1)
        cut = {
            key: value[start : start + length] if value.ndim and len(value) == frames else value
            for key, value in clip.items()
        }
        buffer = io.BytesIO()
        np.savez(buffer, **cut)
        path = folder / f"set{index % 4}" / f"{name}_{index:02}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())


def start(source: Path, out: Path) -> subprocess.Popen[bytes]:
    """Start the command."""
    arguments = [sys.executable, str(COMMAND), f"source.path={source}", f"output.dir={out}", "quiet=true"]
    return subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def lines(out: Path) -> int:
    """Lines of the ledger so far."""
    ledger = out / "ledger.jsonl"
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def results(out: Path) -> dict[str, bytes]:
    """Every file that is a result, the report included."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in OF_THE_RUN and not is_staged_name(path.name)
    }


def complaints(out: Path, expected: dict[str, bytes], total: int) -> list[str]:
    """What is wrong with a resumed folder; nothing, if nothing was lost."""
    found = []
    status = folder_status(out)
    if status.total != total or status.counts["pending"] or status.counts.total() != total:
        found.append(f"states {dict(status.counts)} for {total} inputs")
    problems = verify_folder(out)
    found += [f"{kind} {names}" for kind, names in vars(problems).items() if kind != "checked" and names]
    found += [f"left behind {path.name}" for path in out.rglob(".*") if is_staged_name(path.name)]
    actual = results(out)
    found += [f"differs: {name}" for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)]
    return found


def killed_at(source: Path, out: Path, recorded: int, wait_s: float) -> dict[str, object]:
    """Start a run and kill its group ``wait_s`` after it has recorded so many clips; what it left."""
    process = start(source, out)
    began = time.monotonic()
    while process.poll() is None and lines(out) < recorded:
        time.sleep(0.005)
    try:
        process.communicate(timeout=wait_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    staged = sum(is_staged_name(path.name) for path in out.rglob(".*")) if out.exists() else 0
    killed = process.returncode == -signal.SIGKILL
    return {"killed": killed, "at_s": round(time.monotonic() - began, 2), "recorded": lines(out), "staged": staged}


def main() -> int:
    """Run the trials; exit code 1 if anything was lost or differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--source", type=Path)
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = options.source or folder / "source"
        if options.source is None:
            make_clips(source, options.clips)
        good = start(source, folder / "good")
        good.communicate()
        code, total, expected = good.returncode, folder_status(folder / "good").total, results(folder / "good")
        print(f"undisturbed: exit {code}, {total} inputs, {len(expected)} files")
        kills = bad = 0
        for trial in range(options.kills):
            out = folder / f"out{trial}"
            left = killed_at(source, out, chance.randint(0, total), chance.uniform(0.0, 0.5))
            resumed = start(source, out)
            resumed.communicate()
            wrong = complaints(out, expected, total)
            kills += bool(left["killed"])
            bad += bool(wrong) or resumed.returncode != code
            print(json.dumps({"trial": trial, **left, "exit": resumed.returncode, "wrong": wrong[:5]}), flush=True)
            shutil.rmtree(out)
    print(f"{kills} of {options.kills} runs killed before their end; {bad} with something lost")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
