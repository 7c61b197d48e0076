"""The G1 tracking environment of mjlab 1.6.0 loads our ``mjlab`` clip, resets onto it and steps."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.formats.reference_clip import read_reference_clip, reference_clip_bytes
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.retarget.clip import reference_clip
from soma_isaac.retarget.robot import load_robot
from tests.oracles.random_motion import random_motion

pytestmark = [
    pytest.mark.peer,
    pytest.mark.skipif(
        importlib.util.find_spec("mjlab") is None,
        reason="mjlab is not installed; make peers builds an environment that has it",
    ),
]
WALK = Path(__file__).resolve().parents[2] / "out" / "g1_refs" / "mjlab" / "walk.npz"


@pytest.fixture(scope="module", params=["a random motion", "the walk of make refs"])
def clip(request: pytest.FixtureRequest) -> ReferenceClip:
    if request.param == "a random motion":
        model = load_robot()
        return reference_clip(random_motion(model, 150, share=0.4), model)
    if not WALK.exists():
        pytest.skip("out/g1_refs is not here; make refs writes it")
    return read_reference_clip(WALK)


@pytest.fixture(scope="module")
def environment(clip: ReferenceClip, tmp_path_factory: pytest.TempPathFactory) -> Iterator[object]:
    os.environ.setdefault("MUJOCO_GL", "disable")
    os.environ.setdefault("WANDB_MODE", "disabled")
    import torch
    from mjlab.envs import ManagerBasedRlEnv
    from mjlab.tasks.tracking.config.g1.env_cfgs import unitree_g1_flat_tracking_env_cfg

    torch.set_num_threads(1)
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("mjlab") / "clip.npz"
    path.write_bytes(reference_clip_bytes(clip, "mjlab"))
    # The training configuration; only the random offsets at reset go, so that the reset can be compared with the clip.
    config = unitree_g1_flat_tracking_env_cfg()
    config.scene.num_envs = 2
    motion = config.commands["motion"]
    motion.motion_file = str(path)
    motion.pose_range, motion.velocity_range, motion.joint_position_range = {}, {}, (0.0, 0.0)
    environment = ManagerBasedRlEnv(cfg=config, device="cpu")
    yield environment
    environment.close()


def test_a_reset_stands_on_the_clip(environment, clip: ReferenceClip) -> None:
    import torch

    environment.reset(seed=3)
    command = environment.command_manager.get_term("motion")
    # A reset writes the state of one frame and then moves the command on to the next.
    command.time_steps -= 1
    frames = command.time_steps.tolist()
    names = command.cfg.body_names
    bodies = [clip.body_names.index(name) for name in names]
    np.testing.assert_allclose(command.body_quat_w.numpy(), clip.body_quat_wxyz[frames][:, bodies], atol=1e-6)
    pairs = {
        "position": (command.body_pos_w, command.robot_body_pos_w, 1e-4),
        "linear velocity": (command.body_lin_vel_w, command.robot_body_lin_vel_w, 1e-3),
        "angular velocity": (command.body_ang_vel_w, command.robot_body_ang_vel_w, 1e-3),
        "joint position": (command.joint_pos, command.robot_joint_pos, 1e-5),
        "joint velocity": (command.joint_vel, command.robot_joint_vel, 1e-5),
    }
    for name, (wanted, found, tolerance) in pairs.items():
        error = float((wanted - found).abs().max())
        print(f"frames {frames}: {name} at reset differs by {error:.2g}")
        assert error < tolerance, name
    dots = (command.body_quat_w * command.robot_body_quat_w).sum(-1).abs()
    assert float(torch.acos(dots.clamp(max=1.0)).max()) < 2e-3


def test_the_clip_of_another_trainer_is_told_apart(environment, clip: ReferenceClip, tmp_path: Path) -> None:
    # What the mjlab writer protects from: the same keys in PhysX's order load silently and mistrack.
    from mjlab.tasks.tracking.mdp.commands import MotionLoader

    command = environment.command_manager.get_term("motion")
    path = tmp_path / "isaac.npz"
    path.write_bytes(reference_clip_bytes(clip, "beyondmimic"))
    wrong = MotionLoader(str(path), command.body_indexes)
    assert float((wrong.body_pos_w - command.motion.body_pos_w).abs().max()) > 0.3


def test_it_steps_with_finite_rewards(environment) -> None:
    import torch

    environment.reset(seed=4)
    action = torch.zeros((2, environment.action_manager.total_action_dim))
    rewards = []
    for _ in range(30):
        observation, reward, *_ = environment.step(action)
        rewards.append(reward)
        assert all(torch.isfinite(value).all() for value in observation.values())
    rewards = torch.stack(rewards)
    print(f"rewards of 30 steps in 2 environments: mean {rewards.mean():.4f}, largest {rewards.max():.4f}")
    assert torch.isfinite(rewards).all()
    assert float(rewards.max()) > 0.0  # the tracking terms are exponentials of errors: near the clip they are positive
