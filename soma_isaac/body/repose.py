"""From an identity's rest points to what posing needs: a fitted bind, the shape moved into the template's bind pose.

Identity models come in whatever pose their mean has. Reposing skins the shape with its fitted skeleton into the
template's bind rotations, so that every body of the rig is bound in one pose (SOMA-X: ``repose_to_bind_pose``).
"""

from __future__ import annotations

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.identity import device_array, empty_array
from soma_isaac.body.layout import top_influences
from soma_isaac.body.skeleton_fit import SkeletonFit
from soma_isaac.body.topology import TopologyTransfer
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.lbs import Influences, launch_blend
from soma_isaac.kernels.repose import launch_repose
from soma_isaac.rig.rig import Rig

FIT_LODS = {"mid": "mid", "low": "low", "xlo": "low"}
"""The level of detail that identity models deliver and the skeleton is fitted on, for each that is posed."""


class Repose:
    """Turn rest points of any body into a rest shape and bind for posing.

    Example::

        repose = Repose(rig, "mid")
        rest, bind = repose.prepare_rest(points)  # (B, 18056, 3) m -> (B, 18056, 3) m, (B, 78, 4, 4)

    For ``xlo`` the points are the low mesh's; they are fitted there and carried over to the xlo mesh.
    """

    def __init__(
        self,
        rig: Rig,
        lod: str = "mid",
        *,
        excluded_vertices: ArrayLike | None = None,
        method: str = "auto",
        transfer_mode: str = "edge",
        device: str = "cpu",
    ) -> None:
        """Set up a rig.

        Args:
            rig: The rig.
            lod: Level of detail that is posed: ``mid``, ``low`` or ``xlo``.
            excluded_vertices: Vertices that no joint is regressed from (eye and mouth bags), counted in the mesh that
                the points come in (low for ``xlo``).
            method: Alignment method, see :func:`soma_isaac.body.align.align`.
            transfer_mode: How ``xlo`` points off the low surface follow its size, see
                :class:`soma_isaac.body.topology.TopologyTransfer`; SOMA-X uses ``area``.
            device: Warp device.

        Raises:
            RigMismatch: The rig lacks the LOD, or a joint has no skin.
            InputRejected: The method is unknown or an excluded vertex does not exist.
        """
        rig.mesh(lod)
        self.lod = lod
        self.fit = SkeletonFit(
            rig, FIT_LODS.get(lod, lod), excluded_vertices=excluded_vertices, method=method, device=device
        )
        layout = self.fit.tables.layout
        template = np.ascontiguousarray(layout.bind_T_world_joint[:, :3, :3])
        self._parents = device_array(layout.parents, wp.int32, self.fit.device)
        self._rotations = wp.array(template, dtype=wp.mat33d, device=self.fit.device)
        offsets, joints, weights = top_influences(rig.mesh(lod), layout)
        self.influences = Influences(
            offsets=device_array(offsets, wp.int32, self.fit.device),
            joints=device_array(joints, wp.int32, self.fit.device),
            weights=device_array(weights, wp.float32, self.fit.device),
        )
        self._vertex_count = rig.mesh(lod).vertex_count
        self.transfer: TopologyTransfer | None = None
        if self.fit.lod != lod:
            source = rig.mesh(self.fit.lod)
            self.transfer = TopologyTransfer(source.points, source.triangles, rig.mesh(lod).points, mode=transfer_mode)

    def prepare_rest(
        self, points: ArrayLike | wp.array, *, repose: bool = True, bind: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rest shapes [B, V, 3] m (float32) and public bind transforms [B, 78, 4, 4] m (float64).

        Args:
            points: [B, V, 3] m in the topology of :attr:`fit`'s LOD, or a contiguous Warp array [B, V] of vec3.
            repose: Move the shapes into the template's bind rotations, lowest joint not below the floor; otherwise they
                stay as they are and the bind is the fitted one.
            bind: [B, 78, 4, 4] fitted bind transforms, if known (from a :class:`LinearSkeletonFit`).

        Raises:
            InputRejected: A shape is another or a value is not finite.
        """
        rest, bind = self.prepare_rest_array(points, repose=repose, bind=bind)
        return rest.numpy(), bind

    def prepare_rest_array(
        self, points: ArrayLike | wp.array, *, repose: bool = True, bind: np.ndarray | None = None
    ) -> tuple[wp.array, np.ndarray]:
        """As :meth:`prepare_rest` with the shapes as a Warp array [B, V] of vec3 on the fit's device."""
        shapes = self.fit.device_points(points)
        if bind is None:
            bind = self.fit.fit(shapes)
        elif bind.shape != (shapes.shape[0], self.fit.joint_count, 4, 4):
            raise InputRejected(f"bind has shape {bind.shape}, expected one bind for each of {shapes.shape[0]} shapes")
        if self.transfer is not None:
            shapes = device_array(self.transfer.apply(shapes.numpy()), wp.vec3, self.fit.device)
        if not repose:
            return shapes, bind
        count, device = len(bind), self.fit.device
        fitted = wp.array(np.ascontiguousarray(bind, dtype=np.float64), dtype=wp.mat44d, device=device)
        target = wp.empty(fitted.shape, dtype=wp.mat44d, device=device)
        columns = wp.empty(fitted.shape, dtype=wp.mat44, device=device)
        rest = empty_array((count, self._vertex_count), wp.vec3, device)
        if count:
            launch_repose(
                parents=self._parents, rotations=self._rotations, bind=fitted, bind_out=target, columns_out=columns
            )
            launch_blend(self.influences, points=shapes, columns=columns, vertices_out=rest)
        return rest, target.numpy()
