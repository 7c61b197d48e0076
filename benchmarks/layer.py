"""The complete layer beside py-soma-x on a CPU: construction, identities, correctives, joints only, memory, growth.

    python benchmarks/layer.py [--rounds N] [--check] [--write]

For every peer environment (``make peers`` builds them) this script runs itself with that environment's Python, one CPU
thread, on the same files: our rig, our open shape space and a random corrective checkpoint as large as SOMA-X's. Calls
of the two sides take turns in one process; construction and memory are measured in processes of their own. Ratios are
of CPU time, which a busy machine disturbs least. ``--check`` exits with 1 if a target is missed, ``--write`` renews the
section of RESULTS.md and the plot.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from layer_assets import write_assets
from layer_report import SECTION, report, targets, write_plot

CHECKOUT = Path(__file__).resolve().parents[1]
BATCHES = (1, 8, 32, 128, 512)

Row = dict[str, Any]
Calls = dict[str, Callable[[], Any]]


def main() -> int:
    """Measure, print, and check or write if asked; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="calls per side and case; medians are shown")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--child", choices=("calls", "construct", "memory", "growth"), help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=("ours", "peer"), help=argparse.SUPPRESS)
    parser.add_argument("--assets", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        with contextlib.redirect_stdout(sys.stderr):
            rows = child(arguments)
        print(json.dumps(rows))
        return 0
    rows = run_children(arguments.rounds)
    text = report(rows)
    print(text)
    if arguments.write:
        from skinning import RESULTS, renew_section

        write_plot(rows, RESULTS.with_name("growth.svg"))
        renew_section(text, SECTION)
    return 1 if arguments.check and not all(met for _, met in targets(rows)) else 0


def run_children(rounds: int) -> list[Row]:
    """All cases in all environments."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        assets = Path(folder)
        for python in sorted((CHECKOUT / ".venv-peers").glob("soma[0-9]*/bin/python")):
            environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}

            def run(kind: str, *more: str, python: Path = python, environment: dict[str, str] = environment) -> None:
                command = [str(python), __file__, f"--child={kind}", f"--assets={assets}", f"--rounds={rounds}", *more]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                rows.extend(json.loads(done.stdout.splitlines()[-1]))

            if not (assets / "correctives_model.pt").exists():
                write_assets(assets, python)
            for _ in range(3):
                run("construct", "--side=ours")
                run("construct", "--side=peer")
            for side in ("ours", "peer"):
                run("memory", f"--side={side}")
            run("calls")
        subprocess_python = Path(sys.executable)
        command = [str(subprocess_python), __file__, "--child=growth", f"--assets={assets}", f"--rounds={rounds}"]
        environment = os.environ | {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        rows.extend(json.loads(done.stdout.splitlines()[-1]))
    return rows


def child(arguments: argparse.Namespace) -> list[Row]:
    """One measurement in this process."""
    if arguments.child == "construct":
        return construct(arguments.side, arguments.assets)
    if arguments.child == "memory":
        return memory(arguments.side, arguments.assets)
    if arguments.child == "growth":
        return growth(arguments.rounds)
    return calls(arguments.assets, arguments.rounds)


def our_layer(assets: Path, *, corrected: bool = False) -> Any:
    """Our layer on the files."""
    from soma_isaac.body.layer import SomaLayer

    model = assets / "correctives_model.pt" if corrected else None
    return SomaLayer(identity="soma", assets=assets, correctives=model, threads=1)


def peer_layer(assets: Path, *, corrected: bool = False) -> Any:
    """The peer's layer on the same files."""
    import torch
    from soma import SOMALayer

    torch.set_grad_enabled(False)
    model = str(assets / "correctives_model.pt") if corrected else None
    return SOMALayer(data_root=str(assets), identity_model_type="soma", device="cpu", correctives_model_path=model)


def inputs(batch: int) -> dict[str, Any]:
    """Random coefficients, poses and places."""
    import numpy as np

    random = np.random.default_rng(batch)
    return {
        "coefficients": random.normal(size=(batch, 64)).astype(np.float32),
        "poses": random.normal(scale=0.3, size=(batch, 77, 3)).astype(np.float32),
        "transl": random.normal(size=(batch, 3)).astype(np.float32),
    }


def construct(side: str, assets: Path) -> list[Row]:
    """Constructor and first identity: what is set up lazily counts. Libraries are imported before."""
    given = inputs(1)
    if side == "ours":
        import warp as wp

        import soma_isaac.body.layer
        import soma_isaac.formats.rig_usd  # noqa: F401

        wp.init()
        start = time.process_time(), time.perf_counter()
        layer = our_layer(assets)
        built = time.process_time(), time.perf_counter()
        layer.prepare_identity(given["coefficients"])
    else:
        import torch
        import warp as wp
        from soma import SOMALayer  # noqa: F401

        wp.init()
        start = time.process_time(), time.perf_counter()
        layer = peer_layer(assets)
        built = time.process_time(), time.perf_counter()
        layer.prepare_identity(torch.from_numpy(given["coefficients"]))
    ready = time.process_time(), time.perf_counter()
    return [
        row(name, side, 1, end[0] - start[0], end[1] - start[1])
        for name, end in (("construction", built), ("construction and first identity", ready))
    ]


def memory(side: str, assets: Path) -> list[Row]:
    """Peak resident memory of a process that poses 128 corrected bodies, imports included, and before posing."""
    given = inputs(128)
    if side == "ours":
        layer = our_layer(assets, corrected=True)
        imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        layer.prepare_identity(given["coefficients"][:1])
        layer.pose(given["poses"], given["transl"])
    else:
        import torch

        layer = peer_layer(assets, corrected=True)
        imported = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        layer.prepare_identity(torch.from_numpy(given["coefficients"][:1]))
        layer.pose(torch.from_numpy(given["poses"]), transl=torch.from_numpy(given["transl"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return [row("peak memory", side, 128, 0.0, 0.0) | {"peak_mb": peak / 1024, "constructed_mb": imported / 1024}]


def calls(assets: Path, rounds: int) -> list[Row]:
    """Calls of both sides in turns."""
    import torch

    ours, theirs = our_layer(assets, corrected=True), peer_layer(assets, corrected=True)
    rows: list[Row] = []
    for batch in (1, 128):
        given = inputs(batch)
        tensors = {name: torch.from_numpy(values) for name, values in given.items()}
        case: dict[str, Calls] = {
            "prepare_identity": {
                "ours": lambda g=given: ours.prepare_identity(g["coefficients"]),
                "peer": lambda t=tensors: theirs.prepare_identity(t["coefficients"]),
            }
        }
        for name, ours_options, peer_options in (
            ("pose", {"correctives": False}, {"apply_correctives": False}),
            ("pose with correctives", {"correctives": True}, {"apply_correctives": True}),
            ("pose joints only", {"fk_only": True}, {"apply_correctives": False, "fk_only": True}),
        ):
            case[name] = {
                "ours": lambda g=given, o=ours_options: ours.pose(g["poses"], g["transl"], **o),
                "peer": lambda t=tensors, o=peer_options: theirs.pose(t["poses"], transl=t["transl"], **o),
            }
        for name, sides in case.items():
            if name != "prepare_identity":  # poses are of one identity
                ours.prepare_identity(given["coefficients"][:1])
                theirs.prepare_identity(tensors["coefficients"][:1])
            rows += timed(name, sides, batch, rounds)
    return rows


def timed(name: str, sides: Calls, batch: int, rounds: int) -> list[Row]:
    """Median CPU and wall seconds of each side's call."""
    for call in sides.values():
        call()
        call()
    spent: dict[str, list[tuple[float, float]]] = {side: [] for side in sides}
    for _ in range(rounds):
        for side, call in sides.items():
            start = time.process_time(), time.perf_counter()
            kept = call()
            spent[side].append((time.process_time() - start[0], time.perf_counter() - start[1]))
            del kept
    return [
        row(name, side, batch, *(statistics.median(times[k] for times in spent[side]) for k in (0, 1)))
        for side in sides
    ]


def growth(rounds: int) -> list[Row]:
    """Our pose() by batch and level of detail."""
    from soma_isaac.body.layer import SomaLayer

    rows: list[Row] = []
    for lod in ("mid", "low", "xlo"):
        layer = SomaLayer(lod=lod, threads=1)
        layer.prepare_identity()
        for batch in BATCHES:
            given, out = inputs(batch), layer.allocate(batch)
            side = {f"ours, {lod}": lambda g=given, o=out, p=layer: p.pose(g["poses"], g["transl"], out=o)}
            rows += [each | {"vertices": layer.vertex_count} for each in timed("growth", side, batch, rounds)]
    return rows


def row(name: str, side: str, batch: int, cpu: float, wall: float) -> Row:
    """One measurement; ``environment`` names the peer it stands beside."""
    import importlib.metadata

    version = ""
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        version = importlib.metadata.version("py-soma-x")
    return {"case": name, "side": side, "batch": batch, "cpu_s": cpu, "wall_s": wall, "peer": version}


if __name__ == "__main__":
    sys.exit(main())
