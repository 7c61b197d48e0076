"""Hands on their own move as the body's hands do, seen from the wrist."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.body.hand_rig import HAND_WEIGHT, SIDES, cut_hand, hand_joints
from soma_isaac.body.hands import SomaHand
from soma_isaac.body.layout import joint_layout
from soma_isaac.body.regressor import folded_weights
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.rig.mesh import edge_use
from soma_isaac.rig.rig import Rig
from tests.body import model_files

LODS = {"mid": 2859, "low": 718, "xlo": 134}


@pytest.fixture(scope="module", params=SIDES)
def side(request):
    return request.param


@pytest.fixture(scope="module")
def hands(rig, side):
    return {lod: SomaHand(rig, side, lod=lod, threads=1) for lod in LODS}


def random_poses(count, seed=1):
    return np.random.default_rng(seed).normal(scale=0.4, size=(count, 25, 3))


def test_counts_are_soma_x_s(hands):
    assert {lod: hand.vertex_count for lod, hand in hands.items()} == LODS


def test_one_open_disc_per_hand(hands):
    for hand in hands.values():
        edges, uses = edge_use(hand.triangles)
        border = edges[uses == 1]
        assert hand.vertex_count - len(edges) + len(hand.triangles) == 1
        assert len(np.unique(border)) == len(border) and set(uses) == {1, 2}
        mesh = hand.cut.rig.mesh(hand.lod)
        weights = np.zeros((mesh.vertex_count, 26))
        np.add.at(weights, (np.arange(mesh.vertex_count)[:, None], mesh.joint_indices), mesh.joint_weights)
        assert (weights[np.unique(border), 1] == 1.0).all()
        np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("share", [0.20, 0.33])
def test_the_cut_does_not_hang_on_its_threshold(rig, share, monkeypatch):
    expected = cut_hand(rig, "left").vertices["mid"]
    monkeypatch.setattr("soma_isaac.body.hand_rig.HAND_WEIGHT", share)
    assert share != HAND_WEIGHT and np.array_equal(cut_hand(rig, "left").vertices["mid"], expected)


def test_right_is_the_mirror_of_left(rig):
    left, right = (cut_hand(rig, side) for side in SIDES)
    for lod in ("mid", "low"):
        points = rig.mesh(lod).points
        mirrored = {tuple(p) for p in np.round(points[left.vertices[lod]] * (-1.0, 1.0, 1.0), 7)}
        assert mirrored == {tuple(p) for p in np.round(points[right.vertices[lod]], 7)}


def test_posed_as_on_the_body(rig, hands, side):
    """Absolute poses: the same finger rotations on body and hand, seen from the posed wrist."""
    joints = hand_joints(rig, side)
    rng = np.random.default_rng(2)
    rotations = Rotation.from_rotvec(rng.normal(scale=0.4, size=(3 * 77, 3))).as_matrix().reshape(3, 77, 3, 3)
    hand_rotations = rotations[:, joints - 1].copy()
    hand_rotations[:, 0] = np.eye(3)
    for lod, hand in hands.items():
        body = SomaBody(rig, lod=lod, twist=False, threads=1)
        on_body = body.pose(body.prepare(), rotations, np.ones((3, 3)), absolute=True)
        wrist = np.linalg.inv(on_body.transforms.numpy().astype(np.float64)[:, joints[0]])
        seen = wrist[:, None, :3, :3] @ on_body.vertices.numpy()[:, hand.cut.vertices[lod], :, None]
        seen = seen[..., 0] + wrist[:, None, :3, 3]
        alone = hand.pose(hand.prepare_identity(), hand_rotations, absolute=True)
        own = folded_weights(rig.mesh(lod), joint_layout(rig, twist=False))[hand.cut.vertices[lod]][:, joints]
        border = np.unique(edge_use(hand.triangles)[0][edge_use(hand.triangles)[1] == 1])
        whole = own.sum(axis=1) > 1.0 - 1e-6
        whole[border] = False
        assert whole.mean() > 0.8
        np.testing.assert_allclose(alone.vertices.numpy()[:, whole], seen[:, whole], atol=3e-6)
        there = wrist[:, None] @ on_body.transforms.numpy()[:, joints]
        np.testing.assert_allclose(alone.transforms.numpy(), there, atol=3e-6)
        np.testing.assert_allclose(alone.joints.numpy(), there[..., :3, 3], atol=3e-6)


def test_relative_fingers_are_the_body_s(rig, hands, side):
    """The same T-pose-relative finger rotations, told in the axes of the wrist instead of the world's."""
    joints = hand_joints(rig, side)
    poses = np.zeros((2, 77, 3))
    poses[:, joints[1:] - 1] = np.random.default_rng(4).normal(scale=0.5, size=(2, 24, 3))
    body = SomaBody(rig, lod="low", twist=False, threads=1)
    transforms = body.pose(body.prepare(), poses).transforms.numpy().astype(np.float64)[:, joints]
    hand = hands["low"]
    bind = rig.skeleton.bind_T_world_joint[rig.skeleton.index(rig.public_joint_names[joints[0]])]
    own = poses[:, joints - 1] @ bind[:3, :3]
    alone = hand.pose(hand.prepare_identity(), own)
    np.testing.assert_allclose(alone.transforms.numpy(), np.linalg.inv(transforms[:, :1]) @ transforms, atol=3e-6)


def test_bind_pose_gives_the_cut_mesh(hands):
    for lod, hand in hands.items():
        skeleton = hand.cut.rig.skeleton
        local = skeleton.bind_T_world_joint[1:, :3, :3].copy()
        for joint in range(1, 25):
            parent = skeleton.bind_T_world_joint[skeleton.parent_indices[joint + 1], :3, :3]
            local[joint] = parent.T @ local[joint]
        posed = hand.pose(hand.prepare_identity(), local[None], absolute=True)
        np.testing.assert_allclose(posed.vertices.numpy()[0], hand.cut.rig.mesh(lod).points, atol=1e-6)


def test_the_wrist_turns_and_moves_the_whole_hand(hands):
    hand, poses = hands["xlo"], random_poses(1)
    identity = hand.prepare_identity()
    poses[:, 0] = 0.0
    still = hand.pose(identity, poses).vertices.numpy()[0]
    poses[:, 0] = [0.3, -0.7, 1.1]
    moved = hand.pose(identity, poses, np.array([[0.1, 0.2, 0.3]])).vertices.numpy()[0]
    turn = hand.pose(identity, poses).transforms.numpy()[0, 0, :3, :3]
    np.testing.assert_allclose(moved, still @ turn.T + [0.1, 0.2, 0.3], atol=2e-6)
    assert np.degrees(np.linalg.norm(Rotation.from_matrix(turn).as_rotvec())) == pytest.approx(
        np.degrees(np.linalg.norm([0.3, -0.7, 1.1])), abs=1e-3
    )


def test_vectors_and_matrices_agree(hands):
    hand, poses = hands["low"], random_poses(4)
    identity = hand.prepare_identity()
    matrices = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(4, 25, 3, 3)
    np.testing.assert_allclose(
        hand.pose(identity, poses).vertices.numpy(), hand.pose(identity, matrices).vertices.numpy(), atol=1e-6
    )
    only = hand.pose(identity, poses, fk_only=True)
    assert only.vertices.shape == (4, 0) and only.transforms.shape == (4, 25)


def test_hands_of_bodies(rig, hands):
    """A body of another size has a hand of that size, at any place in its batch."""
    hand, poses = hands["mid"], random_poses(1)
    body = SomaBody(rig, threads=1)
    points = rig.mesh("mid").points
    bind = rig.skeleton.bind_T_world_joint[:78]
    sizes = np.array([1.0, 0.7])
    binds = np.stack([bind, bind])
    binds[..., :3, 3] *= sizes[:, None, None]
    identity = hand.prepare_body(body.prepare(points * sizes[:, None, None], binds))
    both = hand.pose(identity, poses).vertices.numpy()
    scaled = hand.prepare_identity(global_scale=sizes)
    np.testing.assert_allclose(both, hand.pose(scaled, poses).vertices.numpy(), atol=2e-6)
    np.testing.assert_allclose(both[1], both[0] * 0.7, atol=2e-6)


def test_bone_scales_lengthen_bones(hands):
    hand = hands["low"]
    scales = np.ones((1, 24))
    bone = hand.joint_names[1:].index(hand.joint_names[0] + "Index3")
    scales[0, bone] = 1.5
    lengths = []
    for identity in (hand.prepare_identity(), hand.prepare_identity(bone_scales=scales)):
        joints = hand.pose(identity, random_poses(1)).joints.numpy()[0]
        parents = hand.cut.rig.skeleton.parent_indices[2:] - 1
        lengths.append(np.linalg.norm(joints[1:] - joints[parents], axis=1))
    expected = np.ones(24)
    expected[bone] = 1.5
    np.testing.assert_allclose(lengths[1] / lengths[0], expected, atol=1e-4)


@pytest.fixture(scope="module")
def hand_file(tmp_path_factory):
    """A file in SOMA-X's layout whose one shape is uniform growth; vertices of the right hand as the left's twins."""
    path = tmp_path_factory.mktemp("hand") / "SOMAHand.npz"
    path.write_bytes(model_files.npz(model_files.hand_file_arrays()))
    return path


@pytest.mark.parametrize("lod", LODS)
def test_shapes_of_a_file(rig, side, lod, hand_file):
    hand = SomaHand(rig, side, lod=lod, hand_file=hand_file, threads=1)
    assert hand.vertex_count == LODS[lod] and hand.coefficient_count == 1
    poses = random_poses(2)
    grown = hand.prepare_identity(np.array([[0.0], [2.0]]))  # 1 + 2 sqrt(0.01)
    scaled = hand.prepare_identity(global_scale=np.array([1.0, 1.2]))
    np.testing.assert_allclose(
        hand.pose(grown, poses).vertices.numpy(), hand.pose(scaled, poses).vertices.numpy(), atol=2e-5
    )
    with pytest.raises(InputRejected, match=r"\(B, 1\)"):
        hand.prepare_identity(np.zeros((1, 2)))


def test_a_file_of_another_rig_is_refused(rig, side, hand_file, tmp_path):
    record = dict(np.load(hand_file))
    record[f"{side}_hand_joint_ids_global"] = np.arange(25)
    np.savez(tmp_path / "other.npz", **record)
    with pytest.raises(RigMismatch, match="joints"):
        SomaHand(rig, side, hand_file=tmp_path / "other.npz")
    record = dict(np.load(hand_file))
    record[f"{side}_vert_ids"] = record[f"{side}_vert_ids"] + 18000
    np.savez(tmp_path / "beyond.npz", **record)
    with pytest.raises(RigMismatch, match="beyond"):
        SomaHand(rig, side, hand_file=tmp_path / "beyond.npz")


def test_refused(rig, hands, side):
    hand = hands["xlo"]
    identity = hand.prepare_identity()
    with pytest.raises(InputRejected, match="left, right"):
        SomaHand(rig, "Left")
    with pytest.raises(InputRejected, match="mirror"):
        SomaHand(rig, side, mirror="y")
    with pytest.raises(InputRejected, match="hand_file"):
        hand.prepare_identity(np.zeros((1, 20)))
    with pytest.raises(InputRejected, match=r"\(B, 25, 3\)"):
        hand.pose(identity, np.zeros((1, 24, 3)))
    with pytest.raises(InputRejected, match="finite"):
        hand.pose(identity, np.full((1, 25, 3), np.nan))
    for scales in (np.ones((1, 25)), np.zeros((1, 24))):
        with pytest.raises(InputRejected, match="bone_scales"):
            hand.prepare_identity(bone_scales=scales)
    with pytest.raises(InputRejected, match="LOD mid"):
        hand.prepare_body(SomaBody(rig, threads=1).prepare())
    coarse = Rig(rig.skeleton, rig.public_joint_names, rig.twist, dict(rig.meshes) | {"mid": rig.mesh("low")}, "x")
    with pytest.raises(RigMismatch, match="one subdivision"):
        cut_hand(coarse, side)
