"""Shapes carried from one mesh to another."""

import numpy as np
import pytest

from soma_isaac.body.topology import TRANSFER_MODES, TopologyTransfer
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.rig.mesh import closest_surface_points, vertex_normals

TURN = matrix_from_rotvec(np.array([0.7, 0.2, -1.9]))
SHIFT = np.array([0.3, 2.0, -1.0])


@pytest.fixture(scope="module")
def source(rig):
    return rig.mesh("low")


@pytest.fixture(scope="module")
def targets(rig):
    """The xlo vertices, which lie on the low surface, moved off it to both sides."""
    mesh = rig.mesh("xlo")
    offsets = np.random.default_rng(0).uniform(-0.008, 0.008, size=(mesh.vertex_count, 1))
    return mesh.points + offsets * vertex_normals(mesh.points, mesh.triangles)


@pytest.fixture(scope="module", params=TRANSFER_MODES)
def transfer(request, source, targets):
    return TopologyTransfer(source.points, source.triangles, targets, mode=request.param)


@pytest.fixture(scope="module")
def square():
    """A folded sheet: two triangles that share the edge x = 0, roof-shaped."""
    points = np.array([[0.0, 0, 0], [0, 1, 0], [1, 0, -0.5], [-1, 0, -0.5]])
    return points, np.array([[0, 2, 1], [0, 1, 3]])


def test_the_source_itself_gives_the_targets(source, targets, transfer):
    np.testing.assert_allclose(transfer.apply(source.points[None])[0], targets, atol=5e-7)


def test_targets_ride_on_their_closest_triangles(source, targets, transfer):
    foot = closest_surface_points(targets, source.points, source.triangles)
    distance = np.linalg.norm(foot - targets, axis=1)
    # The plane of its triangle is at least as near to a target as the surface is.
    corners = source.points[transfer.corners]
    on_surface = corners[:, 0] + np.einsum("na,nax->nx", transfer.coordinates[:, :2], corners[:, 1:] - corners[:, :1])
    height = np.linalg.norm(targets - on_surface, axis=1)
    assert distance.max() > 5e-3
    assert (height < distance + 1e-6).all()
    inside = (transfer.coordinates[:, :2].min(axis=1) > 0) & (transfer.coordinates[:, :2].sum(axis=1) < 1)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(height[inside], distance[inside], atol=1e-6)


def test_rigid_motions_carry_the_result_along(source, targets, transfer):
    moved = transfer.apply((source.points @ TURN.T + SHIFT)[None])[0]
    np.testing.assert_allclose(moved, targets @ TURN.T + SHIFT, atol=3e-6)


def test_only_the_edge_mode_follows_a_change_of_unit(source, targets):
    errors = {}
    for mode in TRANSFER_MODES:
        scaled = TopologyTransfer(source.points, source.triangles, targets, mode=mode).apply(
            source.points[None] * 100.0
        )
        errors[mode] = np.linalg.norm(scaled[0] / 100.0 - targets, axis=1).max()
    assert errors["edge"] < 2e-6 and errors["area"] > 0.1


def test_affine_maps_within_the_surface_are_exact(square):
    points, triangles = square
    targets = np.array([[0.2, 0.3, -0.1], [-0.4, 0.1, -0.2]])
    transfer = TopologyTransfer(points, triangles, targets, mode="edge")
    assert np.abs(transfer.coordinates[:, 2]).max() < 1e-12
    matrix = np.array([[1.0, 0.4, 0], [0.2, 2.0, 0.1], [0, -0.3, 0.6]])
    np.testing.assert_allclose(transfer.apply((points @ matrix.T)[None])[0], targets @ matrix.T, atol=1e-6)


def test_barycentric_coordinates_are_those_of_the_tetrahedron(source, targets, transfer):
    corners = source.points[transfer.corners]
    a, b, c = np.moveaxis(corners, 1, 0)
    normal = np.cross(b - a, c - a)
    if transfer.mode == "edge":
        edges = np.mean([np.linalg.norm(side, axis=1) for side in (b - a, c - b, a - c)], axis=0)
        normal *= (edges / np.linalg.norm(normal, axis=1))[:, None]
    found = np.einsum("nk,nkx->nx", transfer.barycentric, np.stack([a, b, c, a + normal], axis=1))
    np.testing.assert_allclose(found, targets, atol=1e-9)


def test_ties_do_not_hang_on_rounding(square):
    points, triangles = square
    rng = np.random.default_rng(0)
    # Above the ridge both triangles are equally near; the one that faces the target more is taken, else the first.
    for target, expected in (
        (np.array([0.0, 0.4, 0.5]), 0),
        (np.array([0.1, 0.4, 0.5]), 0),
        (np.array([-0.1, 0.4, 0.5]), 1),
    ):
        for _ in range(20):
            noise = rng.normal(size=(3,)) * 1e-9
            assert TopologyTransfer(points, triangles, (target + noise)[None]).faces.tolist() == [expected]


def test_closest_triangles_of_a_body_agree_with_brute_force(source, targets):
    transfer = TopologyTransfer(source.points, source.triangles, targets)
    corners = source.points[source.triangles]
    for row in range(0, len(targets), 61):
        near = np.flatnonzero(np.linalg.norm(corners.mean(axis=1) - targets[row], axis=1) < 0.15)
        distance = np.array([_distance(targets[row], *corners[face]) for face in near])
        assert distance[near == transfer.faces[row]] < distance.min() + 1e-7


def _distance(point, a, b, c):
    """Distance to a triangle by least squares within it and clamping on its edges, written apart from the product."""
    best = min(
        np.linalg.norm(point - (u + np.clip((point - u) @ (v - u) / ((v - u) @ (v - u)), 0, 1) * (v - u)))
        for u, v in ((a, b), (b, c), (c, a))
    )
    share = np.linalg.lstsq(np.stack([b - a, c - a], axis=1), point - a, rcond=None)[0]
    if share.min() >= 0 and share.sum() <= 1:
        best = min(best, np.linalg.norm(point - a - share @ np.stack([b - a, c - a])))
    return best


def test_some_rows(source, targets, transfer):
    part = transfer.rows([5, 3, 99])
    whole = transfer.apply(source.points[None] * 1.2)
    np.testing.assert_array_equal(part.apply(source.points[None] * 1.2), whole[:, [5, 3, 99]])


def test_torch_agrees_and_has_gradients(source, targets, transfer):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    shapes = source.points * np.random.default_rng(1).uniform(0.9, 1.1, size=(2, 1, 3))
    found = transfer.apply_torch(torch.tensor(shapes)).numpy()
    np.testing.assert_allclose(found, transfer.apply(shapes), atol=1e-6)
    small = TopologyTransfer(np.eye(3), [[0, 1, 2]], [[0.3, 0.4, 0.5], [0.6, 0.1, 0.2]], mode=transfer.mode)
    assert torch.autograd.gradcheck(small.apply_torch, torch.eye(3, dtype=torch.float64)[None].requires_grad_())


def test_wrong_input_is_refused(source, targets, transfer):
    with pytest.raises(InputRejected, match="no topology transfer 'volume'"):
        TopologyTransfer(source.points, source.triangles, targets, mode="volume")
    with pytest.raises(RigMismatch, match="do not index"):
        TopologyTransfer(source.points[:10], source.triangles, targets)
    with pytest.raises(InputRejected, match="not finite"):
        TopologyTransfer(source.points, source.triangles, np.full((1, 3), np.nan))
    with pytest.raises(InputRejected, match="no nearest triangle"):
        TopologyTransfer(np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]]), [[0, 1, 2]], np.ones((1, 3)))
    with pytest.raises(InputRejected, match=r"expected \(B, 4505, 3\)"):
        transfer.apply(targets[None])
