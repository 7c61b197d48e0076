"""The SOMA body: a rig set up for posing on one device."""

from __future__ import annotations

import threading
from collections import OrderedDict

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.buffers import PoseBuffers
from soma_isaac.body.identity import PreparedIdentity, device_array, empty_array, prepare_identity
from soma_isaac.body.inputs import checked_poses, checked_translations, thread_count, vertex_triangles, warp_device
from soma_isaac.body.launches import BodyPose, CorrectiveArrays, PoseKind, RigArrays
from soma_isaac.body.layout import joint_layout, top_influences
from soma_isaac.body.twist import compile_twist
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.lbs import Influences
from soma_isaac.kernels.normals import VertexTriangles, launch_normals
from soma_isaac.math.arrays import check_rotations, frozen_array
from soma_isaac.rig.rig import Rig

_KEPT_BUFFERS = 4
_KEPT_VERTICES = 5_000_000


class SomaBody:
    """Prepare an identity once, pose it many times.

    Example::

        body = SomaBody(load_template_rig())
        identity = body.prepare()
        pose = body.pose(identity, poses, transl)  # poses (B, 77, 3) rad, transl (B, 3) m
        vertices = pose.vertices.numpy()  # (B, 18056, 3) m

    Calls from several threads wait for each other. On a CPU a large batch is shared out over ``threads`` threads.
    """

    def __init__(
        self,
        rig: Rig,
        *,
        device: str = "cpu",
        lod: str = "mid",
        twist: bool = True,
        twist_anchor: str = "bind",
        threads: int | None = None,
        orientations: ArrayLike | None = None,
        correctives: CorrectiveArrays | None = None,
    ) -> None:
        """Set up a rig.

        Args:
            rig: The rig.
            device: Warp device, e.g. ``cpu`` or ``cuda:0``.
            lod: Level of detail: ``mid``, ``low`` or ``xlo``.
            twist: Drive the twist helpers; otherwise they are folded into their parents.
            twist_anchor: Pose in which aligned twist is zero: the body's own ``bind`` pose, the ``template``'s (SOMA-X
                from 0.2.2 on) or the T-pose ``rest`` (0.2.1).
            threads: CPU threads for large batches. By default ``OMP_NUM_THREADS`` if set, like other numeric
                libraries, else the cores that this process may use.
            orientations: [78, 3, 3] world rotations of the joints at zero pose (a reference pose, the root's is not
                used); those of the rig's T-pose by default.
            correctives: Pose correctives compiled for this rig's LOD and device.

        Raises:
            RigMismatch: The rig lacks the LOD or the helpers, or its tables contradict each other.
            InputRejected: ``threads`` is below 1, Warp does not know the device, or ``orientations`` are no rotations.
        """
        self.rig = rig
        self.lod = lod
        self.device = warp_device(device)
        self.layout = joint_layout(rig, twist=twist)
        self.program = compile_twist(rig.twist, self.layout) if twist and rig.twist is not None else None
        self.twist_anchor = twist_anchor
        self.threads = thread_count(threads)
        self._mesh = rig.mesh(lod)
        offsets, joints, weights = top_influences(self._mesh, self.layout)
        public = self.layout.public_count
        self.orientations = self.layout.rest_T_world_joint[:, :3, :3]
        self._referenced = orientations is not None
        if orientations is not None:
            self.orientations = frozen_array("orientations", orientations, (public, 3, 3)).copy()
            self.orientations[0] = np.eye(3)
            check_rotations("orientations", self.orientations, 1e-4)
        self._arrays = RigArrays(
            parents=device_array(self.layout.parents, wp.int32, self.device),
            relative_orientations=device_array(self.orientations, wp.mat33, self.device),
            absolute_orientations=device_array(np.tile(np.eye(3), (public, 1, 1)), wp.mat33, self.device),
            influences=Influences(
                offsets=device_array(offsets, wp.int32, self.device),
                joints=device_array(joints, wp.int32, self.device),
                weights=device_array(weights, wp.float32, self.device),
            ),
            correctives=correctives,
        )
        self._buffers: OrderedDict[tuple, tuple[PreparedIdentity, PoseBuffers]] = OrderedDict()
        self._triangles: VertexTriangles | None = None
        self._lock = threading.Lock()

    @property
    def vertex_count(self) -> int:
        """Number of vertices V."""
        return self._mesh.vertex_count

    @property
    def influences(self) -> Influences:
        """The joints that move each vertex."""
        return self._arrays.influences

    @property
    def correctives(self) -> CorrectiveArrays | None:
        """Pose correctives, if the body has them."""
        return self._arrays.correctives

    @property
    def corrected(self) -> bool:
        """Whether the body has pose correctives."""
        return self._arrays.correctives is not None

    def prepare(
        self,
        rest_points: ArrayLike | wp.array | None = None,
        bind: ArrayLike | None = None,
        *,
        joint_scales: ArrayLike | None = None,
        corrective_scales: ArrayLike | None = None,
        unit: float = 1.0,
    ) -> PreparedIdentity:
        """Prepare bodies; by default the template identity: the rig's own mesh and bind pose.

        Args:
            rest_points: [I, V, 3] m in the bind pose, or a Warp array [I, V] of vec3 on the body's device, which is
                kept and must not change.
            bind: [I, 78, 4, 4] m, public joints fitted to the points; given together with them.
            joint_scales: [1 or I, 78] factors on the bones from the parent to each joint. The skin is stretched.
            corrective_scales: [I] factors on pose correctives (a body of double size: 2).
            unit: Output units per metre (100 for cm) of the template; given points and binds are taken as they are.

        Raises:
            InputRejected: A shape does not fit, a value is not finite, or only one of points and bind is given.
            RigMismatch: The twist anchor is unknown.
        """
        if (rest_points is None) != (bind is None):
            raise InputRejected("rest_points and bind belong together; give both or none")
        if rest_points is None or bind is None:
            rest_points = self._mesh.points[None] * unit
            bind = self.layout.bind_T_world_joint[None, : self.layout.public_count].copy()
            bind[..., :3, 3] *= unit
            corrective_scales = np.full(1, unit) if corrective_scales is None else corrective_scales
        if tuple(rest_points.shape if isinstance(rest_points, wp.array) else np.shape(rest_points)[:2])[1:] != (
            self.vertex_count,
        ):
            raise InputRejected(f"rest_points has shape {np.shape(rest_points)}, expected (I, {self.vertex_count}, 3)")
        return prepare_identity(
            rest_points,
            bind,
            rig_digest=self.rig.digest,
            lod=self.lod,
            layout=self.layout,
            program=self.program,
            anchor=self.twist_anchor,
            device=self.device,
            orientations=self.orientations if self._referenced else None,
            joint_scales=joint_scales,
            corrective_scales=corrective_scales,
        )

    def pose(
        self,
        identity: PreparedIdentity,
        poses: ArrayLike | wp.array,
        transl: ArrayLike | wp.array | None = None,
        *,
        absolute: bool = False,
        fk_only: bool = False,
        correctives: bool | None = None,
        out: BodyPose | None = None,
    ) -> BodyPose:
        """Pose bodies.

        Args:
            identity: From :meth:`prepare`; its count and the number of poses are equal, or one of them is 1.
            poses: [B, 77, 3] rotation vectors in rad or [B, 77, 3, 3] matrices for all joints but the root, relative
                to the T-pose in world-aligned axes; or a Warp array [B, 77] of vec3 or mat33 on the body's device,
                which is not checked for NaN.
            transl: [B, 3] or [1, 3] m, world position of the Hips (it replaces their rest position); ``None`` puts
                them at the origin. A Warp array [B] of vec3 is accepted too.
            absolute: ``poses`` are the rig's local rotations instead.
            fk_only: Only joints and transforms; no vertices.
            correctives: Add pose correctives; by default if the body has them.
            out: Arrays to write into, e.g. from :meth:`allocate`; new ones otherwise. Passing the same object again
                is fastest.

        Returns:
            ``out`` or new arrays. On a GPU they are complete once the device is synchronised, as ``.numpy()`` does.

        Raises:
            InputRejected: A shape does not fit, a value is not finite, or the body has no correctives.
        """
        if correctives and not self.corrected:
            raise InputRejected("correctives are asked for, but this body was made without a corrective model")
        rotations, pose_rows, matrices = checked_poses(poses, self.layout.public_count - 1)
        if identity.lod != self.lod or identity.arrays.points.device != self.device:
            raise InputRejected(
                f"the identity was prepared for LOD {identity.lod} on {identity.arrays.points.device}, "
                f"this body is {self.lod} on {self.device}"
            )
        batch = pose_rows if identity.count == 1 else identity.count
        if pose_rows not in (1, batch):
            raise InputRejected(f"{pose_rows} poses do not fit {identity.count} identities; one of them must be 1")
        translations = checked_translations(transl, batch)
        if out is not None:
            self._check_out(out, batch, fk_only)
        target = self.allocate(batch, fk_only=fk_only) if out is None else out
        corrected = self.corrected and correctives is not False and not fk_only
        kind = PoseKind(batch, pose_rows, matrices, absolute, not fk_only, corrected)
        if batch == 0:
            return target
        # Kept buffers hold on to the last outputs; large ones that nobody means to reuse are let go.
        keep = out is not None or batch * self._mesh.vertex_count <= _KEPT_VERTICES
        with self._lock:
            buffers = self._buffers_for(identity, kind, keep)
            buffers.load(rotations, translations)
            buffers.bind(target)
            buffers.run()
        return target

    def allocate(self, batch: int, *, fk_only: bool = False) -> BodyPose:
        """Uninitialised outputs for ``batch`` bodies, to be reused as ``out``."""
        public = self.layout.public_count
        return BodyPose(
            vertices=empty_array((batch, 0 if fk_only else self.vertex_count), wp.vec3, self.device),
            joints=empty_array((batch, public - 1), wp.vec3, self.device),
            transforms=empty_array((batch, public), wp.mat44, self.device),
        )

    def pose_buffers(self, identity: PreparedIdentity, out: BodyPose, *, active: wp.array | None = None) -> PoseBuffers:
        """A pose chain of its own, for kernels that write rotation matrices and hips positions on the device.

        Args:
            identity: From :meth:`prepare`: one body, or as many as ``out`` has.
            out: What the chain writes to, from :meth:`allocate`.
            active: [B] int32 that the chain reads on the device: vertices of bodies with 0 stay as they are.

        Raises:
            InputRejected: The identity, ``out`` or ``active`` does not fit.
        """
        batch = out.transforms.shape[0]
        if identity.lod != self.lod or identity.count not in (1, batch):
            raise InputRejected(
                f"{identity.count} identities at LOD {identity.lod} do not fit {batch} bodies at {self.lod}"
            )
        self._check_out(out, batch, False)
        kind = PoseKind(batch, batch, True, False, True, self.corrected)
        buffers = PoseBuffers(self._arrays, identity.arrays, kind, threads=self.threads, active=active)
        buffers.bind(out)
        return buffers

    def normals(self, vertices: wp.array) -> wp.array:
        """Unit vertex normals [B, V] vec3 of posed vertices [B, V] vec3 of this body's mesh, weighted by area.

        Raises:
            InputRejected: ``vertices`` has another vertex count or is on another device.
        """
        if self._triangles is None:
            self._triangles = vertex_triangles(self._mesh, self.device)
        batch = vertices.shape[0]
        normals = empty_array((batch, self._mesh.vertex_count), wp.vec3, self.device)
        areas = empty_array((0 if self.device.is_cpu else batch, len(self._mesh.triangles)), wp.vec3, self.device)
        launch_normals(self._triangles, vertices=vertices, areas_out=areas, normals_out=normals)
        return normals

    def _check_out(self, out: BodyPose, batch: int, fk_only: bool) -> None:
        public = self.layout.public_count
        expected = ((batch, 0 if fk_only else self.vertex_count), (batch, public - 1), (batch, public))
        shapes = tuple(tuple(array.shape) for array in (out.vertices, out.joints, out.transforms))
        if shapes != expected:
            raise InputRejected(f"out has the shapes {shapes}, expected {expected}")

    def _buffers_for(self, identity: PreparedIdentity, kind: PoseKind, keep: bool) -> PoseBuffers:
        """Buffers for a kind of call.

        The least recently used ones are dropped; entries keep their identity alive, so that its id stays its own.
        """
        key = (id(identity), kind)
        if key in self._buffers:
            self._buffers.move_to_end(key)
            return self._buffers[key][1]
        buffers = PoseBuffers(self._arrays, identity.arrays, kind, threads=self.threads)
        if keep:
            self._buffers[key] = (identity, buffers)
            while len(self._buffers) > _KEPT_BUFFERS:
                self._buffers.popitem(last=False)
        return buffers
