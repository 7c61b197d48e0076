"""One body prepared for posing: its rest shape and fitted bind as facts, and the constants that the kernels read."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.layout import JointLayout
from soma_isaac.body.twist import TwistProgram, alignments, expanded_bind
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.kernels.twist import Channels, Helpers
from soma_isaac.math.arrays import frozen_array

TWIST_ANCHORS = ("bind", "template", "rest")

_ELEMENT_SHAPES = {wp.vec3: (3,), wp.mat44: (4, 4)}


class IdentityArrays(NamedTuple):
    """Device arrays of I identities; the first dimension of each is 1 or I, except for the joint tables.

    Attributes:
        points: [I, V] vec3, m, rest points.
        relative_offsets: [I, P] vec3, m, joint offsets for T-pose-relative poses.
        absolute_offsets: [I, P] vec3, m, joint offsets for absolute poses.
        inverse_binds: [I, P + H] mat44.
        corrective_scales: [I] float32, what pose correctives are multiplied by (1 for a body of natural size in m).
        channels: Twist channels; ``None`` without helpers.
        helpers: Twist helpers; ``None`` without helpers.
    """

    points: wp.array
    relative_offsets: wp.array
    absolute_offsets: wp.array
    inverse_binds: wp.array
    corrective_scales: wp.array
    channels: Channels | None
    helpers: Helpers | None


@dataclass(frozen=True, eq=False)
class PreparedIdentity:
    """One or several bodies, prepared once and posed many times.

    Attributes:
        bind_T_world_joint: [1 or I, P, 4, 4] m, public joints fitted to the rest shape, without bone scales.
        lod: Level of detail of the points.
        arrays: What the kernels read.
        source: Digest of the rig and the settings that the arrays follow from.
    """

    bind_T_world_joint: np.ndarray
    lod: str
    arrays: IdentityArrays
    source: str

    @property
    def count(self) -> int:
        """Number of identities I."""
        return max(self.arrays.points.shape[0], self.arrays.relative_offsets.shape[0])

    @functools.cached_property
    def rest_points(self) -> np.ndarray:
        """[1 or I, V, 3] m, rest shape in the bind pose; float32, read-only."""
        points = self.arrays.points.numpy().view()
        points.setflags(write=False)
        return points

    @functools.cached_property
    def digest(self) -> str:
        """sha256 of the rig's digest, the LOD, the settings, points, bind and bone offsets."""
        digest = hashlib.sha256(self.source.encode())
        for values in (self.rest_points, self.bind_T_world_joint, self.arrays.absolute_offsets.numpy()):
            digest.update(np.ascontiguousarray(values).tobytes())
        return digest.hexdigest()


def device_array(values: np.ndarray, dtype: type, device: wp.Device) -> wp.array:
    """Copy numbers into a Warp array on a device, storing floats as float32."""
    kind = np.int32 if np.asarray(values).dtype.kind == "i" else np.float32
    return wp.array(np.ascontiguousarray(values, dtype=kind), dtype=dtype, device=device)


def empty_array(shape: tuple[int, int], dtype: Any, device: wp.Device) -> wp.array:
    """An uninitialised float32 array.

    On a CPU numpy allocates it: numpy asks for huge pages, which makes fresh memory of a large batch about ten
    times cheaper to touch than Warp's own (28 MB: 3 ms instead of 30 ms).
    """
    if device.is_cpu:
        memory = np.empty((*shape, *_ELEMENT_SHAPES[dtype]), dtype=np.float32)
        return wp.array(memory, dtype=dtype, device=device, copy=False)
    return wp.empty(shape, dtype=dtype, device=device)


def rigid_inverse(transforms: np.ndarray) -> np.ndarray:
    """Inverses of rigid transforms [..., 4, 4]."""
    turned = np.swapaxes(transforms[..., :3, :3], -1, -2)
    inverse = np.zeros(transforms.shape)
    inverse[..., :3, :3] = turned
    inverse[..., :3, 3:] = -(turned @ transforms[..., :3, 3:])
    inverse[..., 3, 3] = 1.0
    return inverse


def identity_arrays(
    rest_points: np.ndarray | wp.array,
    public_bind: np.ndarray,
    *,
    layout: JointLayout,
    program: TwistProgram | None,
    anchor: str,
    device: wp.Device,
    orientations: np.ndarray | None = None,
    joint_scales: np.ndarray | None = None,
    corrective_scales: np.ndarray | None = None,
) -> IdentityArrays:
    """Constants of posing, in float64 on the host, then float32 on the device.

    Args:
        rest_points: [I, V, 3] m, or a Warp array [I, V] of vec3 on the device, which is kept.
        public_bind: [I, P, 4, 4] m, fitted public bind transforms.
        layout: The joint layout.
        program: The compiled twist table; ``None`` without helpers.
        anchor: Pose in which aligned twist is zero: the body's own ``bind`` pose; the ``template``'s bind pose (SOMA-X
            from 0.2.2 on; the same unless bodies are bound in other rotations than the template); or the template's
            T-pose ``rest`` (0.2.1).
        device: Where the arrays go.
        orientations: [P, 3, 3] world rotations of the joints at zero pose; the template's T-pose by default.
        joint_scales: [1 or I, P] factors on the bones from the parent to each joint; the skin is stretched, not
            fitted anew. Helpers take the scale of their segment's end.
        corrective_scales: [I] factors on pose correctives; 1 by default.

    Raises:
        RigMismatch: ``anchor`` is another word.
    """
    if anchor not in TWIST_ANCHORS:
        raise RigMismatch(f"no twist anchor {anchor!r}; there are {', '.join(TWIST_ANCHORS)}")
    bind = expanded_bind(public_bind, layout, program)
    inverse = rigid_inverse(bind)
    parents = np.maximum(layout.parents, 0)
    local = (inverse[:, parents] @ public_bind[..., 3:])[..., :3, 0]
    if joint_scales is not None:
        local = local * joint_scales[..., None]
    zero = layout.rest_T_world_joint[:, :3, :3] if orientations is None else orientations
    turned = (zero[parents] @ local[..., None])[..., 0]
    channels = helpers = None
    if program is not None:
        channels = _channels(program, anchor_pose(anchor, public_bind, layout), device)
        helpers = _helpers(program, layout, bind, inverse, joint_scales, device)
    if not isinstance(rest_points, wp.array):
        rest_points = device_array(rest_points, wp.vec3, device)
    if corrective_scales is None:
        corrective_scales = np.ones(1)
    return IdentityArrays(
        points=rest_points,
        relative_offsets=device_array(turned, wp.vec3, device),
        absolute_offsets=device_array(local, wp.vec3, device),
        inverse_binds=device_array(inverse, wp.mat44, device),
        corrective_scales=device_array(corrective_scales, wp.float32, device),
        channels=channels,
        helpers=helpers,
    )


def anchor_pose(anchor: str, public_bind: np.ndarray, layout: JointLayout) -> np.ndarray:
    """Public transforms [1 or I, P, 4, 4] of the pose in which aligned twist is zero."""
    if anchor == "bind":
        return public_bind
    return (layout.rest_T_world_joint if anchor == "rest" else layout.bind_T_world_joint[: layout.public_count])[None]


def _channels(program: TwistProgram, anchor: np.ndarray, device: wp.Device) -> Channels:
    left, right = alignments(program, anchor)
    return Channels(
        joints=device_array(program.joints, wp.int32, device),
        references=device_array(program.references, wp.int32, device),
        methods=device_array(program.methods, wp.int32, device),
        axes=device_array(program.axes, wp.int32, device),
        signs=device_array(program.signs, wp.float32, device),
        left=device_array(left, wp.mat33, device),
        right=device_array(right, wp.mat33, device),
    )


def _helpers(
    program: TwistProgram,
    layout: JointLayout,
    bind: np.ndarray,
    inverse: np.ndarray,
    joint_scales: np.ndarray | None,
    device: wp.Device,
) -> Helpers:
    local = inverse[:, layout.helper_parents] @ bind[:, layout.public_count :]
    offsets = local[..., :3, 3]
    if joint_scales is not None:
        offsets = offsets * joint_scales[:, program.helper_ends, None]
    return Helpers(
        parents=device_array(layout.helper_parents, wp.int32, device),
        axes=device_array(program.helper_axes, wp.int32, device),
        signs=device_array(program.helper_signs, wp.float32, device),
        entry_offsets=device_array(program.entry_offsets, wp.int32, device),
        entry_channels=device_array(program.entry_channels, wp.int32, device),
        entry_factors=device_array(program.entry_factors, wp.float32, device),
        bind_rotations=device_array(local[..., :3, :3], wp.mat33, device),
        bind_offsets=device_array(offsets, wp.vec3, device),
    )


def prepare_identity(
    rest_points: ArrayLike | wp.array,
    public_bind: ArrayLike,
    *,
    rig_digest: str,
    lod: str,
    layout: JointLayout,
    program: TwistProgram | None,
    anchor: str,
    device: wp.Device,
    orientations: np.ndarray | None = None,
    joint_scales: ArrayLike | None = None,
    corrective_scales: ArrayLike | None = None,
) -> PreparedIdentity:
    """Check, freeze and upload I bodies; see :func:`identity_arrays` for the arguments.

    Raises:
        InputRejected: A shape differs or a value is not finite.
        RigMismatch: ``anchor`` is unknown.
    """
    if not isinstance(rest_points, wp.array):
        rest_points = frozen_array("rest_points", rest_points, (None, None, 3), np.float32)
    count = rest_points.shape[0]
    public_bind = frozen_array("public_bind", public_bind, (count, layout.public_count, 4, 4))
    if joint_scales is not None:
        joint_scales = frozen_array("joint_scales", joint_scales, (None, layout.public_count))
        if len(joint_scales) != count and 1 not in (len(joint_scales), count):
            raise InputRejected(f"{len(joint_scales)} rows of joint_scales do not fit {count} identities")
    if corrective_scales is not None:
        corrective_scales = frozen_array("corrective_scales", corrective_scales, (None,))
    turns = "" if orientations is None else hashlib.sha256(np.asarray(orientations).tobytes()).hexdigest()
    return PreparedIdentity(
        bind_T_world_joint=public_bind,
        lod=lod,
        arrays=identity_arrays(
            rest_points,
            public_bind,
            layout=layout,
            program=program,
            anchor=anchor,
            device=device,
            orientations=orientations,
            joint_scales=joint_scales,
            corrective_scales=corrective_scales,
        ),
        source=f"{rig_digest} {lod} {layout.twisted} {anchor} {turns}",
    )
