"""Shape inversion from segment lengths beside the estimator of the SMPL-IK paper, on held-out Anny bodies.

    python benchmarks/shape_from_lengths.py [--bodies 500] [--draws 20000] [--check] [--write] [--json FILE]

Phenotypes are drawn evenly over their range, ages from 0 (baby): younger bodies have neither a gender nor proportions
in Anny; a row of its own has them too, others have adults only. The paper's table is drawn from the same ages. Errors
of a parameter are root mean squares in standard deviations of what was drawn: 1 is what the average body would score.
CPU time is that of one core. ``--check`` exits with 1 where a target is missed, ``--write`` renews the section of
RESULTS.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from skinning import machine

from soma_isaac.body.identities import SomaTarget, load_identity
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.learned.shape_features import LOOSENESS, SEGMENT_NAMES, segment_lengths
from soma_isaac.learned.shape_inversion import LengthFit, LengthInversion
from soma_isaac.learned.shape_kernel import PaperEstimator, kernel_start, paper_features
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES

RESULTS = Path(__file__).with_name("RESULTS.md")
SECTION = "## Shape from segment lengths"
SCALES = (0.1, 0.25, 1.0, 1.9, 2.3, 10.0)
NAMES = ("gender", "age", "muscle", "weight", "height", "proportions")
LIMITS = {"gender": 0.15, "age": 0.25, "height": 0.05, "proportions": 0.10}
LENGTH_LIMIT = 0.0015
SINCE_BABY, ADULT = (0.0, 1.0), (2 / 3, 1.0)
SIX = ("thigh", "shin", "upper arm", "forearm", "neck", "lower spine")
SEED = 20220808

Row = dict[str, Any]


def main() -> int:
    """Measure, print, and check or write if asked; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=500)
    parser.add_argument("--draws", type=int, default=20_000, help="draws of the paper's estimator")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    rows = measure(arguments.bodies, arguments.draws)
    report = table(rows, arguments.bodies, arguments.draws)
    print(report)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))
    if arguments.write:
        renew_section(report)
    return 1 if arguments.check and not all(met for _, met in targets(rows)) else 0


class Bodies:
    """Held-out bodies, and how an estimate of them is scored."""

    def __init__(self, inversion: LengthInversion, count: int, ages: tuple[float, float]) -> None:
        self.model = inversion.bodies
        self.truth = self.model.drawn(count, SEED, {"age": ages})
        # Errors of a narrower range of ages are counted in its own standard deviation.
        whole = np.diff(self.model.model.spec.coefficients.ranges["age"])[0]
        self.deviation = np.where(np.array(NAMES) == "age", (ages[1] - ages[0]) / whole, 1.0)
        self.deviation = self.deviation * self.model.prior_deviation
        self.joints = self.model.joints(self.truth)

    def row(
        self, name: str, unknowns: np.ndarray, sizes: np.ndarray, seen: np.ndarray, seconds: float, scale: float = 1.0
    ) -> Row:
        """Figures of estimated unknowns [B, U] and sizes [B] against lengths [B, F]; ``scale`` is the characters'."""
        lengths = np.exp(self.model.log_lengths(unknowns)) * sizes[:, None]
        six = paper_features(self.joints) * scale
        off = np.abs(paper_features(self.model.joints(unknowns)) * sizes[:, None] - six)
        relative = np.abs(lengths / seen - 1.0)
        error = np.sqrt(np.square((unknowns - self.truth) / self.deviation).mean(axis=0))
        return {
            "name": name,
            "length": float(relative.mean()),
            "length_mm": float(1e3 * np.abs(lengths - seen).mean()),
            "worst_body": float(relative.mean(axis=1).max()),
            "six_mm": float(1e3 * off.mean()),
            "six": float(off.mean() / six.mean()),
            "error": dict(zip(NAMES, error.tolist(), strict=True)),
            "ms": 1e3 * seconds / len(seen),
        }

    def fitted(self, name: str, fit: LengthFit, seen: np.ndarray, seconds: float, scale: float) -> Row:
        """The row of a fit, with how often each parameter was called observable."""
        table = self.model.unknowns
        row = self.row(name, (fit.coefficients - table.default) / table.deviation, fit.size, seen, seconds, scale)
        return row | {"observable": dict(zip(NAMES, fit.observable.mean(axis=0).tolist(), strict=True))}


def measure(count: int, draws: int) -> list[Row]:
    """All rows."""
    began = time.process_time()
    target = SomaTarget.of(load_template_rig(), "low")
    model = load_identity("anny", target, local_changes=False)
    loaded = time.process_time()
    inversion = LengthInversion(model)
    prepared = time.process_time()
    print(f"anny loaded in {loaded - began:.2f} s, sampled in {prepared - loaded:.2f} s of CPU", file=sys.stderr)
    bodies = Bodies(inversion, count, SINCE_BABY)
    paper = PaperEstimator.of(inversion.bodies, draws, within={"age": SINCE_BABY})
    rows = [paper_row("paper", paper, bodies, scale) for scale in SCALES]
    rows.append(start_row(inversion, bodies))
    rows += [fit_row("ours", inversion, bodies, scale) for scale in SCALES]
    adults = Bodies(inversion, count, ADULT)
    paper = PaperEstimator.of(inversion.bodies, draws, within={"age": ADULT})
    rows += [paper_row("paper, adults", paper, adults, scale) for scale in (0.25, 1.0, 2.3)]
    rows.append(fit_row("ours, adults", inversion, adults))
    rows.append(fit_row("ours, newborns too", inversion, Bodies(inversion, count, (-1 / 3, 1.0))))
    some = Bodies(inversion, max(count // 4, 1), SINCE_BABY)
    rows.append(fit_row("ours, 6 lengths", inversion, some, only=SIX))
    for noise in (0.01, 0.02):
        rows.append(fit_row(f"ours, limbs {100 * noise:g} % off", inversion, some, noise=noise))
    rows.append(cross_row(inversion, target, max(count // 4, 1)))
    return rows


def paper_row(name: str, paper: PaperEstimator, bodies: Bodies, scale: float) -> Row:
    """The paper's estimator, scored on all lengths like ours."""
    began = time.process_time()
    unknowns, scales = paper.estimate(scale * bodies.joints)
    seconds = time.process_time() - began
    seen = scale * segment_lengths(bodies.joints)
    return bodies.row(f"{name}, scale {scale:g}", unknowns, scales, seen, seconds, scale)


def start_row(inversion: LengthInversion, bodies: Bodies) -> Row:
    """The kernel start without refinement; its scale is the geometric mean ratio."""
    seen = segment_lengths(bodies.joints)
    weights = np.broadcast_to(1.0 / np.square(LOOSENESS), seen.shape)
    began = time.process_time()
    unknowns, _ = kernel_start(inversion.population, np.log(seen), weights, free_scale=True)
    seconds = time.process_time() - began
    logs = bodies.model.log_lengths(unknowns)
    size = (weights * (np.log(seen) - logs)).sum(axis=1, keepdims=True) / weights.sum(axis=1, keepdims=True)
    return bodies.row("our start alone", unknowns, np.exp(size[:, 0]), seen, seconds)


def fit_row(
    name: str,
    inversion: LengthInversion,
    bodies: Bodies,
    scale: float | None = None,
    only: tuple[str, ...] = SEGMENT_NAMES,
    noise: float = 0.0,
) -> Row:
    """Our fit of some of the lengths, at a scale and with noise; scored against all true ones."""
    seen = (scale or 1.0) * segment_lengths(bodies.joints)
    lengths = seen * np.exp(noise * np.random.default_rng(SEED + 2).normal(size=seen.shape) * LOOSENESS)
    lengths[:, [segment not in only for segment in SEGMENT_NAMES]] = np.nan
    began = time.process_time()
    fit = inversion.fit(lengths)
    seconds = time.process_time() - began
    return bodies.fitted(name if scale is None else f"{name}, scale {scale:g}", fit, seen, seconds, scale or 1.0)


def cross_row(inversion: LengthInversion, target: SomaTarget, count: int) -> Row:
    """Bodies of the open shape space, which vary more than phenotypes can, fitted in Anny."""
    space = LengthInversion(load_identity("soma", target))
    seen = np.exp(space.bodies.log_lengths(space.bodies.drawn(count, SEED)))
    began = time.process_time()
    fit = inversion.fit(seen)
    seconds = time.process_time() - began
    relative = np.abs(fit.length_error)
    return {
        "name": "bodies of soma's open space in anny",
        "length": float(relative.mean()),
        "length_mm": float(1e3 * (relative * seen).mean()),
        "worst_body": float(relative.mean(axis=1).max()),
        "error": {},
        "ms": 1e3 * seconds / len(seen),
        "observable": dict(zip(NAMES, fit.observable.mean(axis=0).tolist(), strict=True)),
    }


def targets(rows: list[Row]) -> list[tuple[str, bool]]:
    """What was asked for, and whether it is met."""
    ours = [row for row in rows if row["name"].startswith("ours, scale")]
    worst = max(row["length"] for row in ours)
    text = f"mean length error at most {100 * LENGTH_LIMIT:g} % at every scale: {100 * worst:.3f} %"
    result = [(text, worst <= LENGTH_LIMIT)]
    for name, limit in LIMITS.items():
        error = max(row["error"][name] for row in ours)
        result.append((f"{name} at most {limit:g}: {error:.3f}", error <= limit))
    told = max(row["observable"][name] for row in ours for name in ("muscle", "weight"))
    result.append(
        (f"muscle and weight not observable: called observable in {100 * told:.1f} % of the bodies", told == 0.0)
    )
    return result


def table(rows: list[Row], count: int, draws: int) -> str:
    """The report as Markdown."""
    lines = [
        f"{count} held-out bodies, {len(SEGMENT_NAMES)} lengths from the {len(PUBLIC_JOINT_NAMES)} joints, scale "
        f"unknown; paper's estimator with {draws} draws, bandwidth 2 cm, scored on the same lengths. Six: the paper's "
        f"own distances, mean error over mean distance. {machine()}",
        "",
        f"| | length error | mm | worst body | six | six, mm | {' | '.join(NAMES)} | ms CPU |",
        "|---" * (len(NAMES) + 7) + "|",
    ]
    for row in rows:
        errors = [f"{row['error'][name]:.3f}" if row["error"] else "" for name in NAMES]
        lengths = [f"{100 * row['length']:.3f} %", f"{row['length_mm']:.2f}", f"{100 * row['worst_body']:.2f} %"]
        lengths += [f"{100 * row['six']:.3f} %", f"{row['six_mm']:.2f}"] if "six" in row else ["", ""]
        lines.append(f"| {' | '.join([row['name'], *lengths, *errors, format(row['ms'], '.2f')])} |")
    lines += ["", "Called observable, share of the bodies:", "", f"| | {' | '.join(NAMES)} |"]
    lines.append("|---" * (len(NAMES) + 1) + "|")
    for row in rows:
        if "observable" in row and row["name"] not in [f"ours, scale {scale:g}" for scale in SCALES if scale != 1.0]:
            shares = " | ".join(f"{100 * row['observable'][name]:.0f} %" for name in NAMES)
            lines.append(f"| {row['name']} | {shares} |")
    lines += ["", *(f"* {'met' if met else 'MISSED'}: {text}" for text, met in targets(rows))]
    return "\n".join(lines)


def renew_section(report: str) -> None:
    """Replace our section of RESULTS.md, or add it; the other sections stay as they are."""
    text = RESULTS.read_text(encoding="utf-8")
    section = f"{SECTION}\n\n{report}\n\n"
    pattern = re.compile(rf"^{re.escape(SECTION)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    text = pattern.sub(lambda _: section, text) if pattern.search(text) else f"{text.rstrip()}\n\n{section}"
    RESULTS.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
