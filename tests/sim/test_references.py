"""Reference clips on the device: every layout the same, columns by name, interpolated, held at the ends."""

from dataclasses import replace

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation, Slerp

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.clip_order import breadth_first, com_offset_velocity, reordered
from soma_isaac.formats.reference_clip import FORMATS, reference_clip_bytes
from soma_isaac.formats.urdf import read_urdf
from soma_isaac.motion.robot import RobotMotion
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.references import ReferenceLibrary, load_reference
from soma_isaac.sim.robot_tree import robot_tree

FPS, FRAMES = 50.0, 21


@pytest.fixture(scope="module")
def tree():
    return robot_tree(read_urdf((data_path("g1") / "g1_29dof.urdf").read_bytes()))


@pytest.fixture(scope="module")
def clip(tree):
    rng = np.random.default_rng(1)
    steps = np.cumsum(rng.normal(scale=0.05, size=(FRAMES, 29)), axis=0)
    turns = Rotation.from_rotvec(np.cumsum(rng.normal(scale=0.1, size=(FRAMES, 3)), axis=0)).as_quat()
    for frame in range(1, FRAMES):
        turns[frame] *= np.sign(turns[frame] @ turns[frame - 1])
    return tree.clip(
        RobotMotion(
            fps=FPS,
            joint_names=tree.joint_names,
            root_pos=np.cumsum(rng.normal(scale=0.01, size=(FRAMES, 3)), axis=0),
            root_quat_wxyz=np.roll(turns, 1, axis=1),
            joint_pos=steps,
            foot_contacts=np.zeros((FRAMES, 2), dtype=bool),
        )
    )


def sampled(library, times, playing=None, origins=None):
    out = library.allocate(len(times))
    library.sample(
        out,
        clips=wp.array(np.zeros(len(times)) if playing is None else playing, dtype=wp.int32),
        times=wp.array(times, dtype=wp.float64),
        origins=wp.array(np.zeros((len(times), 3)) if origins is None else origins, dtype=wp.vec3),
    )
    return {name: array.numpy() for name, array in out._asdict().items()}


def test_all_four_layouts_give_the_same_reference_in_the_order_asked(tmp_path, tree, clip):
    rng = np.random.default_rng(5)
    joints = [clip.joint_names[joint] for joint in rng.permutation(29)][:23]
    bodies = ["torso_link", "left_wrist_yaw_link", "pelvis", "right_ankle_roll_link"]
    times = np.array([0.0, 0.113, 0.4])
    results = {}
    for name, form in FORMATS.items():
        path = tmp_path / f"{name}{form.extension}"
        path.write_bytes(reference_clip_bytes(clip, name))
        loaded = load_reference(path, tree=tree, csv_fps=FPS)
        results[name] = sampled(ReferenceLibrary([loaded], joint_names=joints, body_names=bodies), times)
    columns = [clip.joint_names.index(name) for name in joints]
    assert np.abs(results["mjlab"]["joint_pos"][0] - clip.joint_pos[0, columns]).max() < 1e-6
    for name, result in results.items():
        for field, wanted in results["mjlab"].items():
            tolerance = 1e-4 if "vel" in field else 2e-6
            assert np.abs(result[field] - wanted).max() < tolerance, (name, field)


def test_values_between_frames_at_the_ends_and_beyond(clip):
    library = ReferenceLibrary([clip], joint_names=clip.joint_names, body_names=clip.body_names)
    times = np.array([-1.0, 0.0, 0.1337, 0.4, 9.0])
    origins = np.array([[0.0, 0, 0], [1, 2, 3], [-4, 0, 0.5], [0, 0, 0], [0, 9, 0]])
    result = sampled(library, times, origins=origins)
    frames = np.arange(FRAMES) / FPS
    held = np.clip(times, 0.0, frames[-1])
    com = clip.body_lin_vel_w + com_offset_velocity(clip)
    for body in (0, 7, 29):
        turn = Slerp(frames, Rotation.from_quat(np.roll(clip.body_quat_wxyz[:, body], -1, axis=1)))(held).as_quat()
        assert np.abs(np.abs(np.sum(turn * result["body_quat"][:, body], axis=1)) - 1.0).max() < 1e-6
        for axis in range(3):
            for name, table in (("body_link_vel", clip.body_lin_vel_w), ("body_com_vel", com)):
                wanted = np.interp(held, frames, table[:, body, axis])
                assert np.abs(result[name][:, body, axis] - wanted).max() < 1e-5
            wanted = np.interp(held, frames, clip.body_pos_w[:, body, axis]) + origins[:, axis]
            assert np.abs(result["body_pos"][:, body, axis] - wanted).max() < 2e-6
    assert library.durations == pytest.approx([0.4])


def test_clips_of_other_orders_and_rates_play_side_by_side(clip):
    other = replace(reordered(clip, breadth_first(clip.body_parents)), fps=25.0)
    names = {"joint_names": clip.joint_names, "body_names": clip.body_names}
    library = ReferenceLibrary([clip, other], **names)
    result = sampled(library, np.array([0.2, 0.4]), playing=[0, 1])
    for field in ("joint_pos", "body_pos", "body_quat"):
        assert np.abs(result[field][0] - result[field][1]).max() < 1e-6, field


def test_a_missing_name_and_a_csv_without_its_robot_are_refused(tmp_path, clip):
    with pytest.raises(RigMismatch, match="left_pinky_joint"):
        ReferenceLibrary([clip], joint_names=["left_pinky_joint"], body_names=["pelvis"])
    with pytest.raises(RigMismatch, match="head_link"):
        ReferenceLibrary([clip], joint_names=[], body_names=["head_link"])
    path = tmp_path / "clip.csv"
    path.write_bytes(reference_clip_bytes(clip, "csv"))
    with pytest.raises(InputRejected, match="robot"):
        load_reference(path)
