"""The panel's section for the stage, clicked under the real omni.ui; the stage is USD's own, Kit a stand-in."""

import importlib

import numpy as np
import pytest

pytest.importorskip("pxr")
from pxr import Usd, UsdGeom, UsdSkel

from soma_isaac.formats.rig_usd_write import ANIMATION, SKEL_ROOT
from tests.ui.kit_stand_ins import Kit, install, uninstall


@pytest.fixture
def kit(omni_ui, monkeypatch):
    made = Kit()
    install(made, monkeypatch)
    stage = Usd.Stage.CreateInMemory()
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    made.context.open(stage)
    yield made
    uninstall()


def _rotations(stage, path):
    return np.array(UsdSkel.Animation.Get(stage, path + ANIMATION.removeprefix(SKEL_ROOT)).GetRotationsAttr().Get(30.0))


def test_add_live_and_remove_are_clicked_and_the_frames_go_on_meanwhile(kit, hands_on):
    hands = hands_on(importlib.import_module("soma_isaac.kit.stage").KitStage())
    stage = kit.context.stage
    hands.click("clip:wave.npz")
    hands.settle()
    hands.slowest_update_s = 0.0
    for count in (1, 2):
        hands.click("stage_add")
        assert hands.state.stage.adding and not hands.panel.widgets["stage_add"].enabled
        hands.wait(lambda count=count: len(hands.state.stage.bodies) == count)
    first, second = "/World/SOMA_template", "/World/SOMA_template_2"
    assert hands.state.stage.bodies == (first, second) and hands.state.stage.chosen == second
    assert len(
        UsdSkel.Animation.Get(stage, first + ANIMATION.removeprefix(SKEL_ROOT)).GetRotationsAttr().GetTimeSamples()
    )
    hands.screenshot("stage")
    hands.click(f"stage:{first}")
    assert hands.state.stage.chosen == first
    recorded = _rotations(stage, first)
    hands.click("stage_live")
    hands.drag("time", 0.1, 0.5)
    hands.wait(lambda: np.abs(_rotations(stage, first) - recorded).max() > 0.05)
    assert np.array_equal(_rotations(stage, second), recorded)
    hands.click("stage_live")
    hands.wait(lambda: np.array_equal(_rotations(stage, first), recorded))
    hands.click("stage_remove")
    hands.wait(lambda: hands.state.stage.bodies == (second,))
    kit.commands.undo()
    hands.wait(lambda: len(hands.state.stage.bodies) == 2)
    kit.context.open(None)
    hands.click("stage_add")
    hands.wait(lambda: hands.state.error)
    assert hands.panel.widgets["error"].text == "No stage is open."
