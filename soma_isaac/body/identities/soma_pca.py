"""``soma``: principal components in SOMA topology, SOMA-X's own (128) or the open space of soma_isaac (64)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from soma_isaac.body.identities.base import Coefficients, IdentitySpec, LinearIdentity, LinearShape
from soma_isaac.body.identities.presets import open_shape_space
from soma_isaac.body.identities.target import SomaTarget
from soma_isaac.errors import InputRejected
from soma_isaac.formats.asset_tree import FETCH_COMMAND, AssetTree, require_content
from soma_isaac.formats.neutral_npz import NeutralShape, read_neutral
from soma_isaac.formats.pca_binary import PcaSpace

FILE = "SOMA_neutral.npz"
SOMA_SPEC = IdentitySpec(
    name="soma",
    coefficients=Coefficients(names=(), default=0.0, low=-3.0, high=3.0, unit="standard deviations"),
    unit_metres=0.01,
    axes="+X +Y +Z",
    licence="Apache-2.0: the open shape space of soma_isaac, and SOMA-X's (nvidia/soma-x)",
    origin=f"{FETCH_COMMAND} --only core gets SOMA-X's; without assets and model_path the open one is taken",
    files=(FILE,),
)


def component_group(count: int) -> Coefficients:
    """Coefficients of a principal component space with ``count`` components."""
    return replace(SOMA_SPEC.coefficients, names=tuple(f"component_{k}" for k in range(count)))


def linear_shape(space: PcaSpace, rows: np.ndarray | None = None, unit: float = 1.0) -> LinearShape:
    """A shape space whose unit coefficients are standard deviations: directions are multiplied by sqrt(eigenvalue).

    Args:
        space: The space.
        rows: Vertices to keep; all by default.
        unit: Metres per unit of the space.
    """
    mean, directions = space.mean, space.directions
    if rows is not None and not np.array_equal(rows, np.arange(len(mean))):
        mean, directions = mean[rows], directions[:, rows]
    deviation = (np.sqrt(space.eigenvalues) * unit).astype(np.float32)
    return LinearShape(
        np.ascontiguousarray(mean * unit, dtype=np.float32),
        np.ascontiguousarray(directions * deviation[:, None, None], dtype=np.float32),
    )


class SomaIdentity(LinearIdentity):
    """The shape space of a ``SOMA_neutral.npz``, official or open; K is the file's.

    Args:
        target: SOMA vertices to deliver.
        shape: The file.

    Raises:
        InputRejected: The file has another number of vertices.
    """

    def __init__(self, target: SomaTarget, shape: NeutralShape) -> None:
        if len(shape.space.mean) != target.mid_count:
            raise InputRejected(
                f"the shape file has {len(shape.space.mean)} vertices, SOMA's mid mesh {target.mid_count}"
            )
        self.target = target
        self.native_triangles = target.triangles
        self.native_linear = linear_shape(shape.space, target.mid_rows)
        self.spec = replace(SOMA_SPEC, coefficients=component_group(len(shape.space.eigenvalues)))

    @classmethod
    def load(
        cls, target: SomaTarget, *, assets: AssetTree | None = None, model_path: Path | None = None
    ) -> SomaIdentity:
        """Read ``model_path``, else ``SOMA_neutral.npz`` of the assets, else the open shape space of soma_isaac.

        Raises:
            InputRejected: The file or folder that was named has no such file, or it is not what it should be.
        """
        if assets is None and model_path is None:
            return cls(target, read_neutral(open_shape_space()))
        return cls(target, read_neutral(model_file(SOMA_SPEC, (FILE,), assets, model_path)))


def model_file(
    spec: IdentitySpec, candidates: tuple[str, ...], assets: AssetTree | None, model_path: Path | None
) -> Path:
    """The file that the user named, else the first of the candidates in the assets.

    Raises:
        InputRejected: Neither is there; the message names the file, its origin and the options.
    """
    origin = f"{spec.origin}; say where it is with assets=PATH or model_path=FILE"
    purpose = f"the {spec.name} identity model"
    if model_path is not None:
        if not model_path.is_file():
            raise InputRejected(f"is no file; {purpose} needs {' or '.join(candidates)}: {origin}", str(model_path))
        require_content(model_path)
        return model_path
    if assets is None:
        raise InputRejected(f"{purpose} needs {' or '.join(candidates)}: {origin}")
    return assets.first(candidates, purpose=purpose, origin=origin)


def asset_file(spec: IdentitySpec, name: str, assets: AssetTree | None, origin: str) -> Path:
    """One further file of a backend, which lies in the assets folder.

    Raises:
        InputRejected: It is not there; the message names it, its origin and the option.
    """
    purpose, hint = f"the {spec.name} identity model", f"{origin}; say where it is with assets=PATH"
    if assets is None:
        raise InputRejected(f"{purpose} needs {name}: {hint}")
    return assets.file(name, purpose=purpose, origin=hint)
