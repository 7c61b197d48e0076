"""The HTML of the report. Text that comes from outside goes through ``html.escape`` here, without exception."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from soma_isaac.batch.report_dynamics import dynamics_curves, dynamics_line, dynamics_section, torque_bars
from soma_isaac.batch.report_plots import (
    LEFT,
    PLAIN,
    RIGHT,
    Bars,
    Curve,
    Strip,
    captioned,
    curve_plot,
    limit_bars,
    rank_plot,
)
from soma_isaac.retarget.thresholds import THRESHOLDS, Threshold

STATE_ORDER = ("done", "skipped", "rejected", "failed", "crashed", "timeout", "pending")
PLOTTED = ("kp2_mean", "dir_mean", "ori_mean", "skate_H", "tilt_deg", "sc_frac")
TABLE_METRICS = (*PLOTTED, "pen_frac", "float_frac", "step_max", "head_deg")
THRESHOLD_OF = {threshold.metric: threshold for threshold in THRESHOLDS}

STYLE = """
:root{--ink:#1f2933;--soft:#5f6b7a;--line:#e3e7ec;--paper:#fff;--back:#f4f6f8;--good:#2b8a57;--bad:#c0392b;--warn:#b7791f}
*{box-sizing:border-box}
body{margin:0;background:var(--back);color:var(--ink);font:14px/1.45 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue",Arial,sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:34px 0 12px}h3{font-size:15px;margin:0;word-break:break-all}
.soft{color:var(--soft)}.num{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.badges{display:flex;gap:8px;flex-wrap:wrap;margin:14px 0 0}
.badge{border-radius:999px;padding:4px 12px;font-weight:600;background:#e8ecf1;color:var(--soft)}
.done{background:#e0f2e8;color:var(--good)}.rejected,.failed,.crashed,.timeout{background:#fbe6e3;color:var(--bad)}
.pending{background:#fdf1d8;color:var(--warn)}
.panel,.card{background:var(--paper);border:1px solid var(--line);border-radius:10px;padding:16px 18px}
.grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(330px,1fr));gap:14px}
.plot{min-width:0}.plot p{margin:0 0 2px;font-weight:600;font-size:13px}.plot small{font-weight:400;color:var(--soft)}
svg{max-width:100%;height:auto;display:block}
.bars svg{width:100%;max-width:860px}svg text{font-size:10px;fill:#6b7785;font-family:inherit}
table{border-collapse:collapse;width:100%}th,td{padding:6px 10px;border-bottom:1px solid var(--line);text-align:left}
th{font-size:12px;color:var(--soft);font-weight:600;vertical-align:bottom}tr:last-child td{border-bottom:0}
.wide{overflow-x:auto;padding:4px 6px}.wide table{font-size:13px}.wide td,.wide th{padding:6px 7px}
.wide th{font-size:11px}.wide th.num{white-space:normal;min-width:62px}td.name{overflow-wrap:anywhere;min-width:170px}
.wide .badge{padding:2px 9px}
.met{color:var(--good);font-weight:600}.missed{color:var(--bad);font-weight:600}.over{color:var(--bad)}
.card{margin-bottom:16px}.card header{display:flex;gap:10px;justify-content:space-between;align-items:baseline;
flex-wrap:wrap;margin-bottom:10px}
.pictures{display:grid;grid-template-columns:repeat(auto-fill,minmax(240px,1fr));gap:10px;margin-bottom:12px}
figure{margin:0}figure img{width:100%;display:block;border-radius:8px;border:1px solid var(--line)}
figcaption{font-size:12px;color:var(--soft);margin-top:3px}
.key{display:inline-block;width:10px;height:10px;border-radius:2px;margin:0 4px 0 10px;vertical-align:-1px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:3px 16px;margin:14px 0 0}dt{color:var(--soft)}
dd{margin:0;word-break:break-all}details summary{cursor:pointer;color:var(--soft);margin-top:8px}
"""


@dataclass(frozen=True)
class Card:
    """A clip shown with pictures and curves.

    Attributes:
        name: Shown name.
        why: Why it is shown; empty for one of the first.
        details: Its record.
        pictures: PNG bytes, one per key frame.
    """

    name: str
    why: str
    details: Mapping[str, Any]
    pictures: Sequence[bytes]


@dataclass(frozen=True)
class Page:
    """Everything on the page; see ``batch.report``."""

    title: str
    facts: Mapping[str, str]
    counts: Mapping[str, int]
    targets: Sequence[Mapping[str, Any]]
    hints: Sequence[Mapping[str, Any]]
    rows: Sequence[Mapping[str, Any]]
    limits: Mapping[str, Any] | None
    cards: Sequence[Card]


def page_html(page: Page) -> str:
    """The whole page."""
    sections = [_head(page)]
    if any(row["metrics"] for row in page.rows):
        sections += [_targets(page), _overview(page), dynamics_section(page.hints, page.rows, page.limits)]
    if page.cards:
        sections.append(_cards(page))
    sections.append(_table(page))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(page.title)}</title><style>{STYLE}</style></head>\n<body><main>\n"
        + "\n".join(sections)
        + "\n</main></body></html>\n"
    )


def _head(page: Page) -> str:
    total = sum(page.counts.values())
    states = [state for state in STATE_ORDER if page.counts.get(state)]
    badges = "".join(
        f'<span class="badge {escape(state)}">{page.counts[state]} {escape(state)}</span>' for state in states
    )
    facts = "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in page.facts.items())
    seconds = sum(row["metrics"]["frames"] / row["metrics"]["fps"] for row in page.rows if row["metrics"])
    return (
        f'<h1>{escape(page.title)}</h1><div class="soft">{total} inputs, {_duration(seconds)} of robot motion</div>'
        f'<div class="badges">{badges}</div>' + (f"<dl>{facts}</dl>" if facts else "")
    )


def _targets(page: Page) -> str:
    rows = []
    for target in page.targets:
        threshold = THRESHOLD_OF[target["metric"]]
        verdict = {True: ("met", "met"), False: ("missed", "missed"), None: ("soft", "not measured")}[target["met"]]
        over = {"mean": "mean over clips", "max": "worst clip", "total": "all clips"}[threshold.over]
        rows.append(
            f'<tr><td>{escape(threshold.label)}</td><td class="soft">{over}</td>'
            f'<td class="num">{_value(threshold, target["reached"], True)}</td>'
            f'<td class="num soft">&le; {_value(threshold, threshold.limit, True)}</td>'
            f'<td class="{verdict[0]}">{verdict[1]}</td></tr>'
        )
    return (
        '<h2>Quality against the targets</h2><div class="panel"><table><thead><tr><th>figure</th><th></th>'
        '<th class="num">reached</th><th class="num">target</th><th></th></tr></thead><tbody>'
        + "".join(rows)
        + "</tbody></table></div>"
    )


def _overview(page: Page) -> str:
    plots = []
    for metric in PLOTTED:
        threshold = THRESHOLD_OF[metric]
        values = [
            (row["input"], row["metrics"][metric] * threshold.factor)
            for row in page.rows
            if row["metrics"] and row["metrics"].get(metric) is not None
        ]
        if values:
            plots.append(
                captioned(threshold.label, threshold.unit, rank_plot(values, threshold.limit * threshold.factor))
            )
    limits = ""
    if page.limits is not None:
        bars = limit_bars(page.limits["joints"], _motion_bars(page.limits))
        limits = (
            '<h2>Use of joint limits</h2><div class="panel"><p class="soft" style="margin:0 0 8px">Largest over all '
            f'clips; a full bar is at the limit.</p><div class="bars">{bars}</div></div>'
        )
    return (
        '<h2>Errors per clip</h2><div class="panel grid">'
        + "".join(plots)
        + '</div><p class="soft">Each dot is a clip; the dashed line is the target for the mean over clips.</p>'
        + limits
    )


def _motion_bars(limits: Mapping[str, Any]) -> list[Bars]:
    return [Bars("position", limits["position"], "range"), Bars("velocity", limits["velocity"], "velocity limit")]


def _cards(page: Page) -> str:
    total = sum(1 for row in page.rows if row["metrics"])
    note = (
        ""
        if total == len(page.cards)
        else f" <small class=soft>({len(page.cards)} of {total}: worst, then first)</small>"
    )
    legend = (
        f'<p class="soft"><span class="key" style="background:{LEFT};margin-left:0"></span>left foot'
        f'<span class="key" style="background:{RIGHT}"></span>right foot; strips under the foot height: contact of the '
        "person (light) and of the robot (dark). In the pictures: the motion on the SOMA template body, as tall "
        "as the person, and the robot's collision shapes.</p>"
    )
    return f"<h2>Clips{note}</h2>{legend}" + "\n".join(_card(card) for card in page.cards)


def _card(card: Card) -> str:
    metrics, series = card.details["metrics"], card.details["series"]
    figures = []
    for picture, key_frame in zip(card.pictures, card.details["key_frames"], strict=True):
        why = f" &middot; {escape(key_frame['why'])}" if key_frame["why"] else ""
        data = base64.b64encode(picture).decode("ascii")
        seconds = key_frame["frame"] / metrics["fps"]
        figures.append(
            f'<figure><img alt="person and robot at {seconds:.2f} s" src="data:image/png;base64,{data}">'
            f"<figcaption>{seconds:.2f} s{why}</figcaption></figure>"
        )
    person = card.details["person"]
    facts = f"{_duration(metrics['frames'] / metrics['fps'])} &middot; stature {person['stature']:.2f} m"
    facts += f" &middot; {escape(str(card.details['source']['format']))}"
    over = f'<div class="over">{escape(card.why)}</div>' if card.why else ""
    limits = card.details["limits"]
    bars = limit_bars(limits["joints"], [*_motion_bars(limits), torque_bars(limits)])
    notes = "".join(f"<li>{escape(str(note))}</li>" for note in card.details["source"]["notes"])
    return (
        f'<section class="card"><header><div><h3>{escape(card.name)}</h3>{over}</div><div class="soft">{facts}</div>'
        f'</header><div class="pictures">{"".join(figures)}</div><div class="grid">{_curves(series)}'
        f'{dynamics_curves(series)}</div><p class="soft">{dynamics_line(card.details["dynamics"])}</p>'
        f"{_other_way(card.details)}"
        f'<details><summary>Joint limits and reading notes</summary><div class="bars">{bars}</div>'
        f"{f'<ul>{notes}</ul>' if notes else ''}</details></section>"
    )


def _other_way(details: Mapping[str, Any]) -> str:
    """What the clip would have been the other way, where the record says (AMASS with the user's SMPL files)."""
    other = details.get("comparison")
    if other is None:
        return ""
    figures = "".join(
        f"<tr><td>{escape(name)}</td><td>{details['metrics'][name]:.4g}</td><td>{value:.4g}</td></tr>"
        for name, value in other["metrics"].items()
    )
    apart, way = other["joint_difference_deg"], escape(other["way"])
    return (
        f"<details><summary>Compared with the same clip {way}: joints {apart['mean']:.1f} deg apart in the mean, "
        f"{apart['largest']:.1f} at most</summary>"
        f'<p class="soft">Both follow the same motion: this clip a person of {details["person"]["stature"]:.2f} m, '
        f"the other one of {other['stature']:.2f} m.</p>"
        f"<table><tr><th>figure</th><th>this clip</th><th>{way}</th></tr>{figures}</table></details>"
    )


def _curves(series: Mapping[str, Any]) -> str:
    time, feet = series["time"], series["feet"]
    heights = [
        Curve([100.0 * v for v in feet[side]["height"]], color, f"{side} foot")
        for side, color in (("left", LEFT), ("right", RIGHT))
    ]
    strips = []
    for side, light, dark in (("left", "#b9d2ec", LEFT), ("right", "#f6d9b8", RIGHT)):
        strips.append(Strip(feet[side]["human_contact"], light, f"{side} foot of the person in contact"))
        strips.append(Strip(feet[side]["robot_contact"], dark, f"{side} foot of the robot in contact"))
    slides = [
        Curve(
            [100.0 * v if c == "1" else None for v, c in zip(feet[s]["slide"], feet[s]["human_contact"], strict=True)],
            color,
            f"{s} foot",
        )
        for s, color in (("left", LEFT), ("right", RIGHT))
    ]
    error = [Curve([100.0 * v for v in series["keypoint_error"]], PLAIN, "keypoint error")]
    return (
        captioned("Foot height", "cm", curve_plot(time, heights, strips=strips, smallest_top=3.0))
        + captioned("Foot slide while in contact", "cm/s", curve_plot(time, slides, limit=10.0))
        + captioned("Keypoint error", "cm", curve_plot(time, error, smallest_top=5.0))
    )


def _table(page: Page) -> str:
    heads = "".join(
        f'<th class="num">{escape(THRESHOLD_OF[m].label)}<br>{escape(THRESHOLD_OF[m].unit)}</th>' for m in TABLE_METRICS
    )
    rows = []
    for row in page.rows:
        state = f'<span class="badge {escape(row["state"])}">{escape(row["state"])}</span>'
        if row["metrics"]:
            metrics = row["metrics"]
            cells = f'<td class="num">{metrics["frames"] / metrics["fps"]:.1f}</td>'
            for name in TABLE_METRICS:
                value, limit = metrics.get(name), THRESHOLD_OF[name].limit
                over = " over" if value is not None and value > limit else ""
                cells += f'<td class="num{over}">{_value(THRESHOLD_OF[name], value)}</td>'
        else:
            cells = f'<td colspan="{len(TABLE_METRICS) + 1}">{escape(row["reason"])}</td>'
        rows.append(f'<tr><td class="name">{escape(row["input"])}</td><td>{state}</td>{cells}</tr>')
    return (
        '<h2>All inputs</h2><div class="panel wide"><table><thead><tr><th>input</th><th>state</th>'
        f'<th class="num">length<br>s</th>{heads}</tr></thead><tbody>' + "".join(rows) + "</tbody></table></div>"
    )


def _value(threshold: Threshold, value: float | None, unit: bool = False) -> str:
    """A figure in its shown unit, two decimals."""
    if value is None:
        return "&ndash;"
    shown = value * threshold.factor
    text = f"{shown:.2f}".rstrip("0").rstrip(".") if shown == 0 or abs(shown) >= 0.005 else "&lt; 0.01"
    return f"{text} {escape(threshold.unit)}".rstrip() if unit else text


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 120.0 else f"{seconds / 60.0:.1f} min"
