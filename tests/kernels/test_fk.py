"""Forward kinematics kernel against a float64 walk over a random tree."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.kernels.fk import launch_fk

JOINTS = 9


@pytest.fixture
def tree():
    """Parents, orientations and offsets of a random tree whose only child of the root is joint 1."""
    rng = np.random.default_rng(0)
    parents = np.array([-1, 0, *(int(rng.integers(1, joint)) for joint in range(2, JOINTS))])
    orientations = Rotation.random(JOINTS, random_state=1).as_matrix()
    return parents, orientations, rng.normal(size=(1, JOINTS, 3))


def array(values, dtype=wp.float32):
    return wp.array(np.asarray(values, np.int32 if dtype is wp.int32 else np.float32), dtype=dtype, device="cpu")


def outputs(batch):
    return {
        "turns_out": wp.full((batch, JOINTS), wp.mat33(*[np.inf] * 9), dtype=wp.mat33, device="cpu"),
        "transforms_out": wp.full((batch, JOINTS), wp.mat44(*[np.inf] * 16), dtype=wp.mat44, device="cpu"),
        "joints_out": wp.full((batch, JOINTS - 1), wp.vec3(*[np.inf] * 3), dtype=wp.vec3, device="cpu"),
    }


def run(tree, rotations, translations, batch, dtype=wp.vec3, offsets=None):
    parents, orientations, default_offsets = tree
    out = outputs(batch)
    launch_fk(
        parents=array(parents, wp.int32),
        orientations=array(orientations, wp.mat33),
        offsets=array(default_offsets if offsets is None else offsets, wp.vec3),
        rotations=array(rotations, dtype),
        translations=array(translations, wp.vec3),
        **out,
    )
    return {name: values.numpy() for name, values in out.items()}


def oracle(tree, rotations, translation, offsets):
    """``turn_j = turn_p R_j``, ``p_j = p_p + turn_p o_j``, ``W_j = [turn_j O_j, p_j]``."""
    parents, orientations, _ = tree
    turns, positions = [np.eye(3)], [np.zeros(3)]
    for joint in range(1, JOINTS):
        parent = parents[joint]
        turns.append(turns[parent] @ rotations[joint - 1])
        positions.append(translation if joint == 1 else positions[parent] + turns[parent] @ offsets[joint])
    transforms = np.tile(np.eye(4), (JOINTS, 1, 1))
    transforms[1:, :3, :3] = np.stack(turns)[1:] @ orientations[1:]
    transforms[1:, :3, 3] = np.stack(positions)[1:]
    return np.stack(turns), transforms, np.stack(positions)[1:]


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize("dtype", [wp.vec3, wp.mat33])
def test_agrees_with_a_float64_walk(tree, batch, dtype):
    rng = np.random.default_rng(batch)
    rotvecs = rng.normal(scale=1.5, size=(batch, JOINTS - 1, 3))
    matrices = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_matrix().reshape(batch, JOINTS - 1, 3, 3)
    translations = rng.normal(size=(batch, 3))
    out = run(tree, rotvecs if dtype is wp.vec3 else matrices, translations, batch, dtype)
    for body in range(batch):
        turns, transforms, joints = oracle(tree, matrices[body], translations[body], tree[2][0])
        np.testing.assert_allclose(out["turns_out"][body], turns, atol=3e-6)
        np.testing.assert_allclose(out["transforms_out"][body], transforms, atol=3e-6)
        np.testing.assert_allclose(out["joints_out"][body], joints, atol=3e-6)


def test_shared_rows_serve_the_whole_batch(tree):
    rng = np.random.default_rng(5)
    rotvecs, offsets = rng.normal(size=(1, JOINTS - 1, 3)), rng.normal(size=(3, JOINTS, 3))
    out = run(tree, rotvecs, np.zeros((1, 3)), 3, offsets=offsets)
    rotations = Rotation.from_rotvec(rotvecs[0]).as_matrix()
    for body in range(3):
        np.testing.assert_allclose(
            out["joints_out"][body], oracle(tree, rotations, np.zeros(3), offsets[body])[2], atol=3e-6
        )


@pytest.mark.parametrize("angle", [0.0, 1e-30, 1e-9, 1e-5, 9e-4, 1.1e-3, 0.1, np.pi - 1e-6, np.pi, 6.0, 40.0])
def test_rotation_vectors_of_every_size(tree, angle):
    axis = np.array([0.48, -0.6, 0.64])
    out = run(tree, np.tile(angle * axis, (1, JOINTS - 1, 1)), np.zeros((1, 3)), 1)
    expected = Rotation.from_rotvec(angle * axis).as_matrix()
    # float32 knows an angle of 40 rad to 2e-6.
    np.testing.assert_allclose(out["turns_out"][0, 1], expected, atol=2e-7 * max(angle, 1.0) + 1e-7)


def test_misfits_are_refused_by_name(tree):
    rotations, translations = np.zeros((2, JOINTS - 1, 3)), np.zeros((2, 3))
    with pytest.raises(InputRejected, match="rotations"):
        run(tree, rotations[:, 1:], translations, 2)
    with pytest.raises(InputRejected, match="rotations has 2 rows for a batch of 3"):
        run(tree, rotations, np.zeros((3, 3)), 3)
    with pytest.raises(InputRejected, match="translations has 2 rows"):
        run(tree, np.zeros((3, JOINTS - 1, 3)), translations, 3)
