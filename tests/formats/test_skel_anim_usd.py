"""UsdSkel animations and point caches: UsdSkel's own skinning gives our vertices, and the file is a template again."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from pxr import Usd, UsdGeom, UsdSkel, Vt

from soma_isaac.body import SomaBody
from soma_isaac.body.skin_animation import identity_mesh, posed_points, skin_animation
from soma_isaac.errors import RigMismatch
from soma_isaac.formats.point_cache_usd import point_cache_stage
from soma_isaac.formats.rig_usd import load_template_rig, read_rig
from soma_isaac.formats.rig_usd_uv import read_rig_uvs, template_uvs
from soma_isaac.formats.skel_anim_usd import skel_animation_stage
from soma_isaac.formats.usd_stage_file import save_staged
from soma_isaac.rig.skeleton import data_path

FPS = 59.94
FRAMES = 4


@pytest.fixture(scope="module")
def body():
    return SomaBody(load_template_rig(), threads=1)


@pytest.fixture(scope="module")
def motion():
    rng = np.random.default_rng(5)
    return rng.normal(scale=0.4, size=(FRAMES, 77, 3)), rng.normal(scale=3.0, size=(FRAMES, 3))


@pytest.fixture(scope="module")
def animation(body, motion):
    return skin_animation(body, body.prepare(), *motion, fps=FPS, name="random")


def saved(stage, path):
    os.replace(save_staged(stage, path), path)
    return path


def skinned_by_usd(stage, time):
    """Vertices [V, 3] in m as UsdSkel computes them."""
    root = UsdSkel.Root(stage.GetDefaultPrim())
    cache = UsdSkel.Cache()
    cache.Populate(root, Usd.PrimDefaultPredicate)
    (binding,) = cache.ComputeSkelBindings(root, Usd.PrimDefaultPredicate)
    (target,) = binding.GetSkinningTargets()
    transforms = cache.GetSkelQuery(binding.GetSkeleton()).ComputeSkinningTransforms(time)
    points = Vt.Vec3fArray(UsdGeom.Mesh(target.GetPrim()).GetPointsAttr().Get())
    assert target.ComputeSkinnedPoints(transforms, points, time)
    return np.array(points) * UsdGeom.GetStageMetersPerUnit(stage)


@pytest.mark.parametrize("suffix", [".usda", ".usdc"])
def test_usdskel_skins_as_we_do(body, motion, animation, suffix, tmp_path, record_property):
    stage = Usd.Stage.Open(str(saved(skel_animation_stage(animation, suffix, "x"), tmp_path / f"a{suffix}")))
    ours = body.pose(body.prepare(), *motion).vertices.numpy()
    error = max(np.linalg.norm(skinned_by_usd(stage, time) - ours[time], axis=1).max() for time in range(FRAMES))
    record_property("largest_difference_mm", f"{error * 1000:.5f}")
    assert error < 1e-5


def test_time_codes_and_extents(body, motion, animation, tmp_path):
    stage = Usd.Stage.Open(str(saved(skel_animation_stage(animation, ".usdc", "x"), tmp_path / "a.usdc")))
    assert (stage.GetStartTimeCode(), stage.GetEndTimeCode()) == (0.0, FRAMES - 1)
    assert stage.GetTimeCodesPerSecond() == FPS and UsdGeom.GetStageUpAxis(stage) == "Y"
    extent = UsdGeom.Boundable(stage.GetDefaultPrim()).GetExtentAttr()
    assert extent.GetTimeSamples() == list(range(FRAMES))
    for time, vertices in enumerate(body.pose(body.prepare(), *motion).vertices.numpy() * 100.0):
        # UsdSkel's bounds: all joints (the dummy root at the origin too), padded by as much as the skin needs at rest.
        low, high = np.array(extent.Get(time))
        joints = animation.T_world_joint[time, :, :3, 3] * 100.0
        assert (low < vertices.min(axis=0)).all() and (vertices.max(axis=0) < high).all()
        assert (low > joints.min(axis=0) - 30.0).all() and (high < joints.max(axis=0) + 30.0).all()


def test_the_file_is_a_template_rig_again(body, animation, tmp_path):
    path = saved(skel_animation_stage(animation, ".usda", "x"), tmp_path / "a.usda")
    rig, read = load_template_rig(), read_rig(path, data_path("SOMA_procedural_transforms.json"))
    assert read.skeleton.joint_names == rig.skeleton.joint_names
    np.testing.assert_allclose(read.skeleton.rest_T_world_joint, rig.skeleton.rest_T_world_joint, atol=1e-6)
    np.testing.assert_allclose(read.skeleton.bind_T_world_joint, rig.skeleton.bind_T_world_joint, atol=1e-9)
    again = SomaBody(read, threads=1)
    poses, transl = np.full((1, 77, 3), 0.2), np.zeros((1, 3))
    np.testing.assert_allclose(
        again.pose(again.prepare(), poses, transl).vertices.numpy(),
        body.pose(body.prepare(), poses, transl).vertices.numpy(),
        atol=1e-5,
    )


def test_a_scaled_body_keeps_its_own_t_pose(body, tmp_path):
    bind = body.layout.bind_T_world_joint[None, :78].copy()
    bind[..., :3, 3] *= 0.8
    identity = body.prepare(body.rig.mesh("mid").points[None] * 0.8, bind)
    poses, transl = np.full((1, 77, 3), 0.1), np.array([[0.0, 0.8, 0.0]])
    animation = skin_animation(body, identity, poses, transl, fps=30.0, name="small")
    rest = load_template_rig().skeleton.rest_T_world_joint
    np.testing.assert_allclose(animation.skeleton.rest_T_world_joint[:, :3, 3], rest[:, :3, 3] * 0.8, atol=1e-6)
    stage = skel_animation_stage(animation, ".usda", "x")
    assert not stage.HasAuthoredTimeCodeRange()
    ours = body.pose(identity, poses, transl).vertices.numpy()[0]
    assert np.linalg.norm(skinned_by_usd(stage, Usd.TimeCode.Default()) - ours, axis=1).max() < 1e-5


def test_folded_rig_has_public_joints_only(motion):
    folded = SomaBody(load_template_rig(), lod="low", twist=False, threads=1)
    animation = skin_animation(folded, folded.prepare(), *motion, fps=30.0, name="folded")
    assert animation.skeleton.joint_count == 78
    ours = folded.pose(folded.prepare(), *motion).vertices.numpy()
    assert (
        np.linalg.norm(skinned_by_usd(skel_animation_stage(animation, ".usdc", ""), 1) - ours[1], axis=1).max() < 1e-5
    )


@pytest.mark.parametrize("normals", [False, True])
def test_point_cache(body, motion, normals, tmp_path):
    identity = body.prepare()
    stage = point_cache_stage(
        identity_mesh(body, identity),
        posed_points(body, identity, *motion),
        frame_count=FRAMES,
        fps=FPS,
        suffix=".usdc",
        comment="x",
        normals=normals,
    )
    stage = Usd.Stage.Open(str(saved(stage, tmp_path / "p.usdc")))
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/Body/c_skin_mid"))
    ours = body.pose(identity, *motion).vertices.numpy()
    for time in range(FRAMES):
        points = np.array(mesh.GetPointsAttr().Get(time))
        np.testing.assert_allclose(points * 0.01, ours[time], atol=1e-6)
        np.testing.assert_allclose(mesh.GetExtentAttr().Get(time), [points.min(axis=0), points.max(axis=0)])
    assert mesh.GetPointsAttr().GetTimeSamples() == list(range(FRAMES)) and stage.GetEndTimeCode() == FRAMES - 1
    assert mesh.GetNormalsAttr().GetNumTimeSamples() == (FRAMES if normals else 0)
    if normals:
        expected = body.normals(body.pose(identity, *motion).vertices).numpy()
        np.testing.assert_allclose(mesh.GetNormalsAttr().Get(2), expected[2], atol=1e-4)


def test_texture_coordinates_are_the_rig_file_s(animation, tmp_path):
    uvs = template_uvs()
    assert set(uvs) == {"mid", "low"}
    path = saved(skel_animation_stage(animation, ".usda", "x", uvs["mid"]), tmp_path / "a.usda")
    again = read_rig_uvs(path)["mid"]
    assert np.array_equal(again.indices, uvs["mid"].indices)
    np.testing.assert_allclose(again.points, uvs["mid"].points, atol=1e-6)
    text = path.read_text().replace("int[] primvars:st:indices = [", "int[] primvars:st:indices = [7, ")
    path.write_text(text)
    with pytest.raises(RigMismatch, match="texture"):
        read_rig_uvs(path)


def test_the_same_motion_gives_the_same_bytes(animation, tmp_path):
    paths = [saved(skel_animation_stage(animation, ".usdc", "x"), tmp_path / f"{n}.usdc") for n in range(2)]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_what_cannot_be_written_is_an_error_and_leaves_nothing(animation, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match=r"USD cannot write it \(.+\): '.*a.usdc'"):
        save_staged(skel_animation_stage(animation, ".usdc", "x"), tmp_path / "file" / "a.usdc")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_disk_that_fails_at_the_end_leaves_nothing(animation, tmp_path, monkeypatch):
    def refuse(_):
        raise OSError(errno.EIO, "I/O error")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match="I/O error"):
        save_staged(skel_animation_stage(animation, ".usdc", "x"), tmp_path / "a.usdc")
    assert not list(tmp_path.iterdir())
