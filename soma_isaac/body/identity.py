"""One body prepared for posing: its rest shape and fitted bind as facts, and the constants that the kernels read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import warp as wp

from soma_isaac.body.layout import JointLayout
from soma_isaac.body.twist import TwistProgram, alignments, expanded_bind
from soma_isaac.errors import RigMismatch
from soma_isaac.kernels.twist import Channels, Helpers
from soma_isaac.math.arrays import frozen_array

TWIST_ANCHORS = ("bind", "rest")

_ELEMENT_SHAPES = {wp.vec3: (3,), wp.mat44: (4, 4)}


class IdentityArrays(NamedTuple):
    """Device arrays of I identities; the first dimension of each is I, except for the joint tables.

    Attributes:
        points: [I, V] vec3, m, rest points.
        relative_offsets: [I, P] vec3, m, joint offsets for T-pose-relative poses.
        absolute_offsets: [I, P] vec3, m, joint offsets for absolute poses.
        inverse_binds: [I, P + H] mat44.
        channels: Twist channels; ``None`` without helpers.
        helpers: Twist helpers; ``None`` without helpers.
    """

    points: wp.array
    relative_offsets: wp.array
    absolute_offsets: wp.array
    inverse_binds: wp.array
    channels: Channels | None
    helpers: Helpers | None


@dataclass(frozen=True, eq=False)
class PreparedIdentity:
    """One or several bodies, prepared once and posed many times.

    Attributes:
        rest_points: [I, V, 3] m, rest shape in the bind pose.
        bind_T_world_joint: [I, P, 4, 4] m, public joints fitted to it.
        lod: Level of detail of the points.
        digest: sha256 of the rig's digest, the LOD, the twist settings, points and bind.
        arrays: What the kernels read.
    """

    rest_points: np.ndarray
    bind_T_world_joint: np.ndarray
    lod: str
    digest: str
    arrays: IdentityArrays

    @property
    def count(self) -> int:
        """Number of identities I."""
        return len(self.rest_points)


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


def identity_arrays(
    rest_points: np.ndarray,
    public_bind: np.ndarray,
    *,
    layout: JointLayout,
    program: TwistProgram | None,
    anchor: str,
    device: wp.Device,
) -> IdentityArrays:
    """Constants of posing, in float64 on the host, then float32 on the device.

    Args:
        rest_points: [I, V, 3] m.
        public_bind: [I, P, 4, 4] m, fitted public bind transforms.
        layout: The joint layout.
        program: The compiled twist table; ``None`` without helpers.
        anchor: ``bind`` (SOMA-X from 0.2.2 on: twist is zero in the fitted bind pose) or ``rest`` (0.2.1: zero in the
            template's T-pose).
        device: Where the arrays go.

    Raises:
        RigMismatch: ``anchor`` is another word.
    """
    if anchor not in TWIST_ANCHORS:
        raise RigMismatch(f"no twist anchor {anchor!r}; there are {', '.join(TWIST_ANCHORS)}")
    bind = expanded_bind(public_bind, layout, program)
    parents = np.maximum(layout.parents, 0)
    above = public_bind[:, parents]
    local = np.einsum("ijba,ijb->ija", above[..., :3, :3], public_bind[..., :3, 3] - above[..., :3, 3])
    turned = np.einsum("jab,ijb->ija", layout.rest_T_world_joint[parents, :3, :3], local)
    channels = helpers = None
    if program is not None:
        pose = public_bind if anchor == "bind" else layout.rest_T_world_joint[None]
        channels = _channels(program, pose, device)
        helpers = _helpers(program, layout, bind, device)
    return IdentityArrays(
        points=device_array(rest_points, wp.vec3, device),
        relative_offsets=device_array(turned, wp.vec3, device),
        absolute_offsets=device_array(local, wp.vec3, device),
        inverse_binds=device_array(np.linalg.inv(bind), wp.mat44, device),
        channels=channels,
        helpers=helpers,
    )


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


def _helpers(program: TwistProgram, layout: JointLayout, bind: np.ndarray, device: wp.Device) -> Helpers:
    parent = bind[:, layout.helper_parents]
    local = np.linalg.inv(parent) @ bind[:, layout.public_count :]
    return Helpers(
        parents=device_array(layout.helper_parents, wp.int32, device),
        axes=device_array(program.helper_axes, wp.int32, device),
        signs=device_array(program.helper_signs, wp.float32, device),
        entry_offsets=device_array(program.entry_offsets, wp.int32, device),
        entry_channels=device_array(program.entry_channels, wp.int32, device),
        entry_factors=device_array(program.entry_factors, wp.float32, device),
        bind_rotations=device_array(local[..., :3, :3], wp.mat33, device),
        bind_offsets=device_array(local[..., :3, 3], wp.vec3, device),
    )


def prepare_identity(
    rest_points: np.ndarray,
    public_bind: np.ndarray,
    *,
    rig_digest: str,
    lod: str,
    layout: JointLayout,
    program: TwistProgram | None,
    anchor: str,
    device: wp.Device,
) -> PreparedIdentity:
    """Check, freeze and upload I bodies; see :func:`identity_arrays` for the arguments.

    Raises:
        InputRejected: A shape differs or a value is not finite.
        RigMismatch: ``anchor`` is unknown.
    """
    rest_points = frozen_array("rest_points", rest_points, (None, None, 3))
    public_bind = frozen_array("public_bind", public_bind, (len(rest_points), layout.public_count, 4, 4))
    digest = hashlib.sha256(f"{rig_digest} {lod} {layout.twisted} {anchor}".encode())
    digest.update(rest_points.tobytes())
    digest.update(public_bind.tobytes())
    return PreparedIdentity(
        rest_points=rest_points,
        bind_T_world_joint=public_bind,
        lod=lod,
        digest=digest.hexdigest(),
        arrays=identity_arrays(rest_points, public_bind, layout=layout, program=program, anchor=anchor, device=device),
    )
