"""Recovery of held-out poses with at most six effectors, and the time it takes.

python benchmarks/learned_ik_recovery.py data.path=cmu_soma23.npz [weights=...] [poses=100] [rotations=true]
"""

# ruff: noqa: E402 - the thread policy has to stand before numpy is imported
from __future__ import annotations

import os

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from learned_ik import DRAWS, DataConfig, parsed
from learned_ik_report import renew_section

from soma_isaac.errors import SomaError
from soma_isaac.formats.pose_network import read_pose_network
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.poser import WEIGHTS, NetworkPoser
from soma_isaac.learned.recover import FIRST, RecoverySettings, recover
from soma_isaac.learned.skeleton import BodyPose, template_skeleton
from soma_isaac.pipelines.ik_data import named_split, read_poses
from soma_isaac.rig.skeleton import data_path

TARGET_MM = 25.0


@dataclass
class RecoveryConfig:
    """What is measured.

    Attributes:
        data: Poses that are split by subject.
        split: ``cmu`` or ``amass``.
        weights: The network; the one that ships by default.
        poses: How many test poses, by the fixed random numbers.
        count: Most effectors.
        rotations: Let rotations be chosen too.
        swaps: Most exchanges.
        limited: Keep joints within their ranges.
        json: Where the figures are written.
        write: Renew the section of RESULTS.md.
    """

    data: DataConfig = field(default_factory=DataConfig)
    split: str = "cmu"
    weights: str | None = None
    poses: int = 100
    count: int = 6
    rotations: bool = False
    swaps: int = 2
    limited: bool = False
    json: str | None = None
    write: bool = False


def main(arguments: list[str]) -> int:
    """Measure and print."""
    config = parsed(arguments, RecoveryConfig)
    test = named_split(read_poses(Path(str(config.data.path))).poses, config.split)["test"]
    weights = data_path(WEIGHTS) if config.weights is None else Path(config.weights)
    poser = NetworkPoser(read_pose_network(weights), limited=config.limited)
    settings = RecoverySettings(count=config.count, rotations=config.rotations, swaps=config.swaps)
    skeleton, names, rows = template_skeleton(), Counter(), []
    for index in FixedDraws.read(DRAWS).chosen(0, test.count)[: config.poses]:
        pose = BodyPose(test.rotations[index : index + 1].astype(np.float64), np.zeros((1, 3)))
        begun = time.process_time()
        found = recover(pose, skeleton, poser, settings)
        spent = time.process_time() - begun
        names.update(found.names)
        best = {size: error * 1e3 for size, error in found.steps}  # the last of a size: after exchanges
        rows.append({"final_mm": 1e3 * float(found.error[0]), "calls": found.calls, "cpu_s": spent, "by_size": best})
    lines = figure_lines(rows, names, config.count)
    lines.insert(0, f"weights {poser.file.digest[:12]}, limits {config.limited}, rotations {config.rotations}")
    if config.json is not None:
        Path(config.json).write_text(json.dumps({"weights": poser.file.digest, "poses": rows}, indent=1) + "\n")
    print("\n".join(lines))
    if config.write:
        renew_section("Learned IK: recovery of effectors", [f"- {line}" for line in lines])
    return 0


def figure_lines(rows: list[dict], names: Counter[str], most: int) -> list[str]:
    """What was measured."""
    final = np.array([row["final_mm"] for row in rows])
    spent, calls = (np.mean([row[name] for row in rows]) for name in ("cpu_s", "calls"))
    sizes = {n: np.mean([row["by_size"].get(n, np.nan) for row in rows]) for n in range(FIRST, most + 1)}
    return [
        f"{len(rows)} held-out poses, at most {most} effectors, network + exact stage",
        f"mean joint error {final.mean():.1f} mm (median {np.median(final):.1f}, worst {final.max():.1f})",
        f"poses within {TARGET_MM:.0f} mm: {100 * (final <= TARGET_MM).mean():.0f} %",
        "by number of effectors: " + ", ".join(f"{n}: {error:.1f} mm" for n, error in sizes.items()),
        f"CPU {spent:.2f} s per pose, {calls:.1f} calls of the poser",
        "chosen most: " + ", ".join(f"{name} {count}" for name, count in names.most_common(8)),
        f"target {TARGET_MM:.0f} mm: {'met' if final.mean() <= TARGET_MM else 'missed'}",
    ]


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except SomaError as error:
        sys.exit(f"error: {error}")
