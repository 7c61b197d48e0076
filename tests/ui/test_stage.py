"""Bodies from the panel on Kit's stage: real USD, stand-ins for Kit's commands, undo and events."""

import importlib
import threading
import time

import numpy as np
import pytest

pytest.importorskip("pxr")
from pxr import Usd, UsdGeom, UsdSkel

from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd_write import ANIMATION, MESHES, SKEL_ROOT
from soma_isaac.motion.sample import pose_at
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.sinks.usd_layer import own_layer
from soma_isaac.ui.presenter import Presenter
from soma_isaac.ui.preview import PreviewPicture
from soma_isaac.ui.state import PanelSettings
from tests.ui.kit_stand_ins import Context, Kit, StreamContext, install, uninstall

ANIMATION_BELOW = ANIMATION.removeprefix(SKEL_ROOT)


def _no_picture(request):
    return PreviewPicture(np.zeros((4, 4, 3), np.uint8), (), (), 6.34 if request.clip else 0.0, 120.0)


class Desk:
    """A presenter on a stand-in Kit with an open stage."""

    def __init__(self, kit, stage):
        self.kit = kit
        kit.context.open(stage)
        port = importlib.import_module("soma_isaac.kit.stage").KitStage()
        self.presenter = Presenter(PanelSettings(), draw=_no_picture, stage=port)
        self.wait(lambda: self.presenter.state.clips)

    @property
    def state(self):
        return self.presenter.state

    @property
    def usd(self):
        return self.kit.context.stage

    def wait(self, condition):
        end = time.monotonic() + 120.0
        while not condition():
            assert time.monotonic() < end, self.state.error
            self.presenter.tick(0.02)
            threading.Event().wait(0.005)
        for _ in range(15):
            self.presenter.tick(0.02)

    def add(self):
        self.presenter.add_to_stage()
        assert self.state.stage is None or self.presenter.stage.state.adding
        self.wait(lambda: not self.presenter.stage.state.adding)
        return self.presenter.stage.state.chosen

    def choose_clip(self, name):
        self.presenter.choose_clip(next(clip for clip in self.state.clips if clip.name == name))
        self.wait(lambda: self.state.playback.duration > 0.0)

    def rotations(self, path, code):
        return np.array(UsdSkel.Animation.Get(self.usd, path + ANIMATION_BELOW).GetRotationsAttr().Get(code))


def _stage(path=None):
    stage = Usd.Stage.CreateNew(str(path)) if path else Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(60.0)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/World").GetPrim())
    return stage


@pytest.fixture(params=[Context, StreamContext], ids=["events", "stream"])
def desk(request, monkeypatch):
    kit = Kit(request.param)
    install(kit, monkeypatch)
    made = Desk(kit, _stage())
    yield made
    made.presenter.close()
    assert not kit.commands.registered and not kit.listeners
    uninstall()


def test_add_undo_redo_and_remove_are_commands_and_the_panel_follows(desk):
    desk.presenter.choose_preset("child")
    desk.choose_clip("walk.npz")
    empty = desk.usd.GetRootLayer().ExportToString()
    path = desk.add()
    assert path == "/World/SOMA_child" and desk.state.message == f"{path} is on the stage."
    assert desk.kit.context.selected == [path] and desk.state.stage.bodies == (path,)
    assert not desk.usd.GetRootLayer().GetPrimAtPath(path)
    moved = desk.rotations(path, 30.0)
    desk.kit.commands.undo()
    desk.wait(lambda: not desk.state.stage.bodies)
    assert desk.usd.GetRootLayer().ExportToString() == empty and desk.state.stage.chosen == ""
    desk.kit.commands.redo()
    desk.wait(lambda: desk.state.stage.bodies)
    np.testing.assert_array_equal(desk.rotations(path, 30.0), moved)
    second = desk.add()
    assert second == "/World/SOMA_child_2"
    desk.presenter.stage.choose(path)
    desk.presenter.stage.remove()
    desk.wait(lambda: desk.state.stage.bodies == (second,))
    assert desk.state.stage.chosen == second
    desk.kit.commands.undo()
    desk.wait(lambda: desk.state.stage.bodies == (path, second) or desk.state.stage.bodies == (second, path))
    assert len(desk.kit.commands.done) == 2


def test_what_is_added_is_the_body_that_the_panel_shows_at_every_level_of_detail(desk):
    from soma_isaac.body.identities.presets import preset
    from soma_isaac.body.layer import SomaLayer

    desk.presenter.choose_preset("heavy")
    desk.presenter.set_lod("xlo")
    path = desk.add()
    prim = desk.usd.GetPrimAtPath(path)
    for lod in ("xlo", "low", "mid"):
        prim.GetVariantSet("lod").SetVariantSelection(lod)
        (mesh,) = [p for p in Usd.PrimRange(prim) if p.IsA(UsdGeom.Mesh)]
        assert str(mesh.GetPath()).startswith(path + MESHES.removeprefix(SKEL_ROOT))
        identity = SomaLayer(identity="soma", lod=lod, threads=1).prepare_identity(preset("heavy")[None])
        points = np.array(UsdGeom.Mesh(mesh).GetPointsAttr().Get()) * 0.01
        np.testing.assert_allclose(points, identity.rest_points[0], atol=1e-6)
    assert not desk.usd.HasAuthoredTimeCodeRange(), "a still pose has no time"


def test_a_live_body_does_what_the_panel_shows_and_goes_back_to_its_own_motion(desk):
    desk.choose_clip("wave.npz")
    path = desk.add()
    recorded, root = desk.rotations(path, 30.0), desk.usd.GetRootLayer().ExportToString()
    session = desk.usd.GetSessionLayer().ExportToString()
    desk.choose_clip("walk.npz")
    desk.presenter.seek(2.0043)
    desk.presenter.stage.set_live(True)
    desk.wait(lambda: np.abs(desk.rotations(path, 30.0) - recorded).max() > 0.05)
    cache = UsdSkel.Cache()
    cache.Populate(UsdSkel.Root.Get(desk.usd, path), Usd.PrimDefaultPredicate)
    query = cache.GetAnimQuery(UsdSkel.Animation.Get(desk.usd, path + ANIMATION_BELOW))
    turned = np.array(query.ComputeJointLocalTransforms(0.0))[:, :3, :3]
    names = [str(joint).rpartition("/")[2] for joint in query.GetJointOrder()]
    motion = load_motion(data_path("demo_clips") / "walk.npz")
    rotations, _ = pose_at(motion, 2.0043)
    from soma_isaac.body import SomaBody
    from soma_isaac.formats.rig_usd import load_template_rig

    body = SomaBody(load_template_rig(), lod="xlo", threads=1)
    posed = body.pose(body.prepare(), rotations[None], np.zeros((1, 3)), fk_only=True).transforms.numpy()[0]
    for joint, parent in (("LeftShin", "LeftLeg"), ("RightForeArm", "RightArm"), ("Spine2", "Spine1")):
        a, b = (body.layout.joint_names.index(name) for name in (joint, parent))
        expected = posed[b, :3, :3].T @ posed[a, :3, :3]
        np.testing.assert_allclose(turned[names.index(joint)].T, expected, atol=2e-5)
    desk.presenter.stage.set_live(False)
    desk.wait(lambda: not desk.state.stage.live)
    np.testing.assert_array_equal(desk.rotations(path, 30.0), recorded)
    assert desk.usd.GetRootLayer().ExportToString() == root
    assert desk.usd.GetSessionLayer().ExportToString() == session
    assert len(desk.kit.commands.done) == 1, "live poses are nothing to take back"


def test_another_stage_and_a_closed_one(desk):
    path = desk.add()
    desk.presenter.stage.set_live(True)
    desk.kit.context.open(_stage())
    desk.wait(lambda: not desk.state.stage.bodies)
    assert not desk.state.stage.live and desk.state.stage.chosen == ""
    assert not desk.usd.GetSessionLayer().subLayerPaths
    desk.presenter.stage.remove()
    desk.wait(lambda: desk.state.error == "Choose a body on the stage.")
    desk.kit.context.open(None)
    desk.presenter.add_to_stage()
    desk.wait(lambda: desk.state.error == "No stage is open.")
    assert not desk.state.stage.adding and path not in desk.state.stage.bodies


def test_a_stage_that_refuses_is_said_in_words(desk):
    desk.usd.GetRootLayer().SetPermissionToEdit(False)
    desk.presenter.add_to_stage()
    desk.wait(lambda: desk.state.error)
    assert "log says why" in desk.state.error and any("cannot be edited" in line for line in desk.kit.log)
    assert own_layer(desk.usd) is None
    port = desk.presenter.stage._port
    with pytest.raises(InputRejected, match="no body at"):
        port.remove("/World")


def test_saving_keeps_the_layer_beside_the_stage_and_it_reopens_with_its_motion(desk, tmp_path):
    desk.kit.context.open(_stage(tmp_path / "scene.usda"))
    desk.choose_clip("walk.npz")
    path = desk.add()
    expected = desk.rotations(path, 77.7)
    assert {file.name for file in tmp_path.iterdir()} == {"scene.usda"}
    desk.kit.context.save()
    assert {file.name for file in tmp_path.iterdir()} == {"scene.usda", "scene.soma.usdc"}
    desk.kit.context.open(None)
    again = Usd.Stage.Open(str(tmp_path / "scene.usda"))
    animation = UsdSkel.Animation.Get(again, path + ANIMATION_BELOW)
    np.testing.assert_array_equal(np.array(animation.GetRotationsAttr().Get(77.7)), expected)
    assert again.GetEndTimeCode() == pytest.approx(6.34 * 60.0, abs=1.0)


def test_a_stage_that_had_no_file_keeps_its_bodies_when_it_is_saved(desk, tmp_path):
    desk.choose_clip("walk.npz")
    path = desk.add()
    expected = desk.rotations(path, 77.7)
    desk.kit.commands.done.clear()  # opening a stage clears the stack, which held the edits
    desk.kit.context.save_as(tmp_path / "new.usda")
    desk.wait(lambda: desk.state.stage.bodies == (path,))
    assert {file.name for file in tmp_path.iterdir()} == {"new.usda", "new.soma.usdc"}
    assert "anon" not in (tmp_path / "new.usda").read_text()
    np.testing.assert_array_equal(desk.rotations(path, 77.7), expected)


def test_a_save_that_fails_is_logged_and_breaks_nothing(desk, tmp_path, monkeypatch):
    desk.kit.context.open(_stage(tmp_path / "scene.usda"))
    desk.add()
    module = importlib.import_module("soma_isaac.kit.stage")

    def full(stage):
        raise InputRejected("cannot be saved", "scene.soma.usdc")

    monkeypatch.setattr(module, "settle", full)
    desk.kit.context.save()
    assert any("layer of bodies was not saved" in line for line in desk.kit.log)
