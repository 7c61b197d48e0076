"""The stepper against the layer, and what a step must not do."""

import gc
import subprocess
import sys
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import warp as wp

from soma_isaac.body import SomaBody
from soma_isaac.body.layer import SomaLayer
from soma_isaac.errors import InputRejected
from soma_isaac.rig.skeleton import data_path
from soma_isaac.sim import BodyGroup, BodyStepper, ClipLibrary
from soma_isaac.sim.placement import Z_UP_FROM_Y_UP
from tests.cost import cpu_ratio, instructions
from tests.oracles.clip_pose import clip_pose


def placement(x, angle):
    turn = np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])
    place = np.eye(4)
    place[:3, :3], place[:3, 3] = turn, (x, 2.0 * x, 0.1)
    return place @ Z_UP_FROM_Y_UP


@pytest.fixture(scope="module")
def library(motions):
    return ClipLibrary(motions)


def expected_vertices(body, identity, oracle, place):
    """The layer's vertices [V, 3] at an oracle pose, placed in float64."""
    rotations, hips = oracle
    vertices = body.pose(identity, rotations[None], hips[None]).vertices.numpy()
    return vertices @ place[:3, :3].T + place[:3, 3]


def test_vertices_are_the_layers_at_each_bodys_own_time(body, identities, motions, library):
    places = np.array([placement(-1.0, 0.3), placement(0.0, 0.0), placement(2.0, -2.0)])
    stepper = BodyStepper(
        library,
        [BodyGroup(body, identities)],
        playing=[0, 1, 0],
        phases=[0.0, 0.011, 0.15],
        speeds=[1.0, 0.5, -0.7],
        placements=places,
        fit_stride=False,
    )
    clock = np.array([0.0, 0.011, 0.15])
    for _ in range(23):
        stepper.step(0.013)
        clock = (clock + 0.013 * np.array([1.0, 0.5, -0.7])) % library.durations[[0, 1, 0]]
    np.testing.assert_allclose(stepper.times.numpy(), clock, atol=1e-12)
    posed = stepper.groups[0]
    for row, clip in enumerate([0, 1, 0]):
        expected = expected_vertices(body, identities, clip_pose(motions[clip], clock[row]), places[row])[row]
        assert np.linalg.norm(posed.pose.vertices.numpy()[row] - expected, axis=1).max() < 1e-5
    np.testing.assert_array_equal(posed.normals.numpy(), body.normals(posed.pose.vertices).numpy())


def test_feet_stay_on_the_floor_whatever_the_legs(body, identities, make_motion):
    # A clip of somebody with short legs, standing in the T-pose 3 m ahead of the origin.
    clip = make_motion(1, 30.0, 5, spread=0.0)
    offsets = clip.identity.rest_offsets * 0.8
    clip = replace(
        clip, identity=replace(clip.identity, rest_offsets=offsets), root_translation=offsets[None, 1] + [0.0, 0.0, 3.0]
    )
    stepper = BodyStepper(ClipLibrary([clip]), [BodyGroup(body, identities)])
    joints = stepper.groups[0].pose.joints.numpy()
    scale = np.array([1.0, 0.9, 1.1])
    np.testing.assert_allclose(joints[:, 0, 2], 3.0 / 0.8 * scale, rtol=1e-5)
    floor = stepper.groups[0].pose.vertices.numpy()[..., 1].min(axis=1)
    assert np.abs(floor).max() < 0.01
    raw = BodyStepper(ClipLibrary([clip]), [BodyGroup(body, identities)], fit_stride=False)
    assert raw.groups[0].pose.vertices.numpy()[0, :, 1].min() < -0.15


def test_hold_and_loop_at_both_ends(body, library):
    identity = body.prepare()
    stepper = BodyStepper(
        library,
        [BodyGroup(body, identity, 4)],
        playing=[0, 0, 0, 2],
        speeds=[1.0, 1.0, -1.0, 1.0],
        loop=[False, True, False, True],
        normals=False,
    )
    stepper.step(0.5)
    np.testing.assert_allclose(stepper.times.numpy(), [0.2, 0.1, 0.0, 0.0], atol=1e-12)
    vertices = stepper.groups[0].pose.vertices.numpy()
    assert np.isfinite(vertices).all()
    stepper.step(-0.15)
    np.testing.assert_allclose(stepper.times.numpy(), [0.05, 0.15, 0.15, 0.0], atol=1e-12)


def test_only_the_named_bodies_move(body, library):
    stepper = BodyStepper(library, [BodyGroup(body, body.prepare(), 4)], playing=0)
    stepper.step(0.02)
    before = stepper.groups[0].pose.vertices.numpy().copy()
    stepper.step(0.02, ids=[1, 3])
    after = stepper.groups[0].pose.vertices.numpy().copy()
    np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert np.abs(after - before).max(axis=(1, 2))[[1, 3]].min() > 0.01
    stepper.step(0.02, ids=wp.array([1, 0, 0, 0], dtype=wp.int32))
    np.testing.assert_allclose(stepper.times.numpy(), [0.04, 0.04, 0.02, 0.04], atol=1e-12)
    stepper.step(0.02)
    np.testing.assert_allclose(stepper.times.numpy(), [0.06, 0.06, 0.04, 0.06], atol=1e-12)


def test_bodies_whose_clocks_stand_are_not_computed_again_unless_they_were_changed(body, library):
    stepper = BodyStepper(library, [BodyGroup(body, body.prepare(), 3), BodyGroup(body, body.prepare(), 2)], playing=0)
    stepper.step(0.02)
    arrays = [array for posed in stepper.groups for array in (posed.pose.vertices, posed.normals)]
    for array in arrays:
        array.fill_(wp.vec3(7.0, 7.0, 7.0))

    def computed():
        return [
            [body for body, row in enumerate([*first.numpy(), *second.numpy()]) if (row != 7.0).any()]
            for first, second in zip(arrays[:2], arrays[2:], strict=True)
        ]

    stepper.step(0.02, ids=[1, 4])
    assert computed() == [[1, 4], [1, 4]]
    stepper.reset([0])
    stepper.assign([3], placements=placement(1.0, 1.0))
    stepper.step(0.02, ids=wp.zeros(5, dtype=wp.int32))
    assert computed() == [[0, 1, 3, 4], [0, 1, 3, 4]]
    stepper.step(0.02)
    assert computed() == [[0, 1, 2, 3, 4]] * 2
    fresh = BodyStepper(library, [BodyGroup(body, body.prepare(), 5)], playing=0)
    fresh.assign([3], placements=placement(1.0, 1.0))
    fresh.assign(phases=stepper.times.numpy())
    fresh.reset()
    fresh.step(0.0)
    np.testing.assert_array_equal(fresh.groups[0].pose.vertices.numpy(), [*arrays[0].numpy(), *arrays[2].numpy()])
    np.testing.assert_array_equal(fresh.groups[0].normals.numpy(), [*arrays[1].numpy(), *arrays[3].numpy()])


def test_reset_of_some_and_a_new_clip(body, library, motions):
    identity = body.prepare()
    stepper = BodyStepper(library, [BodyGroup(body, identity, 3)], playing=0, phases=[0.0, 0.05, 0.1])
    stepper.step(0.07)
    stepper.reset([1])
    np.testing.assert_allclose(stepper.times.numpy(), [0.07, 0.05, 0.17], atol=1e-12)
    stepper.reset(wp.array([0, 0, 1], dtype=wp.int32))
    np.testing.assert_allclose(stepper.times.numpy(), [0.07, 0.05, 0.1], atol=1e-12)
    stepper.assign([2], playing=1, phases=0.012, loop=False, placements=placement(1.0, 1.0))
    stepper.reset([2])
    stepper.step(0.0)
    expected = expected_vertices(body, identity, clip_pose(motions[1], 0.012), placement(1.0, 1.0))[0]
    assert np.linalg.norm(stepper.groups[0].pose.vertices.numpy()[2] - expected, axis=1).max() < 1e-5


def test_groups_of_different_detail_share_the_clocks(rig, body, library, motions):
    coarse = SomaBody(rig, lod="xlo", threads=1)
    stepper = BodyStepper(
        library,
        [BodyGroup(body, body.prepare(), 1), BodyGroup(coarse, coarse.prepare(), 2)],
        playing=0,
        phases=[0, 0, 0.1],
    )
    stepper.step(0.03)
    fine, rough = stepper.groups
    assert fine.pose.vertices.shape == (1, body.vertex_count)
    assert rough.pose.vertices.shape == (2, coarse.vertex_count)
    np.testing.assert_allclose(fine.pose.joints.numpy()[0], rough.pose.joints.numpy()[0], atol=1e-6)
    rotations, hips = clip_pose(motions[0], 0.13)
    expected = coarse.pose(coarse.prepare(), rotations[None], hips[None]).vertices.numpy()[0]
    assert np.linalg.norm(rough.pose.vertices.numpy()[1] - expected, axis=1).max() < 1e-5


@pytest.fixture(scope="module")
def corrected(rig):
    """A layer with pose correctives and its body."""
    if not data_path("SOMA_correctives.safetensors").is_file():
        pytest.skip("this checkout has no corrective model")
    layer = SomaLayer(rig, lod="low", correctives=data_path("SOMA_correctives.safetensors"), threads=1)
    return layer.body, layer.prepare_identity()


@pytest.mark.parametrize("kind", ["folded", "corrected"])
def test_bodies_without_helpers_and_with_correctives(rig, library, motions, kind, request):
    if kind == "folded":
        body = SomaBody(rig, lod="low", twist=False, threads=1)
        identity = body.prepare()
    else:
        body, identity = request.getfixturevalue("corrected")
    stepper = BodyStepper(library, [BodyGroup(body, identity, 20)], playing=0, phases=np.linspace(0.0, 0.19, 20))
    stepper.step(0.0)
    posed = stepper.groups[0]
    assert posed.helpers.shape[1] == (0 if kind == "folded" else 32)
    for row in (0, 7, 19):
        rotations, hips = clip_pose(motions[0], row * 0.01)
        expected = body.pose(identity, rotations[None], hips[None]).vertices.numpy()[0]
        assert np.linalg.norm(posed.pose.vertices.numpy()[row] - expected, axis=1).max() < 1e-5


@pytest.mark.parametrize("kind", ["plain", "corrected"])
def test_a_step_allocates_and_copies_nothing(body, library, monkeypatch, kind, request):
    body, identity = (body, body.prepare()) if kind == "plain" else request.getfixturevalue("corrected")
    stepper = BodyStepper(library, [BodyGroup(body, identity, 5)], proxies=True)
    mask = wp.array([1, 0, 1, 0, 1], dtype=wp.int32)
    for _ in range(3):
        stepper.step(0.02, ids=mask)
    posed = stepper.groups[0]
    arrays = (
        posed.pose.vertices,
        posed.pose.joints,
        posed.pose.transforms,
        posed.helpers,
        posed.normals,
        posed.proxies,
    )
    pointers = [array.ptr for array in arrays]

    def forbidden(*_args, **_kwargs):
        raise AssertionError("a step allocated or copied")

    class Allocator:
        allocate = deallocate = staticmethod(forbidden)

    monkeypatch.setattr(wp.get_device("cpu"), "default_allocator", Allocator())
    with pytest.raises(AssertionError):  # the trap works
        wp.empty(3, device="cpu")
    for name in ("__init__", "numpy", "assign", "to", "list"):
        monkeypatch.setattr(wp.array, name, forbidden)
    with pytest.raises(AssertionError):
        mask.numpy()
    for _ in range(20):
        stepper.step(0.02, ids=mask)
    gc.collect()
    tracemalloc.start()
    begin = tracemalloc.get_traced_memory()[0]
    for _ in range(50):
        stepper.step(0.02, ids=mask)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - begin
    tracemalloc.stop()
    assert grown < 4096  # Python objects of launches come and go; nothing stays
    assert [array.ptr for array in arrays] == pointers


def test_the_cost_is_linear_in_the_number_of_bodies(body, library):
    identity = body.prepare()

    def stepping(count):
        stepper = BodyStepper(library, [BodyGroup(body, identity, count)])
        stepper.step(0.01)
        return lambda: stepper.step(0.01)

    few, many = stepping(8), stepping(128)
    assert instructions(many) < 2 * instructions(few)  # a launch for many bodies, none for each
    assert cpu_ratio(few, many) < 64  # 16 times the bodies: 16 or so


def test_what_does_not_fit_is_refused(body, library):
    identity = body.prepare()
    group = BodyGroup(body, identity, 2)
    for options in (
        {"playing": 3},
        {"playing": [0, 1, 2]},
        {"phases": np.nan},
        {"placements": np.diag([2.0, 1.0, 1.0, 1.0])},
    ):
        with pytest.raises(InputRejected):
            BodyStepper(library, [group], **options)
    stepper = BodyStepper(library, [group])
    with pytest.raises(InputRejected):
        stepper.step(np.inf)
    with pytest.raises(InputRejected):
        stepper.reset([2])
    with pytest.raises(InputRejected):
        stepper.step(0.1, ids=wp.zeros(3, dtype=wp.int32))
    with pytest.raises(InputRejected):
        ClipLibrary([])


def test_the_stepper_needs_neither_torch_nor_usd_nor_an_engine():
    code = (
        "import sys, soma_isaac.sim, soma_isaac.sim.sinks\n"
        "bad = {'torch', 'pinocchio', 'newton', 'mujoco', 'usdrt', 'omni', 'carb', 'ovstage', 'pxr'}\n"
        "sys.exit(', '.join(sorted(bad & set(sys.modules))) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
