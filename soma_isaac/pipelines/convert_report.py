"""The report of a converter's run: a page that needs nothing else, and the same figures as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from soma_isaac.batch.names import shown
from soma_isaac.batch.report_page import STATE_ORDER, STYLE
from soma_isaac.formats.atomic import write_file
from soma_isaac.pipelines.convert_clip import VERSION
from soma_isaac.pipelines.run_config import details_name

HTML_NAME, JSON_NAME = "report.html", "report.json"
TITLE = "Converted motions"
WAYS = {
    "mesh": "by mesh",
    "joint_rotations": "by joint rotations",
    "as_stored": "SOMA joints as stored",
}


def write_convert_report(out: Path, states: Sequence[tuple[str, str, str]], facts: Mapping[str, str]) -> Path:
    """Write ``report.html`` and ``report.json`` into the output folder; equal results give equal bytes.

    Args:
        out: Output folder.
        states: (input, state, reason) of every input in the order of the plan.
        facts: What to say of the run as a whole.

    Returns:
        Path of the page.

    Raises:
        OSError: The disk refused; an earlier report is whole.
    """
    rows = [_row(out, *state) for state in states]
    record = {
        "version": VERSION,
        "facts": dict(facts),
        "counts": dict(Counter(row["state"] for row in rows)),
        "paths": dict(Counter(row["details"]["path"] for row in rows if row["details"])),
        "error_mm": _summary(rows),
        "clips": rows,
    }
    data = json.dumps(record, indent=1, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"
    write_file(out / JSON_NAME, data)
    write_file(out / HTML_NAME, _page(record).encode("utf-8"))
    return out / HTML_NAME


def _row(out: Path, name: str, state: str, reason: str) -> dict[str, Any]:
    details = None
    if state == "done":
        try:
            details = json.loads((out / details_name(name)).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = f"its record cannot be read: {error}"
        if details is not None and not (isinstance(details, dict) and details.get("version") == VERSION):
            details, reason = None, "its record is not one of this program"
    return {"input": shown(name), "state": state, "reason": reason, "details": details}


def _summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, float] | None:
    """Errors over all clips of the mesh path: mean over frames, worst frame's mean, largest vertex [mm]."""
    errors = [(row["details"]["frames"], row["details"]["error_mm"]) for row in rows if row["details"]]
    errors = [(frames, error) for frames, error in errors if error]
    if not errors:
        return None
    return {
        "mean": sum(frames * error["mean"] for frames, error in errors) / sum(frames for frames, _ in errors),
        "worst_frame_mean": max(error["worst_frame_mean"] for _, error in errors),
        "largest": max(error["largest"] for _, error in errors),
    }


def _page(record: Mapping[str, Any]) -> str:
    counts, error = record["counts"], record["error_mm"]
    badges = "".join(
        f'<span class="badge {escape(state)}">{counts[state]} {escape(state)}</span>'
        for state in STATE_ORDER
        if counts.get(state)
    )
    facts = dict(record["facts"])
    if record["paths"]:
        facts["Converted"] = ", ".join(f"{count} {WAYS[path]}" for path, count in sorted(record["paths"].items()))
    if error:
        facts["Distance from the carried mesh"] = (
            f"{error['mean']:.2f} mm in the mean, {error['worst_frame_mean']:.2f} mm in the worst frame's mean, "
            f"{error['largest']:.1f} mm at the worst vertex"
        )
    listed = "".join(f"<dt>{escape(label)}</dt><dd>{escape(str(text))}</dd>" for label, text in facts.items())
    head = "".join(
        f'<th class="{kind}">{label}</th>'
        for label, kind in (
            ("input", ""),
            ("state", ""),
            ("how", ""),
            ("frames", "num"),
            ("Hz", "num"),
            ("mean mm", "num"),
            ("worst frame mm", "num"),
            ("notes", ""),
        )
    )
    body = "".join(_table_row(row) for row in record["clips"])
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{TITLE}</title><style>{STYLE}</style></head>\n<body><main>\n<h1>{TITLE}</h1>"
        f'<div class="soft">{sum(counts.values())} inputs</div><div class="badges">{badges}</div><dl>{listed}</dl>\n'
        f'<h2>Clips</h2><div class="panel wide"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        "\n</main></body></html>\n"
    )


def _table_row(row: Mapping[str, Any]) -> str:
    details = row["details"] or {}
    error = details.get("error_mm") or {}
    notes = "; ".join(details.get("notes", ())) or row["reason"]
    numbers = (
        str(details.get("frames", "")),
        f"{details['fps']:g}" if details.get("fps") else "",
        f"{error['mean']:.2f}" if error else "",
        f"{error['worst_frame_mean']:.2f}" if error else "",
    )
    return (
        f'<tr><td class="name">{escape(row["input"])}</td><td><span class="badge {escape(row["state"])}">'
        f"{escape(row['state'])}</span></td><td>{WAYS.get(details.get('path', ''), '')}</td>"
        + "".join(f'<td class="num">{text}</td>' for text in numbers)
        + f'<td class="soft">{escape(notes)}</td></tr>\n'
    )
