"""A scene with a G1 and SOMA bodies on both engines: clocks, vertices, pictures, and nothing to bump into."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from soma_isaac.body.identities.presets import preset
from soma_isaac.body.layer import SomaLayer
from soma_isaac.formats.png import png_bytes
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim.isaaclab.people import placement
from tests.isaac.scenes import BACKENDS, DT, SIZE, envs, running_scene, steps

PICTURES = Path("out/isaac")
MOTIONS = ("squat", "wave")
PRESETS = ("adult_female", "adult_male")


def posed_by_the_layer(env, time):
    """Vertices and joints of one environment's body at a time of its clip, in the environment: SomaLayer and scipy."""
    motion = load_motion(data_path("demo_clips") / f"{MOTIONS[env]}.npz")
    layer = SomaLayer(identity="soma", lod="low")
    identity = layer.prepare_identity(preset(PRESETS[env])[None])
    frames = np.arange(motion.frame_count) / motion.fps
    first = min(int(np.searchsorted(frames, time, side="right")) - 1, motion.frame_count - 2)
    pair = slice(first, first + 2)
    rotations = [
        Slerp(frames[pair], Rotation.from_matrix(motion.rotations[pair, joint]))(time).as_matrix()
        for joint in range(77)
    ]
    hips = np.array([np.interp(time, frames, motion.root_translation[:, axis]) for axis in range(3)])
    rest = layer.pose(np.zeros((1, 77, 3)), np.zeros((1, 3)), identity=identity).joints.numpy()[0]
    template = layer.body.layout.rest_T_world_joint[1:, 1, 3]
    legs = (rest[0, 1] - rest[:, 1].min()) * template[0] / (template[0] - template.min())
    hips = hips * legs / motion.identity.rest_offsets[1, 1]
    pose = layer.pose(np.stack(rotations)[None], hips[None], identity=identity)
    place = placement((0.2, 0.1, 0.0), 0.4)
    stand = lambda points: points.astype(np.float64) @ place[:3, :3].T + place[:3, 3]
    return stand(pose.vertices.numpy()[0]), stand(pose.joints.numpy()[0])


def points_on_stage(stage, env):
    prim = stage.GetPrimAtPath(f"/World/envs/env_{env}/Person/mesh")
    return np.array(prim.GetAttribute("points").Get()) if prim.IsValid() else None


def snapshot(scene):
    person, robot = scene["person"], scene["robot"]
    # The picture first: reading the person's data would pose it, and a camera alone must see it posed.
    seen = {name: image.torch.numpy().copy() for name, image in scene["camera"].data.output.items()}
    return SimpleNamespace(
        times=person.data.times.torch.clone(),
        vertices=person.data.vertices.torch.clone(),
        bones=person.data.body_pos_w.clone(),
        quats=person.data.body_quat_w.clone(),
        proxies=person.data.proxies.torch.clone(),
        rgb=seen["rgb"],
        shapes=seen["instance_segmentation_fast"][..., 0],
        root=robot.data.root_pos_w.torch.clone(),
        joints=robot.data.joint_pos.torch.clone(),
        address=person.data.vertices.warp.ptr,
        on_stage=[points_on_stage(scene.stage, env) for env in range(2)],
    )


@pytest.fixture(scope="module", params=BACKENDS)
def run(request):
    """One simulation: 20 steps, reset of environment 1 alone, 20 steps, other starts; what was there at each halt."""
    with running_scene(request.param) as (sim, scene):
        started = snapshot(scene)
        steps(sim, scene, 20)
        walked = snapshot(scene)
        scene["person"].reset(envs(1))
        reset = snapshot(scene)
        steps(sim, scene, 20)
        ended = snapshot(scene)
        PICTURES.mkdir(parents=True, exist_ok=True)
        picture = np.concatenate(list(ended.rgb), axis=1)
        (PICTURES / f"scene_{request.param}.png").write_bytes(png_bytes(picture))
        person = scene["person"]
        person.cfg.random_start = True
        person.reset(envs(0))
        drawn = (
            person.data.playing.torch.tolist(),
            person.data.times.torch.tolist(),
            person.data.vertices.torch.clone(),
        )
        person.place(envs(1), (0.2, 0.1, 0.5), 0.4)
        placed = person.data.vertices.torch.clone()
        model = person._meshes._model
        yield SimpleNamespace(
            backend=request.param,
            started=started,
            walked=walked,
            reset=reset,
            ended=ended,
            drawn=drawn,
            placed=placed,
            durations=person.stepper.clips.durations.tolist(),
            origins=scene.env_origins.clone(),
            labels=list(model.shape_label),
            robot_names=(scene["robot"].joint_names, scene["robot"].body_names),
            bone_ids=scene["person"].find_bodies(["Head", "Left.*Hand"]),
        )


def test_each_environment_has_its_own_clock_and_one_is_reset_alone(run):
    assert run.started.times.tolist() == pytest.approx([1.5, 3.0])
    assert run.walked.times.tolist() == pytest.approx([1.9, 2.6], abs=1e-9)
    assert run.reset.times.tolist() == pytest.approx([1.9, 3.0], abs=1e-9)
    assert run.ended.times.tolist() == pytest.approx([2.3, 2.6], abs=1e-9)
    # The other environment did not notice; the reset one is posed anew as soon as somebody looks.
    assert torch.equal(run.reset.vertices[0], run.walked.vertices[0])
    assert (run.reset.vertices[1] - run.walked.vertices[1]).abs().max() > 1e-3
    assert torch.equal(run.reset.vertices[1], run.started.vertices[1])


def test_vertices_and_joints_are_the_layers_at_each_environments_own_time(run):
    for state in (run.started, run.walked, run.reset, run.ended):
        for env in range(2):
            vertices, joints = posed_by_the_layer(env, float(state.times[env]))
            assert np.abs(state.vertices[env].numpy() - vertices).max() < 1e-5
            world = joints + run.origins[env].numpy()
            assert np.abs(state.bones[env].numpy() - world).max() < 1e-5
    assert run.started.address == run.ended.address


def test_a_drawn_start_and_another_place_concern_only_their_environments(run):
    playing, times, vertices = run.drawn
    assert playing[1] == 1 and times[1] == pytest.approx(float(run.ended.times[1]), abs=1e-9)
    assert playing[0] in (0, 1) and 0.0 <= times[0] <= run.durations[playing[0]] and times[0] != 1.5
    assert torch.equal(vertices[1], run.ended.vertices[1]) and not torch.equal(vertices[0], run.ended.vertices[0])
    assert torch.equal(run.placed[0], vertices[0])
    raised = run.placed[1] - vertices[1] - torch.tensor([0.0, 0.0, 0.5])
    assert raised.abs().max() < 1e-5


def test_the_stage_has_the_vertices_of_the_environments_that_are_on_it(run):
    # Newton's replication leaves the other environments off the stage.
    present = {"newton": [True, False], "ovphysx": [True, True]}[run.backend]
    for state in (run.walked, run.reset, run.ended):
        assert [points is not None for points in state.on_stage] == present
        for env in np.flatnonzero(present):
            assert np.array_equal(state.on_stage[env], state.vertices[env].numpy())


def test_the_two_environments_stand_apart_and_bones_are_found_by_name(run):
    assert float((run.origins[1] - run.origins[0]).norm()) > 4.9
    ids, names = run.bone_ids
    assert "Head" in names and all(name == "Head" or name.startswith("Left") for name in names)
    head = run.ended.bones[:, ids[names.index("Head")], 2]
    assert 0.9 < head[0] < 1.2 and 1.5 < head[1] < 1.9  # one squats
    assert torch.allclose(run.ended.quats.norm(dim=-1), torch.ones(2, 77), atol=1e-5)


def test_the_robot_falls_freely_through_the_person(run):
    # Gravity alone: 0.2 s. A collider would stop it or bend a joint.
    fallen = run.started.root[:, 2] - run.ended.root[:, 2]
    drop = 9.81 * (40 * DT) ** 2 / 2
    assert ((fallen - drop).abs() < 0.02 * drop + 9.81 * DT * 0.2).all()
    assert run.ended.joints.abs().max() < 1e-3
    joints, bodies = run.robot_names
    assert len(joints) == 29 and len(bodies) == 30 and bodies[0] == "pelvis"
    # Each engine has an order of its own: nothing here may rely on one.
    second = {"newton": "left_hip_roll_joint", "ovphysx": "right_hip_pitch_joint"}
    assert joints[1] == second[run.backend]


def outline(run, state, env):
    """Pixels [x0, y0, x1, y1] of an environment's person in its picture, and of its vertices by projection."""
    shape = next(i for i, label in enumerate(run.labels) if label.endswith(f"env_{env}/Person/mesh"))
    rows, columns = np.nonzero(state.shapes[env] == shape)
    seen = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
    points = state.vertices[env].numpy() - np.array([4.0, 0.0, 1.0])
    focal = 18.0 / 20.955 * SIZE[0]
    x = SIZE[0] / 2 + focal * points[:, 1] / -points[:, 0]
    y = SIZE[1] / 2 - focal * points[:, 2] / -points[:, 0]
    x, y = np.clip(x, 0, SIZE[0] - 1), np.clip(y, 0, SIZE[1] - 1)
    return seen, np.array([x.min(), y.min(), x.max(), y.max()])


def test_the_camera_sees_each_person_whole_and_where_its_own_vertices_are(run):
    for state in (run.walked, run.ended):
        for env in range(2):
            seen, projected = outline(run, state, env)
            assert np.abs(seen - projected).max() <= 2.0, (env, seen, projected)


def test_the_two_pictures_show_different_poses_that_change_with_time(run):
    masks = []
    for state in (run.walked, run.ended):
        for env in range(2):
            shape = next(i for i, label in enumerate(run.labels) if label.endswith(f"env_{env}/Person/mesh"))
            masks.append(state.shapes[env] == shape)
    together = (masks[2] & masks[3]).sum() / (masks[2] | masks[3]).sum()
    assert together < 0.85
    assert masks[2].sum() > 1500 and masks[3].sum() > 1500
    assert (masks[0] ^ masks[2]).sum() > 50
    colours = np.abs(run.ended.rgb[0].astype(int) - run.ended.rgb[1].astype(int)).sum(axis=-1)
    assert (colours > 60).sum() > 2000
