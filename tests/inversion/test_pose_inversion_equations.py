"""The sums, the energy and its derivatives against direct sums over vertices and finite differences."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from soma_isaac.body import SomaBody
from soma_isaac.body.layout import top_influences
from soma_isaac.inversion.closed_form import affine_basis, quadratic_form
from soma_isaac.inversion.pose_inversion import PoseInversion
from soma_isaac.inversion.settings import InversionSettings, Penalties, neighbour_penalties, static_penalties

NO_PENALTY = Penalties(np.zeros((0, 1, 78, 3, 3)), np.zeros((0, 1, 78, 3, 3)))


def direct_vertices(body, identity, turns, positions):
    """Vertices [B, V, 3] from turns [B, K, 3, 3] and positions [B, K, 3] of all skinned joints."""
    from soma_isaac.body.twist import compile_twist, expanded_bind

    offsets, joints, weights = top_influences(body.rig.mesh(body.lod), body.layout)
    program = compile_twist(body.rig.twist, body.layout)
    bind = expanded_bind(identity.bind_T_world_joint, body.layout, program)[0, :, :3, 3]
    rows = np.repeat(np.arange(body.vertex_count), np.diff(offsets))
    levers = identity.rest_points[0].astype(float)[rows] - bind[joints]
    moved = np.einsum("beij,ej->bei", turns[:, joints], levers) + positions[:, joints]
    return np.stack([np.add.reduceat(frame * weights[:, None], offsets[:-1]) for frame in moved])


class Setup:
    """One batch at arbitrary turns, with everything the solver is given."""

    def __init__(self, rig, weights=None, mode=None, count=2):
        from dataclasses import replace

        if mode is not None:
            modes = dict.fromkeys(rig.twist.modes, mode)
            rig = replace(rig, twist=replace(rig.twist, modes=modes))
        self.body = SomaBody(rig, lod="xlo", threads=1)
        self.inversion = PoseInversion(self.body)
        self.identity = self.body.prepare()
        self.prepared = self.inversion.prepare(self.identity, weights)
        rng = np.random.default_rng(3)
        self.rotations = Rotation.from_rotvec(rng.normal(scale=0.4, size=(count * 77, 3))).as_matrix()
        self.rotations = self.rotations.reshape(count, 77, 3, 3)
        targets = self.identity.rest_points + rng.normal(scale=0.1, size=(count, self.body.vertex_count, 3))
        self.targets = targets.astype(np.float32)
        read, missing = self.inversion._reader.read(self.targets)
        self.batch = self.inversion._begin(read, missing, self.prepared)
        zero_turns = self.prepared.geometry.zero_turns
        self.inversion._starter.set_rotations(self.batch.locals, self.rotations, zero_turns)
        self.batch.shifts.assign(rng.normal(scale=0.1, size=(count, 3)))
        self.locals = self.batch.locals.numpy().copy()
        self.shifts = self.batch.shifts.numpy().copy()

    def equations(self, locals=None, shifts=None, penalties=NO_PENALTY):
        given, batch = self.prepared, self.batch
        return self.inversion._solver.equations(
            given.tables,
            given.root_turns,
            given.sums,
            batch.moments,
            wp.array(self.locals if locals is None else locals, dtype=wp.mat33d),
            wp.array(self.shifts if shifts is None else shifts, dtype=wp.vec3d),
            penalties=penalties,
        )

    def vertices(self, locals, shifts):
        """Forward pass in float64, less the origins."""
        return direct_vertices(self.body, self.identity, *forward(self, locals, shifts))


def forward(setup, locals, shifts):
    """Turns and positions of all skinned joints by the posing kernels' oracle, in float64."""
    from tests.oracles.body import helper_transforms, public_transforms, template_bind

    body, rig = setup.body, setup.body.rig
    bind = template_bind(rig)
    zero = setup.prepared.geometry.zero_turns[0]
    parents = np.maximum(body.layout.parents, 0)
    turns, positions = [], []
    for frame, shift in zip(locals, shifts, strict=True):
        rotations = np.stack(
            [
                (zero[parents[j]] if j > 1 else np.eye(3)) @ frame[j] @ zero[j].T
                for j in range(1, body.layout.public_count)
            ]
        )
        world = public_transforms(rig, rotations, shift)
        world |= helper_transforms(rig, world, bind)
        turns.append([world[name][:3, :3] @ bind[name][:3, :3].T for name in body.layout.joint_names])
        positions.append([world[name][:3, 3] for name in body.layout.joint_names])
    return np.array(turns), np.array(positions)


@pytest.fixture(scope="module")
def setup(rig):
    return Setup(rig)


def stepped(setup, unknown, axis, size):
    """Local turns and shifts after a turn of one unknown about a world axis by ``size`` rad (or m)."""
    plan = setup.inversion._solver.plan
    locals, shifts = setup.locals.copy(), setup.shifts.copy()
    if unknown == len(plan.joints):
        shifts[:, axis] += size
        return locals, shifts
    joint = int(plan.joints[unknown])
    parents = setup.body.layout.parents
    turn = np.eye(3)
    chain = []
    at = joint
    while at >= 1:
        chain.append(at)
        at = parents[at]
    for row in range(len(locals)):
        above = np.eye(3)
        for link in chain[:0:-1]:
            above = above @ setup.locals[row, link]
        turn = Rotation.from_rotvec(size * np.eye(3)[axis]).as_matrix()
        locals[row, joint] = above.T @ turn @ above @ setup.locals[row, joint]
    return locals, shifts


def test_energy_is_the_direct_sum_over_vertices(rig):
    weights = np.random.default_rng(1).uniform(0.2, 2.0, 612)
    setup = Setup(rig, weights)
    energies, _, _ = setup.equations()
    vertices = setup.vertices(setup.locals, setup.shifts)
    origins = setup.batch.origins.numpy().astype(float)
    targets = setup.targets.astype(float) - origins[:, None]
    weights = weights.astype(np.float32).astype(float)
    direct = np.einsum("v,bvc->b", weights, np.square(vertices - targets))
    squares = np.einsum("v,bvc->b", weights, np.square(targets))
    np.testing.assert_allclose(energies[:, 0] + squares, direct, rtol=2e-5)


def test_quadratic_form_is_symmetric_and_positive(setup):
    sums = setup.prepared.sums.numpy()[0]
    form = quadratic_form(setup.inversion._tables.pairs, sums, len(setup.inversion._tables.nodes))
    np.testing.assert_allclose(form, form.T, atol=1e-12)
    assert np.linalg.eigvalsh(form)[0] > -1e-9
    np.testing.assert_allclose(form[3::4, 3::4].sum(), setup.body.vertex_count, rtol=1e-5)


@pytest.mark.parametrize("mode", [None, "local_x_euler", "local_x_swing_twist"])
def test_gradient_and_normal_matrix_match_finite_differences(rig, mode):
    """Every fourth unknown and all that drive twist helpers, whose turning is part of the derivatives."""
    setup = Setup(rig, mode=mode, count=1)
    _, gradient, matrix = setup.equations()
    count = gradient.shape[1]
    unknowns = sorted({*range(0, count, 4), count - 1, *setup.inversion._solver.plan.driven[:, 0].tolist()})
    columns = np.add.outer(3 * np.array(unknowns), np.arange(3)).ravel()
    origins = setup.batch.origins.numpy().astype(float)
    residual = (setup.vertices(setup.locals, setup.shifts) - (setup.targets - origins[:, None])).ravel()
    step = 1e-5
    jacobian = np.empty((residual.size, len(columns)))
    for number, column in enumerate(columns):
        sides = [setup.vertices(*stepped(setup, column // 3, column % 3, sign * step)) for sign in (1.0, -1.0)]
        jacobian[:, number] = (sides[0] - sides[1]).ravel() / (2.0 * step)
    expected = jacobian.T @ residual
    np.testing.assert_allclose(gradient.ravel()[columns], expected, atol=2e-5 * np.abs(expected).max())
    expected = jacobian.T @ jacobian
    np.testing.assert_allclose(matrix[0][np.ix_(columns, columns)], expected, atol=1e-6 * np.abs(expected).max())


def test_limbs_drive_their_twist_helpers(setup):
    plan = setup.inversion._solver.plan
    drivers = {setup.body.layout.joint_names[plan.joints[u]] for u, _ in plan.driven}
    ends = ("Arm", "ForeArm", "Hand", "Leg", "Shin", "Foot")
    assert drivers == {f"{side}{end}" for side in ("Left", "Right") for end in ends}


def test_penalties_match_finite_differences(setup):
    rng = np.random.default_rng(5)
    settings = InversionSettings(hinge=1e-3, prior=1e-3)
    penalties = static_penalties(settings, setup.body.layout, 1.0)
    others = Rotation.from_rotvec(rng.normal(scale=0.8, size=(2 * 77, 3))).as_matrix().reshape(2, 77, 3, 3)
    penalties = penalties.joined(neighbour_penalties(others, 1e-3))
    _, plain, _ = setup.equations()
    _, gradient, _ = setup.equations(penalties=penalties)
    added = gradient - plain
    step = 1e-5
    for unknown in range(0, added.shape[1] - 1, 5):
        for axis in range(3):
            sides = [
                setup.equations(*stepped(setup, unknown, axis, sign * step), penalties)[0][:, 1] for sign in (1.0, -1.0)
            ]
            np.testing.assert_allclose(added[:, unknown, axis], (sides[0] - sides[1]) / (4.0 * step), atol=1e-8)


def test_affine_basis_holds_joints_together():
    """Whatever the free numbers, a joint is where its parent carries it and a helper keeps its axis."""
    rng = np.random.default_rng(0)
    parents = np.array([0, 0, 1, 2, 1, 2])
    offsets = rng.normal(size=(6, 3))
    axes = np.array([[0.0, 0.6, 0.8]])
    basis, deviation = affine_basis(parents, offsets, axes, np.array([False, True, True, True, False, True]))
    assert len(basis) == 4 + 3 + 3 + 2 and deviation.sum() == 8
    columns = np.einsum("ru,ukc->krc", rng.normal(size=(3, len(basis))), basis)
    for joint in range(2, 6):
        parent = columns[parents[joint]]
        np.testing.assert_allclose(columns[joint, :, 3], parent[:, :3] @ offsets[joint] + parent[:, 3], atol=1e-12)
    np.testing.assert_allclose(columns[5, :, :3] @ axes[0], columns[2, :, :3] @ axes[0], atol=1e-12)
    np.testing.assert_allclose(columns[4, :, :3], columns[1, :, :3])
