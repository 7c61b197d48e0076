"""Score our G1 clips beside GMR, a prototype and soma-retargeter, and time the retargeter.

    python benchmarks/retarget.py [DATA] [--check] [--write] [--json FILE]

DATA is a folder with ``amass/`` and ``soma_motion/`` as published_retargeting.json names the clips; without it
``../shared/data`` beside the checkout is used if present. The bundled clips are scored in any case. ``--check`` exits
with 1 if a target is missed, ``--write`` renews the section of RESULTS.md.
"""

# ruff: noqa: E402 - the thread policy has to stand before numpy is imported
from __future__ import annotations

import os

# Before numpy is imported: one thread, so that CPU time means one core.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
    os.environ[_variable] = "1"

import argparse
import json
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from seed_results import read_seed_result

from soma_isaac.motion.resample import resample
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.retarget.human import human_keypoints
from soma_isaac.retarget.metrics import ClipMetrics, score_clip
from soma_isaac.retarget.retargeter import RetargetConfig, retarget_motion
from soma_isaac.retarget.robot import RobotModel, load_robot
from soma_isaac.retarget.thresholds import THRESHOLDS, Threshold, met, reached

CHECKOUT = Path(__file__).resolve().parents[1]
FPS = 50.0
PUBLISHED = Path(__file__).with_name("published_retargeting.json")
RESULTS = Path(__file__).with_name("RESULTS.md")
SECTION = "## Retargeting"
FRAMES_PER_SECOND = 1000.0
FOOT_METRICS = ("skate_H", "pen_frac", "float_frac", "contact_h_std", "tilt_deg")
OURS = "soma_isaac"


@dataclass(frozen=True)
class Scored:
    """One of our clips: its figures, and whether its feet carry the person."""

    name: str
    metrics: ClipMetrics
    feet: bool

    def figures(self) -> dict[str, float | None]:
        """All figures, foot figures blank where they mean nothing."""
        values = self.metrics.as_dict()
        return {name: None if name in FOOT_METRICS and not self.feet else value for name, value in values.items()}


def clip_files(data: Path | None, published: Mapping) -> Iterator[tuple[str, Path, bool, bool]]:
    """(name, file, feet carry, in the published table) of every clip there is."""
    if data is not None:
        for name, clip in published["clips"].items():
            if (data / clip["file"]).is_file():
                yield name, data / clip["file"], clip["feet"], True
            else:
                print(f"missing: {clip['file']}", file=sys.stderr)
    for path in sorted((CHECKOUT / "data" / "demo_clips").rglob("*.npz")):
        yield f"demo_{path.stem}", path, True, False


def retarget_all(motions: Mapping[str, SomaMotion], robot: RobotModel) -> tuple[dict, float]:
    """Robot motions by name, and frames per CPU second of a warm run."""
    config = RetargetConfig()
    shortest = min(motions.values(), key=lambda motion: motion.frame_count)
    retarget_motion(shortest, robot, config, FPS)  # warm: imports, caches, first-touch memory
    results = {}
    start = time.process_time()
    for name, motion in motions.items():
        results[name] = retarget_motion(motion, robot, config, FPS)
    elapsed = time.process_time() - start
    return results, sum(result.frame_count for result in results.values()) / elapsed


def published_mean(published: Mapping, method: str, metric: str, names: Sequence[str]) -> float | None:
    """Mean of a method's published figure over the named clips that have it; foot figures over standing clips."""
    column = published["columns"].index(metric) if metric in published["columns"] else None
    clips = [published["clips"][name] for name in names if column is not None]
    values = [
        clip[method][column]
        for clip in clips
        if method in clip and column is not None and (clip["feet"] or metric not in FOOT_METRICS)
    ]
    return float(np.mean(values)) if values else None


def show(value: float | None) -> str:
    """Three digits, or a dash."""
    if value is None:
        return "-"
    return "0" if value == 0 else f"{value:.3g}"


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table with aligned columns; the first row is the head."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def clip_table(scored: Sequence[Scored], published: Mapping) -> list[str]:
    """Per clip: ours / GMR / prototype / soma-retargeter where published."""
    columns, methods = published["columns"], published["methods"]
    rows = [["clip", *columns]]
    for clip in scored:
        ours = clip.metrics.as_dict()
        known = published["clips"].get(clip.name, {})
        cells = []
        for index, column in enumerate(columns):
            values = [ours[column], *(known[method][index] for method in methods if method in known)]
            cells.append(" / ".join(show(value) for value in values))
        rows.append([clip.name, *cells])
    return table(rows)


def mean_table(scored: Sequence[Scored], published: Mapping) -> list[str]:
    """Means over the clips of the table, ours and the published."""
    names = [clip.name for clip in scored]
    figures = [clip.figures() for clip in scored]
    rows = [["mean over clips", OURS, *published["methods"]]]
    for column in published["columns"]:
        values = [value for value in (clip[column] for clip in figures) if value is not None]
        ours = float(np.mean(values)) if values else None
        rows.append(
            [column, show(ours), *(show(published_mean(published, m, column, names)) for m in published["methods"])]
        )
    return table(rows)


def check_table(data: Path, published: Mapping, robot: RobotModel) -> list[str]:
    """soma-retargeter's results inside the SEED samples by our scorer / as published: what our figures are worth."""
    columns, method = published["columns"], "soma-retargeter 0.1"
    rows = [["clip", *columns]]
    for name, clip in published["clips"].items():
        path = data / clip["file"]
        result = read_seed_result(path, robot) if method in clip and path.is_file() else None
        if result is not None:
            ours = score_clip(human_keypoints(load_motion(path)), result, robot).as_dict()
            cells = [
                f"{show(ours[column])} / {show(value)}" for column, value in zip(columns, clip[method], strict=True)
            ]
            rows.append([name, *cells])
    return table(rows) if len(rows) > 1 else []


def targets_table(scored: Sequence[Scored], published: Mapping, speed: float) -> tuple[list[str], bool]:
    """Every target with what we reached; whether all are met."""
    figures = [clip.figures() for clip in scored]
    jerk = published_mean(published, "prototype", "jerk_mean", [clip.name for clip in scored]) or 0.0
    thresholds = [*THRESHOLDS, Threshold("jerk_mean", "Joint jerk (prototype's mean)", jerk, "rad/s^3")]
    rows, good = [["target", "figure", "over clips", "limit", "reached", ""]], True
    for threshold in thresholds:
        value = reached(threshold, figures)
        verdict = met(threshold, value)
        good &= verdict is True
        word = {True: "met", False: "MISSED", None: "not measured"}[verdict]
        rows.append([threshold.label, threshold.metric, threshold.over, show(threshold.limit), show(value), word])
    good &= speed >= FRAMES_PER_SECOND
    word = "met" if speed >= FRAMES_PER_SECOND else "MISSED"
    rows.append(["Frames per CPU second, one core", "", "all", f">= {FRAMES_PER_SECOND:g}", f"{speed:.0f}", word])
    return table(rows), good


def report_lines(
    scored: Sequence[Scored], extra: Sequence[Scored], speed: float, published: Mapping, check: Sequence[str]
) -> tuple[list[str], bool]:
    """The section of RESULTS.md, and whether all targets are met."""
    targets, good = targets_table(scored, published, speed)
    frames = sum(clip.metrics.frames for clip in scored)
    lines = [
        SECTION,
        "",
        f"`python benchmarks/retarget.py`: {len(scored)} clips, {frames} frames at {FPS:g} Hz; Python "
        f"{platform.python_version()}, numpy {np.__version__}, {platform.machine()}, one thread. "
        "CPU time is of a warm run from SOMA motion to robot motion (resampling, contacts, solve), scoring left out.",
        "",
        *targets,
        "",
        "Foot figures leave out `amass_male`, who sits on a chair that is not in the data.",
        "",
        *mean_table(scored, published),
        "",
        f"Per clip: {OURS} / " + " / ".join(published["methods"]) + " where published.",
        "",
        *clip_table(scored, published),
        "",
    ]
    ranges = published["frames_per_cpu_second"]
    lines += ["Published frames per CPU second: " + ", ".join(f"{m} {a}-{b}" for m, (a, b) in ranges.items()) + ".", ""]
    if extra:
        lines += ["Bundled clips (ours only):", "", *clip_table(extra, published), ""]
    if check:
        lines += [
            "The scorer checked: soma-retargeter's results in the BONES-SEED samples, scored here / published. They "
            "agree but for `ori_mean`, a constant 2.0 deg lower here: a T-pose offset that the published definition "
            "does not state. Robots are solved for and scored with one set of offsets, those of the SOMA T-pose.",
            "",
            *check,
            "",
        ]
    lines += [f"Published figures: {published['source']}", ""]
    return lines, good


def write_section(path: Path, lines: Sequence[str]) -> None:
    """Replace our section in RESULTS.md and leave the others as they are."""
    text = path.read_text(encoding="utf-8") if path.exists() else "# Results\n\n"
    section = "\n".join(lines).rstrip("\n") + "\n"
    pattern = re.compile(rf"^{re.escape(SECTION)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    found = pattern.search(text)
    text = pattern.sub(lambda _: section + "\n", text) if found else f"{text.rstrip()}\n\n{section}"
    path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def main() -> int:
    """Run; 0, or 1 with ``--check`` and a target missed, or 2 without any clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", type=Path, help="folder with amass/ and soma_motion/")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a target is missed")
    parser.add_argument("--write", action="store_true", help="renew the section of RESULTS.md")
    parser.add_argument("--json", type=Path, help="also write all figures to this file")
    arguments = parser.parse_args()
    data = arguments.data or CHECKOUT.parent / "shared" / "data"
    if not data.is_dir():
        if arguments.data is not None:
            parser.error(f"{str(data)!r} is no folder")
        print("give the folder that holds amass/ and soma_motion/; only the bundled clips are scored", file=sys.stderr)
        data = None
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    files = list(clip_files(data, published))
    if not files:
        print("no clips: give a folder with amass/ and soma_motion/", file=sys.stderr)
        return 2
    robot = load_robot()
    motions = {name: load_motion(path) for name, path, _, _ in files}
    results, speed = retarget_all(motions, robot)
    scored, extra = [], []
    for name, _, feet, listed in files:
        human = human_keypoints(resample(motions[name], FPS))
        (scored if listed else extra).append(Scored(name, score_clip(human, results[name], robot), feet))
    check = check_table(data, published, robot) if data is not None else []
    lines, good = report_lines(scored or extra, extra if scored else [], speed, published, check)
    print("\n".join(lines))
    if arguments.json:
        record = {clip.name: clip.metrics.as_dict() for clip in [*scored, *extra]}
        arguments.json.write_text(json.dumps({"frames_per_cpu_second": speed, "clips": record}, indent=1) + "\n")
    if arguments.write:
        if not scored:
            print("RESULTS.md is left alone: none of the published clips is here", file=sys.stderr)
            return 2
        write_section(RESULTS, lines)
    return 1 if arguments.check and not good else 0


if __name__ == "__main__":
    sys.exit(main())
