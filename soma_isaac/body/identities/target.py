"""Which SOMA vertices an identity model has to deliver."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soma_isaac.errors import RigMismatch
from soma_isaac.formats.neutral_npz import NeutralShape
from soma_isaac.math.arrays import frozen_array
from soma_isaac.rig.rig import Rig


@dataclass(frozen=True, eq=False)
class SomaTarget:
    """The SOMA mesh of one level of detail, ``mid`` or ``low``.

    Attributes:
        lod: ``mid`` or ``low``. The ``xlo`` mesh is no subset; a layer delivers it from ``low``.
        mid_count: Vertices of the mid mesh.
        mid_rows: [V] int32, the mid vertex of each delivered vertex.
        triangles: [N, 3] int32 of the delivered mesh.
        bag_vertices: [F] int32 delivered vertices of eye and mouth bags, which other bodies' meshes do not have; may
            be empty, then nothing is filled in.
    """

    lod: str
    mid_count: int
    mid_rows: np.ndarray
    triangles: np.ndarray
    bag_vertices: np.ndarray

    def __post_init__(self) -> None:
        """Check indices.

        Raises:
            RigMismatch: An index is out of range, or the LOD has no rows of its own.
        """
        if self.lod not in ("mid", "low"):
            raise RigMismatch(f"identities are delivered at LOD mid or low, not {self.lod!r}; xlo follows from low")
        for name, shape, end in (
            ("mid_rows", (None,), self.mid_count),
            ("triangles", (None, 3), len(self.mid_rows)),
            ("bag_vertices", (None,), len(self.mid_rows)),
        ):
            array = frozen_array(name, getattr(self, name), shape, np.int32)
            if array.size and (array.min() < 0 or array.max() >= end):
                raise RigMismatch(f"{name} point outside the {end} vertices")
            object.__setattr__(self, name, array)

    @property
    def vertex_count(self) -> int:
        """Delivered vertices V."""
        return len(self.mid_rows)

    @classmethod
    def of(cls, rig: Rig, lod: str = "mid", neutral: NeutralShape | None = None) -> SomaTarget:
        """The target of a rig's LOD (``xlo`` gives that of ``low``), with the bags that ``neutral`` names.

        The rig numbers its low vertices as the first of the mid mesh; ``neutral.low_from_mid`` has to agree.

        Raises:
            RigMismatch: The rig lacks the LOD, or ``neutral`` belongs to another mesh.
        """
        level = "mid" if lod == "mid" else "low"
        mesh, mid_count = rig.mesh(level), rig.mesh("mid").vertex_count
        rows = np.arange(mesh.vertex_count)
        bags = np.zeros(0, dtype=np.int32)
        if neutral is not None:
            if len(neutral.space.mean) != mid_count:
                raise RigMismatch(f"the shape file has {len(neutral.space.mean)} vertices, the rig {mid_count}")
            if level == "low" and neutral.low_from_mid is not None:
                rows = neutral.low_from_mid
            if len(rows) != mesh.vertex_count:
                raise RigMismatch(f"the shape file has {len(rows)} low vertices, the rig {mesh.vertex_count}")
            bags = np.flatnonzero(np.isin(rows, neutral.bag_vertices))
        return cls(level, mid_count, rows, mesh.triangles, bags)
