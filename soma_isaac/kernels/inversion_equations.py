"""Energy, gradient and normal equations of a pose from the sums of a body and the moments of a frame.

The cost depends on the number of joints, not of vertices; see :mod:`soma_isaac.kernels.inversion_moments` for sums and
moments and :mod:`soma_isaac.inversion.normal_equations` for the lists that the equations are assembled by.
"""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.inversion_kinematics import (
    BodyTables,
    PoseState,
    RigTables,
    left_jacobian_inverse,
    rotation_vector,
)

wp.set_module_options({"enable_backward": False})


@wp.struct
class Equations:
    """The lists of an :class:`soma_isaac.inversion.normal_equations.EquationPlan`, and nodes and pairs."""

    nodes: wp.array(dtype=wp.int32)
    pairs: wp.array(dtype=wp.int32, ndim=2)
    joints: wp.array(dtype=wp.int32)
    groups: wp.array(dtype=wp.int32)
    sums: wp.array(dtype=wp.int32, ndim=2)
    blocks: wp.array(dtype=wp.int32, ndim=2)
    columns: wp.array(dtype=wp.int32)
    updates: wp.array(dtype=wp.int32)
    driven: wp.array(dtype=wp.int32, ndim=2)
    twist_rows: wp.array(dtype=wp.int32, ndim=2)
    twist_row_factors: wp.array(dtype=wp.float64)
    twist_pairs: wp.array(dtype=wp.int32, ndim=2)
    twist_pair_factors: wp.array(dtype=wp.float64)
    twist_folds: wp.array(dtype=wp.int32, ndim=2)
    folds: wp.array(dtype=wp.int32, ndim=2)


@wp.struct
class Work:
    """Scratch memory [W, .] of W workers."""

    residuals: wp.array(dtype=wp.mat44d, ndim=2)
    slots: wp.array(dtype=wp.mat44d, ndim=2)
    forces: wp.array(dtype=wp.vec3d, ndim=2)
    torques: wp.array(dtype=wp.vec3d, ndim=2)
    node_torques: wp.array(dtype=wp.vec3d, ndim=2)
    couplings: wp.array(dtype=wp.float64, ndim=2)
    channel_torques: wp.array(dtype=wp.float64, ndim=2)
    blocks: wp.array(dtype=wp.mat33d, ndim=2)
    lower: wp.array(dtype=wp.mat33d, ndim=2)
    gradient: wp.array(dtype=wp.vec3d, ndim=2)
    step: wp.array(dtype=wp.vec3d, ndim=2)
    kept: wp.array(dtype=wp.mat33d, ndim=2)
    kept_shifts: wp.array(dtype=wp.vec3d)


@wp.struct
class Problem:
    """What is solved: B frames of I bodies with T quadratic penalties on joint rotations.

    ``sums`` has a row per weighting: 1, I or B. A penalty is ``r^T weight r`` of the rotation vector r [rad] from its
    reference to the T-pose-relative rotation of a joint; ``references`` and ``penalties`` are [T, 1 or B, P].
    """

    sums: wp.array(dtype=wp.mat44d, ndim=2)
    moments: wp.array(dtype=wp.float64, ndim=3)
    references: wp.array(dtype=wp.mat33d, ndim=3)
    penalties: wp.array(dtype=wp.mat33d, ndim=3)
    damping: wp.float64
    ridge: wp.float64
    tolerance: wp.float64
    steps: int


@wp.func
def _read(slots: wp.array(dtype=wp.mat44d, ndim=2), worker: int, slot: int, flags: int) -> wp.mat44d:
    value = slots[worker, slot]
    if flags & 1 == 1:
        value = wp.transpose(value)
    return value


@wp.func
def _turn_block(form: wp.mat44d, first: wp.vec3d, second: wp.vec3d) -> wp.mat33d:
    """``sum (q_k - c_i)(q_l - c_j)^T`` as the block of two turns: its trace on the diagonal, less its transpose."""
    a = wp.vec3d(form[0, 3], form[1, 3], form[2, 3]) - first * form[3, 3]
    b = wp.vec3d(form[3, 0], form[3, 1], form[3, 2])
    part = wp.mat33d(
        form[0, 0], form[1, 0], form[2, 0],
        form[0, 1], form[1, 1], form[2, 1],
        form[0, 2], form[1, 2], form[2, 2],
    )  # fmt: skip
    moved = part - wp.outer(second, a) - wp.outer(b, first)
    return wp.identity(n=3, dtype=wp.float64) * wp.trace(moved) - moved


@wp.func
def evaluate(
    eq: Equations, rig: RigTables, pose: PoseState, work: Work, task: Problem, frame: int, worker: int
) -> wp.float64:
    """Fill pair slots and residual moments; return the energy of the skin [m^2], less the targets' squares."""
    row = frame % task.sums.shape[0]
    energy = wp.float64(0.0)
    for node in range(eq.nodes.shape[0]):
        moments = wp.mat44d()
        for axis in range(3):
            for entry in range(4):
                moments[axis, entry] = -task.moments[frame, axis, 4 * node + entry]
        work.residuals[worker, node] = moments
        energy += wp.ddot(moments, pose.columns[worker, eq.nodes[node]])
    for pair in range(eq.pairs.shape[0]):
        first = eq.pairs[pair, 0]
        second = eq.pairs[pair, 1]
        sums = task.sums[row, pair]
        left = pose.columns[worker, eq.nodes[first]]
        right = pose.columns[worker, eq.nodes[second]]
        product = left * sums
        work.slots[worker, pair] = product * wp.transpose(right)
        work.residuals[worker, second] += product
        if first != second:
            work.residuals[worker, first] += right * wp.transpose(sums)
    for node in range(eq.nodes.shape[0]):
        column = pose.columns[worker, eq.nodes[node]]
        residual = work.residuals[worker, node]
        # The last rows are (0, 0, 0, 1) and sums of weights: no part of the energy.
        energy += wp.ddot(residual, column) - residual[3, 3]
    return energy


@wp.func
def penalty(
    rig: RigTables, body: BodyTables, pose: PoseState, task: Problem, frame: int, which: int, worker: int
) -> wp.float64:
    """Energy of the penalties."""
    energy = wp.float64(0.0)
    for term in range(task.references.shape[0]):
        row = frame % task.references.shape[1]
        for joint in range(1, rig.parents.shape[0]):
            vector = offset_of(rig, body, pose, task, term, row, joint, which, worker)
            weight = task.penalties[term, frame % task.penalties.shape[1], joint]
            energy += wp.dot(vector, weight * vector)
    return energy


@wp.func
def offset_of(
    rig: RigTables,
    body: BodyTables,
    pose: PoseState,
    task: Problem,
    term: int,
    row: int,
    joint: int,
    which: int,
    worker: int,
) -> wp.vec3d:
    """Rotation vector from a penalty's reference to the joint's T-pose-relative rotation, in its parent's axes."""
    rotation = pose.locals[worker, joint] * wp.transpose(body.zero_turns[which, joint])
    if joint > 1:
        rotation = body.zero_turns[which, rig.parents[joint]] * rotation
    return rotation_vector(rotation * wp.transpose(task.references[term, row, joint]))


@wp.func
def add_penalties(
    eq: Equations,
    rig: RigTables,
    body: BodyTables,
    pose: PoseState,
    work: Work,
    task: Problem,
    frame: int,
    which: int,
    worker: int,
):
    """Gradient and diagonal blocks of the penalties."""
    for term in range(task.references.shape[0]):
        row = frame % task.references.shape[1]
        for unknown in range(eq.joints.shape[0]):
            joint = eq.joints[unknown]
            weight = task.penalties[term, frame % task.penalties.shape[1], joint]
            vector = offset_of(rig, body, pose, task, term, row, joint, which, worker)
            axes = wp.identity(n=3, dtype=wp.float64)
            if joint > 1:
                parent = rig.parents[joint]
                axes = pose.turns[worker, parent] * wp.transpose(body.zero_turns[which, parent])
            axes = axes * wp.transpose(left_jacobian_inverse(vector))
            work.gradient[worker, unknown] += axes * (weight * vector)
            work.blocks[worker, eq.columns[unknown]] += axes * weight * wp.transpose(axes)


@wp.func
def assemble_gradient(eq: Equations, rig: RigTables, pose: PoseState, work: Work, worker: int):
    """Loads of the nodes, added up from the leaves, as torques about the joints and along the twist channels."""
    public = rig.parents.shape[0]
    for joint in range(public):
        work.forces[worker, joint] = wp.vec3d()
        work.torques[worker, joint] = wp.vec3d()
    for channel in range(rig.channel_joints.shape[0]):
        work.channel_torques[worker, channel] = wp.float64(0.0)
    for node in range(eq.nodes.shape[0]):
        joint = eq.nodes[node]
        group = eq.groups[node]
        residual = work.residuals[worker, node]
        column = pose.columns[worker, joint]
        force = wp.vec3d(residual[0, 3], residual[1, 3], residual[2, 3])
        lever = wp.mat33d()
        for a in range(3):
            for b in range(3):
                lever[a, b] = (
                    residual[a, 0] * column[b, 0] + residual[a, 1] * column[b, 1] + residual[a, 2] * column[b, 2]
                )
        torque = wp.vec3d(lever[2, 1] - lever[1, 2], lever[0, 2] - lever[2, 0], lever[1, 0] - lever[0, 1])
        work.forces[worker, group] += force
        work.torques[worker, group] += torque + wp.cross(pose.positions[worker, joint], force)
        if joint >= public:
            work.node_torques[worker, joint - public] = torque
    for joint in range(public - 1, 1, -1):
        parent = rig.parents[joint]
        work.forces[worker, parent] += work.forces[worker, joint]
        work.torques[worker, parent] += work.torques[worker, joint]
    for unknown in range(eq.joints.shape[0]):
        joint = eq.joints[unknown]
        about = wp.cross(pose.positions[worker, joint], work.forces[worker, joint])
        work.gradient[worker, unknown] = work.torques[worker, joint] - about
    work.gradient[worker, eq.joints.shape[0]] = work.forces[worker, 1]


@wp.func
def assemble_channels(
    eq: Equations, rig: RigTables, body: BodyTables, pose: PoseState, work: Work, which: int, worker: int
):
    """Torques along the twist channels, and the rows of the channels as vectors."""
    public = rig.parents.shape[0]
    for helper in range(rig.helper_parents.shape[0]):
        axis = pose.turns[worker, public + helper] * body.axes[which, helper]
        load = wp.dot(axis, work.node_torques[worker, helper])
        for entry in range(rig.entry_offsets[helper], rig.entry_offsets[helper + 1]):
            work.channel_torques[worker, rig.entry_channels[entry]] += rig.entry_factors[entry] * load
    for entry in range(eq.driven.shape[0]):
        channel = eq.driven[entry, 1]
        work.gradient[worker, eq.driven[entry, 0]] += (
            pose.vectors[worker, channel] * work.channel_torques[worker, channel]
        )
    for vector in range(rig.channel_joints.shape[0], pose.vectors.shape[1]):
        pose.vectors[worker, vector] = wp.vec3d()
    for entry in range(eq.twist_rows.shape[0]):
        form = _read(work.slots, worker, eq.twist_rows[entry, 1], eq.twist_rows[entry, 2])
        at = eq.twist_rows[entry, 3]
        helper = eq.twist_rows[entry, 4]
        axis = pose.turns[worker, helper] * body.axes[which, helper - public]
        centre = pose.positions[worker, helper]
        added = wp.vec3d()
        if at == 0:
            b = wp.vec3d(form[3, 0], form[3, 1], form[3, 2])
            added = wp.cross(axis, b - centre * form[3, 3])
        else:
            added = _turn_block(form, pose.positions[worker, at], centre) * axis
        pose.vectors[worker, eq.twist_rows[entry, 0]] += added * eq.twist_row_factors[entry]
    for coupling in range(work.couplings.shape[1]):
        work.couplings[worker, coupling] = wp.float64(0.0)
    for entry in range(eq.twist_pairs.shape[0]):
        first = eq.twist_pairs[entry, 2]
        second = eq.twist_pairs[entry, 3]
        form = work.slots[worker, eq.twist_pairs[entry, 1]]
        block = _turn_block(form, pose.positions[worker, first], pose.positions[worker, second])
        axis = pose.turns[worker, first] * body.axes[which, first - public]
        other = pose.turns[worker, second] * body.axes[which, second - public]
        work.couplings[worker, eq.twist_pairs[entry, 0]] += eq.twist_pair_factors[entry] * wp.dot(axis, block * other)
    for entry in range(eq.twist_folds.shape[0]):
        share = wp.float64(0.5) * work.couplings[worker, eq.twist_folds[entry, 2]]
        pose.vectors[worker, eq.twist_folds[entry, 0]] += pose.vectors[worker, eq.twist_folds[entry, 1]] * share


@wp.func
def assemble_blocks(eq: Equations, pose: PoseState, work: Work, worker: int):
    """The lower blocks of the normal equations."""
    unknowns = eq.joints.shape[0]
    for entry in range(eq.blocks.shape[0]):
        row = eq.blocks[entry, 0]
        column = eq.blocks[entry, 1]
        slot = eq.blocks[entry, 2]
        block = wp.mat33d()
        if slot >= 0:
            form = _read(work.slots, worker, slot, eq.blocks[entry, 3])
            if row < unknowns:
                block = _turn_block(
                    form, pose.positions[worker, eq.joints[row]], pose.positions[worker, eq.joints[column]]
                )
            elif column < unknowns:
                centre = pose.positions[worker, eq.joints[column]]
                b = wp.vec3d(form[3, 0], form[3, 1], form[3, 2]) - centre * form[3, 3]
                block = -wp.skew(b)
            else:
                block = wp.identity(n=3, dtype=wp.float64) * form[3, 3]
        work.blocks[worker, entry] = block
    for entry in range(eq.folds.shape[0]):
        left = pose.vectors[worker, eq.folds[entry, 1]]
        work.blocks[worker, eq.folds[entry, 0]] += wp.outer(left, pose.vectors[worker, eq.folds[entry, 2]])


@wp.func
def normal_equations(
    eq: Equations,
    rig: RigTables,
    body: BodyTables,
    pose: PoseState,
    work: Work,
    task: Problem,
    frame: int,
    which: int,
    worker: int,
):
    """Gradient and blocks at the evaluated pose."""
    for entry in range(eq.sums.shape[0]):
        value = _read(work.slots, worker, eq.sums[entry, 1], eq.sums[entry, 2])
        if eq.sums[entry, 2] & 2 == 2:
            value += work.slots[worker, eq.sums[entry, 0]]
        work.slots[worker, eq.sums[entry, 0]] = value
    assemble_gradient(eq, rig, pose, work, worker)
    assemble_channels(eq, rig, body, pose, work, which, worker)
    assemble_blocks(eq, pose, work, worker)
    add_penalties(eq, rig, body, pose, work, task, frame, which, worker)
