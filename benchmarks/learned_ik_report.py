"""Tables of the benchmark of learned IK."""

from __future__ import annotations

from typing import Any

import numpy as np

from soma_isaac.learned.fixed_draws import FixedDraws

COLUMNS = (
    ("MPJPE mm", "mpjpe_mm", "{:.1f}"),
    ("+-", "mpjpe_mm_deviation", "{:.1f}"),
    ("absolute mm", "absolute_mpjpe_mm", "{:.1f}"),
    ("PA mm", "pa_mpjpe_mm", "{:.1f}"),
    ("GE rad", "ge_rad", "{:.4f}"),
    ("positions mm", "position_before_mm", "{:.1f}"),
    ("after", "position_after_mm", "{:.2f}"),
    ("angles deg", "angle_before_deg", "{:.1f}"),
    ("after", "angle_after_deg", "{:.2f}"),
    ("exact missed %", "missed_percent", "{:.2f}"),
    ("change deg", "change_deg", "{:.1f}"),
    ("CPU ms", "cpu_ms_per_pose", "{:.2f}"),
)
PAPER_NOTE = (
    "SMPL-IK prints 59.3 mm, 52.5 mm and 0.1602 rad (MPJPE, PA, GE; noisy) for AMASS, 24 joints, trained on AMASS: "
    "other data, not to be compared with figures of CMU."
)


def seed_means(seeds: list[dict[str, float]], counts: list[dict[int, tuple[int, float]]]) -> dict[str, Any]:
    """Means over the seeds, the deviation of MPJPE between them, and MPJPE by number of effectors."""
    means = {name: float(np.mean([seed[name] for seed in seeds])) for name in seeds[0]}
    means["mpjpe_mm_deviation"] = float(np.std([seed["mpjpe_mm"] for seed in seeds]))
    sizes = sorted({size for each in counts for size in each})
    curve = {}
    for size in sizes:
        known = [each[size] for each in counts if size in each]
        total = sum(count for count, _ in known)
        curve[size] = {"sets": total, "mpjpe_mm": sum(count * value for count, value in known) / total}
    return {"mean": means, "seeds": seeds, "by_count": curve}


def print_tables(results: list[dict[str, Any]], draws: FixedDraws, *, targets: bool) -> None:
    """Print what was measured, for Markdown; the ``targets`` are for the CMU people."""
    print(f"{draws.seed_count} seeds x {draws.set_count} sets each; +- is the standard deviation between seeds.")
    print(PAPER_NOTE)
    previous = None
    for row in results:
        heading = (row["source"], row["bodies"], row["ask"])
        if heading != previous:
            print(f"\n### {row['source']}, {row['bodies']} body, {row['ask']}\n")
            print("| | " + " | ".join(title for title, _, _ in COLUMNS) + " |")
            print("|---" * (len(COLUMNS) + 1) + "|")
            previous = heading
        values = {**row["mean"], "cpu_ms_per_pose": row["cpu_ms_per_pose"]}
        values["missed_percent"] = 100.0 * max(values["missed_positions"], values["missed_angles"])
        print(f"| {row['contestant']} | " + " | ".join(form.format(values[name]) for _, name, form in COLUMNS) + " |")
    _print_curves(results)
    if targets:
        print_verdicts(results)


def print_verdicts(results: list[dict[str, Any]]) -> None:
    """Print which targets are met, held-out subjects only."""
    found = {
        (row["bodies"], row["ask"], row["contestant"]): row["mean"]
        for row in results
        if row["source"] == "held-out subjects"
    }
    ours, paper, template = "network + exact stage", "paper", "template"
    print("\n### Targets (held-out subjects)\n")
    print("| target | limit | measured | |")
    print("|---|---|---|---|")
    for ask, on_gpu, on_cpu in (("noisy", 55.0, 66.0), ("six", 22.0, 28.0)):
        error = found[template, ask, ours]["mpjpe_mm"]
        on_what = "met as for a GPU" if error <= on_gpu else "met as for a CPU"
        verdict = on_what if error <= on_cpu else "missed"
        print(f"| MPJPE, {ours}, {ask} | {on_cpu:.0f} mm (GPU {on_gpu:.0f}) | {error:.1f} mm | {verdict} |")
        for name in (paper, f"{paper} + exact stage"):
            if (template, ask, name) in found:
                behind = 100.0 * (found[template, ask, name]["mpjpe_mm"] / error - 1.0)
                _print_verdict(f"{name} behind, {ask}", "at least 15 %", f"{behind:.0f} %", behind >= 15.0)
        for bodies in ("random", "anny"):
            if (bodies, ask, ours) in found:
                more = 100.0 * (found[bodies, ask, ours]["mpjpe_mm"] / error - 1.0)
                _print_verdict(
                    f"{bodies} bodies against the template, {ask}", "at most 10 %", f"{more:+.1f} %", more <= 10.0
                )
    for ask in ("exact", "six"):
        mean = found[template, ask, ours]
        for what, name, limit in (("positions", "missed_positions", "1 mm"), ("angles", "missed_angles", "0.5 degree")):
            share = 100.0 * mean[name]
            _print_verdict(f"{what} beyond {limit}, {ours}, {ask}", "0 %", f"{share:.3f} %", share == 0.0)


def _print_verdict(target: str, limit: str, measured: str, met: bool) -> None:
    print(f"| {target} | {limit} | {measured} | {'met' if met else 'missed'} |")


def _print_curves(results: list[dict[str, Any]]) -> None:
    noisy = [row for row in results if (row["bodies"], row["ask"]) == ("template", "noisy")][:20]
    first = noisy[0]["source"]
    noisy = [row for row in noisy if row["source"] == first]
    sizes = sorted({size for row in noisy for size in row["by_count"]})
    print(f"\n### MPJPE mm by number of effectors ({first}, noisy)\n")
    print("| effectors | " + " | ".join(str(size) for size in sizes) + " |")
    print("|---" * (len(sizes) + 1) + "|")
    for row in noisy:
        cells = [f"{row['by_count'][size]['mpjpe_mm']:.0f}" if size in row["by_count"] else "" for size in sizes]
        print(f"| {row['contestant']} | " + " | ".join(cells) + " |")
