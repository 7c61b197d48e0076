"""What a finished rendering run adds to its folder: one COCO file, contact sheets, and how fast it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.batch.ledger import LEDGER_NAME, LedgerRecord, latest, read_ledger
from soma_isaac.batch.plan import PlanEntry
from soma_isaac.formats.atomic import discard, publish, staged_path, write_file
from soma_isaac.formats.png import png_bytes, read_png
from soma_isaac.pipelines.folder_run import FolderPlan
from soma_isaac.pipelines.render_bodies_config import LAYERS
from soma_isaac.render.annotations import header
from soma_isaac.render.contact_sheet import contact_sheet, reduced
from soma_isaac.render.parts import PART_NAMES

SHEET_PICTURES = 64
SHEET_SIDE = 256
FIRST_FRAME = "_f00000"
LAYER_ROWS = 4


def write_render_report(plan: FolderPlan, records: Mapping[str, LedgerRecord]) -> tuple[Path, str]:
    """Write ``annotations.json``, ``contact_sheet.png``, ``layers.png`` and ``report.json``.

    All but the last depend on the pictures alone; the last has the CPU time of the workers.

    Args:
        plan: What was rendered.
        records: Terminal record per input.

    Returns:
        The report's path and one line about the speed.

    Raises:
        InputRejected: A picture or annotation is not what was written.
        OSError: The disk refused.
    """
    done = [entry for entry in plan.entries if entry.input in records and records[entry.input].state == "done"]
    _merge(plan.out, [name for entry in done for name in entry.outputs if name.startswith("annotations/")])
    _sheets(plan.out, done)
    known = latest(read_ledger(plan.out / LEDGER_NAME)[0])
    details = [known[entry.input, entry.key].details for entry in done]
    pictures = sum(item["pictures"] for item in details)
    cpu_s = sum(item["cpu_s"] for item in details)
    usual = float(np.median([item["cpu_s"] / item["pictures"] for item in details])) if details else 0.0
    report = {
        "shots": len(plan.entries),
        "done": len(done),
        "pictures": pictures,
        "cpu_s": round(cpu_s, 3),
        "cpu_s_per_picture_median": round(usual, 4),
    }
    path = plan.out / "report.json"
    write_file(path, json.dumps(report, sort_keys=True, indent=1).encode("ascii") + b"\n")
    rate = f"{1.0 / usual:.1f}" if usual else "no"
    line = (
        f"{pictures} pictures in {cpu_s:.1f} s of CPU, warm-up included; {rate} pictures per CPU second at the median"
    )
    return path, line


def _merge(out: Path, names: list[str]) -> None:
    """One COCO file from the shots' files, which are read one after the other: their number does not matter."""
    if not names:
        return
    final = out / "annotations.json"
    staged = staged_path(final)
    try:
        with staged.open("w", encoding="ascii") as stream:
            head = json.dumps(header(), sort_keys=True)
            stream.write(head[:-1])
            for key in ("images", "annotations"):
                stream.write(f', "{key}": [')
                for number, item in enumerate(_items(out, names, key)):
                    stream.write((",\n" if number else "\n") + json.dumps(item, sort_keys=True))
                stream.write("]")
            stream.write("}\n")
        publish(staged, final)
    except OSError:
        discard(staged)
        raise


def _items(out: Path, names: list[str], key: str) -> Iterator[dict[str, Any]]:
    for name in names:
        yield from json.loads((out / name).read_bytes())[key]


def _sheets(out: Path, done: list[PlanEntry]) -> None:
    """The first frame of as many scenes as fit, their cameras in turn; and all layers of the first few of these."""
    stems: list[str] = []
    for entry in done:
        firsts = [name for name in entry.outputs if name.startswith("rgb/") and _frame(name) == _frame(entry.input)]
        if firsts and _frame(entry.input).endswith(FIRST_FRAME):
            stems.append(Path(firsts[len(stems) % len(firsts)]).stem)
        if len(stems) == SHEET_PICTURES:
            break
    if not stems:
        return
    pictures = [reduced(read_png(out / "rgb" / f"{stem}.png"), SHEET_SIDE) for stem in stems]
    columns = int(np.ceil(np.sqrt(len(pictures))))
    write_file(out / "contact_sheet.png", png_bytes(contact_sheet(pictures, columns)))
    shown = [layer for layer in LAYERS if (out / layer / f"{stems[0]}.png").is_file()]
    rows = [
        reduced(shown_layer(read_png(out / layer / f"{stem}.png"), layer), SHEET_SIDE)
        for stem in stems[:LAYER_ROWS]
        for layer in shown
    ]
    write_file(out / "layers.png", png_bytes(contact_sheet(rows, len(shown))))


def _frame(name: str) -> str:
    return Path(name).stem[:13]  # s00000_f00000


def shown_layer(pixels: np.ndarray, layer: str) -> np.ndarray:
    """A layer's pixels as colours [H, W, 3] uint8 for people to look at."""
    if layer in ("rgb", "normals"):
        return pixels
    if layer == "depth":
        seen = pixels > 0
        near = float(pixels[seen].min()) if seen.any() else 1.0
        grey = np.where(seen, 255.0 * np.exp(1.0 - np.maximum(pixels, near) / near), 0.0)
        return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)
    hues = np.arange(max(len(PART_NAMES), int(pixels.max())) + 1) * 0.618034 % 1.0
    angles = 2.0 * np.pi * (hues[:, None] + np.array([0.0, 1.0 / 3.0, 2.0 / 3.0]))
    palette = (140.0 + 100.0 * np.cos(angles)).astype(np.uint8)
    palette[0] = 24
    return palette[pixels]
