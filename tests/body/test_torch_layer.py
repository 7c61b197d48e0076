"""Gradients of the torch layer against finite differences of a float64 oracle; agreement with the plain layer."""

import dataclasses
from types import MappingProxyType

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.body.layer import SomaLayer
from soma_isaac.body.layout import joint_layout, top_influences
from soma_isaac.body.scales import BONE_SCALE_JOINTS
from soma_isaac.errors import InputRejected
from soma_isaac.formats.corrective_model import CorrectiveWeights
from soma_isaac.kernels.lbs import Influences, launch_blend
from soma_isaac.kernels.lbs_adjoint import joint_vertices, launch_blend_adjoint
from tests.oracles import body as oracle
from tests.oracles.correctives import random_checkpoint

torch = pytest.importorskip("torch", reason="torch is not installed")

NAMES = ("vertices", "joints", "transforms")
LOD = "low"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def plain(rig):
    return SomaLayer(rig, "soma", lod=LOD, threads=2)


@pytest.fixture(scope="module")
def layer(plain):
    from soma_isaac.body.torch_layer import TorchSomaLayer

    return TorchSomaLayer(plain)


def example(layer, bodies=2, seed=0):
    rng = np.random.default_rng(seed)
    count = layer.layer.identity_model.spec.coefficients.count
    return {
        "poses": rng.normal(scale=0.4, size=(bodies, 77, 3)),
        "transl": rng.normal(size=(bodies, 3)),
        "coefficients": rng.normal(size=(bodies, count)),
        "bone_scales": rng.uniform(0.85, 1.15, size=(bodies, 60)),
        "global_scale": rng.uniform(0.9, 1.1, size=bodies),
    }


def tensors(values, *, grad=False):
    return {name: torch.tensor(value, dtype=torch.float32, requires_grad=grad) for name, value in values.items()}


def run(layer, given, *, repose=True, **options):
    identity = layer.prepare_identity(
        given["coefficients"], bone_scales=given["bone_scales"], global_scale=given["global_scale"], repose=repose
    )
    return layer.pose(given["poses"], given["transl"], identity=identity, **options)


class Oracle:
    """Float64 bodies one at a time: linear fit, reposing, oracle posing; nothing of the torch code."""

    def __init__(self, rig, model, checkpoint=None, *, repose=True):
        self.rig, self.model, self.checkpoint, self.repose = rig, model, checkpoint, repose
        self.layout = joint_layout(rig, twist=False)
        offsets, joints, weights = top_influences(rig.mesh(LOD), self.layout)
        self.dense = np.zeros((rig.mesh(LOD).vertex_count, 78))
        np.add.at(self.dense, (np.repeat(np.arange(len(self.dense)), np.diff(offsets)), joints), weights)

    def reposed(self, bind):
        """Binds [78, 4, 4] in the template's rotations: hips over the origin, no joint below the floor."""
        target = self.layout.bind_T_world_joint[:78].copy()
        target[0, :3, 3] = 0.0
        for joint in range(1, 78):
            parent = self.layout.parents[joint]
            offset = (np.linalg.inv(bind[parent]) @ bind[joint])[:3, 3]
            if joint == 1:
                offset[[0, 2]] = 0.0
            target[joint, :3, 3] = target[parent, :3, 3] + target[parent, :3, :3] @ offset
        target[:, 1, 3] -= target[:, 1, 3].min()
        return target

    def shaped(self, points, bind):
        """The rig with a rest shape [V, 3] and fitted binds [78, 4, 4] of its own."""
        if self.repose:
            target = self.reposed(bind)
            matrices = target @ np.linalg.inv(bind)
            moved = np.einsum("jab,vb->jva", matrices[:, :3], np.c_[points, np.ones(len(points))])
            points, bind = np.einsum("vj,jva->va", self.dense, moved), target
            bind[0] = np.eye(4)
        skeleton = self.rig.skeleton
        world = skeleton.bind_T_world_joint.copy()
        world[[skeleton.index(name) for name in self.rig.public_joint_names]] = bind
        mesh = dataclasses.replace(self.rig.mesh(LOD), points=points)
        return dataclasses.replace(
            self.rig,
            skeleton=dataclasses.replace(skeleton, bind_T_world_joint=world),
            meshes=MappingProxyType({**self.rig.meshes, LOD: mesh}),
        )

    def __call__(self, fit, values, *, absolute=False):
        """Vertices and joints of a batch; ``fit`` gives rest points and bind of a row."""
        results = []
        for row in range(len(values["poses"])):
            rig = self.shaped(*fit(row))
            scales = dict(zip(BONE_SCALE_JOINTS, values["bone_scales"][row], strict=True))
            pose = values["poses"][row]
            matrices = pose if pose.ndim == 3 else Rotation.from_rotvec(pose).as_matrix()
            if self.checkpoint is not None:
                world = oracle.public_transforms(rig, matrices, values["transl"][row], absolute=absolute)
                transforms = np.stack([world[name] for name in rig.public_joint_names])
                above = transforms[np.maximum(rig.skeleton.parent_indices[:78], 0), :3, :3]
                local = np.swapaxes(above, -1, -2) @ transforms[:, :3, :3]
                local[0] = np.eye(3)
                size = values["global_scale"][row]
                offsets = self.checkpoint.offsets(local[None])[0, : len(self.dense)] * size
                mesh = dataclasses.replace(rig.mesh(LOD), points=rig.mesh(LOD).points + offsets)
                rig = dataclasses.replace(rig, meshes=MappingProxyType({**rig.meshes, LOD: mesh}))
            vertices, public = oracle.posed(rig, LOD, matrices, values["transl"][row], absolute=absolute, scales=scales)
            results.append((vertices, public[1:, :3, 3]))
        return [np.stack(parts) for parts in zip(*results, strict=True)]


def linear_fit(plain, values):
    linear = plain.identity_model.linear
    bind = plain.repose.fit.linear(linear.mean, linear.directions).fit(values["coefficients"], values["global_scale"])
    mean, directions = linear.mean.astype(np.float64), linear.directions.astype(np.float64)
    points = mean + np.einsum("bk,kva->bva", values["coefficients"], directions)
    points = points * values["global_scale"][:, None, None]
    return lambda row: (points[row], bind[row].copy())


def loss_weights(plain, bodies):
    rng = np.random.default_rng(9)
    return rng.normal(size=(bodies, plain.vertex_count, 3)), 30.0 * rng.normal(size=(bodies, 77, 3))


def check_gradients(found, numeric, values, *, step=1e-4, tolerance=2e-3):
    """Directional derivatives along two random directions of every input."""
    rng = np.random.default_rng(10)
    for name, gradient in found.items():
        for _ in range(2):
            direction = rng.normal(size=values[name].shape)
            both = [numeric({**values, name: values[name] + sign * step * direction}) for sign in (1, -1)]
            expected = (both[0] - both[1]) / (2 * step)
            error = abs(float((gradient.double().numpy() * direction).sum()) - expected)
            scale = float(np.linalg.norm(gradient.double().numpy() * direction)) + abs(expected)
            assert error < tolerance * scale, f"{name}: {expected} expected, off by {error}"


@pytest.mark.parametrize(
    ("absolute", "repose", "corrected"),
    [(False, True, False), (True, True, False), (False, False, False), (False, True, True)],
)
def test_gradients_are_those_of_finite_differences(rig, plain, layer, absolute, repose, corrected):
    from soma_isaac.body.torch_layer import TorchSomaLayer

    values = example(layer, seed=1)
    checkpoint = None
    if corrected:
        checkpoint = random_checkpoint(plain.vertex_count, 2)
        first, second = checkpoint.masked()
        weights = CorrectiveWeights.from_matrices(checkpoint.bind[:, :3, :3], first, second * 0.01, squash=True)
        layer = TorchSomaLayer(SomaLayer(rig, plain.identity_model, lod=LOD, correctives=weights))
    of_vertices, of_joints = loss_weights(plain, 2)
    reference = Oracle(rig, plain.identity_model, checkpoint, repose=repose)

    def numeric(inputs):
        vertices, joints = reference(linear_fit(plain, inputs), inputs, absolute=absolute)
        return float((vertices * of_vertices).sum() + (joints * of_joints).sum())

    given = tensors(values, grad=True)
    posed = run(layer, given, repose=repose, absolute=absolute)
    loss = (posed.vertices * torch.tensor(of_vertices).float()).sum() + (
        posed.joints * torch.tensor(of_joints).float()
    ).sum()
    assert float(loss.detach()) == pytest.approx(numeric(values), rel=1e-4, abs=2e-2)
    loss.backward()
    check_gradients({name: value.grad for name, value in given.items()}, numeric, values)


def test_gradients_to_meshes_and_matrices(rig, plain, layer):
    values = example(layer, seed=3)
    shapes = plain.identity_model.rest_points(values.pop("coefficients")).astype(np.float64)
    values |= {"points": shapes, "global_scale": np.ones(2)}
    values["poses"] = Rotation.from_rotvec(values["poses"].reshape(-1, 3)).as_matrix().reshape(2, 77, 3, 3)
    of_vertices, of_joints = loss_weights(plain, 2)
    reference = Oracle(rig, plain.identity_model)

    def numeric(inputs):
        fits = []
        for row in range(2):  # a direction of its own for each mesh keeps the features in float64
            difference = inputs["points"][row] - shapes[row]
            linear = plain.repose.fit.linear(shapes[row], difference[None] * 1e4)
            fits.append(linear.fit(np.full((1, 1), 1e-4))[0])
        vertices, joints = reference(lambda row: (inputs["points"][row], fits[row].copy()), inputs)
        return float((vertices * of_vertices).sum() + (joints * of_joints).sum())

    given = tensors(values, grad=True)
    identity = layer.prepare_shape(given["points"], bone_scales=given["bone_scales"])
    posed = layer.pose(given["poses"], given["transl"], identity=identity)
    loss = (posed.vertices * torch.tensor(of_vertices).float()).sum()
    loss = loss + (posed.joints * torch.tensor(of_joints).float()).sum()
    loss.backward()
    found = {name: given[name].grad for name in ("points", "bone_scales", "transl")}
    check_gradients(found, numeric, values)
    # A matrix moves along a turn: only that component of its gradient means a pose.
    turn = np.random.default_rng(4).normal(size=(2, 77, 3)) * 1e-4
    both = []
    for sign in (1, -1):
        turned = values["poses"] @ Rotation.from_rotvec(sign * turn.reshape(-1, 3)).as_matrix().reshape(2, 77, 3, 3)
        both.append(numeric({**values, "poses": turned}))
    skew = np.zeros((2, 77, 3, 3))
    for axis, (a, b) in enumerate(((2, 1), (0, 2), (1, 0))):
        skew[..., a, b], skew[..., b, a] = turn[..., axis], -turn[..., axis]
    along = float((given["poses"].grad.numpy() * (values["poses"] @ skew)).sum())
    assert along == pytest.approx((both[0] - both[1]) / 2, rel=2e-3)


@pytest.mark.parametrize("lod", ["mid", "low", "xlo"])
@pytest.mark.parametrize("options", [{}, {"twist": False}, {"twist_anchor": "template"}, {"output_unit": "cm"}])
def test_the_torch_layer_is_the_plain_layer(rig, lod, options):
    from soma_isaac.body.torch_layer import TorchSomaLayer

    plain = SomaLayer(rig, "soma", lod=lod, **options)
    layer = TorchSomaLayer(plain)
    values = example(layer, 3, seed=5)
    plain.prepare_identity(
        values["coefficients"], bone_scales=values["bone_scales"], global_scale=values["global_scale"]
    )
    expected = plain.pose(values["poses"], values["transl"])
    with torch.no_grad():
        found = run(layer, tensors(values))
    unit = 100.0 if plain.output_unit == "cm" else 1.0
    for name in NAMES:
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name).numpy(), atol=3e-6 * unit)


@pytest.mark.parametrize("options", [{}, {"poses": 1}, {"coefficients": 1, "bone_scales": 1, "global_scale": 1}])
def test_one_and_many_combine(plain, layer, options):
    values = example(layer, 3, seed=6)
    for name, rows in options.items():
        values[name] = values[name][:rows]
    if "poses" in options:
        values["transl"] = values["transl"][:1]
    plain.prepare_identity(
        values["coefficients"], bone_scales=values["bone_scales"], global_scale=values["global_scale"]
    )
    expected = plain.pose(values["poses"], values["transl"])
    given = tensors(values, grad=True)
    found = run(layer, given)
    np.testing.assert_allclose(found.vertices.detach(), expected.vertices.numpy(), atol=3e-6)
    found.vertices.square().sum().backward()
    assert all(value.grad is not None and value.grad.abs().max() > 0.0 for value in given.values())


@pytest.mark.parametrize("bodies", [2, 1])
def test_types_and_layouts_of_memory_do_not_matter(layer, bodies):
    values = example(layer, bodies, seed=7)
    expected = run(layer, tensors(values))
    odd = {}
    for name, value in values.items():
        padded = torch.zeros(*value.shape, 2, dtype=torch.float64)
        padded[..., 0] = torch.tensor(value)
        odd[name] = padded[..., 0]
    assert not odd["poses"].is_contiguous()
    found = run(layer, odd)
    for name in NAMES:
        assert getattr(found, name).dtype == torch.float32
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=2e-6)


def test_one_identity_serves_many_backward_passes(layer):
    given = tensors(example(layer, seed=8), grad=True)
    identity = layer.prepare_identity(given["coefficients"], bone_scales=given["bone_scales"])
    seen = []
    for _ in range(3):
        given["coefficients"].grad = None
        layer.pose(given["poses"], given["transl"]).vertices.square().sum().backward()
        seen.append(given["coefficients"].grad.clone())
    assert torch.equal(seen[0], seen[1]) and torch.equal(seen[0], seen[2])
    with torch.no_grad():
        assert not layer.pose(given["poses"], given["transl"], identity=identity).vertices.requires_grad
    constant = layer.prepare_identity(given["coefficients"].detach())
    for _ in range(2):
        layer.pose(given["poses"], given["transl"], identity=constant).vertices.sum().backward()


def test_zero_pose_has_finite_gradients(layer):
    poses = torch.zeros(1, 77, 3, requires_grad=True)
    layer.prepare_identity()
    layer.pose(poses).vertices.square().sum().backward()
    assert torch.isfinite(poses.grad).all() and poses.grad.abs().max() > 0.0


def test_shapes_that_do_not_fit_are_refused(layer):
    layer.prepare_identity()
    for arguments, message in (
        ((torch.zeros(1, 78, 3),), "poses has shape"),
        ((torch.zeros(2, 77, 3), torch.zeros(3, 3)), "transl has shape"),
    ):
        with pytest.raises(InputRejected, match=message):
            layer.pose(*arguments)
    with pytest.raises(InputRejected, match="without a corrective model"):
        layer.pose(torch.zeros(1, 77, 3), correctives=True)
    with pytest.raises(InputRejected, match="bone scales"):
        layer.prepare_identity(bone_scales=torch.ones(1, 59))
    with pytest.raises(InputRejected, match="points has shape"):
        layer.prepare_shape(torch.zeros(1, 5, 3))


def test_memory_is_shared_between_torch_and_warp(plain):
    from soma_isaac.body.torch_skin import warp_view

    tensor = torch.zeros(2, 5, 3)
    assert warp_view(tensor, wp.vec3).ptr == tensor.data_ptr()
    # Plain results are tensors without a copy, and tensors are poses.
    plain.prepare_identity()
    poses = 0.3 * torch.randn(2, 77, 3, generator=torch.Generator().manual_seed(1))
    pose = plain.pose(wp.from_torch(poses, dtype=wp.vec3))
    vertices = wp.to_torch(pose.vertices)
    assert vertices.data_ptr() == pose.vertices.ptr and vertices.shape == (2, plain.vertex_count, 3)
    np.testing.assert_array_equal(plain.pose(poses).vertices.numpy(), vertices)


@pytest.mark.parametrize("shared", [True, False])
def test_the_adjoints_for_cpu_and_gpu_agree(shared):
    rng = np.random.default_rng(11)
    bodies, vertices, joints = 3, 400, 7
    counts = rng.integers(1, 5, size=vertices)
    table = Influences(
        wp.array(np.cumsum([0, *counts]).astype(np.int32), dtype=wp.int32, device="cpu"),
        wp.array(rng.integers(0, joints, size=counts.sum()).astype(np.int32), dtype=wp.int32, device="cpu"),
        wp.array(rng.random(counts.sum()).astype(np.float32), dtype=wp.float32, device="cpu"),
    )
    points = rng.normal(size=(1 if shared else bodies, vertices, 3)).astype(np.float32)
    columns = rng.normal(size=(bodies, joints, 4, 4)).astype(np.float32)
    columns[..., 3] = 0.0
    gradients = rng.normal(size=(bodies, vertices, 3)).astype(np.float32)
    arrays = {
        "points": wp.array(points, dtype=wp.vec3, device="cpu"),
        "columns": wp.array(columns, dtype=wp.mat44, device="cpu"),
        "gradients": wp.array(gradients, dtype=wp.vec3, device="cpu"),
    }
    found = []
    for transposed in (None, joint_vertices(table)):
        of_points = wp.full((bodies, vertices), wp.vec3(np.inf), dtype=wp.vec3, device="cpu")
        of_columns = wp.full((bodies, joints), wp.mat44(np.inf), dtype=wp.mat44, device="cpu")
        launch_blend_adjoint(table, transposed, points_out=of_points, columns_out=of_columns, **arrays)
        found.append((of_points.numpy(), of_columns.numpy()))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-4)
    # The forward pass is bilinear: <g, f(p, C)> = <dp, p> + <d(translation rows), C's>.
    moved = wp.empty((bodies, vertices), dtype=wp.vec3, device="cpu")
    launch_blend(table, points=arrays["points"], columns=arrays["columns"], vertices_out=moved)
    total = float((moved.numpy().astype(np.float64) * gradients).sum())
    of_points, of_columns = found[0]
    assert (of_columns.astype(np.float64) * columns).sum() == pytest.approx(total, rel=1e-4)
    shift = (of_columns[:, :, 3].astype(np.float64) * columns[:, :, 3]).sum()
    assert (of_points.astype(np.float64) * points).sum() + shift == pytest.approx(total, rel=1e-4)
