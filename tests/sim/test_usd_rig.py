"""Saved stages with referenced rigs, reopened and asked through UsdSkel itself; and where they find the rig."""

import shutil

import numpy as np
import pytest

pytest.importorskip("pxr")
from pxr import Usd, UsdGeom, UsdSkel, Vt

from soma_isaac.body.identities.presets import preset
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.skin_animation import skin_animation
from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd_write import MESHES, SKEL_ROOT, SKELETON
from soma_isaac.motion.sample import pose_at
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from soma_isaac.sim.sinks.usd_rig import UsdSkelSink, author_identity, author_motion, reference_rig

PEOPLE = ("child", "adult_female", "heavy")
RIG_FILE = data_path("SOMA_template_rig.usda")


@pytest.fixture(scope="module")
def walk():
    return load_motion(data_path("demo_clips") / "walk.npz")


@pytest.fixture(scope="module", autouse=True)
def rig_layer():
    """The rig stays parsed while the tests of this file open and close stages that refer to it."""
    return Usd.Stage.Open(str(RIG_FILE), Usd.Stage.LoadNone)


class Skinned:
    """A body on a stage as UsdSkel sees it: metres, columns."""

    def __init__(self, stage, path):
        self.stage, self.path = stage, path
        self.cache = UsdSkel.Cache()
        self.cache.Populate(UsdSkel.Root.Get(stage, path), Usd.PrimDefaultPredicate)
        skeleton = UsdSkel.Skeleton.Get(stage, path + SKELETON.removeprefix(SKEL_ROOT))
        self.query = self.cache.GetSkelQuery(skeleton)
        (self.mesh,) = [
            prim for prim in stage.GetPrimAtPath(path + MESHES.removeprefix(SKEL_ROOT)).GetChildren() if prim.IsActive()
        ]
        self.names = [str(joint).rpartition("/")[2] for joint in self.query.GetJointOrder()]
        self.to_world = np.array(UsdGeom.Xformable(stage.GetPrimAtPath(path)).ComputeLocalToWorldTransform(0))
        self.metres = UsdGeom.GetStageMetersPerUnit(stage)

    def joints(self, time):
        world = np.swapaxes(np.array(self.query.ComputeJointSkelTransforms(time), float) @ self.to_world, 1, 2)
        world[:, :3, :3] /= np.cbrt(np.linalg.det(world[0, :3, :3]))
        world[:, :3, 3] *= self.metres
        return world

    def public_joints(self, time, rig):
        return self.joints(time)[[self.names.index(name) for name in rig.public_joint_names]]

    def vertices(self, time):
        points = Vt.Vec3fArray(UsdGeom.Mesh(self.mesh).GetPointsAttr().Get())
        transforms = self.query.ComputeSkinningTransforms(time)
        assert self.cache.GetSkinningQuery(self.mesh).ComputeSkinnedPoints(transforms, points, time)
        return (np.array(points, float) @ self.to_world[:3, :3] + self.to_world[3, :3]) * self.metres


def _new_stage(path, codes_per_second=60.0):
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(codes_per_second)
    return stage


@pytest.mark.parametrize("lod", ["low", "mid", "xlo"])
def test_three_people_saved_and_reopened_are_the_layers_at_every_level_of_detail(rig, walk, tmp_path, lod):
    layer = SomaLayer(rig, identity="soma", lod=lod, threads=1)
    people = layer.prepare_identity(np.stack([preset(name) for name in PEOPLE]))
    places = np.repeat(Z_UP_FROM_Y_UP[None], 3, axis=0)
    places[:, 0, 3], places[:, 2, 3] = (0.0, 1.5, -1.5), 0.2
    stepper = BodyStepper(
        ClipLibrary([walk]),
        [BodyGroup(layer.body, people)],
        phases=[0.0, 1.1, 2.7],
        speeds=[1.0, 0.8, 1.3],
        placements=places,
        normals=False,
    )
    group = stepper.groups[0]
    stage = _new_stage(tmp_path / "scene.usdc")
    prims = [reference_rig(stage, f"/World/Person_{row}", rig, lod=lod, T_world_body=places[row]) for row in range(3)]
    for row, prim in enumerate(prims):
        author_identity(prim, layer.body, people, row)
    sink = UsdSkelSink(prims, group)
    expected = []
    for code in range(10):
        stepper.step(0.237)
        sink.write(group, code)
        expected.append((group.pose.transforms.numpy().copy(), group.pose.vertices.numpy().copy()))
    stage.Save()
    del stage, prims, prim, sink
    reopened = Usd.Stage.Open(str(tmp_path / "scene.usdc"))
    heights = []
    for row in range(3):
        person = Skinned(reopened, f"/World/Person_{row}")
        for code, (transforms, vertices) in enumerate(expected):
            np.testing.assert_allclose(person.public_joints(code, rig)[1:], transforms[row, 1:], atol=1e-5)
            assert np.linalg.norm(person.vertices(code) - vertices[row], axis=1).max() < 1e-4
        heights.append(np.ptp(vertices[row, :, 2]))
    assert np.ptp(heights) > 0.3, "three different people"


def test_a_recorded_clip_is_the_layers_between_its_frames_too(rig, walk, tmp_path):
    layer = SomaLayer(rig, identity="soma", lod="low", threads=1)
    identity = layer.prepare_identity(preset("child")[None])
    stage = _new_stage(tmp_path / "scene.usda", 24.0)
    prim = reference_rig(stage, "/Walker", rig, lod="low")
    author_identity(prim, layer.body, identity)
    clip = skin_animation(layer.body, identity, walk.rotations, walk.root_translation, fps=walk.fps, name="walk")
    author_motion(prim, layer.body, clip, start=1.0)
    stage.Save()
    walker = Skinned(Usd.Stage.Open(str(tmp_path / "scene.usda")), "/Walker")
    for time in np.linspace(0.0, 6.3, 10) + 0.0031:
        rotations, hips = pose_at(walk, time)
        pose = layer.pose(rotations[None], hips[None])
        code = (1.0 + time) * 24.0
        placed = Z_UP_FROM_Y_UP @ pose.transforms.numpy()[0].astype(float)
        np.testing.assert_allclose(walker.public_joints(code, rig)[1:], placed[1:], atol=1e-5)
        vertices = pose.vertices.numpy()[0] @ Z_UP_FROM_Y_UP[:3, :3].T
        assert np.linalg.norm(walker.vertices(code) - vertices, axis=1).max() < 1e-4


def test_every_level_of_detail_keeps_its_own_skeleton_and_skin(rig):
    stage = Usd.Stage.CreateInMemory()
    prim = reference_rig(stage, "/Child", rig, lod="low")
    heights = {}
    for lod in ("low", "mid", "xlo"):
        layer = SomaLayer(rig, identity="soma", lod=lod, threads=1)
        identity = layer.prepare_identity(preset("child")[None])
        author_identity(prim, layer.body, identity)
        heights[lod] = identity
    variants = prim.GetVariantSet("lod")
    assert variants.GetVariantSelection() == "low"
    for lod, identity in heights.items():
        variants.SetVariantSelection(lod)
        child = Skinned(stage, "/Child")
        bind = np.swapaxes(np.array(child.query.GetJointWorldBindTransforms()), 1, 2)
        hips, hand = (child.names.index(name) for name in ("Hips", "LeftHand"))
        for place in (hips, hand):
            name = rig.public_joint_names.index(child.names[place])
            np.testing.assert_allclose(
                bind[place, :3, 3] * 0.01, identity.bind_T_world_joint[0, name, :3, 3], atol=1e-6
            )
        points = np.array(UsdGeom.Mesh(child.mesh).GetPointsAttr().Get()) * 0.01
        np.testing.assert_allclose(points, identity.rest_points[0], atol=1e-6)


def test_a_stage_moved_together_with_its_rig_still_opens(rig, tmp_path):
    home = tmp_path / "here"
    (home / "assets").mkdir(parents=True)
    (home / "scenes").mkdir()
    shutil.copy(RIG_FILE, home / "assets" / "rig.usda")
    for name, relative in (("relative", True), ("absolute", False)):
        stage = _new_stage(home / "scenes" / f"{name}.usda")
        reference_rig(stage, "/Body", rig, asset=home / "assets" / "rig.usda", relative=relative, lod="xlo")
        stage.Save()
    text = (home / "scenes" / "relative.usda").read_text()
    assert "@../assets/rig.usda@" in text and str(tmp_path) not in text
    del stage
    home.rename(tmp_path / "there")
    moved = {
        name: Usd.Stage.Open(str(tmp_path / "there" / "scenes" / f"{name}.usda")) for name in ("relative", "absolute")
    }
    found = {name: [prim for prim in stage.Traverse() if prim.IsA(UsdGeom.Mesh)] for name, stage in moved.items()}
    assert len(found["relative"]) == 1 and not found["absolute"]
    assert len(UsdGeom.Mesh(found["relative"][0]).GetPointsAttr().Get()) == rig.mesh("xlo").vertex_count


def test_a_rig_beside_the_layer_and_one_that_has_no_place_to_be_relative_to(rig, tmp_path):
    stage = _new_stage(tmp_path / "a.usda")
    reference_rig(stage, "/Body", rig, asset=tmp_path / "rig.usda", relative=True)
    assert "@./rig.usda@" in stage.GetRootLayer().ExportToString()
    with pytest.raises(InputRejected, match="in memory"):
        reference_rig(Usd.Stage.CreateInMemory(), "/Body", rig, relative=True)
    with Usd.EditContext(stage, stage.GetSessionLayer()), pytest.raises(InputRejected, match="in memory"):
        reference_rig(stage, "/Other", rig, relative=True)
