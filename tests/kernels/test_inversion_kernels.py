import importlib

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.errors import InputRejected
from soma_isaac.kernels.inversion_kinematics import (
    channel_angle,
    channel_gradient,
    left_jacobian_inverse,
    rotation_about,
    rotation_vector,
)
from soma_isaac.kernels.inversion_moments import (
    NodeEntries,
    PairEntries,
    launch_levers,
    launch_moments,
    launch_pair_sums,
)

KERNELS = {
    "inversion_moments": {"levers_kernel", "moments_kernel", "pair_sums_kernel"},
    "inversion_start": {"turns_kernel", "locals_kernel", "rotations_kernel", "affine_kernel", "origins_kernel"},
    "inversion_solve": {"solve_kernel"},
}


@wp.kernel
def rotation_kernel(
    vectors: wp.array(dtype=wp.vec3d),
    turns_out: wp.array(dtype=wp.mat33d),
    vectors_out: wp.array(dtype=wp.vec3d),
    jacobians_out: wp.array(dtype=wp.mat33d),
):
    row = wp.tid()
    turns_out[row] = rotation_about(vectors[row])
    vectors_out[row] = rotation_vector(turns_out[row])
    jacobians_out[row] = left_jacobian_inverse(vectors[row])


@wp.kernel
def channel_kernel(
    rotations: wp.array(dtype=wp.mat33d),
    method: int,
    axis: int,
    angles_out: wp.array(dtype=wp.float64),
    gradients_out: wp.array(dtype=wp.vec3d),
):
    row = wp.tid()
    angles_out[row] = channel_angle(rotations[row], method, axis)
    gradients_out[row] = channel_gradient(rotations[row], method, axis)


def rotations_of(vectors):
    turns = wp.empty(len(vectors), dtype=wp.mat33d)
    back = wp.empty(len(vectors), dtype=wp.vec3d)
    jacobians = wp.empty(len(vectors), dtype=wp.mat33d)
    given = wp.array(vectors, dtype=wp.vec3d)
    wp.launch(rotation_kernel, dim=len(vectors), inputs=[given], outputs=[turns, back, jacobians])
    return turns.numpy(), back.numpy(), jacobians.numpy()


def test_rotations_and_logarithms():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40, 3))
    vectors *= (np.geomspace(1e-9, 3.14159, 40) / np.linalg.norm(vectors, axis=1))[:, None]
    turns, back, jacobians = rotations_of(vectors)
    np.testing.assert_allclose(turns, Rotation.from_rotvec(vectors).as_matrix(), atol=1e-12)
    np.testing.assert_allclose(back, vectors, atol=1e-10)
    step = 1e-6
    for axis in range(3):
        small = Rotation.from_rotvec(step * np.eye(3)[axis])
        sides = [(s * Rotation.from_rotvec(vectors[:-1])).as_rotvec() for s in (small, small.inv())]
        np.testing.assert_allclose(jacobians[:-1, :, axis], (sides[0] - sides[1]) / (2.0 * step), atol=1e-5)


@pytest.mark.parametrize("method", [0, 1], ids=["euler", "twist"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_channel_gradients(method, axis):
    rng = np.random.default_rng(1)
    vectors = rng.normal(scale=0.7, size=(30, 3))
    step = 1e-6

    def channel(rotations):
        angles = wp.empty(len(vectors), dtype=wp.float64)
        gradients = wp.empty(len(vectors), dtype=wp.vec3d)
        given = wp.array(rotations.as_matrix(), dtype=wp.mat33d)
        wp.launch(channel_kernel, dim=len(vectors), inputs=[given, method, axis], outputs=[angles, gradients])
        return angles.numpy(), gradients.numpy()

    rotations = Rotation.from_rotvec(vectors)
    _, gradients = channel(rotations)
    for direction in range(3):
        small = Rotation.from_rotvec(step * np.eye(3)[direction])
        change = channel(small * rotations)[0] - channel(small.inv() * rotations)[0]
        np.testing.assert_allclose(gradients[:, direction], change / (2.0 * step), atol=1e-6)


@pytest.fixture(scope="module")
def skin():
    """Three joints on nine vertices, every vertex with every joint."""
    rng = np.random.default_rng(2)
    weights = rng.dirichlet(np.ones(3), size=9).astype(np.float32)
    ints = lambda values: wp.array(np.asarray(values, dtype=np.int32), dtype=wp.int32)
    pairs = [(a, b) for a in range(3) for b in range(a, 3)]
    products = np.concatenate([weights[:, a] * weights[:, b] for a, b in pairs])
    nodes = NodeEntries(
        ints([0, 9, 18, 27]), ints(np.tile(np.arange(9), 3)), wp.array(weights.T.ravel(), dtype=wp.float32)
    )
    shared = PairEntries(
        ints(np.arange(7) * 9),
        ints(np.tile(np.arange(9), 6)),
        wp.array(products, dtype=wp.float32),
        ints([a for a, _ in pairs]),
        ints([b for _, b in pairs]),
    )
    return weights.astype(float), nodes, shared, pairs


def test_sums_and_moments_against_loops(skin):
    weights, nodes, shared, pairs = skin
    rng = np.random.default_rng(3)
    points, targets = rng.normal(size=(2, 9, 3)), rng.normal(size=(2, 9, 3))
    centres, origins = rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3))
    counted = rng.uniform(size=(1, 9))
    counted[0, 4] = 0.0
    arrays = {
        "points": wp.array(points, dtype=wp.vec3),
        "centres": wp.array(centres, dtype=wp.vec3),
        "vertex_weights": wp.array(counted, dtype=wp.float32),
    }
    levers = wp.zeros((2, 27), dtype=wp.vec4)
    launch_levers(nodes, **arrays, levers_out=levers)
    moments = wp.zeros((2, 3, 12), dtype=wp.float64)
    launch_moments(
        nodes,
        levers=levers,
        targets=wp.array(targets, dtype=wp.vec3),
        origins=wp.array(origins, dtype=wp.vec3),
        moments_out=moments,
    )
    sums = wp.zeros((2, 6), dtype=wp.mat44d)
    launch_pair_sums(shared, **arrays, sums_out=sums)
    for row in range(2):
        levers = np.ones((3, 9, 4))
        levers[:, :, :3] = points[row] - centres[row][:, None]
        share = weights * counted[0][:, None]
        seen = targets[row] - origins[row]
        for joint in range(3):
            expected = np.einsum("v,va,vb->ab", share[:, joint], seen, levers[joint])
            np.testing.assert_allclose(moments.numpy()[row][:, 4 * joint : 4 * joint + 4], expected, atol=2e-6)
        for pair, (a, b) in enumerate(pairs):
            expected = np.einsum("v,vi,vj->ij", share[:, a] * weights[:, b], levers[a], levers[b])
            np.testing.assert_allclose(sums.numpy()[row, pair], expected, atol=2e-6)


def test_shapes_are_checked(skin):
    _, nodes, shared, _ = skin
    points = wp.zeros((1, 9), dtype=wp.vec3)
    centres = wp.zeros((1, 3), dtype=wp.vec3)
    with pytest.raises(InputRejected, match="levers has 3 rows"):
        launch_moments(
            nodes,
            levers=wp.zeros((3, 27), dtype=wp.vec4),
            targets=wp.zeros((2, 9), dtype=wp.vec3),
            origins=wp.zeros(2, dtype=wp.vec3),
            moments_out=wp.zeros((2, 3, 12), dtype=wp.float64),
        )
    with pytest.raises(InputRejected, match="vertex_weights has shape"):
        launch_pair_sums(
            shared,
            points=points,
            centres=centres,
            vertex_weights=wp.ones((1, 3), dtype=wp.float32),
            sums_out=wp.zeros((1, 6), dtype=wp.mat44d),
        )


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_compiles_for_hopper(name, tmp_path):
    if not hasattr(wp, "compile_aot_module"):
        pytest.skip("this Warp cannot compile ahead of time")
    wp.init()
    if wp.get_cuda_supported_archs() == []:
        pytest.skip("this Warp has no NVRTC")
    wp.compile_aot_module(importlib.import_module(f"soma_isaac.kernels.{name}"), arch=[90], module_dir=tmp_path)
    binaries = [path for path in tmp_path.iterdir() if path.suffix in (".cubin", ".ptx")]
    assert len(binaries) == 1
    content = binaries[0].read_bytes()
    assert all(kernel.encode() in content for kernel in KERNELS[name])
