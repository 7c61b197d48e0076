"""The kit-less renderer draws what is there, where it is."""

import numpy as np
import pytest

from soma_isaac.render import Camera, SceneMesh, render_scene
from soma_isaac.render.shapes import capsule_mesh


def _ball(centre, radius, rgb):
    vertices, triangles = capsule_mesh(np.asarray(centre, float), np.asarray(centre, float), radius)
    return SceneMesh(vertices, triangles, rgb)


def test_capsule_mesh_lies_on_the_capsule_and_faces_outward():
    start, end, radius = np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.1, 0.9]), 0.07
    vertices, triangles = capsule_mesh(start, end, radius)
    t = np.clip((vertices - start) @ (end - start) / np.sum((end - start) ** 2), 0, 1)
    distance = np.linalg.norm(vertices - (start + t[:, None] * (end - start)), axis=1)
    np.testing.assert_allclose(distance, radius, atol=1e-9)
    corners = vertices[triangles]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outward = corners.mean(axis=1) - 0.5 * (start + end)
    solid = np.linalg.norm(normal, axis=1) > 1e-9
    assert (np.einsum("ni,ni->n", normal, outward)[solid] > 0).all()


def test_picture_shows_left_on_the_left_and_up_on_top():
    # The camera looks along +X from behind: the world's +Y is on the left of the picture, +Z on top.
    camera = Camera((-4.0, 0.0, 1.0), (0.0, 0.0, 1.0))
    scene = [_ball((0, 0.6, 1.5), 0.2, (0.9, 0.1, 0.1)), _ball((0, -0.6, 0.5), 0.2, (0.1, 0.1, 0.9))]
    image = render_scene(scene, camera, (80, 80), floor_height=None).astype(int)
    red = np.argwhere(image[..., 0] - image[..., 2] > 60)
    blue = np.argwhere(image[..., 2] - image[..., 0] > 60)
    assert len(red) > 20 and len(blue) > 20
    assert red[:, 1].mean() < 40 < blue[:, 1].mean()
    assert red[:, 0].mean() < 40 < blue[:, 0].mean()


def test_nearer_mesh_hides_the_farther_one_and_casts_a_shadow():
    camera = Camera((-4.0, 0.0, 2.0), (0.0, 0.0, 0.3))
    near, far = _ball((-0.5, 0, 0.5), 0.3, (0.9, 0.1, 0.1)), _ball((1.0, 0, 0.2), 0.1, (0.1, 0.1, 0.9))
    with_shadow = render_scene([near, far], camera, (64, 64)).astype(int)
    empty_floor = render_scene([_ball((50, 50, 50), 0.1, (0, 0, 0))], camera, (64, 64)).astype(int)
    assert not (with_shadow[..., 2] - with_shadow[..., 0] > 60).any()
    grey = np.abs(with_shadow[..., 0] - with_shadow[..., 1]) < 10
    assert ((empty_floor - with_shadow).sum(axis=-1)[grey] > 60).sum() > 10


def test_an_empty_scene_is_refused():
    with pytest.raises(ValueError, match="at least one mesh"):
        render_scene([], Camera((1, 0, 0), (0, 0, 0)))
