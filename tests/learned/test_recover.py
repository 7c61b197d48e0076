"""Recovery: what is chosen is the best of what is tried, in one call per step."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import POSITION, ROTATION, Effectors, joint_index
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.predictor import StillPose
from soma_isaac.learned.recover import RecoverySettings, asked, packed, recover
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, BodySkeleton, body_kinematics, template_skeleton
from soma_isaac.math.so3 import geodesic_angle, matrix_from_rotvec

SKELETON = template_skeleton()
TURNS = {
    "LeftArm": (0.0, 0.0, -0.9),
    "LeftForeArm": (0.0, -1.1, 0.0),
    "RightLeg": (-0.9, 0.0, 0.0),
    "RightShin": (1.2, 0.0, 0.0),
    "Spine1": (0.3, 0.2, 0.0),
}


class CountingPoser(Poser):
    """The rest pose and the exact stage; remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__(StillPose())
        self.asked: list[Effectors] = []

    def solve(self, effectors: Effectors, skeleton: BodySkeleton):
        self.asked.append(effectors)
        return super().solve(effectors, skeleton)


def turned(turns: dict[str, tuple[float, float, float]], frames: int = 1) -> BodyPose:
    rotations = np.broadcast_to(np.eye(3), (frames, 23, 3, 3)).copy()
    for frame in range(frames):
        for name, turn in turns.items():
            share = (frame + 1) / frames
            rotations[frame, joint_index(name)] = matrix_from_rotvec(share * np.array(turn))
    return BodyPose(rotations, np.broadcast_to([0.0, 0.95, 0.0], (frames, 3)))


def error_of(names: list[str], pose: BodyPose) -> float:
    joint = np.array([joint_index(name) for name in names])
    effectors = asked(pose, SKELETON, np.zeros(len(joint), int), joint, np.ones((pose.count, len(joint))))
    found = Poser(StillPose()).solve(effectors, SKELETON).pose
    have, _ = body_kinematics(found.rotations, found.root_position, SKELETON.rest_offsets)
    want, _ = body_kinematics(pose.rotations, pose.root_position, SKELETON.rest_offsets)
    return float(np.linalg.norm(have - want, axis=-1).mean())


def test_each_step_is_one_call_with_a_set_per_candidate() -> None:
    poser = CountingPoser()
    found = recover(turned(TURNS), SKELETON, poser, RecoverySettings(count=5, swaps=0))
    assert found.calls == 3  # three positions at once, then one and one
    assert [each.count for each in poser.asked] == [22 * 21 // 2, 20, 19, 1]
    assert [each.size for each in poser.asked] == [3, 4, 5, 5]
    assert [size for size, _ in found.steps] == [3, 4, 5]
    assert found.steps[-1][1] == pytest.approx(found.error.mean(), abs=1e-5)


def test_the_next_effector_is_the_best_of_all() -> None:
    pose = turned(TURNS)
    found = recover(pose, SKELETON, CountingPoser(), RecoverySettings(count=4, swaps=0))
    names = [name.removeprefix("position ") for name in found.names]
    trials = {
        name: error_of([*names[:3], name], pose) for name in ("Head", "LeftHand", "RightFoot", "RightHand", names[3])
    }
    assert trials[names[3]] <= min(trials.values()) + 1e-5
    assert found.steps[1][1] == pytest.approx(trials[names[3]], abs=1e-4)


def test_the_limbs_that_moved_are_chosen() -> None:
    pose = turned({"LeftArm": (0.0, 0.0, -0.9), "LeftForeArm": (0.0, -1.1, 0.0)})
    found = recover(pose, SKELETON, CountingPoser(), RecoverySettings(count=4))
    assert any("LeftHand" in name or "LeftForeArm" in name for name in found.names)
    assert found.error[0] < 0.02 < error_of(["Hips", "LeftFoot", "RightFoot"], pose)


def test_exchanges_only_help_and_keep_what_was_given() -> None:
    pose = turned(TURNS)
    plain = recover(pose, SKELETON, CountingPoser(), RecoverySettings(count=5, swaps=0))
    better = recover(pose, SKELETON, CountingPoser(), RecoverySettings(count=5, swaps=4))
    assert better.error.mean() <= plain.error.mean() + 1e-6
    assert better.names[0] == "position Hips"
    assert len(set(better.names)) == 5


@pytest.mark.parametrize("count,start", [(3, ("Hips", "Head", "LeftHand")), (23, BODY_JOINT_NAMES)])
def test_there_may_be_nothing_to_exchange(count, start) -> None:
    found = recover(turned(TURNS), SKELETON, CountingPoser(), RecoverySettings(count=count, start=start, swaps=2))
    assert [BODY_JOINT_NAMES[joint] for joint in found.joint] == list(start)


def test_turns_that_positions_do_not_show_take_rotations() -> None:
    pose = turned({"LeftForeArm": (1.2, 0.0, 0.0), "Head": (0.0, 0.8, 0.0)})  # both about their own axes
    found = {
        each: recover(
            pose, SKELETON, CountingPoser(), RecoverySettings(count=5, rotations=each, rotation_scale=0.3, swaps=1)
        )
        for each in (True, False)
    }
    assert (found[True].kind == ROTATION).any()
    assert (found[True].kind == POSITION).sum() >= 3
    _, want = body_kinematics(pose.rotations, pose.root_position, SKELETON.rest_offsets)
    angles = {}
    for each, result in found.items():
        _, have = body_kinematics(result.pose.rotations, result.pose.root_position, SKELETON.rest_offsets)
        angles[each] = geodesic_angle(have, want).mean()
    assert angles[True] < 0.7 * angles[False]


def test_a_clip_gets_one_set_with_the_targets_of_each_frame() -> None:
    clip = turned(TURNS, frames=9)
    poser = CountingPoser()
    found = recover(clip, SKELETON, poser, RecoverySettings(count=4, swaps=0, frames=3))
    assert poser.asked[0].count == 231 * 3
    assert found.effectors.count == found.pose.count == len(found.error) == 9
    assert (found.effectors.joint == found.effectors.joint[0]).all()
    positions, _ = body_kinematics(clip.rotations, clip.root_position, SKELETON.rest_offsets)
    np.testing.assert_allclose(found.effectors.target, positions[:, found.effectors.joint[0]])
    assert found.error.max() < 0.06


def test_it_stops_when_it_is_good_enough() -> None:
    found = recover(turned({}), SKELETON, CountingPoser(), RecoverySettings(count=8, good_enough=1e-3))
    assert len(found.joint) == 3
    assert found.error.max() < 1e-3


def test_packed_sets_are_the_same_sets() -> None:
    pose = turned(TURNS, frames=4)
    kind, joint = np.repeat([POSITION, ROTATION], 23), np.tile(np.arange(23), 2)
    weight = np.zeros((4, 46))
    for row, used in enumerate(([0, 6, 10], [3, 14, 30, 41], [1, 2, 3, 45], [22])):
        weight[row, used] = 1.0 + row
    loose = asked(pose, SKELETON, kind, joint, weight)
    tight = packed(loose)
    assert tight.size == 4
    poser = Poser(StillPose())
    np.testing.assert_allclose(
        poser.solve(loose, SKELETON).pose.rotations, poser.solve(tight, SKELETON).pose.rotations, atol=1e-9
    )


@pytest.mark.parametrize(
    "wrong", [{"count": 2}, {"start": ("Hips", "Hips")}, {"start": ("Tail",)}, {"frames": 0}, {"rotation_scale": -1.0}]
)
def test_settings_are_checked(wrong: dict) -> None:
    with pytest.raises(InputRejected):
        RecoverySettings(**wrong)
