import numpy as np
import pytest
from scipy.spatial import ConvexHull

from soma_isaac.errors import RigMismatch, SolveFailed
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.rig import template
from soma_isaac.rig.decimate import decimated_body, mirror_indices
from soma_isaac.rig.mesh import closed_genus
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, template_rest_offsets


def dense_weights(rig, mesh):
    dense = np.zeros((mesh.vertex_count, rig.skeleton.joint_count))
    np.add.at(dense, (np.arange(mesh.vertex_count)[:, None], mesh.joint_indices), mesh.joint_weights)
    return dense


def test_twist_table_has_the_published_entries():
    table = template.template_twist_table()
    assert len(table.segments) == 8 and len(table.joint_names) == 32
    assert len(table.rotation_entries) == 16 * 2 + 16 and len(table.translation_entries) == 64
    rotation = {(row, column): value for row, column, value in table.rotation_entries}
    assert rotation["LeftArmTwist1", "LeftArm"] == -0.95 and rotation["LeftArmTwist1", "LeftForeArm"] == 0.05
    assert ("RightShinTwist3", "RightShin") not in rotation and rotation["RightShinTwist3", "RightFoot"] == 0.6666667
    assert {s.start_joint: s.parent_joint for s in table.segments if s.reverse} == {
        "LeftArm": "LeftShoulder",
        "RightArm": "RightShoulder",
        "LeftLeg": "Hips",
        "RightLeg": "Hips",
    }


def test_helper_shares_are_a_partition_of_unity_that_reproduces_the_fraction():
    knots = np.array([0.0, 0.05, 1 / 3, 2 / 3, 0.95])
    fractions = np.linspace(-0.5, 1.5, 401)
    shares = template.helper_shares(fractions, knots)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-12)
    assert shares.min() >= 0.0 and (shares > 0.0).sum(axis=1).max() == 2
    # Twist is linear in the fraction: hat functions reproduce it exactly between the outer knots.
    np.testing.assert_allclose(shares @ knots, np.clip(fractions, 0.0, 0.95), atol=1e-12)
    np.testing.assert_allclose(shares[np.searchsorted(fractions, 0.05)], [0, 1, 0, 0, 0], atol=1e-9)


def test_split_and_fold_are_inverse():
    rig = load_template_rig()
    random = np.random.default_rng(3)
    points = rig.mesh("mid").points[::40]
    weights = random.random((len(points), 78)) ** 8
    weights[:, 0] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    split = template.split_helper_weights(points, weights, rig.skeleton, rig.twist)
    np.testing.assert_allclose(split.sum(axis=1), 1.0, atol=1e-12)
    folded = template.fold_helper_weights(split, rig.skeleton, PUBLIC_JOINT_NAMES)
    # Units of 1e-7: each weight is rounded by half a unit, the largest takes what is missing to a whole.
    largest = weights.argmax(axis=1)[:, None] == np.arange(78)
    assert np.abs(folded - weights)[~largest].max() <= 0.51e-7
    assert np.abs(folded - weights).max() < 1e-6


def test_split_refuses_rows_that_do_not_sum_to_one():
    rig = load_template_rig()
    with pytest.raises(RigMismatch, match="vertex 1"):
        template.split_helper_weights(np.zeros((2, 3)), np.eye(78)[:2] * [[1.0], [0.9]], rig.skeleton, rig.twist)


def test_fold_refuses_weight_without_a_kept_ancestor():
    rig = load_template_rig()
    weights = np.zeros((1, 110))
    weights[0, 0] = 1.0
    with pytest.raises(RigMismatch, match="Root"):
        template.fold_helper_weights(weights, rig.skeleton, PUBLIC_JOINT_NAMES[1:])


@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
def test_shipped_weights_use_the_helpers(lod):
    rig = load_template_rig()
    mesh = rig.mesh(lod)
    dense = dense_weights(rig, mesh)
    np.testing.assert_allclose(dense.sum(axis=1), 1.0, atol=2e-7)
    position = rig.skeleton.bind_T_world_joint[:, :3, 3]
    for segment in rig.twist.segments:
        start, end = rig.skeleton.index(segment.start_joint), rig.skeleton.index(segment.end_joint)
        helpers = [rig.skeleton.index(name) for name in segment.twist_joints]
        assert (dense[:, helpers].sum(axis=0) > 0.0).all(), segment
        assert (dense[:, start].sum() == 0.0) == segment.reverse
        fractions = template.segment_fractions(mesh.points, position[start], position[end])
        owned = dense[:, helpers].sum(axis=1) > 0.5
        # The weights' mean position along the segment is the vertex's own, between the outer helpers.
        knots = np.array([*([] if segment.reverse else [0.0]), *template.HELPER_FRACTIONS])
        columns = helpers if segment.reverse else [start, *helpers]
        mean = dense[:, columns] @ knots / np.maximum(dense[:, columns].sum(axis=1), 1e-12)
        np.testing.assert_allclose(mean[owned], np.clip(fractions, knots[0], 0.95)[owned], atol=2e-6)


def test_helpers_stand_on_their_segments_with_the_start_joints_rotation():
    skeleton = load_template_rig().skeleton
    for pose in (skeleton.bind_T_world_joint, skeleton.rest_T_world_joint):
        for segment in load_template_rig().twist.segments:
            start, end = pose[skeleton.index(segment.start_joint)], pose[skeleton.index(segment.end_joint)]
            for name, fraction in zip(segment.twist_joints, template.HELPER_FRACTIONS, strict=True):
                helper = pose[skeleton.index(name)]
                expected = (1.0 - fraction) * start[:3, 3] + fraction * end[:3, 3]
                np.testing.assert_allclose(helper[:3, 3], expected, atol=2e-8)
                np.testing.assert_allclose(helper[:3, :3], start[:3, :3], atol=1e-10)


def test_skeleton_file_and_rig_file_agree():
    rest = load_template_rig().skeleton.rest_T_world_joint[:78, :3, 3]
    parents = load_template_rig().skeleton.parent_indices[:78]
    offsets = rest - np.where(parents[:, None] < 0, 0.0, rest[parents])
    np.testing.assert_allclose(template_rest_offsets(), offsets, atol=2e-9)


def test_t_pose_axes_are_somas():
    skeleton = load_template_rig().skeleton
    rotation = {name: skeleton.rest_T_world_joint[skeleton.index(name), :3, :3] for name in PUBLIC_JOINT_NAMES}
    np.testing.assert_allclose(rotation["Root"], np.eye(3), atol=1e-12)
    expected = {
        "Hips": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
        "LeftArm": [[1, 0, 0], [0, 0, 1], [0, -1, 0]],
        "RightArm": [[1, 0, 0], [0, 0, -1], [0, 1, 0]],
        "LeftLeg": [[0, -1, 0], [0, 0, -1], [1, 0, 0]],
        "RightShin": [[0, 1, 0], [0, 0, 1], [1, 0, 0]],
    }
    for name, columns in expected.items():
        np.testing.assert_allclose(rotation[name].T, columns, atol=0.02, err_msg=name)


def test_xlo_spends_its_vertices_as_soma_does_and_is_well_shaped():
    rig = load_template_rig()
    mesh = rig.mesh("xlo")
    dense = dense_weights(rig, mesh)
    for side in ("Left", "Right"):
        columns = [j for j, name in enumerate(rig.skeleton.joint_names) if name.startswith(f"{side}Hand")]
        assert 125 <= (dense[:, columns].sum(axis=1) > 0.5).sum() <= 143
    corners = mesh.points[mesh.triangles]
    edges = np.roll(corners, -1, axis=1) - corners
    area = np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
    quality = 2.0 * np.sqrt(3.0) * area / (edges**2).sum(axis=(1, 2))
    assert quality.min() > 0.1 and np.median(quality) > 0.6


def ellipsoid(count):
    golden = np.pi * (3.0 - np.sqrt(5.0))
    height = 1.0 - 2.0 * (np.arange(count) + 0.5) / count
    ring = np.sqrt(1.0 - height**2)
    half = np.stack(
        [np.abs(ring * np.cos(golden * np.arange(count))), height, ring * np.sin(golden * np.arange(count))], 1
    )
    half = half[half[:, 0] > 0.05]
    points = np.concatenate([half, half * [-1, 1, 1]])
    hull = ConvexHull(points)
    triangles = hull.simplices
    normal = np.cross(
        points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    )
    flipped = np.einsum("fi,fi->f", normal, points[triangles].mean(axis=1)) < 0.0
    triangles[flipped] = triangles[flipped][:, ::-1]
    return points * [0.2, 0.9, 0.15], triangles


def test_decimation_keeps_a_closed_symmetric_surface_with_the_asked_counts():
    points, triangles = ellipsoid(500)
    regions = (points[:, 1] > 0.3).astype(int)
    weights = np.stack([points[:, 1] + 1.0, 1.0 - points[:, 1]], axis=1) / 2.0
    result, faces, blended = decimated_body(points, triangles, weights, regions, (60, 40), np.ones(len(points)))
    assert len(result) == 100 and closed_genus(faces, 100) == 0
    assert (mirror_indices(result) >= 0).all()
    np.testing.assert_allclose(blended.sum(axis=1), 1.0, atol=1e-12)
    # Weights were linear in height; they still are, but for the distance that vertices moved off their edges.
    np.testing.assert_allclose(blended[:, 0], (result[:, 1] + 1.0) / 2.0, atol=0.05)
    radius = np.linalg.norm(result / [0.2, 0.9, 0.15], axis=1)
    assert radius.min() > 0.9 and radius.max() < 1.15


def test_decimation_says_when_it_cannot_go_on():
    points, triangles = ellipsoid(80)
    with pytest.raises(SolveFailed, match="wanted"):
        decimated_body(
            points, triangles, np.ones((len(points), 1)), np.zeros(len(points), int), (3,), np.ones(len(points))
        )
