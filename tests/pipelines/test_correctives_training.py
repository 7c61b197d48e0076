"""Pose correctives: the elastic solid's own laws, the fit on targets made up here, and the shipped model."""

import numpy as np
import pytest

from soma_isaac.body.layout import joint_layout
from soma_isaac.body.regressor import folded_weights
from soma_isaac.formats.corrective_model import read_correctives
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.kernels.elastic import launch_project, points_inside
from soma_isaac.math.so3 import matrix_from_rotvec, shortest_arc
from soma_isaac.pipelines.corrective_plans import PLANS, bone_directions, joint_region
from soma_isaac.pipelines.correctives_training import (
    INPUTS_PER_JOINT,
    bone_inputs,
    chosen_units,
    hidden,
    local_bind_rotations,
)
from soma_isaac.pipelines.elastic_joint import ElasticJoint, JointRegion
from soma_isaac.rig.decimate import mirror_indices
from soma_isaac.rig.skeleton import data_path

FLIP = np.array([-1.0, 1.0, 1.0])


def box(half, cells):
    """A closed, finely triangulated box about the origin."""
    faces, points = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            u, v = (axis + 1) % 3, (axis + 2) % 3
            grid = np.stack(np.meshgrid(*[np.linspace(-1.0, 1.0, cells + 1)] * 2, indexing="ij"), axis=-1)
            side = np.zeros((cells + 1, cells + 1, 3))
            side[..., axis], side[..., u], side[..., v] = sign, grid[..., 0], grid[..., 1]
            index = len(points) * (cells + 1) ** 2 + np.arange((cells + 1) ** 2).reshape(cells + 1, -1)
            a, b, c, d = (index[i : i + cells, j : j + cells].ravel() for i, j in ((0, 0), (1, 0), (1, 1), (0, 1)))
            quads = np.stack([a, b, c, d] if sign > 0 else [a, d, c, b], axis=1)
            faces += [quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]
            points.append(side.reshape(-1, 3))
    stacked, index = np.unique(np.concatenate(points).round(9), axis=0, return_inverse=True)
    return stacked * half, index[np.concatenate(faces)].astype(np.int32)


def volume(points, triangles):
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    return np.einsum("ij,ij->", np.cross(a, b), c) / 6.0


@pytest.fixture(scope="module")
def beam():
    """A beam along x that bends in its middle, weights blending over 12 cm, as on a limb."""
    points, triangles = box(np.array([0.16, 0.03, 0.03]), 40)
    shares = np.clip(points[:, 0] / 0.12 + 0.5, 0.0, 1.0)
    ends = np.array([-0.16, 0.0, 0.0]), np.array([0.16, 0.0, 0.0])
    return JointRegion(points, triangles, shares, np.zeros(3), *ends, radius=0.13, cell=0.012, bone=0.012)


@pytest.fixture(scope="module")
def solid(beam):
    return ElasticJoint(beam)


def test_inside_a_box():
    points, triangles = box(np.array([1.0, 0.5, 0.2]), 3)
    random = np.random.default_rng(0).uniform(-1.5, 1.5, (500, 3))
    assert np.array_equal(points_inside(random, points, triangles), (np.abs(random) < [1.0, 0.5, 0.2]).all(axis=1))


def test_local_step_finds_rotations_and_unit_volume():
    random = np.random.default_rng(1)
    gradients = np.eye(3) + 0.3 * random.normal(size=(50, 3, 3))
    gradients[0] = np.diag([1.0, 1.0, -0.2])
    turned = launch_project(gradients, 0.0)
    assert np.allclose(turned @ np.swapaxes(turned, 1, 2), np.eye(3), atol=1e-9)
    assert np.allclose(np.linalg.det(turned), 1.0)
    kept = launch_project(gradients[1:], 1.0)
    near = np.linalg.det(gradients[1:]) > 0.3
    assert np.allclose(np.linalg.det(kept[near]), 1.0, atol=1e-4)
    # a rotation is its own target, whatever the weights
    rotation = matrix_from_rotvec(np.array([[0.3, -1.0, 2.0]]))
    assert np.allclose(launch_project(rotation, 0.6), rotation, atol=1e-9)


def test_solid_at_rest_stays(solid, beam):
    skin, _ = solid.solve(np.eye(3))
    assert np.abs(skin - beam.points[solid.vertices]).max() < 1e-9


def test_rigid_when_everything_turns(beam):
    """With weight 1 everywhere the whole region turns and nothing is strained."""
    region = JointRegion(**{**vars(beam), "shares": np.ones(len(beam.points))})
    solid = ElasticJoint(region)
    solid.shares[:] = 1.0
    rotation = matrix_from_rotvec(np.array([0.0, 0.4, 0.9]))
    skin, _ = solid.solve(rotation)
    assert np.abs(skin - beam.points[solid.vertices] @ rotation.T).max() < 1e-6


def test_bending_loses_less_volume_than_blending(solid, beam):
    rotation = matrix_from_rotvec(np.array([0.0, 0.0, np.radians(80.0)]))
    blended = solid.blended(rotation, beam.points, beam.shares)
    skin, _ = solid.solve(rotation)
    elastic = blended.copy()
    elastic[solid.vertices] = skin
    whole = volume(beam.points, beam.triangles)
    lost = [volume(points, beam.triangles) / whole - 1.0 for points in (blended, elastic)]
    assert lost[0] < -0.04
    assert abs(lost[1]) < 0.7 * abs(lost[0])


def test_units_recover_targets_of_their_own_kind():
    """Offsets made by three units of the same form are explained by a few of the pool, on inputs not seen too."""
    random = np.random.default_rng(2)
    directions = random.normal(size=(120, 3))
    inputs = directions / np.linalg.norm(directions, axis=1, keepdims=True) - [1.0, 0.0, 0.0]
    made = hidden(inputs, random.normal(size=(3, 3))) @ random.normal(size=(3, 30))
    first, second = chosen_units(inputs[:80], made[:80], np.ones(80), 10, np.random.default_rng(5))
    unseen = hidden(inputs[80:], first) @ second - made[80:]
    assert first.shape == (3, 10) and second.shape == (10, 30)
    assert np.linalg.norm(unseen) < 0.15 * np.linalg.norm(made[80:])
    assert not hidden(np.zeros((1, 3)), first).any()


@pytest.fixture(scope="module")
def rig():
    return load_template_rig()


@pytest.fixture(scope="module")
def layout(rig):
    return joint_layout(rig, twist=False)


@pytest.fixture(scope="module")
def model():
    path = data_path("SOMA_correctives.safetensors")
    return path, read_correctives(path)


def offsets_of(weights, layout, joint, rotation, twist=None):
    """Offsets [V, 3] m for one joint turned in the world of the bind pose, from all six inputs by the formula."""
    first, second = weights.matrices()
    frame = layout.bind_T_world_joint[layout.index(joint), :3, :3]
    turned = frame.T @ rotation @ frame @ (np.eye(3) if twist is None else twist) - np.eye(3)
    inputs = np.zeros(first.shape[0])
    start = INPUTS_PER_JOINT * layout.index(joint)
    inputs[start : start + INPUTS_PER_JOINT] = turned[:, :2].ravel()
    return (np.tanh(np.maximum(inputs @ first, 0.0)) @ second).reshape(-1, 3)


def turn(layout, joint, angle):
    """A bend of the joint further the way it is bent in the bind pose, in the world."""
    plan = next(plan for plan in PLANS if plan.joint == joint)
    places = layout.bind_T_world_joint[:, :3, 3]
    center, before, after = (places[layout.index(name)] for name in (plan.joint, plan.parent, plan.child))
    axis = np.cross(center - before, after - center)
    return matrix_from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis))


def test_shipped_model_is_small_and_rests_in_the_bind_pose(model, layout):
    path, weights = model
    assert path.stat().st_size < 3_000_000
    assert weights.squash and weights.vertex_count == 18056
    assert np.allclose(weights.bind_rotations, local_bind_rotations(layout), atol=1e-6)
    for plan in PLANS:
        assert np.abs(offsets_of(weights, layout, plan.joint, np.eye(3))).max() < 1e-12


def test_shipped_model_gives_volume_back(model, rig, layout):
    """Bending elbow and knee by 90 degrees: blending loses volume, the correctives give a good part of it back."""
    mesh = rig.mesh("mid")
    weights = folded_weights(mesh, layout)
    for joint in ("LeftForeArm", "LeftShin"):
        plan = next(plan for plan in PLANS if plan.joint == joint)
        region = joint_region(rig, layout, weights, plan)
        rotation = turn(layout, joint, 90.0)
        lost = []
        for moved in (0.0, offsets_of(model[1], layout, joint, rotation)):
            rest = region.points + moved - region.center
            posed = rest + region.shares[:, None] * (rest @ (rotation - np.eye(3)).T)
            lost.append(volume(posed, mesh.triangles) - volume(region.points - region.center, mesh.triangles))
        assert lost[0] < -50e-6 and lost[1] > 0.75 * lost[0], (joint, lost)


def test_shipped_model_matches_the_solid_between_its_poses(model, rig, layout):
    """An elbow at angles that were not trained: half of the way to the elastic skin at least is made good."""
    plan = PLANS[0]
    weights = folded_weights(rig.mesh("mid"), layout)
    region = joint_region(rig, layout, weights, plan)
    solid = ElasticJoint(region)
    for angle in (50.0, 105.0):
        rotation = turn(layout, plan.joint, angle)
        skin, _ = solid.solve(rotation)
        rest = region.points + offsets_of(model[1], layout, plan.joint, rotation)
        corrected = solid.blended(rotation, rest, region.shares)[solid.vertices]
        blended = solid.blended(rotation, region.points, region.shares)[solid.vertices]
        error, without = (np.linalg.norm(points - skin, axis=1).mean() for points in (corrected, blended))
        assert error < 0.5 * without, (angle, error, without)


def test_shipped_model_is_mirror_symmetric_and_blind_to_twist(model, rig, layout):
    mirror = mirror_indices(rig.mesh("mid").points)
    for plan in PLANS:
        region = joint_region(rig, layout, folded_weights(rig.mesh("mid"), layout), plan)
        bone = (region.child_end - region.center) / np.linalg.norm(region.child_end - region.center)
        rotation = shortest_arc(bone, bone_directions(region, plan)[-3])
        left = offsets_of(model[1], layout, plan.joint, rotation)
        mirrored = np.diag(FLIP) @ rotation @ np.diag(FLIP)
        right = offsets_of(model[1], layout, plan.joint.replace("Left", "Right"), mirrored)
        assert np.abs(left).max() > 1e-3
        assert np.abs(right[mirror] * FLIP - left).max() < 2e-5
        twist = matrix_from_rotvec(np.array([1.0, 0.0, 0.0]))
        assert np.abs(offsets_of(model[1], layout, plan.joint, rotation, twist) - left).max() < 1e-9
        inputs = bone_inputs(layout, plan.joint, rotation[None])[0]
        assert np.abs(inputs).max() > 0.1


def test_shipped_offsets_stay_near_their_joint(model, layout):
    """No joint moves skin outside its region, none by more than flesh is thick."""
    template = load_template_rig().mesh("mid").points
    for plan in PLANS:
        center = layout.bind_T_world_joint[layout.index(plan.joint), :3, 3]
        far = np.linalg.norm(template - center, axis=1) > plan.radius
        region = joint_region(load_template_rig(), layout, np.zeros((len(template), 78)), plan)
        bone = (region.child_end - region.center) / np.linalg.norm(region.child_end - region.center)
        random = np.random.default_rng(3).normal(size=(12, 3))
        # in any direction at all, those that no arm takes included
        for direction in random / np.linalg.norm(random, axis=1, keepdims=True):
            moved = np.linalg.norm(offsets_of(model[1], layout, plan.joint, shortest_arc(bone, direction)), axis=1)
            assert not moved[far].any() and moved.max() < 0.12, plan.joint
