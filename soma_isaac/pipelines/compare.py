"""Source and result of a conversion side by side, with the error as colours: a PNG sheet, a page and figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig

from soma_isaac.pipelines.compare_config import CompareConfig, check_config
from soma_isaac.pipelines.config import check_command_line
from soma_isaac.pipelines.single_run import run_single, write_results

if TYPE_CHECKING:
    from soma_isaac.pipelines.compare_pair import Pair

CHUNK = 64


@dataclass(frozen=True, eq=False)
class Figures:
    """Errors of all frames.

    Attributes:
        mean: [T] m, mean over the vertices of a frame.
        largest: [T] m, largest vertex of a frame.
        vertex_mean: [V] m, mean of each vertex over the frames.
        joint_mean: [77] m, mean distance of each joint, or ``None`` where the source has no SOMA joints.
    """

    mean: np.ndarray
    largest: np.ndarray
    vertex_mean: np.ndarray
    joint_mean: np.ndarray | None


@dataclass(frozen=True)
class CompareReport:
    """What was found and written.

    Attributes:
        files: The sheet, the page and the figures.
        way: See :data:`soma_isaac.pipelines.compare_pair.WAYS`.
        mean: Mean over vertices and frames [m].
        worst_frame: Number of the frame with the largest mean.
        worst_frame_mean: Its mean [m].
        largest: The largest error of a vertex [m].
    """

    files: tuple[Path, ...]
    way: str
    mean: float
    worst_frame: int
    worst_frame_mean: float
    largest: float


def measure(pair: Pair) -> Figures:
    """Pose all frames once, in bounded memory."""
    mean, largest = np.empty(pair.frame_count), np.empty(pair.frame_count)
    vertices: np.ndarray | float = 0.0
    joints: np.ndarray | float | None = 0.0
    for begin in range(0, pair.frame_count, CHUNK):
        rows = np.arange(begin, min(begin + CHUNK, pair.frame_count))
        posed = pair.pose(rows)
        mean[rows], largest[rows] = posed.errors.mean(axis=1), posed.errors.max(axis=1)
        vertices = vertices + posed.errors.sum(axis=0)
        joints = None if posed.joint_errors is None else posed.joint_errors.sum(axis=0) + joints
    count = pair.frame_count
    return Figures(mean, largest, np.asarray(vertices) / count, None if joints is None else np.asarray(joints) / count)


def chosen_frames(mean: np.ndarray, count: int) -> list[int]:
    """Frames of a sheet in the order of time: the worst, first, middle and last, then evenly spaced ones.

    Args:
        mean: [T] error of each frame.
        count: How many; fewer where the motion has fewer.
    """
    last = len(mean) - 1
    wanted = [int(mean.argmax()), 0, last // 2, last]
    for parts in range(3, len(mean) + 3):
        if len(set(wanted)) >= count:
            break
        wanted += [last * part // parts for part in range(1, parts)]
    return sorted(list(dict.fromkeys(wanted))[:count])


def compare(config: CompareConfig) -> CompareReport:
    """Compare and write sheet, page and figures.

    Raises:
        ConfigRefused: A value is out of range.
        InputRejected: A file cannot be read, or there is no model for the source.
        OutputConflict: A file is there with other bytes and ``replace`` is not set.
        OSError: The disk refused.
    """
    check_config(config)
    # Imported here so that --help and wrong arguments are answered at once.
    from soma_isaac.formats.png import png_bytes
    from soma_isaac.pipelines.compare_pair import make_pair
    from soma_isaac.pipelines.compare_sheet import draw_sheet, figures_json, page_html

    pair = make_pair(config)
    figures = measure(pair)
    frames = chosen_frames(figures.mean, config.frames)
    top = None if config.top_mm is None else 1e-3 * config.top_mm
    sheet, top = draw_sheet(pair, figures, frames, (config.size[0], config.size[1]), top)
    picture = png_bytes(sheet)
    result = Path(config.result or "")
    record = figures_json(pair, figures, frames, top, (pair.source_name, result.name), config.align)
    folder = Path(config.output.dir).expanduser()
    stem = result.stem
    files = {
        folder / f"{stem}.png": picture,
        folder / f"{stem}.html": page_html(record, picture).encode("utf-8"),
        folder / f"{stem}.json": record.encode("ascii"),
    }
    _write(files, config)
    worst = int(figures.mean.argmax())
    return CompareReport(
        tuple(files), pair.way, float(figures.mean.mean()), worst, float(figures.mean[worst]),
        float(figures.largest.max()),
    )  # fmt: skip


def _write(files: dict[Path, bytes], config: CompareConfig) -> None:
    inputs = [Path(path or "").expanduser() for path in (config.source, config.result)]
    write_results(list(files.items()), config.replace, inputs)


def compare_command_line(arguments: Sequence[str]) -> None:
    """Register the schema and check the arguments before Hydra sees them; exits with 2 where one is wrong."""
    check_command_line("compare_schema", CompareConfig, arguments)


def compare_command(config: DictConfig) -> int:
    """Run what the config asks for; see :func:`~soma_isaac.pipelines.single_run.run_single` for exit codes."""
    return run_single(config, CompareConfig, lambda settings: [_line(compare(settings))])


def _line(report: CompareReport) -> str:
    return (
        f"{report.files[0]}: {1e3 * report.mean:.2f} mm in the mean, {1e3 * report.worst_frame_mean:.2f} "
        f"mm in frame {report.worst_frame}, {1e3 * report.largest:.1f} mm at the worst vertex ({report.way})"
    )
