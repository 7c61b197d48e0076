"""The comparison's sheet of pictures, its page and its figures."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from soma_isaac.batch.names import shown
from soma_isaac.batch.report_page import STYLE
from soma_isaac.batch.report_plots import LEFT, RIGHT, Curve, captioned, curve_plot
from soma_isaac.batch.thumbnails import framing
from soma_isaac.math.frames import zup_from_yup_points
from soma_isaac.pipelines.compare_pair import WAYS, Pair
from soma_isaac.render.contact_sheet import GAP, PAPER
from soma_isaac.render.heat_map import color_bar, heat_colors, round_top
from soma_isaac.render.lettering import GLYPH_HEIGHT, draw_text
from soma_isaac.render.scene import SceneMesh, render_scene
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES

if TYPE_CHECKING:
    from soma_isaac.pipelines.compare import Figures

SOURCE_RGB = (0.62, 0.66, 0.72)
RESULT_RGB = (0.83, 0.62, 0.48)
SCALE = 2
LINE = (GLYPH_HEIGHT + 3) * SCALE
ROWS = ("SOURCE", "RESULT", "ERROR")
BAR_WIDTH = 480
MOST_POINTS = 600
JOINTS_SHOWN = 12
TOP_PERCENTILE = 99.0
VERSION = 1


def draw_sheet(
    pair: Pair, figures: Figures, frames: Sequence[int], size: tuple[int, int], top: float | None
) -> tuple[np.ndarray, float]:
    """Draw source, result and error of some frames, a column each, with captions and the colours' scale.

    All columns have one camera; in each the person faces it, and source and result are moved and turned as one.

    Args:
        pair: What is compared.
        figures: Errors of all frames.
        frames: Which to show.
        size: Width and height of a picture in pixels.
        top: Error at the end of the scale [m], or ``None`` for the round value above 99 of 100 vertices shown.

    Returns:
        [H, W, 3] uint8 and the end of the scale [m].
    """
    posed = pair.pose(np.asarray(frames))
    top = round_top(float(np.percentile(posed.errors, TOP_PERCENTILE))) if top is None else top
    bodies = [_facing(posed.source[i], posed.result[i], float(pair.headings[frame])) for i, frame in enumerate(frames)]
    camera = framing(np.concatenate([points for column in bodies for points in column]), size)
    columns = []
    for (source, result), errors in zip(bodies, posed.errors, strict=True):
        meshes = (
            SceneMesh(source, pair.source_triangles, SOURCE_RGB),
            SceneMesh(result, pair.result_triangles, RESULT_RGB),
            SceneMesh(result, pair.result_triangles, heat_colors(errors, top)),
        )
        columns.append([render_scene([mesh], camera, size) for mesh in meshes])
    return _laid_out(columns, _captions(figures, frames), color_bar(BAR_WIDTH, top, PAPER, SCALE)), top


def _facing(source: np.ndarray, result: np.ndarray, heading: float) -> tuple[np.ndarray, np.ndarray]:
    """Both meshes in the Z-up world, the source above the origin and on the floor, facing along +X."""
    sides = [zup_from_yup_points(points.astype(np.float64)) for points in (source, result)]
    middle = 0.5 * (sides[0].min(axis=0) + sides[0].max(axis=0))
    place = np.array([middle[0], middle[1], min(sides[0][:, 2].min(), sides[1][:, 2].min(), 0.0)])
    # +Z ahead in the Y-up world is +X here: a heading about +Y is the same angle about +Z.
    cosine, sine = np.cos(-heading), np.sin(-heading)
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return (sides[0] - place) @ turn.T, (sides[1] - place) @ turn.T


def _captions(figures: Figures, frames: Sequence[int]) -> list[str]:
    worst = int(figures.mean.argmax())
    return [
        f"FRAME {frame}: {1e3 * figures.mean[frame]:.1f} MM{' - WORST' if frame == worst else ''}" for frame in frames
    ]


def _laid_out(columns: Sequence[Sequence[np.ndarray]], captions: Sequence[str], bar: np.ndarray) -> np.ndarray:
    height, width, _ = columns[0][0].shape
    top, step = GAP + LINE, height + LINE + GAP
    sheet = np.full(
        (top + len(ROWS) * step + bar.shape[0] + 2 * GAP, max(len(columns) * (width + GAP), bar.shape[1]) + GAP, 3),
        PAPER,
        np.uint8,
    )
    for number, (column, caption) in enumerate(zip(columns, captions, strict=True)):
        left = GAP + number * (width + GAP)
        draw_text(sheet[:, : left + width], caption, left + SCALE, GAP + SCALE, SCALE)
        for row, picture in enumerate(column):
            begin = top + row * step + LINE
            sheet[begin : begin + height, left : left + width] = picture
    for row, name in enumerate(ROWS):
        draw_text(sheet, name, GAP + SCALE, top + row * step + SCALE, SCALE)
    begin = top + len(ROWS) * step + GAP
    sheet[begin : begin + bar.shape[0], GAP : GAP + bar.shape[1]] = bar
    return sheet


def figures_json(
    pair: Pair, figures: Figures, frames: Sequence[int], top: float, names: tuple[str, str], align: str
) -> str:
    """All figures as JSON; lengths in millimetres."""
    worst = int(figures.mean.argmax())
    joints = None
    if figures.joint_mean is not None:
        joints = {name: float(1e3 * value) for name, value in zip(POSE_JOINT_NAMES, figures.joint_mean, strict=True)}
    record = {
        "version": VERSION,
        "source": shown(names[0]),
        "result": shown(names[1]),
        "way": pair.way,
        "align": align,
        "fps": pair.fps,
        "frames": pair.frame_count,
        "shown_frames": list(frames),
        "scale_top_mm": 1e3 * top,
        "error_mm": {
            "mean": float(1e3 * figures.mean.mean()),
            "worst_frame": worst,
            "worst_frame_mean": float(1e3 * figures.mean[worst]),
            "largest": float(1e3 * figures.largest.max()),
            "worst_vertex": int(figures.vertex_mean.argmax()),
            "worst_vertex_mean": float(1e3 * figures.vertex_mean.max()),
        },
        "joint_mm": joints,
        "frame_mean_mm": [round(float(1e3 * value), 4) for value in figures.mean],
        "frame_largest_mm": [round(float(1e3 * value), 4) for value in figures.largest],
        "notes": list(pair.notes),
    }
    return json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n"


def page_html(figures: str, picture: bytes) -> str:
    """A page that needs nothing else.

    Args:
        figures: What `figures_json` gave.
        picture: The sheet as PNG bytes.
    """
    record: dict[str, Any] = json.loads(figures)
    error = record["error_mm"]
    facts = {
        "Source": record["source"],
        "Result": record["result"],
        "Compared": WAYS[record["way"]] + (", Hips at one place" if record["align"] == "hips" else ""),
        "Frames": f"{record['frames']} at {record['fps']:g} Hz",
        "Mean": f"{error['mean']:.2f} mm",
        "Worst frame": f"{error['worst_frame']}, {error['worst_frame_mean']:.2f} mm in the mean",
        "Worst vertex": f"{error['largest']:.1f} mm in one frame; number {error['worst_vertex']} has the largest mean, "
        f"{error['worst_vertex_mean']:.2f} mm",
        **{f"Note {number + 1}": note for number, note in enumerate(record["notes"])},
    }
    listed = "".join(f"<dt>{escape(label)}</dt><dd>{escape(str(text))}</dd>" for label, text in facts.items())
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Source and result</title><style>{STYLE}</style></head>\n<body><main>\n<h1>Source and result</h1>"
        f"<dl>{listed}</dl>\n<h2>Frames</h2><figure><img alt='source, result and error in some frames' "
        f'src="data:image/png;base64,{base64.b64encode(picture).decode("ascii")}"><figcaption>Colours end at '
        f"{record['scale_top_mm']:g} mm; above each column the frame and its mean error.</figcaption></figure>\n"
        f'<h2>Over time</h2><div class="panel grid">{_curves(record)}</div>\n{_joints(record)}</main></body></html>\n'
    )


def _curves(record: dict[str, Any]) -> str:
    count = record["frames"]
    rows = np.unique(np.linspace(0, count - 1, min(count, MOST_POINTS)).round().astype(int))
    times = [row / record["fps"] for row in rows]
    plots = []
    for key, title, color in (("frame_mean_mm", "mean", LEFT), ("frame_largest_mm", "worst vertex", RIGHT)):
        curve = Curve([record[key][row] for row in rows], color, title)
        plots.append(captioned(title, "mm", curve_plot(times, [curve])))
    return "".join(plots)


def _joints(record: dict[str, Any]) -> str:
    if record["joint_mm"] is None:
        return ""
    ranked = sorted(record["joint_mm"].items(), key=lambda item: -item[1])[:JOINTS_SHOWN]
    rows = "".join(f'<tr><td>{escape(name)}</td><td class="num">{value:.2f}</td></tr>' for name, value in ranked)
    mean = sum(record["joint_mm"].values()) / len(record["joint_mm"])
    return (
        f'<h2>Joints</h2><p class="soft">{mean:.2f} mm in the mean; the farthest:</p>'
        f'<div class="panel wide"><table><thead><tr><th>joint</th><th class="num">mean mm</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n"
    )
