"""Curves of a training: a CSV file that survives an interruption, a picture, and TensorBoard's own file."""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.atomic import write_file

CSV_NAME, PICTURE_NAME, BOARD_NAME = "curves.csv", "curves.png", "tensorboard"
INSTALL = "pip install 'soma_isaac[train]'"


class Curves:
    """Numbers by step.

    Args:
        folder: Where they go.
        plot: Draw ``curves.png``.
        tensorboard: Write TensorBoard's file too.

    Raises:
        MissingDependency: matplotlib or tensorboard is asked for and not installed.
    """

    def __init__(self, folder: Path, *, plot: bool, tensorboard: bool) -> None:
        for wanted, package, purpose in (
            (plot, "matplotlib", "drawing the curves of a training (plot=false leaves them out)"),
            (tensorboard, "tensorboard", "writing for TensorBoard (tensorboard=false leaves it out)"),
        ):
            if wanted and importlib.util.find_spec(package) is None:
                raise MissingDependency(package, purpose, INSTALL)
        self.folder, self._plot = folder, plot
        self._tensorboard, self._board = tensorboard, None
        self._rows: dict[int, dict[str, float]] = {}

    def resume(self, step: int) -> None:
        """Take up the rows of an earlier run up to ``step``; what it did after its last checkpoint is done again.

        Raises:
            InputRejected: The table was changed by somebody else.
        """
        path = self.folder / CSV_NAME
        if step and path.is_file():
            try:
                for row in csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))):
                    if int(row["step"]) <= step:
                        values = {name: float(value) for name, value in row.items() if name != "step" and value}
                        self._rows[int(row["step"])] = values
            except (ValueError, TypeError, KeyError) as error:
                raise InputRejected(f"is no table of curves ({error!r}); move it away", str(path)) from error
        if self._tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(self.folder / BOARD_NAME), purge_step=step + 1 if step else None)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take numbers of a step."""
        self._rows.setdefault(step, {}).update(values)
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def latest(self, name: str) -> float | None:
        """The last value of that name."""
        values = [row[name] for _, row in sorted(self._rows.items()) if name in row]
        return values[-1] if values else None

    def write(self) -> None:
        """Write the CSV file and the picture."""
        names = sorted({name for row in self._rows.values() for name in row})
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["step", *names])
        for step, row in sorted(self._rows.items()):
            writer.writerow([step, *(f"{row[name]:.6g}" if name in row else "" for name in names)])
        write_file(self.folder / CSV_NAME, text.getvalue().encode())
        if self._board is not None:
            self._board.flush()
        if self._plot and self._rows:
            write_file(self.folder / PICTURE_NAME, picture(self._rows))

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._board is not None:
            self._board.close()


def picture(rows: Mapping[int, Mapping[str, float]]) -> bytes:
    """A PNG of the training loss, its terms, and the validation errors, by step."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    names = sorted({name for row in rows.values() for name in row})
    for name in names:
        points = [(step, row[name]) for step, row in sorted(rows.items()) if name in row]
        if name == "loss" or name.startswith("term/"):
            width = 2.0 if name == "loss" else 0.8
            left.plot(*zip(*points, strict=True), label=name.removeprefix("term/"), linewidth=width)
        elif name.startswith("validation/") and name.endswith("_mm"):
            right.plot(
                *zip(*points, strict=True),
                label=name.removeprefix("validation/").removesuffix("_mm"),
                marker=".",
                linewidth=1.2,
            )
    _dress(left, "training loss and its terms", "loss")
    _dress(right, "people not trained on, network alone", "MPJPE [mm]")
    left.set_yscale("log" if left.lines else "linear")
    right.set_ylim(bottom=0.0)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, metadata={"Software": None})
    return buffer.getvalue()


def _dress(axes: Any, title: str, label: str) -> None:
    axes.set(title=title, xlabel="step", ylabel=label)
    if axes.lines:
        axes.grid(True, which="both", alpha=0.25)
        axes.legend(fontsize=8)
