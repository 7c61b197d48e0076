"""Pose inversion beside py-soma-x in the same run: errors on our own bodies, and frames per CPU second.

    python benchmarks/inversion.py [--data DIR] [--rounds N] [--check] [--write] [--json FILE]

200 frames of the SOMA motions in ``../shared/data/soma_motion``, 25 of each clip, posed with a random identity of the
open shape space per clip on the twist rig, are inverted by both sides. For the environments ``.venv-peers/soma021`` and
``soma034`` (``make peers`` builds them) this script runs itself with that environment's Python and one thread; OpenMP
workers wait passively. Without such an environment only our side is measured. ``--check`` exits with 1 if a target is
missed, ``--write`` renews the section of RESULTS.md.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
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

from skinning import environment, machine, peer_name

CHECKOUT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).with_name("RESULTS.md")
DATA = CHECKOUT.parent / "shared" / "data" / "soma_motion"
SECTION = "## Inversion"
FRAMES_PER_CLIP = 25
MOVED_VERTICES = 50
ANALYTICAL, REFINED = "analytical", "refined"
TOGETHER = ", one identity, one call"
MEAN_LIMIT_MM, MAX_LIMIT_MM, DEGREES_LIMIT, SPEED_LIMIT = 0.5, 10.0, 1.0, 20.0
GPU_BATCHES = (1024, 16384)
COLUMNS = (
    *("", "LOD", "frames per CPU-s", "error mean mm", "median", "max", "reported mean mm"),
    *("rotation mean deg", "worst joint deg"),
)

Row = dict[str, Any]


def main() -> int:
    """Measure, print, and check or write if asked; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with SOMA motions (npz)")
    parser.add_argument("--rounds", type=int, default=5, help="runs of the fast settings; medians are shown")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child, arguments.data, arguments.rounds)))
        return 0
    if not sorted(arguments.data.glob("*.npz")):
        print(f"no motions in {arguments.data}; say where they are with --data", file=sys.stderr)
        return 2
    rows = run_children(arguments.data, arguments.rounds)
    report = table(rows)
    print(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.write:
        renew_section(report)
    return 1 if arguments.check and not all(met for _, met in targets(rows)) else 0


def run_children(data: Path, rounds: int) -> list[Row]:
    """One child process per environment."""
    from soma_isaac.rig.skeleton import data_path

    peers = sorted((CHECKOUT / ".venv-peers").glob("soma[0-9]*/bin/python")) or [Path(sys.executable)]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json", "SOMA_neutral.npz"):
            shutil.copy(data_path(name), Path(folder) / name)
        for python in peers:
            settings = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
            command = [str(python), __file__, "--child", folder, "--data", str(data), f"--rounds={rounds}"]
            done = subprocess.run(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True, check=True)
            rows += json.loads(done.stdout.splitlines()[-1])
    return rows


def measure(assets: Path, data: Path, rounds: int) -> list[Row]:
    """Both sides in this process; only the rows go to stdout."""
    with contextlib.redirect_stdout(sys.stderr):
        import numpy as np
        import warp as wp

        clips = load_clips(data)
        anchor = "bind"
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = tuple(int(n) for n in importlib.metadata.version("py-soma-x").split("."))
            anchor = "rest" if version < (0, 2, 2) else "bind"
        low = Bodies("low", clips, anchor)
        calls: dict[str, tuple[Callable[[], list[Any]], int]] = {}
        for name, fits in low.our_fits().items():
            calls[f"soma_isaac, {name}"] = (fits, rounds)
        calls |= low.peer_fits(assets, rounds)
        rows = [low.row(name, *timed(call, count)) for name, (call, count) in calls.items()]
        together = Bodies("low", [tuple(np.concatenate(part) for part in zip(*clips, strict=True))], anchor)
        calls = {f"soma_isaac, {name}": (fits, rounds) for name, fits in together.our_fits().items()}
        calls |= dict(list(together.peer_fits(assets, rounds).items())[:1])
        rows += [together.row(f"{name}{TOGETHER}", *timed(call, count)) for name, (call, count) in calls.items()]
        mid = Bodies("mid", clips, anchor)
        rows += [mid.row(f"soma_isaac, {name}", *timed(fits, rounds)) for name, fits in mid.our_fits().items()]
        if wp.is_cuda_available():
            rows += measure_gpu(clips)
    return rows


def load_clips(data: Path) -> list[tuple[Any, Any]]:
    """Rotations [25, 77, 3, 3] and Hips positions [25, 3] of each clip."""
    import numpy as np

    from soma_isaac.pipelines.motion_in import load_motion

    clips = []
    for path in sorted(data.glob("*.npz")):
        motion = load_motion(path)
        frames = np.linspace(0, motion.frame_count - 1, FRAMES_PER_CLIP).astype(int)
        clips.append((motion.rotations[frames], motion.root_translation[frames]))
    return clips


class Bodies:
    """A random identity per clip, posed at one LOD."""

    def __init__(self, lod: str, clips: list[tuple[Any, Any]], anchor: str, device: str = "cpu") -> None:
        import numpy as np

        from soma_isaac.body.layer import SomaLayer
        from soma_isaac.body.layout import joint_layout
        from soma_isaac.body.regressor import folded_weights
        from soma_isaac.inversion.pose_inversion import PoseInversion

        self.lod, self.clips, self.anchor = lod, clips, anchor
        self.layer = SomaLayer(identity="soma", lod=lod, twist_anchor=anchor, threads=1, device=device)
        self.inversion = PoseInversion(self.layer.body)
        random = np.random.default_rng(11)
        self.coefficients = random.normal(size=(len(clips), 1, 64)).astype(np.float32)
        self.identities = [self.layer.prepare_identity(row) for row in self.coefficients]
        self.targets = [
            self.layer.body.pose(identity, *clip).vertices.numpy().copy()
            for identity, clip in zip(self.identities, clips, strict=True)
        ]
        rig = self.layer.rig
        weights = folded_weights(rig.mesh("mid"), joint_layout(rig, twist=False))
        self.moved = np.flatnonzero((np.asarray(weights) > 0.0).sum(axis=0) >= MOVED_VERTICES)
        self.moved = self.moved[self.moved > 0]

    def our_fits(self) -> dict[str, Callable[[], list[Any]]]:
        """Our settings by name: a call that fits all clips."""
        from soma_isaac.inversion.settings import InversionSettings

        prepared = [self.inversion.prepare(identity) for identity in self.identities]

        def call(settings: InversionSettings) -> list[Any]:
            pairs = zip(self.targets, prepared, strict=True)
            results = [self.inversion.fit(vertices, body, settings) for vertices, body in pairs]
            return [(r.absolute_rotations, r.root_translation, r.per_vertex_error) for r in results]

        return {
            ANALYTICAL: lambda: call(InversionSettings(steps=0)),
            REFINED: lambda: call(InversionSettings()),
        }

    def peer_fits(self, assets: Path, rounds: int) -> dict[str, tuple[Callable[[], list[Any]], int]]:
        """The peer's settings by name; empty where it is not installed."""
        try:
            import torch
            from soma import SOMALayer
        except ImportError:
            return {}
        try:
            from soma.fitting.pose_inversion import PoseInversion
        except ImportError:
            from soma.pose_inversion import PoseInversion
        assert torch.get_num_threads() == 1, "OMP_NUM_THREADS must be set before torch is loaded"
        layer = SOMALayer(
            data_root=str(assets), identity_model_type="soma", device="cpu", lod=self.lod, correctives_model_path=None
        )
        # Given a low layer, 0.3.4 must not look for another one: it would not find its own module.
        inversion = PoseInversion(layer, low_lod=False)
        targets = [torch.from_numpy(vertices) for vertices in self.targets]

        def call(**options: Any) -> list[Any]:
            results = []
            with torch.no_grad():
                for coefficients, vertices in zip(self.coefficients, targets, strict=True):
                    begin = time.process_time()
                    inversion.prepare_identity(torch.from_numpy(coefficients))
                    self.untimed += time.process_time() - begin
                    fit = inversion.fit(vertices, **options)
                    results.append(tuple(fit[k].numpy() for k in ("rotations", "root_translation", "per_vertex_error")))
            return [(rotations[:, 1:], translation, error) for rotations, translation, error in results]

        name = peer_name()
        call(lie_iters=0)
        return {
            f"{name}, analytical 2/0/1": (lambda: call(lie_iters=0), rounds),
            f"{name}, analytical 10/2/1": (lambda: call(lie_iters=0, body_iters=10, finger_iters=2), 1),
            f"{name}, default": (call, 1),
        }

    untimed = 0.0
    """CPU seconds of the peer's identities, which are not counted as fitting; ours are prepared before."""

    def row(self, name: str, results: list[Any], seconds: float) -> Row:
        """Errors on the twist rig, whatever a side reports of itself."""
        import numpy as np

        from soma_isaac.body.orientations import absolute_from_relative
        from soma_isaac.math.so3 import geodesic_angle

        errors, angles = [], []
        cases = zip(results, self.identities, self.targets, self.clips, strict=True)
        for (rotations, translation, _), identity, vertices, (truth, _) in cases:
            again = self.layer.body.pose(identity, rotations, translation, absolute=True).vertices.numpy()
            errors.append(np.linalg.norm(again - vertices, axis=2) * 1e3)
            wanted = absolute_from_relative(truth, self.layer.body.orientations)
            angles.append(np.degrees(geodesic_angle(np.asarray(rotations, dtype=float), wanted))[:, self.moved - 1])
        error, by_joint = np.concatenate(errors), np.concatenate(angles).mean(axis=0)
        worst = self.layer.rig.public_joint_names[self.moved[int(by_joint.argmax())]]
        return {
            "name": name,
            "environment": environment(),
            "lod": self.lod,
            "anchor": self.anchor,
            "device": "cpu",
            "frames": len(error),
            "joints": len(self.moved),
            "fps": len(error) / seconds,
            "mean_mm": float(error.mean()),
            "median_mm": float(np.median(error)),
            "max_mm": float(error.max()),
            "reported_mm": float(np.mean([np.mean(reported) for *_, reported in results]) * 1e3),
            "degrees": float(by_joint.mean()),
            "worst": f"{worst} {by_joint.max():.2f}",
        }


def timed(call: Callable[[], list[Any]], rounds: int) -> tuple[list[Any], float]:
    """The last result and the median CPU seconds."""
    if rounds > 1:
        call()
    seconds = []
    for _ in range(rounds):
        Bodies.untimed, begin = 0.0, time.process_time()
        results = call()
        seconds.append(time.process_time() - begin - Bodies.untimed)
    return results, statistics.median(seconds)


def measure_gpu(clips: list[tuple[Any, Any]]) -> list[Row]:
    """Our side on the first CUDA device: targets already there, wall time of whole fits, results on the host."""
    import numpy as np
    import warp as wp

    from soma_isaac.inversion.settings import InversionSettings

    bodies = Bodies("low", clips[:1], "bind", device="cuda:0")
    prepared = bodies.inversion.prepare(bodies.identities[0])
    rows = []
    for batch in GPU_BATCHES:
        vertices = np.resize(bodies.targets[0], (batch, *bodies.targets[0].shape[1:]))
        targets = wp.array(vertices, dtype=wp.vec3, device="cuda:0")
        for name, settings in ((ANALYTICAL, InversionSettings(steps=0)), (REFINED, InversionSettings())):
            result = bodies.inversion.fit(targets, prepared, settings)
            seconds = []
            for _ in range(3):
                begin = time.perf_counter()
                result = bodies.inversion.fit(targets, prepared, settings)
                seconds.append(time.perf_counter() - begin)
            mean = float(result.per_vertex_error.mean() * 1e3)
            row = {"name": f"soma_isaac, {name}", "environment": environment(), "lod": "low", "frames": batch}
            rows.append(row | {"device": wp.get_device("cuda:0").name, "fps": batch / min(seconds), "mean_mm": mean})
    return rows


def table(rows: list[Row]) -> str:
    """All rows as Markdown."""
    cpu = [row for row in rows if row["device"] == "cpu"]
    gpu = [row for row in rows if row["device"] != "cpu"]
    lines = [
        SECTION,
        "",
        f"`python benchmarks/inversion.py --write`: {cpu[0]['frames']} frames of real SOMA motions, one random",
        "identity of the open shape space per clip, posed on the twist rig and inverted; one thread, identities",
        "prepared before. Errors are distances of the target from the found pose on the twist rig, for both sides;",
        "`reported` is what a side says itself. Rotation errors are of the",
        f"{cpu[0]['joints']} joints that move at least {MOVED_VERTICES} vertices of the mid mesh, with their helpers.",
        "0.2.1 anchors twist at the T-pose: so do the targets of its run. `analytical` of soma_isaac is the closed",
        "form alone, `refined` the default. The last three rows at low LOD give both sides one identity and all",
        "frames in one call, which suits py-soma-x's tensors better.",
        "",
        f"Machine: {machine()}, load average {os.getloadavg()[0]:.1f} at the end of the run."
        f"{'' if gpu else ' No CUDA device.'}",
        "",
        *(f"* {line}" for line, _ in targets(rows)),
    ]
    for name in dict.fromkeys(row["environment"] for row in cpu):
        lines += ["", f"{name}:", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        lines += [row_line(row) for row in cpu if row["environment"] == name]
    if gpu:
        lines += ["", "| device | | batch | frames/s | error mean mm |", "|---|---|---|---|---|"]
        lines += [
            f"| {r['device']} | {r['name']} | {r['frames']} | {r['fps']:,.0f} | {r['mean_mm']:.4f} |" for r in gpu
        ]
    return "\n".join(lines) + "\n"


def row_line(row: Row) -> str:
    """One line of the table."""
    figures = [f"{row[key]:.4f}" for key in ("mean_mm", "median_mm")]
    cells = [row["name"], row["lod"], f"{row['fps']:,.1f}", *figures, f"{row['max_mm']:.2f}"]
    cells += [f"{row['reported_mm']:.4f}", f"{row['degrees']:.3f}", row["worst"]]
    return f"| {' | '.join(cells)} |"


def targets(rows: list[Row]) -> list[tuple[str, bool]]:
    """What is asked of the error, and of the speed beside every peer, and whether it is met."""
    lines: list[tuple[str, bool]] = []
    for row in (row for row in rows if row["device"] == "cpu" and row["name"] == f"soma_isaac, {REFINED}"):
        for what, value, limit in (
            ("mean vertex error mm", row["mean_mm"], MEAN_LIMIT_MM),
            ("largest vertex error mm", row["max_mm"], MAX_LIMIT_MM),
            ("mean rotation error deg", row["degrees"], DEGREES_LIMIT),
        ):
            anchor = f"twist anchored at the {row['anchor']} pose"
            lines.append((f"{row['lod']}, {anchor}, {what}: {value:.3g} (at most {limit:g})", value <= limit))
    for peer in (row for row in rows if row["name"].startswith("py-soma-x")):
        options, together = peer["name"].removesuffix(TOGETHER).split(", ")[1], peer["name"].endswith(TOGETHER)
        kind = {"analytical 2/0/1": ANALYTICAL, "default": REFINED}.get(options)
        name = f"soma_isaac, {kind}{TOGETHER if together else ''}"
        ours = next((r for r in rows if (r["environment"], r["lod"], r["name"])
                     == (peer["environment"], peer["lod"], name)), None)  # fmt: skip
        if ours is not None:
            ratio = ours["fps"] / peer["fps"]
            met = ratio >= SPEED_LIMIT and ours["mean_mm"] <= peer["mean_mm"]
            lines.append(
                (
                    f"{kind}: {ratio:.0f} x {peer['name']} in frames per CPU second (at least {SPEED_LIMIT:g}), "
                    f"error {ours['mean_mm']:.3g} mm against {peer['mean_mm']:.3g} mm",
                    met,
                )
            )
    return [(f"{line}{'' if met else ', missed'}", met) for line, met in dict.fromkeys(lines)]


def renew_section(report: str) -> None:
    """Replace our section of RESULTS.md, or add it; the other sections stay as they are."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else "# Results\n"
    pattern = re.compile(rf"^{re.escape(SECTION)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = pattern.sub(lambda _: report + "\n", text) if pattern.search(text) else f"{text.rstrip()}\n\n{report}"
    RESULTS.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
