"""Newton's camera sensor draws what the package's own ray caster draws: the same plan, the same pixels."""

from __future__ import annotations

import importlib.util
import io
import json

import numpy as np
import pytest

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("newton") is None,
        reason="newton is not installed; make peers builds an environment that has it",
    ),
]

DEPTH_M = 1e-4
"""Depths agree this closely where both see the same body: float32 over 20 m."""


@pytest.fixture(scope="module")
def scene():
    """A shot of three people, posed, with its surface and cameras."""
    from soma_isaac.body.identities.presets import preset, preset_names
    from soma_isaac.formats.atomic import sha256_of_file
    from soma_isaac.pipelines.motion_in import load_motion
    from soma_isaac.pipelines.render_bodies_shot import shot_cameras
    from soma_isaac.render.plan import ClipFile, SceneChoices, scene_parts, shots_of_scene
    from soma_isaac.render.posing import PosedScene, make_layers
    from soma_isaac.render.renderer import body_surface
    from soma_isaac.rig.skeleton import data_path

    paths = sorted(data_path("demo_clips").glob("*.npz"))
    choices = SceneChoices(
        seed=4,
        kinds=("preset", "sampled"),
        presets={name: tuple(preset(name)) for name in preset_names()},
        shape_count=len(preset(preset_names()[0])),
        clips=tuple(ClipFile(path.name, str(path), sha256_of_file(path)) for path in paths),
        per_scene=3,
        spacing=0.8,
        rig="orbit2",
        vertical_fov=0.6,
    )
    (shot,) = shots_of_scene(
        0,
        scene_parts(choices, 0, 3),
        frames=2,
        frames_per_shot=2,
        fps=4.0,
        size=(160, 120),
        lod="low",
        correctives=True,
    )
    layers = make_layers(("soma",), "low", True, "cpu")
    posed = PosedScene(shot, layers, lambda clip: load_motion(data_path("demo_clips") / clip.name))
    rig = layers["soma"].rig
    cameras = shot_cameras(shot, posed.joints_over_time().reshape(-1, 3))
    return shot, posed, body_surface(rig.mesh("low"), rig.skeleton), cameras


def drawn(name, scene, frames=(0, 1)):
    """Pictures of the frames, one renderer for all."""
    from soma_isaac.render.renderer import make_renderer

    shot, posed, surface, cameras = scene
    renderer = make_renderer(name, shot.bodies, surface, shot.light, "cpu")
    pictures = []
    for frame in frames:
        now = posed.frame(frame)
        pictures += renderer.render(now.vertices, now.normals, cameras[frame], shot.size)
    renderer.close()
    return pictures


@pytest.fixture(scope="module")
def both(scene):
    return drawn("raycast", scene), drawn("newton", scene)


def test_depth_bodies_and_parts_agree_pixel_by_pixel(both):
    for ours, newtons in zip(*both, strict=True):
        on = ours.instance > 0
        assert set(np.unique(ours.instance)) == {0, 1, 2, 3} and on.sum() > 1500
        # a ray that grazes an edge may hit it or not
        assert (ours.instance != newtons.instance).sum() <= 3
        assert (ours.part != newtons.part).sum() <= 6
        same = on & (ours.instance == newtons.instance) & (ours.part == newtons.part)
        assert np.abs(ours.depth - newtons.depth)[same].max() < DEPTH_M
        floor = (ours.instance == 0) & (newtons.instance == 0) & (ours.depth > 0) & (ours.depth < 50)
        np.testing.assert_allclose(newtons.depth[floor], ours.depth[floor], rtol=1e-4)
        assert floor.sum() > 5000 and (newtons.normal[floor] == [0, 0, 1]).all()


def test_newtons_normals_are_those_of_flat_triangles_on_the_seen_side(both, scene):
    shot, _, _, cameras = scene
    for number, (ours, newtons) in enumerate(zip(*both, strict=True)):
        on = (ours.instance > 0) & (ours.part == newtons.part)
        np.testing.assert_allclose(np.linalg.norm(newtons.normal[on], axis=1), 1.0, atol=1e-4)
        cosine = (ours.normal[on] * newtons.normal[on]).sum(axis=1)
        assert np.median(cosine) > 0.98 and np.quantile(cosine, 0.05) > 0.8
        origin, right, up, ahead = cameras[number // 2][number % 2].axes()
        width, height = shot.size
        row, column = np.nonzero(on)
        x = (2 * (column + 0.5) / width - 1) * width / height
        y = 1 - 2 * (row + 0.5) / height
        rays = ahead + right * x[:, None] + up * y[:, None]
        assert ((rays * newtons.normal[on]).sum(axis=1) < 1e-3).all()


def test_the_pictures_show_the_same_colours_and_background(both, scene):
    shot = scene[0]
    for ours, newtons in zip(*both, strict=True):
        for body in (1, 2, 3):
            for part in np.unique(ours.part[ours.instance == body]):
                seen = (ours.instance == body) & (newtons.instance == body) & (ours.part == part)
                if seen.sum() < 60:
                    continue
                here, there = (picture.rgb[seen].astype(float).mean(axis=0) for picture in (ours, newtons))
                assert np.abs(here - there).max() < 45, (body, part, here, there)
        sky = newtons.depth == 0
        if sky.any():
            background = np.array(shot.light.background_rgb) ** (1 / 2.2) * 255
            assert np.abs(np.median(newtons.rgb[sky], axis=0) - background).max() < 3


def test_equal_scenes_give_equal_bytes_whatever_was_drawn_before(both, scene):
    shot, posed, surface, cameras = scene
    drawn("newton", scene, frames=(1,))  # the model and its sensor are kept: leave another tree behind
    for first, second in zip(both[1], drawn("newton", scene), strict=True):
        for layer in ("rgb", "depth", "normal", "part", "instance"):
            np.testing.assert_array_equal(getattr(first, layer), getattr(second, layer), layer)


def test_the_job_runs_with_newton(tmp_path):
    from soma_isaac.formats.png import read_png
    from soma_isaac.pipelines.render_bodies import run_render_bodies
    from soma_isaac.pipelines.render_bodies_config import BodiesConfig, RenderBodiesConfig
    from soma_isaac.pipelines.run_config import OutputConfig

    config = RenderBodiesConfig(
        output=OutputConfig(str(tmp_path / "out")),
        bodies=BodiesConfig(count=2, lod="low"),
        camera="orbit2",
        size=[96, 96],
        renderer="newton",
        workers=1,
    )
    report = run_render_bodies(config, io.StringIO())
    assert report.exit_code == 0
    record = json.loads((tmp_path / "out" / "annotations.json").read_bytes())
    assert len(record["images"]) == len(record["annotations"]) == 4
    assert all(body["area"] > 200 and body["num_keypoints"] == 77 for body in record["annotations"])
    normals = read_png(tmp_path / "out" / record["images"][0]["files"]["normals"])
    assert normals.shape == (96, 96, 3)
