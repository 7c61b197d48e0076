import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.rig.skeleton import template_rest_offsets


@pytest.fixture(scope="session")
def rig():
    return load_template_rig()


@pytest.fixture(scope="session")
def body(rig):
    return SomaBody(rig, lod="low", threads=1)


@pytest.fixture(scope="session")
def identities(body, rig):
    """Three bodies: the template, a smaller and a larger one."""
    scale = np.array([1.0, 0.9, 1.1])
    bind = np.repeat(body.layout.bind_T_world_joint[None, :78], 3, axis=0)
    bind[..., :3, 3] *= scale[:, None, None]
    return body.prepare(rig.mesh("low").points[None] * scale[:, None, None], bind)


def make_motion(frames, fps, seed, spread=0.5):
    """Unrelated rotations frame by frame: interpolation has far to go."""
    rng = np.random.default_rng(seed)
    rotations = Rotation.from_rotvec(rng.normal(scale=spread, size=(frames * 77, 3))).as_matrix()
    return SomaMotion(
        fps=fps,
        rotations=rotations.reshape(frames, 77, 3, 3),
        root_translation=rng.normal(size=(frames, 3)),
        identity=MotionIdentity("soma", np.zeros(0), None, template_rest_offsets(), "template"),
        provenance=Provenance(f"random_{seed}", "0" * 64, "generated", "option", "y", "format"),
    )


@pytest.fixture(scope="session")
def motions():
    return [make_motion(7, 30.0, 1), make_motion(4, 120.0, 2), make_motion(1, 50.0, 3)]


@pytest.fixture(scope="session", name="make_motion")
def make_motion_fixture():
    return make_motion
