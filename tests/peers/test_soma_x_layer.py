"""The complete layer beside py-soma-x 0.2.1 and 0.3.4 on the same files: 50 bodies and poses per LOD, to 0.01 mm.

The files: our rig and twist table, our open shape space, and a random corrective checkpoint in the official layout. The
peer's own settings are asked for where ours differ by default, each for a reason:

* Twist is anchored at the template's bind pose in 0.3.4 (``twist_anchor="template"``) and at its T-pose in 0.2.1
  (``"rest"``). Ours is anchored at each body's own bind pose, so that it is given back exactly, reposed or not.
* 0.2.1 negates a column of reflected alignments (``alignment="newton-schulz"``), which is not the best rotation.
* ``xlo`` rides on ``low`` with offsets that grow with the square of the size (``transfer_mode="area"``); the peer
  builds them in centimetres and is only itself in that unit, so ``xlo`` is compared in centimetres.
* An ``xlo`` vertex beyond an edge is equally near to two triangles. Ours takes the one that faces it, the peer the one
  that its search meets first: a few vertices differ by some hundredths of a millimetre.
* ``xlo`` correctives: the peer transfers the low shape *before* reposing, which undoes the reposing of the whole body
  as soon as correctives are on. Ours ride on the reposed body. They are compared where nothing is reposed.
* The peer solves its joint regression in float32, which moves eyes and the head's end by up to 0.014 mm from the exact
  solution (ours: 0.0007 mm). For that reason joints are compared to 0.02 mm, and of the vertices, nearly all of which
  are within 0.01 mm, a few of the head may be 0.015 mm apart.
"""

import functools
import importlib.metadata
import shutil

import numpy as np
import pytest

from soma_isaac.body.identities.presets import open_shape_space
from soma_isaac.body.layer import SomaLayer
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.rig.skeleton import data_path
from tests.oracles.correctives import random_checkpoint

pytestmark = pytest.mark.peer

COUNT = 50
TOLERANCE_M = 1e-5
JOINT_TOLERANCE_M = 2e-5
METRES = {"m": 1.0, "cm": 0.01}


@pytest.fixture(scope="module")
def soma():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("soma", reason="py-soma-x is not installed; make peers builds environments that have it")
    torch.set_num_threads(1)
    return torch


@pytest.fixture(scope="module")
def old(soma):
    version = tuple(int(n) for n in importlib.metadata.version("py-soma-x").split(".")[:3])
    return version < (0, 2, 2)


@pytest.fixture(scope="module")
def root(soma, tmp_path_factory):
    folder = tmp_path_factory.mktemp("soma_layer")
    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json"):
        shutil.copy(data_path(name), folder / name)
    shutil.copy(open_shape_space(), folder / "SOMA_neutral.npz")
    random_checkpoint(load_template_rig().mesh("mid").vertex_count, 20, per_joint=3).save(
        folder / "correctives_model.pt"
    )
    return folder


@functools.cache
def peer_layer(soma, root, lod, unit, corrected):
    from soma import SOMALayer
    from soma.units import Unit

    return SOMALayer(
        data_root=str(root),
        identity_model_type="soma",
        device="cpu",
        lod=lod,
        output_unit={"m": Unit.METERS, "cm": Unit.CENTIMETERS}[unit],
        correctives_model_path=str(root / "correctives_model.pt") if corrected else None,
    )


@functools.cache
def our_layer(root, lod, unit, old, corrected):
    return SomaLayer(
        identity="soma",
        assets=root,
        lod=lod,
        output_unit=unit,
        twist_anchor="rest" if old else "template",
        alignment="newton-schulz" if old else "auto",
        transfer_mode="area",
        correctives=root / "correctives_model.pt" if corrected else None,
    )


def inputs(count, seed, components, *, old=False, spread=0.4):
    rng = np.random.default_rng(seed)
    return {
        "coefficients": rng.normal(size=(count, components)).astype(np.float32),
        "scales": rng.uniform(0.8, 1.25, size=(count, 56 if old else 60)).astype(np.float32),
        "size": rng.uniform(0.8, 1.2, size=count).astype(np.float32),
        "poses": rng.normal(scale=spread, size=(count, 77, 3)).astype(np.float32),
        "transl": rng.normal(size=(count, 3)).astype(np.float32),
    }


def both(soma, root, lod, unit, old, given, *, corrected=False, repose=True, fk_only=False, identities=None):
    """Our pose and the peer's, as arrays in metres."""
    torch, metres = soma, METRES[unit]
    rows = slice(identities)
    ours = our_layer(root, lod, unit, old, corrected)
    ours.prepare_identity(
        given["coefficients"][rows], given["scales"][rows], global_scale=given["size"][rows], repose=repose
    )
    transl = given["transl"] / metres
    mine = ours.pose(given["poses"], transl, correctives=corrected, fk_only=fk_only)
    theirs = peer_layer(soma, root, lod, unit, corrected)
    with torch.no_grad():
        theirs.prepare_identity(
            torch.from_numpy(given["coefficients"][rows]),
            torch.from_numpy(given["scales"][rows]),
            repose_to_bind_pose=repose,
            global_scale=torch.from_numpy(given["size"][rows]).reshape(-1, 1, 1),
        )
        result = theirs.pose(
            torch.from_numpy(given["poses"]),
            transl=torch.from_numpy(transl.astype(np.float32)),
            apply_correctives=corrected,
            fk_only=fk_only,
        )
    names = ("joints", "transforms") if fk_only else ("vertices", "joints", "transforms")
    return {name: (getattr(mine, name).numpy(), np.asarray(result[name])) for name in names}, metres


def check(pairs, metres, record):
    """Vertices within 0.01 mm, joints within 0.02 mm, rotations within 1e-5; see the module's docstring."""
    errors = {
        name: float(np.linalg.norm(a - b, axis=-1).max()) * metres
        for name, (a, b) in pairs.items()
        if name != "transforms"
    }
    ours, theirs = (values[..., :3, :3] for values in pairs["transforms"])
    turned = float(np.abs(ours - theirs).max())
    for name, error in errors.items():
        record(name, f"{error * 1000:.5f} mm")
    record("rotations", f"{turned:.1e}")
    if "vertices" in pairs:
        ours, theirs = pairs["vertices"]
        assert (np.linalg.norm(ours - theirs, axis=-1) * metres > TOLERANCE_M).mean() < 1e-4
        assert errors["vertices"] < 1.5 * TOLERANCE_M
    assert errors["joints"] < JOINT_TOLERANCE_M
    assert turned < 1e-5


def components(root):
    with np.load(root / "SOMA_neutral.npz", allow_pickle=False) as record:
        return len(record["eigenvalues"])


@pytest.mark.parametrize("repose", [True, False], ids=["reposed", "as fitted"])
@pytest.mark.parametrize(("lod", "unit"), [("mid", "m"), ("low", "m"), ("low", "cm")])
def test_fifty_bodies_poses_and_scales(soma, root, old, lod, unit, repose, record_property):
    given = inputs(COUNT, 30, components(root), old=old)
    pairs, metres = both(soma, root, lod, unit, old, given, repose=repose)
    assert np.ptp(pairs["vertices"][1][:, :, 1] * metres, axis=1).std() > 0.02  # bodies of different sizes and poses
    check(pairs, metres, record_property)


@pytest.mark.parametrize(("lod", "unit", "repose"), [("mid", "m", True), ("low", "m", True), ("low", "cm", True)])
def test_fifty_corrected_bodies(soma, root, old, lod, unit, repose, record_property):
    given = inputs(COUNT, 31, components(root), old=old)
    pairs, metres = both(soma, root, lod, unit, old, given, corrected=True, repose=repose)
    check(pairs, metres, record_property)
    plain, _ = both(soma, root, lod, unit, old, given, repose=repose)
    moved = np.linalg.norm(plain["vertices"][1] - pairs["vertices"][1], axis=-1) * metres
    assert moved.mean() > 20 * TOLERANCE_M


@pytest.mark.parametrize("repose", [True, False], ids=["reposed", "as fitted"])
def test_fifty_xlo_bodies(soma, root, old, repose, record_property):
    given = inputs(COUNT, 30, components(root), old=old)
    pairs, metres = both(soma, root, "xlo", "cm", old, given, repose=repose)
    error = np.linalg.norm(pairs["vertices"][0] - pairs["vertices"][1], axis=-1) * metres
    record_property("vertices", f"{error.max() * 1000:.5f} mm")
    assert (error > TOLERANCE_M).mean() < 2e-3
    assert error.max() < 5e-5
    del pairs["vertices"]
    check(pairs, metres, record_property)


def test_corrected_xlo_bodies(soma, root, old, tmp_path, record_property):
    # Ours is linear in the offsets around the template's shape, the peer's follows the normals of each shape. Offsets
    # that are smooth over the skin, as real ones are, leave little of that.
    rig = load_template_rig()
    checkpoint = random_checkpoint(rig.mesh("mid").vertex_count, 21, per_joint=3, masks=False)
    checkpoint.second = smooth(checkpoint.second, rig.mesh("mid").triangles)
    checkpoint.save(tmp_path / "correctives_model.pt")
    for path in root.iterdir():
        if path.name != "correctives_model.pt":
            (tmp_path / path.name).symlink_to(path)
    given = inputs(COUNT, 32, components(root), old=old)
    pairs, metres = both(soma, tmp_path, "xlo", "cm", old, given, corrected=True, repose=False)
    plain, _ = both(soma, root, "xlo", "cm", old, given, repose=False)
    moved = np.linalg.norm(plain["vertices"][1] - pairs["vertices"][1], axis=-1) * metres
    error = np.linalg.norm(pairs["vertices"][0] - pairs["vertices"][1], axis=-1) * metres
    record_property("corrected", f"{moved.mean() * 1000:.4f} mm")
    record_property("difference", f"{error.mean() * 1000:.4f} mm")
    assert moved.mean() > 1e-4
    assert error.mean() < 0.05 * moved.mean()


def smooth(second, triangles):
    """The second layer averaged over neighbours of the skin, a few millimetres large again."""
    from scipy.sparse import coo_array, eye_array

    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    count = second.shape[1] // 3
    adjacent = coo_array((np.ones(len(edges)), edges.T), shape=(count, count)).tocsr() + eye_array(count)
    average = adjacent.multiply(1.0 / adjacent.sum(axis=1)[:, None]).tocsr()
    values = second.reshape(len(second), count, 3).transpose(1, 0, 2).reshape(count, -1)
    for _ in range(40):
        values = average @ values
    values = values / np.abs(values).max() * 0.05
    return values.reshape(count, len(second), 3).transpose(1, 0, 2).reshape(second.shape)


def test_one_body_many_poses(soma, root, old, record_property):
    given = inputs(8, 33, components(root), old=old)
    pairs, metres = both(soma, root, "mid", "m", old, given, identities=1)
    check(pairs, metres, record_property)


def test_joints_only(soma, root, old, record_property):
    given = inputs(COUNT, 34, components(root), old=old)
    pairs, metres = both(soma, root, "low", "m", old, given, fk_only=True)
    check(pairs, metres, record_property)


def test_reference_poses(soma, root, old, record_property):
    if old:
        pytest.skip("py-soma-x 0.2.1 has no reference poses")
    from scipy.spatial.transform import Rotation

    given = inputs(8, 35, components(root))
    reference = np.tile(np.eye(3), (78, 1, 1))
    reference[1:] = Rotation.from_rotvec(np.random.default_rng(36).normal(scale=0.5, size=(77, 3))).as_matrix()
    ours, theirs = our_layer(root, "low", "m", old, False), peer_layer(soma, root, "low", "m", False)
    ours.prepare_identity(given["coefficients"])
    mine = ours.pose(given["poses"], given["transl"], reference_pose=reference)
    with soma.no_grad():
        theirs.prepare_identity(soma.from_numpy(given["coefficients"]))
        result = theirs.pose(
            soma.from_numpy(given["poses"]),
            transl=soma.from_numpy(given["transl"]),
            apply_correctives=False,
            reference_pose=soma.from_numpy(reference.astype(np.float32)),
        )
    pairs = {n: (getattr(mine, n).numpy(), np.asarray(result[n])) for n in ("vertices", "joints", "transforms")}
    check(pairs, 1.0, record_property)


def test_reposing_matters(soma, root, old):
    # Guards the comparisons above: a body that is not reposed differs by far more than the tolerance.
    given = inputs(4, 37, components(root), old=old)
    results = [both(soma, root, "low", "m", old, given, repose=repose)[0]["vertices"][0] for repose in (True, False)]
    assert np.abs(results[0] - results[1]).max() > 100 * TOLERANCE_M
