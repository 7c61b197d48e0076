"""The compiled twist table: channels that vanish in the anchor pose, and tables that make no sense."""

import dataclasses

import numpy as np
import pytest
import warp as wp

from soma_isaac.body import SomaBody
from soma_isaac.body.layout import joint_layout
from soma_isaac.body.twist import alignments, compile_twist, expanded_bind, segment_frames
from soma_isaac.errors import RigMismatch
from soma_isaac.kernels.twist import launch_twist_channels
from tests.oracles import body as oracle


@pytest.mark.parametrize("anchor", ["bind", "template", "rest"])
def test_aligned_channels_are_zero_in_the_anchor_pose(rig, anchor):
    body = SomaBody(rig, twist_anchor=anchor)
    channels = body.prepare().arrays.channels
    pose = rig.skeleton.rest_T_world_joint if anchor == "rest" else rig.skeleton.bind_T_world_joint
    angles = wp.full((1, len(channels.joints)), np.inf, dtype=wp.float32, device="cpu")
    launch_twist_channels(
        channels,
        transforms=wp.array(pose[None, :78].astype(np.float32), dtype=wp.mat44, device="cpu"),
        angles_out=angles,
    )
    assert angles.shape[1] == 12
    np.testing.assert_allclose(angles.numpy(), 0.0, atol=2e-6)


def test_segment_frames_are_those_of_the_oracle(rig):
    layout = joint_layout(rig, twist=True)
    program = compile_twist(rig.twist, layout)
    bind = oracle.template_bind(rig)
    public = np.stack([bind[name] for name in rig.public_joint_names])
    frames = segment_frames(program.segment_ends, np.stack([public, public]))
    for row in range(2):
        for number, segment in enumerate(rig.twist.segments):
            np.testing.assert_allclose(frames[row, number], oracle.segment_frame(segment, bind), atol=1e-12)


def test_segment_frame_falls_back_when_the_start_joints_y_is_the_axis():
    anchor = np.tile(np.eye(4), (2, 1, 1))
    anchor[0, :3, :3] = [[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]  # local y is world x
    anchor[1, :3, 3] = [2.0, 0.0, 0.0]
    frame = segment_frames(np.array([[0, 1]]), anchor)[0]
    np.testing.assert_allclose(frame, np.stack([[1.0, 0, 0], [0, 0, 1.0], [0, -1.0, 0]], axis=1), atol=1e-12)


def test_expanded_bind_puts_helpers_between_their_joints(rig):
    layout = joint_layout(rig, twist=True)
    program = compile_twist(rig.twist, layout)
    stretched = layout.bind_T_world_joint[: layout.public_count].copy()
    stretched[:, :3, 3] *= 1.3
    bind = expanded_bind(stretched[None], layout, program)[0]
    for helper, expected in oracle.template_bind(rig).items():
        if helper in rig.twist.joint_names:
            slot = layout.index(helper)
            np.testing.assert_allclose(bind[slot, :3, 3], 1.3 * expected[:3, 3], atol=1e-12)
            np.testing.assert_array_equal(bind[slot, :3, :3], expected[:3, :3])


def test_local_channels_have_no_alignment(rig):
    layout = joint_layout(rig, twist=True)
    local = dataclasses.replace(rig.twist, modes={name: "local_x_euler" for name in rig.twist.joint_names})
    program = compile_twist(local, layout)
    left, right = alignments(program, layout.bind_T_world_joint[None, : layout.public_count])
    np.testing.assert_array_equal(left, np.broadcast_to(np.eye(3), left.shape))
    np.testing.assert_array_equal(right, left)


def changed(rig, **changes):
    return dataclasses.replace(rig.twist, **changes)


def test_tables_that_make_no_sense_are_refused(rig):
    layout = joint_layout(rig, twist=True)
    helper = rig.twist.joint_names[0]
    for table, message in (
        (changed(rig, modes={}), "has the twist mode None"),
        (changed(rig, modes=dict.fromkeys(rig.twist.joint_names, "local_y")), "has the twist mode 'local_y'"),
        (changed(rig, rotation_entries=((helper, "Nobody", 1.0),)), "'Nobody'"),
        (changed(rig, rotation_entries=((helper, "Head", 1.0),)), "of 'Head', which no segment defines"),
        (changed(rig, rotation_entries=(("Head", "LeftHand", 1.0),)), "drives 'Head'"),
        (changed(rig, translation_entries=rig.twist.translation_entries[2:]), f"does not place '{helper}'"),
    ):
        with pytest.raises(RigMismatch, match=message):
            compile_twist(table, layout)


def test_a_channel_with_two_meanings_is_refused_only_where_it_is_read(rig):
    layout = joint_layout(rig, twist=True)
    forearm = next(s for s in rig.twist.segments if s.start_joint == "LeftForeArm")
    segments = tuple(dataclasses.replace(s, reverse=True) if s is forearm else s for s in rig.twist.segments)
    with pytest.raises(RigMismatch, match="'LeftForeArm', which two segments define differently"):
        compile_twist(changed(rig, segments=segments), layout)
    local = changed(rig, segments=segments, modes=dict.fromkeys(rig.twist.joint_names, "local_x_swing_twist"))
    assert len(compile_twist(local, layout).joints) == 12


def test_zero_factors_cost_nothing(rig):
    layout = joint_layout(rig, twist=True)
    silent = tuple((helper, joint, 0.0) for helper, joint, _ in rig.twist.rotation_entries)
    program = compile_twist(changed(rig, rotation_entries=silent), layout)
    assert len(program.joints) == 0 and len(program.entry_channels) == 0
