"""Construction and identity preparation on one CPU thread, beside py-soma-x in the same process.

    python benchmarks/identity.py [--rounds N] [--check] [--write]

For every environment ``.venv-peers/soma*`` (``make peers`` builds them) this script runs itself with that environment's
Python. Both sides read the same shape space (128 components on the template), and calls take turns. "Ready" is the
constructor and a first identity: soma_isaac factorises the skeleton fit when it is first needed, py-soma-x at once.
Figures are medians of CPU time. ``--check`` exits with 1 if a target is missed, ``--write`` renews the section of
RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import skinning

SECTION = "## Identities"
LODS = ("mid", "low", "xlo")
BATCHES = (1, 128)
READY_TARGET, PREPARE_TARGET = 10.0, 4.0
READY_ROUNDS = 3

Row = dict[str, Any]


def main() -> int:
    """Measure, print, and check or write if asked; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="calls per side and case; medians are shown")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        with contextlib.redirect_stdout(sys.stderr):
            rows = measure(arguments.child, arguments.rounds)
        print(json.dumps(rows))
        return 0
    rows = run_children(arguments.rounds)
    report = table(rows)
    print(report)
    if arguments.write:
        skinning.renew_section(report, SECTION)
    return 1 if arguments.check and not all(met for _, met in targets(rows)) else 0


def run_children(rounds: int) -> list[Row]:
    """One child process per environment with a peer."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        skinning.write_peer_assets(Path(folder))
        for python in sorted((skinning.CHECKOUT / ".venv-peers").glob("soma*/bin/python")):
            environment = os.environ | {"PYTHONPATH": str(skinning.CHECKOUT), "OMP_NUM_THREADS": "1"}
            command = [str(python), __file__, "--child", folder, f"--rounds={rounds}"]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            rows += json.loads(done.stdout.splitlines()[-1])
    return rows


def measure(assets: Path, rounds: int) -> list[Row]:
    """Every LOD, both sides in turns."""
    import numpy as np
    import torch
    from soma import SOMALayer

    from soma_isaac.body.layer import SomaLayer
    from soma_isaac.formats.rig_usd import read_rig

    torch.set_num_threads(1)
    rows: list[Row] = []
    coefficients = np.random.default_rng(0).normal(size=(max(BATCHES), 128)).astype(np.float32)

    def ours(lod: str) -> Callable[[int], None]:
        # Read anew, so that nothing is left from the round before.
        rig = read_rig(assets / "SOMA_template_rig.usda", assets / "SOMA_procedural_transforms.json")
        layer = SomaLayer(rig, identity="soma", assets=str(assets), lod=lod, threads=1)
        return lambda batch: layer.prepare_identity(coefficients[:batch])

    def theirs(lod: str) -> Callable[[int], None]:
        layer = SOMALayer(
            data_root=str(assets), identity_model_type="soma", device="cpu", lod=lod, correctives_model_path=None
        )
        given = torch.from_numpy(coefficients)

        def prepare(batch: int) -> None:
            with torch.no_grad():
                layer.prepare_identity(given[:batch])

        return prepare

    sides = {"soma_isaac": ours, skinning.peer_name(): theirs}
    for make in sides.values():
        make("xlo")(1)  # Kernels are compiled and libraries loaded.
    for lod in LODS:
        ready: dict[str, list[float]] = {name: [] for name in sides}
        prepares: dict[str, Callable[[int], None]] = {}
        for _ in range(READY_ROUNDS):
            for name, make in sides.items():
                start = time.process_time()
                prepares[name] = make(lod)
                prepares[name](1)
                ready[name].append(time.process_time() - start)
        rows += rows_of(ready, lod, "ready")
        for batch in BATCHES:
            spent: dict[str, list[float]] = {name: [] for name in sides}
            for _ in range(rounds):
                for name, prepare in prepares.items():
                    start = time.process_time()
                    prepare(batch)
                    spent[name].append(time.process_time() - start)
            rows += rows_of(spent, lod, f"prepare {batch}")
    return rows


def rows_of(spent: dict[str, list[float]], lod: str, case: str) -> list[Row]:
    """One row per side."""
    return [
        {
            "environment": skinning.environment(),
            "lod": lod,
            "case": case,
            "name": name,
            "cpu_s": statistics.median(times),
        }
        for name, times in spent.items()
    ]


def ratio(rows: list[Row], row: Row) -> tuple[str, float]:
    """The peer of a row of ours, and how many times our CPU time it takes."""
    same = ("environment", "lod", "case")
    peer = next(r for r in rows if r["name"] != row["name"] and all(r[key] == row[key] for key in same))
    return peer["name"], peer["cpu_s"] / row["cpu_s"]


def targets(rows: list[Row]) -> list[tuple[str, bool]]:
    """What is asked at mid LOD, and whether it is met."""
    lines = []
    for case, target in (("ready", READY_TARGET), (f"prepare {max(BATCHES)}", PREPARE_TARGET)):
        for row in rows:
            if (row["name"], row["lod"], row["case"]) == ("soma_isaac", "mid", case):
                peer, found = ratio(rows, row)
                met = found >= target
                lines.append((f"mid, {case}: {found:.1f} x {peer} (target {target:g}{'' if met else ', missed'})", met))
    return lines


def table(rows: list[Row]) -> str:
    """All rows as Markdown."""
    lines = [
        SECTION,
        "",
        "`python benchmarks/identity.py --write`: a shape space of 128 components, one thread, CPU time in ms. "
        '"Ready" is',
        'the constructor and a first identity, "prepare N" N identities: shape, skeleton fit, reposing.',
        "",
        f"Machine: {skinning.machine()}, load average {os.getloadavg()[0]:.1f} at the end of the run.",
        "",
        *(f"* {line}" for line, _ in targets(rows)),
    ]
    for name in dict.fromkeys(row["environment"] for row in rows):
        lines += ["", f"{name}:", "", "| LOD | case | soma_isaac | py-soma-x | ratio |", "|---|---|---|---|---|"]
        for row in rows:
            if row["environment"] == name and row["name"] == "soma_isaac":
                found = ratio(rows, row)[1]
                own = row["cpu_s"] * 1e3
                lines.append(f"| {row['lod']} | {row['case']} | {own:.2f} | {own * found:.2f} | {found:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
