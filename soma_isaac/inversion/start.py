"""The closed form's start of a solve, and the way between local turns and T-pose-relative rotations."""

from __future__ import annotations

import numpy as np
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.body.layout import JointLayout
from soma_isaac.inversion.prepared import InversionBody
from soma_isaac.inversion.solver import double_array
from soma_isaac.kernels.inversion_start import affine_kernel, locals_kernel, rotations_kernel, turns_kernel


class Starter:
    """Starts solves of one rig on one device."""

    def __init__(self, layout: JointLayout, moved: np.ndarray, device: wp.Device) -> None:
        """Hold the lists; ``moved`` [P] tells the joints to solve for."""
        self._layout = layout
        self._device = device
        self._parents = device_array(layout.parents, wp.int32, device)
        self._moved = device_array(moved.astype(np.int32), wp.int32, device)
        self._solved = device_array(np.flatnonzero(moved).astype(np.int32), wp.int32, device)

    def start(self, body: InversionBody, moments: wp.array, locals: wp.array, shifts: wp.array) -> None:
        """Write the closed form's rotations.

        Args:
            body: With a closed form for all frames, or one for each.
            moments: [B, 3, 4 N] float64.
            locals: [B, P] mat33d, out.
            shifts: [B] vec3d m, out.
        """
        device = self._device
        affine = self._affine(body, moments)
        information = np.stack([form.information for form in body.closed_forms])
        turns = wp.zeros(locals.shape, dtype=wp.mat33d, device=device)
        wp.launch(
            turns_kernel,
            dim=(locals.shape[0], len(self._solved)),
            inputs=[self._solved, double_array(information, wp.mat33d, device), affine],
            outputs=[turns, shifts],
            device=device,
        )
        wp.launch(
            locals_kernel,
            dim=(locals.shape[0], locals.shape[1] - 1),
            inputs=[self._parents, self._moved, body.tables.zero_turns, turns],
            outputs=[locals],
            device=device,
        )

    def _affine(self, body: InversionBody, moments: wp.array) -> wp.array:
        device = self._device
        if device.is_cpu:
            values = moments.numpy()
            if len(body.closed_forms) == 1:
                # One product of two matrices: numpy would multiply frame by frame.
                flat = values.reshape(-1, values.shape[2]) @ body.closed_forms[0].matrix
                return wp.array(flat.reshape(len(values), 3, -1), dtype=wp.float64, device=device, copy=False)
            rows = [frame @ form.matrix for frame, form in zip(values, body.closed_forms, strict=True)]
            return double_array(np.stack(rows), wp.float64, device)
        matrices = double_array(np.stack([form.matrix for form in body.closed_forms]), wp.float64, device)
        affine = wp.empty((moments.shape[0], 3, matrices.shape[2]), dtype=wp.float64, device=device)
        wp.launch(
            affine_kernel,
            dim=(moments.shape[0], 3, matrices.shape[2]),
            inputs=[moments, matrices],
            outputs=[affine],
            device=device,
        )
        return affine

    def rotations(self, locals: wp.array, zero_turns: wp.array) -> np.ndarray:
        """T-pose-relative rotations [B, P - 1, 3, 3] of local turns [B, P] mat33d."""
        batch, public = locals.shape
        rotations = wp.empty((batch, public - 1), dtype=wp.mat33d, device=self._device)
        wp.launch(
            rotations_kernel,
            dim=(batch, public - 1),
            inputs=[self._parents, zero_turns, locals],
            outputs=[rotations],
            device=self._device,
        )
        return rotations.numpy()

    def set_rotations(self, locals: wp.array, rotations: np.ndarray, zero_turns: np.ndarray) -> None:
        """Write local turns of T-pose-relative rotations.

        Args:
            locals: [B, P] mat33d, out.
            rotations: [B, P - 1, 3, 3].
            zero_turns: [1 or B, P, 3, 3].
        """
        turns = np.broadcast_to(np.eye(3), (len(rotations), self._layout.public_count, 3, 3)).copy()
        above = zero_turns[:, np.maximum(self._layout.parents[1:], 0)].copy()
        above[:, 0] = np.eye(3)
        turns[:, 1:] = np.swapaxes(above, -1, -2) @ rotations @ zero_turns[:, 1:]
        locals.assign(np.ascontiguousarray(turns))
