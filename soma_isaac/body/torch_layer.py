"""The SOMA layer as a torch module: gradients to pose, translation, identity and scales.

Skinning runs in Warp on torch's own memory, with kernels for its gradients; the few hundred numbers of a skeleton are
torch operations. Importing this module imports torch; :mod:`soma_isaac.body` itself does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
import warp as wp

from soma_isaac.body.identity import anchor_pose
from soma_isaac.body.layer import UNITS_PER_METRE, SomaLayer
from soma_isaac.body.scales import BONE_SCALE_JOINTS, BONE_SCALE_JOINTS_56
from soma_isaac.body.torch_correctives import TorchCorrectives
from soma_isaac.body.torch_fit import TorchFit, alignments, expanded_bind, reposed_bind, skin_matrices
from soma_isaac.body.torch_identity import TorchIdentity
from soma_isaac.body.torch_pose import Kinematics, PoseConstants, rigid_inverse, rotation_matrices
from soma_isaac.body.torch_skin import Skinning
from soma_isaac.errors import InputRejected
from soma_isaac.kernels.skeleton_fit import FEATURE_COUNT
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES


class TorchPose(NamedTuple):
    """Posed bodies in the layer's unit.

    Attributes:
        vertices: [B, V, 3]; [B, 0, 3] where only joints were asked for.
        joints: [B, 77, 3].
        transforms: [B, 78, 4, 4].
    """

    vertices: torch.Tensor
    joints: torch.Tensor
    transforms: torch.Tensor


class TorchSomaLayer(torch.nn.Module):
    """A :class:`SomaLayer` with gradients.

    Example::

        layer = TorchSomaLayer(SomaLayer(identity="soma"))
        identity = layer.prepare_identity(coefficients)  # (1 or B, K), may require grad
        layer.pose(poses, transl, identity=identity).vertices.sum().backward()

    It stays on the device of the layer it is made from and has no parameters or state of its own. Inputs of any float
    type and memory layout are taken; results are float32. One prepared identity serves any number of poses, each with a
    backward pass of its own.
    """

    def __init__(self, layer: SomaLayer) -> None:
        """Set up the module for a layer's rig, level of detail, unit, identity model and correctives."""
        super().__init__()
        self.layer = layer
        body = layer.body
        self.device = torch.device(wp.device_to_torch(body.device))
        self._skin = Skinning(body.influences, body.threads)
        self._kinematics = Kinematics(body.layout, body.program, body.orientations, self.device)
        self._fit: TorchFit | None = None
        self._rest_skin: Skinning | None = None
        self._linear: tuple[torch.Tensor, torch.Tensor] | None = None
        self._identity: TorchIdentity | None = None
        self._correctives: TorchCorrectives | None = None
        self._scale_slots = torch.tensor([PUBLIC_JOINT_NAMES.index(n) for n in BONE_SCALE_JOINTS], device=self.device)

    def forward(
        self,
        poses: torch.Tensor,
        transl: torch.Tensor | None = None,
        coefficients: torch.Tensor | None = None,
        scale_params: torch.Tensor | None = None,
        *,
        global_scale: float | torch.Tensor = 1.0,
        repose: bool = True,
        absolute: bool = False,
        correctives: bool | None = None,
        fk_only: bool = False,
    ) -> TorchPose:
        """Prepare an identity and pose it; see :meth:`prepare_identity` and :meth:`pose`."""
        identity = self.prepare_identity(coefficients, scale_params, global_scale=global_scale, repose=repose)
        return self.pose(poses, transl, identity=identity, absolute=absolute, correctives=correctives, fk_only=fk_only)

    def prepare_identity(
        self,
        coefficients: torch.Tensor | None = None,
        scale_params: torch.Tensor | None = None,
        *,
        global_scale: float | torch.Tensor = 1.0,
        bone_scales: torch.Tensor | None = None,
        repose: bool = True,
        **extras: torch.Tensor,
    ) -> TorchIdentity:
        """Shape bodies and fit their skeletons; arguments as for :meth:`SomaLayer.prepare_identity`.

        Values are not checked for NaN or range.

        Raises:
            InputRejected: A shape does not fit.
        """
        model = self.layer.identity_model
        own_scales = model is not None and model.spec.scales is not None
        if scale_params is not None and not own_scales:
            if bone_scales is not None:
                raise InputRejected("scale_params are the bone scales of this identity model; give one of them")
            scale_params, bone_scales = None, scale_params
        if model is None and (coefficients is not None or extras):
            raise InputRejected("the template identity has no coefficients; choose another identity model")
        if coefficients is None and model is not None:
            coefficients = torch.from_numpy(np.array(model.spec.coefficients.defaults())).to(self.device)
        inputs: dict[str, torch.Tensor | None] = {
            "coefficients": coefficients,
            "scales": scale_params,
            "bone_scales": bone_scales,
            "global_scale": torch.as_tensor(global_scale, device=self.device),
            **extras,
        }
        self._identity = TorchIdentity(lambda given: self._shaped(given, tuple(extras), repose), inputs)
        return self._identity

    def prepare_shape(
        self,
        points: torch.Tensor,
        *,
        global_scale: float | torch.Tensor = 1.0,
        bone_scales: torch.Tensor | None = None,
        repose: bool = True,
        bind: torch.Tensor | None = None,
    ) -> TorchIdentity:
        """Bodies that come as meshes; arguments as for :meth:`SomaLayer.prepare_shape`.

        Raises:
            InputRejected: A shape does not fit.
        """
        count = self.layer.rig.mesh(self.layer.repose.fit.lod).vertex_count
        if points.ndim != 3 or tuple(points.shape[1:]) != (count, 3):
            raise InputRejected(f"points has shape {tuple(points.shape)}, expected (B, {count}, 3)")
        inputs: dict[str, torch.Tensor | None] = {
            "points": points,
            "bind": bind,
            "bone_scales": bone_scales,
            "global_scale": torch.as_tensor(global_scale, device=self.device),
        }
        self._identity = TorchIdentity(
            lambda given: self._prepared(_given(given, "points").float(), None, given, repose), inputs
        )
        return self._identity

    def pose(
        self,
        poses: torch.Tensor,
        transl: torch.Tensor | None = None,
        *,
        identity: TorchIdentity | None = None,
        absolute: bool = False,
        correctives: bool | None = None,
        fk_only: bool = False,
    ) -> TorchPose:
        """Pose bodies; arguments as for :meth:`SomaLayer.pose`. By default what was prepared last.

        Raises:
            InputRejected: A shape does not fit, no identity is prepared, or there are no correctives.
        """
        prepared = self._identity if identity is None else identity
        if prepared is None:
            raise InputRejected("no identity is prepared; call prepare_identity() before pose()")
        if correctives and not self.layer.body.corrected:
            raise InputRejected("correctives are asked for, but this layer was made without a corrective model")
        joints = len(PUBLIC_JOINT_NAMES) - 1
        if tuple(poses.shape[1:]) not in ((joints, 3), (joints, 3, 3)):
            raise InputRejected(f"poses has shape {tuple(poses.shape)}, expected (B, {joints}, 3) or (..., 3, 3)")
        rotations = poses.float() if poses.ndim == 4 else rotation_matrices(poses.float())
        constants, identities = prepared.constants(), prepared.count
        batch = len(poses) if identities == 1 else identities
        if len(poses) not in (1, batch):
            raise InputRejected(f"{len(poses)} poses do not fit {identities} identities; one of them must be 1")
        place = poses.new_zeros((1, 3)) if transl is None else transl
        if tuple(place.shape) not in ((batch, 3), (1, 3)):
            raise InputRejected(f"transl has shape {tuple(place.shape)}, expected ({batch}, 3) or (1, 3)")
        place = place.float().expand(batch, 3)
        transforms = self._kinematics.public_transforms(rotations, place, constants.offsets, absolute=absolute)
        places = transforms[:, 1:, :3, 3]
        if fk_only:
            return TorchPose(transforms.new_zeros((batch, 0, 3)), places, transforms)
        movers = transforms
        if self.layer.body.program is not None:
            movers = torch.cat([transforms, self._kinematics.helper_transforms(transforms, constants)], dim=1)
        points = constants.points
        if self.layer.body.corrected and correctives is not False:
            points = points + constants.corrective_scales[:, None, None] * self._offsets(transforms)
        return TorchPose(self._skin(points, movers @ constants.inverse_binds), places, transforms)

    def _offsets(self, transforms: torch.Tensor) -> torch.Tensor:
        """Corrective offsets [B, V, 3] m."""
        if self._correctives is None:
            weights, arrays = self.layer.level_correctives, self.layer.body.correctives
            assert weights is not None and arrays is not None
            self._correctives = TorchCorrectives(weights, arrays, self._skin)
        return self._correctives.offsets(self._kinematics.local_rotations(transforms))

    def _shaped(self, given: Mapping[str, torch.Tensor | None], extras: tuple[str, ...], repose: bool) -> PoseConstants:
        """Constants of the identity model's bodies, or of the template."""
        model, layout = self.layer.identity_model, self.layer.body.layout
        if model is None:
            scale = self._scales(given["global_scale"], 1)
            points = torch.from_numpy(self.layer.rig.mesh(self.layer.lod).points.astype(np.float32)).to(self.device)
            bind = torch.from_numpy(layout.bind_T_world_joint[None, : layout.public_count].copy()).to(self.device)
            points = points * scale.float()[:, None, None]
            return self._constants(points, _scaled(bind, scale), self._bones(given["bone_scales"]), scale)
        values = _given(given, "coefficients").float()
        points = model.rest_points_torch(values, given["scales"], **{name: _given(given, name) for name in extras})
        features = None
        if model.linear is not None and not extras:
            if self._linear is None:
                linear = self.layer.repose.fit.linear(model.linear.mean, model.linear.directions)
                mean, directions = (torch.from_numpy(table.copy()).to(self.device) for table in linear.features)
                self._linear = mean, directions
            features = (self._linear[0] + values.double() @ self._linear[1]).unflatten(-1, (-1, FEATURE_COUNT))
        return self._prepared(points, features, given, repose)

    def _prepared(
        self,
        points: torch.Tensor,
        features: torch.Tensor | None,
        given: Mapping[str, torch.Tensor | None],
        repose: bool,
    ) -> PoseConstants:
        """Constants of rest points [B, V, 3] m; their fit's features, if they are known, save the fit's own pass."""
        fitted = self.layer.repose
        scale = self._scales(given["global_scale"], len(points))
        points = points * scale.float()[:, None, None]
        bind = given.get("bind")
        if bind is not None:
            bind = _scaled(bind.double(), scale)
        else:
            if self._fit is None:
                self._fit = TorchFit(fitted.fit.tables, self.layer.alignment, self.device)
            features = self._fit.features(points) if features is None else features * scale[:, None, None]
            bind = self._fit.bind(features)
        if fitted.transfer is not None:
            points = fitted.transfer.apply_torch(points)
        if repose:
            if self._rest_skin is None:
                self._rest_skin = Skinning(fitted.influences, self.layer.body.threads)
            target = reposed_bind(bind, self.layer.body.layout)
            points = self._rest_skin(points, skin_matrices(bind, target))
            root = torch.eye(4, dtype=target.dtype, device=target.device).expand(len(target), 1, 4, 4)
            bind = torch.cat([root, target[:, 1:]], dim=1)
        return self._constants(points, bind, self._bones(given["bone_scales"]), scale)

    def _constants(
        self, points: torch.Tensor, bind: torch.Tensor, bones: torch.Tensor | None, scale: torch.Tensor
    ) -> PoseConstants:
        """Constants of posing, computed in float64, as float32."""
        body = self.layer.body
        layout, program = body.layout, body.program
        full = expanded_bind(bind, layout, program)
        inverse = rigid_inverse(full)
        parents = np.maximum(layout.parents, 0).astype(np.int64)
        local = (inverse[:, parents] @ bind[..., 3:])[..., :3, 0]
        if bones is not None:
            local = local * bones[..., None]
        left = right = turned = inverse[:, :0, :3, :3]
        placed = inverse[:, :0, :3, 3]
        if program is not None:
            anchor = bind
            if body.twist_anchor != "bind":
                fixed = anchor_pose(body.twist_anchor, np.zeros(0), layout)
                anchor = torch.from_numpy(fixed.copy()).to(bind)
            left, right = alignments(program, anchor)
            helpers = inverse[:, layout.helper_parents.astype(np.int64)] @ full[:, layout.public_count :]
            turned, placed = helpers[..., :3, :3], helpers[..., :3, 3]
            if bones is not None:
                placed = placed * bones[:, program.helper_ends.astype(np.int64), None]
        tables = (bind, local, inverse, left, right, turned, placed, scale)
        return PoseConstants(points, *(table.float() for table in tables))

    def _scales(self, global_scale: torch.Tensor | None, count: int) -> torch.Tensor:
        """Output units per metre of each identity [count] (of a template [1 or count]), float64."""
        assert global_scale is not None
        scale = global_scale.double().reshape(-1)
        if len(scale) not in (1, count) and count != 1:
            raise InputRejected(f"global_scale has {len(scale)} values for {count} identities")
        return scale.expand(max(count, len(scale))) * UNITS_PER_METRE[self.layer.output_unit]

    def _bones(self, bone_scales: torch.Tensor | None) -> torch.Tensor | None:
        """Scales [1 or B, 78] float64 of the distances from each joint's parent."""
        if bone_scales is None:
            return None
        widths = (len(BONE_SCALE_JOINTS), len(BONE_SCALE_JOINTS_56))
        if bone_scales.ndim != 2 or bone_scales.shape[1] not in widths:
            raise InputRejected(f"bone scales have shape {tuple(bone_scales.shape)}, expected (B, 60) or (B, 56)")
        ones = torch.ones((len(bone_scales), len(PUBLIC_JOINT_NAMES)), dtype=torch.float64, device=self.device)
        return ones.index_copy(1, self._scale_slots[: bone_scales.shape[1]], bone_scales.double())


def _given(given: Mapping[str, torch.Tensor | None], name: str) -> torch.Tensor:
    value = given[name]
    assert value is not None
    return value


def _scaled(bind: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Transforms [B, J, 4, 4] with their positions scaled."""
    factors = torch.ones((len(scale), 1, 4, 4), dtype=bind.dtype, device=bind.device)
    column = torch.zeros((4, 4), dtype=bind.dtype, device=bind.device)
    column[:3, 3] = 1.0
    return bind * (factors + column * (scale.to(bind)[:, None, None, None] - 1.0))
