"""Pictures of bodies: what changes them, and that the drawn bones lie in them."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected, SomaError
from soma_isaac.render.scene import Camera, SceneMesh, render_scene
from soma_isaac.render.shapes import capsule_mesh
from soma_isaac.retarget.robot import load_robot
from soma_isaac.rig.skeleton import data_path
from soma_isaac.ui.choices import BodyChoice, Clip, PreviewRequest, ViewChoice
from soma_isaac.ui.export import write_body
from soma_isaac.ui.overlay import draw_skeleton, project
from soma_isaac.ui.plain_words import plain_words
from soma_isaac.ui.preview import PreviewRenderer, reference_pose
from soma_isaac.ui.preview_models import reference_path

ROOT = Path(__file__).resolve().parents[2]
WALK = Clip("walk.npz", str(data_path("demo_clips") / "walk.npz"))
STILL = PreviewRequest(BodyChoice(), None, "T-pose", 0.0, ViewChoice(size=(110, 100)), "none")


@pytest.fixture(scope="module")
def renderer():
    return PreviewRenderer()


def _differ(first, second):
    return float((np.abs(first.image.astype(int) - second.image.astype(int)).max(axis=2) > 8).mean())


def test_every_choice_shows(renderer):
    plain = renderer.draw(STILL)
    body, view = STILL.body, STILL.view
    for request in (
        replace(STILL, still="bind pose"),
        replace(STILL, body=replace(body, size=1.3)),
        replace(STILL, body=replace(body, backend="soma", coefficients=(-3.0,) + (0.0,) * 63)),
        replace(STILL, body=replace(body, groups=(("bone_scales", (1.3,) * 60),))),
        replace(STILL, view=replace(view, turn=90.0)),
        replace(STILL, view=replace(view, robot=True)),
        replace(STILL, clip=WALK, time=1.0),
    ):
        assert _differ(plain, renderer.draw(request)) > 0.02
    assert _differ(plain, renderer.draw(STILL)) == 0.0
    walking = replace(STILL, clip=WALK, time=3.0)
    untwisted = replace(walking, body=replace(body, twist=False))
    assert _differ(renderer.draw(walking), renderer.draw(untwisted)) > 0.0


def test_the_picture_tells_the_sliders_and_the_clip(renderer):
    named = renderer.draw(replace(STILL, clip=WALK, body=BodyChoice("soma", preset="child")))
    assert len(named.sliders) == len(named.coefficients) == 64 + 60 and named.sliders[0].low == -3.0
    assert [slider.group for slider in named.sliders] == ["coefficients"] * 64 + ["bone_scales"] * 60
    assert named.duration == pytest.approx(6.34, abs=0.1) and named.fps == 120.0 and not named.note
    still = renderer.draw(STILL)
    assert {slider.group for slider in still.sliders} == {"bone_scales"} and set(still.coefficients) == {1.0}


def test_the_picture_is_that_of_its_own_moment_not_of_the_frame_before(renderer):
    walking = replace(STILL, clip=WALK, time=2.0, view=ViewChoice(size=(220, 200)))
    frame, between = renderer.draw(walking), renderer.draw(replace(walking, time=2.0 + 0.9 / 120.0))
    assert (frame.image != between.image).any()
    half = renderer.draw(replace(walking, draft=True))
    assert half.image.shape == (100, 110, 3)


def test_the_robot_moves_between_the_frames_of_its_reference():
    robot = load_robot()
    quats = Rotation.from_rotvec([[0.0, 0.0, 0.2], [0.0, 0.0, 0.6], [0.0, 0.0, 0.6]]).as_quat()[:, [3, 0, 1, 2]]
    names = robot.joint_names[::-1]
    clip = SimpleNamespace(fps=50.0, frame_count=3, joint_names=names)
    clip.joint_pos = np.array([np.zeros(29), np.arange(29.0), np.arange(29.0)])
    clip.body_pos_w = np.array([[[0.0, 0.0, 0.7]], [[1.0, 0.0, 0.7]], [[1.0, 0.0, 0.7]]])
    clip.body_quat_wxyz = quats[:, None]
    place, quat, joints = reference_pose(clip, robot, 0.25 / 50.0)
    np.testing.assert_allclose(place, [[0.25, 0.0, 0.7]])
    np.testing.assert_allclose(quat, [[np.cos(0.15), 0.0, 0.0, np.sin(0.15)]], atol=1e-12)
    np.testing.assert_allclose(joints, [0.25 * np.arange(29.0)[::-1]])
    assert reference_pose(clip, robot, 9.0)[0][0, 0] == 1.0


def test_what_cannot_be_drawn_is_refused(renderer, tmp_path):
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"no archive")
    for request in (
        replace(STILL, clip=Clip("broken.npz", str(broken))),
        replace(STILL, body=BodyChoice("smpl")),
        replace(STILL, body=BodyChoice("soma", coefficients=(1.0,))),
        replace(STILL, body=BodyChoice(groups=(("scales", (1.0,)),))),
    ):
        with pytest.raises(InputRejected):
            renderer.draw(request)
    with pytest.raises(FileNotFoundError):
        renderer.draw(replace(STILL, clip=Clip("gone.npz", str(tmp_path / "gone.npz"))))


def test_projected_points_fall_where_the_renderer_draws_them():
    camera, size = Camera((3.0, -2.0, 1.4), (0.1, 0.0, 0.9)), (150, 110)
    for point in ([0.0, 0.0, 1.0], [0.4, 0.3, 1.2], [-0.2, -0.4, 0.5]):
        ball = SceneMesh(*capsule_mesh(np.array(point), np.array(point), 0.03), (1.0, 0.0, 0.0))
        image = render_scene([ball], camera, size, floor_height=None).astype(int)
        rows, columns = np.nonzero(image[..., 0] - image[..., 1] > 60)
        pixel = project(np.array([point]), camera, size)[0]
        assert np.abs(pixel - (columns.mean(), rows.mean())).max() < 0.6
    assert np.isnan(project(np.array([[6.0, -4.0, 1.9]]), camera, size)).all(), "behind the camera"


def test_bones_lie_on_the_body_and_off_the_picture_they_do_no_harm(renderer):
    view = replace(STILL.view, size=(220, 200))
    plain, boned = (renderer.draw(replace(STILL, view=replace(view, skeleton=on))) for on in (False, True))
    drawn = (plain.image != boned.image).any(axis=2)
    skin = plain.image[..., 0].astype(int) - plain.image[..., 2] > 25
    assert drawn.sum() > 300 and (skin[drawn]).mean() > 0.97
    image = np.zeros((20, 20, 3), np.uint8)
    draw_skeleton(image, np.full((77, 3), 50.0), Camera((3.0, 0.0, 1.0), (0.0, 0.0, 1.0)))
    assert not image.any()


def test_references_are_found_by_name_below_the_folder_or_at_its_top(tmp_path):
    for name in ("amp/sub/a.npz", "mjlab/b.npz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [reference_path(Clip(name, ""), str(tmp_path)) for name in ("sub/a.bvh", "sub/b.npz", "c.npz")]
    assert found == [tmp_path / "amp/sub/a.npz", tmp_path / "mjlab/b.npz", None]


def test_errors_are_about_what_stands_in_the_panel(renderer, tmp_path):
    """What the library says names keys of the command line, of which a panel has none."""
    file, said = str(tmp_path / "a.npz"), []
    assert write_body(STILL, file, False).startswith(f"{file} written")
    for attempt in (
        lambda: write_body(replace(STILL, clip=WALK), file, False),
        lambda: write_body(replace(STILL, clip=WALK), str(tmp_path / "a.obj"), False),
        lambda: write_body(STILL, "", False),
        lambda: write_body(STILL, str(tmp_path / "a.npz" / "b.npz"), False),
        lambda: renderer.draw(replace(STILL, body=BodyChoice("smpl"))),
    ):
        with pytest.raises((SomaError, OSError)) as caught:
            attempt()
        said.append(plain_words(caught.value))
    for words, sentence in zip(
        ("switch 'Overwrite' on.", ".glb or .npz.", "Name a file", "is a file where a folder", "in 'Model files'"),
        said,
        strict=True,
    ):
        assert (
            words in sentence
            and "=" not in sentence
            and sentence.endswith(".")
            and (sentence[0] == "'" or sentence[0].isupper())
        )


def test_an_export_says_where_it_is_whatever_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert write_body(STILL, "a.npz", False).startswith(str(tmp_path / "a.npz"))


def test_the_logic_loads_no_omni_no_torch_and_no_pinocchio():
    code = (
        "import json, sys\n"
        "from soma_isaac.ui import jobs, presenter, preview, export\n"
        "print(json.dumps([m for m in ('omni', 'carb', 'torch', 'pinocchio') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
