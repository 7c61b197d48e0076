"""Older T-poses that a shape file remembers, found by version, identifier, digest or alias.

A release of SOMA's rig may turn joint frames in the T-pose. Motions that were saved relative to an older T-pose stay
valid when converted from its orientations:
``convert_reference(rotations, catalog.orientations(version="0.2.0"), current)``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import warp as wp
from numpy.typing import ArrayLike

from soma_isaac.body.orientations import absolute_from_relative, reference_orientations
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.neutral_npz import NeutralShape, ReferencePose, read_neutral
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS

DATA_KEY = "t_pose_world"
SCHEMA_VERSION = 2
SELECTORS = ("identifier", "version", "asset_revision", "alias", "data_key")

_SEMVER = re.compile(
    r"v?(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)

_Version = tuple[int, int, int, bool, tuple[tuple[int, int, str], ...]]


def version_key(version: str) -> _Version:
    """Sort key of a semantic version (a leading ``v`` and build metadata do not count; prereleases come first).

    Raises:
        InputRejected: It is not a semantic version.
    """
    match = _SEMVER.fullmatch(version)
    parts = (match[4] or "").split(".") if match and match[4] else []
    if match is None or any(part.isdigit() and len(part) > 1 and part.startswith("0") for part in parts):
        raise InputRejected(f"{version!r} is not a semantic version such as 0.2.0")
    prerelease = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return int(match[1]), int(match[2]), int(match[3]), not parts, prerelease


@dataclass(frozen=True)
class ReferenceRecord:
    """One entry of the history.

    Attributes:
        identifier: Its key in the file, ``<data_key>__v<version>`` or ``<data_key>__sha256_<hex>``.
        data_key: What was recorded, ``t_pose_world`` for the T-pose.
        version: Release that it belongs to, or ``None``.
        asset_revision: ``sha256:<hex>`` of the asset that it belongs to, or ``None``.
        aliases: Other names.
    """

    identifier: str
    data_key: str
    version: str | None
    asset_revision: str | None
    aliases: tuple[str, ...]


class ReferenceCatalog:
    """The history of one shape file.

    Attributes:
        records: Its entries in file order; empty for a file without history.
        default_identifier: The entry that the file calls current, or ``None``.
    """

    def __init__(self, poses: Mapping[str, ReferencePose], metadata: str) -> None:
        """Check the history's table of contents against what is there.

        Args:
            poses: Recorded orientations by identifier.
            metadata: The history's JSON text; empty for a file without history.

        Raises:
            InputRejected: The text is no history of schema 2, or does not list exactly what is there.
        """
        self._poses = dict(poses)
        self.records: tuple[ReferenceRecord, ...] = ()
        self.default_identifier: str | None = None
        if not metadata and not poses:
            return
        try:
            contents = json.loads(metadata)
        except ValueError as error:
            raise InputRejected("the history of reference poses has no readable table of contents") from error
        if not isinstance(contents, dict) or contents.get("schema_version") != SCHEMA_VERSION:
            raise InputRejected(f"the history of reference poses is not of schema {SCHEMA_VERSION}")
        entries = contents.get("references")
        if not isinstance(entries, list):
            raise InputRejected("the history of reference poses lists no references")
        self.records = tuple(_record(entry) for entry in entries)
        listed = [record.identifier for record in self.records]
        if sorted(listed) != sorted(self._poses):
            raise InputRejected(f"the history lists {sorted(listed)}, the file holds {sorted(self._poses)}")
        default = contents.get("default_reference_id")
        if default not in listed:
            raise InputRejected(f"the history's default reference pose {default!r} is none of {sorted(listed)}")
        self.default_identifier = default

    @classmethod
    def of(cls, neutral: NeutralShape) -> ReferenceCatalog:
        """The history of a shape file.

        Raises:
            InputRejected: As the constructor.
        """
        return cls(neutral.reference_poses, neutral.reference_metadata)

    def find(
        self,
        identifier: str | None = None,
        *,
        version: str | None = None,
        asset_revision: str | None = None,
        alias: str | None = None,
        data_key: str = DATA_KEY,
    ) -> str:
        """Identifier of the entry that exactly one selector names.

        Args:
            identifier: The entry's key.
            version: A release: the newest entry that is not newer.
            asset_revision: ``sha256:<hex>`` of an asset.
            alias: Another name of the entry.
            data_key: What to look for by the last three.

        Raises:
            InputRejected: None or several selectors are given, or no entry fits; the message lists what there is.
        """
        given = [value for value in (identifier, version, asset_revision, alias) if value is not None]
        if len(given) != 1:
            raise InputRejected("name a reference pose by exactly one of identifier, version, asset_revision and alias")
        found = []
        for record in self.records:
            same = record.data_key == data_key
            if identifier is not None:
                matches = record.identifier == identifier
            elif version is not None:
                matches = same and record.version is not None and version_key(record.version) <= version_key(version)
            elif asset_revision is not None:
                matches = same and record.asset_revision == asset_revision
            else:
                matches = same and alias in record.aliases
            if matches:
                found.append(record)
        if not found:
            known = ", ".join(record.identifier for record in self.records) or "none"
            raise InputRejected(f"no reference pose {given[0]!r} for {data_key!r}; the file holds {known}")
        return max(found, key=lambda record: version_key(record.version or "0.0.0")).identifier

    def orientations(self, identifier: str | None = None, **selectors: str) -> np.ndarray:
        """World rotations [78, 3, 3] of the public joints in a recorded pose; selectors as for :meth:`find`.

        Raises:
            InputRejected: No entry fits, or it does not hold rotations.
            RigMismatch: The entry was recorded for another skeleton.
        """
        chosen = self.find(identifier, **selectors)
        pose = self._poses[chosen]
        if set(pose.joint_names) != set(PUBLIC_JOINT_NAMES) or len(pose.joint_names) != len(PUBLIC_JOINT_NAMES):
            raise RigMismatch(f"the reference pose {chosen!r} is of another skeleton: its joint names differ")
        order = [pose.joint_names.index(name) for name in PUBLIC_JOINT_NAMES]
        for row, parent in zip(order[1:], PUBLIC_PARENTS[1:], strict=True):
            if pose.joint_names[int(pose.parents[row])] != PUBLIC_JOINT_NAMES[parent]:
                raise RigMismatch(f"the reference pose {chosen!r} hangs {pose.joint_names[row]!r} on another parent")
        return reference_orientations(pose.rotations[order])

    def select(self, selection: str | Mapping[str, str]) -> np.ndarray:
        """World rotations [78, 3, 3] of a recorded pose that is named in short.

        Args:
            selection: An identifier, ``sha256:<hex>`` of an asset, an alias, or a version (``0.2.0``), tried in this
                order; or the selectors of :meth:`find` by name.

        Raises:
            InputRejected: A selector is unknown, or no entry fits.
            RigMismatch: The entry was recorded for another skeleton.
        """
        if not isinstance(selection, str):
            unknown = sorted(set(selection) - set(SELECTORS))
            if unknown:
                raise InputRejected(f"no selector {unknown[0]!r} of reference poses; there are {', '.join(SELECTORS)}")
            return self.orientations(**selection)
        if any(record.identifier == selection for record in self.records):
            return self.orientations(selection)
        if selection.startswith("sha256:"):
            return self.orientations(asset_revision=selection)
        if _SEMVER.fullmatch(selection) and not any(selection in record.aliases for record in self.records):
            return self.orientations(version=selection)
        return self.orientations(alias=selection)


class ReferenceChoice:
    """Reference poses of a layer: given as rotations, or named in the history of its shape file.

    Args:
        shape_file: Path of the file with the history, asked when a pose is named for the first time; gives ``None``
            where there is no file.
    """

    def __init__(self, shape_file: Callable[[], Path | None]) -> None:
        self._shape_file = shape_file

    @cached_property
    def catalog(self) -> ReferenceCatalog:
        """The history, read once.

        Raises:
            InputRejected: There is no file, or it or its history is not sound.
        """
        path = self._shape_file()
        if path is None:
            raise InputRejected("reference poses by name need SOMA_neutral.npz; say where it is with assets=PATH")
        return ReferenceCatalog.of(read_neutral(path))

    def orientations(self, reference: ArrayLike | str | Mapping[str, str]) -> np.ndarray:
        """World rotations [78, 3, 3]: those given, checked, or those recorded under a name.

        Raises:
            InputRejected: They are no rotations, or no entry fits.
            RigMismatch: The entry was recorded for another skeleton.
        """
        if isinstance(reference, (str, Mapping)):
            return self.catalog.select(reference)
        return reference_orientations(reference)

    def local_rotations(
        self, poses: ArrayLike | wp.array, reference: ArrayLike | str | Mapping[str, str]
    ) -> np.ndarray:
        """The rig's local rotations [B, 77, 3, 3] of poses [B, 77, 3] or [B, 77, 3, 3] relative to a reference pose.

        Raises:
            InputRejected: As :meth:`orientations`, or the poses have another shape.
            RigMismatch: As :meth:`orientations`.
        """
        start = self.orientations(reference)
        rotations = np.asarray(poses.numpy() if isinstance(poses, wp.array) else poses, dtype=np.float64)
        if rotations.ndim == 3:
            rotations = matrix_from_rotvec(rotations)
        if rotations.shape[1:] != (len(start) - 1, 3, 3):
            raise InputRejected(f"poses has shape {np.shape(poses)}, expected (B, {len(start) - 1}, 3) or (..., 3, 3)")
        return absolute_from_relative(rotations, start)


def _record(entry: object) -> ReferenceRecord:
    """One entry of the table of contents.

    Raises:
        InputRejected: A field is missing or is not what it should be.
    """
    fields = entry if isinstance(entry, dict) else {}
    identifier, data_key, aliases = fields.get("id"), fields.get("data_key"), fields.get("aliases", [])
    version, revision = fields.get("soma_version"), fields.get("asset_revision")
    if not isinstance(data_key, str) or (version is None) == (revision is None) or not isinstance(aliases, list):
        raise InputRejected(f"the entry {identifier!r} of the reference pose history is incomplete")
    if version is not None:
        version_key(str(version))
        expected = f"{data_key}__v{version}"
    else:
        expected = f"{data_key}__sha256_{str(revision).removeprefix('sha256:')}"
    if identifier != expected:
        raise InputRejected(f"the entry {identifier!r} of the reference pose history should be called {expected!r}")
    return ReferenceRecord(
        identifier=expected,
        data_key=data_key,
        version=None if version is None else str(version),
        asset_revision=None if revision is None else str(revision),
        aliases=tuple(str(alias) for alias in aliases),
    )
