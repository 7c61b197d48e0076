"""Refinement by gradients, and pose correctives in both ways of inversion."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body.layer import SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.inversion.autograd_refinement import RefinementSettings, refine
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.settings import InversionSettings
from soma_isaac.inversion.weights import limb_weights

FRAMES = 3


@pytest.fixture(scope="module")
def corrected(rig):
    return SomaLayer(rig, lod="low", correctives="open", threads=1)


@pytest.fixture(scope="module")
def example(corrected, human_poses):
    """Targets with correctives, and their fit."""
    rotations, translation = human_poses(FRAMES)
    identity = corrected.prepare_identity()
    vertices = corrected.pose(rotations, translation, identity=identity).vertices.numpy().copy()
    inversion = PoseInversion(corrected.body)
    return vertices, inversion, inversion.prepare(identity)


@pytest.fixture(scope="module")
def layer(corrected):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    from soma_isaac.body.torch_layer import TorchSomaLayer

    torch.set_num_threads(1)
    module = TorchSomaLayer(corrected)
    module.prepare_identity()
    return module


@pytest.fixture(scope="module")
def off(example, corrected):
    """The fit with every joint turned by about 2 degrees and the body shifted by 17 mm."""
    vertices, inversion, person = example
    fit = inversion.fit(vertices, person)
    turns = np.random.default_rng(5).normal(scale=0.02, size=(FRAMES * 77, 3))
    rotations = fit.rotations @ Rotation.from_rotvec(turns).as_matrix().reshape(FRAMES, 77, 3, 3)
    return replace(fit, rotations=rotations, root_translation=fit.root_translation + 0.01)


def errors_of(layer, vertices, result):
    posed = layer.pose(result.rotations, result.root_translation, identity=layer.prepare_identity()).vertices.numpy()
    return np.linalg.norm(posed - vertices, axis=2)


def test_taking_correctives_off_the_mesh_lowers_the_error(example):
    vertices, inversion, person = example
    errors = [
        inversion.fit(vertices, person, InversionSettings(corrective_rounds=rounds)).per_vertex_error
        for rounds in (0, 1, 2)
    ]
    assert errors[0].mean() > 2e-4  # what correctives leave, taken for skin that moves with the bones
    assert errors[1].mean() < 0.4 * errors[0].mean()
    assert errors[2].mean() < 0.9 * errors[1].mean() and errors[2].mean() < 1e-4


def test_a_perturbed_pose_comes_back(layer, corrected, example, off):
    vertices = example[0]
    assert errors_of(corrected, vertices, off).mean() > 0.02
    result = refine(off, vertices, layer)
    assert result.per_vertex_error.mean(axis=1).max() < 2e-5
    np.testing.assert_allclose(result.per_vertex_error, errors_of(corrected, vertices, result), atol=2e-6)
    again = corrected.pose(result.absolute_rotations, result.root_translation, absolute=True).vertices.numpy()
    np.testing.assert_allclose(np.linalg.norm(again - vertices, axis=2), result.per_vertex_error, atol=5e-6)
    np.testing.assert_allclose(np.linalg.det(result.rotations), 1.0, atol=1e-9)


def test_adam_goes_down_too(layer, example, off):
    few, more = (
        refine(off, example[0], layer, RefinementSettings(optimizer="adam", steps=steps)).per_vertex_error.mean()
        for steps in (20, 80)
    )
    assert more < 0.5 * few and more < 0.005


@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_no_frame_ends_above_its_start(layer, example, optimizer):
    """Adam's first steps are as long as its rate whatever the error is: they spoil what is good already."""
    vertices, inversion, person = example
    fit = inversion.fit(vertices, person)
    settings = RefinementSettings(optimizer=optimizer, steps=3, learning_rate=0.05)
    result = refine(fit, vertices, layer, settings)
    as_given = refine(fit, vertices, layer, replace(settings, steps=0))
    squares = [np.square(one.per_vertex_error.astype(float)).mean(axis=1) for one in (as_given, result)]
    assert (squares[1] <= squares[0] * (1.0 + 1e-5)).all()
    if optimizer == "adam":
        np.testing.assert_array_equal(result.steps, 0)
        np.testing.assert_array_equal(result.rotations, fit.rotations)


def test_units_do_not_matter(rig, layer, example, off):
    from soma_isaac.body.torch_layer import TorchSomaLayer

    in_cm = TorchSomaLayer(SomaLayer(rig, lod="low", correctives="open", output_unit="cm", threads=1))
    in_cm.prepare_identity()
    scaled = replace(off, root_translation=off.root_translation * 100.0)
    settings = RefinementSettings(steps=30)
    result = refine(scaled, example[0] * 100.0, in_cm, settings)
    metres = refine(off, example[0], layer, settings)
    np.testing.assert_allclose(result.per_vertex_error.mean(), 100.0 * metres.per_vertex_error.mean(), rtol=0.3)
    assert result.per_vertex_error.mean() < 0.2  # cm


def test_missing_vertices_and_outliers(layer, corrected, example, off):
    vertices = example[0].copy()
    hand = limb_weights(corrected.body, {"LeftHand": 0.0}) == 0.0
    vertices[:, hand] = np.nan
    rng = np.random.default_rng(2)
    bad = rng.random(vertices.shape[:2]) < 0.05
    vertices[bad] += 0.2
    plain = refine(off, vertices, layer)
    robust = refine(off, vertices, layer, RefinementSettings(robust=0.02))
    assert np.isnan(robust.per_vertex_error[:, hand]).all()
    good = ~bad & ~hand
    assert robust.per_vertex_error[good].mean() < 0.2 * plain.per_vertex_error[good].mean()
    assert robust.per_vertex_error[bad & ~hand].mean() > 0.2  # reported as they are
    np.testing.assert_array_equal(robust.rotations[:, hand_joints()], off.rotations[:, hand_joints()])


def hand_joints():
    from soma_isaac.rig.skeleton import POSE_JOINT_NAMES

    return [row for row, name in enumerate(POSE_JOINT_NAMES) if name in ("LeftHandIndex2", "LeftHandIndex3")]


def test_prior_holds_the_given_pose(layer, example, off):
    free, held = (
        refine(off, example[0], layer, RefinementSettings(steps=30, prior=prior)).rotations[:, 1:]
        for prior in (0.0, 10.0)
    )
    away = [np.abs(one - off.rotations[:, 1:]).mean() for one in (free, held)]
    assert away[1] < 0.05 * away[0]


def test_no_frames(layer, off):
    none = replace(off, **{name: getattr(off, name)[:0] for name in ("rotations", "root_translation", "steps")})
    result = refine(none, np.zeros((0, 4505, 3)), layer)
    assert result.rotations.shape == result.absolute_rotations.shape == (0, 77, 3, 3)
    assert result.per_vertex_error.shape == (0, 4505)


def test_what_does_not_fit_is_refused(layer, example, off):
    vertices = example[0]
    with pytest.raises(InputRejected, match="2 frames of vertices do not fit"):
        refine(off, vertices[:2], layer)
    with pytest.raises(InputRejected, match="2 rows of vertex_weights"):
        refine(off, vertices, layer, vertex_weights=np.ones((2, 4505)))
    with pytest.raises(InputRejected, match="frame 0 has no vertex"):
        refine(off, np.full_like(vertices, np.nan), layer)
    for wrong in ({"optimizer": "sgd"}, {"steps": -1}, {"robust": 0.0}, {"learning_rate": np.nan}):
        with pytest.raises(InputRejected):
            RefinementSettings(**wrong)


def test_inversion_without_gradients_loads_no_torch_and_importing_it_starts_no_warp():
    code = (
        "import json, sys\n"
        "import soma_isaac.inversion as inversion\n"
        "early = 'warp' in sys.modules\n"
        "inversion.PoseInversion, inversion.InversionSettings, inversion.refine, inversion.RefinementSettings\n"
        "context = sys.modules.get('warp._src.context') or sys.modules.get('warp.context')\n"
        "started = getattr(context, 'runtime', None) is not None\n"
        "from soma_isaac.body import SomaBody\n"
        "from soma_isaac.formats.rig_usd import load_template_rig\n"
        "body = SomaBody(load_template_rig(), lod='xlo', threads=1)\n"
        "identity = body.prepare()\n"
        "solver = inversion.PoseInversion(body)\n"
        "error = solver.fit(identity.rest_points[:1], solver.prepare(identity)).per_vertex_error.mean()\n"
        "print(json.dumps([early, started, 'torch' in sys.modules, float(error)]))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    early, started, torch_loaded, error = json.loads(done.stdout.splitlines()[-1])
    assert (early, started, torch_loaded) == (False, False, False)
    assert error < 1e-3
