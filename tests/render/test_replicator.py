"""The Isaac renderer on a stand-in for Replicator that traces the stage: the same pixels as the package's renderer.

What RTX makes of the stage is for a machine with Isaac Sim (docs/gpu_checklist.md). Here everything around it is real:
the prims, the cameras, the tiles, the ids.
"""

# pyright: reportInvalidTypeForm=false

import json
import math
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
import warp as wp
from pxr import Gf, Usd, UsdGeom, UsdLux, UsdShade

from soma_isaac.batch.job import ConversionJob
from soma_isaac.body.identities.presets import preset
from soma_isaac.errors import MissingDependency
from soma_isaac.formats.atomic import sha256_of_file
from soma_isaac.kit import replicator
from soma_isaac.kit.picture_stage import PictureStage, patches
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.render_bodies_shot import shot_cameras
from soma_isaac.render.clothes import PIECES, piece_colors, triangle_pieces
from soma_isaac.render.plan import ClipFile, SceneChoices, scene_parts, shots_of_scene
from soma_isaac.render.posing import PosedScene, make_layers
from soma_isaac.render.renderer import RayCastRenderer, body_surface
from soma_isaac.rig.skeleton import data_path

SIZE = (96, 72)


@wp.kernel
def trace(
    # in
    mesh: wp.uint64,
    origin: wp.vec3,
    directions: wp.array(dtype=wp.vec3),
    # out
    distance_out: wp.array(dtype=float),
    face_out: wp.array(dtype=int),
    normal_out: wp.array(dtype=wp.vec3),
):
    pixel = wp.tid()
    query = wp.mesh_query_ray(mesh, origin, directions[pixel], 1.0e6)
    face_out[pixel] = -1
    if query.result:
        distance_out[pixel] = query.t
        face_out[pixel] = query.face
        normal_out[pixel] = query.normal


def traced(stage, path, size):
    """rgb, depth, normals and prim paths by id of a stage, seen by one of its cameras: by what USD says alone."""
    points, triangles, owners, colors, count = [], [], [], [], 0
    for prim in stage.Traverse():
        if not prim.IsA(UsdGeom.Mesh):
            continue
        mesh = UsdGeom.Mesh(prim)
        assert set(mesh.GetFaceVertexCountsAttr().Get()) == {3}
        own = np.array(mesh.GetPointsAttr().Get())
        faces = np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3)
        points.append(own)
        triangles.append(faces + count)
        owners += [str(prim.GetPath())] * len(faces)
        colors += [np.array(mesh.GetDisplayColorAttr().Get())[0]] * len(faces)
        count += len(own)
    mesh = wp.Mesh(
        wp.array(np.concatenate(points), dtype=wp.vec3, device="cpu"),
        wp.array(np.concatenate(triangles).reshape(-1), dtype=int, device="cpu"),
    )
    camera = UsdGeom.Camera.Get(stage, path).GetCamera(Usd.TimeCode.Default())
    pose = np.array(camera.transform)
    width, height = size
    x = (2 * (np.arange(width) + 0.5) / width - 1) * 0.5 * camera.horizontalAperture / camera.focalLength
    y = (1 - 2 * (np.arange(height) + 0.5) / height) * 0.5 * camera.verticalAperture / camera.focalLength
    rays = np.stack([*np.meshgrid(x, y), -np.ones((height, width))], axis=-1).reshape(-1, 3) @ pose[:3, :3]
    pixels = width * height
    distance, face = wp.zeros(pixels, dtype=float, device="cpu"), wp.zeros(pixels, dtype=int, device="cpu")
    normal = wp.zeros(pixels, dtype=wp.vec3, device="cpu")
    directions = wp.array(rays, dtype=wp.vec3, device="cpu")
    wp.launch(trace, pixels, [mesh.id, wp.vec3(*pose[3, :3]), directions], [distance, face, normal], device="cpu")
    hit = face.numpy() >= 0
    names = sorted(set(owners))
    ids = np.where(hit, [2 + names.index(owners[number]) for number in face.numpy()], 0).astype(np.uint32)
    # the rays' length along the view is 1, so that the query's distance is the depth
    depth = np.where(hit, distance.numpy(), np.inf).astype(np.float32)
    rgb = np.where(hit[:, None], np.array(colors)[face.numpy()] * 255, 0).astype(np.uint8)
    shape = (height, width)
    return {
        "rgb": np.concatenate([rgb, np.full((pixels, 1), 255, np.uint8)], axis=1).reshape(*shape, 4),
        "distance_to_image_plane": depth.reshape(shape),
        "normals": np.concatenate([normal.numpy(), np.zeros((pixels, 1))], axis=1, dtype=np.float32).reshape(*shape, 4),
        "ids": ids.reshape(shape),
        "labels": {str(2 + number): name for number, name in enumerate(names)},
    }


class Kit:
    """What the renderer sees of Isaac Sim: Replicator's tiled product and annotators, the context, the application."""

    def __init__(self):
        self.stage = None
        self.products, self.attached, self.steps, self.apps = {}, [], 0, []

    def new_stage(self):
        self.stage = Usd.Stage.CreateInMemory()
        UsdGeom.SetStageUpAxis(self.stage, UsdGeom.Tokens.y)
        return True

    def render_product_tiled(self, cameras, tile_resolution):
        path = f"/Render/product_{len(self.products)}"
        self.products[path] = (list(cameras), tile_resolution)
        return types.SimpleNamespace(path=path, destroy=lambda: self.products.pop(path))

    def get_annotator(self, name, init_params, device):
        assert device == "cpu" and (init_params == {"colorize": False}) == name.startswith("instance")
        return Annotator(self, name)

    def step(self, rt_subframes, pause_timeline, delta_time):
        assert rt_subframes > 1 and delta_time == 0.0
        self.steps += 1

    def modules(self, monkeypatch):
        rep = types.SimpleNamespace(
            create=types.SimpleNamespace(render_product_tiled=self.render_product_tiled),
            AnnotatorRegistry=types.SimpleNamespace(get_annotator=self.get_annotator),
            orchestrator=types.SimpleNamespace(step=self.step, set_capture_on_play=lambda value: None),
        )
        context = types.SimpleNamespace(new_stage=self.new_stage, get_stage=lambda: self.stage)

        class SimulationApp:
            def __init__(app, config):
                assert config["headless"] and len(sys.argv) == 1
                self.apps.append(app)

            def close(app):
                self.apps.remove(app)

        for name, members in {
            "isaacsim": {"SimulationApp": SimulationApp},
            "omni": {},
            "omni.usd": {"get_context": lambda: context},
            "omni.replicator": {},
            "omni.replicator.core": vars(rep),
        }.items():
            module = types.ModuleType(name)
            module.__dict__.update(members)
            monkeypatch.setitem(sys.modules, name, module)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)


class Annotator:
    def __init__(self, kit, name):
        self.kit, self.name = kit, name

    def attach(self, products):
        (self.product,) = products
        self.kit.attached.append((self.name, self.product))

    def detach(self, products):
        self.kit.attached.remove((self.name, *products))

    def get_data(self):
        """The tiles, row by row; a tile without a camera is empty."""
        cameras, size = self.kit.products[self.product]
        columns = math.ceil(math.sqrt(len(cameras)))
        rows = math.ceil(len(cameras) / columns)
        pictures = [traced(self.kit.stage, camera, size) for camera in cameras]
        ids = self.name.startswith("instance")
        tiles = [picture["ids" if ids else self.name] for picture in pictures]
        tiles += [np.zeros_like(tiles[0])] * (rows * columns - len(tiles))
        grid = np.concatenate(
            [np.concatenate(tiles[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
        )
        return {"data": grid, "info": {"idToLabels": pictures[0]["labels"]}} if ids else grid


@pytest.fixture
def kit(monkeypatch):
    made = Kit()
    made.modules(monkeypatch)
    made.new_stage()
    replicator._application.cache_clear()
    yield made
    replicator._application.cache_clear()


@pytest.fixture(scope="module")
def scene():
    paths = [data_path("demo_clips") / f"{name}.npz" for name in ("squat", "wave")]
    choices = SceneChoices(
        seed=8,
        kinds=("preset",),
        presets={name: tuple(preset(name)) for name in ("child", "heavy")},
        shape_count=64,
        clips=tuple(ClipFile(path.name, str(path), sha256_of_file(path)) for path in paths),
        per_scene=2,
        spacing=0.7,
        rig="orbit3",
        vertical_fov=0.6,
    )
    parts = scene_parts(choices, 0, 2)
    options = {"frames": 2, "frames_per_shot": 2, "fps": 2.0, "size": SIZE, "lod": "xlo", "correctives": False}
    (shot,) = shots_of_scene(0, parts, **options)
    layers = make_layers(("soma",), "xlo", False, "cpu")
    posed = PosedScene(shot, layers, lambda clip: load_motion(data_path("demo_clips") / clip.name))
    rig = layers["soma"].rig
    cameras = shot_cameras(shot, posed.joints_over_time().reshape(-1, 3))
    return shot, posed, body_surface(rig.mesh("xlo"), rig.skeleton), cameras


def test_every_pixel_is_that_of_the_packages_own_renderer(kit, scene):
    shot, posed, surface, cameras = scene
    ours = RayCastRenderer(shot.bodies, surface, shot.light)
    isaac = replicator.make(shot.bodies, surface, shot.light)
    for frame in range(2):
        now = posed.frame(frame)
        expected = ours.render(now.vertices, now.normals, cameras[frame], SIZE)
        found = isaac.render(now.vertices, now.normals, cameras[frame], SIZE)
        assert len(found) == 3 and kit.steps == frame + 1
        for here, there in zip(expected, found, strict=True):
            assert there.rgb.shape == (72, 96, 3) and there.rgb.dtype == np.uint8
            assert (here.instance != there.instance).sum() <= 3 and set(np.unique(there.instance)) == {0, 1, 2}
            same = here.part == there.part
            assert (~same).sum() <= 6
            # beyond 500 m the stand-in's floor ends
            near = same & (here.depth > 0) & (here.depth < 400)
            np.testing.assert_allclose(there.depth[near], here.depth[near], rtol=2e-4)
            floor = near & (here.part == 0)
            assert floor.sum() > 1000 and (there.normal[floor] == [0, 0, 1]).all()
            on = same & (here.part > 0)
            assert on.sum() > 300 and np.median((here.normal * there.normal)[on].sum(axis=1)) > 0.95
            for body in (1, 2):
                worn = there.rgb[there.instance == body].astype(int)
                palette = np.clip(piece_colors(shot.bodies[body - 1]) * 255, 0, 255).astype(int)
                assert (np.abs(worn[:, None] - palette).max(axis=2).min(axis=1) <= 1).all()
    isaac.close()
    assert not kit.products and not kit.attached and not kit.stage.GetPrimAtPath(replicator.ROOT)


def test_another_number_of_cameras_takes_another_product(kit, scene):
    shot, posed, surface, cameras = scene
    renderer = replicator.make(shot.bodies, surface, shot.light)
    now = posed.frame(0)
    for count in (1, 2, 3, 3):
        assert len(renderer.render(now.vertices, now.normals, cameras[0][:count], SIZE)) == count
        assert [len(paths) for paths, _ in kit.products.values()] == [count] and len(kit.attached) == 4
    with pytest.raises(ValueError, match="of 2 bodies"):
        renderer.render(now.vertices[:1], now.normals[:1], cameras[0], SIZE)
    renderer.close()
    renderer.close()


def test_tiles_come_row_by_row_and_other_buffers_are_refused():
    pictures = np.arange(5 * 3 * 4 * 2).reshape(5, 3, 4, 2)
    grid = np.zeros((6, 12, 2), int)
    for number in range(5):
        row, column = divmod(number, 3)
        grid[3 * row : 3 * row + 3, 4 * column : 4 * column + 4] = pictures[number]
    np.testing.assert_array_equal(replicator.untiled(grid, 5, (4, 3), "x"), pictures)
    np.testing.assert_array_equal(replicator.untiled(grid[..., 0], 5, (4, 3), "x"), pictures[..., 0])
    with pytest.raises(ValueError, match="normals is"):
        replicator.untiled(grid[:, :8], 5, (4, 3), "normals")


def test_patches_hold_every_triangle_once_and_the_light_shines_from_the_sun(scene):
    shot, posed, surface, _ = scene
    found = patches(surface)
    back = np.concatenate([patch.vertices[patch.triangles] for patch in found])
    assert sorted(map(tuple, back.tolist())) == sorted(map(tuple, surface.triangles.tolist()))
    pieces = triangle_pieces(surface.pieces, surface.triangles)
    assert {(patch.part, patch.piece) for patch in found} == set(zip(surface.parts, pieces, strict=True))
    assert {PIECES[patch.piece] for patch in found} == set(PIECES)
    stage = Usd.Stage.CreateInMemory()
    prims = PictureStage(stage, "/Here", shot.bodies, surface, shot.light)
    now = posed.frame(0)
    prims.pose(now.vertices, now.normals)
    sun = UsdGeom.Xformable(UsdLux.DistantLight.Get(stage, "/Here/sun")).ComputeLocalToWorldTransform(0)
    np.testing.assert_allclose(sun.TransformDir(Gf.Vec3d(0, 0, 1)), shot.light.to_sun(), atol=1e-6)
    low, high = np.full(3, np.inf), np.full(3, -np.inf)
    for path, (part, instance) in prims.shown.items():
        mesh = UsdGeom.Mesh.Get(stage, path)
        extent = np.array(mesh.GetExtentAttr().Get())
        if instance == 1:
            low, high = np.minimum(low, extent[0]), np.maximum(high, extent[1])
        material = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()[0]
        surface_shader = material.ComputeSurfaceSource()[0]
        assert surface_shader.GetInput("diffuseColor").Get() == mesh.GetDisplayColorAttr().Get()[0]
        assert part > 0
    np.testing.assert_allclose([low, high], [now.vertices[0].min(axis=0), now.vertices[0].max(axis=0)], atol=1e-6)
    assert UsdShade.Material.Get(stage, "/Here/Looks/body_0001_hair")


def test_a_worker_starts_one_application_and_renders_its_shots(kit, scene, tmp_path, monkeypatch):
    kit.stage = None
    shot = replace(scene[0], count=1, scene_frames=1)
    source = tmp_path / "shot.json"
    source.write_bytes(shot.to_json())
    settings = {"source_fps": None, "up_axis": None, "device": "cpu", "renderer": "isaac"}
    names = [f"{layer}/{name}.png" for layer in ("rgb", "parts") for name in shot.image_names()]
    outputs = (*names, f"annotations/{shot.name}.json")
    job = ConversionJob("shot.json", str(source), sha256_of_file(source), outputs, str(tmp_path), settings)
    monkeypatch.setattr(sys, "argv", ["worker", "7", "module:function", "0", "1"])
    for _ in range(2):
        files = replicator.render_shot(job).files
        assert set(files) == set(outputs) and sys.argv[1:] == ["7", "module:function", "0", "1"]
    record = json.loads(files[f"annotations/{shot.name}.json"])
    assert len(record["images"]) == 3 and len(record["annotations"]) >= 4
    assert len(kit.apps) == 1 and not kit.products
    assert UsdGeom.GetStageUpAxis(kit.stage) == "Z" and UsdGeom.GetStageMetersPerUnit(kit.stage) == 1.0


def test_elsewhere_the_job_says_what_it_needs(monkeypatch):
    replicator._application.cache_clear()
    monkeypatch.setitem(sys.modules, "isaacsim", None)
    with pytest.raises(MissingDependency, match="python.sh"):
        replicator.render_shot(ConversionJob("a", "a", "0", (), "."))
