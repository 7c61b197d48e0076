"""A policy trained on one of our clips, by mjlab 1.6.0's own tracking task and PPO settings.

    make refs
    PYTHONPATH=. .venv-peers/mjlab/bin/python benchmarks/policy.py out/g1_refs/mjlab/walk.npz          # a CPU: minutes
    PYTHONPATH=. .venv-peers/mjlab/bin/python benchmarks/policy.py CLIP --device cuda:0 --envs 4096 --iterations 2000

Nothing of the task is changed but the number of environments, and with ``--std`` how boldly the policy explores at
first: rewards, terminations, pushes, noise, adaptive starts and networks are mjlab's. Every so often the policy is
tried without exploration, from starts anywhere in the clip: how long the robot tracks it until mjlab ends the episode,
and how far its bodies are from the clip's (MPKPE, from the anchor). Before training stand what zero actions (the
drives hold the default pose) and the untrained policy do.
"""

from __future__ import annotations

import argparse
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

os.environ.setdefault("MUJOCO_GL", "disable")
os.environ.setdefault("WANDB_MODE", "disabled")

import numpy as np
import torch
from mjlab.envs import ManagerBasedRlEnv
from mjlab.rl import MjlabOnPolicyRunner, RslRlVecEnvWrapper
from mjlab.tasks.tracking.config.g1.env_cfgs import unitree_g1_flat_tracking_env_cfg
from mjlab.tasks.tracking.config.g1.rl_cfg import unitree_g1_tracking_ppo_runner_cfg

LONGEST_S = 10.0
"""Episodes are tried no longer than this; mjlab's own end there too."""


def environment(clip: Path, count: int, device: str, seed: int) -> RslRlVecEnvWrapper:
    """The G1 tracking task of mjlab on a clip."""
    config = unitree_g1_flat_tracking_env_cfg()
    config.scene.num_envs, config.seed = count, seed
    config.commands["motion"].motion_file = str(clip)
    return RslRlVecEnvWrapper(ManagerBasedRlEnv(cfg=config, device=device))


@torch.inference_mode()  # as the runner collects: its buffers may not be reset outside
def tried(env: RslRlVecEnvWrapper, policy: Any) -> tuple[np.ndarray, float]:
    """Seconds [N] of tracking from random starts until the episode ends, and MPKPE [mm] over all of them."""
    command = env.unwrapped.command_manager.get_term("motion")
    usual, command.cfg.sampling_mode = command.cfg.sampling_mode, "uniform"
    observation, _ = env.reset()
    count, dt = env.num_envs, env.unwrapped.step_dt
    alive, steps, errors = torch.ones(count, dtype=torch.bool, device=env.device), torch.zeros(count), []
    while alive.any() and float(steps.max()) * dt < LONGEST_S:
        error = (command.body_pos_relative_w - command.robot_body_pos_w).norm(dim=-1).mean(dim=-1)
        errors.append(error[alive].cpu())
        steps += alive.cpu()
        observation, _, ended, _ = env.step(policy(observation))
        alive &= ~ended.bool()
    command.cfg.sampling_mode = usual
    env.reset()
    return steps.numpy() * dt, 1e3 * float(torch.cat(errors).mean())


def main() -> None:
    """Train, try, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, help="a reference clip in mjlab's format")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda:0")
    parser.add_argument("--envs", type=int, default=256)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--every", type=int, default=25, help="iterations between trials")
    parser.add_argument("--std", type=float, default=1.0, help="first standard deviation of actions (default: mjlab's)")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(asked.seed)
    env = environment(asked.clip.resolve(), asked.envs, asked.device, asked.seed)
    settings = unitree_g1_tracking_ppo_runner_cfg()
    settings.actor.distribution_cfg = {**(settings.actor.distribution_cfg or {}), "init_std": asked.std}
    runner = MjlabOnPolicyRunner(env, asdict(settings), device=asked.device)
    print(f"{asked.clip.name}: {asked.envs} environments, std {asked.std}, seed {asked.seed}, {asked.device}\n")
    print(
        "| iterations | steps, million | tracks for s, mean | median | MPKPE mm | CPU min |\n|---|---|---|---|---|---|"
    )

    def row(name: str, policy: Any) -> None:
        seconds, error = tried(env, policy)
        million = runner.current_learning_iteration * settings.num_steps_per_env * asked.envs / 1e6
        print(
            f"| {name} | {million:.2f} | {seconds.mean():.2f} | {np.median(seconds):.2f} | {error:.0f} "
            f"| {time.process_time() / 60:.1f} |",
            flush=True,
        )

    idle = torch.zeros(asked.envs, env.num_actions, device=asked.device)
    row("zero actions", lambda _: idle)
    row("untrained", runner.get_inference_policy(device=asked.device))
    for done in range(0, asked.iterations, asked.every):
        runner.learn(asked.every, init_at_random_ep_len=not done)
        runner.current_learning_iteration = done + asked.every
        row(str(done + asked.every), runner.get_inference_policy(device=asked.device))
    env.close()


if __name__ == "__main__":
    main()
