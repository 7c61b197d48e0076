"""The part of the report about dynamic feasibility: what clips ask of the ground and of the motors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from soma_isaac.batch.report_plots import PLAIN, Bars, Curve, captioned, curve_plot, limit_bars, rank_plot
from soma_isaac.retarget.feasibility import HINTS, Hint

HINT_OF = {hint.figure: hint for hint in HINTS}
RANKED = ("zmp_out_frac", "friction_p95", "torque_use_p95")

INTRODUCTION = (
    "Not a target, a hint for training: what the clips as they stand ask of the ground and of the motors, by inverse "
    "dynamics. Where the zero moment point is off the feet, the robot would tip over if it made exactly this motion; "
    "the policy has to leave its reference there. Torques are of the joint that works hardest, with each foot pressing "
    "inside its sole. In flight a thrown robot needs no force; one that needs its weight hovers."
)


def dynamics_section(
    hints: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], limits: Mapping[str, Any] | None
) -> str:
    """The section over all clips.

    Args:
        hints: Figures over clips, as ``report.json`` has them under ``dynamics``; names of clips as they are shown.
        rows: Clips, with ``input`` and ``dynamics`` (``None`` where there is none).
        limits: Use of limits over clips, with ``joints`` and ``torque``.
    """
    if not hints:
        return ""
    table = "".join(_row(HINT_OF[hint["figure"]], hint) for hint in hints)
    plots = []
    for figure in RANKED:
        hint = HINT_OF[figure]
        values = [
            (row["input"], row["dynamics"][figure] * hint.factor)
            for row in rows
            if row["dynamics"] and row["dynamics"].get(figure) is not None
        ]
        if values:
            plots.append(captioned(hint.label, hint.unit, rank_plot(values, None)))
    bars = ""
    if limits is not None:
        bars = (
            '<p class="soft" style="margin:16px 0 8px">95th percentile of the torque over the frames of a clip, the '
            "largest of all clips; a full bar is at the effort limit.</p>"
            f'<div class="bars">{limit_bars(limits["joints"], [torque_bars(limits)])}</div>'
        )
    return (
        f'<h2>Dynamic feasibility</h2><div class="panel"><p class="soft" style="margin:0 0 10px">{INTRODUCTION}</p>'
        '<table><thead><tr><th>figure</th><th class="num">mean over clips</th><th class="num">largest</th>'
        f'<th>in</th></tr></thead><tbody>{table}</tbody></table><div class="grid" style="margin-top:16px">'
        f"{''.join(plots)}</div>{bars}</div>"
    )


def torque_bars(limits: Mapping[str, Any]) -> Bars:
    """The row of bars for the torque."""
    return Bars("torque", limits["torque"], "effort limit")


def dynamics_curves(series: Mapping[str, Any]) -> str:
    """The three plots of a clip."""
    time = series["time"]
    outside = [None if value is None else 100.0 * value for value in series["zmp_outside"]]
    use = [100.0 * value for value in series["torque_use"]]
    return (
        captioned(
            HINT_OF["zmp_out_frac"].label,
            "cm",
            curve_plot(time, [Curve(outside, PLAIN, "distance from the feet")], smallest_top=5.0),
        )
        + captioned(
            "Load on the ground", "x weight", curve_plot(time, [Curve(series["load"], PLAIN, "vertical force")])
        )
        + captioned("Largest torque", "% of its limit", curve_plot(time, [Curve(use, PLAIN, "torque")], limit=100.0))
    )


def dynamics_line(figures: Mapping[str, Any]) -> str:
    """The figures of one clip in a line; what it does not have or do is left out."""
    words = []
    for name in ("zmp_out_frac", "friction_p95", "torque_use_p95", "flight_residual"):
        if figures[name] is not None:
            words.append(f"{escape(HINT_OF[name].label.lower())} {_shown(HINT_OF[name], figures[name])}")
        if name == "torque_use_p95":
            words[-1] += f" ({escape(str(figures['torque_joint']).removesuffix('_joint').replace('_', ' '))})"
    return " &middot; ".join(words)


def _row(hint: Hint, values: Mapping[str, Any]) -> str:
    name = values["worst_clip"] if values["worst"] > 0.0 else ""
    return (
        f'<tr><td>{escape(hint.label)}</td><td class="num">{_shown(hint, values["mean"])}</td>'
        f'<td class="num">{_shown(hint, values["worst"])}</td><td class="name">{escape(name)}</td></tr>'
    )


def _shown(hint: Hint, value: float) -> str:
    digits = 1 if hint.factor == 100.0 else 2
    return f"{value * hint.factor:.{digits}f} {escape(hint.unit)}".rstrip()
