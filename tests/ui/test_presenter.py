"""The presenter alone, with a renderer that the test holds in its hand."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.errors import InputRejected
from soma_isaac.ui.background import LatestWorker
from soma_isaac.ui.choices import SliderSpec, list_clips
from soma_isaac.ui.presenter import Presenter
from soma_isaac.ui.preview import PreviewPicture
from soma_isaac.ui.state import PanelSettings

SLIDERS = tuple(SliderSpec(f"component_{i}", -3.0, 3.0, "standard deviations") for i in range(3))


class Painter:
    """Draws nothing, remembers what it was asked, and waits where the gate is closed."""

    def __init__(self):
        self.gate = threading.Event()
        self.gate.set()
        self.asked = []
        self.fails = False
        self.sliders = SLIDERS

    def __call__(self, request):
        self.asked.append(request)
        assert self.gate.wait(120.0)
        if self.fails:
            raise InputRejected("has no frames", "walk.npz")
        model = request.body.backend != "template"
        values = (request.body.coefficients or (0.0, 0.5, 1.0)) if model else ()
        bones = dict(request.body.groups).get("bone_scales", (1.0,) * (len(self.sliders) - 3))
        image = np.zeros((4, 4, 3), np.uint8)
        values, sliders = ((*values, *bones), self.sliders) if model else ((), ())
        return PreviewPicture(image, values, sliders, 4.0 if request.clip else 0.0, 50.0)


@pytest.fixture
def painter():
    return Painter()


@pytest.fixture
def presenter(painter, tmp_path):
    made = Presenter(PanelSettings(references=str(tmp_path / "refs")), draw=painter, export=lambda *job: "written")
    _until(made, lambda: made.state.picture is not None and not made.state.busy and made.state.clips)
    yield made
    painter.gate.set()
    made.close()


def _until(presenter, condition, elapsed_s=0.0):
    end = time.monotonic() + 120.0
    while not condition():
        assert time.monotonic() < end
        presenter.tick(elapsed_s)
        time.sleep(0.002)


def _settle(presenter):
    presenter.tick(0.0)
    _until(presenter, lambda: not presenter.state.busy)


def test_it_finds_the_bundled_clips_and_asks_for_a_picture_once(presenter, painter):
    assert [clip.name for clip in presenter.state.clips][:2] == ["reach.npz", "sidestep.npz"]
    revision = presenter.revision
    for _ in range(5):
        presenter.tick(0.1)
    assert len(painter.asked) == 1 and presenter.revision == revision, "nothing changed, nothing is drawn or shown anew"


def test_nothing_waits_for_a_picture_and_overtaken_requests_are_dropped(presenter, painter):
    painter.gate.clear()
    presenter.set_size(1.1)
    presenter.tick(0.0)
    _until(presenter, lambda: len(painter.asked) == 2)
    for size in np.linspace(0.6, 1.4, 30):
        presenter.set_size(size)
        presenter.tick(0.01)
    assert presenter.state.busy and len(painter.asked) == 2
    painter.gate.set()
    _settle(presenter)
    assert len(painter.asked) == 3 and painter.asked[-1].body.size == pytest.approx(1.4)


def test_a_moved_slider_keeps_the_others_and_ends_the_named_body(presenter, painter):
    presenter.set_assets("/models")
    presenter.choose_preset("child")
    assert presenter.state.body.assets is None, "a named body is one of the open shape space"
    _settle(presenter)
    assert presenter.state.coefficients == (0.0, 0.5, 1.0) and presenter.state.body.preset == "child"
    presenter.set_coefficient(0, -2.0)
    assert presenter.state.body.preset is None
    _settle(presenter)
    assert painter.asked[-1].body.coefficients == (-2.0, 0.5, 1.0)
    presenter.choose_backend("template")
    assert presenter.state.sliders == (), "the sliders of one model do not move another"
    presenter.set_coefficient(0, 1.0)
    _settle(presenter)
    assert presenter.state.sliders == () and painter.asked[-1].body.coefficients is None


def test_a_slow_picture_does_not_take_back_what_the_user_did_meanwhile(presenter, painter):
    presenter.choose_backend("soma")
    _settle(presenter)
    painter.gate.clear()
    presenter.set_coefficient(0, 1.0)
    presenter.tick(0.0)
    _until(presenter, lambda: len(painter.asked) == 3)
    presenter.set_coefficient(0, 2.0)
    painter.gate.set()
    seen = []
    _until(presenter, lambda: seen.append(presenter.state.coefficients[0]) or len(painter.asked) == 4)
    _settle(presenter)
    assert set(seen) == {2.0} and presenter.state.coefficients[0] == 2.0


def test_sliders_of_every_group_move(presenter, painter):
    painter.sliders = (*SLIDERS, *(SliderSpec(f"bone_{i}", 0.7, 1.3, "times", "bone_scales", 1.0) for i in range(2)))
    presenter.choose_backend("soma")
    _settle(presenter)
    presenter.set_coefficient(4, 1.2)
    _settle(presenter)
    body = painter.asked[-1].body
    assert body.coefficients == (0.0, 0.5, 1.0) and body.groups == (("bone_scales", (1.0, 1.2)),)
    presenter.set_coefficient(1, -1.0)
    _settle(presenter)
    assert painter.asked[-1].body.coefficients == (0.0, -1.0, 1.0)
    assert painter.asked[-1].body.groups == body.groups
    presenter.reset_shape()
    _settle(presenter)
    assert painter.asked[-1].body.groups == () and presenter.state.coefficients == (0.0, 0.5, 1.0, 1.0, 1.0)


def test_pictures_are_drafts_while_the_clip_plays(presenter, painter):
    presenter.choose_clip(presenter.state.clips[0])
    _settle(presenter)
    presenter.play(True)
    painter.asked.clear()
    _until(presenter, lambda: len(painter.asked) >= 5, elapsed_s=0.01)
    assert all(request.draft for request in painter.asked)
    times = [request.time for request in painter.asked]
    assert times == sorted(set(times)), "one picture per moment, none for a moment that is over"
    presenter.play(False)
    _settle(presenter)
    assert not painter.asked[-1].draft and painter.asked[-1].time == presenter.state.playback.time


def test_time_runs_with_speed_starts_over_and_stops(presenter):
    presenter.play(True)
    assert not presenter.state.playback.playing and "Choose a clip" in presenter.state.error
    presenter.choose_clip(presenter.state.clips[0])
    _settle(presenter)
    assert presenter.state.playback.duration == 4.0 and not presenter.state.error
    presenter.set_speed(2.0)
    presenter.play(True)
    presenter.tick(1.5)
    assert presenter.state.playback.time == pytest.approx(3.0)
    presenter.tick(1.0)
    assert presenter.state.playback.time == pytest.approx(1.0)
    presenter.play(False)
    presenter.tick(1.0)
    presenter.seek(99.0)
    assert presenter.state.playback.time == 4.0
    presenter.set_speed(100.0)
    assert presenter.state.playback.speed == 3.0


def test_the_clip_that_is_shown_can_be_chosen_again(presenter, painter):
    presenter.choose_clip(presenter.state.clips[0])
    _settle(presenter)
    asked = len(painter.asked)
    presenter.choose_clip(presenter.state.clips[0])
    _settle(presenter)
    assert len(painter.asked) == asked + 1, "its file may have changed"
    presenter.seek(3.0)
    assert presenter.state.playback.time == 3.0, "it can still be scrubbed"
    presenter.choose_clip(presenter.state.clips[0])
    assert presenter.state.playback.time == 0.0


def test_a_failure_is_gone_when_a_picture_comes_and_other_errors_stay(presenter, painter):
    painter.fails = True
    presenter.show_robot(True)
    _until(presenter, lambda: presenter.state.error)
    painter.fails = False
    presenter.show_robot(False)
    _until(presenter, lambda: not presenter.state.error)
    presenter.play(True)
    assert "Choose a clip" in presenter.state.error
    presenter.show_skeleton(True)
    _settle(presenter)
    assert "Choose a clip" in presenter.state.error


def test_a_clip_that_is_not_in_the_new_folder_is_not_shown_any_more(presenter, tmp_path):
    clip = presenter.state.clips[0]
    presenter.choose_clip(clip)
    presenter.open_folder(presenter.state.clips_folder)
    _until(presenter, lambda: presenter.state.clips)
    assert presenter.state.clip == clip
    for folder in (str(tmp_path), str(tmp_path / "nowhere")):
        presenter.open_folder("")
        _until(presenter, lambda: presenter.state.clips)
        presenter.choose_clip(clip)
        presenter.open_folder(folder)
        _until(presenter, lambda: presenter.state.clip is None)
        assert presenter.state.still == "T-pose" and ("does not exist" in presenter.state.error) is (
            not Path(folder).exists()
        )


def test_the_caption_says_what_is_shown_and_what_is_on_its_way(presenter, painter):
    assert presenter.state.caption == "template, T-pose"
    painter.gate.clear()
    presenter.choose_preset("elder_male")
    presenter.tick(0.0)
    assert presenter.state.caption == "elder male, T-pose is on its way ..."
    painter.gate.set()
    _settle(presenter)
    assert presenter.state.caption == "elder male, T-pose"
    painter.gate.clear()
    presenter.set_size(1.1)
    presenter.tick(0.0)
    assert presenter.state.busy and not presenter.state.late, "sliders do not make the words flicker"


def test_a_folder_with_more_motions_than_are_listed_says_so(presenter, tmp_path, monkeypatch):
    for name in ("a.npz", "b.npz", "c.bvh"):
        (tmp_path / name).touch()
    monkeypatch.setattr("soma_isaac.ui.choices.CLIPS_SHOWN", 2)
    monkeypatch.setattr("soma_isaac.ui.presenter.CLIPS_SHOWN", 2)
    presenter.open_folder(str(tmp_path))
    _until(presenter, lambda: presenter.state.clips)
    assert len(presenter.state.clips) == 2 and presenter.state.message.startswith("Only 2 of the motions")


def test_a_failure_is_said_in_words_stops_the_playback_and_is_gone_with_the_next_choice(presenter, painter):
    painter.fails = True
    presenter.choose_clip(presenter.state.clips[0])
    presenter.play(True)
    presenter.tick(0.1)
    _until(presenter, lambda: presenter.state.error)
    assert presenter.state.error == "'walk.npz': has no frames." and not presenter.state.playback.playing
    painter.fails = False
    presenter.choose_clip(presenter.state.clips[1])
    _settle(presenter)
    assert not presenter.state.error and presenter.state.playback.duration == 4.0


def test_the_list_of_another_folder_that_comes_late_is_not_taken(presenter, tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "x.BVH").touch()
    (tmp_path / "a" / "notes.txt").touch()
    assert [clip.name for clip in list_clips(str(tmp_path / "a"))] == ["b/x.BVH"]
    presenter.open_folder(str(tmp_path / "a"))
    presenter.open_folder("")
    _until(presenter, lambda: presenter.state.clips)
    assert len(presenter.state.clips) == 6


def test_the_main_job_is_refused_in_words_without_a_python(presenter, monkeypatch):
    monkeypatch.setattr("soma_isaac.ui.job_control.jobs_python", lambda configured: None)
    presenter.set_only_clip(True)
    presenter.prepare_references()
    assert "Choose a clip" in presenter.state.error
    presenter.set_only_clip(False)
    presenter.prepare_references()
    assert "No Python with Pinocchio" in presenter.state.error and not presenter.job_live


def test_export_is_asked_with_what_is_shown(painter, tmp_path):
    jobs = []
    made = Presenter(
        PanelSettings(export_path="x.usda"), draw=painter, export=lambda *job: jobs.append(job) or "x.usda written"
    )
    made.set_size(1.2)
    made.set_overwrite(True)
    made.export()
    assert made.state.exporting
    made.export()
    _until(made, lambda: not made.state.exporting)
    made.close()
    assert made.state.message == "x.usda written" and len(jobs) == 1
    assert jobs[0] == (replace(made.request(), time=0.0), "x.usda", True)


def test_a_worker_survives_a_fault_of_the_program_and_closes():
    def work(what):
        if what == "fault":
            raise KeyError(what)
        return what

    threading_hook, threading.excepthook = threading.excepthook, lambda arguments: None
    try:
        worker = LatestWorker(work, "test")
        for what, expected in (("fault", None), ("fine", "fine")):
            worker.ask(what)
            end = time.monotonic() + 120.0
            while (reply := worker.take()) is None:
                assert time.monotonic() < end
                time.sleep(0.002)
            assert reply.answer == expected and bool(reply.error) is (expected is None)
        assert worker.close()
        began, go = threading.Event(), threading.Event()
        slow = LatestWorker(lambda what: (began.set(), go.wait(120.0), work(what))[-1], "test")
        slow.ask("fault")
        assert began.wait(120.0)
        slow.ask("fine")  # while the one before is about to fail
        go.set()
        end = time.monotonic() + 120.0
        while (reply := slow.take()) is None or reply.answer != "fine":
            assert time.monotonic() < end, reply
            time.sleep(0.002)
        assert slow.close()
        worker.ask("late")
        assert not worker.busy
    finally:
        threading.excepthook = threading_hook
