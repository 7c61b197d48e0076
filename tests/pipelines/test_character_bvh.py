"""A BVH character's clip, repaired on its SOMA approximation, comes back as BVH on its own skeleton."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.bvh import BvhClip, parse_bvh, read_bvh
from soma_isaac.formats.bvh_write import bvh_bytes
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from soma_isaac.motion.resample import resample
from soma_isaac.pipelines.character_bvh import changed_bvh
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.repair_run import RepairConfig, check_config, repair
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, PUBLIC_JOINT_NAMES, PUBLIC_PARENTS, data_path, forward_kinematics

NAMES = {
    "Hips": "Hips", "Spine1": "Spine", "Spine2": "Spine1", "Chest": "Spine2", "Neck1": "Neck", "Head": "Head",
    **{
        f"{side}{soma}": f"{side}{name}"
        for side in ("Left", "Right")
        for soma, name in (
            ("Shoulder", "Shoulder"), ("Arm", "Arm"), ("ForeArm", "ForeArm"), ("Hand", "Hand"),
            ("Leg", "UpLeg"), ("Shin", "Leg"), ("Foot", "Foot"), ("ToeBase", "Toe"),
        )
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def clip() -> BvhClip:
    """The demo wave on a Mixamo-like skeleton in cm below a turned reference, with a tail that wags."""
    motion = resample(load_motion(data_path("demo_clips/wave.npz")), 30.0)
    joints = [name for name in PUBLIC_JOINT_NAMES if name in NAMES]
    _, world = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    names, parents, offsets = ["Reference", *(NAMES[name] for name in joints), "Tail"], [-1], [np.zeros(3)]
    locals_ = [np.tile(matrix_from_rotvec(np.array([0.0, 0.5, 0.0])), (motion.frame_count, 1, 1))]
    for name in joints:
        walk = PUBLIC_JOINT_NAMES.index(name)
        offset = motion.identity.rest_offsets[walk].copy()
        while PUBLIC_JOINT_NAMES[PUBLIC_PARENTS[walk]] not in (*joints, "Root"):
            walk = PUBLIC_PARENTS[walk]
            offset += motion.identity.rest_offsets[walk]
        above = PUBLIC_JOINT_NAMES[PUBLIC_PARENTS[walk]]
        parents.append(0 if name == "Hips" else names.index(NAMES[above]))
        offsets.append(np.zeros(3) if name == "Hips" else 100.0 * offset)
        over = locals_[0] if name == "Hips" else world[:, POSE_JOINT_NAMES.index(above)]
        locals_.append(np.swapaxes(over, -1, -2) @ world[:, POSE_JOINT_NAMES.index(name)])
    parents.append(1)
    offsets.append(np.array([0.0, -5.0, -20.0]))
    wag = np.zeros((motion.frame_count, 3))
    wag[:, 1] = np.sin(np.arange(motion.frame_count) / 3.0)
    locals_.append(matrix_from_rotvec(wag))
    hips = 100.0 * motion.root_translation @ locals_[0][0]
    return BvhClip(
        tuple(names), np.array(parents), np.stack(offsets), np.array([len(names) - 1]), np.array([[0.0, 0.0, -9.0]]),
        np.stack(locals_, axis=1), np.array([1]), hips[:, None], 30.0, "Frame Time", "", (),
    )  # fmt: skip


def places(clip: BvhClip) -> np.ndarray:
    """Joint positions [T, J, 3] by the file's own kinematics."""
    world, place = np.array(clip.rotations), np.zeros((clip.frame_count, len(clip.joint_names), 3))
    for joint, parent in enumerate(clip.parent_indices):
        slot = np.flatnonzero(clip.positioned_joints == joint)
        offset = clip.positions[:, slot[0]] if len(slot) else np.tile(clip.offsets[joint], (clip.frame_count, 1))
        if parent >= 0:
            world[:, joint] = world[:, parent] @ clip.rotations[:, joint]
            offset = place[:, parent] + np.einsum("tab,tb->ta", world[:, parent], offset)
        place[:, joint] = offset
    return place


def test_written_bvh_is_read_again(clip):
    back = parse_bvh(SourceBytes.of(bvh_bytes(clip), "clip.bvh"))
    assert back.joint_names == clip.joint_names and back.fps == 30.0
    for name in ("parent_indices", "offsets", "end_parents", "end_offsets", "positioned_joints", "positions"):
        assert getattr(back, name) == pytest.approx(getattr(clip, name), abs=1e-7), name
    assert geodesic_angle(back.rotations, clip.rotations).max() < 1e-7


def test_repaired_bvh(clip, tmp_path):
    source, hold, out = tmp_path / "clip.bvh", tmp_path / "hold.yaml", tmp_path / "new.bvh"
    source.write_bytes(bvh_bytes(clip))
    hold.write_text("hold:\n  - {joint: RightHand, begin_s: 3, end_s: 4, position: [-0.30, 1.1, 0.35]}\n")
    config = RepairConfig(str(source), str(hold), str(out), network="still")
    lines = repair(config)
    assert "path met" in lines[0]
    before, after = read_bvh(source), read_bvh(out)
    where = 0.01 * places(after)[90:120, after.joint_names.index("RightHand")]
    assert where == pytest.approx(np.tile([-0.30, 1.1, 0.35], (30, 1)), abs=1.5e-3)
    tail = after.joint_names.index("Tail")
    assert geodesic_angle(after.rotations[:, tail], before.rotations[:, tail]).max() < 1e-7
    assert geodesic_angle(after.rotations[:20], before.rotations[:20]).max() < 1e-7
    feet = [after.joint_names.index(name) for name in ("LeftFoot", "RightToe")]
    assert np.abs(places(after) - places(before))[:, feet].max() < 0.1


def test_nothing_changed_is_nothing_changed(clip, tmp_path):
    """The way there and back alone moves no joint of the file."""
    (tmp_path / "clip.bvh").write_bytes(bvh_bytes(clip))
    read, motion = read_bvh(tmp_path / "clip.bvh"), load_motion(tmp_path / "clip.bvh")
    back = changed_bvh(read, motion, np.ones(read.frame_count, bool))
    assert np.abs(places(back) - places(read)).max() < 1e-6
    assert geodesic_angle(back.rotations, read.rotations).max() < 1e-6


def test_refused(clip, tmp_path):
    (tmp_path / "clip.bvh").write_bytes(bvh_bytes(clip))
    read, motion = read_bvh(tmp_path / "clip.bvh"), load_motion(tmp_path / "clip.bvh")
    changed = np.ones(read.frame_count, bool)
    with pytest.raises(InputRejected, match="do not fit"):
        changed_bvh(replace(read, rotations=read.rotations[:5], positions=read.positions[:5]), motion, changed)
    with pytest.raises(InputRejected, match="Z-up"):
        changed_bvh(read, replace(motion, provenance=replace(motion.provenance, up_axis="z")), changed)
    rooted = replace(read, positioned_joints=np.array([0]))
    with pytest.raises(InputRejected, match="no position channels"):
        changed_bvh(rooted, motion, changed)
    with pytest.raises(ConfigRefused, match="where motion= is one"):
        check_config(RepairConfig("a.npz", "h.yaml", str(Path("b.bvh"))))
