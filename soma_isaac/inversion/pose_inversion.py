"""From posed vertices to the pose that made them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.identity import PreparedIdentity, device_array
from soma_isaac.body.launches import rows
from soma_isaac.body.orientations import absolute_from_relative
from soma_isaac.body.soma import SomaBody
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.body.twist import compile_twist
from soma_isaac.errors import InputRejected
from soma_isaac.inversion.batch import PoseBatch, PoseInversionResult
from soma_isaac.inversion.normal_equations import equation_plan
from soma_isaac.inversion.prepared import InversionBody, reweighted, with_closed_forms
from soma_isaac.inversion.quadratic import body_geometry, levers, pair_sums, skin_tables
from soma_isaac.inversion.settings import (
    InversionSettings,
    neighbour_penalties,
    on_hinges,
    smoothing_strides,
    static_penalties,
)
from soma_isaac.inversion.solver import Solver
from soma_isaac.inversion.start import Starter
from soma_isaac.inversion.targets import TargetReader
from soma_isaac.inversion.weights import checked_weights, robust_weights
from soma_isaac.kernels.inversion_moments import launch_moments
from soma_isaac.math.arrays import check_rotations, frozen_array

__all__ = ["InversionBody", "PoseInversion", "PoseInversionResult"]

_CHUNK = 64


class PoseInversion:
    """Find poses of posed meshes.

    Example::

        body = SomaBody(load_template_rig(), lod="low")
        inversion = PoseInversion(body)
        result = inversion.fit(vertices, inversion.prepare(body.prepare()))  # (B, 4505, 3) or (B, 18056, 3) m
        again = body.pose(identity, result.rotations, result.root_translation)
    """

    def __init__(self, body: SomaBody, transfer: TopologyTransfer | None = None) -> None:
        """Plan the inversion of a body's mesh.

        Args:
            body: Whose poses; its LOD is the one that is fitted.
            transfer: From another topology to the body's mesh; meshes with its number of vertices are then accepted.

        Raises:
            RigMismatch: The root moves vertices.
            InputRejected: The transfer leads to another mesh.
        """
        layout = body.layout
        self.body = body
        self._program = compile_twist(body.rig.twist, layout) if layout.twisted and body.rig.twist is not None else None
        self._tables = skin_tables(body)
        plan = equation_plan(layout, self._program, self._tables.nodes, self._tables.pairs)
        self._solver = Solver(layout, self._program, self._tables, plan, body.device, body.threads)
        self._parents = np.concatenate([np.maximum(layout.parents, 0), layout.helper_parents])
        self._moved = self._joints_that_move()
        self._starter = Starter(layout, self._moved[: layout.public_count], body.device)
        self._reader = TargetReader(body, transfer)

    @property
    def solved_joints(self) -> np.ndarray:
        """Public joints [S] that move vertices, themselves or through joints below; the others keep their zero pose."""
        return np.flatnonzero(self._moved[: self.body.layout.public_count])

    def prepare(self, identity: PreparedIdentity, vertex_weights: ArrayLike | None = None) -> InversionBody:
        """Sum up bodies once; fits of any number of frames follow.

        Args:
            identity: Of the inversion's body: 1, or as many as there will be frames.
            vertex_weights: [V] or [R, V], how much each vertex counts, at least 0; 1 by default. See
                :func:`soma_isaac.inversion.weights.limb_weights`. R rows are for R frames.

        Raises:
            InputRejected: The identity belongs to another LOD or device, or the weights do not fit.
        """
        body, tables = self.body, self._tables
        if identity.lod != body.lod or identity.arrays.points.device != body.device:
            raise InputRejected(
                f"the identity was prepared for LOD {identity.lod} on {identity.arrays.points.device}, "
                f"this inversion is for {body.lod} on {body.device}"
            )
        weights = checked_weights(vertex_weights, body.vertex_count)
        if 1 not in (len(weights), identity.count) and len(weights) != identity.count:
            raise InputRejected(f"{len(weights)} rows of vertex_weights do not fit {identity.count} identities")
        geometry = body_geometry(body, identity, self._program)
        solver_tables, root_turns = self._solver.body_tables(identity, geometry)
        centres = geometry.centres[:, tables.nodes]
        device_weights = device_array(weights, wp.float32, body.device)
        points, device_centres = identity.arrays.points, device_array(centres, wp.vec3, body.device)
        single = max(identity.count, len(weights)) == 1
        prepared = InversionBody(
            identity=identity,
            vertex_weights=device_weights,
            geometry=geometry,
            tables=solver_tables,
            root_turns=root_turns,
            centres=device_centres,
            sums=pair_sums(tables, points, centres, device_weights),
            height=float(np.ptp(identity.rest_points[0, :, 1])),
            weight=float(weights.sum(axis=1).mean(dtype=np.float64)),
            closed_forms=(),
            levers=levers(tables, points, device_centres, device_weights) if single else None,
        )
        return self._with_closed_forms(prepared)

    def fit(
        self,
        vertices: ArrayLike | wp.array,
        body: InversionBody,
        settings: InversionSettings | None = None,
        *,
        initial: ArrayLike | None = None,
    ) -> PoseInversionResult:
        """Poses of meshes.

        Vertices that are not finite are missing: they count in no frame that lacks them.

        Args:
            vertices: [B, V, 3] m in the topology of the body's LOD, of the mid mesh for a low body, or of the
                transfer's source; or a Warp array [B, V] of vec3.
            body: From :meth:`prepare`.
            settings: How to solve.
            initial: [B, 77, 3, 3] rotations to start from, e.g. of the frames before; by default the closed form.

        Raises:
            InputRejected: A shape does not fit, or a frame has no vertex that counts.
        """
        settings = settings or InversionSettings()
        targets, missing = self._reader.read(vertices)
        frames = targets.shape[0]
        if body.count not in (1, frames) or body.identity.count not in (1, frames):
            raise InputRejected(f"{frames} frames do not fit {body.count} bodies or weightings")
        batch = self._begin(targets, missing, body)
        if frames:
            self._set_start(batch, missing, initial)
            eased = settings.eased()
            if eased is not None:
                self._solve(batch, eased)
            self._solve(batch, settings)
            self._renew(batch, settings, missing)
            if settings.smoothness > 0.0:
                self._smooth(batch, settings)
        return self._result(batch, targets, missing, settings)

    def _joints_that_move(self) -> np.ndarray:
        moved = np.zeros(len(self._parents), dtype=bool)
        moved[self._tables.nodes] = True
        for joint in range(len(moved) - 1, 0, -1):
            moved[self._parents[joint]] |= moved[joint]
        moved[0] = False
        return moved

    def _with_closed_forms(self, body: InversionBody) -> InversionBody:
        public = self.body.layout.public_count
        axes = np.zeros((len(body.geometry.offsets), 0, 3))
        if self._program is not None:
            helpers = public + np.arange(len(self._program.helper_axes))
            axes = np.moveaxis(body.geometry.bind_rotations[:, helpers, :, self._program.helper_axes], 0, 1)
        return with_closed_forms(
            body,
            self._tables,
            parents=self._parents,
            axes=axes,
            moved=self._moved,
            public=public,
        )

    def _begin(self, targets: wp.array, missing: np.ndarray | None, body: InversionBody) -> PoseBatch:
        device, frames, public = self.body.device, targets.shape[0], self.body.layout.public_count
        if missing is not None:
            weights = np.where(missing, 0.0, body.vertex_weights.numpy())
            empty = np.flatnonzero(weights.sum(axis=1) <= 0.0)
            if empty.size:
                raise InputRejected(f"frame {int(empty[0])} has no vertex that counts")
            body = replace(reweighted(body, self._tables, weights), weight=body.weight)
        batch = PoseBatch(
            body=body,
            targets=targets,
            origins=self._reader.origins(targets, missing),
            moments=wp.empty((frames, 3, 4 * len(self._tables.nodes)), dtype=wp.float64, device=device),
            locals=wp.zeros((frames, public), dtype=wp.mat33d, device=device),
            shifts=wp.zeros(frames, dtype=wp.vec3d, device=device),
            steps=np.zeros(frames, dtype=np.int64),
        )
        if frames:
            self._sum_moments(batch)
        return batch

    def _sum_moments(self, batch: PoseBatch) -> None:
        body, frames = batch.body, batch.targets.shape[0]
        # Levers of one body serve all frames; those of many are made for some frames at a time, to save memory.
        size = frames if body.levers is not None else _CHUNK
        for begin in range(0, frames, size):
            end = min(begin + size, frames)
            shared = body.levers
            if shared is None:
                parts = (body.identity.arrays.points, body.centres, body.vertex_weights)
                shared = levers(self._tables, *(rows(array, begin, end) for array in parts))
            launch_moments(
                self._tables.entries,
                levers=shared,
                targets=batch.targets[begin:end],
                origins=batch.origins[begin:end],
                moments_out=batch.moments[begin:end],
            )

    def _set_start(
        self,
        batch: PoseBatch,
        missing: np.ndarray | None,
        initial: ArrayLike | None,
    ) -> None:
        frames = batch.targets.shape[0]
        body = batch.body
        if missing is not None:
            # Frames that lack the same vertices share a closed form; it is what a start costs most of.
            _, first, same = np.unique(missing, axis=0, return_index=True, return_inverse=True)
            if body.identity.count == 1:
                kept = body.vertex_weights.numpy()[first]
                forms = self._with_closed_forms(reweighted(body, self._tables, kept)).closed_forms
                body = replace(body, closed_forms=tuple(forms[group] for group in same.ravel()))
            else:
                body = self._with_closed_forms(body)
        self._starter.start(body, batch.moments, batch.locals, batch.shifts)
        if initial is not None:
            rotations = frozen_array("initial", initial, (frames, self.body.layout.public_count - 1, 3, 3))
            check_rotations("initial (frame, joint)", rotations)
            self._starter.set_rotations(batch.locals, rotations, body.geometry.zero_turns)

    def _solve(self, batch: PoseBatch, settings: InversionSettings, stride: int = 0) -> None:
        penalties = static_penalties(settings, self.body.layout, batch.body.unit)
        if stride:
            rotations = self._starter.rotations(batch.locals, batch.body.tables.zero_turns)
            weight = settings.smoothness * batch.body.unit
            penalties = penalties.joined(neighbour_penalties(rotations, weight, stride))
        energies = self._solver.solve(
            batch.body.tables,
            batch.body.root_turns,
            batch.body.sums,
            batch.moments,
            batch.locals,
            batch.shifts,
            settings,
            ridge=batch.body.ridge,
            penalties=penalties,
        )
        batch.steps += energies[:, 2].astype(np.int64)

    def _renew(self, batch: PoseBatch, settings: InversionSettings, missing: np.ndarray | None) -> None:
        """Solve again without correctives, and with other vertex weights, that follow from the pose."""
        raw = batch.targets
        if self.body.corrected:
            for _ in range(settings.corrective_rounds):
                batch.targets = self._reader.device_points(raw.numpy() - self._corrective_offsets(batch))
                self._sum_moments(batch)
                self._solve(batch, settings)
        if settings.robust is None:
            return
        given = batch.body.vertex_weights.numpy()
        weight = batch.body.weight
        scale = np.inf
        for _ in range(settings.robust_rounds):
            errors = self._errors(batch, batch.targets, missing, correctives=False)
            spread = 2.0 * np.nanquantile(errors, 0.75, axis=1, keepdims=True)
            scale = np.maximum(np.minimum(spread, 0.5 * scale), settings.robust)
            weights = given * robust_weights(np.nan_to_num(errors), scale)
            batch.body = replace(reweighted(batch.body, self._tables, weights), weight=weight)
            self._sum_moments(batch)
            self._solve(batch, settings)

    def _smooth(self, batch: PoseBatch, settings: InversionSettings) -> None:
        few = replace(settings, steps=min(settings.steps, 2))
        for stride in smoothing_strides(settings.smoothing_rounds, len(batch.steps)):
            self._solve(batch, few, stride)

    def _pose(self, batch: PoseBatch) -> tuple[np.ndarray, np.ndarray]:
        rotations = self._starter.rotations(batch.locals, batch.body.tables.zero_turns)
        return rotations, batch.shifts.numpy() + batch.origins.numpy()

    def _corrective_offsets(self, batch: PoseBatch) -> np.ndarray:
        pose = self._pose(batch)
        identity = batch.body.identity
        plain = self.body.pose(identity, *pose, correctives=False).vertices.numpy().copy()
        return self.body.pose(identity, *pose).vertices.numpy() - plain

    def _errors(
        self, batch: PoseBatch, targets: wp.array, missing: np.ndarray | None, correctives: bool | None = None
    ) -> np.ndarray:
        posed = self.body.pose(batch.body.identity, *self._pose(batch), correctives=correctives)
        errors = self._reader.distances(posed.vertices, targets)
        if missing is not None:
            errors[missing] = np.nan
        return errors

    def _result(
        self, batch: PoseBatch, targets: wp.array, missing: np.ndarray | None, settings: InversionSettings
    ) -> PoseInversionResult:
        if np.isinf(settings.hinge) and len(batch.steps):
            rotations, _ = self._pose(batch)
            hinged = on_hinges(rotations, settings, self.body.layout)
            self._starter.set_rotations(batch.locals, hinged, batch.body.geometry.zero_turns)
        rotations, translation = self._pose(batch)
        return PoseInversionResult(
            rotations=rotations,
            absolute_rotations=absolute_from_relative(rotations, self.body.orientations, self.body.layout.parents),
            root_translation=translation,
            per_vertex_error=self._errors(batch, targets, missing),
            vertex_weights=batch.body.vertex_weights.numpy(),
            steps=batch.steps,
        )
