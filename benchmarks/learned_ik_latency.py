"""Time of learned IK on one CPU core: one pose, and a batch of 1,024.

python benchmarks/learned_ik_latency.py data.path=cmu_soma23.npz [weights=...]
"""

# ruff: noqa: E402 - the thread policy has to stand before numpy is imported
from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from learned_ik import DRAWS, DataConfig, parsed
from learned_ik_report import renew_section

from soma_isaac.errors import SomaError
from soma_isaac.formats.pose_network import read_pose_network
from soma_isaac.learned.effectors import Effectors
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.pose_tests import pose_test
from soma_isaac.learned.poser import WEIGHTS, NetworkPoser
from soma_isaac.learned.skeleton import template_skeleton
from soma_isaac.pipelines.ik_data import named_split, read_poses
from soma_isaac.rig.skeleton import data_path

BATCH = 1024
TARGET_MS = 5.0


@dataclass
class LatencyConfig:
    """What is timed.

    Attributes:
        data: Poses that are split by subject.
        split: ``cmu`` or ``amass``.
        weights: The network; the one that ships by default.
        poses: How many single poses.
        write: Renew the section of RESULTS.md.
    """

    data: DataConfig = field(default_factory=DataConfig)
    split: str = "cmu"
    weights: str | None = None
    poses: int = 300
    write: bool = False


def main(arguments: list[str]) -> int:
    """Time and print; CPU time of this process, so that other work on the machine does not count."""
    config = parsed(arguments, LatencyConfig)
    test = named_split(read_poses(Path(str(config.data.path))).poses, config.split)["test"]
    file = read_pose_network(data_path(WEIGHTS) if config.weights is None else Path(config.weights))
    posers = {"limits": NetworkPoser(file), "no limits": NetworkPoser(file, limited=False)}
    median = np.inf
    draws, skeleton = FixedDraws.read(DRAWS), template_skeleton()
    lines = [f"weights {file.digest[:12]}, width {file.card['network']['width']}; median, mean, 95th percentile:"]
    for ask in ("six", "noisy"):
        asked = pose_test(test, draws, 0, ask).effectors
        single = [asked.rows(slice(row, row + 1)) for row in range(config.poses)]
        many = asked.rows(np.arange(BATCH) % asked.count)
        network = times(single, partial(posers["limits"].network.predict, skeleton=skeleton))
        lines.append(f"{ask}, network alone, one pose: {shown(network)}")
        for name, poser in posers.items():
            solve = partial(poser.solve, skeleton=skeleton)
            found = times(single, solve)
            if (ask, name) == ("six", "limits"):
                median = float(np.median(found))
            lines.append(f"{ask}, network + exact stage, {name}, one pose: {shown(found)}")
            spent = times([many] * 3, solve).min() / 1e3
            lines.append(f"{ask}, network + exact stage, {name}, batch {BATCH}: {BATCH / spent:.0f} poses/s")
    verdict = "met" if median <= TARGET_MS else "missed"
    lines.append(f"target {TARGET_MS:g} ms (six points, network + exact stage, limits): {verdict}")
    print("\n".join(lines))
    if config.write:
        renew_section("Learned IK: time on one CPU core", [f"- {line}" for line in lines])
    return 0


def times(sets: list[Effectors], solve: Callable[[Effectors], object]) -> np.ndarray:
    """CPU ms of each."""
    solve(sets[0])
    found = []
    for each in sets:
        begun = time.process_time()
        solve(each)
        found.append(1e3 * (time.process_time() - begun))
    return np.array(found)


def shown(found: np.ndarray) -> str:
    """Median, mean and 95th percentile."""
    return f"{np.median(found):.2f}, {found.mean():.2f}, {np.percentile(found, 95):.2f}"


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except SomaError as error:
        sys.exit(f"error: {error}")
