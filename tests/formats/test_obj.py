"""OBJ meshes: file order kept, every corner form, faults named by line."""

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.obj import parse_obj

pytestmark = pytest.mark.py312


def parse(text: str):
    return parse_obj(SourceBytes.of(text.encode(), "mesh.obj"))


SQUARE = "# c\nmtllib a.mtl\nv 0 0 0\nv 1 0 0\nv 1 1 0 1.0\nv 0 1 0\r\nv 0 0 1\n"


def test_points_stay_in_file_order_and_quads_are_fans_from_the_first_corner():
    mesh = parse(SQUARE + "vt 0 0\nvt 1 0 0\ns off\nusemtl x\nf 1/1 2/2 3/1 4/2\nf 1/1/3 2/2/3 5/1/3\n")
    np.testing.assert_array_equal(mesh.points, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_array_equal(mesh.face_vertex_counts, [4, 3])
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 2, 3], [0, 1, 4]])
    np.testing.assert_array_equal(mesh.uv_indices, [0, 1, 0, 1, 0, 1, 0])
    assert mesh.uv_points.shape == (2, 2)


@pytest.mark.parametrize("corner", ["{}", "{}/", "{}//1", "{}/1/1"])
def test_every_form_of_a_corner_gives_the_same_face(corner):
    faces = " ".join(corner.format(index) for index in (1, 3, 4))
    mesh = parse(SQUARE + "vt 0 0\nf " + faces)
    np.testing.assert_array_equal(mesh.face_vertex_indices, [0, 2, 3])
    assert (mesh.uv_indices is not None) == (corner == "{}/1/1")


def test_negative_indices_count_back_from_where_they_stand():
    mesh = parse("v 0 0 0\nv 1 0 0\nv 0 1 0\nf -3 -2 -1\nv 5 5 5\nf -4 -1 -2\n")
    np.testing.assert_array_equal(mesh.triangles, [[0, 1, 2], [0, 3, 2]])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("f 1 2 3\n", "no points"),
        (SQUARE + "f 1 2 9\n", "outside the 5 point"),
        (SQUARE + "f 1 2 -9\n", "outside the 5 point"),
        (SQUARE + "f 1 2 0\n", "line 8.*index 0"),
        (SQUARE + "f 1 2\n", "line 8.*2 corners"),
        (SQUARE + "f " + "1 " * 65 + "\n", "65 corners"),
        (SQUARE + "f 1/1 2/1 3/1\n", "outside the 0 vt"),
        (SQUARE + "f 1 2 x\n", "line 8"),
        (SQUARE + "f 1 2 99999999999\n", "ten digits"),
        ("v 0 0\n", "3 finite numbers"),
        ("v 0 0 nan\n", "3 finite numbers"),
        ("v 0 0 1e999\n", "3 finite numbers"),
        ("v 0 0 __import__('os')\n", "3 numbers"),
        ("v 0 0 0\nv 0 0\n", "3 (finite )?numbers"),
        ("v 0 0 " + "1" * 40 + "\n", "32 characters"),
    ],
)
def test_faults_are_refused(text, reason):
    with pytest.raises(InputRejected, match=reason):
        parse(text)


def test_mutants_are_read_or_refused():
    whole = bytearray((SQUARE + "vt 0 0\nf 1/1 2/1 3/1 4/1\nf -1 1 2\n").encode())
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(2000):
        changed = bytearray(whole)
        for _ in range(random.integers(1, 4)):
            changed[random.integers(len(changed))] = random.integers(256)
        try:
            parse_obj(SourceBytes.of(bytes(changed), "mesh.obj"))
        except InputRejected:
            refused += 1
    assert refused > 200
