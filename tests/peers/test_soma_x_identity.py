"""Fitted skeletons and reposed rest shapes beside py-soma-x 0.2.1 and 0.3.4 on the same shape space, to 0.01 mm.

The shape space is strong on purpose: limbs are stretched, widened and turned by several centimetres and degrees, so
that regression, both stages of the alignment and reposing all matter. Deliberate differences:

* Flat or reflected covariances: 0.2.1 negates a column where the best rotation is another one (0.3.4 takes it too).
  Bodies do not get there; ``method="newton-schulz"`` does what 0.2.1 did.
* Normals that stand in for a third direction are scaled exactly; the peer adds 1e-8 to a length in squared units.
* Coincident control points: the peer adds 1e-8 cm to the diagonal of an indefinite kernel, we add 1e-10 of the largest
  entry to a positive definite one.
* ``TopologyTransfer`` scales offsets from a surface with its edges; the peer's default scales them with its area, which
  depends on the unit. ``mode="area"`` is the peer's.
* ``HeadEnd`` and the eyes at mid LOD are regressed from all 5,380 vertices of the head. The peer solves that in
  float32: its weights miss the interpolation conditions by 3e-5 cm and their sum by 2e-6. They get 0.02 mm here; no
  skin hangs on them.
* Mirrored eyes: the peer treats them as limbs, whose frames are reversed from side to side; theirs are parallel.
* A vertex nearest to an edge or corner rides on the triangle that faces it most, the first of several; the peer
  takes one that the vertex lies outside of, among two candidates that rounding picks. One in twenty vertices 4 mm off
  the surface is concerned; under deformations of several centimetres they come out up to 3 mm apart.
"""

import functools
import importlib.metadata
import json
import shutil

import numpy as np
import pytest

from soma_isaac.body.orientations import convert_reference, mirrored_transforms, reference_orientations
from soma_isaac.body.reference_poses import ReferenceCatalog
from soma_isaac.body.repose import Repose
from soma_isaac.body.scales import BONE_SCALE_JOINTS, BONE_SCALE_JOINTS_56, BONE_SCALE_SEGMENTS
from soma_isaac.body.skeleton_fit import SkeletonFit
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected
from soma_isaac.formats.neutral_npz import read_neutral
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS, data_path

pytestmark = pytest.mark.peer

TOLERANCE = 1e-5
IDENTITIES = 50
LODS = ("mid", "low", "xlo")
WIDE_JOINTS = ("HeadEnd", "LeftEye", "RightEye")


@pytest.fixture(scope="module")
def soma():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    pytest.importorskip("soma", reason="py-soma-x is not installed; make peers builds environments that have it")
    from soma import SOMALayer

    torch.set_num_threads(1)
    return torch, SOMALayer


@pytest.fixture(scope="module")
def version(soma):
    return tuple(int(n) for n in importlib.metadata.version("py-soma-x").split("."))


def strong_shape_space(points, rig, seed=3):
    """A mean [V, 3] and directions [K, V, 3] in m: anisotropic scale, stretched and turned limbs, smooth bumps."""
    rng = np.random.default_rng(seed)
    joints = rig.skeleton.bind_T_world_joint[:, :3, 3]
    directions = []
    for axis in range(3):
        field = np.zeros_like(points)
        field[:, axis] = 0.05 * points[:, axis]
        directions.append(field)
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        for name, falloff in (("Arm", 0.06), ("ForeArm", 0.05), ("Hand", 0.03), ("Leg", 0.1), ("Foot", 0.05)):
            joint = joints[rig.skeleton.index(side + name)]
            end = joints[rig.skeleton.index(side + ("ToeEnd" if name in ("Leg", "Foot") else "HandMiddleEnd"))]
            axis = (end - joint) / np.linalg.norm(end - joint)
            along = (points - joint) @ axis
            same_side = 1.0 / (1.0 + np.exp(-sign * points[:, :1] / 0.02))
            share = same_side / (1.0 + np.exp(-along[:, None] / falloff))
            directions.append(0.04 * share * along[:, None] * axis)
            directions.append(share * np.cross(rng.normal(size=3) * 0.08, points - joint))
    for _ in range(8):
        center, width = points[rng.integers(len(points))], rng.uniform(0.08, 0.25)
        bump = np.exp(-((points - center) ** 2).sum(1) / (2 * width**2))
        directions.append(bump[:, None] * rng.normal(size=3) * 0.015)
    directions = np.array(directions)
    return points + 0.5 * np.tensordot(rng.normal(size=len(directions)), directions, 1), directions


@pytest.fixture(scope="module")
def data_root(soma, tmp_path_factory):
    root = tmp_path_factory.mktemp("soma_identity_assets")
    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json"):
        shutil.copy(data_path(name), root / name)
    rig = load_template_rig()
    mid, low = rig.mesh("mid"), rig.mesh("low")
    mean, directions = strong_shape_space(mid.points, rig)
    eigenvalues = np.random.default_rng(4).uniform(0.5, 2.0, size=128)
    shapes = np.zeros((128, mid.points.size), np.float32)
    flat = directions.reshape(len(directions), -1) / np.sqrt(eigenvalues[: len(directions), None])
    shapes[: len(directions)] = flat * 100.0
    joints = rig.skeleton.bind_T_world_joint[:, :3, 3]
    near = {
        name: np.argsort(np.linalg.norm(mid.points - joints[rig.skeleton.index(name)], axis=1))[:80]
        for name in ("LeftEye", "RightEye", "Jaw")
    }
    np.savez(
        root / "SOMA_neutral.npz",
        mean=(mean * 100.0).astype(np.float32),
        shapedirs=shapes,
        eigenvalues=eigenvalues.astype(np.float32),
        triangles=mid.triangles,
        triangles_low=low.triangles,
        lod_mid_to_low=np.arange(low.vertex_count),
        face_vert_indices=mid.face_vertex_indices,
        face_vert_counts=mid.face_vertex_counts,
        segment_eye_bags=np.unique(np.concatenate([near["LeftEye"], near["RightEye"]])),
        segment_mouth_bag=np.sort(near["Jaw"]),
    )
    return root


@functools.cache
def shape_file(data_root):
    with np.load(data_root / "SOMA_neutral.npz", allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def shape_space(data_root, lod):
    """Mean and directions in m of the mesh that identities are delivered in, and its bag vertices."""
    file = shape_file(data_root)
    count = len(file["mean"]) if lod == "mid" else len(file["lod_mid_to_low"])
    directions = file["shapedirs"].reshape(128, -1, 3) * np.sqrt(file["eigenvalues"])[:, None, None]
    bags = np.union1d(file["segment_eye_bags"], file["segment_mouth_bag"])
    return file["mean"][:count] / 100.0, directions[:, :count] / 100.0, bags[bags < count]


def random_coefficients(seed=20):
    return np.random.default_rng(seed).normal(size=(IDENTITIES, 128))


@functools.cache
def peer_layer(soma, data_root, lod):
    return soma[1](
        data_root=str(data_root), identity_model_type="soma", device="cpu", lod=lod, correctives_model_path=None
    )


def peer_identities(soma, data_root, lod, *, repose, **options):
    """Rest shapes and public bind transforms of the peer, in m."""
    torch, layer = soma[0], peer_layer(soma, data_root, lod)
    with torch.no_grad():
        layer.prepare_identity(
            torch.tensor(random_coefficients(), dtype=torch.float32), repose_to_bind_pose=repose, **options
        )
        bind = layer.public_bind_transforms_world(layer._cached_bind_transforms_world)
        return layer._cached_rest_shape.numpy(), bind.numpy()


def points_of(data_root, lod, scale=1.0):
    mean, directions, bags = shape_space(data_root, lod)
    return (mean + np.tensordot(random_coefficients(), directions, 1)) * np.reshape(scale, (-1, 1, 1)), bags


@pytest.mark.parametrize("repose", [True, False], ids=["reposed", "as modelled"])
@pytest.mark.parametrize("lod", LODS)
def test_random_identities(soma, data_root, lod, repose, record_property):
    theirs = peer_identities(soma, data_root, lod, repose=repose)
    points, bags = points_of(data_root, lod)
    assert np.linalg.norm(points - points.mean(axis=0), axis=-1).max() > 0.05
    rig = load_template_rig()
    rest, bind = Repose(rig, lod, excluded_vertices=bags, transfer_mode="area").prepare_rest(points, repose=repose)
    joint_errors = np.linalg.norm(bind[..., :3, 3] - theirs[1][..., :3, 3], axis=-1).max(axis=0)
    wide = np.isin(np.arange(78), [PUBLIC_JOINT_NAMES.index(name) for name in WIDE_JOINTS])
    errors = {
        "vertices": np.linalg.norm(rest - theirs[0], axis=-1).max(),
        "joints": joint_errors[~wide].max(),
        "wide joints": joint_errors[wide].max(),
        "rotations": np.abs(bind[..., :3, :3] - theirs[1][..., :3, :3]).max(),
    }
    for name, error in errors.items():
        record_property(name, f"{error:.3g}")
    assert errors["vertices"] < TOLERANCE and errors["joints"] < TOLERANCE
    # The peer's joints are off by some micrometres, which turns a finger bone of 2 cm by 1e-4.
    assert errors["rotations"] < 3e-4
    assert errors["wide joints"] < (2 * TOLERANCE if lod == "mid" else TOLERANCE)
    # The fit itself must have turned bones, or the comparison shows nothing.
    fitted = (
        bind if not repose else SkeletonFit(rig, "low" if lod == "xlo" else lod, excluded_vertices=bags).fit(points)
    )
    turned = np.abs(fitted[..., :3, :3] - rig.skeleton.bind_T_world_joint[:78, :3, :3])
    assert turned.max() > 0.1


def test_linear_fit_of_the_shape_space(soma, data_root):
    theirs = peer_identities(soma, data_root, "mid", repose=False)[1]
    mean, directions, bags = shape_space(data_root, "mid")
    linear = SkeletonFit(load_template_rig(), "mid", excluded_vertices=bags).linear(mean, directions)
    ours = linear.fit(random_coefficients())
    assert np.linalg.norm(ours[..., :3, 3] - theirs[..., :3, 3], axis=-1).max() < 2 * TOLERANCE
    assert np.abs(ours[..., :3, :3] - theirs[..., :3, :3]).max() < 3e-4


def test_global_scale(soma, data_root):
    scale = np.linspace(0.5, 1.6, IDENTITIES)
    theirs = peer_identities(
        soma, data_root, "low", repose=True, global_scale=soma[0].tensor(scale, dtype=soma[0].float32)
    )
    points, bags = points_of(data_root, "low", scale)
    rest, bind = Repose(load_template_rig(), "low", excluded_vertices=bags).prepare_rest(points)
    np.testing.assert_allclose(rest, theirs[0], atol=TOLERANCE)
    np.testing.assert_allclose(bind[..., :3, 3], theirs[1][..., :3, 3], atol=TOLERANCE)


def test_the_comparison_notices_left_out_exclusions(soma, data_root):
    # Guards the tests above: joints near the bags move by far more than the tolerance.
    theirs = peer_identities(soma, data_root, "low", repose=False)[1]
    points, _ = points_of(data_root, "low")
    bind = SkeletonFit(load_template_rig(), "low").fit(points)
    assert np.linalg.norm(bind[..., :3, 3] - theirs[..., :3, 3], axis=-1).max() > 5 * TOLERANCE


@pytest.mark.parametrize("mode", ["area", "edge"])
def test_topology_transfer(soma, mode, record_property):
    torch = soma[0]
    from soma.geometry.barycentric_interp import BarycentricInterpolator

    rig = load_template_rig()
    source = rig.mesh("low")
    # The xlo vertices lie on the low surface; moved off it, the height above it matters too.
    target = rig.mesh("xlo").points + np.random.default_rng(4).normal(size=(612, 3)) * 0.004
    peer = BarycentricInterpolator(
        *(torch.tensor(array) for array in (source.points, source.triangles, target)), tet_normal_scale=mode
    )
    ours = TopologyTransfer(source.points, source.triangles, target, mode=mode)
    _, directions = strong_shape_space(source.points, rig)
    shapes = source.points + np.tensordot(np.random.default_rng(5).normal(size=(8, len(directions))), directions, 1)
    theirs = peer(torch.tensor(shapes)).numpy()
    error = np.linalg.norm(ours.apply(shapes) - theirs, axis=-1)
    same = np.asarray(peer.face_ids) == ours.faces
    record_property("faces that differ", int((~same).sum()))
    record_property("error on them", f"{error[:, ~same].max(initial=0.0):.3g}")
    assert same.mean() > 0.9 and error[:, same].max() < 1e-6


def test_laplacian_fill(soma):
    torch = soma[0]
    from soma.geometry.laplacian import LaplacianMesh

    from soma_isaac.body.laplacian import LaplacianFill

    rig = load_template_rig()
    mesh = rig.mesh("low")
    eye = rig.skeleton.bind_T_world_joint[rig.skeleton.index("LeftEye"), :3, 3]
    free = np.sort(np.argsort(np.linalg.norm(mesh.points - eye, axis=1))[:60])
    held = np.ones(mesh.vertex_count, dtype=bool)
    held[free] = False
    points = mesh.points * 100.0
    peer = LaplacianMesh(
        torch.tensor(points), torch.tensor(mesh.triangles, dtype=torch.long), torch.tensor(held), constraint_mode="hard"
    )
    _, directions = strong_shape_space(mesh.points, rig)
    shapes = points + 100.0 * np.tensordot(np.random.default_rng(6).normal(size=(3, len(directions))), directions, 1)
    broken = shapes.copy()
    broken[:, free] = 0.0
    theirs = np.stack([np.asarray(peer.solve(torch.tensor(shape))) for shape in broken]).reshape(shapes.shape)
    ours = LaplacianFill(points, mesh.triangles, free).apply(broken)
    assert np.linalg.norm(ours - theirs, axis=-1).max() < 100.0 * TOLERANCE


def test_bone_scale_names(soma, data_root, version):
    layer = peer_layer(soma, data_root, "low")
    names = BONE_SCALE_JOINTS if version >= (0, 3) else BONE_SCALE_JOINTS_56
    assert tuple(layer.scale_param_names) == names
    assert tuple(map(tuple, layer.scale_param_segments)) == BONE_SCALE_SEGMENTS[: len(names)]


def test_mirrored_transforms(soma):
    torch = soma[0]
    from soma.geometry.rig_utils import PoseMirror_SOMA

    transforms = np.tile(np.eye(4), (5, 78, 1, 1))
    rng = np.random.default_rng(8)
    transforms[..., :3, :3] = matrix_from_rotvec(rng.normal(size=(5, 78, 3)))
    transforms[..., :3, 3] = rng.normal(size=(5, 78, 3))
    theirs = PoseMirror_SOMA(list(PUBLIC_JOINT_NAMES))(torch.tensor(transforms, dtype=torch.float32))
    limbs = [joint for joint, name in enumerate(PUBLIC_JOINT_NAMES) if not name.endswith("Eye")]
    np.testing.assert_allclose(mirrored_transforms(transforms)[:, limbs], theirs.numpy()[:, limbs], atol=1e-6)


def test_convert_reference(soma, data_root, version):
    if version < (0, 3):
        pytest.skip("py-soma-x 0.2.1 has no reference poses")
    torch, layer = soma[0], peer_layer(soma, data_root, "low")
    rng = np.random.default_rng(9)
    rotations = matrix_from_rotvec(rng.normal(size=(4, 77, 3)))
    other = reference_orientations()
    other[1:] = other[1:] @ matrix_from_rotvec(rng.normal(size=(77, 3)) * 0.2)
    template = reference_orientations(load_template_rig())
    theirs = layer.convert_reference(torch.tensor(rotations), torch.tensor(other), torch.tensor(template)).numpy()
    np.testing.assert_allclose(convert_reference(rotations, other, template), theirs, atol=1e-6)


def test_reference_pose_history(soma, data_root, version, tmp_path):
    if version < (0, 3):
        pytest.skip("py-soma-x 0.2.1 has no reference poses")
    rng = np.random.default_rng(10)
    versions, digest = ("0.1.0", "0.2.0-rc.1", "0.2.0", "0.10.0"), "ab" * 32
    entries = [
        {"id": f"t_pose_world__v{v}", "data_key": "t_pose_world", "soma_version": v, "aliases": [f"alias{k}"]}
        for k, v in enumerate(versions)
    ]
    entries.append(
        {"id": f"t_pose_world__sha256_{digest}", "data_key": "t_pose_world", "asset_revision": f"sha256:{digest}"}
    )
    contents = {"schema_version": 2, "conventions": {"matrices": "columns"}, "references": entries}
    contents["default_reference_id"] = entries[0]["id"]
    arrays = dict(shape_file(data_root), reference_pose_history_metadata=np.array(json.dumps(contents)))
    for entry in entries:
        rotations = reference_orientations()
        rotations[1:] = rotations[1:] @ matrix_from_rotvec(rng.normal(size=(77, 3)) * 0.1)
        arrays[entry["id"]] = rotations.astype(np.float32)
        arrays[entry["id"] + "__joint_names"] = np.array(PUBLIC_JOINT_NAMES)
        arrays[entry["id"] + "__parent_ids"] = np.maximum(PUBLIC_PARENTS, 0)
    for name in ("SOMA_template_rig.usda", "SOMA_procedural_transforms.json"):
        (tmp_path / name).symlink_to(data_root / name)
    np.savez(tmp_path / "SOMA_neutral.npz", **arrays)
    layer = peer_layer(soma, tmp_path, "low")
    catalog = ReferenceCatalog.of(read_neutral(tmp_path / "SOMA_neutral.npz"))
    selectors = [{"version": v} for v in (*versions, "v0.3.1", "0.9.0-beta", "2.0.0+x")]
    selectors += [{"asset_revision": f"sha256:{digest}"}, {"alias": "alias2"}]
    seen = set()
    for selector in selectors:
        ours = catalog.orientations(**selector)
        np.testing.assert_allclose(ours, layer.get_reference_pose(**selector).numpy(), atol=1e-6)
        seen.add(catalog.find(**selector))
    assert len(seen) == len(entries)
    with pytest.raises(KeyError):
        layer.get_reference_pose(version="0.0.1")
    with pytest.raises(InputRejected):
        catalog.orientations(version="0.0.1")
