"""render_bodies.py: labels fit the pictures, the same seed gives the same bytes, a killed run goes on, wrong words."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from soma_isaac.batch.audit import verify_folder
from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.formats.png import read_png
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.pipelines import folder_run, render_bodies_shot
from soma_isaac.pipelines.config import ConfigRefused
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.render_bodies import plan_render_bodies, run_render_bodies
from soma_isaac.pipelines.render_bodies_config import (
    LAYERS,
    BodiesConfig,
    RenderBodiesConfig,
    check_config,
    frames_per_shot,
)
from soma_isaac.pipelines.render_bodies_shot import render_shot
from soma_isaac.pipelines.run_config import OutputConfig, SourceConfig
from soma_isaac.render.parts import JOINT_PARTS
from soma_isaac.render.plan import Shot
from soma_isaac.render.posing import PosedScene, make_layers
from soma_isaac.render.renderer import BodySurface, make_renderer
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, data_path, forward_kinematics
from tests.recovery.driver import InlineSupervisor

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ROOT / "data" / "demo_clips"


class Inline(InlineSupervisor):
    """The real converter in this process."""

    def __init__(self, *_: object) -> None:
        self.converter = render_shot


@pytest.fixture
def run(monkeypatch):
    """Runs the job in this process: workers are tested elsewhere, and cost seconds each."""
    monkeypatch.setattr(folder_run, "Supervisor", Inline)

    def call(out: Path, *, count=4, per_scene=1, **keys):
        config = RenderBodiesConfig(
            output=OutputConfig(str(out)),
            bodies=BodiesConfig(count=count, per_scene=per_scene, lod=keys.pop("lod", "low")),
            **{"size": [96, 96], "camera": "orbit2", "seed": 5} | keys,
        )
        stream = io.StringIO()
        return run_render_bodies(config, stream), stream.getvalue()

    return call


def files(out: Path) -> dict[str, bytes]:
    """All pictures and labels, and what is made of them."""
    names = [path for layer in (*LAYERS, "annotations") for path in sorted((out / layer).glob("*"))]
    names += [out / "annotations.json", out / "contact_sheet.png", out / "layers.png"]
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in names}


def coco(out: Path) -> tuple[dict, dict]:
    record = json.loads((out / "annotations.json").read_bytes())
    return record, {image["id"]: image for image in record["images"]}


def test_joints_lie_on_their_bodies(run, tmp_path):
    report, said = run(tmp_path / "out", count=6, size=[160, 160], lod="mid")
    assert report.exit_code == 0 and "12 pictures" in said
    record, images = coco(tmp_path / "out")
    assert len(images) == len(record["annotations"]) == 12
    visible = []
    for body in record["annotations"]:
        mask = read_png(tmp_path / "out" / images[body["image_id"]]["files"]["instances"]) == 1
        points = np.array(body["keypoints"]).reshape(77, 3)
        assert (points[:, 2] > 0).all() and body["num_keypoints"] == 77
        # one body alone: whatever hides its joints is itself, so that every joint falls on its mask
        columns, rows = np.rint(points[:, :2]).astype(int).T
        assert distance_transform_edt(~mask)[rows, columns].max() <= 2.0
        assert body["area"] == mask.sum() > 500
        left, top, width, height = body["bbox"]
        assert mask[top : top + height, left : left + width].sum() == mask.sum()
        assert mask[top].any() and mask[:, left + width - 1].any()
        visible.append(points[:, 2] == 2)
    assert 0.6 < np.mean(visible) < 0.98
    assert np.mean(visible, axis=0)[POSE_JOINT_NAMES.index("Head")] == 1.0


def test_annotations_agree_with_depth_and_with_each_other(run, tmp_path):
    run(tmp_path / "out", count=5, per_scene=5, frames=2, size=[320, 320])
    record, images = coco(tmp_path / "out")
    assert [image["frame"] for image in record["images"]] == [0, 0, 1, 1]
    assert len({body["id"] for body in record["annotations"]}) == len(record["annotations"]) == 20
    behind: list[float] = []
    for body in record["annotations"]:
        image = images[body["image_id"]]
        lens = image["intrinsics"]
        local, world = np.array(body["joints_camera"]), np.array(body["joints_world"])
        rotation, translation = np.array(image["R_camera_world"]), np.array(image["t_camera_world"])
        np.testing.assert_allclose(local, world @ rotation.T + translation, atol=2e-4)
        points = np.array(body["keypoints"]).reshape(77, 3)
        inside = points[:, 2] > 0
        pixels = local[:, :2] / local[:, 2:] * [lens["fx"], lens["fy"]] + [lens["cx"], lens["cy"]]
        np.testing.assert_allclose(pixels[inside], points[inside, :2], atol=2e-2)
        depth = read_png(tmp_path / "out" / image["files"]["depth"]) / 1000.0
        mask = read_png(tmp_path / "out" / image["files"]["instances"]) == body["instance"]
        columns, rows = np.rint(points[:, :2]).astype(int).T
        parts = read_png(tmp_path / "out" / image["files"]["parts"])
        assert (parts[mask] > 0).all()
        own = mask[rows, columns] & (parts[rows, columns] == JOINT_PARTS)
        assert (points[own, 2] == 2).all()
        behind.extend(local[own, 2] - depth[rows[own], columns[own]])
    # where a joint's own part is seen, the joint lies under that skin; fingers are thinner than a pixel
    assert len(behind) > 600
    assert np.quantile(behind, 0.005) > -0.03 and min(behind) > -0.06 and max(behind) < 0.3
    names = {(body["clip"], body["identity"]["name"]) for body in record["annotations"]}
    assert len(names) >= 4


def test_the_same_seed_gives_the_same_bytes(run, tmp_path):
    run(tmp_path / "a", frames=2)
    run(tmp_path / "b", frames=2)
    run(tmp_path / "c", frames=2, seed=6)
    first = files(tmp_path / "a")
    assert first == files(tmp_path / "b")
    assert len(first) == 4 * 2 * 2 * len(LAYERS) + 4 + 3
    other = files(tmp_path / "c")
    assert not [name for name in first if name.startswith("rgb/") and first[name] == other[name]]


def test_a_run_resumes_and_takes_more_bodies(run, tmp_path):
    out = tmp_path / "out"
    run(out)
    before = files(out)
    lost = out / "depth" / "s00002_f00000_c01.png"
    lost.unlink()
    stamps = {path: path.stat().st_mtime_ns for path in (out / "rgb").iterdir()}
    report, _ = run(out)
    assert report.exit_code == 0 and files(out) == before
    touched = {path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert touched == {"s00002_f00000_c00.png", "s00002_f00000_c01.png"}
    report, _ = run(out, count=5)
    assert report.exit_code == 0 and report.total == 5
    assert {name: data for name, data in files(out).items() if name in before and "/" in name} == {
        name: data for name, data in before.items() if "/" in name
    }
    problems = verify_folder(out)
    assert problems.checked == 5 * (2 * len(LAYERS) + 1)
    assert not problems.missing and not problems.changed and not problems.unrecorded


def test_a_clip_that_changes_is_named(run, tmp_path):
    clip = tmp_path / "in" / "squat.npz"
    clip.parent.mkdir()
    clip.write_bytes((CLIPS / "wave.npz").read_bytes())
    config = RenderBodiesConfig(
        output=OutputConfig(str(tmp_path / "out")), bodies=BodiesConfig(count=1, lod="xlo"), motion=str(clip)
    )
    plan, shots = plan_render_bodies(config)
    assert Shot.from_json(next(iter(shots.values()))).bodies[0].clip.path == str(clip)
    clip.write_bytes((CLIPS / "squat.npz").read_bytes())
    source = tmp_path / "shot.json"
    source.write_bytes(next(iter(shots.values())))
    job = folder_run._job_maker(plan)(plan.entries[0])
    with pytest.raises(InputRejected, match="changed after the run was planned"):
        render_shot(replace(job, source=str(source)))


def test_a_file_that_is_no_motion_costs_only_its_scenes(run, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.npz").write_bytes((CLIPS / "wave.npz").read_bytes())
    (folder / "b.npz").write_bytes(b"no archive")
    report, _ = run(tmp_path / "out", count=6, lod="xlo", motion=str(folder))
    assert report.exit_code == 3 and report.counts["done"] > 0 and report.counts["rejected"] > 0
    reasons = {record.reason for record in report.records.values() if record.state == "rejected"}
    assert all(reason.startswith("the clip 'b.npz' ") for reason in reasons)
    record, _ = coco(tmp_path / "out")
    assert {body["clip"] for body in record["annotations"]} == {"a.npz"}


def test_bodies_stand_on_the_floor_and_move_as_the_clip_does():
    config = RenderBodiesConfig(
        bodies=BodiesConfig(count=2, per_scene=2, kinds=["sampled"], lod="low"), motion=str(CLIPS / "walk.npz")
    )
    config.frames, config.fps, config.seed = 8, 20.0, 1
    _, files_by_name = plan_render_bodies(config)
    shot = Shot.from_json(next(iter(files_by_name.values())))
    walk = load_motion(data_path("demo_clips/walk.npz"))
    scene = PosedScene(shot, make_layers(("soma",), "low", False, "cpu"), lambda clip: walk)
    frames = [scene.frame(number) for number in range(8)]
    lowest = np.min([frame.vertices[..., 2].min(axis=1) for frame in frames], axis=0)
    np.testing.assert_allclose(lowest, 0.0, atol=1e-5)
    np.testing.assert_allclose(scene.joints_over_time(), [frame.joints for frame in frames], atol=1e-5)
    for number, body in enumerate(shot.bodies):
        np.testing.assert_allclose(frames[4].joints[number, 0, :2], body.place, atol=1e-5)
        times = [frame.times[number] for frame in frames]
        np.testing.assert_allclose(np.diff(times), 0.05, atol=1.01 / walk.fps)
        # bone directions are those of the clip, turned; only lengths are the body's own
        row = round(times[3] * walk.fps)
        world = forward_kinematics(
            walk.rotations[row : row + 1], walk.root_translation[row : row + 1], walk.identity.rest_offsets
        )[0][0][:, [2, 0, 1]]
        turn = matrix_from_rotvec(np.array([0.0, 0.0, body.heading]))
        shin, foot = (POSE_JOINT_NAMES.index(name) for name in ("LeftShin", "LeftFoot"))
        expected = (world[foot] - world[shin]) @ turn.T
        found = frames[3].joints[number, foot] - frames[3].joints[number, shin]
        cosine = expected @ found / np.linalg.norm(expected) / np.linalg.norm(found)
        assert cosine > 0.995


def test_the_cost_of_a_picture_is_reported_and_grows_with_its_bodies(run, tmp_path):
    """All layers at 256 x 256, sixteen bodies in one picture or each in its own; the docs have the seconds."""
    cost = {}
    for name, per_scene in (("together", 16), ("alone", 1)):
        run(tmp_path / name, count=16, per_scene=per_scene, frames=4, size=[256, 256], camera="orbit1", lod="mid")
        cost[name] = json.loads((tmp_path / name / "report.json").read_bytes())["cpu_s_per_picture_median"]
    assert 0 < cost["alone"] < cost["together"] < 16 * cost["alone"]


def test_memory_is_bounded_by_splitting_scenes():
    config = RenderBodiesConfig(frames=1000, size=[512, 512])
    assert frames_per_shot(config, 4) == 15
    config.size = [8192, 8192]
    assert frames_per_shot(config, 4) == 1
    config.frames = 3
    config.size = [64, 64]
    assert frames_per_shot(config, 1) == 3


def test_a_split_scene_is_the_same_scene(run, tmp_path, monkeypatch):
    run(tmp_path / "whole", count=2, frames=3)
    monkeypatch.setattr("soma_isaac.pipelines.render_bodies_config.SHOT_PIXELS", 2 * 96 * 96)
    report, _ = run(tmp_path / "split", count=2, frames=3)
    assert report.total == 6
    whole, split = (coco(tmp_path / name)[0] for name in ("whole", "split"))
    for key in ("images", "annotations"):
        order = sorted(split[key], key=lambda item: item["id"])
        assert [item["id"] for item in order] == [item["id"] for item in whole[key]]
    for first, second in zip(whole["annotations"], sorted(split["annotations"], key=lambda a: a["id"]), strict=True):
        assert first["joints_world"] == second["joints_world"] and first["keypoints"] == second["keypoints"]


def test_only_what_is_asked_for_is_written(run, tmp_path):
    run(tmp_path / "out", count=1, outputs=["depth"])
    assert {path.name for path in tmp_path.glob("out/*") if path.is_dir()} == {"depth", "shots"}
    assert not (tmp_path / "out" / "annotations.json").exists()


@pytest.mark.parametrize(
    "keys,words",
    [
        ({"outputs": ["rgb", "video"]}, "unknown 'video'"),
        ({"outputs": []}, "outputs: name one or more"),
        ({"bodies": BodiesConfig(kinds=["smpl"])}, "unknown 'smpl'"),
        ({"bodies": BodiesConfig(lod="high")}, "mid, low, xlo"),
        ({"bodies": BodiesConfig(count=0)}, "bodies.count"),
        ({"bodies": BodiesConfig(per_scene=0)}, "bodies.per_scene"),
        ({"renderer": "newtons"}, "did you mean 'newton'?"),
        ({"video": True, "outputs": ["depth"]}, "add rgb to outputs"),
        ({"size": [256]}, "[width,height]"),
        ({"size": [8, 8]}, "[width,height]"),
        ({"frames": 0}, "frames"),
        ({"fps": 0.0}, "fps"),
        ({"seed": -1}, "seed"),
        ({"frames": 100_000, "bodies": BodiesConfig(count=1000)}, "frames: 1000 scenes of 100000 frames are more than"),
        ({"vertical_fov": float("nan")}, "vertical_fov"),
        ({"source": SourceConfig(path="x")}, "motion= names"),
    ],
)
def test_refused(keys, words):
    with pytest.raises(ConfigRefused, match=re.escape(words)):
        check_config(RenderBodiesConfig(**keys))


def test_what_is_not_there_is_refused(tmp_path, monkeypatch):
    with pytest.raises(ConfigRefused, match="camera: 'orbit'"):
        plan_render_bodies(RenderBodiesConfig(camera="orbit"))
    with pytest.raises(InputRejected, match="no such.*motion="):
        plan_render_bodies(RenderBodiesConfig(motion=str(tmp_path / "nothing")))
    (tmp_path / "notes.txt").write_text("no motion")
    with pytest.raises(InputRejected, match="motion= takes them"):
        plan_render_bodies(RenderBodiesConfig(motion=str(tmp_path)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for keys, package in (
        ({"bodies": BodiesConfig(kinds=["anny"])}, r"soma_isaac\[anny\]"),
        ({"renderer": "newton"}, r"soma_isaac\[newton\]"),
        ({"renderer": "isaac"}, "python.sh"),
        ({"video": True}, r"soma_isaac\[video\]"),
    ):
        with pytest.raises(MissingDependency, match=package):
            plan_render_bodies(RenderBodiesConfig(**keys))


def test_a_device_that_is_not_here_is_refused_before_any_shot_is(run, tmp_path):
    with pytest.raises(ConfigRefused, match="device: Warp has no device 'cuda:77'; there are cpu"):
        run(tmp_path / "out", device="cuda:77")
    assert not (tmp_path / "out").exists()


def test_the_device_reaches_bodies_and_renderer(run, tmp_path, monkeypatch):
    """On a machine without a GPU: both are asked for the device that the key names."""
    asked = []
    monkeypatch.setattr("soma_isaac.body.inputs.warp_device", lambda name: asked.append(name))
    monkeypatch.setattr(
        render_bodies_shot, "make_layers", lambda models, lod, correctives, device: asked.append(device) or stop()
    )

    def stop():
        raise InputRejected("far enough")

    render_bodies_shot._layers.cache_clear()
    run(tmp_path / "out", count=1, device="cuda:77")
    assert asked == ["cuda:77", "cuda:77"]
    shot = Shot.from_json(next((tmp_path / "out" / "shots").rglob("*.json")).read_bytes())
    skin = np.eye(3, 7, dtype=np.float32)
    surface = BodySurface(np.array([[0, 1, 2]], np.int32), np.ones(1, np.uint8), skin)
    with pytest.raises((ValueError, RuntimeError), match="cuda:77"):
        make_renderer("raycast", shot.bodies, surface, shot.light, "cuda:77")


def test_a_video_shows_a_scene_all_around(run, tmp_path):
    av = pytest.importorskip("av")
    out = tmp_path / "out"
    keys = {"count": 2, "frames": 6, "fps": 12.0, "camera": "turn", "video": True, "size": [96, 65]}
    report, said = run(out, **keys)
    assert report.exit_code == 0 and "2 videos" in said
    first, second = (out / "video" / f"s0000{scene}_c00.mp4" for scene in (0, 1))
    with av.open(str(first)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 12
    pictures = [read_png(out / "rgb" / f"s00000_f{frame:05d}_c00.png") for frame in range(6)]
    assert len(frames) == 6 and frames[0].shape == (66, 96, 3)
    differences = np.array([[np.abs(f[:65].astype(int) - p).mean() for p in pictures] for f in frames])
    assert (differences.argmin(axis=1) == np.arange(6)).all()
    record, _ = coco(out)
    images = [image for image in record["images"] if image["scene"] == 0]
    # the camera goes around the bodies: once per scene, always as far away, and annotations follow it
    places = [-np.array(image["R_camera_world"]).T @ np.array(image["t_camera_world"]) for image in images]
    directions = [np.arctan2(row[1], row[0]) for row in (-np.array(image["R_camera_world"])[2] for image in images)]
    np.testing.assert_allclose(np.diff(np.unwrap(directions)), 2 * np.pi / 6, atol=1e-3)
    np.testing.assert_allclose([place[2] for place in places], places[0][2], atol=1e-3)
    for body in record["annotations"]:
        assert body["num_keypoints"] == 77
    # a second run leaves videos alone that are not older than their pictures, and makes the others again
    data, stamp = first.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    run(out, **keys)
    assert (first.read_bytes(), first.stat().st_mtime_ns) == (data, stamp) and second.is_file()


def test_a_scene_that_is_not_whole_gets_no_video(run, tmp_path):
    pytest.importorskip("av")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.npz").write_bytes((CLIPS / "wave.npz").read_bytes())
    (folder / "b.npz").write_bytes(b"no archive")
    report, _ = run(tmp_path / "out", count=4, lod="xlo", motion=str(folder), video=True, camera="front", size=[32, 32])
    done = {name[:6] for name, record in report.records.items() if record.state == "done"}
    assert 0 < len(done) < 4
    assert {path.stem for path in (tmp_path / "out" / "video").iterdir()} == {f"{scene}_c00" for scene in done}


def test_the_script(tmp_path):
    command = [sys.executable, "scripts/render_bodies.py", "bodies.count=2", "bodies.lod=xlo", "size=[48,48]"]
    command += ["camera=front", f"output.dir={tmp_path / 'out'}", "workers=1"]
    planned = subprocess.run([*command, "dry_run=true"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert planned.returncode == 0 and "2 clips to convert into 12 files" in planned.stderr
    assert not (tmp_path / "out").exists()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "2 inputs: 2 done" in done.stdout and "pictures per CPU second" in done.stderr
    wrong = subprocess.run([*command, "bodies.cuont=3"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert wrong.returncode == 2 and "did you mean 'bodies.count'?" in wrong.stderr
