"""The panel under the real omni.ui: clicked, dragged, typed into and looked at."""

import asyncio

import numpy as np
import pytest

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


def test_dragging_the_size_changes_the_rendered_body(hands):
    before = _pixels(hands)
    hands.drag("size", 0.5, 0.9)
    hands.settle()
    assert 1.3 < hands.state.body.size < 1.5
    assert _differ(before, _pixels(hands)) > 0.05


def test_choosing_a_named_body_fills_the_sliders_and_dragging_one_changes_the_body(hands):
    _choose(hands, "preset", 1 + hands.panel.presenter.presets.index("child"))
    hands.settle()
    assert hands.state.body.preset == "child" and len(hands.state.sliders) == 64 + 60
    child = _pixels(hands)
    assert np.any(np.array(hands.state.coefficients) != 0.0)
    hands.frames(3)
    hands.drag("shape:0", 0.5, 0.95)
    hands.settle()
    assert hands.state.body.preset is None, "a body that was changed is not the named one any more"
    assert hands.state.coefficients[0] > 2.0
    assert _differ(child, _pixels(hands)) > 0.01
    hands.screenshot("shape_slider")
    hands.click("reset")
    hands.settle()
    assert hands.state.coefficients == (0.0,) * 64 + (1.0,) * 60


def test_the_last_slider_of_a_group_and_those_of_a_folded_group_move_the_body(hands):
    _choose(hands, "preset", 1 + hands.panel.presenter.presets.index("adult_male"))
    hands.settle()
    hands.frames(3)
    hands.scroll("shape:0", down=True)
    before = hands.state.coefficients
    hands.drag("shape:63", 0.5, 0.95)
    hands.settle()
    assert hands.state.coefficients[63] > before[63] + 1.0 and hands.state.coefficients[:63] == before[:63]
    shaped = _pixels(hands)
    hands.click_title("group:bone_scales")
    hands.drag("shape:64", 0.5, 0.97)  # LeftArm: the shoulder moves out
    hands.settle()
    name, value = hands.state.sliders[64].name, hands.state.coefficients[64]
    assert name == "LeftArm" and 1.2 < value <= 1.3
    assert dict(hands.state.body.groups)["bone_scales"][0] == pytest.approx(value)
    assert _differ(shaped, _pixels(hands)) > 0.001
    hands.screenshot("bone_lengths")


def _choose(hands, combo, index):
    """Open a combo box and click an entry of its list, which hangs below it."""
    import asyncio

    from omni.ui import testing

    widget = hands.panel.widgets[combo]
    hands.click(combo)
    hands.screenshot(f"open_{combo}")
    x = widget.screen_position_x + 40
    y = widget.screen_position_y + widget.computed_height + 4 + (index + 0.5) * 21
    asyncio.run(testing.mouse_click(x, y))
    hands.frames(3)


def test_a_clip_plays_faster_with_more_speed_and_can_be_scrubbed(hands):
    hands.click("clip:squat.npz")
    hands.settle()
    assert (
        hands.state.clip.name == "squat.npz"
        and hands.state.playback.duration > 2.0
        and hands.state.playback.time == 0.0
    )
    start = _pixels(hands)
    hands.click("play")
    hands.frames(15)
    first = hands.state.playback.time
    assert first > 0.3
    hands.drag("speed", 0.3, 0.98)
    began = hands.state.playback.time
    hands.frames(15)
    assert hands.state.playback.time - began > 1.5 * 15 / 30
    hands.click("play")
    assert not hands.state.playback.playing
    hands.drag("time", 0.1, 0.4)
    hands.settle()
    assert 0.3 < hands.state.playback.time / hands.state.playback.duration < 0.5
    assert _differ(start, _pixels(hands)) > 0.03
    hands.click(STILL_POSES[1])
    hands.settle()
    assert hands.state.clip is None and hands.state.playback.duration == 0.0


def test_skeleton_and_robot_appear(hands):
    plain = _pixels(hands)
    hands.click("skeleton")
    hands.settle()
    image = _pixels(hands)
    green = (image[..., 1] - image[..., 0] > 100) & (image[..., 1] - image[..., 2] > 40)
    assert green.mean() > 0.002 and (plain[..., 1] - plain[..., 0]).max() < 60
    hands.click("robot")
    hands.settle()
    image = _pixels(hands)
    assert ((image[..., 2] - image[..., 0]) > 30).mean() > 0.02
    hands.drag("turn", 0.5, 0.7)
    hands.settle()
    assert _differ(image, _pixels(hands)) > 0.1
    hands.screenshot("skeleton_and_robot")


def test_a_folder_that_is_not_there_is_said_in_the_panel(hands):
    hands.type_into("folder", "/no/such/folder")
    hands.wait(lambda: hands.state.error)
    hands.frames(2)
    assert "'/no/such/folder' does not exist" in hands.panel.widgets["error"].text
    assert hands.panel.widgets["error"].visible
    hands.screenshot("error")
    hands.type_into("folder", " ")
    hands.wait(lambda: len(hands.state.clips) == 6)
    assert not hands.state.error


def test_a_model_without_its_files_says_what_it_needs_and_takes_a_folder(hands, tmp_path):
    from soma_isaac.ui.presenter import BACKENDS

    _choose(hands, "backend", BACKENDS.index("smpl"))
    hands.wait(lambda: hands.state.error)
    hands.frames(2)
    assert "SMPL_NEUTRAL" in hands.panel.widgets["error"].text
    hands.screenshot("model_files")
    hands.type_into("assets", str(tmp_path))
    hands.settle()
    assert hands.state.body.assets == str(tmp_path) and "SMPL_NEUTRAL" in hands.state.error
    hands.click("reset")
    _choose(hands, "backend", BACKENDS.index("template"))
    hands.settle()
    assert not hands.state.error


def test_export_writes_the_shown_clip_and_refuses_to_overwrite(hands, tmp_path):
    hands.click("clip:wave.npz")
    hands.settle()
    hands.click("export")
    hands.wait(lambda: hands.state.message or hands.state.error)
    assert not hands.state.error
    written = tmp_path / "body.usda"
    assert written.stat().st_size > 100_000 and str(written) in hands.state.message
    hands.click(STILL_POSES[0])
    hands.settle()
    hands.click("export")
    hands.wait(lambda: hands.state.error)
    assert "exists with other bytes" in hands.state.error
    hands.click("overwrite")
    hands.click("export")
    hands.wait(lambda: not hands.state.exporting and hands.state.message)
    assert "replaced" in hands.state.message


def test_a_number_that_is_refused_is_not_left_in_its_field(hands):
    for _ in range(2):  # the second time the panel's state does not change
        hands.type_into("body_count", "99999")
        assert hands.state.body_count == 4096 == hands.panel.widgets["body_count"].model.as_int
    standing = hands.state.references
    for _ in range(2):
        hands.type_into("references", " ")
        assert hands.panel.widgets["references"].model.as_string == hands.state.references == standing


def test_the_pose_and_the_clip_that_are_shown_are_marked_and_the_caption_names_them(hands):
    def marked():
        return [name for name in (*STILL_POSES, "clip:walk.npz") if hands.panel.widgets[name].style]

    assert marked() == ["T-pose"] and hands.panel.widgets["caption"].text == "template, T-pose"
    hands.click("bind pose")
    hands.settle()
    assert marked() == ["bind pose"]
    hands.click("clip:walk.npz")
    hands.settle()
    assert marked() == ["clip:walk.npz"] and hands.panel.widgets["caption"].text == "template, walk.npz"
    hands.screenshot("clip_chosen")


def test_pictures_that_arrive_while_a_number_is_typed_leave_it_alone(hands):
    hands.click("clip:walk.npz")
    hands.click("play")
    hands.wait(lambda: hands.state.playback.playing and hands.state.playback.time > 0.1)
    asyncio.run(hands._testing.mouse_double_click(*hands._at("body_count", 0.3)))
    hands.panel.widgets["body_count"].model.set_value("")
    hands.frames(2)
    asyncio.run(hands._testing.type_text("7"))
    hands.frames(2)
    before, revision = hands.state.body_count, hands.panel.presenter.revision
    hands.wait(lambda: hands.panel.presenter.revision > revision + 3)  # the panel shows its state again and again
    assert before == hands.state.body_count != 7
    asyncio.run(hands._testing.mouse_click(*hands._at("picture")))
    hands.frames(2)
    assert hands.state.body_count == 7
