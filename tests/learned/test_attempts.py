"""What the exact stage does about targets that one solution misses: each reason for missing, and its remedy."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.learned import attempts
from soma_isaac.learned.attempts import meet_exactly, problem_of, solved
from soma_isaac.learned.effectors import POSITION, Effectors, position
from soma_isaac.learned.evaluation import MET_M, MET_RAD
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.pose_tests import pose_test
from soma_isaac.learned.poser import NetworkPoser, learned_poser
from soma_isaac.learned.prior import PosePrior
from soma_isaac.learned.refine import effector_residuals, refine, refine_bodies
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, body_kinematics, template_skeleton
from soma_isaac.learned.solve import RefineSettings
from soma_isaac.pipelines.ik_data import read_poses
from soma_isaac.rig.skeleton import data_path

SKELETON = template_skeleton()
STILL = BodyPose(np.broadcast_to(np.eye(3), (1, 23, 3, 3)), np.zeros((1, 3)))
FOREARM, HAND = (BODY_JOINT_NAMES.index(name) for name in ("LeftForeArm", "LeftHand"))


def straight() -> BodyPose:
    """The T-pose with the left elbow in one line with shoulder and wrist."""
    turn = Rotation.align_vectors(SKELETON.rest_offsets[[FOREARM]], SKELETON.rest_offsets[[HAND]])[0]
    rotations = np.array(STILL.rotations)
    rotations[0, FOREARM] = turn.as_matrix()
    return BodyPose(rotations, STILL.root_position)


STRAIGHT = straight()
WHERE = body_kinematics(STRAIGHT.rotations, STRAIGHT.root_position, SKELETON.rest_offsets)[0][0]
ONCE = RefineSettings(second_start=False)


def at(name: str) -> np.ndarray:
    return WHERE[BODY_JOINT_NAMES.index(name)]


def straight_arm(shorter: float) -> Effectors:
    """Places of the straight pose, with the left hand nearer to its upper arm by ``shorter`` m."""
    along = (at("LeftHand") - at("LeftArm")) / np.linalg.norm(at("LeftHand") - at("LeftArm"))
    kept = [position(name, at(name).tolist()) for name in ("Hips", "LeftShoulder", "LeftArm", "RightArm")]
    return Effectors.of([*kept, position("LeftHand", at("LeftHand").tolist() - shorter * along)])


def test_a_hand_comes_nearer_to_its_straight_arm() -> None:
    """To first order nothing brings it nearer, bending the elbow does to second."""
    found = refine(STRAIGHT, straight_arm(0.003), SKELETON)
    assert found.reached.all()
    bend = STRAIGHT.rotations[0, FOREARM].T @ found.pose.rotations[0, FOREARM]
    assert np.rad2deg(np.linalg.norm(Rotation.from_matrix(bend).as_rotvec())) > 5.0


def test_an_improbable_pose_still_meets_exact_targets() -> None:
    """A pull to the proposal that outweighs the tolerance of an exact target does not bend the target."""
    prior = PosePrior.isotropic(root=0.01, rotation=0.004, hips_rotation=0.004)
    hand = position("LeftHand", at("LeftHand").tolist() + np.array([-0.05, -0.25, 0.15]))
    asked = Effectors.of([position("Hips", at("Hips").tolist()), position("RightFoot", at("RightFoot").tolist()), hand])
    assert refine(STRAIGHT, asked, SKELETON, prior=prior, settings=ONCE).residual.max() > MET_M
    assert refine(STRAIGHT, asked, SKELETON, prior=prior).residual.max() < 0.5 * MET_M


def test_a_target_out_of_reach_is_not_chased() -> None:
    """The nearest pose is what one solution finds; other attempts neither lose it nor meet what cannot be met."""
    far = position("LeftHand", at("LeftHand").tolist() + np.array([1.0, 0.0, 0.0]))
    kept = [position(name, at(name).tolist(), weight=100.0) for name in ("Hips", "RightHand", "RightFoot", "LeftFoot")]
    asked = Effectors.of([*kept, far])
    once, found = refine(STRAIGHT, asked, SKELETON, settings=ONCE), refine(STRAIGHT, asked, SKELETON)
    assert not found.reached[0, 4]
    assert np.isfinite(found.pose.rotations).all()
    assert found.residual[0, 4] < 1.02 * once.residual[0, 4]


def test_others_in_the_batch_are_not_touched() -> None:
    asked = Effectors.of(
        *(
            [position(name, at(name).tolist()) for name in ("Hips", "LeftArm", "RightArm", "LeftHand", "Head")]
            for _ in range(2)
        )
    )
    hard = straight_arm(0.003)
    both = Effectors(
        asked.kind,
        np.concatenate([asked.joint[:1], hard.joint]),
        np.concatenate([asked.target[:1], hard.target]),
        asked.rotation,
        asked.direction,
        asked.tolerance,
        asked.weight,
    )
    pose = BodyPose(np.concatenate([STRAIGHT.rotations] * 2), np.zeros((2, 3)))
    found = refine(pose, both, SKELETON)
    assert found.reached.all()
    assert found.change[0] < 1e-9
    alone = refine(STRAIGHT, hard, SKELETON)
    np.testing.assert_allclose(found.pose.rotations[1], alone.pose.rotations[0], atol=1e-9)


@pytest.fixture(scope="module")
def poser() -> NetworkPoser:
    return learned_poser()


def asked_of_clips(
    poser: NetworkPoser, sets: int, entropy: int, rows: list[int]
) -> tuple[BodyPose, Effectors, np.ndarray]:
    """Proposals for random exact effectors of poses of the bundled clips."""
    clips = read_poses(data_path("demo_clips") / "*.npz").poses
    test = pose_test(clips, FixedDraws.make(1, sets, entropy), 0, "exact")
    asked, offsets = test.effectors.rows(np.array(rows)), test.rest_offsets[rows]
    return poser.network.predict_bodies(asked, offsets), asked, offsets


def missed(pose: BodyPose, asked: Effectors, offsets: np.ndarray) -> np.ndarray:
    residual = effector_residuals(pose, asked, offsets)
    return np.any(residual > np.where(asked.kind == POSITION, MET_M, MET_RAD), axis=1)


def test_poses_of_the_bundled_clips_that_used_to_be_missed_are_met(poser: NetworkPoser) -> None:
    """One solution and starts by an equal prior and at the T-pose left these 333 mm and 1.5 mm off."""
    proposed, asked, offsets = asked_of_clips(poser, 2000, 2, [568, 1140])
    once = refine_bodies(proposed, asked, offsets, prior=poser.prior, settings=ONCE)
    found = refine_bodies(proposed, asked, offsets, prior=poser.prior)
    assert missed(once.pose, asked, offsets).any()
    assert not missed(found.pose, asked, offsets).any()


def test_what_is_tried_for_one_pose_does_not_depend_on_others(poser: NetworkPoser) -> None:
    proposed, asked, offsets = asked_of_clips(poser, 1500, 4, [42, 115, 171])
    target = np.array(asked.target)
    target[2, 0] += 0.3  # one out of reach
    asked = Effectors(**{**vars(asked), "target": target})
    together = refine_bodies(proposed, asked, offsets, prior=poser.prior)
    for row in range(3):
        one = np.array([row])
        pose = BodyPose(proposed.rotations[one], proposed.root_position[one])
        alone = refine_bodies(pose, asked.rows(one), offsets[one], prior=poser.prior)
        np.testing.assert_allclose(alone.pose.rotations[0], together.pose.rotations[row], atol=1e-6)


def test_poses_that_lower_tolerances_leave_stuck_are_shaken_loose(
    poser: NetworkPoser, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five sets of effectors of the bundled clips; without shaking, other starts reach some of them only."""
    proposed, asked, offsets = asked_of_clips(poser, 1500, 4, [42, 115, 171, 821, 1064])
    problem, prior = problem_of(proposed, asked, offsets, RefineSettings()), poser.prior
    assert prior is not None
    results = []
    for shake in (0.0, attempts.SHAKE):
        monkeypatch.setattr(attempts, "SHAKE", shake)
        solution = solved(problem, prior, None, RefineSettings())
        meet_exactly(solution, problem, prior, None, RefineSettings())
        results.append(missed(BodyPose(solution.local, solution.root), asked, offsets))
    assert results[0].sum() >= 3
    assert results[1].sum() <= 1
    found = refine_bodies(proposed, asked, offsets, prior=poser.prior)
    assert not missed(found.pose, asked, offsets).any()
