"""The layer's benchmark as Markdown and as a plot."""

from __future__ import annotations

import os
import statistics
from pathlib import Path
from typing import Any

from skinning import machine

SECTION = "## Layer"
TARGETS = (
    ("construction", 1, 10.0),
    ("construction and first identity", 1, 10.0),
    ("prepare_identity", 128, 4.0),
    ("pose", 128, 2.5),
    ("pose with correctives", 1, 50.0),
    ("pose with correctives", 128, 10.0),
    ("pose joints only", 128, 5.0),
)
MEMORY_TARGET = 4.0

Row = dict[str, Any]


def median_of(rows: list[Row], key: str, **wanted: Any) -> float | None:
    """Median of a figure over the rows of a case."""
    found = [row[key] for row in rows if key in row and all(row.get(name) == value for name, value in wanted.items())]
    return statistics.median(found) if found else None


def peers(rows: list[Row]) -> list[str]:
    """Versions of py-soma-x in the rows."""
    return sorted({row["peer"] for row in rows if row["side"] == "peer"})


def targets(rows: list[Row]) -> list[tuple[str, bool]]:
    """What is asked beside every peer, and whether it is met."""
    lines = []
    for peer in peers(rows):
        for case, batch, target in TARGETS:
            pair = [median_of(rows, "cpu_s", case=case, batch=batch, side=side, peer=peer) for side in ("peer", "ours")]
            if pair[0] is not None and pair[1]:
                ratio = pair[0] / pair[1]
                lines.append(_line(f"{case}, batch {batch}: {ratio:.1f} x py-soma-x {peer}", ratio, target))
        pair = [median_of(rows, "peak_mb", case="peak memory", side=side, peer=peer) for side in ("peer", "ours")]
        if pair[0] is not None and pair[1]:
            ratio = pair[0] / pair[1]
            text = f"peak memory of 128 corrected bodies: {pair[1]:.0f} MB, py-soma-x {peer} {pair[0]:.0f} MB"
            lines.append(_line(f"{text}, {ratio:.1f} x", ratio, MEMORY_TARGET))
    return lines


def _line(text: str, ratio: float, target: float) -> tuple[str, bool]:
    met = ratio >= target
    return f"{text} (target {target:g}{'' if met else ', missed'})", met


def report(rows: list[Row]) -> str:
    """The section of RESULTS.md."""
    lines = [
        SECTION,
        "",
        "`python benchmarks/layer.py --write`: the `soma` identity model (64 components), mid LOD, one CPU thread,",
        "float32, on the same files; correctives with 3.9 million weights. Ratios are py-soma-x over soma_isaac in CPU",
        "time. Ours sets up the skeleton fit at the first identity, with a regression that ships with the template.",
        "Memory is the process's peak, imports included.",
        "",
        f"Machine: {machine()}, load average {os.getloadavg()[0]:.1f} at the end of the run.",
        "",
        *(f"* {line}" for line, _ in targets(rows)),
        "",
        "| case | batch | peer | soma_isaac CPU ms | py-soma-x CPU ms | soma_isaac wall ms | py-soma-x wall ms |",
        "|---|---|---|---|---|---|---|",
    ]
    cases = dict.fromkeys((row["case"], row["batch"]) for row in rows if row["case"] not in ("growth", "peak memory"))
    for peer in peers(rows):
        for case, batch in cases:
            figures = [
                median_of(rows, key, case=case, batch=batch, side=side, peer=peer)
                for key in ("cpu_s", "wall_s")
                for side in ("ours", "peer")
            ]
            cells = " | ".join("" if value is None else f"{value * 1e3:.2f}" for value in figures)
            lines.append(f"| {case} | {batch} | {peer} | {cells} |")
    lines += ["", "CPU microseconds per body by batch (see `growth.svg`):", ""]
    grown = [row for row in rows if row["case"] == "growth"]
    batches = sorted({row["batch"] for row in grown})
    lines += [f"| LOD | vertices | {' | '.join(map(str, batches))} |", "|---" * (len(batches) + 2) + "|"]
    for side in dict.fromkeys(row["side"] for row in grown):
        of_side = [row for row in grown if row["side"] == side]
        cells = " | ".join(f"{row['cpu_s'] / row['batch'] * 1e6:.1f}" for row in of_side)
        lines.append(f"| {side.removeprefix('ours, ')} | {of_side[0]['vertices']} | {cells} |")
    return "\n".join(lines) + "\n"


def write_plot(rows: list[Row], path: Path) -> None:
    """CPU time over the batch for each level of detail, both logarithmic."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "soma_isaac"
    import matplotlib.pyplot as plt

    grown = [row for row in rows if row["case"] == "growth"]
    figure, axes = plt.subplots(figsize=(6, 4))
    for side in dict.fromkeys(row["side"] for row in grown):
        of_side = [row for row in grown if row["side"] == side]
        label = f"{side.removeprefix('ours, ')}: {of_side[0]['vertices']} vertices"
        axes.loglog([r["batch"] for r in of_side], [r["cpu_s"] * 1e3 for r in of_side], "o-", label=label)
    largest = max(row["batch"] for row in grown)
    top = max(row["cpu_s"] for row in grown) * 1e3
    axes.loglog([1, largest], [top / largest, top], "--", color="gray", label="linear")
    axes.set_xlabel("bodies in a batch")
    axes.set_ylabel("CPU time of pose() [ms]")
    axes.legend()
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
