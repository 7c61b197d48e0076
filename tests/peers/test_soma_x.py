"""Posed bodies beside py-soma-x 0.2.1 and 0.3.4 on the same rig, to 0.01 mm.

py-soma-x regresses the joints of the shape model's mean and fits their bind rotations; the mean is our bind shape, so
the result must be the template identity. Deliberate difference: 0.2.1 anchors aligned twist at the T-pose
(``twist_anchor="rest"`` here), 0.3.4 at the bind pose.
"""

import functools
import importlib.metadata
import json

import numpy as np
import pytest
from scipy.sparse import csc_array
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.body.layout import joint_layout
from soma_isaac.formats.rig_usd import load_template_rig, read_rig

pytestmark = pytest.mark.peer

TOLERANCE = 1e-5
MODES = ("local_x_euler", "local_x_swing_twist", "aligned_x_swing_twist")


@pytest.fixture(scope="module")
def soma():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("soma", reason="py-soma-x is not installed; make peers builds environments that have it")
    from soma import SOMALayer

    torch.set_num_threads(1)
    return torch, SOMALayer


@pytest.fixture(scope="module")
def anchor(soma):
    version = tuple(int(n) for n in importlib.metadata.version("py-soma-x").split("."))
    return "rest" if version < (0, 2, 2) else "bind"


@pytest.fixture(scope="module")
def data_root(soma, soma_data_root):
    """The shared assets, asked for only once py-soma-x is known to be there."""
    return soma_data_root


@functools.cache
def peer_layer(soma, data_root, lod, *, repose=True):
    """Layers take seconds to build; tests only pose them."""
    torch, layer_type = soma
    layer = layer_type(
        data_root=str(data_root), identity_model_type="soma", device="cpu", lod=lod, correctives_model_path=None
    )
    with torch.no_grad():
        layer.prepare_identity(torch.zeros(1, 128), repose_to_bind_pose=repose)
    return layer


def peer_pose(soma, layer, poses, transl, *, absolute=False):
    torch = soma[0]
    with torch.no_grad():
        result = layer.pose(
            torch.tensor(poses, dtype=torch.float32),
            transl=torch.tensor(transl, dtype=torch.float32),
            pose2rot=poses.ndim == 3,
            apply_correctives=False,
            absolute_pose=absolute,
        )
    return {name: np.asarray(result[name]) for name in ("vertices", "joints", "transforms")}


def random_batch(count, spread, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(scale=spread, size=(count, 77, 3)), rng.normal(size=(count, 3))


def largest_difference(ours, theirs, record):
    """Largest distance of vertices and joints [m] and largest difference of a transform's row (1 or m)."""
    errors = {name: float(np.linalg.norm(getattr(ours, name).numpy() - theirs[name], axis=-1).max()) for name in theirs}
    for name, error in errors.items():
        record(name, f"{error * 1000:.5f} mm")
    return max(errors.values())


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@pytest.mark.parametrize("matrices", [False, True], ids=["rotvec", "matrix"])
@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
def test_random_poses(soma, data_root, anchor, lod, matrices, absolute, record_property):
    poses, transl = random_batch(16, 0.4, 11)
    if matrices:
        poses = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(*poses.shape, 3)
    body = SomaBody(load_template_rig(), lod=lod, twist_anchor=anchor)
    ours = body.pose(body.prepare(), poses, transl, absolute=absolute)
    theirs = peer_pose(soma, peer_layer(soma, data_root, lod), poses, transl, absolute=absolute)
    assert largest_difference(ours, theirs, record_property) < TOLERANCE


def test_poses_without_the_peers_reposing(soma, data_root, anchor, record_property):
    # In 0.2.1 reposing is coupled to correctives and most callers run without; the template needs no reposing.
    poses, transl = random_batch(8, 0.4, 12)
    body = SomaBody(load_template_rig(), twist_anchor=anchor)
    layer = peer_layer(soma, data_root, "mid", repose=False)
    error = largest_difference(
        body.pose(body.prepare(), poses, transl), peer_pose(soma, layer, poses, transl), record_property
    )
    assert error < TOLERANCE


@pytest.mark.parametrize("mode", MODES)
def test_twist_modes(soma, data_root, anchor, mode, tmp_path, record_property):
    sidecar_name = "SOMA_procedural_transforms.json"
    for path in data_root.iterdir():
        if path.name != sidecar_name:
            (tmp_path / path.name).symlink_to(path)
    record = json.loads((data_root / sidecar_name).read_text())
    record["modes"], record["channel_extractors"] = [mode], {mode: {}}
    record["rotation_extraction"] = mode
    (tmp_path / sidecar_name).write_text(json.dumps(record))
    poses, transl = random_batch(8, 0.5, 13)
    body = SomaBody(read_rig(tmp_path / "SOMA_template_rig.usda", tmp_path / sidecar_name), twist_anchor=anchor)
    theirs = peer_pose(soma, peer_layer(soma, tmp_path, "mid"), poses, transl)
    assert largest_difference(body.pose(body.prepare(), poses, transl), theirs, record_property) < TOLERANCE
    if mode != "aligned_x_swing_twist":
        aligned = peer_pose(soma, peer_layer(soma, data_root, "mid"), poses, transl)
        assert np.abs(aligned["vertices"] - theirs["vertices"]).max() > 100 * TOLERANCE


def test_the_comparison_notices_the_other_anchor(soma, data_root, anchor):
    # Guards the tests above: the anchoring of twist changes vertices by far more than the tolerance.
    poses, transl = random_batch(8, 0.4, 14)
    body = SomaBody(load_template_rig(), twist_anchor="bind" if anchor == "rest" else "rest")
    theirs = peer_pose(soma, peer_layer(soma, data_root, "mid"), poses, transl)
    error = np.abs(body.pose(body.prepare(), poses, transl).vertices.numpy() - theirs["vertices"]).max()
    assert error > 100 * TOLERANCE


def test_rest_positions_of_the_peer_are_the_template(soma, data_root):
    # The peer regresses joints from the mesh; this is how far its fit is from the template's own joints.
    layer = peer_layer(soma, data_root, "mid", repose=False)
    rig = load_template_rig()
    bind = rig.skeleton.bind_T_world_joint[:78]
    poses = bind[1:, :3, :3].copy()
    parents = rig.skeleton.parent_indices[:78]
    for joint in range(2, 78):
        poses[joint - 1] = bind[parents[joint], :3, :3].T @ bind[joint, :3, :3]
    theirs = peer_pose(soma, layer, poses[None], bind[1, None, :3, 3], absolute=True)
    np.testing.assert_allclose(theirs["joints"][0], bind[1:, :3, 3], atol=TOLERANCE)


@pytest.fixture(scope="module")
def folded_root(data_root, tmp_path_factory):
    """Assets of the v0.1 kind: the 78-joint rig, weights folded, inside the shape file; no twist helpers at all."""
    root = tmp_path_factory.mktemp("soma_folded")
    rig = load_template_rig()
    layout, mesh = joint_layout(rig, twist=False), rig.mesh("mid")
    dense = np.zeros((mesh.vertex_count, 78))
    np.add.at(dense, (np.arange(mesh.vertex_count)[:, None], layout.slots[mesh.joint_indices]), mesh.joint_weights)
    columns = csc_array(dense)
    parents = np.maximum(layout.parents, 0)
    record = dict(np.load(data_root / "SOMA_neutral.npz"))
    for name, world in (("bind", layout.bind_T_world_joint), ("t", layout.rest_T_world_joint)):
        world = world.copy()
        world[:, :3, 3] *= 100.0
        local = np.linalg.inv(world[parents]) @ world
        local[0] = world[0]
        record[f"{name}_pose_world"], record[f"{name}_pose_local"] = world.astype("f4"), local.astype("f4")
    np.savez(
        root / "SOMA_neutral.npz",
        **record,
        joint_names=np.array(rig.public_joint_names),
        joint_parent_ids=parents,
        bind_shape=(mesh.points * 100.0).astype("f4"),
        skinning_weights_data=columns.data.astype("f4"),
        skinning_weights_indices=columns.indices,
        skinning_weights_indptr=columns.indptr,
        skinning_weights_shape=np.array(columns.shape),
    )
    return root


@pytest.mark.parametrize("lod", ["mid", "low"])
def test_folded_rig(soma, folded_root, lod, record_property):
    torch, layer_type = soma
    layer = layer_type(
        data_root=str(folded_root),
        identity_model_type="soma",
        device="cpu",
        lod=lod,
        correctives_model_path=None,
        enable_procedural_transforms=False,
    )
    with torch.no_grad():
        layer.prepare_identity(torch.zeros(1, 128))
    poses, transl = random_batch(8, 0.4, 15)
    body = SomaBody(load_template_rig(), lod=lod, twist=False)
    ours, theirs = body.pose(body.prepare(), poses, transl), peer_pose(soma, layer, poses, transl)
    assert largest_difference(ours, theirs, record_property) < TOLERANCE
