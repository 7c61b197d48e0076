"""The videos of a finished rendering run: one of every scene and camera, made of the pictures that are there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from soma_isaac.batch.ledger import LedgerRecord
from soma_isaac.formats.atomic import folder_inside
from soma_isaac.formats.mp4 import write_mp4
from soma_isaac.formats.png import read_png
from soma_isaac.pipelines.folder_run import FolderPlan

VIDEO_FOLDER = "video"


def write_videos(plan: FolderPlan, records: Mapping[str, LedgerRecord], fps: float) -> int:
    """Write ``video/sSSSSS_cCC.mp4``; one that is not older than its pictures is left as it is.

    A scene of which a shot failed gets none: its video would jump.

    Args:
        plan: What was rendered.
        records: Terminal record per input.
        fps: Pictures per second.

    Returns:
        How many videos there are.

    Raises:
        MissingDependency: PyAV is not installed.
        InputRejected: A picture is not what was written.
        OSError: The disk refused.
    """
    whole: dict[str, list[str]] = {}
    broken: set[str] = set()
    for entry in plan.entries:
        scene = entry.input.partition("_")[0]
        if entry.input not in records or records[entry.input].state not in ("done", "skipped"):
            broken.add(scene)
        for name in entry.outputs:
            if name.startswith("rgb/"):
                # rgb/s00000_f00000_c00.png: by scene and camera, in the order of the frames
                whole.setdefault(f"{scene}_{Path(name).stem.rpartition('_')[2]}", []).append(name)
    names = [name for name in sorted(whole) if name.partition("_")[0] not in broken]
    folder = folder_inside(plan.out, VIDEO_FOLDER) if names else plan.out
    for name in names:
        pictures = [plan.out / picture for picture in sorted(whole[name])]
        final = folder / f"{name}.mp4"
        if not final.is_file() or final.stat().st_mtime < max(path.stat().st_mtime for path in pictures):
            write_mp4(final, _read(pictures), fps)
    return len(names)


def _read(paths: list[Path]) -> Iterator[np.ndarray]:
    for path in paths:
        yield read_png(path)
