import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.inversion.pose_inversion import PoseInversion


@pytest.fixture(scope="session")
def rig():
    return load_template_rig()


@pytest.fixture(scope="session")
def low_body(rig):
    return SomaBody(rig, lod="low", threads=1)


@pytest.fixture(scope="session")
def inversion(low_body):
    return PoseInversion(low_body)


@pytest.fixture(scope="session")
def prepared(inversion, low_body):
    return inversion.prepare(low_body.prepare())


@pytest.fixture(scope="session")
def human_poses():
    """Rotations [count, 77, 3, 3] within what joints can do, elbows and knees on their hinges, and Hips positions."""

    def make(count, spread=0.25, seed=0):
        from soma_isaac.rig.skeleton import POSE_JOINT_NAMES

        rng = np.random.default_rng(seed)
        vectors = rng.normal(scale=spread, size=(count, 77, 3))
        vectors[:, 0] = rng.normal(scale=1.0, size=(count, 3))
        for name, axis, sign in (
            ("LeftForeArm", 1, -1.0),
            ("RightForeArm", 1, 1.0),
            ("LeftShin", 0, 1.0),
            ("RightShin", 0, 1.0),
        ):
            joint = POSE_JOINT_NAMES.index(name)
            vectors[:, joint] = 0.0
            vectors[:, joint, axis] = sign * rng.uniform(0.1, 1.6, count)
        return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(count, 77, 3, 3), rng.normal(
            size=(count, 3)
        )

    return make


@pytest.fixture(scope="session")
def posed(low_body):
    def pose(rotations, translation, identity=None):
        return low_body.pose(identity or low_body.prepare(), rotations, translation).vertices.numpy().copy()

    return pose
