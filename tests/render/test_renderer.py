"""Depth, normals, parts, instances and joints of the kit-less renderer are those of the scene."""

from dataclasses import replace

import numpy as np
import pytest

from soma_isaac.body.identities.presets import preset
from soma_isaac.errors import InputRejected
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.render.annotations import joint_flags, run_lengths
from soma_isaac.render.cameras import camera_points, fitted_camera, intrinsics, project, turning_cameras, view_angles
from soma_isaac.render.clothes import PIECES, piece_colors, triangle_pieces
from soma_isaac.render.contact_sheet import contact_sheet, reduced
from soma_isaac.render.parts import JOINT_PARTS, PART_NAMES, triangle_parts
from soma_isaac.render.plan import ClipFile, SceneChoices, Shot, ViewSpec, scene_parts, shots_of_scene
from soma_isaac.render.renderer import BodySurface, RayCastRenderer, body_surface
from soma_isaac.render.scene import Camera, SceneMesh, render_scene, vertex_normals
from soma_isaac.render.shapes import capsule_mesh
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES

CHOICES = SceneChoices(
    seed=3,
    kinds=("preset", "sampled", "anny"),
    presets={"child": tuple(preset("child")), "heavy": tuple(preset("heavy"))},
    shape_count=64,
    clips=(ClipFile("a.npz", "/nowhere/a.npz", "0"), ClipFile("b.npz", "/nowhere/b.npz", "1")),
    per_scene=4,
    spacing=1.2,
    rig="orbit3",
    vertical_fov=0.6,
)
RADIUS = 0.4
SIZE = (80, 60)
CAMERA = Camera((3.0, -1.0, 1.6), (0.0, 0.2, 0.4), 0.7)


def _shots(scene=0, count=4, **options):
    given = {"frames": 5, "frames_per_shot": 2, "fps": 10.0, "size": SIZE, "lod": "low", "correctives": True} | options
    return shots_of_scene(scene, scene_parts(CHOICES, scene, count), **given)


def _balls(centres):
    balls = [capsule_mesh(np.array(c, float), np.array(c, float), RADIUS, 96, 48) for c in centres]
    triangles = balls[0][1]
    vertices = np.stack([points for points, _ in balls])
    return vertices, np.stack([vertex_normals(points, triangles) for points in vertices]), triangles


def _renderer(triangles, count):
    shot = _shots(count=count)[0]
    return RayCastRenderer(shot.bodies, _surface(triangles), shot.light)


def _surface(triangles):
    skin = np.zeros((triangles.max() + 1, len(PIECES)), np.float32)
    skin[:, 0] = 1.0
    return BodySurface(triangles, np.full(len(triangles), 5, np.uint8), skin)


def _unprojected(depth, camera, size):
    """World points [H, W, 3] of a depth picture, by the annotations' camera alone."""
    lens = intrinsics(camera, size)
    column, row = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    local = np.stack([(column - lens["cx"]) / lens["fx"], (row - lens["cy"]) / lens["fy"], np.ones_like(depth)], -1)
    world_from_camera = camera_points(np.eye(3), camera) - camera_points(np.zeros(3), camera)
    return (local * depth[..., None]) @ world_from_camera.T + np.array(camera.position)


def test_depth_and_normals_are_those_of_balls_on_a_floor():
    centres = np.array([[0.0, -0.3, 0.4], [0.0, 0.7, 0.4]])
    vertices, normals, triangles = _balls(centres)
    image = _renderer(triangles, 2).render(vertices, normals, [CAMERA], SIZE)[0]
    assert image.rgb.shape == (60, 80, 3) and set(np.unique(image.instance)) == {0, 1, 2}
    assert set(np.unique(image.part)) == {0, 5} and ((image.part > 0) == (image.instance > 0)).all()
    points = _unprojected(image.depth, CAMERA, SIZE)
    for number, centre in enumerate(centres, start=1):
        seen = image.instance == number
        offset = points[seen] - centre
        assert seen.sum() > 100
        assert np.abs(np.linalg.norm(offset, axis=1) - RADIUS).max() < 2e-3
        cosine = (image.normal[seen] * offset).sum(axis=1) / np.linalg.norm(offset, axis=1)
        assert cosine.min() > 0.995
    floor = (image.instance == 0) & (image.depth > 0)
    assert floor.sum() > 500 and np.abs(points[floor][:, 2]).max() < 1e-4
    assert (image.normal[floor] == [0, 0, 1]).all()
    sky = image.depth == 0
    assert (image.normal[sky] == 0).all()


def test_pixels_follow_the_rays_of_the_other_renderer():
    centres = [[0.0, -0.3, 0.4]]
    vertices, normals, triangles = _balls(centres)
    image = _renderer(triangles, 1).render(vertices, normals, [CAMERA], SIZE)[0]
    other = render_scene([SceneMesh(vertices[0], triangles, (0.9, 0.0, 0.0))], CAMERA, SIZE).astype(int)
    red = other[..., 0] - other[..., 2] > 60
    assert (red ^ (image.instance == 1)).sum() < 0.1 * red.sum()
    column, row = project(np.array(centres[0]), CAMERA, SIZE)
    rows, columns = np.nonzero(image.instance == 1)
    assert abs(columns.mean() - column) < 1.0 and abs(rows.mean() - row) < 1.0


def test_refitting_the_tree_gives_what_a_new_tree_gives():
    first, moved = _balls([[0.0, -0.5, 0.4], [0.0, 0.5, 0.4]]), _balls([[-1.5, 0.6, 0.9], [0.3, 0.1, 0.4]])
    reused = _renderer(first[2], 2)
    reused.render(first[0], first[1], [CAMERA], SIZE)
    again = reused.render(moved[0], moved[1], [CAMERA], SIZE)[0]
    fresh = _renderer(first[2], 2).render(moved[0], moved[1], [CAMERA], SIZE)[0]
    np.testing.assert_array_equal(again.instance, fresh.instance)
    np.testing.assert_allclose(again.depth, fresh.depth, atol=1e-5)


def test_other_shapes_are_refused():
    vertices, normals, triangles = _balls([[0, 0, 1]])
    with pytest.raises(ValueError, match="2 bodies"):
        _renderer(triangles, 2).render(vertices, normals, [CAMERA], SIZE)


def test_parts_follow_the_joints():
    named = {name: PART_NAMES[part - 1] for name, part in zip(POSE_JOINT_NAMES, JOINT_PARTS, strict=True)}
    assert named["LeftHandIndex3"] == "left_hand" and named["RightToeEnd"] == "right_foot"
    assert named["LeftEye"] == "head" and named["RightShoulder"] == "chest" and named["Hips"] == "hips"
    rig = load_template_rig()
    for lod in ("mid", "low"):
        mesh = rig.mesh(lod)
        parts = triangle_parts(mesh, rig.skeleton.joint_names, rig.skeleton.parent_indices)
        centres = mesh.points[mesh.triangles].mean(axis=1)
        assert set(parts) == set(range(1, len(PART_NAMES) + 1))
        for part, name in enumerate(PART_NAMES, start=1):
            x, y = centres[parts == part][:, 0], centres[parts == part][:, 1]
            if name.startswith("left"):  # SOMA's +X is its left
                assert x.min() > -0.03, name
            if name.startswith("right"):
                assert x.max() < 0.03, name
            assert (y.min() > 1.4) == (name in ("head", "neck")), name
        # the twist helpers belong to the limb that they turn with
        hand = rig.skeleton.bind_T_world_joint[rig.skeleton.index("LeftHand"), :3, 3]
        elbow = rig.skeleton.bind_T_world_joint[rig.skeleton.index("LeftForeArm"), :3, 3]
        middle = np.linalg.norm(centres - 0.5 * (hand + elbow), axis=1) < 0.06
        assert middle.any() and set(parts[middle]) == {PART_NAMES.index("left_forearm") + 1}


@pytest.mark.parametrize("lod", ["mid", "low"])
def test_clothes_cover_what_they_are_named_after(lod):
    rig = load_template_rig()
    mesh = rig.mesh(lod)
    surface = body_surface(mesh, rig.skeleton)
    np.testing.assert_allclose(surface.pieces.sum(axis=1), 1.0, atol=1e-6)
    assert surface.pieces.min() >= 0.0
    worn = triangle_pieces(surface.pieces, mesh.triangles)
    centres = mesh.points[mesh.triangles].mean(axis=1)
    named = {name: centres[worn == piece] for piece, name in enumerate(PIECES)}
    assert all(len(points) > 20 for points in named.values())
    eye = rig.skeleton.bind_T_world_joint[rig.skeleton.index("LeftEye"), :3, 3]
    hair = named["hair"]
    assert hair[:, 1].max() > mesh.points[:, 1].max() - 0.01 and hair[:, 1].min() > eye[1] - 0.09
    face = (np.linalg.norm(centres - eye, axis=1) < 0.04) | (centres[:, 2] > eye[2] + 0.02)
    assert not (face & (worn == PIECES.index("hair"))).any()
    assert named["shoes"][:, 1].max() < 0.12 and named["legs"][:, 1].max() < named["trousers"][:, 1].max()
    body = _shots(count=1)[0].bodies[0]
    bare = piece_colors(replace(body, long_sleeves=False, shorts=True))
    clad = piece_colors(replace(body, long_sleeves=True, shorts=False))
    for piece, other in (("sleeves", "shirt"), ("legs", "trousers")):
        assert (bare[PIECES.index(piece)] == bare[0]).all()
        assert (clad[PIECES.index(piece)] == clad[PIECES.index(other)]).all()


def test_every_pixel_shows_the_piece_that_weighs_most():
    """A ball that is red below its equator and blue above: the border is a line, not the triangles' teeth."""
    vertices, normals, triangles = _balls([[0.0, 0.0, 0.5]])
    coarse = capsule_mesh(np.array([0.0, 0.0, 0.5]), np.array([0.0, 0.0, 0.5]), RADIUS, 9, 4)
    points, triangles = coarse[0][None], coarse[1]
    up = points[0, :, 2] - 0.5 + 0.07 * np.sin(9.0 * points[0, :, 0])
    surface = _surface(triangles)
    surface.pieces[:, 0], surface.pieces[:, 1] = 0.5 - up, 0.5 + up
    shot = _shots(count=1)[0]
    body = replace(shot.bodies[0], skin_rgb=(0.9, 0.0, 0.0), top_rgb=(0.0, 0.0, 0.9))
    image = RayCastRenderer([body], surface, shot.light).render(points, points - points.mean(axis=1), [CAMERA], SIZE)[0]
    rgb = image.rgb.astype(int)
    on = image.instance == 1
    blue, red = on & (rgb[..., 2] > rgb[..., 0] + 30), on & (rgb[..., 0] > rgb[..., 2] + 30)
    assert blue.sum() > 50 and red.sum() > 50 and (blue | red).sum() > 0.9 * on.sum()


@pytest.mark.parametrize("rig,count", [("front", 1), ("turn", 1), ("orbit4", 4), ("random7", 7)])
def test_fitted_cameras_see_every_point(rig, count):
    generator = np.random.default_rng(1)
    points = generator.uniform([-0.8, -0.5, 0.0], [0.8, 0.5, 1.8], (200, 3))
    angles = view_angles(rig, generator)
    assert len(angles) == count
    for size in ((64, 64), (160, 60), (60, 160)):
        for azimuth, elevation in angles:
            camera = fitted_camera(points, azimuth, elevation, 0.6, size, 0.0)
            pixels = project(points, camera, size)
            assert camera.position[2] > 0.0
            assert (pixels > -0.5).all() and (pixels < np.array(size) - 0.5).all()
            assert (np.ptp(pixels, axis=0) / size).max() > 0.6  # and no farther away than needed


def test_a_turning_camera_sees_every_point_from_everywhere_and_keeps_its_distance():
    generator = np.random.default_rng(2)
    points = generator.uniform([-1.5, -0.2, 0.0], [1.5, 0.2, 1.8], (200, 3))
    angles = np.linspace(0.0, 2.0 * np.pi, 200, endpoint=False)
    cameras = turning_cameras(points, angles, 0.2, 0.6, (90, 60), 0.05)
    centre = 0.5 * (points.min(axis=0) + points.max(axis=0))
    assert np.ptp([np.linalg.norm(camera.position - centre) for camera in cameras]) < 1e-9
    spans = []
    for camera in cameras:
        pixels = project(points, camera, (90, 60))
        assert (pixels > -0.5).all() and (pixels < np.array([89.5, 59.5])).all()
        spans.append((np.ptp(pixels, axis=0) / (90, 60)).max())
    assert max(spans) > 0.6
    view = ViewSpec(0.5, 0.2, 0.6, 2.0 * np.pi)
    np.testing.assert_allclose(np.diff(view.azimuths(8)), np.pi / 4.0)
    assert scene_parts(replace(CHOICES, rig="turn"), 0, 1)[2][0].turn == pytest.approx(2.0 * np.pi, abs=1e-5)


@pytest.mark.parametrize("rig", ["orbit", "orbit0", "orbit65", "above", "front2", "orbit4x", ""])
def test_unknown_rigs_are_refused(rig):
    with pytest.raises(InputRejected, match="orbit4"):
        view_angles(rig, np.random.default_rng(0))


def test_shots_survive_json_and_split_a_scene():
    shots = _shots()
    assert [(shot.first, shot.count) for shot in shots] == [(0, 2), (2, 2), (4, 1)]
    assert all(Shot.from_json(shot.to_json()) == shot for shot in shots)
    names = [name for shot in shots for name in shot.image_names()]
    assert len(set(names)) == len(names) == 15
    assert shots[0].bodies == shots[2].bodies


def test_scenes_do_not_depend_on_each_other():
    assert _shots(2)[0] == _shots(2)[0]
    assert _shots(2)[0].bodies[0].coefficients != _shots(1)[0].bodies[0].coefficients
    kinds = [body.kind for scene in range(3) for body in _shots(scene)[0].bodies]
    assert kinds == ["preset", "sampled", "anny"] * 4
    presets = [body.name for scene in range(3) for body in _shots(scene)[0].bodies if body.kind == "preset"]
    assert len(set(presets[:2])) == 2


def test_run_lengths_go_down_the_columns():
    mask = np.random.default_rng(0).uniform(size=(7, 5)) > 0.5
    for case in (mask, ~mask, np.zeros((3, 2), bool), np.ones((3, 2), bool)):
        record = run_lengths(case)
        decoded = np.repeat(np.arange(len(record["counts"])) % 2, record["counts"]).astype(bool)
        assert record["size"] == list(case.shape)
        np.testing.assert_array_equal(decoded.reshape(case.shape[::-1]).T, case)


def test_joints_are_outside_hidden_or_visible():
    parts = np.zeros((20, 20), np.uint8)
    parts[:, :10] = PART_NAMES.index("chest") + 1
    pixels = np.full((77, 2), [5.2, 5.2])
    pixels[POSE_JOINT_NAMES.index("LeftFoot")] = [-0.6, 3.0]
    pixels[POSE_JOINT_NAMES.index("RightFoot")] = [np.nan, np.nan]
    pixels[POSE_JOINT_NAMES.index("Chest")] = [15.0, 5.0]
    flags = dict(zip(POSE_JOINT_NAMES, joint_flags(pixels, parts), strict=True))
    assert flags["LeftFoot"] == flags["RightFoot"] == 0
    assert flags["Neck1"] == flags["LeftArm"] == flags["LeftShoulder"] == 2  # they join the chest
    assert flags["LeftHand"] == flags["Head"] == flags["LeftShin"] == 1
    assert flags["Chest"] == 1


def test_contact_sheets_keep_their_pictures():
    pictures = [np.full((10, 12, 3), value, np.uint8) for value in (10, 20, 30)]
    sheet = contact_sheet(pictures, 2)
    assert [int((sheet == value).all(axis=-1).sum()) for value in (10, 20, 30)] == [120, 120, 120]
    assert reduced(np.full((100, 60, 3), 7, np.uint8), 25).shape == (25, 15, 3)
    with pytest.raises(ValueError, match="one size"):
        contact_sheet([pictures[0], pictures[1][:5]], 2)
