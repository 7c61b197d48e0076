"""The report: complete, safe against foreign names, bounded, the same bytes twice, and readable by machines."""

from __future__ import annotations

import base64
import functools
import json
import re
import struct
import zlib
from html.parser import HTMLParser

import numpy as np
import pytest

from soma_isaac.batch.report import (
    FIRST_CARDS,
    WORST_CARDS,
    ReportClip,
    ReportRun,
    chosen_clips,
    read_clips,
    write_report,
)
from soma_isaac.batch.report_plots import Bars, Curve, Strip, curve_plot, limit_bars, rank_plot
from soma_isaac.batch.thumbnails import framing, png_bytes
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.retarget.details import KEY_FRAMES, SAMPLES, clip_details
from soma_isaac.retarget.dynamics import dynamics
from soma_isaac.retarget.human import human_keypoints
from soma_isaac.retarget.robot import load_robot
from soma_isaac.retarget.thresholds import THRESHOLDS, Threshold, met, reached
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, template_rest_offsets

ROBOT = load_robot()
EVIL = 'a"><script>alert(1)</script>/\x1b[31m\u202e.npz'


@functools.cache
def record(frames: int = 60) -> str:
    """A record as JSON text: a person who raises the arms, a robot that stands and bends a knee."""
    offsets = template_rest_offsets()
    rotations = np.tile(np.eye(3), (frames, 77, 1, 1))
    t = np.linspace(0.0, 1.0, frames)
    rotations[:, POSE_JOINT_NAMES.index("LeftArm")] = matrix_from_rotvec(np.outer(t, [0.0, 0.0, -1.2]))
    motion = SomaMotion(
        50.0,
        rotations,
        np.tile(offsets[1], (frames, 1)),
        MotionIdentity("soma", np.zeros(0), None, offsets, "template"),
        Provenance("made", "0" * 64, "made", "fps", "y", "format", ("a note with <b>tags</b>",)),
    )
    joints = np.zeros((frames, 29))
    joints[:, ROBOT.joint_index("left_knee_joint")] = 0.3 * t
    quats = np.tile([1.0, 0.0, 0.0, 0.0], (frames, 1))
    contacts = np.ones((frames, 2), bool)
    robot_motion = RobotMotion(50.0, ROBOT.joint_names, np.tile([0, 0, 0.79], (frames, 1)), quats, joints, contacts)
    details = clip_details(motion, human_keypoints(motion), robot_motion, ROBOT, dynamics(robot_motion, ROBOT))
    return json.dumps(details, allow_nan=False)


def hint(name: str, **changed: float | None) -> ReportClip:
    details = json.loads(record())
    details["dynamics"] |= changed
    return ReportClip(name, "done", "", details)


def clip(name: str, **changed: float) -> ReportClip:
    details = json.loads(record())
    details["metrics"] |= changed
    return ReportClip(name, "done", "", details)


def report(clips: list[ReportClip]) -> tuple[str, dict]:
    html, data = write_report(clips, ReportRun(facts={"Source": EVIL}), ROBOT, load_template_rig())
    return html.decode("utf-8"), json.loads(data)


class Structure(HTMLParser):
    """Collects tags, their sources and the text, and checks that tags close in order."""

    VOID = {"meta", "img", "br", "line", "rect", "circle", "polyline"}

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href", "action", "srcset") and value]
        assert not [key for key, _ in attrs if key.startswith("on")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_page_shows_every_input_escaped_and_needs_no_network():
    clips = [
        clip("good.npz"),
        ReportClip(EVIL, "rejected", f"is truncated <i>here</i>: {EVIL}"),
        ReportClip("segv.npz", "crashed", "signal 11"),
        ReportClip("later.npz", "pending"),
    ]
    html, data = report(clips)
    page = Structure()
    page.feed(html)
    assert page.open == []
    assert "script" not in page.tags and "i" not in page.tags and "b" not in page.tags and "link" not in page.tags
    assert page.links and all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", html)
    assert "\x1b" not in html and "\u202e" not in html
    for shown in (
        "good.npz",
        "segv.npz",
        "signal 11",
        "later.npz",
        "is truncated <i>here</i>",
        "a note with <b>tags</b>",
    ):
        assert shown in page.text
    assert data["counts"] == {"crashed": 1, "done": 1, "pending": 1, "rejected": 1}
    assert [row["state"] for row in data["clips"]] == ["done", "rejected", "crashed", "pending"]
    assert data["clips"][1]["input"] == EVIL  # JSON carries the name itself


def test_a_clip_made_by_mesh_is_compared_with_the_other_way():
    made = clip("squat.npz", kp2_mean=0.03125)
    other = {"kp2_mean": 0.0625, "skate_H": 0.001}
    made.details["comparison"] = {
        "way": "by <joints>",
        "stature": 1.625,
        "metrics": other,
        "joint_difference_deg": {"mean": 7.25, "largest": 31.5},
    }
    html, data = report([made, clip("plain.npz")])
    page = Structure()
    page.feed(html)
    assert "the same clip by <joints>: joints 7.2 deg apart" in page.text and "1.62 m" in page.text
    assert "<td>kp2_mean</td><td>0.03125</td><td>0.0625</td>" in html
    assert [one.get("comparison", {}).get("metrics") for one in data["clips"]] == [other, None]


def test_page_of_nothing_but_failures():
    html, data = report([ReportClip("a.npz", "rejected", "no motion")])
    assert "no motion" in html and "<img" not in html and "Dynamic feasibility" not in html
    assert all(target["met"] is None for target in data["targets"])


def test_report_is_the_same_bytes_twice():
    clips = [clip("a.npz"), ReportClip("b.npz", "failed", "SolveFailed: frame 3")]
    rig, run = load_template_rig(), ReportRun(facts={"Rate": "50 Hz"})
    assert write_report(clips, run, ROBOT, rig) == write_report(clips, run, ROBOT, rig)


def test_targets_are_means_worst_or_totals_and_judged():
    _, data = report(
        [clip("a.npz", skate_H=0.010, jumps=1, step_max=0.1), clip("b.npz", skate_H=0.020, jumps=2, step_max=0.5)]
    )
    targets = {target["metric"]: target for target in data["targets"]}
    assert targets["skate_H"]["reached"] == pytest.approx(0.015)
    assert targets["skate_H"]["met"] is True
    assert (targets["jumps"]["reached"], targets["jumps"]["met"]) == (3.0, False)
    assert (targets["step_max"]["reached"], targets["step_max"]["met"]) == (0.5, False)


def test_dynamics_are_hints_with_the_worst_clip_named():
    clips = [hint("a.npz", zmp_out_frac=0.2, flight_residual=None), hint(EVIL, zmp_out_frac=0.4, flight_residual=0.5)]
    html, data = report([*clips, ReportClip("b.npz", "rejected", "no motion")])
    page = Structure()
    page.feed(html)
    assert page.open == [] and "script" not in page.tags
    assert "Dynamic feasibility" in page.text and "Not a target" in page.text
    assert "30.0 % of frames" in page.text and "40.0 % of frames" in page.text
    figures = {figure["figure"]: figure for figure in data["dynamics"]}
    assert figures["zmp_out_frac"]["mean"] == pytest.approx(0.3)
    assert (figures["zmp_out_frac"]["worst"], figures["zmp_out_frac"]["worst_clip"]) == (0.4, EVIL)
    assert figures["flight_residual"]["mean"] == 0.5  # of the one clip that has it
    assert not [figure for figure in data["dynamics"] if "met" in figure or "limit" in figure]
    assert [row["dynamics"] and row["dynamics"]["zmp_out_frac"] for row in data["clips"]] == [0.2, 0.4, None]
    assert {target["metric"] for target in data["targets"]}.isdisjoint(figures)


def test_dynamics_curves_have_gaps_in_flight():
    details = json.loads(record())
    details["series"]["zmp_outside"][20:40] = [None] * 20
    html, _ = report([ReportClip("a.npz", "done", "", details)])
    whole, _ = report([clip("a.npz")])
    assert html.count("distance from the feet") == 1 + whole.count("distance from the feet")


def test_figures_that_a_clip_lacks_are_left_out_of_means():
    threshold = Threshold("skate_H", "slide", 0.016)
    assert reached(threshold, [{"skate_H": None}, {"skate_H": 0.01}]) == 0.01
    assert reached(threshold, [{"skate_H": None}]) is None
    assert met(threshold, None) is None


def test_many_clips_get_few_cards_the_worst_among_them():
    good = {threshold.metric: 0.0 for threshold in THRESHOLDS}
    clips = [clip(f"{i:03}.npz", **good) for i in range(60)]
    clips[47] = clip("047.npz", **{**good, "kp2_mean": 0.2, "jumps": 3})
    clips[53] = clip("053.npz", **{**good, "kp2_mean": 0.05})
    chosen = chosen_clips(clips)
    assert [name for name, _, _ in chosen[:2]] == ["047.npz", "053.npz"]
    assert "keypoint error" in chosen[0][2] and "joint jumps" in chosen[0][2]
    assert [name for name, _, _ in chosen[2:]] == [f"{i:03}.npz" for i in range(FIRST_CARDS)]
    assert len(chosen) <= FIRST_CARDS + WORST_CARDS


def test_record_is_small_rounded_and_bounded():
    details = json.loads(record(700))
    series = details["series"]
    assert (
        len(series["time"]) == SAMPLES == len(series["keypoint_error"]) == len(series["feet"]["left"]["human_contact"])
    )
    assert len(record(700)) < 40_000
    assert len(details["key_frames"]) == KEY_FRAMES
    assert [f["frame"] for f in details["key_frames"]] == sorted({f["frame"] for f in details["key_frames"]})
    assert [f["why"] for f in details["key_frames"]].count("largest keypoint error") == 1
    knee = ROBOT.joint_index("left_knee_joint")
    middle, half = 0.5 * (ROBOT.upper + ROBOT.lower)[knee], 0.5 * (ROBOT.upper - ROBOT.lower)[knee]
    assert len(series["zmp_outside"]) == len(series["torque_use"]) == len(series["load"]) == SAMPLES
    assert details["limits"]["torque"][knee] > 0.05
    assert details["limits"]["position"][knee] == pytest.approx(abs(0.0 - middle) / half, abs=1e-3)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_record_of_the_shortest_clips(frames: int):
    details = json.loads(record(frames))
    assert 1 <= len(details["key_frames"]) <= frames
    html, _ = report([ReportClip("short.npz", "done", "", details)])
    assert "short.npz" in html


def test_thinned_curves_keep_the_worst():
    details = json.loads(record(700))
    errors = details["series"]["keypoint_error"]
    assert max(errors) > 0.0
    worst = next(f for f in details["key_frames"] if f["why"])["frame"] / 50.0
    at = np.searchsorted(details["series"]["time"], worst, side="right") - 1
    assert errors[at] == max(errors)


def test_records_are_read_from_the_output_folder(tmp_path):
    (tmp_path / "details").mkdir()
    (tmp_path / "details" / "a.json").write_text(record())
    (tmp_path / "details" / "b.json").write_text("[1]")
    states = [("a.npz", "done", ""), ("b.npz", "done", ""), ("c.npz", "done", ""), ("d.npz", "rejected", "why")]
    a, b, c, d = read_clips(tmp_path, states, lambda name: f"details/{name.removesuffix('.npz')}.json")
    assert a.details is not None and a.details["metrics"]["frames"] == 60
    assert b.details is None and "record" in b.reason
    assert c.details is None and "record" in c.reason
    assert (d.details, d.reason) == (None, "why")


def test_pictures_show_person_and_robot_apart():
    html, _ = report([clip("a.npz")])
    data = base64.b64decode(re.search(r"base64,([A-Za-z0-9+/=]+)", html)[1])
    image = decoded_png(data).astype(int)
    warm = (image[..., 0] > image[..., 2] + 15).nonzero()  # skin
    cold = (image[..., 2] > image[..., 0] + 25).nonzero()  # robot
    assert len(warm[1]) > 1500 and len(cold[1]) > 800
    assert np.median(warm[1]) < image.shape[1] / 2 < np.median(cold[1])


def test_camera_moves_back_for_what_does_not_fit():
    near = framing(np.array([[0.0, -0.5, 0.0], [0.0, 0.5, 1.7]]), (300, 230))
    far = framing(np.array([[0.0, -1.5, 0.0], [0.0, 1.5, 2.6]]), (300, 230))
    distance = [np.linalg.norm(np.subtract(camera.position, camera.target)) for camera in (near, far)]
    assert distance[1] > distance[0]
    assert far.target[2] == pytest.approx(1.3)


def decoded_png(data: bytes) -> np.ndarray:
    """Decode what `png_bytes` makes, by the standard: chunks with checksums, filter "up"."""
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    position, chunks = 8, {}
    while position < len(data):
        (size,) = struct.unpack(">I", data[position : position + 4])
        kind, body = data[position + 4 : position + 8], data[position + 8 : position + 8 + size]
        assert struct.unpack(">I", data[position + 8 + size : position + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        position += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, 1 + width * 3)
    assert (rows[:, 0] == 2).all()
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(height, width, 3)


def test_png_decodes_to_the_image():
    image = np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decoded_png(png_bytes(image)), image)


def test_curve_has_a_gap_where_there_is_no_value():
    svg = curve_plot([0.0, 0.1, 0.2, 0.3, 0.4], [Curve([1.0, 2.0, None, 1.0, 1.0], "#000", "x")])
    assert svg.count("<polyline") == 2


def test_strips_cover_the_runs_of_contact():
    svg = curve_plot([0.0, 0.1, 0.2, 0.3], [], strips=[Strip("0110", "#123456", "x")])
    assert svg.count("#123456") == 1
    assert curve_plot([0.0, 0.1, 0.2, 0.3], [], strips=[Strip("1001", "#123456", "x")]).count("#123456") == 2


def test_rank_plot_is_bounded_and_keeps_the_worst():
    svg = rank_plot([(f"clip {i}", float(i)) for i in range(5000)], 10.0, most=100)
    assert svg.count("<circle") == 100
    assert "clip 4999" in svg


def test_limit_bars_show_every_joint_once():
    svg = limit_bars(ROBOT.joint_names, [Bars("a", [0.5] * 29, "range"), Bars("b", [1.2] * 29, "limit")])
    for joint in ROBOT.joint_names:
        assert svg.count(f"{joint}: 50 %") == 1 and svg.count(f"{joint}: 120 %") == 1
