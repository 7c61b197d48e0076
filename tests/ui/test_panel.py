"""The panel under the real omni.ui: clicked, dragged, typed into and looked at."""

import numpy as np

from soma_isaac.ui.choices import STILL_POSES


def _pixels(hands):
    return hands.state.picture.image.astype(int)


def _differ(first, second):
    """Share of pixels that differ visibly."""
    return float((np.abs(first - second).max(axis=2) > 8).mean())


def test_the_picture_shows_a_body_and_the_window_shows_the_picture(hands):
    path = hands.screenshot("template")
    assert path.stat().st_size > 10_000
    image = _pixels(hands)
    skin = (image[..., 0] - image[..., 2]) > 25
    assert 0.03 < skin.mean() < 0.4
