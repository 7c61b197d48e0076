"""What people bump with: their capsules as kinematic rigid bodies, moved on every engine as it wants it.

On Newton the poses go straight into the simulation's state, with the velocity since the last one. Elsewhere a
``RigidObjectCollection`` of Isaac Lab writes them: PhysX pushes apart what overlaps, and knows of no velocity. (On
Newton that collection of Isaac Lab 3.0 writes to the first bodies of each environment, whichever these are.)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

import isaaclab.sim as sim_utils
import numpy as np
import torch
import warp as wp

from soma_isaac.body.identity import device_array
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.proxies import launch_drive_kinematic
from soma_isaac.sim.isaaclab.compat import DIALECT


class Colliders(Protocol):
    """Kinematic bodies of all environments."""

    def drive(self, poses: wp.array, dt: float) -> None:
        """Move them.

        Args:
            poses: [N, K] transform, m, world.
            dt: s since the last call; 0 means that they were put there.
        """
        ...


class NewtonColliders:
    """Kinematic bodies in Newton's own state.

    MuJoCo's solver takes a kinematic body for one of nearly infinite inertia: a foot that touches the floor would spoil
    the solution for everybody else. So what cannot move does not collide with what cannot move.
    """

    def __init__(self, prim_path: str, names: Sequence[str]) -> None:
        """Nothing is looked up before the first :meth:`drive`.

        Args:
            prim_path: Expression of the prims above the bodies, with one ``.*`` for the environment's number.
            names: [K] of the bodies.
        """
        from isaaclab.physics import PhysicsEvent

        self._prim_path, self._names = prim_path, list(names)
        self._model: Any = None
        manager = sim_utils.SimulationContext.instance().physics_manager
        self._handle = manager.register_callback(self._filter, PhysicsEvent.MODEL_INIT, order=0)
        self._tables: tuple[wp.array, wp.array, wp.array]

    def drive(self, poses: wp.array, dt: float) -> None:
        """See :meth:`Colliders.drive`.

        Raises:
            InputRejected: The model lacks one of the bodies.
        """
        from isaaclab_newton.physics import NewtonManager

        model, state = NewtonManager.get_model(), NewtonManager.get_state_0()
        if model is not self._model:
            self._enter(model, poses.shape[0])
        bodies, q_starts, qd_starts = self._tables
        launch_drive_kinematic(
            poses=poses,
            dt=dt,
            bodies=bodies,
            q_starts=q_starts,
            qd_starts=qd_starts,
            body_q_out=state.body_q,
            body_qd_out=state.body_qd,
            joint_q_out=state.joint_q,
            joint_qd_out=state.joint_qd,
        )

    def _filter(self, _: Any = None) -> None:
        """Before the model is made: keep the capsules apart from everything that does not move."""
        from isaaclab_newton.physics import NewtonManager
        from newton import BodyFlags

        builder = getattr(NewtonManager, "_builder", None)
        if builder is None:
            raise InputRejected("this Isaac Lab does not let colliders of people into its Newton model")
        pattern = re.compile(re.escape(self._prim_path).replace(r"\.\*", "[0-9]+") + "/")
        fixed = [
            shape
            for shape, body in enumerate(builder.shape_body)
            if body < 0 or builder.body_flags[body] & int(BodyFlags.KINEMATIC)
        ]
        by_world: dict[int, list[int]] = {}
        for shape in fixed:
            by_world.setdefault(builder.shape_world[shape], []).append(shape)
        for shape in fixed:
            body, world = builder.shape_body[shape], builder.shape_world[shape]
            if body >= 0 and pattern.match(builder.body_label[body]):
                for other in [*by_world.get(-1, []), *by_world[world]]:
                    if other != shape:
                        builder.add_shape_collision_filter_pair(shape, other)

    def _enter(self, model: Any, count: int) -> None:
        place = {label: body for body, label in enumerate(model.body_label)}
        above = [self._prim_path.replace(".*", str(env)) for env in range(count)]
        paths = [f"{path}/{name}" for path in above for name in self._names]
        missing = [path for path in paths if path not in place]
        if missing:
            raise InputRejected(f"the Newton model has no body {missing[0]!r}")
        bodies = np.array([place[path] for path in paths]).reshape(count, len(self._names))
        joint_of = np.full(model.body_count, -1)
        joint_of[model.joint_child.numpy()] = np.arange(model.joint_count)
        joints = joint_of[bodies]
        tables = (bodies, model.joint_q_start.numpy()[joints], model.joint_qd_start.numpy()[joints])
        first, second, third = (device_array(table.astype(np.int32), wp.int32, model.device) for table in tables)
        self._tables, self._model = (first, second, third), model


class CollectionColliders:
    """Kinematic bodies of PhysX, through Isaac Lab's own asset."""

    def __init__(self, prim_path: str, names: Sequence[str]) -> None:
        """Register the bodies, whose prims exist; they can be moved once the simulation has started.

        Args:
            prim_path: Expression of the prims above the bodies.
            names: [K] of the bodies.
        """
        from isaaclab.assets import RigidObjectCfg, RigidObjectCollection, RigidObjectCollectionCfg

        objects = {name: RigidObjectCfg(prim_path=f"{prim_path}/{name}") for name in names}
        self._collection = RigidObjectCollection(RigidObjectCollectionCfg(rigid_objects=objects))
        self._names = list(names)

    def drive(self, poses: wp.array, dt: float) -> None:
        """See :meth:`Colliders.drive`; ``dt`` is of no use here."""
        if not self._collection.is_initialized:
            return
        order = [self._names.index(name) for name in self._collection.body_names]
        rows: torch.Tensor = wp.to_torch(poses)[:, order].contiguous()
        self._collection.write_body_link_pose_to_sim_index(body_poses=rows)


def colliders_for(prim_path: str, names: Sequence[str]) -> Colliders:
    """The colliders of this simulation's engine.

    Args:
        prim_path: Expression of the prims above the bodies, with one ``.*`` for the environment's number.
        names: [K] of the bodies.

    Raises:
        InputRejected: This is Isaac Lab 2.3.
    """
    if DIALECT.generation == 2:
        raise InputRejected("colliders of people need Isaac Lab 3.0")
    manager = sim_utils.SimulationContext.instance().physics_manager
    if manager.__name__.lower().startswith("newton"):
        return NewtonColliders(prim_path, names)
    return CollectionColliders(prim_path, names)
