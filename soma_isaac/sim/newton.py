"""SOMA bodies inside a Newton model: seen as deformable meshes, felt as kinematic capsules.

Newton itself is not imported: a ``ModelBuilder``, a ``Model`` and its ``State`` come from the caller. With
``SolverMuJoCo`` the capsules become mocap bodies: they push and stop a robot, and contacts see their positions, but not
their velocities, so that a moving hand does not drag by friction.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.proxies import launch_drive_kinematic
from soma_isaac.sim.sinks.newton import NewtonSink
from soma_isaac.sim.stepper import BodyStepper, PosedGroup


class NewtonBodies:
    """A stepper's bodies in a Newton model.

    Example::

        bodies = NewtonBodies(builder, stepper)  # stepper made with proxies=True
        model = builder.finalize()
        bodies.attach(model)
        for _ in range(200):
            bodies.step(dt, state)  # moves the bodies of the state that the solver starts from
            solver.step(state, state_next, control, None, dt)
            state, state_next = state_next, state
            bodies.show(state)  # vertices into the new state, for cameras and viewers
    """

    def __init__(
        self,
        builder: Any,
        stepper: BodyStepper,
        *,
        visuals: bool = True,
        colliders: bool = True,
        show_capsules: bool = False,
        cfg: Any = None,
    ) -> None:
        """Add the bodies to a model that is being built.

        Args:
            builder: ``newton.ModelBuilder``, with the up axis of the stepper's placements.
            stepper: The bodies; made with ``proxies=True`` for colliders.
            visuals: Add their vertices as particles with a visual mesh.
            colliders: Add their capsules as kinematic bodies.
            show_capsules: Let cameras and viewers see the capsules.
            cfg: ``newton.ModelBuilder.ShapeConfig`` of the capsules (friction, groups; its density is ignored: the
                capsules have no mass); the builder's default otherwise.

        Raises:
            InputRejected: Colliders are asked of a stepper without proxies.
        """
        self.stepper = stepper
        self.sinks = [NewtonSink(builder, group) for group in stepper.groups] if visuals else []
        self.capsule_bodies: list[np.ndarray] = []
        if colliders:
            cfg = (builder.default_shape_cfg if cfg is None else cfg).copy()
            cfg.density, cfg.is_visible = 0.0, show_capsules
            self.capsule_bodies = [_add_capsules(builder, group, cfg) for group in stepper.groups]
        self._drives: list[tuple[wp.array, wp.array, wp.array]] = []

    def attach(self, model: Any) -> None:
        """Find the capsules' joints in the finalized model.

        Raises:
            InputRejected: The model is on another device than the stepper.
        """
        if model.device != self.stepper.device:
            raise InputRejected(f"the model is on {model.device}, the stepper on {self.stepper.device}")
        joint_of = np.full(model.body_count, -1)
        joint_of[model.joint_child.numpy()] = np.arange(model.joint_count)
        q_start, qd_start = model.joint_q_start.numpy(), model.joint_qd_start.numpy()
        self._drives = []
        for bodies in self.capsule_bodies:
            tables = (bodies, q_start[joint_of[bodies]], qd_start[joint_of[bodies]])
            first, second, third = (device_array(table.astype(np.int32), wp.int32, model.device) for table in tables)
            self._drives.append((first, second, third))

    def step(self, dt: float, state: Any, ids: Any = None) -> None:
        """Move the bodies by ``dt`` and put their capsules into the state that the solver steps from next.

        Args:
            dt: s; the solver's.
            state: ``newton.State`` of the model.
            ids: Whose clocks move, see :meth:`BodyStepper.step`.

        Raises:
            InputRejected: :meth:`attach` was not called.
        """
        if len(self._drives) != len(self.capsule_bodies):
            raise InputRejected("call attach(model) after finalize()")
        self.stepper.step(dt, ids)
        for group, (bodies, q_starts, qd_starts) in zip(self.stepper.groups, self._drives, strict=False):
            assert group.proxies is not None
            launch_drive_kinematic(
                poses=group.proxies,
                dt=dt,
                bodies=bodies,
                q_starts=q_starts,
                qd_starts=qd_starts,
                body_q_out=state.body_q,
                body_qd_out=state.body_qd,
                joint_q_out=state.joint_q,
                joint_qd_out=state.joint_qd,
            )

    def show(self, state: Any) -> None:
        """Write the vertices into a state, on the device; once per picture is enough."""
        for sink, group in zip(self.sinks, self.stepper.groups, strict=False):
            sink.state = state
            sink.write(group)


def _add_capsules(builder: Any, group: PosedGroup, cfg: Any) -> np.ndarray:
    """One kinematic body per capsule; their numbers [N, K]."""
    if group.proxies is None or group.capsules is None:
        raise InputRejected("the stepper has no capsules; make it with proxies=True")
    poses, capsules = group.proxies.numpy(), group.capsules
    bodies = np.empty(poses.shape[:2], dtype=np.int32)
    for member, row in enumerate(group.rows):
        shape = member % len(capsules.radii)
        for proxy, name in enumerate(capsules.names):
            label = f"soma_body_{row}/{name}"
            bodies[member, proxy] = builder.add_body(
                xform=wp.transform(*poses[member, proxy].tolist()), is_kinematic=True, label=label
            )
            builder.add_shape_capsule(
                int(bodies[member, proxy]),
                radius=float(capsules.radii[shape, proxy]),
                half_height=float(capsules.half_heights[shape, proxy]),
                cfg=cfg,
                label=f"{label}/capsule",
            )
    return bodies
