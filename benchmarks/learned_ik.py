"""How well learned IK recovers poses of people and bodies that it has not seen, beside still poses and the papers' way.

    python benchmarks/learned_ik.py data.path=cmu_soma23.npz [held.NAME=FILES ...] [weights=...] [paper=...] [json=FILE]

``data.path`` takes any file in the layout of cmu_soma23.npz, or a folder of motions (for AMASS: split=amass). Each
``held.NAME`` is a further source (a file, folder or pattern with *), tested on whole. The random numbers lie in
learned_ik_draws.npz, so that results repeat.
"""

# ruff: noqa: E402 - the thread policy has to stand before numpy is imported
from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from learned_ik_bodies import anny_offsets
from learned_ik_contestants import OURS, contestants
from learned_ik_report import PAPER_NOTE, renew_section, result_lines, seed_means
from omegaconf import OmegaConf

from soma_isaac.errors import SomaError
from soma_isaac.formats.guard import read_source
from soma_isaac.learned.evaluation import Contestant, by_count, measure, summary
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.pose_tests import ASKS, pose_test, random_bodies
from soma_isaac.learned.poser import WEIGHTS
from soma_isaac.learned.poses import PoseSet
from soma_isaac.pipelines.config import ConfigRefused, check_overrides, config_object
from soma_isaac.pipelines.ik_data import named_split, read_poses
from soma_isaac.rig.skeleton import data_path

DRAWS = Path(__file__).with_name("learned_ik_draws.npz")
Schema = TypeVar("Schema")
BODIES = ("template", "random", "anny")


@dataclass
class DataConfig:
    """Whose poses."""

    path: str | None = None


@dataclass
class BenchmarkConfig:
    """What is measured.

    Attributes:
        data: Poses that are split by subject.
        held: Further sources by name, tested on whole.
        split: ``cmu`` or ``amass``: who is tested on.
        weights: Our network; the one that ships by default.
        paper: A network trained by the recipe ``paper``.
        seeds: How many of the fixed seeds.
        sets: How many of the fixed sets of each.
        bodies: Which bodies.
        json: Where all figures are written.
        write: Renew the section of RESULTS.md.
    """

    data: DataConfig = field(default_factory=DataConfig)
    held: dict[str, str] = field(default_factory=dict)
    split: str = "cmu"
    weights: str | None = None
    paper: str | None = None
    seeds: int = 3
    sets: int = 1000
    bodies: list[str] = field(default_factory=lambda: list(BODIES))
    json: str | None = None
    write: bool = False


@dataclass(frozen=True, eq=False)
class Row:
    """What one table row is about."""

    source: str
    bodies: str
    ask: str
    poses: PoseSet
    names: tuple[str, ...]
    offsets: np.ndarray | None = None


def rows(config: BenchmarkConfig, test: PoseSet, everybody: tuple[str, ...]) -> Iterator[Row]:
    """Everything to measure: all contestants on the template, ours on other bodies and other sources."""
    for ask in ASKS:
        yield Row("held-out subjects", "template", ask, test, everybody)
    offsets = anny_offsets() if "anny" in config.bodies else None
    for bodies in config.bodies:
        if bodies != "template":
            for ask in ASKS:
                yield Row("held-out subjects", bodies, ask, test, OURS, offsets if bodies == "anny" else None)
    for name, where in config.held.items():
        poses = read_poses(Path(where)).poses
        for ask in ("noisy", "six"):
            yield Row(name, "template", ask, poses, everybody)


def run_row(row: Row, draws: FixedDraws, contestant: Contestant) -> dict[str, Any]:
    """Figures of one contestant: per seed, their means, and by number of effectors."""
    seeds, counts, begun = [], [], time.process_time()
    for seed in range(draws.seed_count):
        offsets = random_bodies(draws, seed) if row.bodies == "random" else row.offsets
        test = pose_test(row.poses, draws, seed, row.ask, offsets)
        figures = measure(test, contestant)
        seeds.append(summary(test, figures))
        counts.append(by_count(test, figures))
    spent = time.process_time() - begun
    return {
        **{"source": row.source, "bodies": row.bodies, "ask": row.ask, "poses_to_choose_from": row.poses.count},
        **seed_means(seeds, counts),
        "cpu_ms_per_pose": 1e3 * spent / (draws.seed_count * draws.set_count),
    }


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    config = parsed(arguments, BenchmarkConfig)
    data = read_poses(Path(str(config.data.path)))
    parts = named_split(data.poses, config.split)
    fixed = FixedDraws.read(DRAWS)
    draws = fixed.first(config.sets, config.seeds)
    weights = data_path(WEIGHTS) if config.weights is None else Path(config.weights)
    paper = None if config.paper is None else Path(config.paper)
    everybody = contestants(parts["train"], fixed, weights, paper)
    results = []
    for row in rows(config, parts["test"], tuple(everybody)):
        for name in row.names:
            results.append({"contestant": name, **run_row(row, draws, everybody[name])})
            sys.stderr.write(f"{row.source}, {row.bodies}, {row.ask}, {name}\n")
    about = (
        f"`benchmarks/learned_ik.py`, weights {read_source(weights).digest[:12]}: {draws.seed_count} seeds with "
        f"{draws.set_count} sets each; ± is the standard deviation between seeds. {PAPER_NOTE}"
    )
    lines = [about, "", *result_lines(results, targets=config.split == "cmu")]
    print("\n".join(lines))
    if config.write:
        renew_section("Learned IK", lines)
    if config.json is not None:
        digests = {name: read_source(path).digest for name, path in (("weights", weights), ("draws", DRAWS))}
        facts = {"data": data.digest, **digests, "seeds": draws.seed_count, "sets": draws.set_count}
        Path(config.json).write_text(json.dumps({"about": facts, "rows": results}, indent=1) + "\n")
    return 0


def parsed(arguments: list[str], schema: type[Schema]) -> Schema:
    """The command line as a config.

    Raises:
        ConfigRefused: A key or value is wrong, or it is not said whose poses are recovered.
    """
    if not any(each.startswith("data.path=") for each in arguments):
        raise ConfigRefused("data.path=FILE is missing: whose poses shall be recovered?")
    check_overrides([each for each in arguments if not each.startswith("held.")], schema)
    return config_object(OmegaConf.from_cli(arguments), schema)


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except SomaError as error:
        sys.exit(f"error: {error}")
