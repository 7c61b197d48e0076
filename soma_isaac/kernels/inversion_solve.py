"""Damped Gauss-Newton steps of pose inversion: one worker takes frames in turn and solves each to the end."""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.inversion_equations import Equations, Problem, Work, evaluate, normal_equations, penalty
from soma_isaac.kernels.inversion_kinematics import BodyTables, PoseState, RigTables, kinematics, rotation_about

wp.set_module_options({"enable_backward": False})

_GROWTH = wp.constant(wp.float64(10.0))
_LARGEST_DAMPING = wp.constant(wp.float64(1.0e6))


@wp.func
def solve_step(eq: Equations, work: Work, ridge: wp.float64, worker: int) -> wp.float64:
    """Eliminate from the leaves on; the step goes to ``work.step``, its largest entry is returned."""
    count = eq.columns.shape[0] - 1
    update = int(0)
    for column in range(count):
        begin = eq.columns[column]
        end = eq.columns[column + 1]
        diagonal = work.blocks[worker, begin]
        for axis in range(3):
            diagonal[axis, axis] += ridge
        inverse = wp.inverse(diagonal)
        work.lower[worker, begin] = inverse
        right = work.gradient[worker, column]
        for entry in range(begin + 1, end):
            lower = work.blocks[worker, entry] * inverse
            work.lower[worker, entry] = lower
            for other in range(begin + 1, entry + 1):
                work.blocks[worker, eq.updates[update]] -= lower * wp.transpose(work.blocks[worker, other])
                update += 1
            work.gradient[worker, eq.blocks[entry, 0]] -= lower * right
    largest = wp.float64(0.0)
    for reverse in range(count):
        column = count - 1 - reverse
        begin = eq.columns[column]
        value = -(work.lower[worker, begin] * work.gradient[worker, column])
        for entry in range(begin + 1, eq.columns[column + 1]):
            value -= wp.transpose(work.lower[worker, entry]) * work.step[worker, eq.blocks[entry, 0]]
        work.step[worker, column] = value
        largest = wp.max(largest, wp.length(value))
    return largest


@wp.func
def damp(eq: Equations, work: Work, damping: wp.float64, worker: int):
    """Marquardt's damping: every unknown pays in proportion to what it moves."""
    for column in range(eq.columns.shape[0] - 1):
        begin = eq.columns[column]
        diagonal = work.blocks[worker, begin]
        for axis in range(3):
            diagonal[axis, axis] *= wp.float64(1.0) + damping
        work.blocks[worker, begin] = diagonal


@wp.func
def take_step(eq: Equations, rig: RigTables, pose: PoseState, work: Work, worker: int):
    """Keep the local turns and apply the step."""
    unknowns = eq.joints.shape[0]
    work.kept_shifts[worker] = pose.shifts[worker]
    pose.shifts[worker] += work.step[worker, unknowns]
    for unknown in range(unknowns):
        joint = eq.joints[unknown]
        work.kept[worker, joint] = pose.locals[worker, joint]
        turned = rotation_about(work.step[worker, unknown]) * pose.turns[worker, joint]
        if joint > 1:
            turned = wp.transpose(pose.turns[worker, rig.parents[joint]]) * turned
        pose.locals[worker, joint] = turned


@wp.func
def take_back(eq: Equations, pose: PoseState, work: Work, worker: int):
    """Undo the last step."""
    pose.shifts[worker] = work.kept_shifts[worker]
    for unknown in range(eq.joints.shape[0]):
        joint = eq.joints[unknown]
        pose.locals[worker, joint] = work.kept[worker, joint]


@wp.kernel
def solve_kernel(
    eq: Equations,
    rig: RigTables,
    body: BodyTables,
    pose: PoseState,
    work: Work,
    task: Problem,
    root_turns: wp.array(dtype=wp.mat33d),
    # in and out
    locals_out: wp.array(dtype=wp.mat33d, ndim=2),
    shifts_out: wp.array(dtype=wp.vec3d),
    # out
    energies_out: wp.array(dtype=wp.float64, ndim=2),
):
    """Refine the frames worker, worker + W, worker + 2 W, ..."""
    worker = wp.tid()
    workers = pose.locals.shape[0]
    frame = int(worker)
    public = rig.parents.shape[0]
    while frame < locals_out.shape[0]:
        which = frame % body.offsets.shape[0]
        pose.turns[worker, 0] = root_turns[frame % root_turns.shape[0]]
        pose.shifts[worker] = shifts_out[frame]
        for joint in range(1, public):
            pose.locals[worker, joint] = locals_out[frame, joint]
        total = wp.float64(wp.inf)
        largest = wp.float64(wp.inf)
        damping = task.damping
        remaining = int(task.steps)
        taken = int(-1)
        restored = int(0)
        # Evaluated at one place, which keeps the kernel small: the start, every try, and what is gone back to.
        while True:
            kinematics(rig, body, pose, which, worker)
            tried = evaluate(eq, rig, pose, work, task, frame, worker)
            tried += penalty(rig, body, pose, task, frame, which, worker)
            accepted = int(0)
            if taken < 0 or tried < total:
                accepted = int(1)
            if restored == 0 and accepted == 1:
                if taken < 0:
                    energies_out[frame, 0] = tried
                else:
                    damping = damping / _GROWTH
                total = tried
                taken += 1
            elif restored == 0:
                take_back(eq, pose, work, worker)
                damping = wp.min(damping * _GROWTH * _GROWTH, _LARGEST_DAMPING)
            if remaining == 0 or largest < task.tolerance:
                break
            if restored == 1 or accepted == 1:
                normal_equations(eq, rig, body, pose, work, task, frame, which, worker)
                damp(eq, work, damping, worker)
                largest = solve_step(eq, work, task.ridge, worker)
                take_step(eq, rig, pose, work, worker)
                remaining -= 1
                restored = int(0)
            else:
                restored = int(1)
        for joint in range(1, public):
            locals_out[frame, joint] = pose.locals[worker, joint]
        shifts_out[frame] = pose.shifts[worker]
        energies_out[frame, 1] = total
        energies_out[frame, 2] = wp.float64(taken)
        frame += workers
