"""The exact stage: effectors met, the nearest pose, padding, heading, size."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.learned.effectors import LOOK_AT, POSITION, ROTATION, Effectors, look_at, position
from soma_isaac.learned.refine import PosePrior, Refined, refine, refine_bodies, steps_between
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, BodySkeleton, body_kinematics, template_skeleton

COUNT = 40
SKELETON = template_skeleton()
SIX = tuple(BODY_JOINT_NAMES.index(n) for n in ("Hips", "Neck1", "LeftHand", "RightHand", "LeftFoot", "RightFoot"))


def rotations(rng: np.random.Generator, deviation: float, *shape: int) -> np.ndarray:
    vectors = rng.normal(0.0, deviation, (*shape, 3))
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*shape, 3, 3)


def scene(seed: int, count: int = COUNT, off: float = 0.2) -> tuple[BodyPose, BodyPose]:
    """True poses and proposals that miss them by ``off`` rad per joint and axis, and 5 cm."""
    rng = np.random.default_rng(seed)
    true = BodyPose(rotations(rng, 0.4, count, 23), rng.normal(0, 1, (count, 3)))
    proposed = true.rotations @ rotations(rng, off, count, 23)
    return true, BodyPose(proposed, true.root_position + rng.normal(0, 0.05, (count, 3)))


def effectors_of(
    true: BodyPose, seed: int, size: int, *, tolerance: float = 0.0, kinds: tuple[int, ...] = (0, 1, 2)
) -> Effectors:
    """Effectors of mixed kinds met by the true poses, but for noise of ``tolerance``."""
    rng = np.random.default_rng(seed)
    where, world = body_kinematics(true.rotations, true.root_position, SKELETON.rest_offsets)
    kind = rng.choice(kinds, (true.count, size))
    kind[:, 0] = POSITION
    joint = np.stack([rng.permutation(23)[:size] for _ in range(true.count)])
    row = np.arange(true.count)[:, None]
    ahead = rng.normal(size=(true.count, size, 3))
    ahead /= np.linalg.norm(ahead, axis=-1, keepdims=True)
    seen = where[row, joint] + (world[row, joint] @ ahead[..., None])[..., 0] * rng.uniform(0.5, 5, (*joint.shape, 1))
    target = where[row, joint] + tolerance * rng.normal(size=seen.shape)
    turn = rotations(rng, max(tolerance, 1e-12), *joint.shape) @ world[row, joint]
    return Effectors(
        kind,
        joint,
        np.where((kind == LOOK_AT)[..., None], seen, np.where((kind == POSITION)[..., None], target, 0.0)),
        np.where((kind == ROTATION)[..., None, None], turn, np.eye(3)),
        np.where((kind == LOOK_AT)[..., None], ahead, 0.0),
        np.where(kind == LOOK_AT, 0.0, tolerance),
        np.ones(kind.shape),
    )


def taken(asked: Effectors, rows: slice | np.ndarray, **changed: np.ndarray) -> Effectors:
    names = ("kind", "joint", "target", "rotation", "direction", "tolerance", "weight")
    return Effectors(**{name: changed[name] if name in changed else getattr(asked, name)[rows] for name in names})


def joint_error(found: BodyPose, true: BodyPose) -> float:
    a, b = (body_kinematics(p.rotations, p.root_position, SKELETON.rest_offsets)[0] for p in (found, true))
    return float(np.linalg.norm(a - b, axis=-1).mean())


@pytest.mark.parametrize(("size", "seed"), [(3, 1), (6, 2), (10, 3), (16, 4)])
def test_effectors_of_all_kinds_are_met_exactly(size: int, seed: int) -> None:
    true, proposed = scene(seed)
    asked = effectors_of(true, seed, size)
    found = refine(proposed, asked, SKELETON)
    assert found.reached.all()
    assert found.residual.max() < 5e-4
    assert joint_error(found.pose, true) < joint_error(proposed, true)


def test_residuals_are_measured_on_the_pose_that_is_returned() -> None:
    true, proposed = scene(7)
    asked = effectors_of(true, 7, 8, kinds=(POSITION,))
    found = refine(proposed, asked, SKELETON)
    where, _ = body_kinematics(found.pose.rotations, found.pose.root_position, SKELETON.rest_offsets)
    gap = np.linalg.norm(where[np.arange(COUNT)[:, None], asked.joint] - asked.target, axis=-1)
    np.testing.assert_allclose(found.residual, gap, atol=1e-12)
    turn = proposed.rotations.swapaxes(-1, -2) @ found.pose.rotations
    angle = np.linalg.norm(Rotation.from_matrix(turn.reshape(-1, 3, 3)).as_rotvec().reshape(COUNT, 23, 3), axis=-1)
    np.testing.assert_allclose(found.change, np.sqrt((angle**2).mean(axis=1)), atol=1e-9)


def test_met_proposals_stay_as_they_are() -> None:
    true, _ = scene(8)
    found = refine(true, effectors_of(true, 8, 8), SKELETON)
    assert found.change.max() < 1e-9
    assert found.iterations.max() <= 20


def test_the_answer_is_the_nearest_pose_in_the_priors_measure() -> None:
    """At the minimum the step is a combination of the rows: what is left of it along the effectors' null space is 0."""
    true, proposed = scene(9, off=0.1)
    asked = effectors_of(true, 9, 5)
    scale = np.random.default_rng(0).uniform(0.05, 0.4, 72)
    prior = PosePrior(np.diag(scale**2))
    found = refine(proposed, asked, SKELETON, prior=prior)
    other = refine(proposed, asked, SKELETON, prior=PosePrior.isotropic(rotation=0.3))

    def length(result: Refined) -> np.ndarray:
        return np.square(steps_between(proposed, result.pose, SKELETON.rest_offsets) / scale).sum(axis=1)

    assert (length(found) < length(other)).all()
    # random feasible neighbours: perturb, solve back to the effectors from there, never shorter
    shaken = found.pose.rotations @ rotations(np.random.default_rng(1), 0.05, COUNT, 23)
    neighbour = refine(BodyPose(shaken, found.pose.root_position), asked, SKELETON, prior=prior)
    assert neighbour.reached.all()
    assert (length(neighbour) > 0.999 * length(found)).all()


def test_noisy_targets_are_fused_with_the_prior() -> None:
    """One position effector on the root alone: the answer is the mean of proposal and target weighted by variances."""
    still = BodyPose(np.broadcast_to(np.eye(3), (1, 23, 3, 3)), np.zeros((1, 3)))
    prior = PosePrior.isotropic(root=0.1)
    for tolerance, weight in ((0.1, 1.0), (0.05, 1.0), (0.1, 4.0)):
        asked = Effectors.of([position("Hips", (0.2, 0.0, -0.1), tolerance=tolerance, weight=weight)])
        found = refine(still, asked, SKELETON, prior=prior)
        share = 0.1**2 / (0.1**2 + tolerance**2 / weight)
        np.testing.assert_allclose(found.pose.root_position[0], share * np.array([0.2, 0.0, -0.1]), atol=1e-9)
        assert found.change[0] < 1e-9


def test_knowing_the_noise_beats_taking_noisy_targets_for_exact() -> None:
    true, proposed = scene(11, count=120, off=0.1)
    noisy = effectors_of(true, 11, 8, tolerance=0.08, kinds=(POSITION, ROTATION))
    prior = PosePrior.isotropic(root=0.05, rotation=0.1, hips_rotation=0.1)
    fused = refine(proposed, noisy, SKELETON, prior=prior)
    believed = refine(proposed, taken(noisy, slice(None), tolerance=np.zeros_like(noisy.tolerance)), SKELETON)
    assert joint_error(fused.pose, true) < 0.9 * joint_error(proposed, true)
    assert joint_error(fused.pose, true) < 0.8 * joint_error(believed.pose, true)


def test_padding_drops_out() -> None:
    true, proposed = scene(12)
    asked = effectors_of(true, 12, 6)
    rng = np.random.default_rng(3)
    other = effectors_of(scene(13)[0], 13, 4)
    order = rng.permutation(10)
    padded = Effectors(
        *(
            np.concatenate([getattr(asked, name), getattr(other, name)], axis=1)[:, order]
            for name in ("kind", "joint", "target", "rotation", "direction", "tolerance")
        ),
        weight=np.concatenate([asked.weight, np.zeros((COUNT, 4))], axis=1)[:, order],
    )
    plain, with_padding = refine(proposed, asked, SKELETON), refine(proposed, padded, SKELETON)
    np.testing.assert_allclose(with_padding.pose.rotations, plain.pose.rotations, atol=1e-9)
    assert (with_padding.residual[padded.weight == 0.0] == 0.0).all()
    # one set full, one of three: padding within a batch
    weight = asked.weight.copy()
    weight[::2, 3:] = 0.0
    mixed = refine(proposed, taken(asked, slice(None), weight=weight), SKELETON)
    short = Effectors(
        *(
            getattr(asked, n)[::2, :3]
            for n in ("kind", "joint", "target", "rotation", "direction", "tolerance", "weight")
        )
    )
    alone = refine(BodyPose(proposed.rotations[::2], proposed.root_position[::2]), short, SKELETON)
    np.testing.assert_allclose(mixed.pose.rotations[::2], alone.pose.rotations, atol=1e-9)


def test_a_batch_is_its_poses_one_by_one() -> None:
    true, proposed = scene(14, count=12)
    asked = effectors_of(true, 14, 7)
    together = refine(proposed, asked, SKELETON)
    for row in range(12):
        one = slice(row, row + 1)
        alone = refine(BodyPose(proposed.rotations[one], proposed.root_position[one]), taken(asked, one), SKELETON)
        np.testing.assert_allclose(alone.pose.rotations[0], together.pose.rotations[row], atol=1e-9)
        assert alone.iterations[0] == together.iterations[row]


def test_the_answer_turns_and_moves_with_the_question() -> None:
    true, proposed = scene(15)
    asked = effectors_of(true, 15, 8, tolerance=0.02)
    turn, shift = Rotation.from_euler("y", 2.4).as_matrix(), np.array([3.0, 0.5, -7.0])
    turned = proposed.rotations.copy()
    turned[:, 0] = turn @ turned[:, 0]
    elsewhere = taken(
        asked,
        slice(None),
        target=np.where((asked.kind == ROTATION)[..., None], 0.0, asked.target @ turn.T + shift),
        rotation=np.where((asked.kind == ROTATION)[..., None, None], turn @ asked.rotation, np.eye(3)),
    )
    here = refine(proposed, asked, SKELETON)
    there = refine(BodyPose(turned, proposed.root_position @ turn.T + shift), elsewhere, SKELETON)
    np.testing.assert_allclose(there.pose.rotations[:, 1:], here.pose.rotations[:, 1:], atol=1e-6)
    np.testing.assert_allclose(there.pose.rotations[:, 0], turn @ here.pose.rotations[:, 0], atol=1e-6)
    np.testing.assert_allclose(there.pose.root_position, here.pose.root_position @ turn.T + shift, atol=1e-6)


def test_the_answer_grows_with_the_body() -> None:
    true, proposed = scene(16, off=0.1)
    asked = effectors_of(true, 16, 6, kinds=(POSITION,))
    small = BodySkeleton(0.6 * SKELETON.rest_offsets)
    shrunk = taken(asked, slice(None), target=0.6 * asked.target)
    one = refine(proposed, asked, SKELETON)
    two = refine(BodyPose(proposed.rotations, 0.6 * proposed.root_position), shrunk, small)
    assert one.reached.all()
    assert two.reached.all()
    # only the finite tolerance of exact targets does not scale
    np.testing.assert_allclose(two.pose.rotations, one.pose.rotations, atol=2e-2)
    both = refine_bodies(
        BodyPose(
            np.concatenate([proposed.rotations[:1]] * 2),
            np.concatenate([proposed.root_position[:1], 0.6 * proposed.root_position[:1]]),
        ),
        Effectors(*(np.concatenate([getattr(e, n)[:1] for e in (asked, shrunk)]) for n in asked.__dict__)),
        np.stack([SKELETON.rest_offsets, small.rest_offsets]),
    )
    np.testing.assert_allclose(both.pose.rotations[0], one.pose.rotations[0], atol=1e-9)
    np.testing.assert_allclose(both.pose.rotations[1], two.pose.rotations[0], atol=1e-9)


def test_targets_out_of_reach_give_the_nearest_finite_pose() -> None:
    still = BodyPose(np.broadcast_to(np.eye(3), (3, 23, 3, 3)), np.array([[0.0, 1.0, 0.0]] * 3))
    sets = [
        [position("Hips", (0, 1, 0)), position("LeftHand", (0, 1, distance)), position("RightFoot", (0.1, 0.2, 0.1))]
        for distance in (2.0, 20.0, 2e4)
    ]
    found = refine(still, Effectors.of(*sets), SKELETON)
    assert np.isfinite(found.pose.rotations).all()
    assert not found.reached[:, 1].any()
    where, _ = body_kinematics(found.pose.rotations, found.pose.root_position, SKELETON.rest_offsets)
    hand = where[0, BODY_JOINT_NAMES.index("LeftHand")]
    shoulder = where[0, BODY_JOINT_NAMES.index("LeftArm")]
    arm = np.linalg.norm(SKELETON.rest_offsets[BODY_JOINT_NAMES.index("LeftForeArm")])
    arm += np.linalg.norm(SKELETON.rest_offsets[BODY_JOINT_NAMES.index("LeftHand")])
    assert np.linalg.norm(hand - shoulder) > 0.97 * arm  # stretched out,
    assert (hand - shoulder)[2] > 0.9 * arm  # and towards the target


def test_looking_straight_behind_turns_around() -> None:
    still = BodyPose(np.broadcast_to(np.eye(3), (1, 23, 3, 3)), np.array([[0.0, 1.0, 0.0]]))
    head = body_kinematics(still.rotations, still.root_position, SKELETON.rest_offsets)[0][
        0, BODY_JOINT_NAMES.index("Head")
    ]
    asked = Effectors.of([position("Hips", (0, 1, 0)), look_at("Head", head - np.array([0.0, 0.0, 3.0]))])
    found = refine(still, asked, SKELETON)
    assert found.reached.all()


def test_a_shrunk_prior_has_the_same_deviations_and_less_correlation() -> None:
    steps = np.random.default_rng(2).normal(size=(200, 72)) @ np.random.default_rng(3).normal(size=(72, 72))
    prior = PosePrior.from_steps(steps)
    less = prior.shrunk(0.25).covariance
    off = ~np.eye(72, dtype=bool)
    np.testing.assert_allclose(np.diag(less), np.diag(prior.covariance))
    np.testing.assert_allclose(less[off], 0.75 * prior.covariance[off])


def test_priors_and_counts_are_checked() -> None:
    with pytest.raises(InputRejected, match="not positive definite"):
        PosePrior(np.diag([1.0] * 71 + [0.0]))
    with pytest.raises(InputRejected, match="not symmetric"):
        PosePrior(np.eye(72) + np.triu(np.full((72, 72), 1e-3), 1))
    true, proposed = scene(17, count=3)
    with pytest.raises(InputRejected, match="3 poses, 2 sets"):
        refine(proposed, taken(effectors_of(true, 17, 3), slice(2)), SKELETON)
