import json
import re

import numpy as np
import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdSkel, Vt

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.rig_usd import load_template_rig, read_rig
from soma_isaac.formats.rig_usd_values import nearest_ancestors
from soma_isaac.formats.rig_usd_write import ANIMATION, MESHES, SKELETON, joint_paths, local_transforms, rig_usda
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.rig.mesh import fan_triangles
from soma_isaac.rig.rig import Rig, SkinnedMesh
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, data_path
from tests.cost import instructions, peak_bytes

RIG = data_path("SOMA_template_rig.usda")
SIDECAR = data_path("SOMA_procedural_transforms.json")


def test_template_has_the_published_counts_and_fits_the_repository():
    rig = load_template_rig()
    assert rig.skeleton.joint_count == 110 and rig.skeleton.joint_names[:78] == PUBLIC_JOINT_NAMES
    assert {lod: mesh.vertex_count for lod, mesh in rig.meshes.items()} == {"mid": 18056, "low": 4505, "xlo": 612}
    assert {lod: len(mesh.triangles) for lod, mesh in rig.meshes.items()} == {"mid": 36108, "low": 9006, "xlo": 1220}
    assert set(rig.mesh("mid").face_vertex_counts.tolist()) == {4}
    hips = rig.skeleton.index("Hips")
    np.testing.assert_allclose(rig.skeleton.bind_T_world_joint[hips, :3, 3], [0.0, 0.998041, -0.04945], atol=1e-6)
    np.testing.assert_allclose(rig.skeleton.rest_T_world_joint[hips, :3, 3], [0.0, 1.012054, 0.0], atol=1e-6)
    # the pose network has a limit of its own (tests/learned/test_shipped_network.py)
    assert sum(path.stat().st_size for path in RIG.parent.glob("SOMA_*") if "pose_network" not in path.name) < 12e6


def test_the_template_is_read_once_per_process():
    assert load_template_rig() is load_template_rig()
    assert instructions(load_template_rig) < 100


@pytest.fixture(scope="module")
def stage():
    return Usd.Stage.Open(str(RIG))


@pytest.mark.parametrize("name", ["c_skin_mid", "c_skin_lo", "c_skin_xlo"])
def test_meshes_are_bound_with_extents_and_normals(stage, name):
    prim = stage.GetPrimAtPath(f"{MESHES}/{name}")
    mesh = UsdGeom.Mesh(prim)
    assert prim.HasAPI(UsdSkel.BindingAPI)
    points = np.array(mesh.GetPointsAttr().Get())
    np.testing.assert_array_equal(mesh.GetExtentAttr().Get(), [points.min(axis=0), points.max(axis=0)])
    normals = np.array(mesh.GetNormalsAttr().Get())
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1.0, atol=2e-4)
    # Outward: the farthest vertex along each axis points away along it.
    for axis in range(3):
        assert normals[points[:, axis].argmax(), axis] > 0.2 and normals[points[:, axis].argmin(), axis] < -0.2
    weights = UsdSkel.BindingAPI(prim).GetJointWeightsPrimvar()
    influences = np.array(weights.Get()).reshape(len(points), weights.GetElementSize())
    assert (influences[:, -1] > 0.0).any(), "elementSize is no larger than the mesh needs"


def skinned_by_usd(stage, name):
    root = UsdSkel.Root(stage.GetPrimAtPath("/OUTPUT"))
    cache = UsdSkel.Cache()
    assert cache.Populate(root, Usd.PrimDefaultPredicate)
    skeleton = cache.GetSkelQuery(UsdSkel.Skeleton(stage.GetPrimAtPath(SKELETON)))
    query = cache.GetSkinningQuery(stage.GetPrimAtPath(f"{MESHES}/{name}"))
    assert skeleton and query and skeleton.HasBindPose() and skeleton.HasRestPose()
    assert query.HasJointInfluences()
    transforms = skeleton.ComputeSkinningTransforms(Usd.TimeCode.Default())
    mapper = query.GetJointMapper()
    if mapper and not mapper.IsNull():
        transforms = mapper.RemapTransforms(transforms)
    points = Vt.Vec3fArray(query.GetPrim().GetAttribute("points").Get())
    assert query.ComputeSkinnedPoints(transforms, points, Usd.TimeCode.Default())
    joints = np.swapaxes(np.array(skeleton.ComputeJointSkelTransforms(Usd.TimeCode.Default())), 1, 2)
    return np.array(points), joints


def animate(stage, world_cm, parents):
    local = local_transforms(world_cm, parents)
    matrices = [Gf.Matrix4d(np.ascontiguousarray(matrix.T).tolist()) for matrix in local]
    assert UsdSkel.Animation(stage.GetPrimAtPath(ANIMATION)).SetTransforms(Vt.Matrix4dArray(matrices))


def in_cm(transforms):
    scaled = transforms.copy()
    scaled[:, :3, 3] *= 100.0
    return scaled


@pytest.fixture
def session_stage():
    layer = Sdf.Layer.CreateAnonymous(".usda")
    layer.subLayerPaths = [str(RIG)]
    return Usd.Stage.Open(layer)


@pytest.mark.parametrize(("name", "lod"), [("c_skin_mid", "mid"), ("c_skin_lo", "low"), ("c_skin_xlo", "xlo")])
def test_usdskel_reproduces_the_mesh_at_the_bind_pose(session_stage, name, lod):
    rig = load_template_rig()
    animate(session_stage, in_cm(rig.skeleton.bind_T_world_joint), rig.skeleton.parent_indices)
    points, joints = skinned_by_usd(session_stage, name)
    np.testing.assert_allclose(points, rig.mesh(lod).points * 100.0, atol=1e-3)
    np.testing.assert_allclose(joints, in_cm(rig.skeleton.bind_T_world_joint), atol=1e-4)


def test_usdskel_animates_as_our_kinematics(session_stage):
    rig = load_template_rig()
    skeleton, mesh = rig.skeleton, rig.mesh("mid")
    random = np.random.default_rng(5)
    local = local_transforms(in_cm(skeleton.rest_T_world_joint), skeleton.parent_indices)
    local[:, :3, :3] = local[:, :3, :3] @ matrix_from_rotvec(random.normal(0.0, 0.3, (110, 3)))
    world = local.copy()
    for joint, parent in enumerate(skeleton.parent_indices):
        if parent >= 0:
            world[joint] = world[parent] @ local[joint]
    animate(session_stage, world, skeleton.parent_indices)
    points, joints = skinned_by_usd(session_stage, "c_skin_mid")
    np.testing.assert_allclose(joints, world, atol=1e-3)
    skin = world @ np.linalg.inv(in_cm(skeleton.bind_T_world_joint))
    homogeneous = np.concatenate([mesh.points * 100.0, np.ones((mesh.vertex_count, 1))], axis=1)
    moved = np.einsum("vkab,vb->vka", skin[mesh.joint_indices], homogeneous)[..., :3]
    np.testing.assert_allclose(points, np.einsum("vk,vka->va", mesh.joint_weights, moved), atol=2e-3)


def test_the_stage_shows_the_t_pose_and_one_skin(stage):
    joints = skinned_by_usd(stage, "c_skin_mid")[1]
    np.testing.assert_allclose(joints, in_cm(load_template_rig().skeleton.rest_T_world_joint), atol=1e-4)
    shown = [
        prim.GetName()
        for prim in stage.Traverse()
        if prim.IsA(UsdGeom.Mesh) and UsdGeom.Imageable(prim).ComputeVisibility() != "invisible"
    ]
    assert shown == ["c_skin_mid"]
    uv = UsdGeom.PrimvarsAPI(stage.GetPrimAtPath(f"{MESHES}/c_skin_lo")).GetPrimvar("st")
    assert len(uv.ComputeFlattened()) == len(load_template_rig().mesh("low").face_vertex_indices)


# -- Other people's files: a small body in the layouts of nvidia/soma-x ------------------------------------------------


def small_rig():
    """The template's skeleton with a box of eight vertices for a body."""
    rig = load_template_rig()
    points = np.array([[x, y, z] for x in (-0.2, 0.2) for y in (0.0, 1.7) for z in (-0.1, 0.1)])
    faces = np.array([0, 1, 3, 2, 4, 6, 7, 5, 0, 4, 5, 1, 2, 3, 7, 6, 0, 2, 6, 4, 1, 5, 7, 3])
    counts = np.full(6, 4)
    weights = np.tile([0.75, 0.25], (8, 1))
    joints = np.tile([1, 109], (8, 1))
    triangles = fan_triangles(counts, faces)
    mesh = SkinnedMesh("c_skin_mid", points, counts, faces, triangles, joints, weights)
    return Rig(rig.skeleton, PUBLIC_JOINT_NAMES, rig.twist, {"mid": mesh}, "0" * 64)


@pytest.fixture(scope="module")
def small_text():
    return rig_usda(small_rig(), {}, "a small body")


@pytest.fixture
def write(tmp_path):
    def write(text, name="rig.usda"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_written_rig_reads_back(write, small_text):
    rig = read_rig(write(small_text), SIDECAR)
    expected = small_rig()
    np.testing.assert_allclose(rig.mesh("mid").points, expected.mesh("mid").points, atol=1e-8)
    np.testing.assert_array_equal(rig.mesh("mid").joint_indices, expected.mesh("mid").joint_indices)
    np.testing.assert_allclose(rig.skeleton.rest_T_world_joint, expected.skeleton.rest_T_world_joint, atol=1e-12)
    assert rig.twist == expected.twist and len(rig.mesh("mid").triangles) == 12


def test_reading_does_nothing_vertex_by_vertex(write, small_text):
    box, template = write(small_text), load_template_rig()
    read_rig(box, SIDECAR)
    vertices = sum(mesh.vertex_count for mesh in template.meshes.values())
    extra = instructions(lambda: read_rig(RIG, SIDECAR)) - instructions(lambda: read_rig(box, SIDECAR))
    assert 0 < extra < vertices  # a loop over vertices takes several instructions for each
    assert peak_bytes(lambda: read_rig(RIG, SIDECAR)) < 8 * RIG.stat().st_size


def test_ancestors_are_the_longest_listed_paths_above():
    paths = ["b/c", "b", "b/c/d/e", "b.c", "b/cd", "a/x", "b/c/d/e/f", "/b/c", "/b", "bb/c"]
    assert nearest_ancestors(paths) == [1, -1, 0, -1, 1, -1, 2, 8, -1, -1]
    for count in (1000, 100_000):  # cut part by part, the second takes minutes
        assert instructions(lambda: nearest_ancestors(["a" + "/a" * count])) < 1000  # noqa: B023 - called at once


def test_the_sidecar_beside_the_file_is_found(write, small_text, tmp_path):
    path = write(small_text)
    assert read_rig(path).twist is None
    (tmp_path / SIDECAR.name).write_bytes(SIDECAR.read_bytes())
    assert read_rig(path).twist is not None
    assert read_rig(path).digest != read_rig(path, write(SIDECAR.read_text() + " ", "x.json")).digest


def v0026_stage(path):
    """122 joints as in the v0.2.1 file: twelve more helpers, helpers between public joints, a mesh with own joints."""
    rig = load_template_rig()
    names = list(rig.skeleton.joint_names)
    paths = dict(zip(names, joint_paths(rig.skeleton), strict=True))
    bind = dict(zip(names, in_cm(rig.skeleton.bind_T_world_joint), strict=True))
    rest = dict(zip(names, in_cm(rig.skeleton.rest_T_world_joint), strict=True))
    for number in range(12):
        parent = names[1 + 5 * number]
        name = f"helper{number}"
        paths[name] = f"{paths[parent]}/{name}"
        bind[name], rest[name] = bind[parent], rest[parent]
    order = sorted(paths, key=lambda name: paths[name])  # depth first: parents stand before children
    joints = [paths[name] for name in order]
    parents = np.array([joints.index(p.rsplit("/", 1)[0]) if "/" in p else -1 for p in joints])
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, "Y")
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    UsdSkel.Root.Define(stage, "/OUTPUT")
    skeleton = UsdSkel.Skeleton.Define(stage, SKELETON)
    skeleton.CreateJointsAttr(joints)
    to_rows = lambda world: [Gf.Matrix4d(np.ascontiguousarray(m.T).tolist()) for m in world]
    skeleton.CreateBindTransformsAttr(to_rows([bind[name] for name in order]))
    skeleton.CreateRestTransformsAttr(to_rows(local_transforms(np.array([rest[n] for n in order]), parents)))
    for name, height in (
        ("c_bodyRig_mid", 170.0),
        ("body_extra_low", 165.0),
        ("garment_low", 1.0),
        ("skin_low_v2", 160.0),
    ):
        mesh = UsdGeom.Mesh.Define(stage, f"{MESHES}/{name}")
        mesh.CreatePointsAttr([(0, 0, 0), (10, 0, 0), (0, height, 0), (5, 10, 5), (2, 3, 4)])
        mesh.CreateFaceVertexCountsAttr([5, 3])
        mesh.CreateFaceVertexIndicesAttr([0, 1, 2, 3, 4, 0, 2, 1])
        binding = UsdSkel.BindingAPI.Apply(mesh.GetPrim())
        binding.CreateJointsAttr([paths["LeftArmTwist2"], "Root/nobody", paths["Hips"]])
        binding.CreateJointIndicesPrimvar(False, 4).Set([0, 2, 2, 1] * 4 + [0, 7, -1, 2])
        binding.CreateJointWeightsPrimvar(False, 4).Set([0.5, 0.25, 0.125, 0.125] * 4 + [0.0, 0.5, 0.5, -1.0])
    stage.GetRootLayer().Save()
    return order


def test_reads_the_layout_of_v0026(tmp_path):
    order = v0026_stage(tmp_path / "rig.usda")
    rig = read_rig(tmp_path / "rig.usda", SIDECAR)
    assert rig.skeleton.joint_names == tuple(order) and rig.skeleton.joint_count == 122
    template = load_template_rig().skeleton
    for pose in ("bind_T_world_joint", "rest_T_world_joint"):
        mine, theirs = getattr(rig.skeleton, pose), getattr(template, pose)
        rows = [rig.skeleton.index(name) for name in template.joint_names]
        np.testing.assert_allclose(mine[rows], theirs, atol=1e-9)
    assert {lod: mesh.name for lod, mesh in rig.meshes.items()} == {
        "mid": "c_bodyRig_mid",
        "low": "skin_low_v2",
        "xlo": "body_extra_low",
    }
    mesh = rig.mesh("mid")
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 2, 1]]
    # 0.5 on the helper; 0.25 + 0.125 on Hips summed; what points nowhere is dropped and rows are not scaled back.
    twist, hips = rig.skeleton.index("LeftArmTwist2"), rig.skeleton.index("Hips")
    assert mesh.joint_indices[:4].tolist() == [[twist, hips]] * 4
    np.testing.assert_allclose(mesh.joint_weights, [[0.5, 0.375]] * 4 + [[0.0, 0.0]])


REFUSED = {
    "up axis": (r'upAxis = "Y"', 'upAxis = "Z"', "up axis is 'Z'"),
    "metres": ("metersPerUnit = 0.01", "metersPerUnit = 1", "170 m tall"),
    "unit": ("metersPerUnit = 0.01", "metersPerUnit = -1", "metersPerUnit is -1.0"),
    "no rest": (r"uniform matrix4d\[\] restTransforms", "uniform matrix4d[] otherTransforms", "has no restTransforms"),
    "no bind": (r"uniform matrix4d\[\] bindTransforms", "uniform matrix4d[] otherTransforms", "has no bindTransforms"),
    "rest count": (
        r"restTransforms = \[[^)]*\)[^)]*\)[^)]*\)[^)]*\) \),",
        "restTransforms = [",
        "109 restTransforms for 110",
    ),
    "bind scale": (r"bindTransforms = \[\( \(1, 0", "bindTransforms = [( (2, 0", "not a rotation matrix at index"),
    "joint name": (
        "Root/Hips/Spine1/Spine2/Chest/Neck1/Neck2/Head/Jaw",
        "Root/Hips/Spine1/Spine2/Chest/Neck1/Neck2/Head/Chin",
        "lacks the public joints Jaw",
    ),
    "joint parent": ('"Root/Hips/LeftLeg"', '"Root/LeftLeg"', "the parent of LeftLeg is Root, expected Hips"),
    "order": ('"Root", "Root/Hips"', '"Root/Hips", "Root"', "the first joint must be the only root"),
    "twice": ("Head/LeftEye", "Head/Jaw", "'Jaw' occurs more than once"),
    "geom bind": (r"geomBindTransform = \( \(1, 0", "geomBindTransform = ( (1, 0.5", "geomBindTransform that is not"),
    "no skin": ("primvars:skel:jointWeights", "primvars:skel:other", "no skinned mesh is the mid level"),
    "skin size": (r"jointWeights = \[0.75, 0.25, ", "jointWeights = [", "holds 14 values, expected 8 vertices times 2"),
    "interpolation": ('interpolation = "vertex"', 'interpolation = "constant"', "expected 'vertex'"),
    "face index": (r"faceVertexIndices = \[0,", "faceVertexIndices = [8,", "face index is outside"),
    "face count": (r"faceVertexCounts = \[4,", "faceVertexCounts = [5,", "face vertex counts sum to 25"),
    "no points": (r"point3f\[\] points", "point3f[] other", "no default value of points"),
    "skeleton": ("def Skeleton", "def Xform", "no Skeleton prim"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refuses_with_a_reason_and_the_files_name(write, small_text, case):
    pattern, replacement, reason = REFUSED[case]
    text, count = re.subn(pattern, lambda _: replacement, small_text)
    assert count, "the case does not touch the file"
    path = write(text)
    with pytest.raises((RigMismatch, InputRejected)) as caught:
        read_rig(path, SIDECAR)
    assert reason in str(caught.value) and str(path) in str(caught.value)


def test_foreign_layers_are_never_opened(write, small_text, tmp_path):
    secret = write('#usda 1.0\ndef Skeleton "secret" { uniform token[] joints = ["a"] }', "secret.usda")
    arcs = f'#usda 1.0\n(subLayers = [@{secret}@])\ndef "x" (\n references = @{secret}@\n payload = @{secret}@\n) {{}}'
    with pytest.raises(RigMismatch, match="no Skeleton prim"):
        read_rig(write(arcs))


@pytest.mark.parametrize("content", [b"", b"PXR-USDC\0\0", b"#usda 1.0\n\xff\xfe", b"#usda 1.0\ndef {", b"PK\x03\x04"])
def test_other_bytes_are_refused(tmp_path, content):
    path = tmp_path / "rig.usda"
    path.write_bytes(content)
    with pytest.raises(InputRejected, match=re.escape(str(path))):
        read_rig(path)
    with pytest.raises(InputRejected, match="cannot be read"):
        read_rig(tmp_path / "absent.usda")


def test_truncated_files_are_refused(write, small_text):
    text = small_text[: small_text.rindex("primvars:skel:jointWeights")]
    for end in np.linspace(20, len(text), 40).astype(int):
        with pytest.raises((InputRejected, RigMismatch)):
            read_rig(write(text[:end]))


def test_sidecar_must_fit_the_skeleton(write, small_text):
    record = json.loads(SIDECAR.read_text().replace("LeftArmTwist1", "LeftArmBend1"))
    with pytest.raises(RigMismatch, match="LeftArmBend1"):
        read_rig(write(small_text), write(json.dumps(record), "sidecar.json"))
    record = json.loads(SIDECAR.read_text())
    record["public_rig_derivation"]["main_joint_names"][10:12] = ["RightEye", "LeftEye"]
    with pytest.raises(RigMismatch, match="main_joint_names"):
        read_rig(write(small_text), write(json.dumps(record), "sidecar.json"))


NAMES = (
    "joints",
    "bindTransforms",
    "restTransforms",
    "points",
    "faceVertexCounts",
    "faceVertexIndices",
    "primvars:skel:jointIndices",
    "primvars:skel:jointWeights",
    "primvars:skel:geomBindTransform",
    "skel:joints",
)
OTHER_VALUES = (
    "int {} = 5",
    'string {} = "x"',
    "float[] {} = [1, 2]",
    'token[] {} = ["a", "b"]',
    "asset[] {} = [@x@]",
    "point3f[] {} = [(nan, 1, 2)]",
    "int[] {} = None",
    "int[] {}",
    "matrix2d[] {} = [((1, 2), (3, 4))]",
    "double[] {} = [1e300, 1]",
    "float[] {}.timeSamples = {{ 0: [1, 2] }}",
)


@pytest.mark.parametrize("name", NAMES)
def test_values_of_another_type_are_refused_or_do_not_matter(write, small_text, name):
    lines = small_text.split("\n")
    pattern = re.compile(rf"\s*(uniform )?[\w\[\]]+ {re.escape(name)} = ")
    for other in OTHER_VALUES:
        # skel:joints is not in the file: it goes before an attribute of the mesh.
        changed = [
            other.format(name) + (" (" if line.endswith("(") else "") if pattern.match(line) else line for line in lines
        ]
        if changed == lines:
            at = next(number for number, line in enumerate(lines) if "subdivisionScheme" in line)
            changed = [*lines[:at], other.format(name), *lines[at:]]
        try:
            read_rig(write("\n".join(changed)))
        except (RigMismatch, InputRejected):
            continue
        assert name.endswith(("geomBindTransform", "skel:joints")), (name, other)


@pytest.mark.parametrize("brackets", ["{}", "()", "[]"])
def test_deep_nesting_does_not_reach_the_native_parser(write, brackets):
    deep = "#usda 1.0\n" + 'def Xform "a" '.join([brackets[0]] * 50_000) + brackets[1] * 50_000
    with pytest.raises(InputRejected, match="nests deeper"):
        read_rig(write(deep))
