"""Distances become colours that grow with them, on the mesh and on the bar."""

import numpy as np
import pytest

from soma_isaac.render import Camera, SceneMesh, render_scene
from soma_isaac.render.heat_map import STOPS, color_bar, heat_colors, round_top
from soma_isaac.render.lettering import draw_text, text_width
from soma_isaac.render.shapes import capsule_mesh


def test_colors_grow_with_the_error_and_end_at_the_top():
    errors = np.linspace(0.0, 0.02, 400)
    colors = heat_colors(errors, 0.01)
    warmth = colors[:, 0] - colors[:, 2]
    inside = errors < 0.01
    assert (np.diff(warmth[inside]) > 0.0).all()
    np.testing.assert_array_equal(colors[~inside], np.broadcast_to(STOPS[-1], colors[~inside].shape))
    np.testing.assert_array_equal(colors[0], STOPS[0])
    with pytest.raises(ValueError, match="positive"):
        heat_colors(errors, 0.0)


@pytest.mark.parametrize(
    ("distance", "top"), [(0.0, 1e-3), (1.1e-3, 2e-3), (5e-3, 5e-3), (5.1e-3, 1e-2), (0.043, 0.05), (0.7, 1.0)]
)
def test_the_top_is_a_round_number_not_below(distance, top):
    assert round_top(distance) == pytest.approx(top)


def test_a_mesh_may_have_a_color_per_vertex():
    vertices, triangles = capsule_mesh(np.zeros(3), np.zeros(3), 0.5)
    camera = Camera((-3.0, 0.0, 0.3), (0.0, 0.0, 0.0))
    one = render_scene([SceneMesh(vertices, triangles, (0.2, 0.5, 0.7))], camera, (48, 48), floor_height=None)
    each = np.tile((0.2, 0.5, 0.7), (len(vertices), 1))
    same = render_scene([SceneMesh(vertices, triangles, each)], camera, (48, 48), floor_height=None)
    np.testing.assert_array_equal(one, same)
    upper = np.where(vertices[:, 2:] > 0.0, (0.8, 0.1, 0.1), (0.1, 0.1, 0.8))
    halves = render_scene([SceneMesh(vertices, triangles, upper)], camera, (48, 48), floor_height=None).astype(int)
    assert halves[12, 24, 0] > halves[12, 24, 2] + 60 and halves[36, 24, 2] > halves[36, 24, 0] + 60


def test_the_bar_runs_from_the_first_color_to_the_last():
    bar = color_bar(480, 0.02, 246).astype(int)
    row = bar[4]
    colored = np.flatnonzero((row != 246).any(axis=1))
    warmth = row[colored, 0] - row[colored, 2]
    assert len(colored) > 300 and warmth[0] < -60 and warmth[-1] > 60
    assert (bar[14:] < 100).any(), "it has labels"


def test_letters_are_told_apart_and_stay_in_the_picture():
    drawn = set()
    for character in "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ.,-+:/%":
        image = np.full((8, 8, 3), 255, np.uint8)
        draw_text(image, character, 1, 1, scale=1)
        drawn.add(image.tobytes())
    assert len(drawn) == 43
    image = np.full((6, 10, 3), 255, np.uint8)
    draw_text(image, "FRAME 12", -3, -2, scale=3)
    assert text_width("12", 2) == 14
