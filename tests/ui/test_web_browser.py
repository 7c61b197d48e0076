"""The page in headless Chromium with software GL: what a user sees, clicks and drags. Screenshots are kept."""

import io
import re
import shutil
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("viser", reason="the preview page needs viser: pip install 'soma_isaac[web]'")
playwright = pytest.importorskip("playwright.sync_api", reason="the dev extra brings playwright")
from PIL import Image  # noqa: E402

from soma_isaac.ui.state import PanelSettings  # noqa: E402
from soma_isaac.ui.web import PreviewPage  # noqa: E402

SCREENSHOTS = Path(__file__).resolve().parents[2] / "out" / "ui_screenshots"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE = {"width": 740, "height": 520}
SEEN = {"x": 0, "y": 150, "width": 400, "height": 370}
"""What of the page shows the scene alone, without viser's word about software rendering and the controls."""

OPTIONS = (
    "--no-sandbox",  # as root it does not start with one; it opens our own page only
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # as offline as can be
)


class Visitor:
    """A user in front of the page."""

    def __init__(self, browser, page):
        self.page = page
        self.tab = browser.new_page(viewport=SIZE)
        self.tab.set_default_timeout(180_000)
        self.asked, self.faults = [], []
        self.tab.on("request", lambda request: self.asked.append(request.url))
        self.tab.on("websocket", lambda socket: self.asked.append(socket.url))
        self.tab.on("pageerror", lambda error: self.faults.append(str(error)))
        self.come()

    def come(self):
        self.tab.goto(self.page.url)
        self.tab.get_by_label("Clip", exact=True).wait_for()
        self.until(lambda: self.shows_something(self.look()))

    def leave(self):
        self.tab.goto("about:blank")

    def look(self):
        """The scene as [H, W, 3] int."""
        image = Image.open(io.BytesIO(self.tab.screenshot(clip=SEEN))).convert("RGB")
        return np.asarray(image).astype(int)

    @staticmethod
    def shows_something(image):
        """Whether skin (redder than blue) fills a fair part of the picture."""
        return (image[..., 0] - image[..., 2] > 25).mean() > 0.02

    def until(self, condition, timeout_s=180.0):
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                self.keep("preview_failed")
                pytest.fail(f"nothing came of it in {timeout_s} s; see preview_failed.png")
            self.tab.wait_for_timeout(500)

    def until_it_differs(self, before, share=0.01):
        self.until(lambda: changed(before, self.look()) > share)

    def look_once_settled(self):
        """The scene, once two looks in a row show the same."""
        looks = [self.look()]

        def settled():
            looks.append(self.look())
            return changed(looks[-2], looks[-1]) < 0.001

        self.until(settled)
        return looks[-1]

    def row(self, label):
        return self.tab.locator(f"xpath=//label[normalize-space()='{label}']/ancestor::div[2]")

    def type_into(self, label, text):
        """Fill a field and wait until the server knows: viser's page drops what is done in two widgets within 50 ms."""
        field = self.row(label).locator("input")
        handle = next(each for each in self.page.controls.widgets.handles.values() if _label(each) == label)

        def known():
            if handle.value != text:
                field.fill("")
                self.tab.wait_for_timeout(200)
                field.fill(text)
                self.tab.wait_for_timeout(500)
            return handle.value == text

        self.until(known)
        return field

    def drag(self, label, share):
        """Drag a slider from its middle to a share of its length."""
        track = self.row(label).locator(".mantine-Slider-track")
        track.scroll_into_view_if_needed()
        box = track.bounding_box()
        y = box["y"] + 0.5 * box["height"]
        self.tab.mouse.move(box["x"] + 0.5 * box["width"], y)
        self.tab.mouse.down()
        self.tab.mouse.move(box["x"] + share * box["width"], y, steps=4)
        self.tab.mouse.up()

    def choose(self, label, option):
        """Choose in a dropdown; its list closes again where the page is sent other options meanwhile."""
        entry = self.tab.get_by_role("option", name=option, exact=True)

        def chosen():
            if not entry.is_visible():
                self.tab.get_by_label(label, exact=True).click()
            try:
                entry.click(timeout=10_000)
            except playwright.TimeoutError:
                return False
            return True

        self.until(chosen)

    def press(self, text):
        self.tab.get_by_role("button", name=text, exact=True).click()

    def unfold(self, title):
        self.tab.get_by_text(title, exact=True).click()

    def keep(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.tab.screenshot(path=SCREENSHOTS / f"{name}.png")


def _label(handle):
    """What the page calls a widget; places for words have no name."""
    return getattr(handle, "label", None)


def changed(before, after):
    """Share of the picture that differs visibly.

    Means over blocks: where drawing is slow the page draws fewer pixels, which moves every edge by a part of one.
    """
    apart = blocks(after) - blocks(before)
    return float((np.abs(apart).max(axis=2) > 24).mean())


def blocks(image, side=5):
    """[H / side, W / side, 3] means."""
    height, width = (length // side for length in image.shape[:2])
    return image[: height * side, : width * side].reshape(height, side, width, side, 3).mean(axis=(1, 3))


@pytest.fixture(scope="module")
def browser():
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium: apt-get install chromium gives one")
    with playwright.sync_playwright() as started:
        try:
            opened = started.chromium.launch(executable_path=program, headless=True, args=list(OPTIONS))
        except playwright.Error as error:
            pytest.skip(f"{program} does not start: {error}")
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    made = PreviewPage(PanelSettings(references=str(tmp_path_factory.mktemp("refs"))), port=0)
    thread = threading.Thread(target=made.run, daemon=True)
    thread.start()
    yield made
    made.close()
    thread.join(60.0)


@pytest.fixture(scope="module")
def visitor(browser, page):
    return Visitor(browser, page)


def test_a_body_is_seen_and_a_dragged_slider_changes_it(visitor, page):
    before = visitor.look_once_settled()
    visitor.keep("preview_body")
    visitor.choose("Model", "soma")
    visitor.row("component 0").wait_for()
    visitor.until_it_differs(before)  # the sliders may come first
    first = visitor.look_once_settled()
    visitor.drag("component 0", 0.05)
    visitor.until_it_differs(first, share=0.03)
    visitor.until(lambda: page.presenter.state.body.coefficients[0] < -2.0)  # the end of the drag may come later
    visitor.keep("preview_slider")
    visitor.press("Reset shape")
    visitor.until(lambda: changed(first, visitor.look()) < 0.003)
    assert page.presenter.state.body.coefficients is None


def test_a_clip_plays_and_can_be_scrubbed(visitor, page):
    visitor.choose("Clip", "walk.npz")
    visitor.until(lambda: page.presenter.state.playback.duration > 6.0)
    visitor.press("Play")
    first = visitor.look()
    visitor.until_it_differs(first, share=0.02)
    visitor.keep("preview_playing")
    visitor.press("Pause")
    visitor.until(lambda: not page.presenter.state.playback.playing)
    visitor.drag("Time [s]", 0.95)
    visitor.until(lambda: page.presenter.state.playback.time > 5.5)
    assert visitor.shows_something(visitor.look())


def test_a_job_goes_on_while_nobody_looks_and_its_reference_moves_the_robot(visitor, page):
    visitor.tab.get_by_label("G1 beside").check()
    visitor.tab.get_by_text("The G1 stands still").wait_for()
    visitor.unfold("Jobs")
    visitor.tab.get_by_label("Only this clip").check()
    visitor.press("Prepare G1 references")
    visitor.tab.get_by_text(re.compile(r"^(Planning|\d of 1 clip|Writing|Done)")).first.wait_for()
    visitor.leave()
    visitor.until(lambda: not page.presenter.job_live, timeout_s=600.0)
    visitor.come()
    visitor.unfold("Jobs")
    visitor.tab.get_by_text("Done: 1 clip.").wait_for()
    visitor.until(lambda: visitor.tab.get_by_text("The G1 stands still").count() == 0)
    before = visitor.look_once_settled()
    assert (before[..., 2] - before[..., 0] > 40).mean() > 0.005, "a blue robot"
    visitor.tab.get_by_label("Skeleton").check()
    visitor.drag("Time [s]", 0.4)
    visitor.until(lambda: page.presenter.state.playback.time < 3.0)
    visitor.until_it_differs(before)
    visitor.keep("preview_robot")


def test_two_runs_are_shown_side_by_side_with_the_difference(visitor, page, tmp_path):
    prepared = Path(page.presenter.state.references)
    for run in ("before", "after"):
        (tmp_path / run / "mjlab").mkdir(parents=True)
    shutil.copy(prepared / "mjlab" / "walk.npz", tmp_path / "before" / "mjlab")
    shutil.copy(prepared / "amp" / "walk.npz", tmp_path / "after" / "mjlab")
    visitor.tab.get_by_label("Skeleton").uncheck()
    visitor.unfold("Before and after")
    visitor.type_into("Before", str(tmp_path / "before"))
    visitor.type_into("After", str(tmp_path / "after"))
    visitor.press("Compare")
    visitor.until(lambda: [clip.name for clip in page.presenter.clips] == ["mjlab/walk.npz"])
    visitor.choose("Clip", "mjlab/walk.npz")
    visitor.tab.get_by_text("G1 links: 0.0 mm apart on average").wait_for()
    visitor.tab.locator(".uplot").first.wait_for()
    visitor.until(lambda: (visitor.look()[..., 0] - visitor.look()[..., 2] > 60).mean() > 0.005)  # the orange one
    visitor.keep("preview_runs")
    visitor.press("End comparison")
    visitor.until(lambda: (visitor.look()[..., 0] - visitor.look()[..., 2] > 60).mean() < 0.001)


def test_what_goes_wrong_is_told_on_the_page(visitor, page):
    visitor.type_into("Clips in", "/nowhere/at/all").press("Enter")
    visitor.tab.get_by_text("'/nowhere/at/all' does not exist.").first.wait_for()
    visitor.keep("preview_error")
    visitor.type_into("Clips in", "").press("Enter")
    visitor.until(lambda: page.presenter.state.error == "" and len(page.presenter.clips) > 3)


def test_nothing_was_asked_of_another_host_and_nothing_broke(visitor):
    web = [url for url in visitor.asked if urlsplit(url).scheme not in ("blob", "data")]
    assert {urlsplit(url).hostname for url in web} == {"127.0.0.1"} and any(url.startswith("ws:") for url in web)
    assert visitor.faults == []
