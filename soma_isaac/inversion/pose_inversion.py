"""From posed vertices to the pose that made them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.identity import PreparedIdentity, device_array
from soma_isaac.body.orientations import absolute_from_relative
from soma_isaac.body.soma import SomaBody
from soma_isaac.body.twist import compile_twist
from soma_isaac.errors import InputRejected
from soma_isaac.inversion.closed_form import affine_basis, closed_form, quadratic_form
from soma_isaac.inversion.normal_equations import equation_plan
from soma_isaac.inversion.quadratic import BodyGeometry, body_geometry, pair_sums, skin_tables
from soma_isaac.inversion.solver import Penalties, Solver, StepSettings, double_array
from soma_isaac.kernels.inversion_kinematics import BodyTables
from soma_isaac.kernels.inversion_moments import launch_moments
from soma_isaac.kernels.inversion_start import (
    affine_kernel,
    locals_kernel,
    origins_kernel,
    rotations_kernel,
    turns_kernel,
)

_SAMPLES = 64
_RIDGE = 1e-10


@dataclass(frozen=True, eq=False)
class InversionBody:
    """Everything about I bodies and their vertex weights that does not depend on frames.

    Attributes:
        identity: The prepared bodies.
        vertex_weights: [1 or R, V] float32.
        geometry: Where the joints are.
        tables: For the solver.
        root_turns: [I] mat33d.
        centres: [I, N] vec3, bind positions of the nodes.
        sums: [R, Q] mat44d.
        matrices: [R, 4 N, 3 S + 1], closed form from moments to affine turns.
        information: [R, S] mat33d.
        ridge: See :meth:`soma_isaac.inversion.solver.Solver.solve`.
    """

    identity: PreparedIdentity
    vertex_weights: wp.array
    geometry: BodyGeometry
    tables: BodyTables
    root_turns: wp.array
    centres: wp.array
    sums: wp.array
    matrices: np.ndarray
    information: wp.array
    ridge: float

    @property
    def count(self) -> int:
        """Number of bodies or weightings: 1 or the number of frames."""
        return max(self.identity.count, self.vertex_weights.shape[0])


@dataclass(frozen=True, eq=False)
class PoseInversionResult:
    """Poses of B frames.

    Attributes:
        rotations: [B, 77, 3, 3] relative to the T-pose in world-aligned axes, as ``SomaBody.pose`` takes them.
        absolute_rotations: [B, 78, 3, 3] the rig's local rotations; the root's is the identity.
        root_translation: [B, 3] m, Hips.
        per_vertex_error: [B, V] m, distance of the posed body, twist helpers included, from the target; NaN where the
            target has no vertex.
        vertex_weights: [1 or B, V] what each vertex counted in the end.
        steps: [B] Gauss-Newton steps that helped.
    """

    rotations: np.ndarray
    absolute_rotations: np.ndarray
    root_translation: np.ndarray
    per_vertex_error: np.ndarray
    vertex_weights: np.ndarray
    steps: np.ndarray


class PoseInversion:
    """Find poses of posed meshes.

    Example::

        body = SomaBody(load_template_rig(), lod="low")
        inversion = PoseInversion(body)
        result = inversion.fit(vertices, inversion.prepare(body.prepare()))
    """

    def __init__(self, body: SomaBody) -> None:
        """Plan the inversion of a body's mesh.

        Raises:
            RigMismatch: The root moves vertices.
        """
        layout = body.layout
        self.body = body
        self._program = compile_twist(body.rig.twist, layout) if layout.twisted and body.rig.twist is not None else None
        self._tables = skin_tables(body)
        plan = equation_plan(layout, self._program, self._tables.nodes, self._tables.pairs)
        self._solver = Solver(layout, self._program, self._tables, plan, body.device, body.threads)
        self._parents = np.concatenate([np.maximum(layout.parents, 0), layout.helper_parents])
        self._moved = self._joints_that_move()
        self._solved = np.flatnonzero(self._moved[: layout.public_count])
        ints = lambda values: device_array(np.asarray(values, dtype=np.int32), wp.int32, body.device)
        self._device_parents = ints(layout.parents)
        self._device_solved = ints(self._solved)
        self._device_moved = ints(self._moved[: layout.public_count])
        self._samples = ints(np.linspace(0, body.vertex_count - 1, min(_SAMPLES, body.vertex_count)))

    def _joints_that_move(self) -> np.ndarray:
        moved = np.zeros(len(self._parents), dtype=bool)
        moved[self._tables.nodes] = True
        for joint in range(len(moved) - 1, 0, -1):
            moved[self._parents[joint]] |= moved[joint]
        moved[0] = False
        return moved

    def prepare(self, identity: PreparedIdentity, vertex_weights: ArrayLike | None = None) -> InversionBody:
        """Sum up bodies once; fits of any number of frames follow.

        Args:
            identity: Of the inversion's body: 1, or as many as there will be frames.
            vertex_weights: [V] or [R, V], how much each vertex counts, at least 0; 1 by default. Rows are weightings of
                the frames to come.

        Raises:
            InputRejected: The identity belongs to another LOD or device, or the weights do not fit.
        """
        if identity.lod != self.body.lod or identity.arrays.points.device != self.body.device:
            raise InputRejected(
                f"the identity was prepared for LOD {identity.lod} on {identity.arrays.points.device}, "
                f"this inversion is for {self.body.lod} on {self.body.device}"
            )
        weights = _checked_weights(vertex_weights, self.body.vertex_count)
        if 1 not in (len(weights), identity.count) and len(weights) != identity.count:
            raise InputRejected(f"{len(weights)} rows of vertex_weights do not fit {identity.count} identities")
        geometry = body_geometry(self.body, identity, self._program)
        tables, root_turns = self._solver.body_tables(identity, geometry)
        nodes = self._tables.nodes
        points = identity.arrays.points
        device_weights = device_array(weights, wp.float32, self.body.device)
        sums = pair_sums(self._tables, points, geometry.centres[:, nodes], device_weights)
        host_sums = sums.numpy()
        forms = []
        height = float(np.ptp(identity.rest_points[..., 1]))
        for row in range(len(host_sums)):
            which = row % len(geometry.offsets)
            axes = self._helper_axes(geometry, which)
            basis, deviation = affine_basis(self._parents, geometry.offsets[which], axes, self._moved)
            form = quadratic_form(self._tables.pairs, host_sums[row], len(nodes))
            forms.append(closed_form(form, basis, deviation, nodes=nodes, joints=self._solved, height=height))
        return InversionBody(
            identity=identity,
            vertex_weights=device_weights,
            geometry=geometry,
            tables=tables,
            root_turns=root_turns,
            centres=device_array(geometry.centres[:, nodes], wp.vec3, self.body.device),
            sums=sums,
            matrices=np.stack([form.matrix for form in forms]),
            information=double_array(np.stack([form.information for form in forms]), wp.mat33d, self.body.device),
            ridge=_RIDGE * float(weights.sum(axis=1).mean()) * height**2,
        )

    def _helper_axes(self, geometry: BodyGeometry, which: int) -> np.ndarray:
        public = self.body.layout.public_count
        if self._program is None:
            return np.zeros((0, 3))
        helpers = public + np.arange(len(self._program.helper_axes))
        return geometry.bind_rotations[which][helpers, :, self._program.helper_axes]

    def fit(
        self, vertices: ArrayLike | wp.array, body: InversionBody, *, settings: StepSettings | None = None
    ) -> PoseInversionResult:
        """Poses of meshes.

        Args:
            vertices: [B, V, 3] m in the topology of the inversion's body.
            body: From :meth:`prepare`.
            settings: How to refine.

        Raises:
            InputRejected: A shape does not fit or a vertex that counts is not finite.
        """
        settings = settings or StepSettings()
        targets = self._targets(vertices)
        batch = targets.shape[0]
        if body.count not in (1, batch):
            raise InputRejected(f"{batch} frames do not fit {body.count} bodies or weightings")
        device = self.body.device
        origins = wp.empty(batch, dtype=wp.vec3, device=device)
        wp.launch(origins_kernel, dim=batch, inputs=[self._samples, targets], outputs=[origins], device=device)
        moments = wp.empty((batch, 3, 4 * len(self._tables.nodes)), dtype=wp.float64, device=device)
        launch_moments(
            self._tables.entries,
            points=body.identity.arrays.points,
            centres=body.centres,
            vertex_weights=body.vertex_weights,
            targets=targets,
            origins=origins,
            moments_out=moments,
        )
        locals, shifts = self._start(body, moments)
        energies = self._solver.solve(
            body.tables, body.root_turns, body.sums, moments, locals, shifts, settings, ridge=body.ridge
        )
        return self._result(body, targets, origins, locals, shifts, energies)

    def _targets(self, vertices: ArrayLike | wp.array) -> wp.array:
        values = np.asarray(vertices, dtype=np.float32)
        flat = wp.array(values.reshape(-1, 3), dtype=wp.vec3, device=self.body.device, copy=False)
        return flat.reshape(values.shape[:2])

    def _start(self, body: InversionBody, moments: wp.array) -> tuple[wp.array, wp.array]:
        device, batch = self.body.device, moments.shape[0]
        public = self.body.layout.public_count
        if device.is_cpu:
            affine = double_array(moments.numpy() @ body.matrices, wp.float64, device)
        else:
            matrices = double_array(body.matrices, wp.float64, device)
            affine = wp.empty((batch, 3, matrices.shape[2]), dtype=wp.float64, device=device)
            wp.launch(
                affine_kernel, dim=(matrices.shape[2], 3, batch), inputs=[moments, matrices], outputs=[affine],
                device=device,
            )  # fmt: skip
        turns = wp.zeros((batch, public), dtype=wp.mat33d, device=device)
        locals = wp.zeros((batch, public), dtype=wp.mat33d, device=device)
        shifts = wp.empty(batch, dtype=wp.vec3d, device=device)
        wp.launch(
            turns_kernel,
            dim=(batch, len(self._solved)),
            inputs=[self._device_solved, body.information, affine],
            outputs=[turns, shifts],
            device=device,
        )
        wp.launch(
            locals_kernel,
            dim=(batch, public - 1),
            inputs=[self._device_parents, self._device_moved, body.tables.zero_turns, turns],
            outputs=[locals],
            device=device,
        )
        return locals, shifts

    def _result(self, body, targets, origins, locals, shifts, energies) -> PoseInversionResult:
        device, (batch, public) = self.body.device, locals.shape
        rotations = wp.empty((batch, public - 1), dtype=wp.mat33d, device=device)
        wp.launch(
            rotations_kernel,
            dim=(batch, public - 1),
            inputs=[self._device_parents, body.tables.zero_turns, locals],
            outputs=[rotations],
            device=device,
        )
        relative = rotations.numpy()
        translation = shifts.numpy() + origins.numpy()
        posed = self.body.pose(body.identity, relative, translation)
        error = np.linalg.norm(posed.vertices.numpy() - targets.numpy(), axis=-1)
        return PoseInversionResult(
            rotations=relative,
            absolute_rotations=absolute_from_relative(relative, self.body.orientations),
            root_translation=translation,
            per_vertex_error=error,
            vertex_weights=body.vertex_weights.numpy(),
            steps=energies[:, 2].astype(int),
        )


def _checked_weights(weights: ArrayLike | None, count: int) -> np.ndarray:
    if weights is None:
        return np.ones((1, count), dtype=np.float32)
    values = np.asarray(weights, dtype=np.float32)
    values = values[None] if values.ndim == 1 else values
    if values.ndim != 2 or values.shape[1] != count:
        raise InputRejected(f"vertex_weights has shape {values.shape}, expected ({count},) or (R, {count})")
    if not np.isfinite(values).all() or (values < 0.0).any():
        raise InputRejected("vertex_weights are not finite or negative")
    if (values.sum(axis=1) <= 0.0).any():
        raise InputRejected("vertex_weights leave a frame without vertices")
    return values
