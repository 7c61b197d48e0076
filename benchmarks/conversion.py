"""What convert.py does to a large tree: errors, round trips, flat memory, kill -9 and resume to identical bytes.

    python benchmarks/conversion.py [--clips 2000] [--frames 24] [--kills 3] [--seed 0] [--amass CLIP.npz] [--write]

A synthetic tree of AMASS clips (40 subjects, both layouts, both spellings of the rate) is converted by mesh with body
models in the official layouts, cut from the SOMA template by the tests: the licensed originals cannot be here. One run
is left alone, its workers' memory watched; another is killed with SIGKILL (whole process group) at random moments and
resumed until it ends; every byte of the two must be equal. ``--amass`` adds a real clip: its errors frame by frame, its
round trips, and the G1 clips of both ways. ``--write`` renews the section of RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(CHECKOUT))  # the model files are written by the tests

from soma_isaac.batch.audit import folder_status, verify_folder  # noqa: E402
from soma_isaac.formats.amass import read_amass  # noqa: E402
from soma_isaac.formats.npz import open_npz  # noqa: E402
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec  # noqa: E402
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES  # noqa: E402
from tests.body.model_files import write_smpl  # noqa: E402
from tests.oracles.smpl import npz, random_clip  # noqa: E402

RESULTS = Path(__file__).with_name("RESULTS.md")
SECTION = "## Conversion"
OF_THE_RUN = {"log.txt", "ledger.jsonl", ".lock", "config.yaml"}
GENDERS = ("male", "female")
PARTS = ((0.1, 0.3), (0.75, 0.99), (0.99, 1.0))
"""Shares of the clips between which memory is looked at: early, late, and with the report."""


def make_tree(folder: Path, clips: int, frames: int) -> None:
    """``clips`` short clips of 40 subjects; every fifth in SMPL-X layout, every third with the other spelling."""
    for index in range(clips):
        subject = index % 40
        wide = index % 5 == 0
        arrays = random_clip(seed=index, frames=frames, amplitude=0.35, width=165 if wide else 156)
        arrays["betas"] = np.random.default_rng(subject).normal(size=10)
        arrays["gender"] = np.array(GENDERS[subject % 2])
        rate = arrays.pop("mocap_framerate")
        arrays["mocap_frame_rate" if index % 3 == 0 else "mocap_framerate"] = rate
        path = folder / f"set{index % 7}" / f"subject{subject:02}" / f"clip{index:05}.npz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(npz(arrays))


def start(source: Path, out: Path, models: Path) -> subprocess.Popen[bytes]:
    """Start the command in a process group of its own."""
    command = [sys.executable, str(CHECKOUT / "scripts/convert.py"), "amass", f"source.path={source}"]
    command += [f"output.dir={out}", f"smpl.model_path={models}", "quiet=true"]
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )


def results(out: Path) -> dict[str, bytes]:
    """Every file that is a result, the report included."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in OF_THE_RUN
    }


def lines(out: Path) -> int:
    """Lines of the ledger so far."""
    ledger = out / "ledger.jsonl"
    return ledger.read_bytes().count(b"\n") if ledger.exists() else 0


def resident_mb(pid: int) -> float:
    """Resident memory of a process [MB]; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def children(pid: int) -> list[int]:
    """Processes that ``pid`` started."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [int(child) for child in found]


def undisturbed(source: Path, out: Path, models: Path, clips: int) -> dict[str, object]:
    """A run that is left alone, with the memory of parent and workers after a tenth of the clips and at the end."""
    began, process, samples = time.monotonic(), start(source, out, models), []
    while process.poll() is None:
        time.sleep(0.5)
        samples.append(
            (
                lines(out) / clips,
                resident_mb(process.pid),
                max((resident_mb(pid) for pid in children(process.pid)), default=0.0),
            )
        )
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(errors.decode(errors="replace")[-2000:])
    taken = np.array(samples)
    early, late, report = (taken[(taken[:, 0] > low) & (taken[:, 0] <= high)] for low, high in PARTS)
    return {
        "seconds": time.monotonic() - began,
        "parent_mb": [float(part[:, 1].max(initial=0.0)) for part in (early, late, report)],
        "worker_mb": [float(part[:, 2].max(initial=0.0)) for part in (early, late)],
    }


def killed(source: Path, out: Path, models: Path, clips: int, kills: int, chance: random.Random) -> list[int]:
    """Kill a run again and again and let it end; clips recorded at each kill."""
    recorded = []
    for _ in range(kills):
        process, goal = start(source, out, models), lines(out) + chance.randint(1, max(clips // (kills + 1), 2))
        while process.poll() is None and lines(out) < goal:
            time.sleep(0.02)
        time.sleep(chance.uniform(0.0, 0.3))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            recorded.append(lines(out))
        process.communicate()
    process = start(source, out, models)
    _, errors = process.communicate()
    if process.returncode != 0:
        raise SystemExit(errors.decode(errors="replace")[-2000:])
    return recorded


def complaints(out: Path, expected: dict[str, bytes], total: int) -> list[str]:
    """What is wrong with a resumed folder."""
    status, problems, actual = folder_status(out), verify_folder(out), results(out)
    found = [] if status.counts["done"] == total == status.total else [f"states {dict(status.counts)}"]
    found += [f"{kind} {names}" for kind, names in vars(problems).items() if kind != "checked" and names]
    found += [f"differs: {name}" for name in expected.keys() | actual.keys() if expected.get(name) != actual.get(name)]
    return found


def run(script: str, *arguments: str) -> None:
    """Run one of our commands to its end."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, str(CHECKOUT / "scripts" / script), *arguments, "quiet=true"]
    done = subprocess.run(line, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr[-2000:])


def real_clip(clip: Path, folder: Path, models: Path) -> list[str]:
    """Lines about one real clip: errors, round trips, and the G1 clips of both ways."""
    mesh, joints, there, back = (folder / name for name in ("mesh", "joints", "there", "back"))
    smpl24 = folder / "smpl24"
    write_smpl(smpl24, "smpl", gender=str(read_amass(open_npz(clip)).gender).upper())
    run("convert.py", "amass", f"source.path={clip}", f"output.dir={mesh}", f"smpl.model_path={smpl24}")
    run("convert.py", "amass", f"source.path={clip}", f"output.dir={joints}")
    run("convert.py", "soma2smpl", f"source.path={joints}/soma", f"output.dir={there}")
    run("convert.py", "amass", f"source.path={there}/smpl", f"output.dir={back}")
    error = 1e3 * open_npz(mesh / f"soma/{clip.name}").read("per_frame_error")
    found = [
        f"- real AMASS clip on a 24-joint model of another topology, {len(error)} frames: mean "
        f"{error[:, 0].mean():.2f} mm, worst frame's mean {error[:, 0].max():.2f} mm (at most 5.3), "
        f"largest vertex {error[:, 1].max():.0f} mm"
    ]
    first, second = (read_amass(open_npz(path)) for path in (clip, there / f"smpl/{clip.name}"))
    turned = np.degrees(geodesic_angle(matrix_from_rotvec(first.body), matrix_from_rotvec(second.body)))
    spine = np.isin(np.arange(22), (6, 9))
    found.append(
        f"- SMPL to SOMA to SMPL: {turned[:, ~spine].max():.1e} deg at most, spine2 and spine3 "
        f"{turned[:, spine].max():.1f} deg (their sum is exact), translation "
        f"{1e3 * np.abs(first.trans - second.trans).max():.1e} mm"
    )
    soma = [open_npz(path / f"soma/{clip.name}").read("poses") for path in (joints, back)]
    worst = np.degrees(geodesic_angle(*soma)).max(axis=0)
    found.append(f"- SOMA to SMPL to SOMA: {worst.max():.1e} deg at most ({POSE_JOINT_NAMES[int(worst.argmax())]})")
    for name, extra in (("joints", ()), ("mesh", (f"smpl.model_path={smpl24}",))):
        run("prepare_g1_refs.py", f"source.path={clip}", f"output.dir={folder}/g1_{name}", "formats=[csv]", *extra)
        details = json.loads((folder / f"g1_{name}/details/{clip.stem}.json").read_text())
        metrics = details["metrics"]
        shown = ("kp2_mean", "dir_mean", "ori_mean", "skate_H", "pen_frac", "sc_frac", "jl_frac")
        found.append(
            f"- G1 clip from {name}: stature {details['person']['stature']:.2f} m, "
            + ", ".join(f"{key} {metrics[key]:.3g}" for key in shown)
        )
    angles = [
        np.loadtxt(next((folder / f"g1_{name}").rglob("*.csv")), delimiter=",", skiprows=1)
        for name in ("joints", "mesh")
    ]
    count = min(len(table) for table in angles)
    spread = np.degrees(np.abs(angles[0][:count, -29:] - angles[1][:count, -29:]))
    found.append(
        f"- the two G1 clips differ by {spread.mean():.1f} deg per joint in the mean, {spread.max():.0f} at most: the "
        "stand-in model has SOMA's zero pose and a shape space of its own, so that the mesh path here follows another "
        "body than the one that the joint path estimates from standing feet"
    )
    return found


def main() -> int:
    """Run; exit code 1 if anything was lost or differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--frames", type=int, default=24)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--amass", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source, models = folder / "source", folder / "models"
        for kind in ("smplh", "smplx"):
            for gender in GENDERS:
                write_smpl(models, kind, gender=gender.upper())
        make_tree(source, options.clips, options.frames)
        found = undisturbed(source, folder / "calm", models, options.clips)
        expected = results(folder / "calm")
        report = json.loads((folder / "calm/report.json").read_text())
        recorded = killed(source, folder / "killed", models, options.clips, options.kills, chance)
        wrong = complaints(folder / "killed", expected, options.clips)
        frames = options.clips * options.frames
        text = [
            f"- {options.clips} clips of {options.frames} frames by mesh, 40 subjects: {found['seconds']:.0f} s with "
            f"two workers ({frames / found['seconds']:.0f} frames/s, npz written), "
            f"mean {report['error_mm']['mean']:.2f} mm, worst frame {report['error_mm']['worst_frame_mean']:.2f} mm",
            f"- memory from the first fifth to the last: parent {found['parent_mb'][0]:.0f} to "
            f"{found['parent_mb'][1]:.0f} MB ({found['parent_mb'][2]:.0f} MB while it writes the report), "
            f"largest worker {found['worker_mb'][0]:.0f} to {found['worker_mb'][1]:.0f} MB",
            f"- killed with SIGKILL after {', '.join(map(str, recorded))} recorded clips and resumed: "
            + ("every byte as of the undisturbed run" if not wrong else f"{len(wrong)} complaints"),
        ]
        if options.amass is not None:
            text += real_clip(options.amass, folder, models)
    print("\n".join(text))
    print("\n".join(wrong[:20]))
    if options.write:
        write_section("\n".join(text))
    return 1 if wrong else 0


def write_section(text: str) -> None:
    """Renew our section of RESULTS.md."""
    body = f"{SECTION}\n\nMeasured by `benchmarks/conversion.py --amass CLIP --write`.\n\n{text}\n"
    old = RESULTS.read_text()
    pattern = re.compile(rf"^{SECTION}$.*?(?=^## |\Z)", flags=re.M | re.S)
    new = pattern.sub(body + "\n", old) if pattern.search(old) else f"{old.rstrip()}\n\n{body}"
    RESULTS.write_text(new.rstrip() + "\n")


if __name__ == "__main__":
    sys.exit(main())
