"""The complete layer on the plain Warp path: identities, scales, units, reference poses, joints only, streams."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.orientations import convert_reference, mirrored_points, mirrored_rotations, reference_orientations
from soma_isaac.errors import InputRejected

NAMES = ("vertices", "joints", "transforms")


@pytest.fixture(scope="module", params=["mid", "low", "xlo"])
def layer(rig, request):
    return SomaLayer(rig, "soma", lod=request.param, threads=1)


def coefficients(layer, count, seed=0):
    return np.random.default_rng(seed).normal(size=(count, layer.identity_model.spec.coefficients.count))


def arrays(pose):
    return {name: getattr(pose, name).numpy().astype(np.float64) for name in NAMES}


@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
def test_the_template_is_the_rig(rig, lod, bind_pose):
    layer = SomaLayer(rig, lod=lod)
    layer.prepare_identity()
    rotations, place = bind_pose
    pose = layer.pose(rotations, place, absolute=True)
    np.testing.assert_allclose(pose.vertices.numpy()[0], rig.mesh(lod).points, atol=2e-6)
    np.testing.assert_allclose(pose.transforms.numpy()[0, 1:], rig.skeleton.bind_T_world_joint[1:78], atol=2e-6)


def test_the_bind_pose_gives_back_the_rest_shape_of_any_body(layer, bind_pose):
    identity = layer.prepare_identity(coefficients(layer, 2))
    place = identity.bind_T_world_joint[:, 1, :3, 3]
    pose = layer.pose(bind_pose[0], place, absolute=True)
    np.testing.assert_allclose(pose.vertices.numpy(), identity.rest_points, atol=3e-6)


def test_zero_pose_is_the_t_pose(layer, rig):
    layer.prepare_identity(coefficients(layer, 3))
    transforms = layer.pose(np.zeros((1, 77, 3))).transforms.numpy()
    expected = np.broadcast_to(rig.skeleton.rest_T_world_joint[1:78, :3, :3], (3, 77, 3, 3))
    np.testing.assert_allclose(transforms[:, 1:, :3, :3], expected, atol=2e-6)


@pytest.mark.parametrize(("identities", "poses"), [(1, 1), (1, 3), (3, 1), (3, 3)])
def test_identities_and_poses_combine(layer, random_poses, identities, poses):
    values = coefficients(layer, identities, 1)
    scales = np.random.default_rng(2).uniform(0.8, 1.2, size=(identities, 60))
    rotvecs, _, transl = random_poses(poses, seed=3)
    together = layer.prepare_identity(values, scales, global_scale=np.linspace(0.9, 1.1, identities))
    assert together.count == identities
    batch = arrays(layer.pose(rotvecs, transl[:1], identity=together))
    for row in range(max(identities, poses)):
        one, pose = row % identities, row % poses
        layer.prepare_identity(
            values[one, None], scales[one, None], global_scale=np.linspace(0.9, 1.1, identities)[one]
        )
        alone = arrays(layer.pose(rotvecs[pose, None], transl[:1]))
        for name in NAMES:
            np.testing.assert_allclose(batch[name][row], alone[name][0], atol=5e-6)


def test_one_shape_takes_many_bone_scales(layer, random_poses):
    values = coefficients(layer, 1, 4)
    scales = np.random.default_rng(5).uniform(0.8, 1.2, size=(3, 60))
    rotvecs, _, _ = random_poses(1, seed=6)
    identity = layer.prepare_identity(values, scales)
    assert identity.count == 3
    batch = layer.pose(rotvecs).vertices.numpy()
    for row in range(3):
        layer.prepare_identity(values, scales[row, None])
        np.testing.assert_array_equal(layer.pose(rotvecs).vertices.numpy()[0], batch[row])


def test_bone_scales_stretch_bones_by_their_factor(layer, random_poses):
    rotvecs, _, _ = random_poses(1, seed=7)
    scales = np.ones((1, 60))
    scales[0, 1] = 1.5  # LeftForeArm: the upper arm
    layer.prepare_identity(coefficients(layer, 1))
    plain = layer.pose(rotvecs).joints.numpy()[0]
    layer.prepare_identity(coefficients(layer, 1), scales)
    stretched = layer.pose(rotvecs).joints.numpy()[0]
    bones = [np.linalg.norm(joints[13] - joints[12]) for joints in (stretched, plain)]
    assert bones[0] / bones[1] == pytest.approx(1.5, rel=1e-5)
    np.testing.assert_array_equal(stretched[:13], plain[:13])


@pytest.mark.parametrize(("unit", "factor"), [("cm", 100.0), ("mm", 1000.0)])
def test_units_change_numbers_only(rig, random_poses, unit, factor):
    metres, other = (SomaLayer(rig, "soma", lod="low", output_unit=name) for name in ("m", unit))
    values, (rotvecs, _, transl) = coefficients(metres, 2), random_poses(2, seed=8)
    scales = np.full((2, 56), 1.1)
    results = []
    for layer, place in ((metres, transl), (other, transl * factor)):
        layer.prepare_identity(values, scales, global_scale=1.2)
        results.append(arrays(layer.pose(rotvecs, place)))
    np.testing.assert_allclose(results[1]["vertices"], factor * results[0]["vertices"], atol=factor * 3e-6)
    np.testing.assert_allclose(results[1]["joints"], factor * results[0]["joints"], atol=factor * 3e-6)


def test_global_scale_scales_the_whole_body(layer, random_poses):
    rotvecs, _, _ = random_poses(2, seed=9)
    layer.prepare_identity(coefficients(layer, 1))
    plain = arrays(layer.pose(rotvecs))
    layer.prepare_identity(coefficients(layer, 1), global_scale=1.3)
    np.testing.assert_allclose(arrays(layer.pose(rotvecs))["vertices"], 1.3 * plain["vertices"], atol=5e-6)


def test_turning_the_hips_turns_the_body(layer, random_poses):
    rotvecs, matrices, transl = random_poses(2, seed=10)
    layer.prepare_identity(coefficients(layer, 1))
    turn = Rotation.from_rotvec([0.3, -1.2, 0.7]).as_matrix()
    turned = matrices.copy()
    turned[:, 0] = turn @ matrices[:, 0]
    plain, moved = arrays(layer.pose(matrices, transl)), arrays(layer.pose(turned, transl @ turn.T + 0.5))
    np.testing.assert_allclose(moved["vertices"], plain["vertices"] @ turn.T + 0.5, atol=1e-5)


def test_the_mirror_image_of_a_pose_is_the_pose_of_the_mirror_image(rig, random_poses):
    layer = SomaLayer(rig, lod="low")
    layer.prepare_identity()
    _, matrices, transl = random_poses(2, spread=0.3, seed=11)
    plain = layer.pose(matrices, transl).joints.numpy()
    mirrored = layer.pose(mirrored_rotations(matrices), mirrored_points(transl)).joints.numpy()
    twins = [
        layer.joint_names.index(name.replace("Left", "*").replace("Right", "Left").replace("*", "Right")) - 1
        for name in layer.joint_names[1:]
    ]
    # The template's joints are symmetric to a tenth of a millimetre.
    np.testing.assert_allclose(mirrored, mirrored_points(plain[:, twins]), atol=2e-4)


def test_reference_poses_say_the_same_in_another_way(rig, random_poses):
    _, matrices, transl = random_poses(2, seed=12)
    other = reference_orientations(rig)
    other[1:] = other[1:] @ Rotation.from_rotvec(np.random.default_rng(13).normal(scale=0.3, size=(77, 3))).as_matrix()
    converted = convert_reference(matrices, reference_orientations(rig), other)
    plain, fixed = SomaLayer(rig, "soma", lod="low"), SomaLayer(rig, "soma", lod="low", reference_pose=other)
    for layer in (plain, fixed):
        layer.prepare_identity(coefficients(layer, 1))
    expected = arrays(plain.pose(matrices, transl))
    for found in (plain.pose(converted, transl, reference_pose=other), fixed.pose(converted, transl)):
        np.testing.assert_allclose(arrays(found)["vertices"], expected["vertices"], atol=1e-5)
    with pytest.raises(InputRejected, match="absolute"):
        plain.pose(matrices, reference_pose=other, absolute=True)


def test_joints_only(layer, random_poses):
    rotvecs, _, transl = random_poses(3, seed=14)
    layer.prepare_identity(coefficients(layer, 1))
    full, joints = layer.pose(rotvecs, transl), layer.pose(rotvecs, transl, fk_only=True)
    assert joints.vertices.numpy().shape == (3, 0, 3)
    np.testing.assert_array_equal(joints.transforms.numpy(), full.transforms.numpy())
    again = layer.allocate(3, fk_only=True)
    np.testing.assert_array_equal(
        layer.pose(rotvecs, transl, fk_only=True, out=again).joints.numpy(), full.joints.numpy()
    )


def test_meshes_of_any_origin(layer, random_poses):
    rotvecs, _, _ = random_poses(2, seed=15)
    values = coefficients(layer, 2)
    layer.prepare_identity(values, global_scale=1.1)
    expected = layer.pose(rotvecs).vertices.numpy()
    layer.prepare_shape(layer.identity_model.rest_points(values), global_scale=1.1)
    np.testing.assert_allclose(layer.pose(rotvecs).vertices.numpy(), expected, atol=1e-5)


def test_a_stream_is_the_poses_one_after_the_other_in_bounded_memory(rig, random_poses):
    layer = SomaLayer(rig, "soma", lod="xlo")
    layer.prepare_identity(coefficients(layer, 1))
    rotvecs, _, transl = random_poses(70, seed=16)
    expected = layer.pose(rotvecs, transl).vertices.numpy()
    seen, addresses = [], set()
    for rows, pose in layer.stream(rotvecs, transl, chunk=32):
        seen.append(pose.vertices.numpy().copy())
        addresses.add(pose.vertices.ptr)
        np.testing.assert_array_equal(seen[-1], expected[rows])
    assert sum(map(len, seen)) == 70 and len(addresses) == 2


def test_ten_thousand_poses_stream_in_bounded_memory():
    code = (
        "import resource, numpy as np\n"
        "from soma_isaac.body.layer import SomaLayer\n"
        "layer = SomaLayer(lod='low', threads=1)\n"
        "layer.prepare_identity()\n"
        "poses = np.zeros((10_000, 77, 3), np.float32)\n"
        "for rows, pose in layer.stream(poses[:256]): pass\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "count = sum(rows.stop - rows.start for rows, pose in layer.stream(poses))\n"
        "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    count, grown_kilobytes = map(int, done.stdout.splitlines()[-1].split())
    assert count == 10_000
    assert grown_kilobytes < 24_000  # all the vertices together would be 540 MB


def test_inference_loads_no_torch():
    code = (
        "import sys, numpy as np\n"
        "from soma_isaac.body.layer import SomaLayer\n"
        "layer = SomaLayer(identity='soma', lod='xlo')\n"
        "layer.prepare_identity(global_scale=1.1)\n"
        "layer.pose(np.zeros((2, 77, 3)))\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_what_does_not_fit_is_refused_with_a_reason(rig):
    template, shaped = SomaLayer(rig, lod="xlo"), SomaLayer(rig, "soma", lod="xlo")
    with pytest.raises(InputRejected, match="no identity is prepared"):
        template.pose(np.zeros((1, 77, 3)))
    with pytest.raises(InputRejected, match="no output_unit 'inch'"):
        SomaLayer(rig, output_unit="inch")
    with pytest.raises(InputRejected, match="no identity model 'ape'"):
        SomaLayer(rig, "ape")
    with pytest.raises(InputRejected, match="the template identity has no coefficients"):
        template.prepare_identity(np.zeros((1, 3)))
    with pytest.raises(InputRejected, match="bone scales have shape"):
        template.prepare_identity(None, np.ones((1, 59)))
    with pytest.raises(InputRejected, match="give one of them"):
        template.prepare_identity(None, np.ones((1, 60)), bone_scales=np.ones((1, 60)))
    with pytest.raises(InputRejected, match="2 rows of joint_scales do not fit 3 identities"):
        shaped.prepare_identity(coefficients(shaped, 3), np.ones((2, 60)))
    with pytest.raises(InputRejected, match="points"):
        shaped.prepare_shape(np.zeros((1, 612, 3)))
    shaped.prepare_identity(coefficients(shaped, 3))
    with pytest.raises(InputRejected, match="a stream poses one identity, 3 are prepared"):
        next(shaped.stream(np.zeros((4, 77, 3))))
