"""Collision capsules: on the limbs, inside the person's outline, moving with the step."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.kernels.proxies import launch_drive_kinematic
from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary
from soma_isaac.sim.proxies import LIMBS, limb_capsules


def segment_distance(points, poses, half_heights):
    """Distance [N, K] of points to the axes of capsules given as position and quaternion (xyzw)."""
    axes = Rotation.from_quat(poses[:, 3:]).as_matrix()[:, :, 2]
    along = np.einsum("nkc,kc->nk", points[:, None] - poses[None, :, :3], axes)
    nearest = poses[None, :, :3] + np.clip(along, -half_heights, half_heights)[..., None] * axes
    return np.linalg.norm(points[:, None] - nearest, axis=-1)


@pytest.fixture(scope="module")
def capsules(body, identities):
    return limb_capsules(body, identities)


def test_capsules_cover_the_skin(body, identities, motions, capsules):
    stepper = BodyStepper(ClipLibrary(motions[:1]), [BodyGroup(body, identities)], proxies=True)
    stepper.step(0.05)
    posed = stepper.groups[0]
    for row in range(3):
        poses = posed.proxies.numpy()[row].astype(float)
        distance = segment_distance(posed.pose.vertices.numpy()[row], poses, capsules.half_heights[row])
        outside = (distance - capsules.radii[row]).min(axis=1)
        # Random rotations up to 90 degrees and more fold the skin; the body is still inside within centimetres.
        assert np.quantile(outside, 0.9) < 0.06 and np.median(np.abs(outside)) < 0.03


def test_capsules_are_rigid_on_their_joints(body, identities, motions, capsules):
    stepper = BodyStepper(ClipLibrary(motions[:1]), [BodyGroup(body, identities)], proxies=True)
    stepper.step(0.05)
    posed = stepper.groups[0]
    joints = posed.pose.transforms.numpy()[:, capsules.joints].astype(float)
    expected = np.einsum("ijab,ijb->ija", joints[..., :3, :3], capsules.offsets[..., :3]) + joints[..., :3, 3]
    np.testing.assert_allclose(posed.proxies.numpy()[..., :3], expected, atol=1e-6)
    turns = joints[..., :3, :3] @ Rotation.from_quat(capsules.offsets[..., 3:].reshape(-1, 4)).as_matrix().reshape(
        3, len(LIMBS), 3, 3
    )
    ours = Rotation.from_quat(posed.proxies.numpy()[..., 3:].reshape(-1, 4)).as_matrix().reshape(turns.shape)
    np.testing.assert_allclose(ours, turns, atol=1e-5)


def test_capsules_grow_with_the_person(capsules):
    for sizes in (capsules.radii, capsules.half_heights):
        np.testing.assert_allclose(sizes[1], 0.9 * sizes[0], rtol=1e-5, atol=1e-9)
        np.testing.assert_allclose(sizes[2], 1.1 * sizes[0], rtol=1e-5, atol=1e-9)


def test_limbs_have_human_sizes(capsules):
    radius = dict(zip(capsules.names, capsules.radii[0], strict=True))
    length = dict(zip(capsules.names, 2.0 * (capsules.half_heights[0] + capsules.radii[0]), strict=True))
    assert 0.03 < radius["LeftForeArm"] < 0.06 and 0.06 < radius["LeftThigh"] < 0.11
    assert 0.35 < length["LeftThigh"] < 0.55 and 0.2 < length["RightForeArm"] < 0.4
    for name in radius:
        if name.startswith("Left"):
            assert radius[name] == pytest.approx(radius["Right" + name[4:]], rel=0.05)


def test_kinematic_bodies_get_the_velocity_of_the_motion():
    rng = np.random.default_rng(3)
    count, dt = 4, 0.01
    bodies = np.array([[1, 3], [0, 2]], dtype=np.int32)
    before, turn = Rotation.random(count, random_state=5), Rotation.from_rotvec(rng.normal(scale=0.02, size=(count, 3)))
    start = np.concatenate([rng.normal(size=(count, 3)), before.as_quat()], axis=1).astype(np.float32)
    moved = rng.normal(scale=0.02, size=(count, 3))
    moved[2] = (5.0, 0.0, 0.0)  # put elsewhere: no velocity
    end = np.concatenate([start[:, :3] + moved, -(turn * before).as_quat()], axis=1)  # the other sign, the same turn
    body_q = wp.array(start, dtype=wp.transform, device="cpu")
    body_qd = wp.full(count, wp.spatial_vector(*[np.inf] * 6), dtype=wp.spatial_vector, device="cpu")
    joint_q, joint_qd = (wp.full(n * count, np.inf, dtype=wp.float32, device="cpu") for n in (7, 6))
    tables = {
        name: wp.array(table.astype(np.int32), dtype=wp.int32, device="cpu")
        for name, table in (("bodies", bodies), ("q_starts", 7 * bodies), ("qd_starts", 6 * bodies))
    }
    arrays = {"body_q_out": body_q, "body_qd_out": body_qd, "joint_q_out": joint_q, "joint_qd_out": joint_qd}
    poses = wp.array(end[bodies].astype(np.float32), dtype=wp.transform, device="cpu")
    launch_drive_kinematic(poses=poses, dt=dt, **tables, **arrays)
    expected = np.concatenate([moved, turn.as_rotvec()], axis=1) / dt
    expected[2] = 0.0
    np.testing.assert_allclose(body_q.numpy(), end, atol=1e-6)
    np.testing.assert_allclose(body_qd.numpy(), expected, atol=2e-4)
    np.testing.assert_array_equal(joint_q.numpy().reshape(-1, 7), body_q.numpy())
    np.testing.assert_array_equal(joint_qd.numpy().reshape(-1, 6), body_qd.numpy())
    launch_drive_kinematic(poses=poses, dt=0.0, **tables, **arrays)
    np.testing.assert_array_equal(body_qd.numpy(), 0.0)
