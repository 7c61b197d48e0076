import numpy as np
import pytest

from soma_isaac.errors import RigMismatch
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.rig import lod
from soma_isaac.rig.mesh import closed_genus, closest_surface_points, fan_triangles, vertex_normals

# A triangular prism: two triangles, three quads, six vertices, nine edges.
PRISM_COUNTS = np.array([3, 3, 4, 4, 4])
PRISM = np.array([0, 2, 1, 3, 4, 5, 0, 1, 4, 3, 1, 2, 5, 4, 2, 0, 3, 5])


def prism_step():
    edges = sorted(
        {
            tuple(sorted((int(a), int(b))))
            for face in np.split(PRISM, np.cumsum(PRISM_COUNTS)[:-1])
            for a, b in zip(face, np.roll(face, -1), strict=True)
        }
    )
    points = {edge: 6 + number for number, edge in enumerate(edges)}
    return lod.catmull_clark_quads(PRISM_COUNTS, PRISM, 6, points), 6 + len(edges)


def test_unsubdivide_reverses_a_catmull_clark_step():
    quads, face_points = prism_step()
    random = np.random.default_rng(0)
    shuffled = lod.turned(quads, random.integers(0, 4, len(quads)))[random.permutation(len(quads))]
    counts, indices = lod.unsubdivide(shuffled, 6, face_points)
    assert counts.tolist() == PRISM_COUNTS.tolist()
    for mine, original in zip(
        np.split(indices, np.cumsum(counts)[:-1]), np.split(PRISM, np.cumsum(PRISM_COUNTS)[:-1]), strict=True
    ):
        assert mine.tolist() in [np.roll(original, turn).tolist() for turn in range(len(original))]


@pytest.mark.parametrize("damage", ["swap two corners", "drop a quad", "flip a quad", "foreign edge point"])
def test_unsubdivide_refuses_what_is_no_step(damage):
    quads, face_points = prism_step()
    if damage == "swap two corners":
        quads[3, [1, 3]] = quads[3, [3, 1]]
    elif damage == "drop a quad":
        quads = quads[:-1]
    elif damage == "flip a quad":
        quads[5] = quads[5, ::-1]
    else:
        quads[2, 0] = next(e for e in range(6, face_points) if e not in quads[2])
    with pytest.raises(RigMismatch):
        lod.unsubdivide(quads, 6, face_points)


def test_the_shipped_low_mesh_is_the_unsubdivided_mid_mesh():
    rig = load_template_rig()
    mid, low = rig.mesh("mid"), rig.mesh("low")
    counts, indices = lod.unsubdivide(mid.face_vertex_indices.reshape(-1, 4), 4505, 13532)
    assert np.bincount(counts).tolist() == [0, 0, 0, 42, 4482]
    assert counts.tolist() == low.face_vertex_counts.tolist()
    first = np.cumsum(counts) - counts
    for begin, count in zip(first.tolist(), counts.tolist(), strict=True):
        ours, shipped = indices[begin : begin + count].tolist(), low.face_vertex_indices[begin : begin + count].tolist()
        turn = shipped.index(ours[0])
        assert ours == shipped[turn:] + shipped[:turn]
    np.testing.assert_array_equal(low.points, mid.points[:4505])


@pytest.mark.parametrize("name", ["mid", "low", "xlo"])
def test_every_level_is_one_closed_surface(name):
    mesh = load_template_rig().mesh(name)
    assert closed_genus(mesh.triangles, mesh.vertex_count) == 0
    # Outward: the signed volume of a closed, outward oriented surface is positive (a person is 50 to 90 litres).
    a, b, c = (mesh.points[mesh.triangles[:, corner]] for corner in range(3))
    assert 0.05 < (np.cross(a, b) * c).sum() / 6.0 < 0.09


def test_fans_follow_given_diagonals():
    quads = np.array([[0, 1, 2, 3], [4, 5, 6, 7]])
    triangles = np.array([[0, 1, 3], [3, 1, 2], [5, 6, 4], [4, 6, 7]])
    turns = lod.turn_to_diagonals(quads, triangles)
    fans = fan_triangles(np.array([4, 4]), lod.turned(quads, turns).ravel())
    assert {frozenset(t) for t in fans.tolist()} == {frozenset(t) for t in triangles.tolist()}
    with pytest.raises(RigMismatch, match="quad 1"):
        lod.turn_to_diagonals(quads, np.array([[0, 1, 3], [3, 1, 2], [5, 6, 4], [4, 6, 5]]))


def test_fan_triangles_of_mixed_faces():
    fans = fan_triangles(np.array([3, 5, 4]), np.arange(12))
    assert fans.tolist() == [[0, 1, 2], [3, 4, 5], [3, 5, 6], [3, 6, 7], [8, 9, 10], [8, 10, 11]]
    with pytest.raises(RigMismatch, match="face 1 has 2"):
        fan_triangles(np.array([3, 2]), np.arange(5))


TETRAHEDRON = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def test_closed_genus_names_what_is_wrong():
    assert closed_genus(TETRAHEDRON, 4) == 0
    with pytest.raises(RigMismatch, match="border"):
        closed_genus(TETRAHEDRON[:3], 4)
    with pytest.raises(RigMismatch, match="twice"):
        closed_genus(np.concatenate([TETRAHEDRON[:3], TETRAHEDRON[3:, ::-1]]), 4)
    with pytest.raises(RigMismatch, match="several parts"):
        closed_genus(np.concatenate([TETRAHEDRON, TETRAHEDRON + 4]), 8)
    joined = np.concatenate([TETRAHEDRON, TETRAHEDRON + 4])
    with pytest.raises(RigMismatch, match="several fans"):
        closed_genus(np.where(joined > 4, joined - 1, np.minimum(joined, 3)), 7)


def test_normals_and_closest_points_of_a_cube_corner():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    normals = vertex_normals(points, TETRAHEDRON)
    np.testing.assert_allclose(normals[0], -np.ones(3) / np.sqrt(3))
    queries = np.array([[0.2, 0.2, -1.0], [-1.0, -1.0, -1.0], [2.0, -0.5, -0.5], [1.0, 1.0, 1.0]])
    expected = np.array([[0.2, 0.2, 0.0], [0, 0, 0], [1, 0, 0], [1 / 3, 1 / 3, 1 / 3]])
    np.testing.assert_allclose(closest_surface_points(queries, points, TETRAHEDRON), expected, atol=1e-12)


def test_closest_points_of_a_single_triangle():
    points = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    queries = np.array([[0.2, 0.3, 5.0], [-1.0, -1.0, 2.0], [0.5, -3.0, 0.0], [1.0, 1.0, -1.0]])
    expected = np.array([[0.2, 0.3, 0.0], [0, 0, 0], [0.5, 0, 0], [0.5, 0.5, 0]])
    triangle = np.array([[0, 1, 2]])
    np.testing.assert_allclose(closest_surface_points(queries, points, triangle), expected, atol=1e-12)
    np.testing.assert_allclose(closest_surface_points(queries[:1], points, triangle), expected[:1], atol=1e-12)
