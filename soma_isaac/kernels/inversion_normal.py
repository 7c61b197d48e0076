"""Normal equations of given poses, left in scratch memory: for covariances and for checks."""

# pyright: reportInvalidTypeForm=false, reportOperatorIssue=false, reportCallIssue=false, reportArgumentType=false
from __future__ import annotations

import warp as wp

from soma_isaac.kernels.inversion_equations import Equations, Problem, Work, evaluate, normal_equations, penalty
from soma_isaac.kernels.inversion_kinematics import BodyTables, PoseState, RigTables, kinematics

wp.set_module_options({"enable_backward": False})


@wp.kernel
def equations_kernel(
    eq: Equations,
    rig: RigTables,
    body: BodyTables,
    pose: PoseState,
    work: Work,
    task: Problem,
    root_turns: wp.array(dtype=wp.mat33d),
    locals: wp.array(dtype=wp.mat33d, ndim=2),
    shifts: wp.array(dtype=wp.vec3d),
    # out
    energies_out: wp.array(dtype=wp.float64, ndim=2),
):
    """Energy and normal equations of one pose per worker, left in its scratch memory."""
    frame = wp.tid()
    which = frame % body.offsets.shape[0]
    pose.turns[frame, 0] = root_turns[frame % root_turns.shape[0]]
    pose.shifts[frame] = shifts[frame]
    for joint in range(1, rig.parents.shape[0]):
        pose.locals[frame, joint] = locals[frame, joint]
    kinematics(rig, body, pose, which, frame)
    energies_out[frame, 0] = evaluate(eq, rig, pose, work, task, frame, frame)
    energies_out[frame, 1] = penalty(rig, body, pose, task, frame, which, frame)
    normal_equations(eq, rig, body, pose, work, task, frame, which, frame)
