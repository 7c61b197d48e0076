"""Effectors in the presenter, on the page (stand-ins for viser) and in the panel (the real omni.ui)."""

import asyncio
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, template_skeleton
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.ui.choices import POSED, BodyChoice, Clip, PointEffector, PreviewRequest, ViewChoice
from soma_isaac.ui.export import write_body
from soma_isaac.ui.posing import FIRST, REACH_M, rest_places, standing_ahead
from soma_isaac.ui.presenter import Presenter
from soma_isaac.ui.preview import PreviewPicture, PreviewRenderer
from soma_isaac.ui.state import PanelSettings
from soma_isaac.ui.web_renderer import PageRenderer

HAND = BODY_JOINT_NAMES.index("LeftHand")
USER, PROGRAM = SimpleNamespace(client_id=1), SimpleNamespace(client_id=None)


def settle(presenter):
    end = time.monotonic() + 120.0
    while True:
        presenter.tick(0.0)
        if (
            presenter.state.picture is not None
            and not presenter.state.busy
            and presenter.request() == presenter._preview._wanted
        ):
            return
        assert time.monotonic() < end
        time.sleep(0.002)


@pytest.fixture
def presenter(tmp_path):
    """A presenter whose pictures say that every joint is at (index / 10, 1, 0) m, in the T-pose a metre up."""
    places, rest = (tuple((0.1 * k, height, 0.0) for k in range(23)) for height in (1.0, 2.0))

    def draw(request):
        return PreviewPicture(np.zeros((2, 2, 3), np.uint8), (), (), 0.0, 30.0, "", places, rest)

    made = Presenter(PanelSettings(references=str(tmp_path)), draw=draw, export=lambda *job: "written")
    settle(made)
    yield made
    made.close()


def test_posing_begins_with_hips_hands_and_feet_where_they_are(presenter):
    presenter.choose_still(POSED)
    state = presenter.state
    assert tuple(each.joint for each in state.effectors) == FIRST and state.clip is None and state.still == POSED
    assert state.effectors[1].point == (0.1 * HAND, 1.0, 0.0) and not any(each.look for each in state.effectors)
    assert presenter.request().effectors == state.effectors
    presenter.choose_still("T-pose")
    assert presenter.request().effectors == (), "what is not shown does not make pictures anew"
    presenter.choose_still(POSED)
    assert presenter.state.effectors == state.effectors, "they are kept"


def test_beginning_anew_is_in_the_t_pose_of_the_body_that_is_shown(presenter):
    presenter.choose_still(POSED)
    presenter.posing.move(1, (0.0, 0.0, 0.0))
    presenter.posing.reset()
    assert presenter.state.effectors[1].point == (0.1 * HAND, 2.0, 0.0)
    assert [each.joint for each in presenter.state.effectors] == list(FIRST)


def test_a_pose_out_of_a_clip_stands_in_the_middle_and_looks_ahead():
    """Five metres down a walk to the side the body would be out of sight, and its points out of reach."""
    joints = np.array(rest_places(template_skeleton()))
    assert np.allclose(standing_ahead(tuple(map(tuple, joints.tolist()))), joints, atol=2e-3)
    turn = Rotation.from_rotvec([0.0, 2.0, 0.0]).as_matrix()
    moved = joints @ turn.T + [5.5, 0.1, -4.0]
    assert np.allclose(standing_ahead(tuple(map(tuple, moved.tolist()))), joints + [0.0, 0.1, 0.0], atol=2e-3)
    assert standing_ahead(()) == ()


def test_choosing_to_pose_while_a_clip_plays_takes_the_pose_of_the_moment(presenter):
    presenter.choose_clip(Clip("walk.npz", "walk.npz"))
    settle(presenter)
    presenter.play(True)
    presenter.posing.add("Head")
    state = presenter.state
    assert not state.playback.playing and state.effectors[0].point == (0.0, 1.0, 0.0)
    # The stand-in's right leg is on the left of its left one: it was looking back.
    assert state.effectors[1].point == pytest.approx((-0.1 * HAND, 1.0, 0.0))
    assert state.effectors[-1].point == pytest.approx((-0.6, 1.0, 0.0)), "what is added is where it is then"


def test_adding_choosing_moving_removing(presenter):
    posing = presenter.posing
    posing.add("Head", look=True)
    assert presenter.state.effectors[-1] == PointEffector("Head", True, (0.1 * 6, 1.0, 1.0))
    assert presenter.state.chosen_effector == len(FIRST) and posing.chosen.words == "Head looks at"
    posing.add("LeftHand")
    assert len(presenter.state.effectors) == len(FIRST) + 1 and presenter.state.chosen_effector == 1
    posing.move_chosen(2, 0.5)
    assert posing.chosen.point == (0.1 * HAND, 1.0, 0.5)
    posing.move(1, (99.0, -99.0, 0.25))
    assert posing.chosen.point == (REACH_M, -REACH_M, 0.25)
    revision = presenter.revision
    posing.move(1, (REACH_M, -REACH_M, 0.25))
    posing.move(77, (0.0, 0.0, 0.0))
    posing.choose(77)
    posing.add("Tail")
    assert presenter.revision == revision
    posing.remove()
    assert [each.joint for each in presenter.state.effectors] == ["Hips", *FIRST[2:], "Head"]
    assert posing.chosen.joint == FIRST[2]
    posing.choose(0)
    while not presenter.state.error:
        posing.remove()
    assert presenter.state.error == "One joint has to be held in a place."
    assert sum(not each.look for each in presenter.state.effectors) == 1
    posing.reset()
    assert tuple(each.joint for each in presenter.state.effectors) == FIRST and posing.chosen is None
    posing.remove()
    assert presenter.state.error == "Choose an effector."


POSE = (
    PointEffector("Hips", False, (0.0, 0.75, 0.0)),
    PointEffector("LeftHand", False, (0.3, 1.1, 0.3)),
    PointEffector("LeftFoot", False, (0.1, 0.1, 0.0)),
    PointEffector("RightFoot", False, (-0.1, 0.1, 0.0)),
    PointEffector("Head", True, (0.4, 1.2, 0.7)),
)
REQUEST = PreviewRequest(BodyChoice(lod="xlo"), None, POSED, 0.0, ViewChoice(size=(60, 80)), "", effectors=POSE)


@pytest.mark.parametrize("renderer", [PreviewRenderer, PageRenderer])
def test_renderers_show_the_body_in_the_pose(renderer):
    """Joints are at their points whatever the body's shape, which both renderers let one change under the pose."""
    drawer = renderer()
    bodies = (BodyChoice(lod="xlo"), BodyChoice("soma", "short", lod="xlo"), BodyChoice(lod="xlo", size=1.1))
    for body in bodies:
        frame = drawer.draw(replace(REQUEST, body=body))
        assert frame.joints[0] == pytest.approx(POSE[0].point, abs=2e-3)
        assert frame.joints[HAND] == pytest.approx(POSE[1].point, abs=2e-3)
        assert "short of" not in frame.note
    far = (*POSE[:1], PointEffector("LeftHand", False, (0.0, 4.0, 0.0)), *POSE[2:4])
    assert "LeftHand is" in drawer.draw(replace(REQUEST, effectors=far)).note
    moved = tuple(replace(each, point=(each.point[0] + 0.5, *each.point[1:])) for each in POSE)
    frame = drawer.draw(replace(REQUEST, effectors=moved))
    assert frame.joints[0][0] == pytest.approx(0.5, abs=2e-3), "a body that is dragged away goes away"


@pytest.mark.parametrize("renderer", [PreviewRenderer, PageRenderer])
def test_renderers_say_where_the_joints_of_the_t_pose_are(renderer):
    drawer = renderer()
    for body in (BodyChoice(lod="xlo"), BodyChoice("soma", "child", lod="xlo", size=1.2)):
        still = drawer.draw(replace(REQUEST, body=body, still="T-pose", effectors=()))
        posed = drawer.draw(replace(REQUEST, body=body))
        assert np.allclose(posed.rest_joints, still.joints, atol=2e-3)


def test_a_raised_hand_is_in_the_picture():
    up = (*POSE[:1], PointEffector("LeftHand", False, (0.2, 2.0, 0.1)), *POSE[2:4])
    image = PreviewRenderer().draw(replace(REQUEST, effectors=up, view=ViewChoice(size=(200, 240)))).image.astype(int)
    skin = image[..., 0] - image[..., 2] > 25
    assert skin.any() and not skin[:4].any()


def test_effectors_are_drawn_and_the_page_stays_where_it_is():
    drawer = PreviewRenderer()
    image = drawer.draw(replace(REQUEST, view=ViewChoice(size=(240, 240)))).image.astype(int)
    red = image[..., 0] - image[..., 1:].max(axis=2) > 90
    blue = image[..., 2] - image[..., 0] > 60
    assert red.sum() > 30 and blue.sum() > 10
    frame = PageRenderer().draw(REQUEST)
    assert frame.centre is None and frame.figures[0].place == pytest.approx([0.0, 0.0, 0.0])


def test_export_writes_the_pose(tmp_path):
    assert "written" in write_body(REQUEST, str(tmp_path / "pose.npz"), False)
    motion = load_motion(tmp_path / "pose.npz")
    assert motion.frame_count == 1 and motion.root_translation[0] == pytest.approx(POSE[0].point, abs=1e-3)
    assert "written" in write_body(REQUEST, str(tmp_path / "pose.usda"), False)


class Arrows:
    """Stands in for a scene with transform controls."""

    def __init__(self):
        self.made, self.gone = [], []

    def add_transform_controls(self, name, *, position, **options):
        handle = SimpleNamespace(name=name, position=position, options=options, calls=[])
        handle.on_update = handle.calls.append
        handle.remove = lambda: self.gone.append(name)
        self.made.append(handle)
        return handle

    def add_icosphere(self, name, **_):
        return SimpleNamespace(remove=lambda: self.gone.append(name))

    def drag(self, index, point, event=USER):
        handle = self.made[index]
        handle.position = np.array(point)
        for call in handle.calls:
            asyncio.run(call(event))


def test_arrows_on_the_page_move_effectors(presenter):
    from soma_isaac.ui.web_effectors import EffectorControls
    from soma_isaac.ui.web_widgets import Widgets
    from tests.ui.test_web_controls import Gui

    widgets = Widgets(Gui(), lambda event: event.client_id is not None)
    scene = Arrows()
    controls = EffectorControls(widgets, scene, "/stage/figure_0", presenter)

    def step():
        widgets.obey()
        presenter.tick(0.0)
        controls.show(presenter.state)

    step()
    assert scene.made == [] and not widgets.handles["effector:1"].visible, "there is nothing to move"
    widgets.handles["pose"].happen(True)
    step()
    assert [handle.name for handle in scene.made] == [f"/stage/figure_0/effector_{k}" for k in range(len(FIRST))]
    assert scene.made[0].options["disable_rotations"]
    scene.drag(1, (0.5, 1.5, 0.25))
    scene.drag(2, (0.7, 0.7, 0.7), PROGRAM)
    step()
    assert presenter.state.effectors[1].point == (0.5, 1.5, 0.25) and presenter.state.chosen_effector == 1
    assert presenter.state.effectors[2].point != (0.7, 0.7, 0.7), "what the program sets is no wish of a user"
    assert widgets.handles["effector"].value == "LeftHand" and widgets.handles["effector:1"].value == 1.5
    assert widgets.handles["effector:1"].visible
    scene.drag(1, (0.5, 1.6, 0.25))
    widgets.obey()
    scene.made[1].position = (0.5, 1.7, 0.25)  # the browser is ahead of the program
    controls.show(presenter.state)
    assert scene.made[1].position == (0.5, 1.7, 0.25), "an arrow is not torn out of the hand"
    widgets.handles["effector:2"].happen(0.3)
    step()
    assert presenter.state.effectors[1].point == (0.5, 1.6, 0.3) and scene.made[1].position == (0.5, 1.6, 0.3)
    widgets.handles["joint"].happen("Head")
    widgets.handles["look"].happen(True)
    step()
    assert len(scene.gone) == 2 * len(FIRST) and len(scene.made) == 2 * len(FIRST) + 1
    presenter.choose_still("T-pose")
    step()
    assert len(scene.gone) == 2 * (2 * len(FIRST) + 1)


def test_the_panel_lists_effectors_and_drags_them(hands):
    """Unfold the section, pose by effectors, choose the left hand, drag its height: the arm goes up in the picture."""
    presenter = hands.panel.presenter
    hands.click_title("effectors")
    hands.click("pose")
    hands.settle()
    hands.frames(3)
    before = hands.state.picture.image.astype(int)
    hands.click("effector:1")
    hands.settle()
    assert presenter.posing.chosen.joint == "LeftHand"
    start = presenter.posing.chosen.point
    hands.drag("effector:y", 0.5, 0.9)
    hands.settle()
    assert presenter.posing.chosen.point[1] != start[1] and presenter.posing.chosen.point[0] == start[0]
    presenter.posing.move(1, (0.35, 1.75, 0.25))
    hands.settle()
    hands.screenshot("effectors")
    assert (np.abs(hands.state.picture.image.astype(int) - before).max(axis=2) > 8).mean() > 0.01
    assert hands.panel.widgets["effector:y"].model.as_float == pytest.approx(1.75)
    hands.click("unhold")
    hands.settle()
    assert [each.joint for each in hands.state.effectors] == ["Hips", "RightHand", "LeftFoot", "RightFoot"]
