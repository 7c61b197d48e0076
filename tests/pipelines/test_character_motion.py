"""Custom characters: their clips as SOMA motions and back, and poses that their own joints take."""

from __future__ import annotations

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import Effectors, position
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.predictor import StillPose
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec
from soma_isaac.motion.soma import Provenance, SomaMotion
from soma_isaac.pipelines.character_motion import CharacterRig
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import (
    PUBLIC_JOINT_NAMES,
    PUBLIC_PARENTS,
    data_path,
    forward_kinematics,
    template_rest_offsets,
)

MIXAMO = {
    "Hips": "Hips", "Spine1": "Spine", "Spine2": "Spine1", "Chest": "Spine2", "Neck1": "Neck", "Head": "Head",
    **{
        f"{side}{soma}": f"mixamorig:{side}{name}"
        for side in ("Left", "Right")
        for soma, name in (
            ("Shoulder", "Shoulder"), ("Arm", "Arm"), ("ForeArm", "ForeArm"), ("Hand", "Hand"),
            ("Leg", "UpLeg"), ("Shin", "Leg"), ("Foot", "Foot"), ("ToeBase", "ToeBase"),
        )
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def rig() -> CharacterRig:
    """A character of its own proportions in centimetres, in an A-pose, every joint with axes of its own, and a tail."""
    generator = np.random.default_rng(5)
    template = template_rest_offsets()
    joints = [name for name in PUBLIC_JOINT_NAMES if name in MIXAMO]
    names, parents, rest = ["Scene", *(MIXAMO[name] for name in joints), "Tail"], [-1], [np.eye(4)]
    place = {"Scene": np.zeros(3)}
    lower = {"Left": matrix_from_rotvec(np.array([0, 0, -0.6])), "Right": matrix_from_rotvec(np.array([0, 0, 0.6]))}
    for name in joints:
        parent = PUBLIC_PARENTS[PUBLIC_JOINT_NAMES.index(name)]
        offset = template[PUBLIC_JOINT_NAMES.index(name)].copy()
        while PUBLIC_JOINT_NAMES[parent] not in (*joints, "Root"):
            offset += template[parent]
            parent = PUBLIC_PARENTS[parent]
        for side in ("Left", "Right"):
            if name in (f"{side}ForeArm", f"{side}Hand"):
                offset = lower[side] @ offset
        above = "Scene" if name == "Hips" else PUBLIC_JOINT_NAMES[parent]
        place[name] = place[above] + 100.0 * generator.uniform(0.8, 1.3) * offset
        parents.append(0 if name == "Hips" else names.index(MIXAMO[above]))
        rest.append(_transform(generator, place[name]))
    parents.append(names.index("Hips"))
    rest.append(_transform(generator, place["Hips"] + [0, 0, -30.0]))
    return CharacterRig.from_rest(tuple(names), np.array(parents), np.stack(rest))


def _transform(generator: np.random.Generator, place: np.ndarray) -> np.ndarray:
    result = np.eye(4)
    result[:3, :3] = matrix_from_rotvec(generator.normal(size=3))
    result[:3, 3] = place
    return result


def test_unit_and_names_are_found(rig):
    assert rig.metres == 0.01
    assert {name: rig.joint_names[index] for name, index in rig.matched.items() if name in MIXAMO} == MIXAMO


def test_rest_is_its_rest(rig):
    """SOMA's T-pose with the arms lowered as the character's are is the character at rest."""
    above = np.where(rig.parent_indices[:, None, None] < 0, np.eye(3), rig.axes[rig.parent_indices])
    rest = (np.swapaxes(above, -1, -2) @ rig.axes)[None]
    motion = rig.soma_motion(rest, np.array([[0.0, 100.0, 0.0]]), 30.0)
    places, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    own = rig.positions(rest, np.array([[0.0, 100.0, 0.0]]))
    for name in MIXAMO:
        joint = PUBLIC_JOINT_NAMES.index(name) - 1
        assert places[0, joint] == pytest.approx(0.01 * own[0, rig.matched[name]], abs=1e-9), name


def test_clip_comes_back(rig):
    """Character to SOMA and back: all joints that have a counterpart, and the others where the clip is handed on."""
    generator = np.random.default_rng(1)
    count = len(rig.joint_names)
    rotations = matrix_from_rotvec(generator.normal(size=(7, count, 3)) * 0.8)
    rotations[:, 0] = np.eye(3)
    hips = generator.normal(size=(7, 3)) * 50.0
    motion = rig.soma_motion(rotations, hips, 30.0)
    back, root = rig.character_motion(motion, rotations)
    assert root == pytest.approx(hips, abs=1e-9)
    assert np.degrees(geodesic_angle(back, rotations)).max() < 1e-4
    alone, _ = rig.character_motion(motion)
    tail = rig.joint_names.index("Tail")
    assert np.degrees(geodesic_angle(alone, rotations)[:, :tail]).max() < 1e-4
    assert np.degrees(geodesic_angle(alone, rotations)[:, tail]).max() > 1.0
    places, _ = forward_kinematics(motion.rotations, motion.root_translation, motion.identity.rest_offsets)
    own = 0.01 * rig.positions(rotations, hips)
    for name in MIXAMO:
        joint = PUBLIC_JOINT_NAMES.index(name) - 1
        assert places[:, joint] == pytest.approx(own[:, rig.matched[name]], abs=1e-9), name


def test_motion_of_another_body(rig):
    """The demo walk on the character: bones turn as the person's do, and the steps are as long as its legs allow."""
    walk = load_motion(data_path("demo_clips/walk.npz"))
    rotations, hips = rig.character_motion(walk)
    stride = np.ptp(hips[:, 2]) * rig.metres / np.ptp(walk.root_translation[:, 2])
    assert stride == pytest.approx(rig.identity.rest_offsets[1, 1] / walk.identity.rest_offsets[1, 1])
    own = rig.positions(rotations, hips)
    places, _ = forward_kinematics(walk.rotations, walk.root_translation, walk.identity.rest_offsets)
    for start, end in (("LeftArm", "LeftForeArm"), ("LeftShin", "LeftFoot"), ("RightLeg", "RightShin")):
        bone = own[:, rig.matched[end]] - own[:, rig.matched[start]]
        person = places[:, PUBLIC_JOINT_NAMES.index(end) - 1] - places[:, PUBLIC_JOINT_NAMES.index(start) - 1]
        cosine = (bone * person).sum(-1) / np.linalg.norm(bone, axis=-1) / np.linalg.norm(person, axis=-1)
        assert cosine.min() > 1.0 - 1e-9


def test_pose_reaches_on_the_character(rig):
    target = np.array([0.35, 1.2, 0.4])
    sets = Effectors.of((position("Hips", [0.0, 0.9, 0.0]), position("LeftHand", target)))
    found = Poser(StillPose()).solve(sets, rig.skeleton)
    origin = Provenance("test", "", "effectors", "none", "y", "format")
    motion = SomaMotion(1.0, found.pose.full(), found.pose.root_position, rig.identity, origin)
    rotations, hips = rig.character_motion(motion)
    hand = rig.metres * rig.positions(rotations, hips)[0, rig.matched["LeftHand"]]
    assert hand == pytest.approx(target, abs=1e-3)


@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (np.pi / 2, 0.0, 0.0), (0.0, np.pi / 2, 0.0)])
def test_places_alone_give_the_same_body(rig, turn):
    """Whatever world a character's file has, and though nothing is known of its axes."""
    world = matrix_from_rotvec(np.array(turn))
    above = np.where(rig.parent_indices[:, None, None] < 0, np.eye(3), rig.axes[rig.parent_indices])
    rest = (np.swapaxes(above, -1, -2) @ rig.axes)[None]
    joints = np.full((78, 3), np.nan)
    places = rig.positions(rest, np.array([[0.0, 100.0, 0.0]]))[0] @ world.T
    for name in MIXAMO:
        joints[PUBLIC_JOINT_NAMES.index(name)] = places[rig.matched[name]]
    same = CharacterRig.from_joints(joints)
    assert same.metres == 0.01
    assert same.identity.rest_offsets == pytest.approx(rig.identity.rest_offsets, abs=1e-6)
    joints[PUBLIC_JOINT_NAMES.index("LeftShin")] = np.nan
    with pytest.raises(InputRejected, match="lacks LeftShin"):
        CharacterRig.from_joints(joints)


def test_refused(rig):
    rest = np.tile(np.eye(4), (len(rig.joint_names), 1, 1))
    with pytest.raises(InputRejected, match="not there"):
        CharacterRig.from_rest(rig.joint_names, rig.parent_indices, rest, names={"Hips": "Pelvis"})
    with pytest.raises(InputRejected, match="do not precede"):
        CharacterRig(rig.joint_names, rig.parent_indices[::-1], rig.offsets, rig.axes, rig.matched, 0.01)
