"""The report of a G1 reference run, made from the records that the workers left beside the clips."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from soma_isaac.batch.report import ReportRun, read_clips, write_report
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.pipelines.run_config import details_name
from soma_isaac.pipelines.warp_log import hush_warp
from soma_isaac.retarget.robot import load_robot

HTML_NAME, JSON_NAME = "report.html", "report.json"


def write_g1_report(
    out: Path, states: Sequence[tuple[str, str, str]], facts: Mapping[str, str], robot_urdf: Path
) -> Path:
    """Write ``report.html`` and ``report.json`` into the output folder; equal clips give equal bytes.

    Args:
        out: Output folder.
        states: (input, state, reason) of every input in the order of the plan.
        facts: What to say of the run as a whole.
        robot_urdf: The robot.

    Returns:
        Path of the page.

    Raises:
        OSError: The disk refused; an earlier report is whole.
    """
    hush_warp()
    clips = read_clips(out, states, details_name)
    html, data = write_report(clips, ReportRun(facts=facts), load_robot(robot_urdf), load_template_rig())
    write_file(out / JSON_NAME, data)
    write_file(out / HTML_NAME, html)
    return out / HTML_NAME
