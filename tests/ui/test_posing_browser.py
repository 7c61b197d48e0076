"""Effectors on the page in headless Chromium: an arrow is dragged with the mouse, and the body follows."""

import threading

import numpy as np
import pytest

pytest.importorskip("viser", reason="the preview page needs viser: pip install 'soma_isaac[web]'")
pytest.importorskip("playwright.sync_api", reason="the dev extra brings playwright")

from soma_isaac.math.frames import zup_from_yup_points
from soma_isaac.math.so3 import matrix_from_quat_wxyz
from soma_isaac.ui.choices import POSED, STILL_TITLES
from soma_isaac.ui.state import PanelSettings
from soma_isaac.ui.web import PreviewPage
from soma_isaac.ui.web_effectors import CONTROL_M
from tests.ui.test_web_browser import SIZE, Visitor, browser, changed  # noqa: F401


@pytest.fixture
def page(tmp_path):
    made = PreviewPage(PanelSettings(references=str(tmp_path)), port=0)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.close()
    thread.join(60.0)


def pixel(page, point):
    """Where on the page a point of the body's world is seen."""
    camera = next(iter(page.server.get_clients().values())).camera
    turn = matrix_from_quat_wxyz(np.array(camera.wxyz))
    x, y, z = turn.T @ (zup_from_yup_points(np.array(point)) - np.array(camera.position))
    focal = 0.5 * SIZE["height"] / np.tan(0.5 * camera.fov)
    return 0.5 * SIZE["width"] + focal * x / z, 0.5 * SIZE["height"] + focal * y / z


def test_an_arrow_is_dragged_and_the_body_follows(browser, page):  # noqa: F811
    visitor = Visitor(browser, page)
    before = visitor.look_once_settled()
    visitor.press(STILL_TITLES[POSED])
    visitor.until(lambda: len(page.presenter.state.effectors) == 5 and not page.presenter.state.busy)
    visitor.until(lambda: changed(before, visitor.look()) > 0.002)
    visitor.keep("preview_effectors")
    index, foot = next((k, e) for k, e in enumerate(page.presenter.state.effectors) if e.joint == "RightFoot")
    up = np.array([0.0, 1.0, 0.0])
    still = visitor.look_once_settled()

    def dragged():
        """A page that draws slowly may not have noticed what the mouse is over; the hand reaches for it once more."""
        tip = np.array(page.presenter.state.effectors[index].point) + 0.75 * CONTROL_M * up
        visitor.tab.mouse.move(*pixel(page, tip))
        visitor.tab.wait_for_timeout(500)
        visitor.tab.mouse.down()
        visitor.tab.mouse.move(*pixel(page, tip + 0.3 * up), steps=6)
        visitor.tab.mouse.up()
        visitor.tab.wait_for_timeout(1000)
        return page.presenter.state.effectors[index].point[1] > foot.point[1] + 0.2

    visitor.until(dragged)
    visitor.until_it_differs(still)
    visitor.keep("preview_effectors_dragged")
    assert page.presenter.state.effectors[index].point[0] == pytest.approx(foot.point[0], abs=1e-3)
    assert page.presenter.posing.chosen.joint == "RightFoot"
    assert not visitor.faults
    visitor.tab.close()
