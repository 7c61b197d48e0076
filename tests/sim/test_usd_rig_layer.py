"""Bodies in a layer of their own on somebody's stage: added, taken back, done again, saved, found again."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pxr")
from pxr import Gf, Usd, UsdGeom, UsdSkel

from soma_isaac.body import SomaBody
from soma_isaac.body.skin_animation import skin_animation
from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd_write import ANIMATION, SKEL_ROOT
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.sinks.usd_layer import (
    AddBody,
    LiveLayer,
    RemoveBody,
    RigBody,
    bodies_on,
    own_layer,
    settle,
)
from soma_isaac.sim.sinks.usd_rig_values import rig_motion, rig_shape

ANIMATION_BELOW = ANIMATION.removeprefix(SKEL_ROOT)


@pytest.fixture(scope="module", autouse=True)
def rig_layer():
    """The rig stays parsed while stages that refer to it come and go."""
    return Usd.Stage.Open(str(data_path("SOMA_template_rig.usda")), Usd.Stage.LoadNone)


@pytest.fixture(scope="module")
def walker(rig, make_motion):
    """31 frames of 30 Hz: a second."""
    body = SomaBody(rig, lod="xlo", threads=1)
    identity = body.prepare()
    clip = make_motion(31, 30.0, 1)
    animation = skin_animation(body, identity, clip.rotations, clip.root_translation, fps=clip.fps, name="clip")
    return RigBody("walker", rig, "xlo", (rig_shape(body, identity),), rig_motion(body, animation))


def _stage(path=None, world=True):
    stage = Usd.Stage.CreateNew(str(path)) if path else Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(60.0)
    if world:
        stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    if path:
        stage.Save()
    return stage


def _texts(stage):
    return {layer.identifier: layer.ExportToString() for layer in stage.GetLayerStack()}


def _rotations(stage, path, time):
    return np.array(UsdSkel.Animation.Get(stage, path + ANIMATION_BELOW).GetRotationsAttr().Get(time))


@pytest.mark.parametrize("saved", [True, False])
def test_added_taken_back_and_added_again_is_exact_and_the_layer_comes_and_goes(walker, tmp_path, saved):
    stage = _stage(tmp_path / "scene.usda" if saved else None)
    untouched = _texts(stage)
    edit = AddBody(stage, walker)
    assert edit.do() == "/World/walker" and bodies_on(stage) == ("/World/walker",)
    assert own_layer(stage).GetPrimAtPath("/World/walker")
    assert not stage.GetRootLayer().GetPrimAtPath("/World/walker")
    with_one = _texts(stage)
    second = AddBody(stage, walker)
    assert second.do() == "/World/walker_2"
    places = [
        UsdGeom.Xformable(stage.GetPrimAtPath(path)).ComputeLocalToWorldTransform(0).ExtractTranslation()
        for path in bodies_on(stage)
    ]
    assert (places[1] - places[0]).GetLength() > 1.0, "not inside one another"
    second.undo()
    assert _texts(stage) == with_one
    edit.undo()
    assert _texts(stage) == untouched and own_layer(stage) is None
    edit.do()
    if not saved:  # anonymous layers get new names
        assert bodies_on(stage) == ("/World/walker",)
    else:
        assert _texts(stage) == with_one
        assert [path.name for path in tmp_path.iterdir()] == ["scene.usda"], "nothing on the disk before it is saved"


def test_the_stages_time_range_holds_the_clip_and_goes_back(walker):
    stage = _stage()
    edit = AddBody(stage, walker)
    edit.do()
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0.0, 60.0)
    edit.undo()
    assert not stage.HasAuthoredTimeCodeRange()
    stage.SetStartTimeCode(-5.0)
    stage.SetEndTimeCode(30.0)
    edit.do()
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (-5.0, 60.0)
    edit.undo()
    assert stage.GetEndTimeCode() == 30.0
    stage.SetEndTimeCode(500.0)
    edit.do()
    edit.undo()
    assert stage.GetEndTimeCode() == 500.0


def test_a_removed_body_takes_the_users_edits_of_it_along_and_comes_back_with_them(walker):
    stage = _stage()
    path = AddBody(stage, walker).do()
    UsdGeom.Imageable(stage.GetPrimAtPath(path)).MakeInvisible()  # the user, in the root layer
    with Usd.EditContext(stage, stage.GetSessionLayer()):
        stage.GetPrimAtPath(path).SetCustomDataByKey("note", "mine")
    before = _texts(stage)
    edit = RemoveBody(stage, path)
    for _ in range(2):
        edit.do()
        assert not stage.GetPrimAtPath(path) and bodies_on(stage) == ()
        assert stage.GetPrimAtPath("/World").IsA(UsdGeom.Xform)
        edit.undo()
        assert _texts(stage) == before
    with pytest.raises(InputRejected, match="no body at"):
        RemoveBody(stage, "/World")


def test_a_saved_stage_reopens_with_its_motion_and_its_bodies(walker, tmp_path):
    stage = _stage(tmp_path / "scene.usda")
    path = AddBody(stage, walker).do()
    expected = [_rotations(stage, path, code) for code in (0.0, 13.7, 60.0)]
    assert np.abs(expected[0] - expected[2]).max() > 0.1
    stage.Save()
    assert Path(settle(stage)) == tmp_path / "scene.soma.usdc"
    del stage
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("scene.usda", "scene.soma.usdc"):
        (tmp_path / name).rename(moved / name)
    again = Usd.Stage.Open(str(moved / "scene.usda"))
    assert bodies_on(again) == (path,) and again.GetEndTimeCode() == 60.0
    for code, value in zip((0.0, 13.7, 60.0), expected, strict=True):
        np.testing.assert_array_equal(_rotations(again, path, code), value)
    RemoveBody(again, path).do()
    again.Save()
    assert settle(again) is None and own_layer(again) is None
    assert "soma" not in (moved / "scene.usda").read_text()


def test_a_stage_that_had_no_file_gets_the_layer_beside_it_when_it_is_saved(walker, tmp_path):
    stage = _stage()
    path = AddBody(stage, walker).do()
    expected = _rotations(stage, path, 13.7)
    assert settle(stage) is None
    # Save As, as an application does it: the root layer goes to a file and the stage is opened from there.
    stage.GetRootLayer().Export(str(tmp_path / "new.usda"))
    opened = Usd.Stage.Open(str(tmp_path / "new.usda"))
    assert bodies_on(opened) == (path,)
    assert Path(settle(opened)) == tmp_path / "new.soma.usdc"
    assert "anon" not in (tmp_path / "new.usda").read_text()
    edit = RemoveBody(opened, path)
    edit.do()
    edit.undo()
    del stage, opened
    again = Usd.Stage.Open(str(tmp_path / "new.usda"))
    np.testing.assert_array_equal(_rotations(again, path, 13.7), expected)


def test_a_stage_saved_under_another_name_gets_a_layer_of_its_own(walker, tmp_path):
    stage = _stage(tmp_path / "scene.usda")
    path = AddBody(stage, walker).do()
    stage.Save()
    (tmp_path / "b").mkdir()
    copy = stage.GetRootLayer()
    text = copy.ExportToString().replace("./scene.soma.usdc", "../scene.soma.usdc")
    (tmp_path / "b" / "copy.usda").write_text(text)
    other = Usd.Stage.Open(str(tmp_path / "b" / "copy.usda"))
    assert bodies_on(other) == (path,)
    settle(other)
    RemoveBody(other, path).do()
    assert bodies_on(other) == () and bodies_on(stage) == (path,), "the first stage keeps its body"


def test_a_removal_can_be_taken_back_after_the_stage_was_saved_without_bodies(walker, tmp_path):
    stage = _stage(tmp_path / "scene.usda")
    path = AddBody(stage, walker).do()
    stage.Save()
    edit = RemoveBody(stage, path)
    edit.do()
    stage.Save()
    settle(stage)
    edit.undo()
    assert bodies_on(stage) == (path,)
    stage.Save()
    assert bodies_on(Usd.Stage.Open(str(tmp_path / "scene.usda"))) == (path,)


def test_live_poses_stand_above_the_recorded_ones_and_leave_nothing(walker, tmp_path):
    stage = _stage(tmp_path / "scene.usda")
    path = AddBody(stage, walker).do()
    stage.Save()
    before, recorded = _texts(stage), _rotations(stage, path, 13.7)
    live = LiveLayer(stage)
    held = UsdSkel.Animation.Get(stage, path + ANIMATION_BELOW).GetRotationsAttr().Get(40.0)
    with live.edit():
        UsdSkel.Animation.Get(stage, path + ANIMATION_BELOW).GetRotationsAttr().Set(held)
    np.testing.assert_array_equal(_rotations(stage, path, 13.7), np.array(held))
    assert not any(layer.dirty for layer in stage.GetLayerStack(includeSessionLayers=False))
    live.close()
    live.close()
    np.testing.assert_array_equal(_rotations(stage, path, 13.7), recorded)
    assert _texts(stage) == before


def test_stages_without_a_default_prim_with_one_that_is_a_thing_and_with_locked_layers(walker):
    stage = _stage(world=False)
    assert AddBody(stage, walker).do() == "/walker"
    cube = _stage(world=False)
    cube.SetDefaultPrim(UsdGeom.Cube.Define(cube, "/Cube").GetPrim())
    assert AddBody(cube, walker).do() == "/walker"
    taken = AddBody(cube, walker)
    UsdGeom.Xform.Define(cube, taken.path)
    before = _texts(cube)
    with pytest.raises(InputRejected, match="already"):
        taken.do()
    assert _texts(cube) == before
    locked = _stage()
    locked.GetRootLayer().SetPermissionToEdit(False)
    with pytest.raises(InputRejected, match="cannot be edited"):
        AddBody(locked, walker).do()


def test_the_users_move_of_a_body_stands_above_where_it_was_put(walker):
    stage = _stage()
    prim = stage.GetPrimAtPath(AddBody(stage, walker).do())
    prim.GetAttribute("xformOp:transform").Set(Gf.Matrix4d().SetTranslate((7.0, 0.0, 0.0)))
    assert UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(0).ExtractTranslation() == Gf.Vec3d(7.0, 0.0, 0.0)
