"""The exact stage on mocap that no proposal has seen: six exact points, no network."""

from pathlib import Path

import numpy as np
import pytest

from soma_isaac.learned.effectors import Effectors, position
from soma_isaac.learned.limits import JointLimits
from soma_isaac.learned.predictor import StillPose
from soma_isaac.learned.prior import PosePrior, steps_between
from soma_isaac.learned.refine import refine
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES, BodyPose, body_kinematics, template_skeleton
from soma_isaac.pipelines.ik_data import CMU_TEST, CMU_VALIDATION, read_poses, split

MOCAP = Path(__file__).parents[3] / "shared" / "data" / "mocap" / "cmu_soma23.npz"
SIX = ("Hips", "Neck1", "LeftHand", "RightHand", "LeftFoot", "RightFoot")
SKELETON = template_skeleton()


def asked_of(rotations: np.ndarray) -> tuple[BodyPose, Effectors, np.ndarray]:
    true = BodyPose(rotations.astype(np.float64), np.zeros((len(rotations), 3)))
    where, _ = body_kinematics(true.rotations, true.root_position, SKELETON.rest_offsets)
    sets = [[position(name, row[BODY_JOINT_NAMES.index(name)]) for name in SIX] for row in where]
    return true, Effectors.of(*sets), where


@pytest.mark.skipif(not MOCAP.is_file(), reason="no mocap file beside the checkout")
def test_mean_pose_and_covariance_find_held_out_poses_from_six_points() -> None:
    parts = split(read_poses(MOCAP).poses, CMU_VALIDATION, CMU_TEST)
    train, test = parts["train"].rotations, parts["test"].rotations
    still = StillPose(parts["train"].mean_pose()[0])
    known, asked, _ = asked_of(train[:: len(train) // 800])
    steps = steps_between(still.predict(asked, SKELETON), known, SKELETON.rest_offsets)
    _, asked, where = asked_of(test[:: len(test) // 150])
    proposed = still.predict(asked, SKELETON)
    limits = JointLimits.from_poses(train[::20].astype(np.float64))
    for prior, ranges, most in ((None, None, 0.042), (PosePrior.from_steps(steps), limits, 0.036)):
        found = refine(proposed, asked, SKELETON, prior=prior, limits=ranges)
        joints, _ = body_kinematics(found.pose.rotations, found.pose.root_position, SKELETON.rest_offsets)
        gap = (joints - joints[:, :1]) - (where - where[:, :1])
        assert np.linalg.norm(gap, axis=-1).mean() < most  # the placed mean pose alone: about 0.17 m
        assert found.reached.mean() > 0.99
        assert np.percentile(found.residual, 98) < 1e-3
