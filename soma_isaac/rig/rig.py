"""The complete rig: skeleton with twist helpers, skinned meshes per level of detail, twist table, digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.math.arrays import frozen_array
from soma_isaac.rig.skeleton import Skeleton
from soma_isaac.rig.twist import TwistTable

LODS = ("mid", "low", "xlo")


@dataclass(frozen=True, eq=False)
class SkinnedMesh:
    """One level of detail in its bind pose.

    Attributes:
        name: Prim name, e.g. ``c_skin_mid``.
        points: [V, 3] m, bind pose.
        face_vertex_counts: [F] int32.
        face_vertex_indices: [sum of counts] int32.
        triangles: [N, 3] int32.
        joint_indices: [V, K] int32 into the rig's skeleton; unused slots are 0.
        joint_weights: [V, K] float64, largest first, unused slots are 0; rows as authored (they sum to 1
            within float32 rounding in files that we write).
    """

    name: str
    points: np.ndarray
    face_vertex_counts: np.ndarray
    face_vertex_indices: np.ndarray
    triangles: np.ndarray
    joint_indices: np.ndarray
    joint_weights: np.ndarray

    def __post_init__(self) -> None:
        """Check that counts agree.

        Raises:
            RigMismatch: Face counts and indices disagree, or an index is out of range.
            InputRejected: An array has another shape or is not finite.
        """
        set_field = object.__setattr__
        set_field(self, "points", frozen_array("points", self.points, (None, 3)))
        count = len(self.points)
        for field, shape in (
            ("face_vertex_counts", (None,)),
            ("face_vertex_indices", (None,)),
            ("triangles", (None, 3)),
            ("joint_indices", (count, None)),
        ):
            set_field(self, field, frozen_array(field, getattr(self, field), shape, np.int32))
        influences = self.joint_indices.shape[1]
        set_field(self, "joint_weights", frozen_array("joint_weights", self.joint_weights, (count, influences)))
        if int(self.face_vertex_counts.sum()) != len(self.face_vertex_indices):
            raise RigMismatch(f"mesh {self.name}: face vertex counts and indices disagree")
        for field in ("face_vertex_indices", "triangles"):
            indices = getattr(self, field)
            if indices.size and (indices.min() < 0 or indices.max() >= count):
                raise RigMismatch(f"mesh {self.name}: {field} point outside the {count} vertices")

    @property
    def vertex_count(self) -> int:
        """Number of vertices V."""
        return len(self.points)


@dataclass(frozen=True, eq=False)
class Rig:
    """A SOMA rig as read from a template file.

    Attributes:
        skeleton: All J joints (110 in the template: 78 public and 32 twist helpers), m.
        public_joint_names: The 78 public joints in their order; each is in the skeleton.
        twist: Twist helpers and how they are driven; ``None`` for a rig without helpers.
        meshes: Skinned meshes by LOD (``mid``, ``low``, ``xlo``); at least ``mid``.
        digest: sha256 of the source bytes.
    """

    skeleton: Skeleton
    public_joint_names: tuple[str, ...]
    twist: TwistTable | None
    meshes: Mapping[str, SkinnedMesh]
    digest: str

    def __post_init__(self) -> None:
        """Check that public and twist joints exist.

        Raises:
            RigMismatch: A public or twist joint is missing, or there is no ``mid`` mesh.
        """
        object.__setattr__(self, "meshes", MappingProxyType(dict(self.meshes)))
        known = set(self.skeleton.joint_names)
        helpers = () if self.twist is None else self.twist.joint_names
        missing = [name for name in (*self.public_joint_names, *helpers) if name not in known]
        if missing:
            raise RigMismatch(f"the rig lacks the joints {', '.join(missing)}")
        if "mid" not in self.meshes:
            raise RigMismatch(f"the rig has no mid mesh; it has {', '.join(self.meshes) or 'none'}")

    def mesh(self, lod: str) -> SkinnedMesh:
        """The mesh of a level of detail.

        Raises:
            RigMismatch: The rig has no such LOD.
        """
        if lod not in self.meshes:
            raise RigMismatch(f"no LOD {lod!r}; this rig has {', '.join(self.meshes)}")
        return self.meshes[lod]
