"""Posed vertices as massless particles of a Newton model, with a visual mesh bound to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp

from soma_isaac.errors import InputRejected
from soma_isaac.sim.stepper import PosedGroup


class NewtonSink:
    """Writes a group's vertices to ``state.particle_q``, on the device.

    The particles have neither mass nor flags: solvers and collision leave them alone. Newton's viewers and its
    ``SensorCamera`` show the meshes that hang on them.
    """

    def __init__(self, builder: Any, group: PosedGroup, *, visual: bool = True) -> None:
        """Add the particles and meshes to a model that is being built.

        Args:
            builder: ``newton.ModelBuilder``.
            group: One group of a stepper.
            visual: Add a deformable visual mesh per body.
        """
        vertices = group.pose.vertices.numpy()
        count = vertices.shape[1]
        triangles = group.body.rig.mesh(group.body.lod).triangles
        self.start = builder.particle_count
        self.state: Any = None
        for row, points in zip(group.rows, vertices, strict=True):
            begin = builder.particle_count
            still = [wp.vec3()] * count
            places = [wp.vec3(*point) for point in points.tolist()]
            builder.add_particles(places, still, [0.0] * count, radius=[1e-3] * count, flags=[0] * count)
            if visual:
                builder.add_deformable_visual_mesh(
                    points,
                    triangles.ravel(),
                    kind="particle",
                    parent=np.arange(begin, begin + count, dtype=np.int32),
                    label=f"soma_body_{row}",
                )
        self._flat = group.pose.vertices.flatten()

    def write(self, group: PosedGroup) -> None:
        """Copy the vertices, on the device, to ``self.state`` (set it to the state that the next step starts from).

        Raises:
            InputRejected: No state was set, or it belongs to another model.
        """
        if self.state is None or self.state.particle_q is None:
            raise InputRejected("set the sink's state to a state of the finalized model first")
        wp.copy(self.state.particle_q, self._flat, dest_offset=self.start, count=self._flat.size)
