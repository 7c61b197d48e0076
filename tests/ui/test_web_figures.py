"""What the preview page is sent: bones that put the skin where the layer puts it, and two runs compared. No server."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.batch.thumbnails import robot_meshes
from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.skin_animation import identity_skeleton
from soma_isaac.errors import InputRejected
from soma_isaac.formats.reference_clip import reference_clip_bytes
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.math.so3 import matrix_from_quat_wxyz
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.motion.sample import pose_at
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.retarget.robot import load_robot
from soma_isaac.rig.skeleton import data_path
from soma_isaac.ui.choices import BodyChoice, Clip, ViewChoice, list_clips
from soma_isaac.ui.state import PanelSettings
from soma_isaac.ui.web_compare import common_clips, difference
from soma_isaac.ui.web_figures import BodyFigure, RobotFigure, four_influences, robot_links
from soma_isaac.ui.web_renderer import (
    ALONE_NOTE,
    CORRECTIVES_NOTE,
    REFERENCE_NOTE,
    PageFrame,
    PagePresenter,
    PageRenderer,
    PageRequest,
)

ROOT = Path(__file__).resolve().parents[2]
WALK = Clip("walk.npz", str(data_path("demo_clips") / "walk.npz"))
STILL = PageRequest(BodyChoice(), None, "T-pose", 0.0, ViewChoice(), "none")


@pytest.fixture(scope="module")
def renderer():
    return PageRenderer()


def skinned(figure):
    """The vertices [V, 3] that a browser makes of a figure's bones, in the figure's world."""
    skin = figure.skin

    def transforms(wxyz, positions):
        matrices = np.tile(np.eye(4), (len(wxyz), 1, 1))
        matrices[:, :3, :3], matrices[:, :3, 3] = matrix_from_quat_wxyz(wxyz), positions
        return matrices

    bones = transforms(figure.bone_wxyz, figure.bone_positions)
    bones = bones @ np.linalg.inv(transforms(skin.bind_wxyz, skin.bind_positions))
    points = np.concatenate([skin.points, np.ones((len(skin.points), 1))], axis=1)
    return np.einsum("vb,bij,vj->vi", skin.weights, bones, points, optimize=True)[:, :3]


def reference(shift=0.0, fps=50.0, frames=20, reverse=False):
    """A G1 reference that stands, ``shift`` [m] to the side; in another order of links if ``reverse``."""
    robot = load_robot()
    count = len(robot.body_names)
    root = np.tile([0.0, shift, 0.8], (frames, 1)) + np.linspace(0.0, 1.0, frames)[:, None] * [1.0, 0.0, 0.0]
    quat = np.tile([1.0, 0.0, 0.0, 0.0], (frames, 1))
    pos, rot = robot.body_poses(root, quat, np.zeros((frames, len(robot.joint_names))))
    clip = ReferenceClip(
        fps, robot.joint_names, robot.body_names, robot.body_parents, np.zeros((frames, count - 1)),
        np.zeros((frames, count - 1)), pos, np.tile([1.0, 0.0, 0.0, 0.0], (frames, count, 1)),
        np.zeros((frames, count, 3)), np.zeros((frames, count, 3)), robot.body_com_b, np.zeros((frames, 2), bool),
        robot.digest,
    )  # fmt: skip
    return reference_clip_bytes(clip, "beyondmimic" if reverse else "mjlab")


@pytest.mark.parametrize(("lod", "mean_mm", "largest_mm"), [("low", 0.01, 1.5), ("mid", 0.01, 1.5), ("xlo", 0.03, 3.0)])
def test_four_bones_per_vertex_put_the_skin_where_the_layer_puts_it(renderer, lod, mean_mm, largest_mm):
    layer = SomaLayer(load_template_rig(), lod=lod, threads=1)
    identity = layer.prepare_identity()
    hips_height = identity_skeleton(layer.body, identity).rest_T_world_joint[1, 1, 3]
    errors = []
    for name in ("walk.npz", "squat.npz", "reach.npz"):
        clip = Clip(name, str(data_path("demo_clips") / name))
        motion = load_motion(Path(clip.path))
        stride = hips_height / motion.identity.rest_offsets[1, 1]
        for moment in (0.5, 1.5, 2.5):
            figure = renderer.draw(replace(STILL, body=BodyChoice(lod=lod), clip=clip, time=moment)).figures[0]
            rotations, hips = pose_at(motion, moment)
            pose = layer.pose(rotations[None], (hips * stride)[None], identity=identity)
            errors.append(np.linalg.norm(skinned(figure) - pose.vertices.numpy()[0], axis=1))
            assert np.abs(figure.joints - pose.joints.numpy()[0]).max() < 1e-5
    assert (figure.skin.weights > 0.0).sum(axis=1).max() <= 4
    assert np.abs(figure.skin.weights.sum(axis=1) - 1.0).max() < 1e-5
    assert 1e3 * np.mean(errors) < mean_mm and 1e3 * np.max(errors) < largest_mm


def test_weight_goes_to_the_nearest_joint_rather_than_to_all():
    # Between the legs: two twist joints each side, and the hips. Without the smallest weight the skin goes to one side.
    places = np.array([[0.0, 1.0, 0.0], [0.1, 0.8, 0.0], [0.1, 0.7, 0.0], [-0.1, 0.8, 0.0], [-0.1, 0.7, 0.0]])
    joints, weights = four_influences(np.arange(5)[None], np.array([[0.3, 0.17, 0.18, 0.17, 0.18]]), places)
    sides = [weights[0][places[joints[0], 0] * side > 0.0].sum() for side in (1.0, -1.0)]
    assert sides == pytest.approx([0.35, 0.35]) and weights.sum() == pytest.approx(1.0)
    few = np.array([[0.6, 0.4, 0.0, 0.0, 0.0]])
    assert four_influences(np.arange(5)[None], few, places)[1][0].tolist() == [0.6, 0.4, 0.0, 0.0]


def test_links_are_the_robot_of_the_panel(renderer):
    frame = renderer.draw(replace(STILL, view=ViewChoice(robot=True)))
    body, robot = frame.figures
    assert frame.names == ("body", "G1") and isinstance(body, BodyFigure) and isinstance(robot, RobotFigure)
    model, links = load_robot(), robot_links(load_robot())
    rotations = matrix_from_quat_wxyz(robot.wxyzs)
    expected = robot_meshes(model, robot.positions[None], rotations[None], np.eye(3), np.zeros(3))
    for kind, mesh in zip(("shells", "struts"), expected, strict=True):
        parts = [
            part[0] @ rotation.T + position
            for part, rotation, position in zip(getattr(links, kind), rotations, robot.positions, strict=True)
            if part is not None
        ]
        boxes = [np.stack([p.min(axis=0), p.max(axis=0)]) for p in (np.concatenate(parts), mesh.vertices)]
        assert np.abs(boxes[0] - boxes[1]).max() < 0.004, kind


def test_the_figure_starts_in_the_middle_and_looks_along_x(renderer):
    frame = renderer.draw(replace(STILL, clip=WALK))
    body = frame.figures[0]
    world = body.joints @ matrix_from_quat_wxyz(body.wxyz).T + body.place
    assert np.abs(frame.centre).max() < 0.02 and np.abs(world[0, :2]).max() < 0.02
    assert 0.7 < world[0, 2] < 1.1 and -0.05 < world[:, 2].min() < 0.15
    later = renderer.draw(replace(STILL, clip=WALK, time=5.0))
    assert later.centre[0] > 1.0 and later.duration == pytest.approx(6.34, abs=0.05)
    assert later.figures[0].skin is body.skin, "the skin is sent again only when the body changes"
    assert renderer.draw(replace(STILL, body=BodyChoice(size=1.2))).figures[0].skin is not body.skin


def test_notes_say_what_is_not_shown(renderer, tmp_path):
    (tmp_path / "alone.npz").write_bytes(reference())
    walking = replace(STILL, clip=WALK, view=ViewChoice(robot=True))
    assert renderer.draw(walking).note == ALONE_NOTE
    assert renderer.draw(replace(STILL, body=BodyChoice(correctives=True))).note == CORRECTIVES_NOTE
    alone = renderer.draw(replace(STILL, clip=Clip("alone.npz", str(tmp_path / "alone.npz"))))
    assert alone.names == ("G1",) and alone.note == REFERENCE_NOTE and alone.sliders


def test_a_prepared_reference_moves_the_robot(renderer, tmp_path):
    (tmp_path / "mjlab").mkdir()
    (tmp_path / "mjlab" / "walk.npz").write_bytes(reference())
    walking = replace(STILL, clip=WALK, view=ViewChoice(robot=True), references=str(tmp_path))
    first, later = (renderer.draw(replace(walking, time=moment)).figures[1] for moment in (0.0, 0.2))
    assert later.positions[0, 0] - first.positions[0, 0] == pytest.approx(0.2 * 50 / 19)
    assert renderer.draw(walking).note == ""


def test_two_runs_stand_side_by_side_with_their_difference(renderer, tmp_path):
    for run, shift, reverse in (("a", 0.0, False), ("b", 0.1, True)):
        (tmp_path / run / "mjlab").mkdir(parents=True)
        (tmp_path / run / "mjlab" / "walk.npz").write_bytes(reference(shift, reverse=reverse))
    (tmp_path / "a" / "only_here.npz").write_bytes(reference())
    clips = list_clips(str(tmp_path / "a"))
    assert [clip.name for clip in common_clips(clips, str(tmp_path / "b"))] == ["mjlab/walk.npz"]
    asked = replace(STILL, clip=clips[0], against=str(tmp_path / "b"))
    frame = renderer.draw(asked)
    assert frame.names == ("before", "after")
    before, after = frame.figures
    assert np.allclose(after.positions - before.positions, [0.0, 0.1, 0.0], atol=1e-6), "both in the first one's world"
    assert frame.difference.overall == pytest.approx(0.1) and "100.0 mm apart" in frame.difference.text()
    with pytest.raises(InputRejected, match="only_here"):
        renderer.draw(replace(asked, clip=clips[1]))
    (tmp_path / "b" / "only_here.npz").write_bytes(Path(WALK.path).read_bytes())
    with pytest.raises(InputRejected, match="a motion under this name"):
        renderer.draw(replace(asked, clip=clips[1]))


def test_two_motions_stand_on_one_skin_in_step(renderer, tmp_path):
    (tmp_path / "walk.npz").write_bytes(Path(WALK.path).read_bytes())
    frame = renderer.draw(replace(STILL, clip=WALK, time=2.0, against=str(tmp_path)))
    before, after = frame.figures
    assert before.skin is after.skin and np.array_equal(before.joints, after.joints)
    assert frame.difference.worst == 0.0 and frame.note == ""


def test_differences_of_motions_name_the_joint_and_the_moment():
    motion = load_motion(Path(WALK.path))
    bent = motion.rotations.copy()
    elbow = list(load_template_rig().public_joint_names[1:]).index("LeftForeArm")
    bent[240, elbow] = bent[240, elbow] @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = difference(motion, replace(motion, rotations=bent))
    assert found.worst_time == pytest.approx(2.0) and found.worst_name.startswith("LeftHand") and found.worst > 0.2
    assert found.largest.max() == pytest.approx(found.worst) and np.count_nonzero(found.largest) == 1
    assert len(found.times) == 400 and found.times[-1] == pytest.approx((motion.frame_count - 1) / motion.fps)
    assert found.note == ""
    slower = difference(motion, replace(motion, fps=motion.fps / 2.0))
    assert "the second 12.68 s" in slower.note and slower.times[-1] == pytest.approx(6.34, abs=0.01)
    half = {"rotations": motion.rotations[::2], "root_translation": motion.root_translation[::2]}
    same = difference(motion, replace(motion, **half, fps=motion.fps / 2.0))
    assert same.overall < 1e-3, "compared at the same times, not the same frame numbers"


def test_the_presenter_offers_what_both_runs_have(tmp_path):
    for run, names in (("a", ("one.npz", "two.npz")), ("b", ("two.npz",))):
        (tmp_path / run).mkdir()
        for name in names:
            (tmp_path / run / name).write_bytes(b"")
    presenter = PagePresenter(
        PanelSettings(), draw=lambda request: PageFrame(np.zeros((0, 0, 3), np.uint8), (), (), 1.0, 50.0)
    )
    try:
        presenter.compare(str(tmp_path / "a"), str(tmp_path / "nowhere"))
        assert "After: " in presenter.state.error and "nowhere" in presenter.state.error and not presenter.against
        for before, words in (("", "Before: is empty"), (str(tmp_path / "gone"), "does not exist")):
            presenter.compare(before, str(tmp_path / "b"))
            assert words in presenter.state.error and not presenter.against
        presenter.compare(str(tmp_path / "a"), str(tmp_path / "b"))
        end = time.monotonic() + 120.0
        while not presenter.clips:
            assert time.monotonic() < end
            presenter.tick(0.01)
            time.sleep(0.01)
        assert [clip.name for clip in presenter.clips] == ["two.npz"]
        presenter.choose_clip(presenter.clips[0])
        assert presenter.request().against == str(tmp_path / "b")
        presenter.end_comparison()
        assert len(presenter.clips) == 2 and presenter.request().against == ""
        (tmp_path / "c").mkdir()
        presenter.compare(str(tmp_path / "a"), str(tmp_path / "c"))
        end = time.monotonic() + 120.0
        while not presenter.state.error:
            assert time.monotonic() < end
            presenter.tick(0.01)
            time.sleep(0.01)
        assert presenter.state.error == "The two runs have no clip of the same name."
    finally:
        presenter.close()


def test_nothing_here_loads_viser():
    code = (
        "import json, sys\n"
        "from soma_isaac.ui import web_command, web_controls, web_renderer, web_stage\n"
        "print(json.dumps([m for m in ('viser', 'omni', 'torch', 'pinocchio') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == []
