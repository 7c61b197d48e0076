"""The page's widgets and scene on stand-ins for viser's: what reaches the presenter, and what is sent."""

import asyncio
import time
from types import SimpleNamespace

import numpy as np
import pytest

from soma_isaac.rig.skeleton import data_path
from soma_isaac.ui.choices import SliderSpec, list_clips
from soma_isaac.ui.jobs import JobStatus
from soma_isaac.ui.state import PanelSettings
from soma_isaac.ui.web_compare import Difference
from soma_isaac.ui.web_controls import NO_CLIP, SLIDERS_SHOWN, Controls
from soma_isaac.ui.web_figures import BodyFigure, Links, RobotFigure, Skin
from soma_isaac.ui.web_renderer import PageFrame, PagePresenter
from soma_isaac.ui.web_stage import Stage

USER, PROGRAM = SimpleNamespace(client_id=3), SimpleNamespace(client_id=None)
NOTHING = np.zeros((0, 0, 3), np.uint8)


class Handle:
    """Remembers what is set, which is what viser would send."""

    def __init__(self, log, name, **properties):
        self.__dict__.update(_log=log, _name=name, _callbacks=[], **properties)

    def __setattr__(self, key, value):
        self._log.append((self._name, key, value))
        self.__dict__[key] = value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def on_update(self, callback):
        self._callbacks.append(callback)

    on_click = on_submit = on_update

    def remove(self):
        self._log.append((self._name, "remove", None))

    def happen(self, value=None, event=USER):
        """What a browser does: viser sets the value and calls back."""
        if value is not None:
            self.__dict__["value"] = value
        for callback in self._callbacks:
            asyncio.run(callback(event))


class Gui:
    def __init__(self):
        self.log = []

    def set_panel_label(self, _):
        pass

    def _add(self, kind, name, **properties):
        self.log.append((name, f"add_{kind}", properties.get("value")))
        return Handle(self.log, name, **properties)

    def add_folder(self, title, **_):
        return self._add("folder", title)

    def add_form(self, _):
        self.form = self._add("form", "form")
        return self.form

    def add_text(self, label, value, **_):
        handle = self._add("text", label, value=value)
        handle.__dict__["form"] = self.form
        return handle

    def add_slider(self, label, *, min, max, initial_value, **_):
        return self._add("slider", label, value=initial_value, min=min, max=max, disabled=False, visible=True)

    def add_number(self, label, value, **_):
        return self._add("number", label, value=value)

    def add_checkbox(self, label, value):
        return self._add("checkbox", label, value=value)

    def add_dropdown(self, label, options):
        return self._add("dropdown", label, value=options[0], options=options)

    def add_button(self, label):
        return self._add("button", label, value=False, label=label, disabled=False)

    def add_button_group(self, label, options):
        return self._add("group", label, value=options[0])

    def add_html(self, content):
        return self._add("html", "html", content=content)

    def add_progress_bar(self, value):
        return self._add("progress", "progress", value=value)

    def add_uplot(self, data, series, **_):
        return self._add("uplot", "plot", data=data)


@pytest.fixture
def presenter(tmp_path):
    def draw(request):
        count = 0 if request.body.backend == "template" else 20
        specs = tuple(SliderSpec(f"component_{i}", -3.0, 3.0, "sd") for i in range(count))
        specs += (SliderSpec("LeftArm", 0.7, 1.3, "times", group="bone_scales", default=1.0),)
        given = request.body.coefficients or (0.25,) * count
        values = (*(float(np.float32(value)) for value in given), 1.0)
        return PageFrame(NOTHING, values, specs, 4.0 if request.clip else 0.0, 50.0)

    made = PagePresenter(PanelSettings(references=str(tmp_path / "refs")), draw=draw)
    yield made
    made.close()


@pytest.fixture
def page(presenter):
    gui = Gui()
    controls = Controls(gui, presenter, lambda event: event.client_id is not None)
    handles = controls.widgets.handles

    def settle():
        end = time.monotonic() + 120.0
        while True:
            controls.obey()
            presenter.tick(0.0)
            controls.show(time.monotonic())
            state = presenter.state
            if state.picture is not None and not state.busy and state.clips:
                return
            assert time.monotonic() < end
            time.sleep(0.002)

    settle()
    return SimpleNamespace(gui=gui, controls=controls, handles=handles, settle=settle, presenter=presenter)


def test_what_the_user_does_reaches_the_presenter_and_is_not_sent_back(page):
    page.gui.log.clear()
    page.handles["size"].happen(1.2)
    page.handles["robot"].happen(True)
    page.handles["clip"].happen("walk.npz")
    page.handles["still"].happen("bind pose", PROGRAM)
    page.settle()
    state = page.presenter.state
    assert state.body.size == 1.2 and state.view.robot and state.clip.name == "walk.npz"
    assert not [entry for entry in page.gui.log if entry[1] == "value"], "the browser shows these values already"
    page.handles["size"].happen(9.0)
    page.settle()
    assert ("Size", "value", 1.5) in page.gui.log, "what the presenter made of it is shown"


def test_a_wish_that_changes_nothing_is_taken_back(page):
    page.handles["body_count"].happen(99999)
    page.settle()
    assert page.handles["body_count"].value == 4096
    page.handles["body_count"].happen(99999)
    assert page.controls.obey()
    page.controls.show(time.monotonic())
    assert page.handles["body_count"].value == 4096 and not page.controls.obey()


def test_only_what_changed_is_sent(page):
    page.gui.log.clear()
    page.settle()
    assert page.gui.log == []
    page.presenter.set_speed(2.0)
    page.settle()
    assert page.gui.log == [("Speed", "value", 2.0)]


def test_playing_moves_the_time_slider_a_few_times_a_second(page):
    page.handles["clip"].happen("walk.npz")
    page.settle()
    assert page.handles["time"].max == 4.0 and not page.handles["play"].disabled
    page.handles["play"].happen()
    page.controls.obey()
    page.gui.log.clear()
    now = time.monotonic() + 1.0
    for frame in range(30):
        page.presenter.tick(1.0 / 30.0)
        page.controls.show(now + frame / 30.0)
    assert 8 <= len([entry for entry in page.gui.log if entry[:2] == ("Time [s]", "value")]) <= 11
    page.handles["time"].happen(3.0)
    page.controls.obey()
    assert page.presenter.state.playback.time == 3.0
    page.handles["clip"].happen(NO_CLIP)
    page.settle()
    assert page.presenter.state.clip is None and page.handles["play"].disabled and page.handles["play"].label == "Play"


def test_text_counts_when_it_is_entered_or_a_button_is_pressed(page, tmp_path):
    page.handles["folder"].happen(str(tmp_path / "half typ"))
    page.controls.obey()
    assert page.presenter.state.clips_folder == str(data_path("demo_clips"))
    page.handles["folder"].__dict__["value"] = str(tmp_path)
    page.handles["folder"].form.happen()
    page.handles["references"].__dict__["value"] = str(tmp_path / "other")
    page.handles["reset"].happen()
    page.controls.obey()
    assert page.presenter.state.clips_folder == str(tmp_path)
    assert page.presenter.state.references == str(tmp_path / "other")


def test_sliders_follow_the_model_with_names_ranges_and_groups(page):
    page.gui.log.clear()
    page.handles["backend"].happen("soma")
    page.settle()
    made = [label for label, what, _ in page.gui.log if what in ("add_slider", "add_folder")]
    shape = [f"component {index}" for index in range(20)]
    assert made == [*shape[:SLIDERS_SHOWN], "More shape", *shape[SLIDERS_SHOWN:], "Bone lengths", "LeftArm"]
    first = page.handles["shape:0"]
    assert (first.min, first.max, first.value) == (-3.0, 3.0, 0.25)
    page.gui.log.clear()
    first.happen(1.1)
    page.settle()
    assert page.presenter.state.body.coefficients[0] == 1.1
    assert not [entry for entry in page.gui.log if entry[1] == "value"], "float32 in the model is no change"
    page.handles["backend"].happen("template")
    page.settle()
    assert sum(entry[1] == "remove" for entry in page.gui.log) == SLIDERS_SHOWN + 2


def test_errors_and_jobs_are_told_in_words_and_names_of_files_are_no_markup(page):
    page.presenter._change(error="<b>no</b> such clip", job=JobStatus("running", 0.5, "1 of 2 clips", 1, 2))
    page.settle()
    shown = page.handles["status"].content
    assert "&lt;b&gt;no&lt;/b&gt; such clip" in shown and "<b>" not in shown
    assert page.handles["progress"].value == 50.0 and "1 of 2 clips" in page.handles["job"].content
    assert page.handles["prepare"].disabled and not page.handles["cancel"].disabled


def test_the_difference_of_two_runs_is_plotted_once(page):
    times = np.array([0.1, 0.2])
    found = Difference(times, times, times, 0.05, 0.2, "LeftHand", 0.2, "Joints")
    frame = PageFrame(NOTHING, (), (), 4.0, 50.0, difference=found)
    page.gui.log.clear()
    page.presenter._change(picture=frame)
    for _ in range(3):
        page.controls.show(0.0)
    assert [what for _, what, _ in page.gui.log if what == "add_uplot"] == ["add_uplot"]
    assert "LeftHand at 0.20 s" in page.handles["difference"].content
    page.presenter._change(picture=PageFrame(NOTHING, (), (), 4.0, 50.0))
    page.controls.show(0.0)
    assert ("plot", "remove", None) in page.gui.log and page.handles["difference"].content == ""


# The scene.


class Scene:
    def __init__(self):
        self.log = []
        self.handles = {}

    def __getattr__(self, method):
        def add(name, *arguments, **properties):
            self.log.append((name, method, None))
            properties.setdefault("opacity", None)
            handle = self.handles[name] = Handle(self.log, name, visible=True, **properties)
            if method == "add_mesh_skinned":
                bones = [Handle(self.log, f"{name}/bone") for _ in properties["bone_positions"]]
                handle.__dict__["bones"] = bones
            return handle

        return add


def _body(time=0.0):
    skin = _body.skin
    places = np.full((2, 3), time)
    turns = np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))
    return BodyFigure(skin, places, turns, np.zeros((77, 3)) + time, np.zeros(3), turns[0])


_body.skin = Skin(
    np.zeros((3, 3)), np.zeros((1, 3), int), np.ones((3, 2)), np.arange(2), np.zeros((2, 3)), np.ones((2, 4))
)
LINKS = Links(("pelvis", "torso"), ((np.zeros((3, 3)), np.zeros((1, 3), int)), None), (None, None))


def _robot(time=0.0):
    turns = np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))
    return RobotFigure(LINKS, np.full((2, 3), time), turns, np.zeros(3), turns[0])


def _frame(*figures, difference=None, names=()):
    return PageFrame(NOTHING, (), (), 1.0, 50.0, figures=figures, names=names, centre=np.ones(2), difference=difference)


def test_after_the_first_frame_only_bones_and_links_move():
    scene = Scene()
    stage = Stage(scene)
    stage.show(_frame(_body(), _robot()), skeleton=False)
    scene.log.clear()
    for time_ in (0.1, 0.2):
        stage.show(_frame(_body(time_), _robot(time_)), skeleton=False)
    assert not [entry for entry in scene.log if entry[1].startswith("add_")]
    meshes = [entry for entry in scene.log if entry[0].endswith(("/skin", "/shell", "/strut"))]
    assert {what for _, what, _ in meshes} <= {"visible"}, "no vertices, no colours"
    stage.show(_frame(_body(0.2), _robot(0.2)), skeleton=True)
    assert scene.handles[stage.anchor(0) + "/skin"].opacity < 1.0
    assert scene.handles[stage.anchor(0) + "/bones"].visible


def test_figures_that_are_not_shown_are_hidden_and_skins_are_never_removed():
    scene = Scene()
    stage = Stage(scene)
    stage.show(_frame(_body()), skeleton=True)
    stage.show(_frame(_robot(), _robot(), difference=object(), names=("before", "after")), skeleton=True, apart=1.0)
    first, second = stage.anchor(0), stage.anchor(1)
    assert not scene.handles[f"{first}/skin"].visible and not scene.handles[f"{first}/bones"].visible
    assert scene.handles[f"{first}/g1"].visible and scene.handles[first].position == (0.0, -0.5, 0.0)
    shells = [scene.handles[f"{name}/g1/pelvis/shell"].color for name in (first, second)]
    assert shells[0] != shells[1] and "/labels/after" in scene.handles
    stage.show(_frame(_body()), skeleton=False, follow=False)
    assert scene.handles[f"{first}/skin"].visible and not scene.handles[f"{first}/g1"].visible
    assert not scene.handles[f"{second}/g1"].visible and scene.handles["/stage"].position == (0.0, 0.0, 0.0)
    removed = [name for name, what, _ in scene.log if what == "remove"]
    assert removed == ["/labels/before", "/labels/after"]


def test_the_bundled_clips_can_be_chosen(page):
    assert page.handles["clip"].options == (NO_CLIP, *(clip.name for clip in list_clips(str(data_path("demo_clips")))))
