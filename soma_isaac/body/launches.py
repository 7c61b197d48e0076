"""The kernels that pose some rows of a batch, recorded once and pointed at the outputs of each call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import warp as wp

from soma_isaac.body.identity import IdentityArrays
from soma_isaac.kernels.corrective_offsets import OffsetTable, launch_correct
from soma_isaac.kernels.correctives import HiddenTable, lane_count, launch_hidden, launch_inputs
from soma_isaac.kernels.fk import launch_fk
from soma_isaac.kernels.lbs import Influences, launch_blend, launch_skin_matrices
from soma_isaac.kernels.twist import launch_helpers, launch_twist_channels


class CorrectiveArrays(NamedTuple):
    """The two layers of pose correctives on a device."""

    hidden: HiddenTable
    offsets: OffsetTable


class RigArrays(NamedTuple):
    """Device arrays that every identity of a rig shares.

    Attributes:
        parents: [P] int32.
        relative_orientations: [P] mat33, world rotations at zero pose.
        absolute_orientations: [P] mat33, identities.
        influences: Joints that move each vertex.
        correctives: Pose correctives, if the body has them.
    """

    parents: wp.array
    relative_orientations: wp.array
    absolute_orientations: wp.array
    influences: Influences
    correctives: CorrectiveArrays | None = None


class PoseKind(NamedTuple):
    """What a call asks for: together with the identity, all that recorded launches depend on.

    Attributes:
        batch: Bodies B.
        pose_rows: Poses, 1 or B.
        matrices: Poses are matrices, else rotation vectors.
        absolute: Poses are the rig's local rotations, else relative to the T-pose.
        skinned: Vertices are wanted, else joints only.
        corrected: Pose correctives are added.
    """

    batch: int
    pose_rows: int
    matrices: bool
    absolute: bool
    skinned: bool
    corrected: bool


@dataclass(frozen=True, eq=False)
class BodyPose:
    """Posed bodies as Warp arrays on the body's device; ``.numpy()`` gives the shapes in parentheses.

    Attributes:
        vertices: [B, V] vec3 (B, V, 3), m; [B, 0] where only joints were asked for.
        joints: [B, P - 1] vec3 (B, 77, 3), m, public joints without the dummy root.
        transforms: [B, P] mat44 (B, 78, 4, 4), m, world transforms of the public joints.
    """

    vertices: wp.array
    joints: wp.array
    transforms: wp.array


class PartLaunches:
    """Recorded launches over some rows of the batch."""

    def __init__(
        self,
        rig: RigArrays,
        identity: IdentityArrays,
        scratch: dict[str, wp.array],
        kind: PoseKind,
        active: wp.array | None = None,
    ) -> None:
        self._active = active
        self._rig = rig
        self._identity = identity
        self._scratch = scratch
        self._kind = kind
        self._launches: list[tuple[Any, tuple[str, ...]]] = []

    def bind(self, out: BodyPose) -> None:
        """Point the launches at output arrays, recording them the first time."""
        if not self._launches:
            self._launches = self._record(out)
            return
        for launch, arguments in self._launches:
            for argument in arguments:
                launch.set_param_by_name(argument, getattr(out, argument.removesuffix("_out")))

    def run(self) -> None:
        """Run the launches in order."""
        for launch, _ in self._launches:
            launch.launch()

    def _record(self, out: BodyPose) -> list[tuple[Any, tuple[str, ...]]]:
        """The launches in order, each with those of its arguments that are arrays of ``out``."""
        rig, identity, scratch, absolute = self._rig, self._identity, self._scratch, self._kind.absolute
        fk = launch_fk(
            parents=rig.parents,
            orientations=rig.absolute_orientations if absolute else rig.relative_orientations,
            offsets=identity.absolute_offsets if absolute else identity.relative_offsets,
            rotations=scratch["rotations"],
            translations=scratch["translations"],
            turns_out=scratch["turns"],
            transforms_out=out.transforms,
            joints_out=out.joints,
            record=True,
        )
        launches: list[tuple[Any, tuple[str, ...]]] = [(fk, ("transforms_out", "joints_out"))]
        if self._kind.skinned:
            launches += self._skinning(out)
        return launches

    def _skinning(self, out: BodyPose) -> list[tuple[Any, tuple[str, ...]]]:
        rig, identity, scratch = self._rig, self._identity, self._scratch
        launches: list[tuple[Any, tuple[str, ...]]] = []
        if identity.channels is not None and identity.helpers is not None:
            angles, helpers = scratch["angles"], scratch["helpers"]
            twist = launch_twist_channels(identity.channels, transforms=out.transforms, angles_out=angles, record=True)
            emission = launch_helpers(
                identity.helpers, transforms=out.transforms, angles=angles, helpers_out=helpers, record=True
            )
            launches += [(twist, ("transforms",)), (emission, ("transforms",))]
        skin = launch_skin_matrices(
            inverse_binds=identity.inverse_binds,
            transforms=out.transforms,
            helpers=scratch["helpers"],
            columns_out=scratch["columns"],
            record=True,
        )
        points = identity.points
        if self._kind.corrected:
            points = scratch["points"]
            launches += self._corrections(out, points)
        blend = launch_blend(
            rig.influences,
            points=points,
            columns=scratch["columns"],
            vertices_out=out.vertices,
            active=self._active,
            record=True,
        )
        return [*launches, (skin, ("transforms",)), (blend, ("vertices_out",))]

    def _corrections(self, out: BodyPose, points: wp.array) -> list[tuple[Any, tuple[str, ...]]]:
        assert self._rig.correctives is not None
        hidden_table, offset_table = self._rig.correctives
        batch, public = out.transforms.shape
        lanes, device = lane_count(batch, points.device), points.device
        tiles = -(-batch // lanes)
        features = wp.zeros((tiles, 6 * public, lanes), dtype=wp.float32, device=device)
        hidden = wp.empty((tiles, len(hidden_table.offsets) - 1, lanes), dtype=wp.float32, device=device)
        inputs = launch_inputs(hidden_table, transforms=out.transforms, features_out=features, record=True)
        units = launch_hidden(hidden_table, features=features, hidden_out=hidden, record=True)
        correct = launch_correct(
            offset_table,
            scales=self._identity.corrective_scales,
            points=self._identity.points,
            hidden=hidden,
            points_out=points,
            record=True,
        )
        return [(inputs, ("transforms",)), (units, ()), (correct, ())]


def rows(array: wp.array, begin: int, end: int) -> wp.array:
    """Rows of a batch array; a single row is shared by the whole batch."""
    if array.shape[0] in (1, end - begin):
        return array
    if array.size == 0:  # Warp does not slice arrays without elements
        return wp.empty((end - begin, *array.shape[1:]), dtype=array.dtype, device=array.device)
    return array[begin:end]


def identity_rows(identity: IdentityArrays, begin: int, end: int) -> IdentityArrays:
    """The identities of some rows of the batch; joint tables stay whole."""
    tables = identity._asdict()
    for name in ("points", "relative_offsets", "absolute_offsets", "inverse_binds", "corrective_scales"):
        tables[name] = rows(tables[name], begin, end)
    if identity.channels is not None and identity.helpers is not None:
        channels, helpers = identity.channels, identity.helpers
        tables["channels"] = channels._replace(
            left=rows(channels.left, begin, end), right=rows(channels.right, begin, end)
        )
        tables["helpers"] = helpers._replace(
            bind_rotations=rows(helpers.bind_rotations, begin, end), bind_offsets=rows(helpers.bind_offsets, begin, end)
        )
    return IdentityArrays(**tables)
