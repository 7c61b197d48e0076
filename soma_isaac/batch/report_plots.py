"""Small plots as inline SVG: text that scales, needs no network, and is the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

LEFT, RIGHT, PLAIN, GOOD, BAD, MUTED = "#2f6fb5", "#d9822b", "#4a5568", "#2b8a57", "#c0392b", "#9aa5b1"
WIDTH, HEIGHT = 320, 120
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 34, 6, 8, 18
STRIP = 5
"""Height of a contact strip [px]."""

JOINT_GROUPS = (
    ("left leg", "left_", ("hip", "knee", "ankle")),
    ("right leg", "right_", ("hip", "knee", "ankle")),
    ("waist", "waist_", ("",)),
    ("left arm", "left_", ("shoulder", "elbow", "wrist")),
    ("right arm", "right_", ("shoulder", "elbow", "wrist")),
)


@dataclass(frozen=True)
class Curve:
    """A line of a plot; ``None`` values are gaps."""

    values: Sequence[float | None]
    color: str
    label: str


@dataclass(frozen=True)
class Strip:
    """A row of filled stretches under a plot: ``1`` filled, ``0`` empty, one character per time."""

    flags: str
    color: str
    label: str


def curve_plot(
    time: Sequence[float],
    curves: Sequence[Curve],
    *,
    limit: float | None = None,
    zero: bool = True,
    strips: Sequence[Strip] = (),
    smallest_top: float = 1.0,
) -> str:
    """Lines over time.

    Args:
        time: Times [s].
        curves: Lines in the shown unit.
        limit: A dashed line.
        zero: The axis includes zero.
        strips: Rows of contact phases under the axis.
        smallest_top: The axis reaches at least this high, so that noise does not look like a mountain.
    """
    values = [value for curve in curves for value in curve.values if value is not None]
    low = min(values, default=0.0)
    low = min(low, 0.0) if zero else low
    high = max(*values, smallest_top, 0.0 if limit is None else 1.1 * limit)
    end = max(time[-1], 1e-6) if time else 1.0
    bottom = HEIGHT - MARGIN_BOTTOM - len(strips) * (STRIP + 2)
    x = _Scale(0.0, end, MARGIN_LEFT, WIDTH - MARGIN_RIGHT)
    y = _Scale(low, high, bottom, MARGIN_TOP)
    parts = [_grid(y, low, high)]
    if limit is not None:
        parts.append(_line(x(0.0), y(limit), x(end), y(limit), BAD, ' stroke-dasharray="4 3"'))
    for curve in curves:
        for points in _pieces([x(t) for t in time], [None if v is None else y(v) for v in curve.values]):
            parts.append(
                f'<polyline points="{points}" fill="none" stroke="{curve.color}" stroke-width="1.4">'
                f"<title>{escape(curve.label)}</title></polyline>"
            )
    edges = [*time, end]
    for row, strip in enumerate(strips):
        top = bottom + 3 + row * (STRIP + 2)
        for start, stop in _runs(strip.flags):
            left, right = x(edges[start]), x(edges[min(stop, len(edges) - 1)])
            parts.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 0.5):.1f}" height="{STRIP}" '
                f'fill="{strip.color}"><title>{escape(strip.label)}</title></rect>'
            )
    parts.append(_text(x(0.0), HEIGHT - 5, "0 s", "start") + _text(x(end), HEIGHT - 5, f"{end:.3g} s", "end"))
    return _svg(parts)


def rank_plot(values: Sequence[tuple[str, float]], limit: float | None, *, most: int = 400) -> str:
    """Clips sorted by a figure, best first; a dot per clip, red above the limit.

    Args:
        values: (name, figure in the shown unit).
        limit: A dashed line; ``None`` where there is nothing to keep.
        most: With more clips than this only evenly spaced ranks are drawn, the worst always.
    """
    ranked = sorted(values, key=lambda item: (item[1], item[0]))
    shown = sorted({round(i) for i in np.linspace(0, len(ranked) - 1, min(len(ranked), most))})
    high = max(1.15 * (limit or 0.0), *(value for _, value in ranked)) or 1.0
    x = _Scale(0.0, max(len(ranked) - 1.0, 1.0), MARGIN_LEFT + 6, WIDTH - MARGIN_RIGHT - 6)
    y = _Scale(0.0, high, HEIGHT - MARGIN_BOTTOM, MARGIN_TOP)
    parts = [_grid(y, 0.0, high)]
    if limit is not None:
        parts.append(_line(MARGIN_LEFT, y(limit), WIDTH - MARGIN_RIGHT, y(limit), BAD, ' stroke-dasharray="4 3"'))
    for rank in shown:
        name, value = ranked[rank]
        color = PLAIN if limit is None else BAD if value > limit else GOOD
        parts.append(
            f'<circle cx="{x(rank):.1f}" cy="{y(value):.1f}" r="3" fill="{color}" fill-opacity="0.8">'
            f"<title>{escape(name)}: {value:.3g}</title></circle>"
        )
    parts.append(_text(MARGIN_LEFT, HEIGHT - 5, "best clip", "start"))
    parts.append(_text(WIDTH - MARGIN_RIGHT, HEIGHT - 5, "worst clip", "end"))
    return _svg(parts)


@dataclass(frozen=True)
class Bars:
    """A row of bars, one per joint: how much of a limit is used.

    Attributes:
        label: In front of the row.
        values: Per joint; 1 is at the limit.
        limit: What the limit is called.
    """

    label: str
    values: Sequence[float]
    limit: str


def limit_bars(joints: Sequence[str], rows: Sequence[Bars]) -> str:
    """Use of limits per joint; a full bar is at the limit."""
    width, gap, bottom = 660, 14, 8 + 54 * len(rows)
    order = [(group, [i for i, joint in enumerate(joints) if _in_group(joint, group)]) for group in JOINT_GROUPS]
    count = sum(len(members) for _, members in order)
    bar = (width - 64 - gap * (len(order) - 1)) / max(count, 1)
    parts, left = [], 60.0
    parts.extend(_text(54, 36 + 54 * row, bars.label, "end") for row, bars in enumerate(rows))
    for (name, _, _), members in order:
        for i in members:
            for row, bars in enumerate(rows):
                top, value = 8 + 54 * row, bars.values[i]
                filled = 44.0 * min(max(value, 0.0), 1.0)
                color = BAD if value > 1.0 + 1e-9 else ("#d08700" if value > 0.9 else "#5b8fc7")
                parts.append(
                    f'<g><rect x="{left:.1f}" y="{top}" width="{bar - 2:.1f}" height="44" fill="#edf0f4"/>'
                    f'<rect x="{left:.1f}" y="{top + 44 - filled:.1f}" width="{bar - 2:.1f}" height="{filled:.1f}" '
                    f'fill="{color}"/><title>{escape(joints[i])}: {100 * value:.0f} % of its {bars.limit}</title></g>'
                )
            left += bar
        middle = left - 0.5 * bar * len(members) - 1
        parts.append(_text(middle, bottom + 6, name, "middle"))
        left += gap
    return _svg(parts, width, bottom + 12)


def captioned(label: str, unit: str, svg: str) -> str:
    """A plot with its name and unit above it."""
    return f'<div class="plot"><p>{escape(label)} <small>{escape(unit)}</small></p>{svg}</div>'


def _in_group(joint: str, group: tuple[str, str, tuple[str, ...]]) -> bool:
    _, prefix, parts = group
    return joint.startswith(prefix) and any(joint.removeprefix(prefix).startswith(part) for part in parts)


@dataclass(frozen=True)
class _Scale:
    """A linear map from data to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low
        return self.start + (value - self.low) / (span if span else 1.0) * (self.end - self.start)


def _grid(y: _Scale, low: float, high: float) -> str:
    step = _nice_step(high - low)
    first = int(np.ceil(low / step - 1e-9))
    parts = []
    for tick in range(first, int(np.floor(high / step + 1e-9)) + 1):
        value = tick * step
        parts.append(
            _line(MARGIN_LEFT, y(value), WIDTH - MARGIN_RIGHT, y(value), "#c4cbd4" if tick == 0 else "#e7eaee")
        )
        parts.append(_text(MARGIN_LEFT - 4, y(value) + 3, f"{value:.4g}", "end"))
    return "".join(parts)


def _nice_step(span: float) -> float:
    rough = max(span, 1e-9) / 3.0
    power = 10.0 ** np.floor(np.log10(rough))
    return float(next(power * factor for factor in (1.0, 2.0, 5.0, 10.0) if power * factor >= rough * 0.999))


def _pieces(xs: Sequence[float], ys: Sequence[float | None]) -> list[str]:
    """Point lists of the stretches between gaps."""
    pieces: list[list[str]] = [[]]
    for x, y in zip(xs, ys, strict=True):
        if y is None:
            pieces.append([])
        else:
            pieces[-1].append(f"{x:.1f},{y:.1f}")
    return [" ".join(piece) for piece in pieces if len(piece) > 1]


def _runs(flags: str) -> list[tuple[int, int]]:
    bits = np.array([False, *(flag == "1" for flag in flags), False])
    edges = np.flatnonzero(np.diff(bits.astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


def _line(x1: float, y1: float, x2: float, y2: float, color: str, more: str = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"{more}/>'


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _svg(parts: Sequence[str], width: int = WIDTH, height: int = HEIGHT) -> str:
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">{"".join(parts)}</svg>'
