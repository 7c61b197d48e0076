"""Device memory and launches of pose inversion: what a rig and a body are to the kernels, and one solve of a batch."""

from __future__ import annotations

import threading

import numpy as np
import warp as wp

from soma_isaac.body.buffers import run_parallel
from soma_isaac.body.identity import PreparedIdentity, device_array
from soma_isaac.body.launches import rows
from soma_isaac.body.layout import JointLayout
from soma_isaac.body.twist import TwistProgram
from soma_isaac.inversion.normal_equations import EquationPlan
from soma_isaac.inversion.quadratic import BodyGeometry, SkinTables
from soma_isaac.inversion.settings import InversionSettings, Penalties
from soma_isaac.kernels.inversion_equations import Equations, Problem, Work
from soma_isaac.kernels.inversion_kinematics import BodyTables, PoseState, RigTables
from soma_isaac.kernels.inversion_normal import equations_kernel
from soma_isaac.kernels.inversion_solve import solve_kernel

_GPU_SCRATCH = 4 << 30
"""Bytes of scratch memory that bound the number of frames a GPU solves at once."""


class Solver:
    """The lists of one rig on one device, and scratch memory."""

    def __init__(
        self,
        layout: JointLayout,
        program: TwistProgram | None,
        tables: SkinTables,
        plan: EquationPlan,
        device: wp.Device,
        threads: int,
    ) -> None:
        self.layout = layout
        self.program = program
        self.plan = plan
        self.device = device
        self._threads = threads
        self._nodes = len(tables.nodes)
        self._rig = self._rig_tables()
        self._equations = self._equation_tables(tables)
        self._scratch: list[tuple[PoseState, Work]] = []
        self._lock = threading.Lock()

    def body_tables(self, identity: PreparedIdentity, geometry: BodyGeometry) -> tuple[BodyTables, wp.array]:
        """Constants of I bodies, and the root's turn [I]."""
        public = self.layout.public_count
        bind = geometry.bind_rotations
        count = len(bind)
        tables = BodyTables()
        tables.offsets = self._doubles(geometry.offsets, wp.vec3d)
        tables.zero_turns = self._doubles(geometry.zero_turns, wp.mat33d)
        left = right = np.zeros((count, 0, 3, 3))
        axes = np.zeros((count, 0, 3))
        channels = identity.arrays.channels
        if self.program is not None and channels is not None:
            program = self.program
            left = channels.left.numpy().astype(np.float64) @ np.swapaxes(bind[:, program.references], -1, -2)
            right = bind[:, program.joints] @ channels.right.numpy().astype(np.float64)
            axes = bind[:, public + np.arange(len(program.helper_axes)), :, program.helper_axes]
            axes = np.moveaxis(axes, 0, 1) * program.helper_signs[:, None]
        tables.left = self._doubles(left, wp.mat33d)
        tables.right = self._doubles(right, wp.mat33d)
        tables.axes = self._doubles(axes, wp.vec3d)
        return tables, self._doubles(np.swapaxes(bind[:, 0], -1, -2), wp.mat33d)

    def solve(
        self,
        body: BodyTables,
        root_turns: wp.array,
        sums: wp.array,
        moments: wp.array,
        locals: wp.array,
        shifts: wp.array,
        settings: InversionSettings,
        *,
        ridge: float,
        penalties: Penalties,
    ) -> np.ndarray:
        """Refine poses in place.

        Args:
            body: Of 1 or B bodies.
            root_turns: [1 or B] mat33d.
            sums: [1 or B, Q] mat44d.
            moments: [B, 3, 4 N] float64.
            locals: [B, P] mat33d, local turns.
            shifts: [B] vec3d, m, position of joint 1 from each frame's origin.
            settings: How to step.
            ridge: Added to every diagonal entry [m^2], for what no vertex tells.
            penalties: On joint rotations.

        Returns:
            [B, 3]: energy before and after, up to a constant [m^2], and the number of steps that helped.
        """
        batch = len(shifts)
        energies = wp.empty((batch, 3), dtype=wp.float64, device=self.device)
        parts = min(self._threads, batch) if self.device.is_cpu else 1
        bounds = np.linspace(0, batch, max(parts, 1) + 1).astype(int)
        whole = self._problem(sums, moments, penalties, ridge)
        whole.damping, whole.tolerance, whole.steps = settings.damping, settings.tolerance, settings.steps

        def part(number: int) -> None:
            begin, end = int(bounds[number]), int(bounds[number + 1])
            pose, work = self._scratch[number]
            wp.launch(
                solve_kernel,
                dim=min(pose.locals.shape[0], end - begin),
                inputs=[self._equations, self._rig, _body_rows(body, begin, end), pose, work,
                        _problem_rows(whole, begin, end), rows(root_turns, begin, end),
                        locals[begin:end], shifts[begin:end]],
                outputs=[energies[begin:end]],
                device=self.device,
            )  # fmt: skip

        with self._lock:
            self._provide_scratch(parts, batch)
            run_parallel([lambda number=number: part(number) for number in range(parts)], self._threads)
        return energies.numpy()

    def equations(
        self,
        body: BodyTables,
        root_turns: wp.array,
        sums: wp.array,
        moments: wp.array,
        locals: wp.array,
        shifts: wp.array,
        *,
        penalties: Penalties,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Normal equations of poses; see :meth:`solve` for the arguments.

        Returns:
            Energies of skin and penalties [B, 2], half gradients [B, n, 3], and the normal matrix [B, 3 n, 3 n] of the
            unknowns in the plan's order: its inverse is the covariance of turns and shift for unit noise.
        """
        batch, count = len(shifts), len(self.plan.joints) + 1
        energies = wp.empty((batch, 2), dtype=wp.float64, device=self.device)
        pose, work = self._scratch_memory(batch)
        task = self._problem(sums, moments, penalties, 0.0)
        wp.launch(
            equations_kernel,
            dim=batch,
            inputs=[self._equations, self._rig, body, pose, work, task, root_turns, locals, shifts],
            outputs=[energies],
            device=self.device,
        )
        blocks = work.blocks.numpy()
        matrix = np.zeros((batch, count, 3, count, 3))
        for entry, (row, column, _, _) in enumerate(self.plan.blocks):
            matrix[:, column, :, row] = np.swapaxes(blocks[:, entry], -1, -2)
            matrix[:, row, :, column] = blocks[:, entry]
        return energies.numpy(), work.gradient.numpy(), matrix.reshape(batch, 3 * count, 3 * count)

    def _problem(self, sums: wp.array, moments: wp.array, penalties: Penalties, ridge: float) -> Problem:
        task = Problem()
        task.sums, task.moments, task.ridge = sums, moments, ridge
        task.references = self._doubles(penalties.references, wp.mat33d)
        task.penalties = self._doubles(penalties.weights, wp.mat33d)
        return task

    def _provide_scratch(self, parts: int, batch: int) -> None:
        if self.device.is_cpu:
            while len(self._scratch) < parts:
                self._scratch.append(self._scratch_memory(1))
            return
        per_frame = 128 * self.plan.slot_count + 144 * len(self.plan.blocks) + 32_768
        workers = max(1, min(batch, _GPU_SCRATCH // per_frame))
        if not self._scratch or self._scratch[0][0].locals.shape[0] != workers:
            self._scratch = [self._scratch_memory(workers)]

    def _scratch_memory(self, workers: int) -> tuple[PoseState, Work]:
        """Rows of workers; on a GPU entries of neighbouring workers lie side by side."""
        public, skinned = self.layout.public_count, len(self.layout.joint_names)
        helpers = skinned - public
        plan, channels = self.plan, 0 if self.program is None else len(self.program.joints)

        def zeros(count: int, dtype: type) -> wp.array:
            if self.device.is_cuda:
                return wp.zeros((count, workers), dtype=dtype, device=self.device).transpose()
            return wp.zeros((workers, count), dtype=dtype, device=self.device)

        pose, work = PoseState(), Work()
        pose.locals = zeros(public, wp.mat33d)
        pose.shifts = wp.zeros(workers, dtype=wp.vec3d, device=self.device)
        pose.turns = zeros(skinned, wp.mat33d)
        pose.positions = zeros(skinned, wp.vec3d)
        pose.columns = zeros(skinned, wp.mat44d)
        pose.angles = zeros(channels, wp.float64)
        pose.vectors = zeros(plan.vector_count, wp.vec3d)
        work.residuals = zeros(self._nodes, wp.mat44d)
        work.slots = zeros(plan.slot_count, wp.mat44d)
        work.forces = zeros(public, wp.vec3d)
        work.torques = zeros(public, wp.vec3d)
        work.node_torques = zeros(helpers, wp.vec3d)
        work.couplings = zeros(plan.coupling_count, wp.float64)
        work.channel_torques = zeros(channels, wp.float64)
        work.blocks = zeros(len(plan.blocks), wp.mat33d)
        work.lower = zeros(len(plan.blocks), wp.mat33d)
        work.gradient = zeros(len(plan.joints) + 1, wp.vec3d)
        work.step = zeros(len(plan.joints) + 1, wp.vec3d)
        work.kept = zeros(public, wp.mat33d)
        work.kept_shifts = wp.zeros(workers, dtype=wp.vec3d, device=self.device)
        return pose, work

    def _rig_tables(self) -> RigTables:
        rig, layout, program = RigTables(), self.layout, self.program
        rig.parents = self._ints(layout.parents)
        rig.helper_parents = self._ints(layout.helper_parents)
        none = np.zeros(0)
        rig.channel_joints = self._ints(none if program is None else program.joints)
        rig.channel_references = self._ints(none if program is None else program.references)
        rig.channel_methods = self._ints(none if program is None else program.methods)
        rig.channel_axes = self._ints(none if program is None else program.axes)
        rig.channel_signs = self._doubles(none if program is None else program.signs, wp.float64)
        rig.entry_offsets = self._ints(np.zeros(1) if program is None else program.entry_offsets)
        rig.entry_channels = self._ints(none if program is None else program.entry_channels)
        rig.entry_factors = self._doubles(none if program is None else program.entry_factors, wp.float64)
        return rig

    def _equation_tables(self, tables: SkinTables) -> Equations:
        eq, plan = Equations(), self.plan
        eq.nodes, eq.pairs = self._ints(tables.nodes), self._ints(tables.pairs)
        for name in ("joints", "groups", "sums", "blocks", "columns", "updates", "driven", "twist_rows", "twist_pairs",
                     "twist_folds", "folds"):  # fmt: skip
            setattr(eq, name, self._ints(getattr(plan, name)))
        eq.twist_row_factors = self._doubles(plan.twist_row_factors, wp.float64)
        eq.twist_pair_factors = self._doubles(plan.twist_pair_factors, wp.float64)
        return eq

    def _ints(self, values: np.ndarray) -> wp.array:
        return device_array(np.asarray(values, dtype=np.int32), wp.int32, self.device)

    def _doubles(self, values: np.ndarray, dtype: type) -> wp.array:
        return double_array(values, dtype, self.device)


def double_array(values: np.ndarray, dtype: type, device: wp.Device) -> wp.array:
    """Copy numbers into a float64 Warp array on a device."""
    return wp.array(np.ascontiguousarray(values, dtype=np.float64), dtype=dtype, device=device)


def _body_rows(body: BodyTables, begin: int, end: int) -> BodyTables:
    part = BodyTables()
    for name in ("offsets", "zero_turns", "left", "right", "axes"):
        setattr(part, name, rows(getattr(body, name), begin, end))
    return part


def _problem_rows(task: Problem, begin: int, end: int) -> Problem:
    part = Problem()
    part.sums, part.moments = rows(task.sums, begin, end), task.moments[begin:end]
    for name in ("references", "penalties"):
        array = getattr(task, name)
        setattr(part, name, array if array.shape[1] == 1 or not array.size else array[:, begin:end])
    part.damping, part.ridge, part.tolerance, part.steps = task.damping, task.ridge, task.tolerance, task.steps
    return part
