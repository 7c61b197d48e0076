"""Sinks into USD, read back with plain usd-core and skinned by UsdSkel itself."""

import numpy as np
import pytest
import warp as wp

pytest.importorskip("pxr")
from pxr import Gf, Usd, UsdGeom, UsdSkel, Vt

from soma_isaac.body.skin_animation import skin_animation
from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd_write import MESHES, SKEL_ROOT, SKELETON
from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from soma_isaac.sim.sinks.usd_points import UsdPointsSink
from soma_isaac.sim.sinks.usd_rig import UsdSkelSink, author_identity, author_motion, reference_rig


def stage_like_isaacs(path=None):
    """Z up, metres."""
    stage = Usd.Stage.CreateNew(str(path)) if path else Usd.Stage.CreateInMemory()
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetTimeCodesPerSecond(50.0)
    return stage


@pytest.fixture
def stepper(body, identities, motions):
    return BodyStepper(ClipLibrary(motions), [BodyGroup(body, identities)], playing=0, placements=Z_UP_FROM_Y_UP)


def skinned(stage, path, mesh_name, time):
    """World points [V, 3] in metres and joint transforms [J, 4, 4] (columns) as UsdSkel computes them."""
    cache = UsdSkel.Cache()
    root = UsdSkel.Root.Get(stage, path)
    cache.Populate(root, Usd.PrimDefaultPredicate)
    mesh = stage.GetPrimAtPath(path + f"{MESHES}/{mesh_name}".removeprefix(SKEL_ROOT))
    skel = cache.GetSkelQuery(UsdSkel.Skeleton.Get(stage, path + SKELETON.removeprefix(SKEL_ROOT)))
    transforms = skel.ComputeSkinningTransforms(time)
    points = Vt.Vec3fArray(UsdGeom.Mesh(mesh).GetPointsAttr().Get(time))
    assert cache.GetSkinningQuery(mesh).ComputeSkinnedPoints(transforms, points, time)
    to_world = np.array(UsdGeom.Xformable(stage.GetPrimAtPath(path)).ComputeLocalToWorldTransform(time))
    metres = UsdGeom.GetStageMetersPerUnit(stage)
    world = (np.array(points, float) @ to_world[:3, :3] + to_world[3, :3]) * metres
    joints = np.array(skel.ComputeJointSkelTransforms(time), float) @ to_world
    joints = np.swapaxes(joints, 1, 2)
    joints[:, :3, :3] /= np.cbrt(np.linalg.det(joints[0, :3, :3]))
    joints[:, :3, 3] *= metres
    return world, joints, list(skel.GetJointOrder())


def test_points_follow_the_stepper(stepper):
    stage = stage_like_isaacs()
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    posed = stepper.groups[0]
    parent = UsdGeom.Xform.Define(stage, "/World")
    parent.AddTranslateOp().Set(Gf.Vec3d(500.0, 0.0, 0.0))  # must not move bodies that are placed in the world
    sink = UsdPointsSink(stage, posed, "/World/Bodies")
    for code in (0.0, 3.0):
        stepper.step(0.02)
        sink.write(posed, code)
        for row in range(3):
            mesh = UsdGeom.Mesh(stage.GetPrimAtPath(f"/World/Bodies/body_{row}"))
            points = np.array(mesh.GetPointsAttr().Get(code))
            np.testing.assert_allclose(points, posed.pose.vertices.numpy()[row] * 100.0, rtol=1e-6)
            np.testing.assert_allclose(mesh.GetNormalsAttr().Get(code), posed.normals.numpy()[row])
            np.testing.assert_allclose(mesh.GetExtentAttr().Get(code), [points.min(0), points.max(0)])
            world = np.array(mesh.ComputeLocalToWorldTransform(code))
            np.testing.assert_array_equal(world, np.eye(4))
    assert len(mesh.GetFaceVertexCountsAttr().Get()) == len(posed.body.rig.mesh("low").face_vertex_counts)


def test_a_saved_stage_reopens_with_identities_and_motion(stepper, tmp_path, rig):
    posed = stepper.groups[0]
    stage = stage_like_isaacs(tmp_path / "scene.usda")
    prims = []
    for row in range(3):
        place = Z_UP_FROM_Y_UP.copy()
        place[:3, 3] = (row, -row, 0.5)
        prims.append(reference_rig(stage, f"/World/Person_{row}", rig, lod="low", T_world_body=place))
        author_identity(prims[-1], posed.body, posed.identity, row)
    sink = UsdSkelSink(prims, posed)
    vertices, transforms = [], []
    for code in range(10):
        stepper.step(0.017)
        sink.write(posed, code)
        vertices.append(posed.pose.vertices.numpy().copy())
        transforms.append(posed.pose.transforms.numpy().copy())
    stage.Save()
    assert (tmp_path / "scene.usda").stat().st_size < 6e6  # opinions, not a copy of the 30 MB rig
    reopened = Usd.Stage.Open(str(tmp_path / "scene.usda"))
    public = [name for name in rig.public_joint_names]
    for code in range(10):
        for row in range(3):
            points, joints, order = skinned(reopened, f"/World/Person_{row}", "c_skin_lo", Usd.TimeCode(code))
            assert np.linalg.norm(points - vertices[code][row], axis=1).max() < 1e-4
            places = [[path.split("/")[-1] for path in order].index(name) for name in public]
            np.testing.assert_allclose(joints[places][1:], transforms[code][row][1:], atol=1e-5)


def test_a_recorded_clip_and_the_level_of_detail(rig, body, identities, motions):
    stage = stage_like_isaacs()
    prim = reference_rig(stage, "/Walker", rig, lod="xlo")
    template = body.prepare()
    author_identity(prim, body, template)
    clip = motions[0]
    author_motion(
        prim, body, skin_animation(body, template, clip.rotations, clip.root_translation, fps=clip.fps, name="clip")
    )
    variants = prim.GetVariantSet("lod")
    assert sorted(variants.GetVariantNames()) == ["low", "mid", "xlo"]
    seen = {}
    for lod in ("mid", "low", "xlo"):
        variants.SetVariantSelection(lod)
        meshes = [p for p in Usd.PrimRange(prim) if p.IsA(UsdGeom.Mesh)]
        assert len(meshes) == 1
        assert UsdGeom.Imageable(meshes[0]).ComputeVisibility() == UsdGeom.Tokens.inherited
        seen[lod] = len(UsdGeom.Mesh(meshes[0]).GetPointsAttr().Get())
    assert seen == {lod: rig.mesh(lod).vertex_count for lod in seen}
    variants.SetVariantSelection("low")
    frame = 5
    points, _, _ = skinned(stage, "/Walker", "c_skin_lo", Usd.TimeCode(frame / 30.0 * 50.0))
    expected = body.pose(template, clip.rotations[frame : frame + 1], clip.root_translation[frame : frame + 1])
    expected = expected.vertices.numpy()[0] @ Z_UP_FROM_Y_UP[:3, :3].T
    assert np.linalg.norm(points - expected, axis=1).max() < 1e-4
    with pytest.raises(InputRejected):
        reference_rig(stage, "/Walker", rig)


def test_edits_are_opinions_of_the_edit_target(rig, body):
    stage = stage_like_isaacs()
    with Usd.EditContext(stage, stage.GetSessionLayer()):
        prim = reference_rig(stage, "/Person", rig, lod="low")
        author_identity(prim, body, body.prepare())
    assert not stage.GetRootLayer().GetPrimAtPath("/Person")
    stage.GetSessionLayer().Clear()  # taking all of it back
    assert not stage.GetPrimAtPath("/Person")


def test_fabric_points_without_copies(stepper):
    fabric = pytest.importorskip("warp.tests.test_fabricarray")
    from soma_isaac.sim.sinks.fabric import FabricSink

    posed = stepper.groups[0]
    count = posed.body.vertex_count
    # Prims in another order than the bodies, one of them without a body, as Fabric would hold them.
    points = [wp.full(count, wp.vec3(7.0, 7.0, 7.0), dtype=wp.vec3, device="cpu") for _ in range(4)]
    interface = fabric._create_fabric_array_array_interface(points, "points", bucket_sizes=[3, 1])
    rows = wp.array([2, 0, -1, 1], dtype=wp.int32, device="cpu")
    other = fabric._create_fabric_array_interface(rows, "soma:row", bucket_sizes=[3, 1])
    interface["attribs"].update(other["attribs"])

    class Selection:
        __fabric_arrays_interface__ = interface
        asked = 0

        def PrepareForReuse(self):
            self.asked += 1
            return self.asked == 3

    selection = Selection()
    sink = FabricSink(selection, units_per_metre=100.0)
    made = []
    for _ in range(4):
        stepper.step(0.01)
        sink.write(posed)
        made.append(sink._arrays)
        vertices = posed.pose.vertices.numpy() * np.float32(100.0)
        for prim, row in ((0, 2), (1, 0), (3, 1)):
            np.testing.assert_array_equal(points[prim].numpy(), vertices[row])
        np.testing.assert_array_equal(points[2].numpy(), 7.0)
    assert made[0] is made[1] and made[2] is not made[1] and made[3] is made[2]
