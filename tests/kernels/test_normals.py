"""Vertex normals against the oracle and against a sphere, whose normals are known."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial import ConvexHull

from soma_isaac.errors import InputRejected
from soma_isaac.kernels.normals import VertexTriangles, launch_normals
from tests.oracles.body import vertex_normals


def array(values, dtype):
    return wp.array(np.asarray(values, np.int32 if dtype is wp.int32 else np.float32), dtype=dtype, device="cpu")


def mesh_arrays(triangles, vertex_count):
    around = [np.flatnonzero((triangles == vertex).any(axis=1)) for vertex in range(vertex_count)]
    return VertexTriangles(
        triangles=array(triangles.reshape(-1, 3), wp.int32),
        offsets=array(np.cumsum([0, *map(len, around)]), wp.int32),
        incident=array(np.concatenate(around), wp.int32),
    )


def normals_of(triangles, vertices):
    batch, count = vertices.shape[:2]
    out = wp.full((batch, count), wp.vec3(*[np.inf] * 3), dtype=wp.vec3, device="cpu")
    launch_normals(
        mesh_arrays(triangles, count),
        vertices=array(vertices, wp.vec3),
        areas_out=wp.full((batch, len(triangles)), wp.vec3(*[np.inf] * 3), dtype=wp.vec3, device="cpu"),
        normals_out=out,
    )
    return out.numpy()


@pytest.fixture(scope="module")
def sphere():
    """A fine triangulated unit sphere, triangles turned outwards."""
    number = np.arange(2000)
    height, turn = 1.0 - (2.0 * number + 1.0) / 2000.0, number * np.pi * (3.0 - np.sqrt(5.0))
    radius = np.sqrt(1.0 - height**2)
    points = np.stack([radius * np.cos(turn), radius * np.sin(turn), height], axis=1)
    triangles = ConvexHull(points).simplices
    a, b, c = points[triangles].transpose(1, 0, 2)
    inward = np.einsum("ni,ni->n", np.cross(b - a, c - a), a) < 0.0
    triangles[inward] = triangles[inward][:, [0, 2, 1]]
    return points, triangles


def test_normals_of_a_sphere_point_outwards(sphere):
    points, triangles = sphere
    normals = normals_of(triangles, points[None])[0]
    assert np.degrees(np.arccos(np.clip(np.sum(normals * points, axis=1), -1.0, 1.0))).max() < 2.0
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=1e-6)


def test_normals_agree_with_the_oracle_for_each_body(sphere):
    points, triangles = sphere
    bodies = np.stack([points, points * [1.0, 2.0, 0.5] + 0.3, -points])
    normals = normals_of(triangles, bodies)
    for body in range(3):
        np.testing.assert_allclose(normals[body], vertex_normals(bodies[body], triangles), atol=1e-4)


def test_vertices_without_area_have_zero_normals():
    points = np.array([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5], [2, 0, 0]]])
    triangles = np.array([[0, 1, 2], [0, 1, 4]])
    normals = normals_of(triangles, points)[0]
    np.testing.assert_array_equal(normals[:3], np.tile([0.0, 0.0, 1.0], (3, 1)))
    np.testing.assert_array_equal(normals[3:], 0.0)


def test_misfits_are_refused_by_name(sphere):
    points, triangles = sphere
    with pytest.raises(InputRejected, match="offsets"):
        launch_normals(
            mesh_arrays(triangles, len(points) - 1),
            vertices=array(points[None], wp.vec3),
            areas_out=wp.zeros((1, len(triangles)), dtype=wp.vec3, device="cpu"),
            normals_out=wp.zeros((1, len(points)), dtype=wp.vec3, device="cpu"),
        )
