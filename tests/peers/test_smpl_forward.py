"""SMPL and SMPL-X bodies beside py-soma-x 0.3.4's ``SMPLLayer`` and ``SMPLXLayer`` on the same files."""

import importlib.metadata
import time

import numpy as np
import pytest

from soma_isaac.body.smpl_forward import SmplBody
from soma_isaac.formats.smpl_model import SMPL_KINDS, read_smpl_model
from tests.body.model_files import write_smpl

pytestmark = pytest.mark.peer
BATCH = 64


@pytest.fixture(scope="module")
def peer():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("soma", reason="py-soma-x is not installed; make peers builds environments that have it")
    if tuple(int(n) for n in importlib.metadata.version("py-soma-x").split(".")) < (0, 3):
        pytest.skip("py-soma-x before 0.3 lays its SMPL layers out differently")
    torch.set_num_threads(1)
    return torch


@pytest.mark.parametrize("kind", ["smpl", "smplx"])
def test_same_bodies(peer, kind, tmp_path):
    from soma.smpl import SMPLLayer, SMPLXLayer

    path = write_smpl(tmp_path, kind)
    layer = {"smpl": SMPLLayer, "smplx": SMPLXLayer}[kind](tmp_path, model_path=path)
    body = SmplBody(read_smpl_model(path, kind))
    rng = np.random.default_rng(1)
    betas, poses = rng.normal(size=(1, 10)), rng.normal(scale=0.5, size=(BATCH, SMPL_KINDS[kind], 3))
    place = rng.normal(size=(BATCH, 3))
    layer.prepare_identity(peer.from_numpy(betas).float())
    person = body.shape(betas)
    given = peer.from_numpy(poses).float(), peer.from_numpy(place).float()
    for _ in range(2):  # the first calls compile
        begin = time.process_time()
        theirs = layer.pose(given[0], global_translation=given[1])
        middle = time.process_time()
        # theirs places the pelvis, ours the model's origin
        ours = body.pose(person, poses, place - person.rest_joints[0, 0])
        end = time.process_time()
    print(f"CPU per body: peer {1e3 * (middle - begin) / BATCH:.2f} ms, ours {1e3 * (end - middle) / BATCH:.3f} ms")
    np.testing.assert_allclose(ours.vertices.numpy(), theirs["vertices"].detach().numpy(), atol=2e-5)
    np.testing.assert_allclose(ours.joints.numpy(), theirs["joints"].detach().numpy(), atol=2e-5)
