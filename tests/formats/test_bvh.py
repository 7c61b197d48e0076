import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import fps_from_frame_time, parse_bvh, read_bvh
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.limits import ReadLimits
from tests.cost import instructions, peak_bytes

SMALL = """HIERARCHY
ROOT Hips
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT Left Leg
  {
    OFFSET 0 -40 0
    CHANNELS 3 Xrotation Zrotation Yrotation
    End Site
    {
      OFFSET 0 -5 12
    }
  }
  JOINT Jaw
  {
    OFFSET 0.0 6e1 -1.5
    CHANNELS 1 Xrotation
  }
}
MOTION
Frames: 2
Frame Time: 0.0333333
10 90 -3 30 20 10  5 6 7  11
-1 91.5 0 0 0 0  -5 0 170 0
"""


def parse(text, source_fps=None, limits=None):
    data = text if isinstance(text, bytes) else text.encode()
    return parse_bvh(SourceBytes.of(data, "clip.bvh"), source_fps, *([] if limits is None else [limits]))


def test_reads_names_offsets_positions_and_rotations_in_channel_order():
    clip = parse(SMALL)
    assert clip.joint_names == ("Hips", "Left Leg", "Jaw") and clip.parent_indices.tolist() == [-1, 0, 0]
    np.testing.assert_array_equal(clip.offsets, [[1, 2, 3], [0, -40, 0], [0, 60, -1.5]])
    assert clip.end_parents.tolist() == [1] and clip.end_offsets.tolist() == [[0, -5, 12]]
    np.testing.assert_array_equal(clip.root_translation, [[10, 90, -3], [-1, 91.5, 0]])
    expected = [
        Rotation.from_euler("ZYX", [30, 20, 10], degrees=True),
        Rotation.from_euler("XZY", [5, 6, 7], degrees=True),
        Rotation.from_euler("X", 11, degrees=True),
    ]
    for joint, rotation in enumerate(expected):
        np.testing.assert_allclose(clip.rotations[0, joint], rotation.as_matrix(), atol=1e-12)
    assert (clip.fps, clip.fps_key) == (30.0, "Frame Time") and "30 Hz" in clip.notes[0]


def test_rotations_may_stand_before_positions_and_other_joints_may_have_positions():
    text = SMALL.replace("CHANNELS 1 Xrotation", "CHANNELS 3 Zrotation Yposition Zposition")
    text = text.replace("5 6 7  11", "5 6 7  11 12 13").replace("-5 0 170 0", "-5 0 170 0 1 2")
    clip = parse(text)
    assert clip.positioned_joints.tolist() == [0, 2]
    np.testing.assert_array_equal(clip.positions[:, 1], [[0, 12, 13], [0, 1, 2]])
    np.testing.assert_allclose(clip.rotations[0, 2], Rotation.from_euler("Z", 11, degrees=True).as_matrix())


@pytest.mark.parametrize(
    "change", [("\n", "\r\n"), ("  ", "\t"), ("HIERARCHY", "\ufeffHIERARCHY"), ("}\nMOTION", "}\n\n MOTION \n")]
)
def test_line_ends_tabs_and_marks_do_not_matter(change):
    plain, other = parse(SMALL), parse(SMALL.replace(*change))
    np.testing.assert_array_equal(plain.rotations, other.rotations)
    assert plain.joint_names == other.joint_names


@pytest.mark.parametrize(
    ("text", "fps"),
    [
        ("0.0333333", 30.0),
        ("0.033333", 30.0),
        ("0.033", 30.0),
        ("0.008333", 120.0),
        ("0.00833333", 120.0),
        ("8.3333e-3", 120.0),
        ("0.0041667", 240.0),
        ("0.04", 25.0),
        ("0.02", 50.0),
        ("0.016667", 60.0),
        ("0.0416666666", 24.0),
        ("0.0125", 80.0),
        ("0.0333667", 1 / 0.0333667),  # 29.97, not 30
        ("0.007", 1 / 0.007),
        ("1", 1.0),
    ],
)
def test_frame_times_become_the_rates_that_were_meant(text, fps):
    found, notes = fps_from_frame_time(text)
    assert found == pytest.approx(fps, abs=1e-9)
    assert bool(notes) == (abs(found * float(text) - 1.0) > 1e-12)


def test_a_rate_from_the_user_wins_even_where_the_file_has_none():
    assert parse(SMALL, 60.0).fps == 60.0 and parse(SMALL, 60.0).fps_key == "option"
    clip = parse(SMALL.replace("0.0333333", "0"), 60.0)
    assert clip.fps == 60.0 and "set aside" in " ".join(clip.notes)


REFUSED = {
    "empty words": ("HIERARCHY", "HIERARCHYX", "is expected|no BVH|not a BVH"),
    "other file": ("HIERARCHY", "#usda 1.0", "not a BVH file"),
    "no motion": ("MOTION", "MOTIONLESS", "no MOTION section"),
    "two roots": ("}\nMOTION", "}\nROOT B\n{\nOFFSET 0 0 0\n}\nMOTION", "more than one ROOT"),
    "root inside": ("JOINT Jaw", "ROOT Jaw", "ROOT inside a joint"),
    "joint outside": ("ROOT Hips", "JOINT Hips", "JOINT outside any ROOT"),
    "name twice": ("JOINT Jaw", "JOINT Left Leg", "two joints named 'Left Leg'"),
    "no name": ("JOINT Jaw", "JOINT", "joint name ''"),
    "escape in name": ("Jaw", "J\x1b[2Jaw", "joint name"),
    "offset": ("OFFSET 0 -40 0", "OFFSET 0 x 0", "offset 'x'"),
    "short offset": ("OFFSET 0 -40 0", "OFFSET 0 -40", "offset 'CHANNELS'"),
    "nan offset": ("OFFSET 0 -40 0", "OFFSET 0 nan 0", "not finite or beyond"),
    "huge offset": ("OFFSET 0 -40 0", "OFFSET 0 1e300 0", "not finite or beyond"),
    "channel count": ("CHANNELS 3", "CHANNELS 7", "'7' channels"),
    "negative channels": ("CHANNELS 3", "CHANNELS -3", "'-3' channels"),
    "superscript": ("CHANNELS 3", "CHANNELS ³", "'³' channels"),
    "channel name": ("CHANNELS 1 Xrotation", "CHANNELS 1 Wrotation", "channel 'Wrotation'"),
    "channel twice": ("Xrotation Zrotation Yrotation", "Xrotation Xrotation Yrotation", "lists a channel twice"),
    "channels twice": ("CHANNELS 1 Xrotation", "CHANNELS 1 Xrotation CHANNELS 1 Xrotation", "'CHANNELS' where"),
    "open brace": ("}\nMOTION", "MOTION", "the file is incomplete|no MOTION"),
    "extra brace": ("}\nMOTION", "}\n}\nMOTION", "'}' where"),
    "no frames": ("Frames: 2\n", "", "lacks 'Frames:'"),
    "no frame time": ("Frame Time: 0.0333333\n", "", "lacks 'Frames:' or 'Frame Time:'"),
    "zero frames": ("Frames: 2", "Frames: 0", "has no frames"),
    "negative frames": ("Frames: 2", "Frames: -2", "declares"),
    "absurd frames": ("Frames: 2", "Frames: 99999999999", "more than the limit"),
    "more frames": ("Frames: 2", "Frames: 3", "cut short|too short"),
    "fewer frames": ("Frames: 2", "Frames: 1", "more than the 10 channel values"),
    "zero time": ("0.0333333", "0", "positive number of seconds"),
    "negative time": ("0.0333333", "-0.03", "positive number of seconds"),
    "no time": ("0.0333333", "soon", "frame time 'soon'"),
    "nan time": ("0.0333333", "nan", "positive number"),
    "absurd rate": ("0.0333333", "1e-9", "frame rate"),
    "slow rate": ("0.0333333", "100", "frame rate"),
    "word in motion": ("91.5", "high", "something other than numbers"),
    "nan in motion": ("91.5", "nan", "something other than numbers"),
    "bad number": ("91.5", "9.1.5", "is no number"),
    "overflow": ("91.5", "1e999", "not finite"),
    "huge value": ("91.5", "1e9", "beyond 1e\\+07 at frame 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_malformed_files_are_refused_with_a_reason(case):
    old, new, reason = REFUSED[case]
    text = SMALL.replace(old, new, 1)
    assert text != SMALL
    with pytest.raises(InputRejected) as caught:
        parse(text)
    assert re.search(reason, str(caught.value)) and "clip.bvh" in str(caught.value)


def test_every_truncation_is_refused():
    data = SMALL.rstrip().encode()
    for end in range(len(data)):
        with pytest.raises(InputRejected):
            parse(data[:end])


@settings(max_examples=400, deadline=None)
@given(st.integers(0, len(SMALL) - 1), st.binary(min_size=0, max_size=4), st.integers(0, 3))
def test_any_damage_is_refused_or_read(at, junk, cut):
    data = SMALL.encode()
    try:
        clip = parse(data[:at] + junk + data[at + cut :])
    except InputRejected:
        return
    assert np.isfinite(clip.rotations).all() and clip.frame_count >= 1


def test_budgets_are_spent_before_memory():
    limits = ReadLimits(array_bytes=100)
    with pytest.raises(InputRejected, match="budget"):
        parse(SMALL, limits=limits)
    many = "".join(f"JOINT j{number}\n{{\nOFFSET 0 1 0\n" for number in range(3000))
    deep = SMALL.replace("JOINT Jaw", many + "JOINT Jaw").replace("}\nMOTION", "}\n" * 3001 + "MOTION")
    with pytest.raises(InputRejected, match="more than 256 joints"):
        parse(deep)
    wide = SMALL.replace("Frames: 2", "Frames: 99999")

    def refused():
        with pytest.raises(InputRejected, match="too short"):
            parse(wide)

    assert instructions(refused) < 20_000
    assert peak_bytes(refused) < 100_000  # the frames that it promises would take 8 MB


def test_reads_from_disk_and_names_the_file(tmp_path):
    path = tmp_path / "a clip.bvh"
    path.write_text(SMALL)
    assert read_bvh(path).digest == parse(SMALL).digest
    path.write_text("")
    with pytest.raises(InputRejected, match="a clip.bvh.*empty"):
        read_bvh(path)


def test_a_long_clip_is_read_without_work_frame_by_frame():
    rows = np.random.default_rng(0).normal(size=(20_000, 10)).round(4)

    def clip(frames):
        head = SMALL[: SMALL.index("10 90")].replace("Frames: 2", f"Frames: {frames}")
        return head + "\n".join(" ".join(map(str, row)) for row in rows[:frames])

    short, long = clip(200), clip(20_000)
    np.testing.assert_array_equal(parse(long).root_translation, rows[:, :3])
    assert instructions(lambda: parse(long)) < instructions(lambda: parse(short)) + 1000
    assert peak_bytes(lambda: parse(long)) < 2 * 100 * peak_bytes(lambda: parse(short))
