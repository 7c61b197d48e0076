"""Clip files: orders, velocity frames, keys and bytes; and a reader that never guesses."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.clip_order import breadth_first, depth_first, reordered
from soma_isaac.formats.reference_clip import FORMATS, ClipLayout, npz_bytes, read_reference_clip, reference_clip_bytes
from soma_isaac.formats.robot_csv import read_robot_csv
from soma_isaac.math.so3 import matrix_from_quat_wxyz
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.retarget.clip import reference_clip
from soma_isaac.retarget.robot import load_robot
from tests.oracles.random_motion import random_motion

# Orders of PhysX as published with NVIDIA's SONIC policy; the code computes them from the tree.
ISAAC_JOINTS = [
    0,
    6,
    12,
    1,
    7,
    13,
    2,
    8,
    14,
    3,
    9,
    15,
    22,
    4,
    10,
    16,
    23,
    5,
    11,
    17,
    24,
    18,
    25,
    19,
    26,
    20,
    27,
    21,
    28,
]
ISAAC_BODIES = [
    *(0, 1, 7, 13, 2, 8, 14, 3, 9, 15, 4, 10, 16, 23, 5, 11, 17, 24, 6, 12, 18, 25, 19, 26, 20, 27, 21, 28, 22, 29),
]
TRACKED = "0 4 10 18 5 11 19 9 16 22 28 17 23 29"
TRACKED_NAMES = (
    "pelvis left_hip_roll left_knee left_ankle_roll right_hip_roll right_knee right_ankle_roll torso "
    "left_shoulder_roll left_elbow left_wrist_yaw right_shoulder_roll right_elbow right_wrist_yaw"
)


@pytest.fixture(scope="module")
def clip() -> ReferenceClip:
    model = load_robot()
    return reference_clip(random_motion(model, 60), model)


def arrays(data: bytes) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(data), allow_pickle=False) as archive:
        return {key: archive[key] for key in archive.files}


def test_beyondmimic_is_in_the_order_of_physx(clip: ReferenceClip) -> None:
    found = arrays(reference_clip_bytes(clip, "beyondmimic"))
    assert found["joint_names"].tolist() == [clip.joint_names[i] for i in ISAAC_JOINTS]
    assert found["body_names"].tolist() == [clip.body_names[i] for i in ISAAC_BODIES]
    np.testing.assert_array_equal(found["joint_pos"], clip.joint_pos[:, ISAAC_JOINTS].astype(np.float32))
    np.testing.assert_array_equal(found["body_pos_w"], clip.body_pos_w[:, ISAAC_BODIES].astype(np.float32))
    tracked = [found["body_names"][int(i)].removesuffix("_link") for i in TRACKED.split()]
    assert tracked == TRACKED_NAMES.split()


def test_mjlab_is_depth_first_and_at_link_origins(clip: ReferenceClip) -> None:
    found = arrays(reference_clip_bytes(clip, "mjlab"))
    assert tuple(found["joint_names"]) == clip.joint_names and tuple(found["body_names"]) == clip.body_names
    np.testing.assert_array_equal(found["body_lin_vel_w"], clip.body_lin_vel_w.astype(np.float32))
    np.testing.assert_array_equal(found["body_quat_w"], clip.body_quat_wxyz.astype(np.float32))
    assert found["velocity_frame"] == "link"


@pytest.mark.parametrize(("name", "key"), [("beyondmimic", "body_lin_vel_w"), ("amp", "body_linear_velocities")])
def test_com_velocities_are_those_of_the_centres_of_mass(clip: ReferenceClip, name: str, key: str) -> None:
    found = arrays(reference_clip_bytes(clip, name))
    order = [clip.body_names.index(body) for body in found["body_names"]]
    arms = np.einsum("tbij,bj->tbi", matrix_from_quat_wxyz(clip.body_quat_wxyz), clip.body_com_b)
    centres = (clip.body_pos_w + arms)[:, order]
    numeric = (centres[2:] - centres[:-2]) * clip.fps / 2.0
    assert np.abs(found[key][1:-1] - numeric).max() < 0.02
    at_links = np.abs(clip.body_lin_vel_w[1:-1][:, order] - numeric).max()
    assert at_links > 0.1  # so the two frames are told apart
    assert found["velocity_frame"] == "com"


@pytest.mark.parametrize("name", ["beyondmimic", "mjlab", "amp"])
def test_every_npz_says_what_it_holds(clip: ReferenceClip, name: str) -> None:
    found = arrays(reference_clip_bytes(clip, name))
    assert found["fps"].shape == (1,) and found["fps"].dtype == np.int64 and found["fps"][0] == 50
    assert found["quat_order"] == "wxyz" and found["robot_asset_sha256"] == load_robot().digest
    np.testing.assert_array_equal(found["foot_contacts"], clip.foot_contacts)
    states = set(FORMATS[name].keys.values())
    assert len(states) == 6 and all(found[key].dtype == np.float32 for key in states)
    if name == "amp":
        assert found["dof_names"].tolist() == found["joint_names"].tolist() and found["dof_names"].dtype.kind == "U"


@pytest.mark.parametrize("name", ["beyondmimic", "mjlab", "amp"])
def test_round_trip(clip: ReferenceClip, name: str, tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    path.write_bytes(reference_clip_bytes(clip, name))
    back = reordered_like(read_reference_clip(path), clip)
    assert back.body_parents == clip.body_parents and back.robot_digest == clip.robot_digest
    for field in ("joint_pos", "joint_vel", "body_pos_w", "body_quat_wxyz", "body_lin_vel_w", "body_ang_vel_w"):
        np.testing.assert_allclose(getattr(back, field), getattr(clip, field), atol=3e-6)
    np.testing.assert_array_equal(back.body_com_b, clip.body_com_b)
    np.testing.assert_array_equal(back.foot_contacts, clip.foot_contacts)
    assert back.fps == clip.fps


def reordered_like(clip: ReferenceClip, like: ReferenceClip) -> ReferenceClip:
    return reordered(clip, np.array([clip.body_names.index(name) for name in like.body_names]))


def test_any_input_order_gives_the_same_file(clip: ReferenceClip) -> None:
    other = reordered(clip, breadth_first(clip.body_parents))
    assert other.body_names != clip.body_names
    for name in FORMATS:
        assert reference_clip_bytes(other, name) == reference_clip_bytes(clip, name)


def test_orders_of_a_small_tree() -> None:
    #        0
    #      1   2
    #     5   3 4        numbered neither way
    #         6
    parents = (-1, 0, 0, 2, 2, 1, 3)
    assert breadth_first(parents).tolist() == [0, 1, 2, 5, 3, 4, 6]
    assert depth_first(parents).tolist() == [0, 1, 5, 2, 3, 6, 4]


def test_bytes_are_the_same_every_time(clip: ReferenceClip, monkeypatch: pytest.MonkeyPatch) -> None:
    first = {name: reference_clip_bytes(clip, name) for name in FORMATS}
    monkeypatch.setattr("time.time", lambda: 2_000_000_000.0)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    assert {name: reference_clip_bytes(clip, name) for name in FORMATS} == first


def test_fractional_rates_are_kept(clip: ReferenceClip) -> None:
    from dataclasses import replace

    slow = replace(clip, fps=29.97)
    found = arrays(reference_clip_bytes(slow, "mjlab"))
    assert found["fps"].tolist() == [29.97]
    assert read_reference_clip(reference_clip_bytes(slow, "mjlab")).fps == 29.97


def test_csv_is_unitrees_layout_and_reads_back(clip: ReferenceClip) -> None:
    data = reference_clip_bytes(clip, "csv")
    table = np.loadtxt(io.BytesIO(data), delimiter=",")
    assert table.shape == (60, 36)
    np.testing.assert_allclose(table[:, :3], clip.body_pos_w[:, 0], atol=1e-8)
    np.testing.assert_allclose(table[:, 3:7], clip.body_quat_wxyz[:, 0][:, [1, 2, 3, 0]], atol=1e-8)
    np.testing.assert_allclose(table[:, 7:], clip.joint_pos, atol=1e-8)
    motion = read_robot_csv(data, 50, clip.joint_names)
    np.testing.assert_allclose(motion.root_quat_wxyz, clip.body_quat_wxyz[:, 0], atol=1e-8)
    again = reference_clip(motion, load_robot())
    np.testing.assert_allclose(again.body_lin_vel_w, clip.body_lin_vel_w, atol=1e-6)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("root_x," * 35 + "j", "line 1 is not all numbers"),
        ("0," * 34 + "0", "has 35 columns"),
        ("0," * 35 + "0", "no unit quaternion"),
        ("nan," * 35 + "nan", "not finite"),
        ("", "no frames"),
    ],
)
def test_broken_csv_is_refused(line: str, reason: str) -> None:
    with pytest.raises(InputRejected, match=reason):
        read_robot_csv(line.encode(), 50, load_robot().joint_names)


def changed(data: bytes, drop: tuple[str, ...] = (), **values: object) -> bytes:
    found = arrays(data)
    for key in drop:
        del found[key]
    return npz_bytes(found | {key: np.asarray(value) for key, value in values.items()})


def layout_of(clip: ReferenceClip, frame: str) -> ClipLayout:
    return ClipLayout(clip.joint_names, clip.body_names, clip.body_parents, frame, clip.body_com_b, clip.robot_digest)


UNNAMED = ("joint_names", "body_names", "body_parents", "velocity_frame", "body_com_b", "quat_order")


def test_a_file_without_names_needs_a_declared_layout(clip: ReferenceClip) -> None:
    foreign = changed(reference_clip_bytes(clip, "mjlab"), UNNAMED)
    with pytest.raises(InputRejected, match="joint_names.*layout is declared"):
        read_reference_clip(foreign)
    read = read_reference_clip(foreign, layout_of(clip, "link"))
    np.testing.assert_allclose(read.body_lin_vel_w, clip.body_lin_vel_w, atol=1e-6)
    isaac = reordered(clip, breadth_first(clip.body_parents))
    foreign = changed(reference_clip_bytes(clip, "beyondmimic"), UNNAMED)
    read = reordered_like(read_reference_clip(foreign, layout_of(isaac, "com")), clip)
    np.testing.assert_allclose(read.body_lin_vel_w, clip.body_lin_vel_w, atol=3e-6)


def test_a_layout_that_contradicts_the_file_is_refused(clip: ReferenceClip) -> None:
    half_named = changed(reference_clip_bytes(clip, "beyondmimic"), ("body_parents",))
    with pytest.raises(InputRejected, match="other joint_names"):
        read_reference_clip(half_named, layout_of(clip, "com"))
    isaac = reordered(clip, breadth_first(clip.body_parents))
    with pytest.raises(InputRejected, match="another velocity_frame"):
        read_reference_clip(half_named, layout_of(isaac, "link"))


@pytest.mark.parametrize(
    ("drop", "values", "reason"),
    [
        ((), {"quat_order": "xyzw"}, "xyzw"),
        ((), {"velocity_frame": "root"}, "velocity_frame 'root'"),
        (("fps",), {}, "no array 'fps'"),
        ((), {"fps": [0]}, "frame rate"),
        ((), {"joint_pos": np.zeros((60, 28), np.float32)}, "joint_pos"),
        ((), {"joint_pos": np.float32(0.0)}, "joint_pos"),
        ((), {"body_pos_w": np.zeros((59, 30, 3), np.float32)}, "body_pos_w"),
        ((), {"body_pos_w": np.full((60, 30, 3), np.nan, np.float32)}, "not finite"),
        ((), {"body_quat_w": np.zeros((60, 30, 4), np.float32)}, "unit quaternion"),
        ((), {"body_parents": np.zeros(30, np.int32)}, "parents come first"),
        ((), {"body_parents": np.zeros(30)}, "expected integers"),
        ((), {"joint_names": ["a"] * 29}, "used twice"),
        ((), {"foot_contacts": np.zeros((60, 2))}, "truth values"),
        ((), {"joint_pos": np.zeros((0, 29), np.float32)}, "no frames"),
    ],
)
def test_broken_files_are_refused(clip: ReferenceClip, drop: tuple[str, ...], values: dict, reason: str) -> None:
    with pytest.raises(InputRejected, match=reason):
        read_reference_clip(changed(reference_clip_bytes(clip, "mjlab"), drop, **values))


def test_truncated_files_are_refused(clip: ReferenceClip) -> None:
    data = reference_clip_bytes(clip, "mjlab")
    for share in np.linspace(0.0, 0.999, 40):
        with pytest.raises(InputRejected):
            read_reference_clip(data[: int(share * len(data))])


def test_unknown_formats_are_named() -> None:
    with pytest.raises(InputRejected, match="beyondmimic, mjlab, amp, csv"):
        reference_clip_bytes(None, "gmr")  # type: ignore[arg-type]
