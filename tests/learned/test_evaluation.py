"""Figures of learned IK: what each must be where the answer is known, and that tests repeat."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from soma_isaac.errors import InputRejected
from soma_isaac.formats.npz import npz_bytes
from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION, Effectors, position
from soma_isaac.learned.evaluation import (
    Answer,
    PoseTest,
    alone,
    by_count,
    compare,
    measure,
    similarity_aligned,
    still,
    summary,
    with_exact_stage,
)
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.network import rotation_from_6d
from soma_isaac.learned.pose_tests import pose_test, random_bodies
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.refine import effector_residuals
from soma_isaac.learned.skeleton import BodyPose, body_kinematics, template_skeleton
from soma_isaac.math.so3 import matrix_from_rotvec

BENCHMARK_DRAWS = Path(__file__).parents[2] / "benchmarks" / "learned_ik_draws.npz"
DRAWS = FixedDraws.make(2, 60, 1)


@pytest.fixture(scope="module")
def poses() -> PoseSet:
    generator = torch.Generator().manual_seed(0)
    columns = torch.eye(3)[:, :2].T + 0.3 * torch.randn(50, 23, 2, 3, generator=generator)
    return PoseSet(rotation_from_6d(columns).numpy(), np.array(["a"] * 50))


def answer_with(test: PoseTest, rotations: np.ndarray, root: np.ndarray):
    return compare(test.truth, Answer(BodyPose(rotations, root)), test.effectors, test.rest_offsets)


def test_the_truth_has_no_error_and_meets_exact_effectors(poses: PoseSet) -> None:
    for ask in ("exact", "six"):
        test = pose_test(poses, DRAWS, 0, ask, random_bodies(DRAWS, 0))
        found = answer_with(test, test.truth.rotations, test.truth.root_position)
        for name in ("root_aligned", "absolute", "procrustes", "geodesic", "before", "after"):
            assert np.abs(getattr(found, name)).max() < 1e-7, (ask, name)


def test_a_shift_counts_only_in_the_world(poses: PoseSet) -> None:
    test = pose_test(poses, DRAWS, 0, "six")
    found = answer_with(test, test.truth.rotations, test.truth.root_position + [0.03, 0.0, 0.04])
    assert found.root_aligned.max() < 1e-9
    np.testing.assert_allclose(found.absolute, 0.05)
    np.testing.assert_allclose(found.after, 0.05)


def test_a_turn_of_the_whole_body_is_in_ge_and_mpjpe_but_not_in_pa(poses: PoseSet) -> None:
    test = pose_test(poses, DRAWS, 0, "six")
    turned = test.truth.rotations.copy()
    turned[:, 0] = matrix_from_rotvec(np.array([0.0, 0.46, 0.0])) @ turned[:, 0]
    found = answer_with(test, turned, test.truth.root_position)
    np.testing.assert_allclose(found.geodesic, 0.46 / 23, rtol=1e-6)  # float32 rotations
    assert found.procrustes.max() < 1e-7
    assert found.root_aligned.min() > 0.02


def test_procrustes_undoes_similarities_and_no_reflection() -> None:
    random = np.random.default_rng(0)
    points = random.normal(size=(5, 23, 3))
    turn = matrix_from_rotvec(random.normal(size=(5, 3)))
    moved = 1.7 * points @ turn.swapaxes(1, 2) + random.normal(size=(5, 1, 3))
    np.testing.assert_allclose(similarity_aligned(points, moved), moved, atol=1e-12)
    mirrored = points * [-1.0, 1.0, 1.0]
    assert np.linalg.norm(similarity_aligned(points, mirrored) - mirrored, axis=-1).mean() > 0.3


def test_procrustes_is_the_best_similarity() -> None:
    random = np.random.default_rng(1)
    points, onto = random.normal(size=(2, 1, 23, 3))
    best = np.square(similarity_aligned(points[None, 0], onto[None, 0]) - onto).sum()
    base = similarity_aligned(points[None, 0], onto[None, 0])
    for _ in range(50):
        turn = matrix_from_rotvec(0.05 * random.normal(size=3))
        other = (1 + 0.05 * random.normal()) * base @ turn.T + 0.05 * random.normal(size=3)
        assert np.square(other - onto).sum() >= best


def test_sets_of_all_sizes_come_back_in_their_order(poses: PoseSet) -> None:
    test = pose_test(poses, DRAWS, 0, "noisy")
    seen = []

    def contestant(effectors: Effectors, rest_offsets: np.ndarray) -> Answer:
        seen.append(effectors.size)
        return Answer(still()(effectors, rest_offsets))

    grouped = measure(test, contestant)
    at_once = compare(test.truth, contestant(test.effectors, test.rest_offsets), test.effectors, test.rest_offsets)
    assert seen[:-1] == sorted(set((test.effectors.weight > 0).sum(axis=1).tolist()))
    for name in ("root_aligned", "absolute", "procrustes", "geodesic", "before", "after"):
        np.testing.assert_allclose(getattr(grouped, name), getattr(at_once, name), atol=1e-12)
    curve = by_count(test, grouped)
    assert sum(count for count, _ in curve.values()) == 60
    total = sum(count * error for count, error in curve.values()) / 60
    assert total == pytest.approx(summary(test, grouped)["mpjpe_mm"])


def test_still_poses_of_many_bodies_are_those_of_each(poses: PoseSet) -> None:
    bodies = random_bodies(DRAWS, 0)
    test = pose_test(poses, DRAWS, 0, "six", bodies)
    together = still()(test.effectors, test.rest_offsets)
    positions, _ = body_kinematics(together.rotations, together.root_position, test.rest_offsets)
    placed = positions[np.arange(60)[:, None], test.effectors.joint]
    np.testing.assert_allclose(placed.mean(axis=1), test.effectors.target.mean(axis=1), atol=0.08)


def test_the_summary_counts_exact_effectors_that_are_missed() -> None:
    sets = Effectors.of(
        [position("Hips", (0.0, 1.0, 0.0)), position("Head", (0.0, 1.0, 0.0), tolerance=0.05)],
        [position("Hips", (0.0, 1.0005, 0.0))],
    )
    truth = BodyPose(np.broadcast_to(np.eye(3), (2, 23, 3, 3)), np.array([[0.0, 0.98, 0.0], [0.0, 1.0, 0.0]]))
    offsets = np.broadcast_to(template_skeleton().rest_offsets, (2, 23, 3))
    test = PoseTest(truth, offsets, sets)
    values = summary(test, measure(test, lambda effectors, _: Answer(_rows(truth, effectors, sets))))
    assert values["missed_positions"] == 0.5
    assert values["exact_position_most_mm"] == pytest.approx(20.0)
    assert values["exact_position_mm"] == pytest.approx(10.25)
    assert values["missed_angles"] == 0.0


def _rows(pose: BodyPose, effectors: Effectors, all_sets: Effectors) -> BodyPose:
    rows = [int(np.flatnonzero((all_sets.target[:, 0] == target[0]).all(axis=1))[0]) for target in effectors.target]
    return BodyPose(pose.rotations[rows], pose.root_position[rows])


def test_the_exact_stage_is_measured_before_and_after(poses: PoseSet) -> None:
    test = pose_test(poses, DRAWS.first(12), 0, "six")
    figures = measure(test, with_exact_stage(still(), None))
    unrefined = measure(test, alone(still()))
    np.testing.assert_allclose(figures.before, unrefined.after)
    assert figures.after.max() < 1e-3 < unrefined.after.mean()
    assert (figures.change > 0).all()
    assert (unrefined.change == 0).all()


def test_noise_is_as_large_as_the_tolerance_says(poses: PoseSet) -> None:
    draws = FixedDraws.make(1, 2000, 5)
    test = pose_test(poses, draws, 0, "noisy")
    missed = effector_residuals(test.truth, test.effectors, test.rest_offsets)
    used, sigma = test.effectors.weight > 0, test.effectors.tolerance
    for kind in (POSITION, ROTATION):
        some = used & (test.effectors.kind == kind) & (sigma > 1e-4) & (sigma < 0.1)
        spread = np.sqrt(np.mean(np.square(missed[some] / sigma[some])))
        assert spread == pytest.approx(np.sqrt(3.0), rel=0.05), kind  # three axes
    look = used & (test.effectors.kind == LOOK_AT)
    assert missed[look].max() < 1e-6
    assert (sigma[look] == 0).all()
    sizes = used.sum(axis=1)
    assert sizes.min() >= 3 and sizes.max() <= 19


def test_draws_are_as_the_sampler_draws() -> None:
    draws = FixedDraws.make(1, 500, 2)
    kind, joint, weight = draws.slots(0)
    for row in range(500):
        used = weight[row] > 0
        assert np.bincount(kind[row][used], minlength=3).tolist() == draws.count[0, row].tolist()
        for each in (POSITION, ROTATION):
            joints = joint[row][used & (kind[row] == each)]
            assert len(set(joints.tolist())) == len(joints)  # without replacement
    assert draws.count[0, :, POSITION].min() == 3
    looks = [joint[row][(kind[row] == LOOK_AT) & (weight[row] > 0)] for row in range(500)]
    assert any(len(set(each.tolist())) < len(each) for each in looks)  # with replacement


def test_draws_survive_the_file_and_nothing_else_does(tmp_path) -> None:
    DRAWS.write(tmp_path / "draws.npz")
    again = FixedDraws.read(tmp_path / "draws.npz")
    np.testing.assert_array_equal(again.normal, DRAWS.normal)
    again.write(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "draws.npz").read_bytes()
    (tmp_path / "other.npz").write_bytes(npz_bytes({"pose": np.zeros((1, 2), np.float32)}))
    with pytest.raises(InputRejected, match="count, joint, spread, normal, body"):
        FixedDraws.read(tmp_path / "other.npz")
    with pytest.raises(InputRejected, match="no position effector"):
        FixedDraws(DRAWS.pose, np.zeros_like(DRAWS.count), DRAWS.joint, DRAWS.spread, DRAWS.normal, DRAWS.body)


def test_the_benchmarks_draws_stay_what_they_are() -> None:
    digest = hashlib.sha256(BENCHMARK_DRAWS.read_bytes()).hexdigest()
    assert digest == "5d0db69bed31ab7a753cabbcd1f5b5304a94d240a2c4ad0559cbf55dc9f04024"
    draws = FixedDraws.read(BENCHMARK_DRAWS)
    assert (draws.seed_count, draws.set_count) == (3, 1000)
    assert BENCHMARK_DRAWS.stat().st_size < 1.5e6
