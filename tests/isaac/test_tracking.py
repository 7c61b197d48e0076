"""What training needs of the reference: starts where episodes failed, rewards, terminations, observations."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from isaaclab.envs import ManagerBasedRLEnv
from isaaclab.managers import ObservationTermCfg, TerminationTermCfg
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.sim.isaaclab import PeopleEnvCfg, mdp
from tests.isaac.clips import swaying_clip, write_layouts

ENVS, STEP, RATE, HARD = 8, 0.02, 0.2, 0.8
ENDS = ["left_ankle_roll_link", "right_wrist_yaw_link"]


def dies(env, command_name):
    """A place that no episode survives."""
    times = env.command_manager.get_term(command_name).times
    return (times >= HARD) & (times < HARD + STEP)


def trained(paths):
    cfg = PeopleEnvCfg().use("newton", "cpu")
    cfg.seed = 3
    cfg.scene.num_envs = ENVS
    cfg.scene.people = cfg.scene.ghost = cfg.commands.motion.ghost = cfg.observations.policy.people = None
    for name, func in (("bodies_pos", mdp.robot_bodies_pos_b), ("bodies_ori", mdp.robot_bodies_ori_b)):
        setattr(cfg.observations.policy, name, ObservationTermCfg(func=func, params={"command_name": "motion"}))
    motion = cfg.commands.motion
    motion.clips = [str(paths["mjlab"]), str(paths["amp"])]
    motion.adaptive_alpha, motion.adaptive_bin_width, motion.adaptive_kernel_size = RATE, 0.25, 1
    cfg.terminations.fallen = cfg.terminations.tilted = cfg.terminations.limbs = None
    cfg.terminations.hard = TerminationTermCfg(func=dies, params={"command_name": "motion"})
    return cfg


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """80 steps with failures at one place of both clips and one time-out; what was counted and drawn."""
    env = ManagerBasedRLEnv(trained(write_layouts(tmp_path_factory.mktemp("clips"), swaying_clip())))
    try:
        env.reset()
        command = env.command_manager.get_term("motion")
        starts = command.starts
        expected, failed, logs = torch.zeros(len(starts), dtype=torch.float64), 0, []
        zero = torch.zeros(ENVS, 29)
        for step in range(80):
            if step == 10:
                timed = int((command.times - HARD).abs().argmax())
                env.episode_length_buf[timed] = env.max_episode_length
            playing, times = command.playing.clone(), command.times.clone()
            _, _, terminated, late, extras = env.step(zero)
            rows = starts.bins_of(playing, times)[terminated].numpy()
            expected = (1 - RATE) * expected + RATE * torch.tensor(np.bincount(rows, minlength=len(starts)))
            failed += len(rows)
            if (terminated | late).any():
                logs.append(dict(extras["log"]))
            assert step != 10 or late.sum() == 1
        counted = starts.failures.clone()
        # A reset by hand straight after a step must not count that step's failures again.
        command.times[:2] = HARD
        _, _, terminated, _, _ = env.step(zero)
        terminated, again = terminated.clone(), starts.failures.clone()
        env.reset()
        starts.end_step()
        once = starts.failures.clone()
        terms = {name: getattr(mdp, name) for name in dir(mdp)}
        drawn = []
        for _ in range(2):
            env.reset(seed=11)
            drawn.append((command.playing.clone(), command.times.clone()))
        for _ in range(6):
            obs, *_ = env.step(zero)
        manager = env.observation_manager
        widths = [int(np.prod(shape)) for shape in manager.group_obs_term_dim["policy"]]
        ends = np.cumsum([0, *widths])
        seen = {name: obs["policy"][:, ends[i] : ends[i + 1]] for i, name in enumerate(manager.active_terms["policy"])}
        yield SimpleNamespace(
            env=env,
            command=command,
            starts=starts,
            counted=counted,
            expected=expected,
            failed=failed,
            logs=logs,
            twice=(terminated, again, once),
            drawn=drawn,
            seen=seen,
            terms=terms,
        )
    finally:
        env.close()


def test_failures_are_counted_where_they_happened_and_time_outs_are_not(run):
    assert run.failed >= 8
    assert run.counted.numpy() == pytest.approx(run.expected.numpy())
    hard = run.starts.bins_of(torch.tensor([0, 1]), torch.full((2,), HARD, dtype=torch.float64))
    assert set(run.counted.nonzero().flatten().tolist()) <= set(hard.tolist())
    terminated, before, after = run.twice
    assert terminated[:2].all()
    assert after.numpy() == pytest.approx((1 - RATE) * before.numpy())


def test_starts_are_drawn_by_the_failures_and_the_log_says_so(run):
    chances = run.starts.probabilities()
    summary = {name: float(value) for name, value in run.starts.summary().items()}
    assert float(chances.max()) > 2.0 / len(run.starts) and summary["sampling_entropy"] < 0.95
    logged = run.logs[-1]
    for name in ("sampling_entropy", "sampling_top1_prob", "sampling_top1_bin"):
        assert f"Metrics/motion/{name}" in logged
    assert 0.0 < logged["Metrics/motion/sampling_entropy"] < 1.0
    assert logged["Metrics/motion/sampling_top1_prob"] > run.logs[0]["Metrics/motion/sampling_top1_prob"]


def test_the_seed_of_the_environment_decides_the_starts(run):
    (clips, times), (clips_again, times_again) = run.drawn
    assert torch.equal(clips, clips_again) and torch.equal(times, times_again)
    assert len(set(times.tolist())) == ENVS and set(clips.tolist()) == {0, 1}
    assert (times >= STEP).all() and (times <= 45 / 30.0).all()


def sides(run):
    """Robot and reference, tracked bodies, in numpy."""
    command, data = run.command, run.command.robot.data
    ids, anchor = command.body_ids, command.anchor_id
    robot = SimpleNamespace(
        pos=data.body_link_pos_w.torch[:, ids].numpy(),
        quat=data.body_link_quat_w.torch[:, ids].numpy(),
        lin=data.body_link_lin_vel_w.torch[:, ids].numpy(),
        ang=data.body_link_ang_vel_w.torch[:, ids].numpy(),
        anchor=data.body_link_pos_w.torch[:, anchor].numpy(),
        turn=Rotation.from_quat(data.body_link_quat_w.torch[:, anchor].numpy()),
    )
    reference = SimpleNamespace(
        pos=command.body_pos_w.numpy(),
        quat=command.body_quat_w.numpy(),
        lin=command.body_link_lin_vel_w.numpy(),
        ang=command.body_ang_vel_w.numpy(),
        anchor=command.anchor_pos_w.numpy(),
        turn=Rotation.from_quat(command.anchor_quat_w.numpy()),
    )
    return robot, reference


def turned_to_robot(robot, reference):
    """Reference bodies turned about z and shifted so that the anchors agree: positions and rotations."""
    matrices = (robot.turn * reference.turn.inv()).as_matrix()
    yaw = Rotation.from_rotvec(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])[:, None] * [0.0, 0.0, 1.0])
    place = np.concatenate([robot.anchor[:, :2], reference.anchor[:, 2:]], axis=1)
    pos = np.stack(
        [place + yaw.apply(reference.pos[:, b] - reference.anchor) for b in range(reference.pos.shape[1])], 1
    )
    return pos, [yaw * Rotation.from_quat(reference.quat[:, b]) for b in range(reference.pos.shape[1])]


def test_rewards_are_kernels_of_the_errors(run):
    robot, reference = sides(run)
    pos, turns = turned_to_robot(robot, reference)
    angles = np.stack(
        [(turn * Rotation.from_quat(robot.quat[:, b]).inv()).magnitude() for b, turn in enumerate(turns)], 1
    )
    squares = {
        "anchor_position_reward": np.square(reference.anchor - robot.anchor).sum(-1),
        "anchor_orientation_reward": (reference.turn * robot.turn.inv()).magnitude() ** 2,
        "body_position_reward": np.square(pos - robot.pos).sum(-1).mean(-1),
        "body_orientation_reward": np.square(angles).mean(-1),
        "body_linear_velocity_reward": np.square(reference.lin - robot.lin).sum(-1).mean(-1),
        "body_angular_velocity_reward": np.square(reference.ang - robot.ang).sum(-1).mean(-1),
    }
    for name, square in squares.items():
        std = float(np.sqrt(square.mean()))
        got = run.terms[name](run.env, "motion", std).numpy()
        assert np.abs(got - np.exp(-square / std**2)).max() < 2e-4, name
        assert got.std() > 1e-4, name
    columns = [run.command.body_names.index(name) for name in ENDS]
    got = mdp.body_linear_velocity_reward(run.env, "motion", 2.0, body_names=ENDS).numpy()
    square = np.square(reference.lin - robot.lin)[:, columns].sum(-1).mean(-1)
    assert np.abs(got - np.exp(-square / 4.0)).max() < 2e-4
    with pytest.raises(InputRejected, match="tail"):
        mdp.bodies_lost(run.env, "motion", 0.1, body_names=["tail"])


def test_terminations_compare_what_they_say_with_their_thresholds(run):
    robot, reference = sides(run)
    columns = [run.command.body_names.index(name) for name in ENDS]
    up = lambda turn: turn.apply([0.0, 0.0, 1.0])[:, 2]
    measured = {
        "anchor_lost": np.abs(reference.anchor - robot.anchor)[:, 2],
        "anchor_astray": np.linalg.norm(reference.anchor - robot.anchor, axis=-1),
        "anchor_tilted": np.abs(up(reference.turn) - up(robot.turn)),
        "bodies_lost": np.abs(turned_to_robot(robot, reference)[0] - robot.pos)[:, columns, 2].max(-1),
    }
    for name, values in measured.items():
        options = {"body_names": ENDS} if name == "bodies_lost" else {}
        ordered = np.sort(values)
        threshold = float(ordered[3] + ordered[4]) / 2
        got = run.terms[name](run.env, "motion", threshold, **options).numpy()
        assert got.sum() == 4 and np.array_equal(got, values > threshold), name


def test_the_critic_sees_the_robots_bodies_from_its_anchor(run):
    robot, _ = sides(run)
    inverse = robot.turn.inv()
    for body in range(robot.pos.shape[1]):
        pos = inverse.apply(robot.pos[:, body] - robot.anchor)
        assert np.abs(run.seen["bodies_pos"].numpy()[:, 3 * body : 3 * body + 3] - pos).max() < 1e-5
        columns = (inverse * Rotation.from_quat(robot.quat[:, body])).as_matrix()[..., :2].reshape(ENVS, 6)
        assert np.abs(run.seen["bodies_ori"].numpy()[:, 6 * body : 6 * body + 6] - columns).max() < 1e-5
