import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.settings import HINGES, InversionSettings
from soma_isaac.inversion.weights import limb_weights
from soma_isaac.math.so3 import geodesic_angle, rotvec_from_matrix
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES

FREE = InversionSettings(hinge=0.0)


def joint(name):
    return POSE_JOINT_NAMES.index(name)


def degrees(inversion, result, rotations):
    """Rotation errors [B, S] of the joints that are solved for."""
    angles = np.degrees(geodesic_angle(result.rotations, rotations))
    return angles[:, inversion.solved_joints - 1]


def vary(body, count, seed=0):
    """Bodies of other proportions: bones and skin scaled along smooth random directions."""
    rng = np.random.default_rng(seed)
    bind = np.repeat(body.layout.bind_T_world_joint[None, : body.layout.public_count], count, axis=0)
    scales = rng.uniform(0.85, 1.2, size=(count, 1, 3))
    points = body.rig.mesh(body.lod).points[None] * scales
    bind[..., :3, 3] *= scales
    return points, bind


def test_own_meshes_come_back(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(12)
    result = inversion.fit(posed(rotations, translation), prepared)
    assert result.per_vertex_error.mean() < 2e-6
    assert result.per_vertex_error.max() < 2e-5
    assert degrees(inversion, result, rotations).mean() < 0.05
    np.testing.assert_allclose(result.root_translation, translation, atol=1e-5)


def test_closed_form_alone_is_near(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(6)
    result = inversion.fit(posed(rotations, translation), prepared, InversionSettings(steps=0))
    assert result.per_vertex_error.mean() < 1e-4
    assert (result.steps == 0).all()


def test_poses_beyond_anatomy_come_back_without_hinges(inversion, prepared, posed):
    rng = np.random.default_rng(4)
    rotations = Rotation.from_rotvec(rng.normal(scale=0.5, size=(10 * 77, 3))).as_matrix().reshape(10, 77, 3, 3)
    result = inversion.fit(posed(rotations, np.zeros((10, 3))), prepared, InversionSettings(hinge=0.0, steps=20))
    assert result.per_vertex_error.mean() < 2e-5
    assert np.median(degrees(inversion, result, rotations)) < 0.05


def test_absolute_rotations_pose_the_same_body(inversion, low_body, prepared, human_poses, posed):
    rotations, translation = human_poses(3)
    vertices = posed(rotations, translation)
    result = inversion.fit(vertices, prepared)
    again = low_body.pose(prepared.identity, result.absolute_rotations, result.root_translation, absolute=True)
    np.testing.assert_allclose(again.vertices.numpy(), vertices, atol=2e-5)


def test_error_is_that_of_the_twist_rig(inversion, low_body, prepared, human_poses, posed):
    rotations, translation = human_poses(3)
    vertices = posed(rotations, translation) + np.float32(0.01)
    result = inversion.fit(vertices, prepared, InversionSettings(steps=1))
    again = low_body.pose(prepared.identity, result.rotations, result.root_translation).vertices.numpy()
    np.testing.assert_allclose(result.per_vertex_error, np.linalg.norm(again - vertices, axis=2), atol=1e-6)


def test_moving_the_mesh_moves_the_root_only(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(4)
    vertices = posed(rotations, translation) + 0.003 * np.random.default_rng(0).normal(size=(4, 4505, 3))
    turn = Rotation.from_rotvec([0.5, -1.2, 2.0]).as_matrix()
    shift = np.array([3.0, -2.0, 5.0])
    first = inversion.fit(vertices, prepared)
    second = inversion.fit(vertices @ turn.T + shift, prepared)
    np.testing.assert_allclose(second.root_translation, first.root_translation @ turn.T + shift, atol=2e-5)
    np.testing.assert_allclose(second.rotations[:, 0], turn @ first.rotations[:, 0], atol=2e-5)
    difference = np.degrees(geodesic_angle(second.rotations, first.rotations))[:, 1:]
    assert np.quantile(difference, 0.99) < 0.02 and difference.max() < 0.5


def test_batch_is_the_same_as_single_frames(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(3)
    vertices = posed(rotations, translation)
    together = inversion.fit(vertices, prepared)
    alone = [inversion.fit(vertices[row : row + 1], prepared) for row in range(3)]
    # The closed form is a product of matrices, whose rounding depends on their size; steps stop at 1e-5 rad.
    np.testing.assert_allclose(np.concatenate([one.rotations for one in alone]), together.rotations, atol=1e-5)
    errors = np.concatenate([one.per_vertex_error for one in alone])
    np.testing.assert_allclose(errors, together.per_vertex_error, atol=1e-6)


def test_threads_do_not_matter(rig, prepared, inversion, human_poses, posed):
    rotations, translation = human_poses(5)
    vertices = posed(rotations, translation)
    body = SomaBody(rig, lod="low", threads=3)
    parallel = PoseInversion(body)
    result = parallel.fit(vertices, parallel.prepare(body.prepare()))
    np.testing.assert_allclose(result.rotations, inversion.fit(vertices, prepared).rotations, atol=1e-12)


def test_no_frames(inversion, prepared):
    result = inversion.fit(np.zeros((0, 4505, 3)), prepared)
    assert result.rotations.shape == (0, 77, 3, 3)
    assert result.per_vertex_error.shape == (0, 4505)


def test_bodies_of_a_batch_are_their_own(inversion, low_body, human_poses):
    points, bind = vary(low_body, 3)
    rotations, translation = human_poses(3)
    identity = low_body.prepare(points, bind)
    vertices = low_body.pose(identity, rotations, translation).vertices.numpy().copy()
    result = inversion.fit(vertices, inversion.prepare(identity))
    assert result.per_vertex_error.max() < 5e-5
    one = low_body.prepare(points[1:2], bind[1:2])
    alone = inversion.fit(vertices[1:2], inversion.prepare(one))
    np.testing.assert_allclose(result.rotations[1], alone.rotations[0], atol=1e-6)


def test_scaled_bones(inversion, low_body, human_poses):
    scales = np.ones((1, 78))
    scales[0, low_body.layout.joint_names.index("LeftForeArm")] = 1.3
    scales[0, low_body.layout.joint_names.index("RightShin")] = 0.8
    identity = low_body.prepare(joint_scales=scales)
    rotations, translation = human_poses(3)
    vertices = low_body.pose(identity, rotations, translation).vertices.numpy().copy()
    result = inversion.fit(vertices, inversion.prepare(identity))
    assert result.per_vertex_error.max() < 5e-5


def test_units_are_the_identitys(inversion, low_body, human_poses):
    identity = low_body.prepare(unit=100.0)
    rotations, translation = human_poses(3)
    vertices = low_body.pose(identity, rotations, translation * 100.0).vertices.numpy().copy()
    result = inversion.fit(vertices, inversion.prepare(identity))
    assert result.per_vertex_error.max() < 5e-3  # cm
    assert degrees(inversion, result, rotations).mean() < 0.05


def test_without_helpers(rig, human_poses):
    body = SomaBody(rig, lod="low", twist=False, threads=1)
    folded = PoseInversion(body)
    rotations, translation = human_poses(4)
    identity = body.prepare()
    vertices = body.pose(identity, rotations, translation).vertices.numpy().copy()
    result = folded.fit(vertices, folded.prepare(identity))
    assert result.per_vertex_error.max() < 2e-5
    assert degrees(folded, result, rotations).mean() < 0.01


def test_old_twist_anchor(rig, human_poses):
    body = SomaBody(rig, lod="low", twist_anchor="rest", threads=1)
    anchored = PoseInversion(body)
    rotations, translation = human_poses(4)
    identity = body.prepare()
    vertices = body.pose(identity, rotations, translation).vertices.numpy().copy()
    assert anchored.fit(vertices, anchored.prepare(identity)).per_vertex_error.max() < 2e-5


def test_mid_meshes_fit_a_low_body(rig, inversion, prepared, human_poses):
    body = SomaBody(rig, threads=1)
    rotations, translation = human_poses(2)
    vertices = body.pose(body.prepare(), rotations, translation).vertices
    result = inversion.fit(vertices.numpy(), prepared)
    assert result.per_vertex_error.shape == (2, 4505)
    assert result.per_vertex_error.max() < 2e-5
    np.testing.assert_array_equal(inversion.fit(vertices, prepared).rotations, result.rotations)


def test_coarsest_mesh(rig, human_poses):
    body = SomaBody(rig, lod="xlo", threads=1)
    coarse = PoseInversion(body)
    rotations, translation = human_poses(4)
    vertices = body.pose(body.prepare(), rotations, translation).vertices.numpy().copy()
    assert coarse.fit(vertices, coarse.prepare(body.prepare())).per_vertex_error.mean() < 1e-4


def test_other_topologies(rig, low_body, prepared, human_poses, posed):
    """A mesh with every vertex turned into the centre of one of its triangles carries the low mesh."""
    mesh = rig.mesh("low")
    order = np.random.default_rng(0).permutation(4505)
    inverse = np.argsort(order)
    transfer = TopologyTransfer(mesh.points[order], inverse[mesh.triangles], mesh.points)
    other = PoseInversion(low_body, transfer)
    rotations, translation = human_poses(2)
    vertices = posed(rotations, translation)[:, order]
    shuffled = np.concatenate([vertices, vertices[:, :0]], axis=1)
    result = other.fit(shuffled, other.prepare(prepared.identity))
    # The number of vertices is SOMA's own here, so that it is read as SOMA's mesh; only another number tells.
    assert result.per_vertex_error.mean() > 0.1
    extended = TopologyTransfer(
        np.concatenate([mesh.points[order], [[9.0, 9.0, 9.0]]]), inverse[mesh.triangles], mesh.points
    )
    other = PoseInversion(low_body, extended)
    padded = np.concatenate([vertices, np.full((2, 1, 3), 9.0)], axis=1)
    result = other.fit(padded, other.prepare(prepared.identity))
    assert result.per_vertex_error.max() < 5e-5
    with pytest.raises(InputRejected, match="leads to"):
        PoseInversion(low_body, extended.rows(np.arange(7)))


def test_noise_is_averaged(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(6)
    noisy = posed(rotations, translation) + np.random.default_rng(1).normal(scale=0.003, size=(6, 4505, 3))
    result = inversion.fit(noisy, prepared)
    truth = posed(result.rotations, result.root_translation) - posed(rotations, translation)
    assert np.linalg.norm(truth, axis=2).mean() < 0.0006
    np.testing.assert_allclose(np.sqrt(np.mean(result.per_vertex_error**2)), 0.003 * np.sqrt(3.0), rtol=0.03)


@pytest.mark.parametrize("same", [True, False], ids=["same vertices", "other vertices"])
def test_missing_parts(inversion, low_body, prepared, human_poses, posed, same):
    rotations, translation = human_poses(4)
    vertices = posed(rotations, translation)
    arm = limb_weights(low_body, {"LeftHand": 0.0}) == 0.0
    foot = limb_weights(low_body, {"RightFoot": 0.0}) == 0.0
    torn = vertices.copy()
    torn[:, arm] = np.nan
    if not same:
        torn[2:] = vertices[2:]
        torn[2:, foot, 1] = np.inf
    result = inversion.fit(torn, prepared)
    seen = np.isfinite(torn).all(axis=2)
    assert np.isnan(result.per_vertex_error[~seen]).all()
    assert np.nanmax(result.per_vertex_error) < 1e-4
    assert np.isfinite(result.rotations).all()
    others = [name for name in ("Head", "LeftArm", "RightHand", "LeftFoot", "Spine1") if name != "LeftHand"]
    angles = np.degrees(geodesic_angle(result.rotations, rotations))
    assert max(angles[:, joint(name)].mean() for name in others) < 0.2


def test_outliers_lose_their_say(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(4)
    vertices = posed(rotations, translation)
    rng = np.random.default_rng(2)
    bad = rng.random((4, 4505)) < 0.1
    vertices[bad] += rng.normal(scale=0.15, size=(bad.sum(), 3)).astype(np.float32)
    plain = inversion.fit(vertices, prepared)
    robust = inversion.fit(vertices, prepared, InversionSettings(robust=0.005))
    assert robust.per_vertex_error[~bad].mean() < 0.0005
    assert robust.per_vertex_error[~bad].mean() < 0.1 * plain.per_vertex_error[~bad].mean()
    assert robust.per_vertex_error[bad].mean() > 0.1  # reported as they are
    assert robust.vertex_weights[bad].mean() < 0.1 < 0.9 < robust.vertex_weights[~bad].mean()


def test_limb_weights_shift_the_error(low_body, inversion, human_poses, posed):
    """A mesh of somebody else cannot be matched everywhere; the weight decides where."""
    points, bind = vary(low_body, 1, seed=3)
    rotations, translation = human_poses(4)
    vertices = posed(rotations, translation, low_body.prepare(points, bind))
    hands = limb_weights(low_body, {"hands": 0.0}) == 0.0
    identity = low_body.prepare()
    errors = [
        inversion.fit(vertices, inversion.prepare(identity, weights)).per_vertex_error[:, hands].mean()
        for weights in (None, limb_weights(low_body, {"hands": 30.0}))
    ]
    assert errors[1] < 0.7 * errors[0]
    with pytest.raises(InputRejected, match="no limb or joint 'tail'"):
        limb_weights(low_body, {"tail": 2.0})


def test_hard_hinges(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(4)
    turned = rotations.copy()
    turned[:, joint("LeftForeArm")] = Rotation.from_rotvec([0.2, -1.0, 0.1]).as_matrix()
    result = inversion.fit(posed(turned, translation), prepared, InversionSettings(hinge=np.inf, steps=10))
    for name, axis in HINGES.items():
        vectors = rotvec_from_matrix(result.rotations[:, joint(name)])
        np.testing.assert_allclose(np.cross(vectors, axis), 0.0, atol=1e-7)
    assert 1e-4 < result.per_vertex_error.mean() < 0.01
    fitting = inversion.fit(posed(rotations, translation), prepared, InversionSettings(hinge=np.inf))
    assert fitting.per_vertex_error.max() < 1e-4


def test_prior_holds_back(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(3)
    vertices = posed(rotations, translation)
    spread = [
        np.linalg.norm(rotvec_from_matrix(inversion.fit(vertices, prepared, settings).rotations[:, 1:]), axis=2).mean()
        for settings in (FREE, InversionSettings(hinge=0.0, prior=1e-4), InversionSettings(hinge=0.0, prior=1.0))
    ]
    assert spread[0] > spread[1] > spread[2]
    held = inversion.fit(vertices, prepared, InversionSettings(prior=1e-2, prior_pose=rotations[0]))
    assert degrees(inversion, held, rotations[:1])[0].mean() < 0.1


def test_smoothness_calms_noise(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(1)
    frames = 12
    clean = np.repeat(rotations, frames, axis=0)
    noisy = posed(clean, np.repeat(translation, frames, axis=0))
    noisy += np.random.default_rng(0).normal(scale=0.002, size=noisy.shape).astype(np.float32)
    jitter = []
    for smoothness in (0.0, 1e-7):
        result = inversion.fit(noisy, prepared, InversionSettings(smoothness=smoothness))
        steps = np.degrees(geodesic_angle(result.rotations[1:], result.rotations[:-1]))
        jitter.append(steps[:, inversion.solved_joints[1:] - 1].mean())
    assert jitter[1] < 0.5 * jitter[0]


def test_smoothness_bridges_gaps(inversion, low_body, prepared, human_poses, posed):
    """A hand that bends evenly is not seen for eight frames."""
    rotations, translation = human_poses(1)
    frames = 20
    clip = np.repeat(rotations, frames, axis=0)
    hand = joint("RightHand")
    angles = np.linspace(-0.5, 0.5, frames)[:, None]
    clip[:, hand] = Rotation.from_rotvec(angles * [0.0, 0.0, 1.0]).as_matrix()
    vertices = posed(clip, np.repeat(translation, frames, axis=0))
    unseen = limb_weights(low_body, {"RightForeArm": 0.0}) == 0.0
    vertices[6:14, unseen] = np.nan
    plain, smooth = (
        np.degrees(geodesic_angle(inversion.fit(vertices, prepared, settings).rotations, clip))[6:14, hand]
        for settings in (InversionSettings(), InversionSettings(smoothness=1e-7))
    )
    assert plain.max() > 5.0
    assert smooth.max() < 1.0


def test_warm_start(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(3)
    vertices = posed(rotations, translation)
    result = inversion.fit(vertices, prepared, InversionSettings(steps=1), initial=rotations)
    assert result.per_vertex_error.max() < 1e-5
    with pytest.raises(InputRejected, match="not a rotation"):
        inversion.fit(vertices, prepared, initial=2.0 * rotations)


def test_joints_without_skin_keep_their_zero_pose(inversion, prepared, human_poses, posed):
    rotations, translation = human_poses(1)
    result = inversion.fit(posed(rotations, translation), prepared)
    for name in ("HeadEnd", "LeftEye", "RightHandIndexEnd", "LeftToeEnd"):
        np.testing.assert_allclose(result.rotations[0, joint(name)], np.eye(3), atol=1e-9)


def test_what_does_not_fit_is_refused(inversion, prepared, low_body, rig):
    with pytest.raises(InputRejected, match=r"expected \(B, 4505 or 18056, 3\)"):
        inversion.fit(np.zeros((1, 77, 3)), prepared)
    with pytest.raises(InputRejected, match="vec3"):
        inversion.fit(wp.zeros((1, 4505), dtype=wp.float32), prepared)
    with pytest.raises(InputRejected, match="frame 1 has no vertex"):
        inversion.fit(np.stack([prepared.identity.rest_points[0], np.full((4505, 3), np.nan)]), prepared)
    with pytest.raises(InputRejected, match="LOD xlo"):
        inversion.prepare(SomaBody(rig, lod="xlo", threads=1).prepare())
    with pytest.raises(InputRejected, match="vertex_weights"):
        inversion.prepare(low_body.prepare(), np.ones(7))
    with pytest.raises(InputRejected, match="without vertices"):
        inversion.prepare(low_body.prepare(), np.zeros(4505))
    pair = inversion.prepare(low_body.prepare(), np.ones((2, 4505)))
    with pytest.raises(InputRejected, match="3 frames do not fit 2"):
        inversion.fit(np.zeros((3, 4505, 3)), pair)
    for wrong in ({"steps": -1}, {"prior": np.nan}, {"robust": 0.0}):
        with pytest.raises(InputRejected):
            InversionSettings(**wrong)
    with pytest.raises(InputRejected, match="no joint of a pose"):
        inversion.fit(np.zeros((1, 4505, 3)), prepared, InversionSettings(hinges={"Elbow": (0, 1, 0)}))
