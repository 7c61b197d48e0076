import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body import BodyPose, SomaBody
from soma_isaac.formats.rig_usd import load_template_rig


@pytest.fixture(scope="session")
def rig():
    return load_template_rig()


@pytest.fixture(scope="session")
def body(rig):
    return SomaBody(rig, threads=1)


@pytest.fixture(scope="session")
def identity(body):
    return body.prepare()


@pytest.fixture
def inf_outputs():
    """Outputs that show every entry that was not written."""

    def allocate(body: SomaBody, batch: int) -> BodyPose:
        out = body.allocate(batch)
        for array in (out.vertices, out.joints, out.transforms):
            array.numpy()[:] = np.inf
        return out

    return allocate


@pytest.fixture(scope="session")
def bind_pose(rig):
    """The absolute pose [1, 77, 3, 3] and Hips position [1, 3] that reproduce the bind pose."""
    bind = rig.skeleton.bind_T_world_joint[:78]
    above = bind[rig.skeleton.parent_indices[1:78]]
    local = np.swapaxes(above[:, :3, :3], -1, -2) @ bind[1:, :3, :3]
    return local[None], bind[None, 1, :3, 3]


def random_poses(count, spread=0.5, seed=0):
    """Rotation vectors [count, 77, 3] in rad, their matrices, and Hips positions [count, 3] in m."""
    rng = np.random.default_rng(seed)
    rotvecs = rng.normal(scale=spread, size=(count, 77, 3))
    matrices = Rotation.from_rotvec(rotvecs.reshape(-1, 3)).as_matrix().reshape(count, 77, 3, 3)
    return rotvecs, matrices, rng.normal(size=(count, 3))


@pytest.fixture(scope="session", name="random_poses")
def random_poses_fixture():
    return random_poses
