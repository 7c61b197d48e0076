"""The report of a run: one HTML page that needs nothing else, and the same figures as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soma_isaac.batch.names import escaped, shown
from soma_isaac.batch.report_page import Card, Page, page_html
from soma_isaac.batch.thumbnails import Photographer
from soma_isaac.retarget.details import VERSION as RECORD_VERSION
from soma_isaac.retarget.feasibility import HINTS, over_clips
from soma_isaac.retarget.robot import RobotModel
from soma_isaac.retarget.thresholds import THRESHOLDS, met, reached
from soma_isaac.rig.rig import Rig

VERSION = 2
FIRST_CARDS, WORST_CARDS = 12, 12
"""Clips shown with pictures and curves: so many of the first and of the worst; all are in the table."""


@dataclass(frozen=True)
class ReportClip:
    """One input of the run.

    Attributes:
        input: Relative path.
        state: Terminal state, or ``pending``.
        reason: Why it is not done; empty otherwise.
        details: Record of ``retarget.details.clip_details``; ``None`` where there is none.
    """

    input: str
    state: str
    reason: str = ""
    details: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ReportRun:
    """What the report says of the run as a whole.

    Attributes:
        title: Headline.
        facts: Label and text, e.g. source, robot, settings, version; shown as they are.
    """

    title: str = "G1 reference clips"
    facts: Mapping[str, str] = field(default_factory=dict)


def read_clips(
    out: Path, states: Sequence[tuple[str, str, str]], details_name: Callable[[str], str]
) -> tuple[ReportClip, ...]:
    """The clips of a run with the records that its workers left.

    Args:
        out: Output folder.
        states: (input, state, reason) of every input, in the order of the plan.
        details_name: Path of the record of an input, relative to ``out``.

    Returns:
        One entry per input; a record that is missing or no JSON object leaves ``details`` empty and says so.
    """
    clips = []
    for name, state, reason in states:
        details = None
        if state == "done":
            try:
                details = json.loads((out / details_name(name)).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                reason = f"its record cannot be read: {error}"
            if details is not None and not (isinstance(details, dict) and details.get("version") == RECORD_VERSION):
                details, reason = None, "its record is not one of this program"
        clips.append(ReportClip(name, state, reason, details))
    return tuple(clips)


def write_report(clips: Sequence[ReportClip], run: ReportRun, robot: RobotModel, rig: Rig) -> tuple[bytes, bytes]:
    """Make the report; the same clips give the same bytes.

    Args:
        clips: All inputs of the run in the order of the plan.
        run: The run.
        robot: The robot that the clips are for.
        rig: The SOMA template rig, for pictures of the person.

    Returns:
        ``report.html`` and ``report.json`` as bytes.
    """
    record = report_record(clips, run)
    photographer: Photographer | None = None
    cards = []
    for name, details, why in chosen_clips(clips):
        # Made only when there is something to draw: it starts Warp.
        photographer = photographer or Photographer(rig, robot)
        pictures = [photographer.picture(details, key_frame) for key_frame in details["key_frames"]]
        cards.append(Card(shown(name), why, details, pictures))
    page = Page(
        title=run.title,
        facts={label: escaped(text) for label, text in run.facts.items()},
        counts=record["counts"],
        targets=record["targets"],
        hints=[{**hint, "worst_clip": shown(hint["worst_clip"])} for hint in record["dynamics"]],
        rows=[{**row, "input": shown(row["input"]), "reason": escaped(row["reason"])} for row in record["clips"]],
        limits=_limits_over_clips(clips),
        cards=cards,
    )
    data = json.dumps(record, sort_keys=True, indent=1, allow_nan=False) + "\n"
    return page_html(page).encode("utf-8"), data.encode("ascii")


def report_record(clips: Sequence[ReportClip], run: ReportRun) -> dict[str, Any]:
    """The figures of the report as JSON values."""
    metrics = [clip.details["metrics"] for clip in clips if clip.details is not None]
    targets = []
    for threshold in THRESHOLDS:
        value = reached(threshold, metrics)
        targets.append(
            {
                "metric": threshold.metric,
                "label": threshold.label,
                "over": threshold.over,
                "limit": threshold.limit,
                "reached": value,
                "met": met(threshold, value),
            }
        )
    return {
        "version": VERSION,
        "title": run.title,
        "facts": dict(run.facts),
        "counts": dict(sorted(Counter(clip.state for clip in clips).items())),
        "targets": targets,
        "dynamics": _hints(clips),
        "clips": [_clip_record(clip) for clip in clips],
    }


def chosen_clips(clips: Sequence[ReportClip]) -> list[tuple[str, Mapping[str, Any], str]]:
    """The clips that get a card: the worst, then the first of the plan.

    Returns:
        (input, record, what is above its target); the last is empty for one of the first.
    """
    measured = [(clip.input, clip.details) for clip in clips if clip.details is not None]
    excess = {name: _excess(details) for name, details in measured}
    worst: list[tuple[str, Mapping[str, Any]]] = []
    if len(measured) > FIRST_CARDS:
        # Bounded per figure, so that one that is meaningless for a clip (feet of a sitting person) does not rule alone.
        badness = {name: sum(min(value, 3.0) for value in above.values()) for name, above in excess.items()}
        ranked = sorted(measured, key=lambda item: (-badness[item[0]], item[0]))
        worst = [item for item in ranked[:WORST_CARDS] if excess[item[0]]]
    chosen = [(name, details, f"above target: {', '.join(excess[name])}") for name, details in worst]
    seen = {name for name, _ in worst}
    return chosen + [(name, details, "") for name, details in measured[:FIRST_CARDS] if name not in seen]


def _hints(clips: Sequence[ReportClip]) -> list[dict[str, Any]]:
    """Each figure of the dynamics over the clips that have it."""
    figures = [(clip.input, clip.details["dynamics"]) for clip in clips if clip.details is not None]
    found = ((hint, over_clips(hint, figures)) for hint in HINTS)
    return [
        {"figure": hint.figure, "label": hint.label, "mean": value[0], "worst": value[1], "worst_clip": value[2]}
        for hint, value in found
        if value is not None
    ]


def _clip_record(clip: ReportClip) -> dict[str, Any]:
    details = clip.details or {}
    other_way = {"comparison": details["comparison"]} if "comparison" in details else {}
    return {
        "input": clip.input,
        "state": clip.state,
        "reason": clip.reason,
        "metrics": details.get("metrics"),
        "dynamics": details.get("dynamics"),
        "source": details.get("source"),
        "person": details.get("person"),
        **other_way,
    }


def _excess(details: Mapping[str, Any]) -> dict[str, float]:
    """How far a clip is above each limit, in limits."""
    found = {}
    for threshold in THRESHOLDS:
        value = details["metrics"].get(threshold.metric)
        if value is not None and value > threshold.limit:
            found[threshold.label.lower()] = (value - threshold.limit) / (threshold.limit or 1.0)
    return found


def _limits_over_clips(clips: Sequence[ReportClip]) -> dict[str, Any] | None:
    """Largest use of each limit over all clips with the joints of the first."""
    records = [clip.details["limits"] for clip in clips if clip.details is not None]
    if not records:
        return None
    same = [record for record in records if record["joints"] == records[0]["joints"]]
    return {
        "joints": records[0]["joints"],
        **{
            kind: [max(column) for column in zip(*(record[kind] for record in same), strict=True)]
            for kind in ("position", "velocity", "torque")
        },
    }
