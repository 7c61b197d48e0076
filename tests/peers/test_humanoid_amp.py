"""The ``MotionLoader`` of Isaac Lab's humanoid_amp loads and samples our ``amp`` clip.

Isaac Lab itself needs Isaac Sim; the loader is one file that needs numpy and torch, taken from the isaaclab wheel by
path.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from soma_isaac.formats.reference_clip import FORMATS, reference_clip_bytes
from soma_isaac.motion.clip import ReferenceClip
from soma_isaac.retarget.clip import reference_clip
from soma_isaac.retarget.robot import load_robot
from tests.oracles.random_motion import random_motion

pytestmark = pytest.mark.peer
AMP = "source/isaaclab_tasks/isaaclab_tasks/direct/humanoid_amp/motions"


@pytest.fixture(scope="module")
def motions() -> Path:
    pytest.importorskip("torch", reason="torch is not installed; make peers builds an environment that has it")
    package = importlib.util.find_spec("isaaclab")
    folders = [] if package is None else [Path(place, AMP) for place in package.submodule_search_locations]
    if not any(folder.exists() for folder in folders):
        pytest.skip("the isaaclab wheel is not installed; make peers builds an environment that has it")
    return folders[0]


@pytest.fixture(scope="module")
def clip() -> ReferenceClip:
    model = load_robot()
    return reference_clip(random_motion(model, 120, fps=60.0), model)


@pytest.fixture(scope="module")
def loader(motions: Path, clip: ReferenceClip, tmp_path_factory: pytest.TempPathFactory):
    spec = importlib.util.spec_from_file_location("amp_motion_loader", motions / "motion_loader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    path = tmp_path_factory.mktemp("amp") / "clip.npz"
    path.write_bytes(reference_clip_bytes(clip, "amp"))
    return module.MotionLoader(str(path), "cpu")


def test_keys_and_types_are_those_of_isaac_labs_own_files(motions: Path, clip: ReferenceClip, tmp_path: Path) -> None:
    path = tmp_path / "clip.npz"
    path.write_bytes(reference_clip_bytes(clip, "amp"))
    with np.load(motions / "humanoid_walk.npz", allow_pickle=False) as theirs, np.load(path) as ours:
        for key in theirs.files:
            assert ours[key].dtype.kind == theirs[key].dtype.kind and ours[key].ndim == max(theirs[key].ndim, 1)
            assert ours[key].dtype.itemsize == theirs[key].dtype.itemsize or ours[key].dtype.kind == "U"
        assert {key for key in theirs.files if theirs[key].dtype == np.float32} == set(FORMATS["amp"].keys.values())


def test_names_and_length(loader, clip: ReferenceClip) -> None:
    assert loader.dof_names == list(clip.joint_names) and loader.body_names == list(clip.body_names)
    assert loader.num_dofs == 29 and loader.num_bodies == 30 and loader.num_frames == 120
    # fps of shape (1,) makes these arrays of one, which numpy broadcasts wherever the loader and humanoid_amp use them
    assert loader.dt.item() == pytest.approx(1 / 60) and loader.duration.item() == pytest.approx(119 / 60)
    assert loader.get_body_index(["torso_link", "pelvis"]) == [15, 0]


def test_samples_at_frames_are_the_frames(loader, clip: ReferenceClip) -> None:
    frames = np.array([0, 1, 50, 118])
    dofs, dof_vel, pos, quat, lin, ang = loader.sample(4, times=frames / 60.0)
    np.testing.assert_allclose(dofs, clip.joint_pos[frames], atol=1e-4)
    np.testing.assert_allclose(dof_vel, clip.joint_vel[frames], atol=1e-3)
    np.testing.assert_allclose(pos, clip.body_pos_w[frames], atol=1e-4)
    np.testing.assert_allclose(ang, clip.body_ang_vel_w[frames], atol=1e-3)
    dots = np.abs((np.asarray(quat) * clip.body_quat_wxyz[frames]).sum(-1))
    assert dots.min() > 0.9999
    assert np.isfinite(np.asarray(lin)).all()


def test_random_samples_and_history_times(loader) -> None:
    np.random.seed(0)
    for value in loader.sample(64):
        assert len(value) == 64 and np.isfinite(np.asarray(value)).all()
    # as humanoid_amp's collect_reference_motions builds its history
    times = (np.expand_dims(loader.sample_times(8), axis=-1) - loader.dt * np.arange(0, 2)).flatten()
    assert [len(value) for value in loader.sample(8, times=times)] == [16] * 6
