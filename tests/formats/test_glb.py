"""GLB: what the file alone says, read by an own reader, is the body that we pose."""

from __future__ import annotations

import numpy as np
import pytest

from soma_isaac.body import SomaBody
from soma_isaac.body.skin_animation import identity_mesh, skin_animation
from soma_isaac.formats.glb import posed_mesh_glb, skin_animation_glb
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.formats.rig_usd_uv import template_uvs
from soma_isaac.rig.mesh import fan_triangles
from soma_isaac.rig.skeleton import template_rest_offsets
from tests.oracles.gltf import Gltf

FPS = 25.0


@pytest.fixture(scope="module", params=["mid", "xlo"])
def posed(request):
    """A body, five frames of random pose, its vertices and its file."""
    body = SomaBody(load_template_rig(), lod=request.param, threads=1)
    identity = body.prepare()
    rng = np.random.default_rng(3)
    poses = rng.normal(scale=0.4, size=(5, 77, 3))
    poses[:, 40:60] = poses[0, 40:60]  # joints that stay still
    transl = rng.normal(size=(5, 3))
    animation = skin_animation(body, identity, poses, transl, fps=FPS, name="random")
    vertices = body.pose(identity, poses, transl).vertices.numpy()
    return body, animation, vertices, Gltf(skin_animation_glb(animation, "a test"))


def test_skinning_with_the_files_own_data_gives_our_vertices(posed, record_property):
    _, animation, vertices, file = posed
    error = max(
        np.linalg.norm(file.skinned(frame / FPS) - vertices[frame], axis=1).max()
        for frame in range(animation.frame_count)
    )
    record_property("largest_difference_mm", f"{error * 1000:.5f}")
    assert error < 1e-5


def test_a_file_without_twist_helpers_would_be_seen(posed):
    # Guards the test above: with helpers held at their bind, vertices differ by far more than its tolerance.
    _, animation, vertices, file = posed
    channels = file.document["animations"][0]["channels"]
    helpers = [index for index, name in enumerate(animation.skeleton.joint_names) if "Twist" in name]
    assert len(helpers) == 32
    kept = [channel for channel in channels if channel["target"]["node"] not in helpers]
    file.document["animations"][0]["channels"] = kept
    error = np.linalg.norm(file.skinned(0.0) - vertices[0], axis=1).max()
    file.document["animations"][0]["channels"] = channels
    assert error > 1e-3


def test_at_rest_the_file_shows_the_t_pose(posed):
    body, animation, _, file = posed
    names = animation.skeleton.joint_names
    world = file.node_transforms(None)[: len(names)]
    np.testing.assert_allclose(world, animation.skeleton.rest_T_world_joint, atol=1e-6)
    hips = template_rest_offsets()[1:2]
    joints = body.pose(body.prepare(), np.zeros((1, 77, 3)), hips).joints.numpy()[0]
    np.testing.assert_allclose(world[1:78, :3, 3], joints, atol=2e-6)


def test_attributes_are_what_gltf_asks_for(posed):
    _, animation, _, file = posed
    arrays = file.primitive()
    weights = np.concatenate([arrays[name] for name in sorted(arrays) if name.startswith("WEIGHTS")], axis=1)
    joints = np.concatenate([arrays[name] for name in sorted(arrays) if name.startswith("JOINTS")], axis=1)
    assert np.abs(weights.sum(axis=1) - 1.0).max() < 1e-6 and weights.min() >= 0.0
    assert not joints[weights == 0.0].any() and joints.max() < animation.skeleton.joint_count
    np.testing.assert_allclose(np.linalg.norm(arrays["NORMAL"], axis=1), 1.0, atol=1e-5)
    assert arrays["indices"].max() < len(arrays["POSITION"])
    assert file.document["animations"][0]["extras"]["fps"] == FPS


def test_still_joints_have_one_key(posed):
    _, _, _, file = posed
    (animation,) = file.document["animations"]
    keys = {
        channel["target"]["node"]: len(file.array(animation["samplers"][channel["sampler"]]["output"]))
        for channel in animation["channels"]
        if channel["target"]["path"] == "rotation"
    }
    assert keys[2] == 5 and keys[50] == 1 and keys[0] == 1


def test_only_the_hips_have_translation_keys(posed):
    _, _, _, file = posed
    moved = [
        c["target"]["node"] for c in file.document["animations"][0]["channels"] if c["target"]["path"] != "rotation"
    ]
    assert moved == [1]


def test_a_single_frame_is_a_pose_without_animation(posed):
    body, _, _, _ = posed
    poses, hips = np.full((1, 77, 3), 0.1), np.array([[0.0, 1.0, 0.2]])
    identity = body.prepare()
    animation = skin_animation(body, identity, poses, hips, fps=FPS, name="pose")
    file = Gltf(skin_animation_glb(animation, ""))
    assert "animations" not in file.document
    np.testing.assert_allclose(file.skinned(None), body.pose(identity, poses, hips).vertices.numpy()[0], atol=1e-5)


def test_posed_mesh(posed):
    body, _, vertices, _ = posed
    mesh = identity_mesh(body, body.prepare())
    file = Gltf(posed_mesh_glb(mesh, vertices[0], "x"))
    arrays = file.primitive()
    assert np.array_equal(arrays["POSITION"], vertices[0])
    assert np.array_equal(arrays["indices"].reshape(-1, 3), mesh.triangles)
    assert "skins" not in file.document


def test_texture_coordinates_split_seams_only(posed):
    body, animation, vertices, _ = posed
    uv = template_uvs().get(body.lod)
    if uv is None:
        assert body.lod == "xlo"
        return
    mesh = animation.mesh
    file = Gltf(skin_animation_glb(animation, "x", uv))
    arrays = file.primitive()
    assert mesh.vertex_count < len(arrays["POSITION"]) < 1.1 * mesh.vertex_count
    assert np.array_equal(arrays["POSITION"][: mesh.vertex_count], mesh.points.astype(np.float32))
    # Every corner of every triangle shows the point of the body and of the texture that the rig file says.
    faces = arrays["indices"].reshape(-1, 3)
    skinned = file.skinned(2 / FPS)
    np.testing.assert_allclose(skinned[faces], vertices[2][mesh.triangles], atol=1e-5)
    fans = fan_triangles(mesh.face_vertex_counts, np.arange(len(mesh.face_vertex_indices)))
    expected = uv.points[uv.indices[fans]] * (1.0, -1.0) + (0.0, 1.0)
    np.testing.assert_allclose(arrays["TEXCOORD_0"][faces], expected, atol=1e-6)


def test_the_same_body_gives_the_same_bytes(posed):
    _, animation, _, _ = posed
    assert skin_animation_glb(animation, "c") == skin_animation_glb(animation, "c")
