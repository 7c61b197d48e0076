"""What the exact stage of learned IK costs and does: ``python benchmarks/exact_stage.py POSES.npz [SETS]``.

POSES is a file in the layout of :func:`soma_isaac.pipelines.ik_data.read_clip_table`, e.g. CMU mocap; the subjects that
no training sees are tested on. The proposals need no network: the T-pose and the mean of the training poses, placed by
heading and centroid, with an equal prior for all joints or the covariance of their errors on the training poses.
Processor time, one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from soma_isaac.learned.evaluation import PoseTest, Proposer, still
from soma_isaac.learned.fixed_draws import FixedDraws
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.pose_tests import pose_test
from soma_isaac.learned.poses import PoseSet
from soma_isaac.learned.prior import PosePrior, steps_between
from soma_isaac.learned.refine import Refined, refine_bodies
from soma_isaac.learned.skeleton import BodyPose, body_kinematics
from soma_isaac.pipelines.ik_data import CMU_TEST, CMU_VALIDATION, read_poses, split

PRIOR_SETS = 3000


def prior_of(propose: Proposer, poses: PoseSet, ask: str) -> PosePrior:
    """Covariance of a proposer's errors on training poses."""
    test = pose_test(poses, FixedDraws.make(1, PRIOR_SETS, 5), 0, ask)
    proposed = propose(test.effectors, test.rest_offsets)
    return PosePrior.from_steps(steps_between(proposed, test.truth, test.rest_offsets))


def joint_error(test: PoseTest, pose: BodyPose) -> float:
    """Root-aligned MPJPE [mm]."""
    found, true = (body_kinematics(p.rotations, p.root_position, test.rest_offsets)[0] for p in (pose, test.truth))
    aligned = found - found[:, :1] - (true - true[:, :1])
    return float(np.linalg.norm(aligned, axis=-1).mean() * 1e3)


def milliseconds_alone(test: PoseTest, proposed: BodyPose, prior: PosePrior | None, poses: int) -> np.ndarray:
    """Processor time [ms] of poses refined one at a time, best of three each."""
    result = []
    for row in range(poses):
        one = slice(row, row + 1)
        pose = BodyPose(proposed.rotations[one], proposed.root_position[one])
        used = int((test.effectors.weight[row] > 0).sum())
        asked, best = test.effectors.rows(one, used), np.inf
        for _ in range(3):
            begin = time.process_time()
            refine_bodies(pose, asked, test.rest_offsets[one], prior=prior)
            best = min(best, time.process_time() - begin)
        result.append(1e3 * best)
    return np.array(result)


def line(test: PoseTest, proposed: BodyPose, found: Refined, alone: np.ndarray, seconds: float) -> str:
    """One row of the table."""
    exact = (test.effectors.weight > 0) & (test.effectors.tolerance <= 1e-4)
    most = 1e3 * np.percentile(found.residual[exact], [50, 99, 100])
    figures = (
        f"{joint_error(test, proposed):7.1f} -> {joint_error(test, found.pose):5.1f} mm",
        f"{np.rad2deg(found.change.mean()):5.1f} deg",
        f"{most[0]:7.4f} {most[1]:7.3f} {most[2]:8.2f}",
        f"{100.0 * found.reached[exact].mean():7.2f} %",
        f"{found.iterations.mean():5.1f} {np.percentile(found.iterations, 90):4.0f}",
        f"{np.median(alone):5.2f} {np.percentile(alone, 90):5.2f} ms",
        f"{1e3 * seconds / len(found.change):6.3f} ms",
    )
    return " | ".join(figures)


def main(poses: str, sets: int = 1024) -> None:
    """Print a table per kind of question."""
    parts = split(read_poses(Path(poses)).poses, CMU_VALIDATION, CMU_TEST)
    train, draws = parts["train"], FixedDraws.make(1, sets, 9)
    limits = JointLimits.from_poses(train.with_mirrored().rotations[::7].astype(np.float64))
    rest, mean = still(), still(train.mean_pose()[0])
    print(
        "proposal, prior | MPJPE before -> after | change | residual of exact effectors (mm, mrad): median, 99 %, most"
    )
    print(
        "| within 1 mm or 0.1 deg | steps: mean, 90 % | processor time of a pose alone: median, 90 % | and in the batch"
    )
    for ask in ("six", "exact", "noisy"):
        print(f"{ask}: {sets} poses of subjects {', '.join(CMU_TEST)}")
        test = pose_test(parts["test"], draws, 0, ask)
        for name, propose, prior, ranges in (
            ("T-pose, equal", rest, None, None),
            ("T-pose, covariance", rest, prior_of(rest, train, ask), None),
            ("mean, equal", mean, None, None),
            ("mean, covariance", mean, prior_of(mean, train, ask), None),
            ("  and joint limits", mean, prior_of(mean, train, ask), limits),
        ):
            proposed = propose(test.effectors, test.rest_offsets)
            begin = time.process_time()
            found = refine_bodies(proposed, test.effectors, test.rest_offsets, prior=prior, limits=ranges)
            seconds = time.process_time() - begin
            alone = milliseconds_alone(test, proposed, prior, min(200, sets))
            print(f"  {name:18s}", line(test, proposed, found, alone, seconds), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("poses", metavar="POSES")
    parser.add_argument("sets", metavar="SETS", nargs="?", type=int, default=1024)
    main(**vars(parser.parse_args()))
