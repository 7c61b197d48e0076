"""Tables of the benchmarks of learned IK, for Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

RESULTS = Path(__file__).with_name("RESULTS.md")
COLUMNS = (
    ("MPJPE mm", "mpjpe_mm", "{:.1f}"),
    ("±", "mpjpe_mm_deviation", "{:.1f}"),
    ("in the world mm", "absolute_mpjpe_mm", "{:.1f}"),
    ("PA mm", "pa_mpjpe_mm", "{:.1f}"),
    ("GE rad", "ge_rad", "{:.4f}"),
    ("positions missed by mm, proposed", "position_before_mm", "{:.1f}"),
    ("answered", "position_after_mm", "{:.2f}"),
    ("angles missed by deg, proposed", "angle_before_deg", "{:.1f}"),
    ("answered", "angle_after_deg", "{:.2f}"),
    ("exact ones missed %", "missed_percent", "{:.2f}"),
    ("change deg", "change_deg", "{:.1f}"),
    ("CPU ms", "cpu_ms_per_pose", "{:.2f}"),
)
PAPER_NOTE = (
    "SMPL-IK prints 59.3 mm, 52.5 mm and 0.1602 rad (MPJPE, PA, GE; noisy) for AMASS, 24 joints, trained on AMASS: "
    "other data, not to be compared with figures of CMU."
)
HELD_OUT, OURS, PAPER = "held-out subjects", "network + exact stage", "paper"


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


def result_lines(results: list[dict[str, Any]], *, targets: bool) -> list[str]:
    """Everything that was measured; the ``targets`` are for the CMU people."""
    lines = [*verdict_lines(results), ""] if targets else []
    previous = None
    for row in results:
        heading = (row["source"], row["bodies"], row["ask"])
        if heading != previous:
            lines += ["", f"### {row['source']}, {row['bodies']} body, {row['ask']}", ""]
            lines += _header(["", *(title for title, _, _ in COLUMNS)])
            previous = heading
        values = {**row["mean"], "cpu_ms_per_pose": row["cpu_ms_per_pose"]}
        values["missed_percent"] = 100.0 * max(values["missed_positions"], values["missed_angles"])
        lines.append(_line([row["contestant"], *(form.format(values[name]) for _, name, form in COLUMNS)]))
    return [*lines, "", *curve_lines(results)]


def verdict_lines(results: list[dict[str, Any]]) -> list[str]:
    """Which targets are met, held-out subjects only."""
    return [*_header(["target", "limit", "measured", ""]), *(_line(list(each)) for each in _verdicts(results))]


def _verdicts(results: list[dict[str, Any]]) -> Iterator[tuple[str, str, str, str]]:
    found = {(row["bodies"], row["ask"], row["contestant"]): row for row in results if row["source"] == HELD_OUT}
    means = {key: row["mean"] for key, row in found.items()}
    for ask, on_gpu, on_cpu in (("noisy", 55.0, 66.0), ("six", 22.0, 28.0)):
        error = means["template", ask, OURS]["mpjpe_mm"]
        verdict = "missed" if error > on_cpu else "met as for a CPU" if error > on_gpu else "met as for a GPU"
        yield f"MPJPE, {OURS}, {ask}", f"{on_cpu:.0f} mm (trained on a GPU: {on_gpu:.0f})", f"{error:.1f} mm", verdict
        if ("template", ask, PAPER) in means:
            behind = 100.0 * (means["template", ask, PAPER]["mpjpe_mm"] / error - 1.0)
            yield f"{PAPER} behind, {ask}", "at least 15 %", f"{behind:.0f} %", _met(behind >= 15.0)
        for bodies in ("random", "anny"):
            if (bodies, ask, OURS) in means:
                more = 100.0 * (means[bodies, ask, OURS]["mpjpe_mm"] / error - 1.0)
                yield f"{bodies} bodies over the template, {ask}", "at most 10 %", f"{more:+.1f} %", _met(more <= 10.0)
    for ask in ("exact", "six"):
        for what, name, limit in (("positions", "missed_positions", "1 mm"), ("angles", "missed_angles", "0.5 degree")):
            share = 100.0 * means["template", ask, OURS][name]
            yield f"{what} beyond {limit}, {OURS}, {ask}", "0 %", f"{share:.3f} %", _met(share == 0.0)


def curve_lines(results: list[dict[str, Any]]) -> list[str]:
    """MPJPE by the number of effectors, of the first source on the template."""
    first = results[0]["source"]
    rows = [row for row in results if (row["source"], row["bodies"], row["ask"]) == (first, "template", "noisy")]
    sizes = sorted({size for row in rows for size in row["by_count"]})
    lines = [f"### MPJPE mm by number of effectors ({first}, noisy)", "", *_header(["", *map(str, sizes)])]
    for row in rows:
        known = row["by_count"]
        cells = [f"{known[size]['mpjpe_mm']:.0f}" if size in known else "" for size in sizes]
        lines.append(_line([row["contestant"], *cells]))
    return lines


def renew_section(heading: str, lines: list[str], path: Path = RESULTS) -> None:
    """Replace, or append, the section ``## heading`` of RESULTS.md."""
    text = path.read_text(encoding="utf-8")
    section = "\n".join([f"## {heading}", "", *lines]).rstrip() + "\n"
    pattern = re.compile(rf"^## {re.escape(heading)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    renewed = pattern.sub(lambda _: section + "\n", text)
    text = renewed if pattern.search(text) else f"{text.rstrip()}\n\n{section}"
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _header(cells: list[str]) -> list[str]:
    return [_line(cells), "|---" * len(cells) + "|"]


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _met(met: bool) -> str:
    return "met" if met else "missed"
