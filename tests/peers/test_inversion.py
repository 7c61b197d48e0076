"""Pose inversion beside py-soma-x on the same targets: nearer, and its answers are read the same way."""

import importlib.metadata
import shutil

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body.layer import SomaLayer
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.rig.skeleton import POSE_JOINT_NAMES, data_path

pytestmark = pytest.mark.peer


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("soma", reason="py-soma-x is not installed; make peers builds environments that have it")
    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="module")
def sides(torch, tmp_path_factory):
    """Our layer and the peer's inversion for one random identity at low LOD."""
    from soma import SOMALayer

    try:
        from soma.fitting.pose_inversion import PoseInversion as PeerInversion
    except ImportError:
        from soma.pose_inversion import PoseInversion as PeerInversion

    root = tmp_path_factory.mktemp("open_assets")
    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json", "SOMA_neutral.npz"):
        shutil.copy(data_path(name), root / name)
    version = tuple(int(n) for n in importlib.metadata.version("py-soma-x").split("."))
    layer = SOMALayer(
        data_root=str(root), identity_model_type="soma", device="cpu", lod="low", correctives_model_path=None
    )
    coefficients = np.random.default_rng(3).normal(size=(1, 64)).astype(np.float32)
    theirs = PeerInversion(layer, low_lod=False)
    with torch.no_grad():
        theirs.prepare_identity(torch.tensor(coefficients))
    ours = SomaLayer(identity="soma", lod="low", twist_anchor="rest" if version < (0, 2, 2) else "bind", threads=1)
    return ours, ours.prepare_identity(coefficients), theirs


def human_poses(count):
    rng = np.random.default_rng(8)
    vectors = rng.normal(scale=0.2, size=(count, 77, 3))
    for side, sign in (("Left", -1.0), ("Right", 1.0)):
        vectors[:, POSE_JOINT_NAMES.index(f"{side}ForeArm")] = sign * np.array([0.0, 0.9, 0.0])
        vectors[:, POSE_JOINT_NAMES.index(f"{side}Shin")] = [0.5, 0.0, 0.0]
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(count, 77, 3, 3), rng.normal(
        size=(count, 3)
    )


def test_nearer_than_the_peer(torch, sides):
    ours, identity, theirs = sides
    vertices = ours.body.pose(identity, *human_poses(4)).vertices.numpy().copy()
    inversion = PoseInversion(ours.body)
    result = inversion.fit(vertices, inversion.prepare(identity))
    with torch.no_grad():
        peer = theirs.fit(torch.tensor(vertices), lie_iters=0)
    error = peer["per_vertex_error"].numpy()
    assert result.per_vertex_error.shape == error.shape
    assert result.per_vertex_error.mean() < 0.01 * error.mean()
    # Their answer, posed by us, is as far off as they say, but for the helpers that they do not see.
    absolute = peer["rotations"].numpy()[:, 1:]
    again = ours.body.pose(identity, absolute, peer["root_translation"].numpy(), absolute=True).vertices.numpy()
    distance = np.linalg.norm(again - vertices, axis=2)
    assert abs(distance.mean() - error.mean()) < 0.002
    assert absolute.shape == result.absolute_rotations.shape
