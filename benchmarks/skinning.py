"""Bodies per second on a CPU and, where there is one, a GPU, beside py-soma-x in the same run.

    python benchmarks/skinning.py [--rounds N] [--check] [--write] [--json FILE]

For the environments ``.venv-peers/soma021`` and ``soma034`` (``make peers`` builds them), and for one and two CPU
threads, this script runs itself with that environment's Python, ``OMP_NUM_THREADS`` set first. OpenMP workers wait
passively: on a shared machine spinning ones make the peer 10 to 100 times slower. Inside, calls of the two sides take
turns, so that both meet the same disturbances. Without such an environment only our side is measured. ``--check`` exits
with 1 if a target is missed, ``--write`` renews the section of RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")
SECTION = "## Skinning"
LODS = ("mid", "low", "xlo")
BATCHES = (1, 32, 128)
GPU_BATCHES = (1, 128, 1024, 8192)
CPU_TARGET, WALL_TARGET = 2.5, 4.0
COLUMNS = (
    *("device", "threads", "LOD", "batch", "", "bodies/s", "bodies per CPU-s"),
    *("wall ms", "CPU ms", "wall ratio", "CPU ratio"),
)

Row = dict[str, Any]


def main() -> int:
    """Measure, print, and check or write if asked; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="calls per side and case; medians are shown")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=1, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.threads, arguments.rounds)))
        return 0
    rows = run_children(arguments.rounds)
    report = table(rows)
    print(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.write:
        renew_section(report)
    return 1 if arguments.check and not all(met for _, met in targets(rows)) else 0


def run_children(rounds: int) -> list[Row]:
    """One child process per environment and thread policy."""
    peers = sorted((CHECKOUT / ".venv-peers").glob("soma[0-9]*/bin/python")) or [Path(sys.executable)]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        assets = Path(folder)
        write_peer_assets(assets)
        for python in peers:
            for threads in (1, 2):
                environment = os.environ | {
                    "PYTHONPATH": str(CHECKOUT),
                    "OMP_NUM_THREADS": str(threads),
                    "OMP_WAIT_POLICY": "PASSIVE",
                }
                command = [str(python), __file__, "--child", str(assets), f"--threads={threads}", f"--rounds={rounds}"]
                done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
                rows += json.loads(done.stdout.splitlines()[-1])
    return rows


def write_peer_assets(folder: Path) -> None:
    """A data_root for py-soma-x: our rig and twist table, and a shape model whose mean is our bind shape (cm)."""
    import numpy as np

    from soma_isaac.formats.rig_usd import load_template_rig
    from soma_isaac.rig.skeleton import data_path

    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json"):
        shutil.copy(data_path(name), folder / name)
    rig = load_template_rig()
    mid, low = rig.mesh("mid"), rig.mesh("low")
    np.savez(
        folder / "SOMA_neutral.npz",
        mean=(mid.points * 100.0).astype(np.float32),
        shapedirs=np.zeros((128, mid.points.size), np.float32),
        eigenvalues=np.ones(128, np.float32),
        triangles=mid.triangles,
        triangles_low=low.triangles,
        lod_mid_to_low=np.arange(low.vertex_count),
        face_vert_indices=mid.face_vertex_indices,
        face_vert_counts=mid.face_vertex_counts,
        segment_eye_bags=np.zeros(0, np.int64),
        segment_mouth_bag=np.zeros(0, np.int64),
    )


def measure(assets: Path, threads: int, rounds: int) -> list[Row]:
    """Every LOD and batch in this process; only the rows go to stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        import numpy as np
        import warp as wp

        from soma_isaac.body import SomaBody
        from soma_isaac.formats.rig_usd import load_template_rig

        random = np.random.default_rng(0)
        peer = peer_poser(assets, threads)
        rows: list[Row] = []
        for lod in LODS:
            body = SomaBody(load_template_rig(), lod=lod, threads=threads)
            identity = body.prepare()
            theirs = peer and peer(lod)
            for batch in BATCHES:
                poses = random.normal(scale=0.3, size=(batch, 77, 3)).astype(np.float32)
                transl = random.normal(size=(batch, 3)).astype(np.float32)
                out = body.allocate(batch)
                calls: dict[str, Callable[[], Any]] = {
                    "soma_isaac": lambda b=body, i=identity, p=poses, t=transl: b.pose(i, p, t),
                    "soma_isaac, out=": lambda b=body, i=identity, p=poses, t=transl, o=out: b.pose(i, p, t, out=o),
                }
                if theirs:
                    calls[peer_name()] = theirs(poses, transl)
                rows += timed(calls, rounds, device="cpu", threads=threads, lod=lod, batch=batch)
        if wp.is_cuda_available() and threads == 1:
            rows += measure_gpu(rounds)
    return rows


def measure_gpu(rounds: int) -> list[Row]:
    """Our side on the first CUDA device: inputs already there, outputs reused, so the chain runs as a CUDA graph."""
    import numpy as np
    import warp as wp

    from soma_isaac.body import SomaBody
    from soma_isaac.formats.rig_usd import load_template_rig

    random = np.random.default_rng(0)
    rows: list[Row] = []
    for lod in LODS:
        body = SomaBody(load_template_rig(), device="cuda:0", lod=lod)
        identity = body.prepare()
        for batch in GPU_BATCHES:
            poses = wp.array(random.normal(scale=0.3, size=(batch, 77, 3)).astype("f4"), dtype=wp.vec3, device="cuda:0")
            transl = wp.array(random.normal(size=(batch, 3)).astype("f4"), dtype=wp.vec3, device="cuda:0")
            out = body.allocate(batch)

            def call(b=body, i=identity, p=poses, t=transl, o=out) -> None:
                b.pose(i, p, t, out=o)
                wp.synchronize_device("cuda:0")

            name = wp.get_device("cuda:0").name
            rows += timed({"soma_isaac, out=": call}, rounds, device=name, threads=1, lod=lod, batch=batch)
    return rows


def timed(calls: dict[str, Callable[[], Any]], rounds: int, **case: Any) -> list[Row]:
    """Median wall and CPU seconds of each call; the calls take turns."""
    for call in calls.values():
        for _ in range(3):
            call()
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            wall_start, cpu_start = time.perf_counter(), time.process_time()
            kept = call()
            cpu[name].append(time.process_time() - cpu_start)
            wall[name].append(time.perf_counter() - wall_start)
            del kept
    return [
        case
        | {
            "name": name,
            "environment": environment(),
            "wall_s": statistics.median(wall[name]),
            "best_wall_s": min(wall[name]),
            "cpu_s": statistics.median(cpu[name]),
        }
        for name in calls
    ]


def peer_name() -> str:
    """The peer with its version, as a row is called."""
    return f"py-soma-x {importlib.metadata.version('py-soma-x')}"


def environment() -> str:
    """Versions that the figures depend on."""
    versions = [f"Python {platform.python_version()}"]
    for package in ("py-soma-x", "torch", "warp-lang", "numpy"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    return ", ".join(versions)


def peer_poser(assets: Path, threads: int) -> Callable[[str], Callable[..., Callable[[], Any]]] | None:
    """LOD -> (poses, transl) -> a call of the peer's pose() without correctives; ``None`` where it is not installed."""
    try:
        import torch
        from soma import SOMALayer
    except ImportError:
        return None
    assert torch.get_num_threads() == threads, "OMP_NUM_THREADS must be set before torch is loaded"

    def layer_of(lod: str) -> Callable[..., Callable[[], Any]]:
        layer = SOMALayer(
            data_root=str(assets), identity_model_type="soma", device="cpu", lod=lod, correctives_model_path=None
        )
        with torch.no_grad():
            layer.prepare_identity(torch.zeros(1, 128))

        def call_of(poses: Any, transl: Any) -> Callable[[], Any]:
            poses, transl = torch.from_numpy(poses), torch.from_numpy(transl)

            def call() -> Any:
                with torch.no_grad():
                    return layer.pose(poses, transl=transl, apply_correctives=False)

            return call

        return call_of

    return layer_of


def machine() -> str:
    """The processor's name and the number of cores that may be used."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text() if cpuinfo.exists() else ""
    model = re.search(r"model name\s*:\s*(.+)", text)
    cores = len(os.sched_getaffinity(0))
    return f"{model.group(1) if model else platform.processor()}, {cores} cores"


def peer_row(rows: list[Row], row: Row) -> Row | None:
    """The peer's row of the same case and environment."""
    same = ("environment", "device", "threads", "lod", "batch")
    return next(
        (r for r in rows if r["name"].startswith("py-soma-x") and all(r[key] == row[key] for key in same)), None
    )


def table(rows: list[Row]) -> str:
    """All rows as Markdown."""
    lines = [
        f"{SECTION}",
        "",
        "`python benchmarks/skinning.py --write`: `pose()` of one template identity without correctives, float32,",
        "random poses; medians of calls that take turns in one process. CPU time counts all threads. `out=` reuses the",
        "arrays of results; py-soma-x has no such option and runs under `torch.no_grad()`. Ratios are py-soma-x over",
        "soma_isaac: how many times faster.",
        "",
        f"Machine: {machine()}, load average {os.getloadavg()[0]:.1f} at the end of the run. With more load than",
        "cores, wall times are those of a shared machine, and only ratios within a case mean something."
        f"{'' if any(row['device'] != 'cpu' for row in rows) else ' No CUDA device.'}",
        "",
        *(f"* {line}" for line, _ in targets(rows)),
    ]
    for name in dict.fromkeys(row["environment"] for row in rows):
        lines += ["", f"{name}:", ""]
        lines += [f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [row_line(rows, row) for row in rows if row["environment"] == name]
    return "\n".join(lines) + "\n"


def row_line(rows: list[Row], row: Row) -> str:
    """One line of the table."""
    peer = peer_row(rows, row)
    ratios = ["", ""]
    if peer is not None and peer is not row:
        ratios = [f"{peer[key] / row[key]:.1f}" for key in ("wall_s", "cpu_s")]
    figures = [f"{row['batch'] / row['wall_s']:,.0f}", f"{row['batch'] / max(row['cpu_s'], 1e-9):,.0f}"]
    times = [f"{row['wall_s'] * 1e3:.3f}", f"{row['cpu_s'] * 1e3:.3f}"]
    cells = [row["device"], str(row["threads"]), row["lod"], str(row["batch"]), row["name"], *figures, *times, *ratios]
    return f"| {' | '.join(cells)} |"


def targets(rows: list[Row]) -> list[tuple[str, bool]]:
    """What is asked of mid LOD at batch 128, for plain calls beside every peer, and whether it is met."""
    lines = []
    for row in rows:
        peer = peer_row(rows, row)
        if peer is None or row["name"] != "soma_isaac" or (row["lod"], row["batch"]) != ("mid", 128):
            continue
        key, target = ("cpu_s", CPU_TARGET) if row["threads"] == 1 else ("wall_s", WALL_TARGET)
        ratio = peer[key] / row[key]
        what = "per CPU-second on one thread" if row["threads"] == 1 else "in wall time on two threads"
        met = ratio >= target
        lines.append(
            (f"mid, batch 128: {ratio:.1f} x {peer['name']} {what} (target {target:g}{'' if met else ', missed'})", met)
        )
    return lines


def renew_section(report: str, section: str = SECTION) -> None:
    """Replace a section of RESULTS.md, or add it; the other sections stay as they are."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    pattern = re.compile(rf"^{re.escape(section)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = pattern.sub(lambda _: report + "\n", text) if pattern.search(text) else f"{text.rstrip()}\n\n{report}"
    RESULTS.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
