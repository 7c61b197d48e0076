"""The example environment on both engines: the clip drives the command by name, the people serve observations."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from isaaclab.envs import ManagerBasedRLEnv
from scipy.spatial.transform import Rotation, Slerp

from soma_isaac.formats.png import png_bytes
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES
from soma_isaac.sim.isaaclab import PeopleEnvCfg
from soma_isaac.sim.isaaclab.engines import camera_cfg
from soma_isaac.sim.isaaclab.robot_stage import load_robot_tree, robot_shell
from tests.isaac.clips import swaying_clip, write_layouts
from tests.isaac.scenes import BACKENDS

STEP = 0.02
SEEN = ["Hips", "Head", "LeftHand", "RightHand"]


def state(env):
    """Everything that is compared, copied."""
    command, robot, people = env.command_manager.get_term("motion"), env.scene["robot"].data, env.scene["people"]
    return SimpleNamespace(
        times=command.times.clone(),
        command=command.command.clone(),
        body_pos=command.body_pos_w.clone(),
        body_quat=command.body_quat_w.clone(),
        link_vel=command.body_link_lin_vel_w.clone(),
        com_vel=command.body_com_lin_vel_w.clone(),
        ang_vel=command.body_ang_vel_w.clone(),
        metrics={name: value.clone() for name, value in command.metrics.items()},
        joint_pos=robot.joint_pos.torch.clone(),
        joint_vel=robot.joint_vel.torch.clone(),
        root_pos=robot.root_link_pos_w.torch.clone(),
        root_quat=robot.root_link_quat_w.torch.clone(),
        own_link_vel=robot.body_link_lin_vel_w.torch.clone(),
        own_com_vel=robot.body_lin_vel_w.torch.clone(),
        own_ang_vel=robot.body_ang_vel_w.torch.clone(),
        own_body_pos=robot.body_link_pos_w.torch.clone(),
        people_times=people.data.times.torch.clone(),
        people=people.data.body_pos_w.clone(),
        ghost=env.scene["ghost"].data.torch.clone(),
    )


@pytest.fixture(scope="module", params=BACKENDS)
def run(request, tmp_path_factory):
    """Reset, 5 steps, environment 1 times out alone, 2 steps; ends of the clip for environment 0; a disturbed start."""
    clip = swaying_clip()
    paths = write_layouts(tmp_path_factory.mktemp("clips"), clip)
    cfg = PeopleEnvCfg().use(request.param, "cpu")
    cfg.seed = 3
    # One is depth first with link velocities, the other breadth first with those of the centre of mass.
    cfg.commands.motion.clips = [str(paths["mjlab"]), str(paths["beyondmimic"])]
    cfg.commands.motion.choice, cfg.commands.motion.sampling = "cycle", "start"
    cfg.terminations.fallen = cfg.terminations.tilted = cfg.terminations.limbs = None
    cfg.scene.camera = camera_cfg(request.param, eye=(3.2, -0.4, 1.5), target=(0.0, -0.3, 0.8), width=320, height=240)
    env = ManagerBasedRLEnv(cfg)
    zero = torch.zeros(2, 29)
    halts, seen = {}, {}

    def halt(name, obs):
        halts[name], seen[name] = state(env), {key: value.clone() for key, value in obs.items()}

    try:
        obs, _ = env.reset()
        halt("reset", obs)
        for _ in range(5):
            obs, *_ = env.step(zero)
        halt("walked", obs)
        env.episode_length_buf[1] = env.max_episode_length
        obs, _, _, timed_out, _ = env.step(zero)
        timed_out = timed_out.clone()
        halt("one_reset", obs)
        obs, *_ = env.step(zero)
        halt("after", obs)
        command = env.command_manager.get_term("motion")
        command.times[0] = 45 / 30.0 - 0.5 * STEP
        obs, *_ = env.step(zero)
        halt("ended", obs)
        at_ends = {}
        for at_end in ("loop", "hold"):
            command.cfg.at_end = at_end
            command.times[0] = 45 / 30.0 - 0.5 * STEP
            env.step(zero)
            at_ends[at_end] = (float(command.times[0]), bool(command.finished[0]), command.command[0].clone())
        command.cfg.pose_range = {"x": (0.1, 0.1), "yaw": (0.5, 0.5)}
        command.cfg.velocity_range = {"z": (0.2, 0.2)}
        command.cfg.joint_position_range = (0.05, 0.05)
        obs, _ = env.reset()
        disturbed = state(env)
        picture = np.concatenate(list(env.scene["camera"].data.output["rgb"].torch.numpy()), axis=1)
        folder = Path("out/isaac")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"env_{request.param}.png").write_bytes(png_bytes(picture))
        robot = env.scene["robot"]
        manager = env.observation_manager
        widths = [int(np.prod(shape)) for shape in manager.group_obs_term_dim["policy"]]
        ends = np.cumsum([0, *widths])
        yield SimpleNamespace(
            clip=clip,
            halts=halts,
            seen=seen,
            timed_out=timed_out.tolist(),
            joint_names=list(robot.joint_names),
            body_names=list(robot.body_names),
            tracked=list(command.body_names),
            picture=picture,
            ends=at_ends,
            disturbed=disturbed,
            limits=robot.data.soft_joint_pos_limits.torch.clone(),
            terms={
                name: slice(int(ends[i]), int(ends[i + 1])) for i, name in enumerate(manager.active_terms["policy"])
            },
            origins=env.scene.env_origins.clone(),
        )
    finally:
        env.close()


def reference(clip, time, names):
    """Arrays of a clip at a time, columns by name: numpy and scipy only."""
    frames = np.arange(clip.frame_count) / clip.fps
    joints = [clip.joint_names.index(name) for name in names["joints"]]
    bodies = [clip.body_names.index(name) for name in names["bodies"]]

    def linear(table):
        flat = table.reshape(len(table), -1)
        return np.array([np.interp(time, frames, column) for column in flat.T]).reshape(table.shape[1:])

    quats = np.roll(clip.body_quat_wxyz[:, bodies], -1, axis=-1)
    turns = [Slerp(frames, Rotation.from_quat(quats[:, i]))(time).as_quat() for i in range(len(bodies))]
    arms = np.einsum(
        "tbij,bj->tbi",
        Rotation.from_quat(quats.reshape(-1, 4)).as_matrix().reshape(len(frames), len(bodies), 3, 3),
        clip.body_com_b[bodies],
    )
    com = clip.body_lin_vel_w[:, bodies] + np.cross(clip.body_ang_vel_w[:, bodies], arms)
    return SimpleNamespace(
        joint_pos=linear(clip.joint_pos[:, joints]),
        joint_vel=linear(clip.joint_vel[:, joints]),
        pos=linear(clip.body_pos_w[:, bodies]),
        quat=np.array(turns),
        link_vel=linear(clip.body_lin_vel_w[:, bodies]),
        com_vel=linear(com),
        ang_vel=linear(clip.body_ang_vel_w[:, bodies]),
    )


def same_turns(a, b):
    return np.abs(np.abs(np.sum(np.asarray(a) * np.asarray(b), axis=-1)) - 1.0).max() < 1e-5


def test_the_command_is_the_clip_by_name_at_each_environments_time(run):
    for halt in run.halts.values():
        for env in range(2):
            names = {"joints": run.joint_names, "bodies": run.tracked}
            wanted = reference(run.clip, float(halt.times[env]), names)
            assert np.abs(halt.command[env, :29].numpy() - wanted.joint_pos).max() < 1e-5
            assert np.abs(halt.command[env, 29:].numpy() - wanted.joint_vel).max() < 1e-4
            assert np.abs(halt.body_pos[env].numpy() - run.origins[env].numpy() - wanted.pos).max() < 1e-5
            assert same_turns(halt.body_quat[env].numpy(), wanted.quat)
            for mine, theirs in (("link_vel", "link_vel"), ("com_vel", "com_vel"), ("ang_vel", "ang_vel")):
                assert np.abs(getattr(halt, mine)[env].numpy() - getattr(wanted, theirs)).max() < 1e-4
    assert (run.halts["reset"].link_vel - run.halts["reset"].com_vel).abs().max() > 0.01


def test_times_move_by_one_step_and_one_environment_starts_anew_alone(run):
    times = {name: halt.times.tolist() for name, halt in run.halts.items()}
    assert times["reset"] == pytest.approx([STEP, STEP])
    assert times["walked"] == pytest.approx([6 * STEP, 6 * STEP])
    assert times["one_reset"] == pytest.approx([7 * STEP, STEP])
    assert times["after"] == pytest.approx([8 * STEP, 2 * STEP])
    # Environment 0 went over its clip's last frame and started again; it commands the frame after the start.
    assert times["ended"] == pytest.approx([STEP, 3 * STEP])
    assert not run.timed_out[0] and run.timed_out[1]


def test_a_start_puts_the_robot_into_the_clips_state(run):
    names = {"joints": run.joint_names, "bodies": run.body_names}
    wanted = reference(run.clip, 0.0, names)
    halt = run.halts["reset"]
    for env in range(2):
        assert np.abs(halt.joint_pos[env].numpy() - wanted.joint_pos).max() < 1e-5
        assert np.abs(halt.joint_vel[env].numpy() - wanted.joint_vel).max() < 1e-4
        assert np.abs(halt.root_pos[env].numpy() - run.origins[env].numpy() - wanted.pos[0]).max() < 1e-5
        assert same_turns(halt.root_quat[env].numpy(), wanted.quat[0])
        # Of the link, which is not what Isaac Lab calls the body's velocity.
        assert np.abs(halt.own_link_vel[env, 0].numpy() - wanted.link_vel[0]).max() < 1e-4
        assert np.abs(halt.own_com_vel[env, 0].numpy() - wanted.com_vel[0]).max() < 1e-4
        assert np.abs(halt.own_ang_vel[env, 0].numpy() - wanted.ang_vel[0]).max() < 1e-4


def test_people_keep_their_own_time_and_serve_an_observation_term(run):
    people = {name: halt.people_times.tolist() for name, halt in run.halts.items()}
    assert people["walked"] == pytest.approx([5 * STEP, 5 * STEP], abs=1e-6)
    assert people["one_reset"] == pytest.approx([6 * STEP, 0.0], abs=1e-6)
    assert people["after"] == pytest.approx([7 * STEP, STEP], abs=1e-6)
    columns = [list(POSE_JOINT_NAMES).index(name) for name in SEEN]
    for name in ("walked", "one_reset", "after"):
        halt = run.halts[name]
        for env in range(2):
            turn = Rotation.from_quat(halt.root_quat[env].numpy())
            points = halt.people[env].numpy()[sorted(columns)] - halt.root_pos[env].numpy()
            seen = run.seen[name]["policy"][env, run.terms["people"]].numpy().reshape(-1, 3)
            assert np.abs(seen - turn.inv().apply(points)).max() < 1e-5
    reference_term = run.seen["walked"]["policy"][:, run.terms["reference"]]
    assert torch.equal(reference_term, run.halts["walked"].command)


def test_metrics_are_the_distances_between_robot_and_reference(run):
    halt, names = run.halts["walked"], {"joints": run.joint_names, "bodies": run.tracked}
    for env in range(2):
        # Metrics belong to the command before the step, which is what the robot was to reach.
        wanted = reference(run.clip, float(halt.times[env]) - STEP, names)
        joint = np.linalg.norm(halt.joint_pos[env].numpy() - wanted.joint_pos)
        assert float(halt.metrics["error_joint_pos"][env]) == pytest.approx(joint, rel=1e-3)
        torso = run.tracked.index("torso_link")
        own = halt.own_body_pos[env, run.body_names.index("torso_link")].numpy() - run.origins[env].numpy()
        anchor = np.linalg.norm(own - wanted.pos[torso])
        assert float(halt.metrics["error_anchor_pos"][env]) == pytest.approx(anchor, rel=1e-3, abs=1e-5)
        ids = [run.body_names.index(name) for name in run.tracked]
        speeds = np.linalg.norm(halt.own_link_vel[env, ids].numpy() - wanted.link_vel, axis=-1).mean()
        assert float(halt.metrics["error_body_lin_vel"][env]) == pytest.approx(speeds, rel=1e-3)
    assert float(run.halts["one_reset"].metrics["error_joint_pos"][1]) == 0.0


def test_the_ghost_is_the_robots_shell_at_the_reference(run):
    tree = load_robot_tree("")
    shell = robot_shell(tree)
    for halt in run.halts.values():
        for env in range(2):
            names = {"joints": run.joint_names, "bodies": list(tree.link_names)}
            wanted = reference(run.clip, float(halt.times[env]), names)
            turns = Rotation.from_quat(wanted.quat[shell.links])
            points = turns.apply(shell.points) + wanted.pos[shell.links] + np.array([0.0, 0.8, 0.0])
            assert np.abs(halt.ghost[env].numpy() - points).max() < 1e-5


def test_the_camera_sees_the_ghost_beside_the_robot_in_both_environments(run):
    for picture in np.split(run.picture.astype(int), 2, axis=1):
        red, green, blue = np.moveaxis(picture, -1, 0)
        assert ((green > red + 25) & (green > blue + 25)).sum() > 400


def test_a_clip_that_ends_starts_again_or_holds_its_last_frame(run):
    time, finished, _ = run.ends["loop"]
    assert time == pytest.approx(0.5 * STEP) and not finished
    _, finished, command = run.ends["hold"]
    wanted = reference(run.clip, 45 / 30.0, {"joints": run.joint_names, "bodies": run.tracked})
    assert finished and np.abs(command[:29].numpy() - wanted.joint_pos).max() < 1e-5


def test_a_disturbed_start_deviates_by_what_was_asked_and_keeps_to_the_limits(run):
    wanted = reference(run.clip, 0.0, {"joints": run.joint_names, "bodies": run.body_names})
    state = run.disturbed
    for env in range(2):
        low, high = run.limits[env, :, 0].numpy(), run.limits[env, :, 1].numpy()
        assert np.abs(state.joint_pos[env].numpy() - np.clip(wanted.joint_pos + 0.05, low, high)).max() < 1e-5
        moved = state.root_pos[env].numpy() - run.origins[env].numpy() - wanted.pos[0]
        assert np.abs(moved - [0.1, 0.0, 0.0]).max() < 1e-5
        turned = Rotation.from_euler("z", 0.5) * Rotation.from_quat(wanted.quat[0])
        assert same_turns(state.root_quat[env].numpy(), turned.as_quat())
        speed = state.own_link_vel[env, 0].numpy() - wanted.link_vel[0]
        assert np.abs(speed - [0.0, 0.0, 0.2]).max() < 1e-4
