"""The complete SOMA layer: any identity model in, posed bodies out; plain Warp, no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.correctives import compile_correctives, level_correctives
from soma_isaac.body.identities.base import IdentityModel
from soma_isaac.body.identity import PreparedIdentity
from soma_isaac.body.identity_choice import TEMPLATE, choose_identity, shape_file
from soma_isaac.body.inputs import warp_device
from soma_isaac.body.launches import BodyPose
from soma_isaac.body.layout import joint_layout
from soma_isaac.body.reference_poses import ReferenceChoice
from soma_isaac.body.repose import Repose
from soma_isaac.body.scales import global_scales, joint_scales
from soma_isaac.body.skeleton_fit import LinearSkeletonFit
from soma_isaac.body.soma import SomaBody
from soma_isaac.errors import InputRejected
from soma_isaac.formats.corrective_model import CorrectiveWeights, read_correctives
from soma_isaac.rig.rig import Rig
from soma_isaac.rig.skeleton import data_path

UNITS_PER_METRE: Mapping[str, float] = {"m": 1.0, "cm": 100.0, "mm": 1000.0}
OPEN_CORRECTIVES = "open"
OPEN_CORRECTIVES_FILE = "SOMA_correctives.safetensors"


class SomaLayer:
    """Prepare an identity once, pose it many times.

    Example::

        layer = SomaLayer(identity="soma")
        layer.prepare_identity(coefficients)  # (1 or B, K)
        pose = layer.pose(poses, transl)  # (B, 77, 3) rad, (B, 3) m
        vertices = pose.vertices.numpy()  # (B, 18056, 3) m

    Identities and poses combine as 1 with B, B with 1 and B with B. Calls from several threads are safe when they name
    their identity. Everything that has a length is in ``output_unit``, ``transl`` included.
    """

    def __init__(
        self,
        rig: Rig | None = None,
        identity: str | IdentityModel = TEMPLATE,
        *,
        lod: str = "mid",
        device: str = "cpu",
        output_unit: str = "m",
        assets: Path | str | None = None,
        model_path: Path | str | None = None,
        identity_options: Mapping[str, Any] | None = None,
        correctives: CorrectiveWeights | Path | str | None = None,
        reference_pose: ArrayLike | str | Mapping[str, str] | None = None,
        twist: bool = True,
        twist_anchor: str = "bind",
        alignment: str = "auto",
        transfer_mode: str = "edge",
        threads: int | None = None,
    ) -> None:
        """Set up a layer. Nothing is downloaded.

        Args:
            rig: The rig; the template that ships with soma_isaac by default.
            identity: ``template`` (the rig's own body), a name of
                :data:`soma_isaac.body.identities.IDENTITY_SPECS`, or a loaded model for the rig's mid mesh (low mesh
                for the LODs ``low`` and ``xlo``). ``soma`` without files is the open shape space.
            lod: ``mid``, ``low`` or ``xlo``.
            device: Warp device, e.g. ``cpu`` or ``cuda:0``.
            output_unit: ``m``, ``cm`` or ``mm``.
            assets: Folder in SOMA-X layout with the identity model's files.
            model_path: The identity model's own file, where it does not lie in ``assets``.
            identity_options: Options of :func:`soma_isaac.body.identities.load_identity`.
            correctives: Pose correctives, loaded or as a file; ``open`` are those that ship with soma_isaac. Without
                them :meth:`pose` has none.
            reference_pose: [78, 3, 3] world rotations of the joints at zero pose; the rig's T-pose by default. Or an
                older T-pose in the history of ``SOMA_neutral.npz`` (from ``assets``, or ``model_path`` of ``soma``):
                ``"0.2.0"``, ``{"alias": "old"}``, see
                :meth:`soma_isaac.body.reference_poses.ReferenceCatalog.select`.
            twist: Drive the twist helpers; otherwise they are folded into their parents.
            twist_anchor: Pose in which twist is zero: the body's own ``bind`` pose, the ``template``'s (SOMA-X from
                0.2.2 on) or the T-pose ``rest`` (0.2.1).
            alignment: How joint rotations are fitted: ``auto``, ``kabsch`` or ``newton-schulz``.
            transfer_mode: How ``xlo`` rides on ``low``: ``edge`` or ``area`` (SOMA-X).
            threads: CPU threads for large batches.

        Raises:
            InputRejected: An option is unknown or a file is missing or not sound.
            RigMismatch: The rig lacks the LOD, or a model belongs to another rig.
        """
        if output_unit not in UNITS_PER_METRE:
            raise InputRejected(f"no output_unit {output_unit!r}; there are {', '.join(UNITS_PER_METRE)}")
        if rig is None:
            from soma_isaac.formats.rig_usd import load_template_rig

            rig = load_template_rig()
        self.rig = rig
        self.lod = lod
        self.output_unit = output_unit
        self._unit = UNITS_PER_METRE[output_unit]
        target, model = choose_identity(rig, lod, identity, assets, model_path, identity_options or {})
        self.identity_model: IdentityModel | None = model
        if isinstance(correctives, (str, Path)):
            path = data_path(OPEN_CORRECTIVES_FILE) if correctives == OPEN_CORRECTIVES else Path(correctives)
            correctives = read_correctives(path)
        self.level_correctives: CorrectiveWeights | None = None
        compiled = None
        if correctives is not None:
            rows = target.mid_rows if target is not None and target.lod == "low" else None
            self.level_correctives = level_correctives(correctives, rig, lod, mid_rows=rows)
            layout = joint_layout(rig, twist=twist)
            compiled = compile_correctives(self.level_correctives, layout, warp_device(device))
        self.references = ReferenceChoice(lambda: shape_file(identity, assets, model_path))
        self.body = SomaBody(
            rig,
            device=device,
            lod=lod,
            twist=twist,
            twist_anchor=twist_anchor,
            threads=threads,
            orientations=None if reference_pose is None else self.references.orientations(reference_pose),
            correctives=compiled,
        )
        self.alignment = alignment
        self._fit_options = {
            "excluded_vertices": None if target is None else target.bag_vertices,
            "method": alignment,
            "transfer_mode": transfer_mode,
        }
        self._repose: Repose | None = None
        self._linear: LinearSkeletonFit | None = None
        self._identity: PreparedIdentity | None = None

    @property
    def device(self) -> wp.Device:
        """Where identities and results live."""
        return self.body.device

    @property
    def vertex_count(self) -> int:
        """Vertices V of the level of detail."""
        return self.body.vertex_count

    @property
    def triangles(self) -> np.ndarray:
        """[F, 3] int32 faces of the level of detail."""
        return self.rig.mesh(self.lod).triangles

    @property
    def joint_names(self) -> tuple[str, ...]:
        """The 78 public joints, the dummy root first."""
        return self.rig.public_joint_names

    @property
    def identity(self) -> PreparedIdentity:
        """The identity that was prepared last.

        Raises:
            InputRejected: None was.
        """
        if self._identity is None:
            raise InputRejected("no identity is prepared; call prepare_identity() before pose()")
        return self._identity

    @property
    def repose(self) -> Repose:
        """The skeleton fit and reposing of this rig, set up at first use."""
        if self._repose is None:
            self._repose = Repose(self.rig, self.lod, device=str(self.device), **self._fit_options)
        return self._repose

    def prepare_identity(
        self,
        coefficients: ArrayLike | None = None,
        scale_params: ArrayLike | None = None,
        *,
        global_scale: ArrayLike = 1.0,
        bone_scales: ArrayLike | None = None,
        repose: bool = True,
        **extras: ArrayLike,
    ) -> PreparedIdentity:
        """Shape bodies and fit their skeletons; the result is also kept for :meth:`pose`.

        Args:
            coefficients: [B, K] of the identity model, its defaults if left out; none for the template.
            scale_params: For ``soma`` and ``template`` the bone scales; else [B, S] of the identity model.
            global_scale: A positive number or [B]: overall size.
            bone_scales: [1 or B, 60 or 56] factors on bone lengths, for any identity model; see
                :data:`soma_isaac.body.scales.BONE_SCALE_JOINTS`.
            repose: Move the shape into the template's bind pose.
            **extras: Further groups of the identity model's coefficients.

        Returns:
            The identity, in the layer's unit.

        Raises:
            InputRejected: A shape does not fit or a value is out of range.
        """
        model = self.identity_model
        own_scales = model is not None and model.spec.scales is not None
        if scale_params is not None and not own_scales:
            if bone_scales is not None:
                raise InputRejected("scale_params are the bone scales of this identity model; give one of them")
            scale_params, bone_scales = None, scale_params
        if model is None:
            if coefficients is not None or extras:
                raise InputRejected("the template identity has no coefficients; choose another identity model")
            size = global_scales(global_scale, np.size(global_scale))
            return self._prepared_template(size, bone_scales)
        values = model.spec.coefficients.defaults() if coefficients is None else coefficients
        points = model.rest_points(values, scale_params, **extras)
        size = global_scales(global_scale, len(points))
        bind = None
        if model.linear is not None and not extras:
            if self._linear is None:
                self._linear = self.repose.fit.linear(model.linear.mean, model.linear.directions)
            bind = self._linear.fit(np.asarray(values), size * self._unit)
        return self._prepared(points, size, bone_scales, repose=repose, bind=bind)

    def prepare_shape(
        self,
        points: ArrayLike,
        *,
        global_scale: ArrayLike = 1.0,
        bone_scales: ArrayLike | None = None,
        repose: bool = True,
        bind: np.ndarray | None = None,
    ) -> PreparedIdentity:
        """Fit skeletons to bodies that come as meshes; the result is also kept for :meth:`pose`.

        Args:
            points: [B, V, 3] m in SOMA topology, near the bind pose: the mid mesh, or the low mesh for ``low`` and
                ``xlo``.
            global_scale: A positive number or [B]: overall size.
            bone_scales: As for :meth:`prepare_identity`.
            repose: Move the shape into the template's bind pose.
            bind: [B, 78, 4, 4] m, the public joints of ``points`` if they are known; else they are fitted.

        Raises:
            InputRejected: A shape does not fit or a value is not finite.
        """
        shapes = np.asarray(points, dtype=np.float32)
        size = global_scales(global_scale, len(shapes))
        if bind is not None:
            bind = np.array(bind, dtype=np.float64)
            bind[..., :3, 3] *= (size * self._unit)[:, None, None]
        return self._prepared(shapes, size, bone_scales, repose=repose, bind=bind)

    def pose(
        self,
        poses: ArrayLike | wp.array,
        transl: ArrayLike | wp.array | None = None,
        *,
        identity: PreparedIdentity | None = None,
        absolute: bool = False,
        correctives: bool | None = None,
        fk_only: bool = False,
        reference_pose: ArrayLike | str | Mapping[str, str] | None = None,
        out: BodyPose | None = None,
    ) -> BodyPose:
        """Pose bodies; see :meth:`soma_isaac.body.SomaBody.pose`.

        Args:
            poses: [B, 77, 3] rotation vectors in rad or [B, 77, 3, 3] matrices, relative to the T-pose; or a Warp
                array.
            transl: [B, 3] or [1, 3] world position of the Hips in the layer's unit; at the origin by default.
            identity: What to pose; by default what was prepared last.
            absolute: ``poses`` are the rig's local rotations instead.
            correctives: Add pose correctives; by default if the layer has them.
            fk_only: Only joints and transforms; no vertices.
            reference_pose: As for the layer, for this call.
            out: Arrays to write into, from :meth:`allocate`.

        Raises:
            InputRejected: A shape does not fit, a value is not finite, no identity is prepared, or there are no
                correctives.
        """
        if reference_pose is not None:
            if absolute:
                raise InputRejected("absolute poses do not depend on a reference pose; leave one of them out")
            poses, absolute = self.references.local_rotations(poses, reference_pose), True
        return self.body.pose(
            self.identity if identity is None else identity,
            poses,
            transl,
            absolute=absolute,
            fk_only=fk_only,
            correctives=correctives,
            out=out,
        )

    def stream(
        self, poses: ArrayLike, transl: ArrayLike | None = None, *, chunk: int = 128, **options: Any
    ) -> Iterator[tuple[slice, BodyPose]]:
        """Pose any number of poses of one identity in bounded memory.

        Args:
            poses: [N, 77, 3] or [N, 77, 3, 3].
            transl: [N, 3], or as for :meth:`pose`.
            chunk: Poses at a time.
            **options: ``identity``, ``absolute``, ``correctives``, ``fk_only`` of :meth:`pose`.

        Yields:
            The rows and their result; its arrays are written over by the next step.

        Raises:
            InputRejected: As :meth:`pose`, or several identities are prepared.
        """
        identity = options.setdefault("identity", self._identity)
        if identity is not None and identity.count > 1:
            raise InputRejected(f"a stream poses one identity, {identity.count} are prepared")
        rotations = poses if isinstance(poses, np.ndarray) else np.asarray(poses)
        out: BodyPose | None = None
        for begin in range(0, len(rotations), chunk):
            rows = slice(begin, min(begin + chunk, len(rotations)))
            count = rows.stop - begin
            if out is None or out.joints.shape[0] != count:
                out = self.allocate(count, fk_only=bool(options.get("fk_only")))
            place = transl if transl is None or len(np.asarray(transl)) == 1 else np.asarray(transl)[rows]
            yield rows, self.pose(rotations[rows], place, out=out, **options)

    def allocate(self, batch: int, *, fk_only: bool = False) -> BodyPose:
        """Uninitialised outputs for ``batch`` bodies, to be reused as ``out``."""
        return self.body.allocate(batch, fk_only=fk_only)

    def _prepared_template(self, size: np.ndarray, bone_scales: ArrayLike | None) -> PreparedIdentity:
        scale = size * self._unit
        template = self.body.layout.bind_T_world_joint[: self.body.layout.public_count]
        bind = np.repeat(template[None], len(size), axis=0)
        bind[..., :3, 3] *= scale[:, None, None]
        self._identity = self.body.prepare(
            self.rig.mesh(self.lod).points * scale[:, None, None],
            bind,
            joint_scales=None if bone_scales is None else joint_scales(bone_scales),
            corrective_scales=scale,
        )
        return self._identity

    def _prepared(
        self,
        points: np.ndarray,
        size: np.ndarray,
        bone_scales: ArrayLike | None,
        *,
        repose: bool,
        bind: np.ndarray | None = None,
    ) -> PreparedIdentity:
        scale = size * self._unit
        if (scale != 1.0).any():
            points = points * scale.astype(np.float32)[:, None, None]
        rest, fitted = self.repose.prepare_rest_array(points, repose=repose, bind=bind)
        self._identity = self.body.prepare(
            rest,
            fitted,
            joint_scales=None if bone_scales is None else joint_scales(bone_scales),
            corrective_scales=scale,
        )
        return self._identity
