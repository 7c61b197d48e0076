"""Which joint moves which vertex: truncation to eight, folding, joints that nobody asked for."""

import dataclasses

import numpy as np
import pytest

from soma_isaac.body import SomaBody
from soma_isaac.body.layout import joint_layout, top_influences
from soma_isaac.errors import RigMismatch
from soma_isaac.rig.rig import Rig, SkinnedMesh
from soma_isaac.rig.skeleton import Skeleton
from tests.oracles import body as oracle


def mesh_of(joints, weights):
    joints = np.array(joints)
    return SkinnedMesh(
        name="m",
        points=np.zeros((len(joints), 3)),
        face_vertex_counts=np.zeros(0),
        face_vertex_indices=np.zeros(0),
        triangles=np.zeros((0, 3)),
        joint_indices=joints,
        joint_weights=np.array(weights, dtype=float),
    )


def chain_rig(names, parents, public, mesh):
    transforms = np.tile(np.eye(4), (len(names), 1, 1))
    return Rig(
        skeleton=Skeleton(tuple(names), np.array(parents), transforms, transforms),
        public_joint_names=tuple(public),
        twist=None,
        meshes={"mid": mesh},
        digest="0",
    )


@pytest.fixture
def wide_rig():
    """Root, a and nine fingers of a; every finger has a nail that is not public."""
    names = ["root", "a", *(f"f{i}" for i in range(9)), *(f"n{i}" for i in range(9))]
    parents = [-1, 0, *([1] * 9), *range(2, 11)]
    weights = np.arange(20, 10, -1.0)
    mesh = mesh_of(
        [[1, *range(2, 11)], [2, 11, 3, 12, 0, 0, 0, 0, 0, 0]], [weights / weights.sum(), [0.25] * 4 + [0] * 6]
    )
    return chain_rig(names, parents, names[:11], mesh)


def test_the_eight_largest_weights_are_kept_and_sum_to_one(wide_rig):
    offsets, joints, weights = top_influences(wide_rig.mesh("mid"), joint_layout(wide_rig, twist=False))
    assert offsets.tolist() == [0, 8, 10]
    assert joints[:8].tolist() == [1, *range(2, 9)]
    np.testing.assert_allclose(weights[:8], np.arange(20, 12, -1.0) / np.arange(20, 12, -1.0).sum())


def test_joints_that_are_not_public_move_with_their_parents(wide_rig):
    layout = joint_layout(wide_rig, twist=False)
    assert layout.slots[11:].tolist() == list(range(2, 11))
    _, joints, weights = top_influences(wide_rig.mesh("mid"), layout)
    assert joints[8:].tolist() == [2, 3]
    np.testing.assert_allclose(weights[8:], 0.5)


def test_truncation_counts_rig_joints_with_twist_and_folded_joints_without(rig):
    mesh = rig.mesh("mid")
    expanded, folded = joint_layout(rig, twist=True), joint_layout(rig, twist=False)
    assert len(expanded.joint_names) == 110 and len(folded.joint_names) == 78
    for layout in (expanded, folded):
        offsets, joints, weights = top_influences(mesh, layout)
        counts = np.diff(offsets)
        assert counts.min() >= 1 and counts.max() == 8
        np.testing.assert_allclose(np.add.reduceat(weights, offsets[:-1]), 1.0, atol=1e-12)
        assert joints.max() < len(layout.joint_names)


def test_an_auxiliary_joint_with_weights_follows_its_helper_or_parent(rig, random_poses):
    # v0026 rigs have twelve joints that are neither public nor helpers.
    skeleton, mesh = rig.skeleton, rig.mesh("xlo")
    host = skeleton.index("LeftArmTwist2")
    count = skeleton.joint_count
    offset = np.eye(4)
    offset[:3, 3] = [0.3, 0.1, -0.2]
    grown = Skeleton(
        (*skeleton.joint_names, "Sleeve"),
        np.append(skeleton.parent_indices, host),
        np.concatenate([skeleton.bind_T_world_joint, skeleton.bind_T_world_joint[host, None] @ offset]),
        np.concatenate([skeleton.rest_T_world_joint, skeleton.rest_T_world_joint[host, None] @ offset]),
    )
    sewn = dataclasses.replace(mesh, joint_indices=np.where(mesh.joint_indices == host, count, mesh.joint_indices))
    assert (sewn.joint_indices == count).any()
    grown_rig = dataclasses.replace(rig, skeleton=grown, meshes={**rig.meshes, "xlo": sewn})
    rotvecs, matrices, transl = random_poses(1, seed=8)
    results = []
    for each in (rig, grown_rig):
        body = SomaBody(each, lod="xlo")
        results.append(body.pose(body.prepare(), rotvecs, transl).vertices.numpy())
    np.testing.assert_array_equal(*results)
    np.testing.assert_allclose(results[1][0], oracle.posed(grown_rig, "xlo", matrices[0], transl[0])[0], atol=5e-6)


def test_rigs_that_cannot_be_posed_are_refused():
    mesh = mesh_of([[0]], [[1.0]])
    with pytest.raises(RigMismatch, match="no twist table"):
        joint_layout(chain_rig(["root", "a"], [-1, 0], ["root", "a"], mesh), twist=True)
    with pytest.raises(RigMismatch, match="'a' must be the root"):
        joint_layout(chain_rig(["root", "a"], [-1, 0], ["a", "root"], mesh), twist=False)
    with pytest.raises(RigMismatch, match="only joint below it"):
        joint_layout(chain_rig(["root", "a", "b"], [-1, 0, 0], ["root", "a", "b"], mesh), twist=False)
    with pytest.raises(RigMismatch, match="'b' precedes its parent 'c'"):
        joint_layout(chain_rig(["root", "a", "c", "b"], [-1, 0, 1, 2], ["root", "a", "b", "c"], mesh), twist=False)
    with pytest.raises(RigMismatch, match="'root' has no public joint above it"):
        joint_layout(chain_rig(["root", "a", "b"], [-1, 0, 1], ["a", "b"], mesh), twist=False)
    bare = chain_rig(["root", "a"], [-1, 0], ["root", "a"], mesh_of([[0], [1]], [[1.0], [0.0]]))
    with pytest.raises(RigMismatch, match="vertex 1 has no skin weight"):
        top_influences(bare.mesh("mid"), joint_layout(bare, twist=False))
