"""Distances as colours on a mesh, and the bar that explains them."""

from __future__ import annotations

import numpy as np

from soma_isaac.render.lettering import GLYPH_HEIGHT, draw_text, text_width

STOPS = np.array([[0.10, 0.22, 0.62], [0.16, 0.55, 0.66], [0.55, 0.76, 0.36], [0.92, 0.70, 0.22], [0.80, 0.10, 0.05]])
"""Colours from zero to the top of the scale; red less blue grows from each to the next."""

BAR_HEIGHT = 12
TICKS = 4
_SLACK = 1e-3
"""A distance this much above a round value still ends there: 50.001 mm at 50."""
_ABOVE = "+ MM"
_STEPS = (1.0, 2.0, 5.0, 10.0)
_TONE = 1.0 / 1.6
"""The exponent of `render_scene`, so that the bar looks like the lit skin."""


def heat_colors(distances: np.ndarray, top: float) -> np.ndarray:
    """Colours [V, 3] in [0, 1] of distances [V] m; ``top`` m and more get the last colour.

    Raises:
        ValueError: ``top`` is not positive.
    """
    if not top > 0.0:
        raise ValueError(f"the top of a scale is positive, not {top!r}")
    places = np.clip(np.asarray(distances, np.float64) / top, 0.0, 1.0)
    stops = np.linspace(0.0, 1.0, len(STOPS))
    return np.stack([np.interp(places, stops, STOPS[:, channel]) for channel in range(3)], axis=-1)


def round_top(distance: float, smallest: float = 1e-3) -> float:
    """The next of 1, 2, 5, 10, ... mm that is not below ``distance`` m, at least ``smallest`` m."""
    wanted = max(float(distance), smallest)
    decade = 10.0 ** np.floor(np.log10(wanted))
    return float(next(step * decade for step in _STEPS if step * decade >= wanted * (1.0 - _SLACK)))


def color_bar(width: int, top: float, paper: int, scale: int = 2) -> np.ndarray:
    """The scale from 0 to ``top`` m with labels in millimetres, [H, width, 3] uint8."""
    height = BAR_HEIGHT + 3 * scale + GLYPH_HEIGHT * scale
    image = np.full((height, width, 3), paper, np.uint8)
    labels = [f"{1e3 * top * tick / TICKS:.4g}" for tick in range(TICKS + 1)]
    margin = text_width(f"{labels[-1]}{_ABOVE}", scale)
    length = max(TICKS, width - 2 * margin)
    colors = heat_colors(np.linspace(0.0, top, length), top) ** _TONE
    image[:BAR_HEIGHT, margin : margin + length] = (colors * 255.0 + 0.5).astype(np.uint8)
    for tick, label in enumerate(labels):
        centre = margin + tick * (length - 1) // TICKS
        suffix = _ABOVE if tick == TICKS else ""
        draw_text(image, label + suffix, centre - text_width(label, scale) // 2, BAR_HEIGHT + 2 * scale, scale)
    return image
