"""The tree of a robot without a solver: against Pinocchio, and against what is no such tree."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.urdf import read_urdf
from soma_isaac.motion.robot_clip import body_poses, body_twists
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.robot_tree import robot_tree

LINK = '<link name="{}"><inertial><mass value="1"/><inertia ixx="1" ixy="0" ixz="0" iyy="1" iyz="0" izz="1"/></inertial></link>'  # noqa: E501
JOINT = '<joint name="{0}" type="{1}"><parent link="{2}"/><child link="{3}"/><axis xyz="0 1 0"/></joint>'


@pytest.fixture(scope="module")
def tree():
    return robot_tree(read_urdf((data_path("g1") / "g1_29dof.urdf").read_bytes()))


def test_a_motion_becomes_the_clip_that_retargeting_makes_of_it(tree):
    pytest.importorskip("pinocchio", reason="needs the retarget extra")
    from dataclasses import fields, replace

    from soma_isaac.retarget.clip import reference_clip
    from soma_isaac.retarget.robot import load_robot
    from tests.oracles.random_motion import random_motion

    model = load_robot()
    motion = random_motion(model, frames=40, seed=4)
    mixed = np.random.default_rng(0).permutation(29)
    shuffled = replace(
        motion,
        joint_names=tuple(motion.joint_names[joint] for joint in mixed),
        joint_pos=motion.joint_pos[:, mixed],
    )
    mine, theirs = tree.clip(shuffled), reference_clip(motion, model)
    for entry in fields(theirs):
        value, wanted = getattr(mine, entry.name), getattr(theirs, entry.name)
        if isinstance(wanted, np.ndarray) and wanted.dtype.kind == "f":
            assert np.abs(value - wanted).max() < 1e-9, entry.name
        else:
            assert np.array_equal(value, wanted), entry.name
    with pytest.raises(RigMismatch):
        tree.clip(replace(motion, joint_names=("other", *motion.joint_names[1:])))


def test_links_come_depth_first_and_twists_are_what_positions_do(tree):
    assert tree.link_names[:4] == ("pelvis", "left_hip_pitch_link", "left_hip_roll_link", "left_hip_yaw_link")
    assert len(tree.links) == 30 and all(parent < child for child, parent in enumerate(tree.parents))
    rng = np.random.default_rng(2)
    pos, vel, spin = rng.normal(size=(1, 29)), rng.normal(size=(1, 29)), rng.normal(size=(1, 3))
    root_vel, step = rng.normal(size=(1, 3)), 1e-6

    def at(time):
        turn = np.roll(Rotation.from_rotvec(spin * time).as_quat(), 1, axis=-1)
        return body_poses(tree.kinematics, root_vel * time, turn, pos + vel * time)

    positions, rotations = at(0.0)
    linear, angular = body_twists(tree.kinematics, positions, rotations, root_vel, spin, vel)
    before, after = at(-step), at(step)
    assert np.abs(linear - (after[0] - before[0]) / (2.0 * step)).max() < 1e-6
    turns = Rotation.from_matrix((after[1] @ np.swapaxes(before[1], -1, -2))[0]).as_rotvec() / (2.0 * step)
    assert np.abs(angular[0] - turns).max() < 1e-6


def test_at_rest_all_joints_are_at_zero(tree):
    positions, rotations = tree.rest_poses()
    for child, (joint, parent) in enumerate(zip(tree.joints, tree.parents[1:], strict=True), start=1):
        assert np.allclose(rotations[child], rotations[parent] @ joint.rotation)
        assert np.allclose(positions[child], positions[parent] + rotations[parent] @ joint.translation)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (LINK.format("a") + LINK.format("b") + JOINT.format("j", "fixed", "a", "b"), "no hinge"),
        (LINK.format("a") + LINK.format("b"), "no single tree"),
        (LINK.format("a") + '<link name="b"/>' + JOINT.format("j", "continuous", "a", "b"), "no mass"),
    ],
)
def test_what_is_no_tree_of_hinges_is_refused(body, said):
    with pytest.raises(InputRejected, match=said):
        robot_tree(read_urdf(f'<robot name="r">{body}</robot>'.encode()))
