"""SOMA rigs as USD: the template that ships with soma_isaac, and the files of ``nvidia/soma-x`` (v0.2 and v0.3).

The text layer is read spec by spec, without composing a stage: no reference, payload, sublayer, clip or asset that the
file may name is ever opened. Binary layers are refused, because the native reader of that format is not robust.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pxr import Sdf, Tf

from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.guard import repeated
from soma_isaac.formats.rig_usd_mesh import read_skinned_mesh, skin_mesh_specs
from soma_isaac.formats.rig_usd_values import MATRICES, TOKENS, attribute_default, check_nesting, nearest_ancestors
from soma_isaac.formats.twist_sidecar import TwistSidecar, read_twist_sidecar
from soma_isaac.math.arrays import check_rotations
from soma_isaac.rig.rig import Rig
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS, Skeleton, data_path

TEMPLATE_RIG = "SOMA_template_rig.usda"
TEMPLATE_SIDECAR = "SOMA_procedural_transforms.json"
MAX_RIG_BYTES = 512 << 20
STATURE_RANGE_M = (0.5, 3.0)


@functools.lru_cache(maxsize=1)
def load_template_rig() -> Rig:
    """The rig in ``data/SOMA_template_rig.usda`` with its twist table; read once per process.

    Raises:
        InputRejected, RigMismatch: The shipped files were changed; see :func:`read_rig`.
    """
    return read_rig(data_path(TEMPLATE_RIG), data_path(TEMPLATE_SIDECAR))


def read_rig(path: Path | str, sidecar_path: Path | str | None = None) -> Rig:
    """Read a SOMA rig.

    Args:
        path: A text USD file (``.usda``) with one skeleton and skin meshes named as SOMA names them.
        sidecar_path: The twist table. Without it, ``SOMA_procedural_transforms.json`` in the same folder is used; if
            there is none, the rig has no twist table and helper joints follow their parents.

    Returns:
        The rig in metres. Joints keep the file's order; non-public joints are kept.

    Raises:
        InputRejected: Not a readable text USD file, too large, or the sidecar is against its schema.
        RigMismatch: The content is not a SOMA rig: up axis, unit, counts, names, parents, missing T-pose, a
            ``geomBindTransform`` that moves the mesh, or a mesh without usable skin. The message names the file.
    """
    path = Path(path)
    text, layer = read_layer(path)
    if sidecar_path is None and (path.parent / TEMPLATE_SIDECAR).is_file():
        sidecar_path = path.parent / TEMPLATE_SIDECAR
    digest = hashlib.sha256(text)
    sidecar: TwistSidecar | None = None
    if sidecar_path is not None:
        sidecar = read_twist_sidecar(Path(sidecar_path))
        digest.update(Path(sidecar_path).read_bytes())
    try:
        return _rig_from_layer(layer, sidecar, digest.hexdigest())
    except RigMismatch as error:
        raise RigMismatch(f"{str(path)!r}: {error}") from error
    except InputRejected as error:
        raise InputRejected(error.reason, str(path)) from error


def read_layer(path: Path) -> tuple[bytes, Sdf.Layer]:
    """The bytes of a text USD file and its layer, nothing composed.

    Raises:
        InputRejected: Not a readable text USD file, or too large.
    """
    text = _read_text(path)
    return text, _parse(text, path)


def _read_text(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_RIG_BYTES:
            raise InputRejected(f"larger than {MAX_RIG_BYTES >> 20} MiB", str(path))
        content = path.read_bytes()
    except OSError as error:
        raise InputRejected(f"cannot be read ({error.strerror})", str(path)) from error
    if not content.startswith(b"#usda "):
        raise InputRejected("not a text USD file; convert a binary one with usdcat -o rig.usda", str(path))
    check_nesting(content, str(path))
    return content


def _parse(content: bytes, path: Path) -> Sdf.Layer:
    layer = Sdf.Layer.CreateAnonymous(".usda")
    try:
        if not layer.ImportFromString(content.decode("utf-8")):
            raise InputRejected("not readable as text USD", str(path))
    except (UnicodeDecodeError, Tf.ErrorException) as error:
        message = " ".join(str(error).split())
        cause = message.partition(" : '")[2].rstrip(" '") or message
        raise InputRejected(f"not readable as text USD ({cause})", str(path)) from error
    return layer


def _rig_from_layer(layer: Sdf.Layer, sidecar: TwistSidecar | None, digest: str) -> Rig:
    metres_per_unit = _metres_per_unit(layer)
    prims = list(walk_prims(layer.rootPrims))
    skeletons = [prim for prim in prims if prim.typeName == "Skeleton"]
    if not skeletons:
        raise RigMismatch("there is no Skeleton prim")
    joint_paths, skeleton = _skeleton(skeletons[0], metres_per_unit)
    _check_public(skeleton)
    if sidecar is not None:
        _check_sidecar(sidecar, skeleton)
    meshes = {}
    for lod, prim in skin_mesh_specs(prims).items():
        meshes[lod] = read_skinned_mesh(prim, joint_paths, metres_per_unit)
    if "mid" not in meshes:
        names = ", ".join(prim.name for prim in prims if prim.typeName == "Mesh")
        raise RigMismatch(f"no skinned mesh is the mid level of detail (c_skin_mid); the meshes are {names or 'none'}")
    stature = float(np.ptp(meshes["mid"].points[:, 1]))
    if not STATURE_RANGE_M[0] <= stature <= STATURE_RANGE_M[1]:
        raise RigMismatch(f"the body is {stature:.4g} m tall along +Y; metersPerUnit or the up axis cannot be right")
    return Rig(skeleton, PUBLIC_JOINT_NAMES, None if sidecar is None else sidecar.twist, meshes, digest)


def _metres_per_unit(layer: Sdf.Layer) -> float:
    root = layer.pseudoRoot
    up_axis = root.GetInfo("upAxis") if root.HasInfo("upAxis") else "Y"
    if up_axis != "Y":
        raise RigMismatch(f"up axis is {up_axis!r}; a SOMA rig is Y-up")
    # UsdGeom: a layer that says nothing is in centimetres and Y-up.
    value = float(root.GetInfo("metersPerUnit")) if root.HasInfo("metersPerUnit") else 0.01
    if not np.isfinite(value) or value <= 0.0:
        raise RigMismatch(f"metersPerUnit is {value!r}")
    return value


def walk_prims(prims: list[Sdf.PrimSpec]) -> Iterator[Sdf.PrimSpec]:
    """Prims and what is below them, in the file's order."""
    for prim in prims:
        yield prim
        yield from walk_prims(prim.nameChildren)


def _skeleton(prim: Sdf.PrimSpec, metres_per_unit: float) -> tuple[tuple[str, ...], Skeleton]:
    paths = tuple(str(path) for path in attribute_default(prim, "joints", TOKENS) or ())
    if not paths:
        raise RigMismatch(f"skeleton {prim.name} lists no joints")
    names = tuple(path.rsplit("/", 1)[-1] for path in paths)
    twice = repeated(names)
    if twice:
        raise RigMismatch(f"joint name {twice[0]!r} occurs more than once")
    parents = np.array(nearest_ancestors(paths))
    if (parents < 0).sum() != 1 or parents[0] >= 0:
        raise RigMismatch("the first joint must be the only root")
    if any(parent >= joint for joint, parent in enumerate(parents)):
        raise RigMismatch("a joint stands before its parent")
    bind = _transforms(prim, "bindTransforms", len(paths), metres_per_unit)
    # Without a T-pose every motion relative to it would be wrong, so that the bind pose is no substitute for it.
    rest_local = _transforms(prim, "restTransforms", len(paths), metres_per_unit)
    rest = rest_local.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            rest[joint] = rest[parent] @ rest_local[joint]
    return paths, Skeleton(names, parents, bind, rest)


def _transforms(prim: Sdf.PrimSpec, name: str, count: int, metres_per_unit: float) -> np.ndarray:
    value = attribute_default(prim, name, MATRICES)
    if value is None:
        raise RigMismatch(f"skeleton {prim.name} has no {name}")
    rows = np.array(value, dtype=np.float64)
    if rows.shape != (count, 4, 4):
        raise RigMismatch(f"skeleton {prim.name} has {len(rows)} {name} for {count} joints")
    columns = np.swapaxes(rows, 1, 2).copy()
    if not np.isfinite(columns).all() or np.abs(columns[:, 3] - [0.0, 0.0, 0.0, 1.0]).max() > 1e-6:
        raise RigMismatch(f"{name} of skeleton {prim.name} are not all finite affine transforms")
    check_rotations(name, columns[:, :3, :3])
    columns[:, :3, 3] *= metres_per_unit
    return columns


def _check_public(skeleton: Skeleton) -> None:
    missing = [name for name in PUBLIC_JOINT_NAMES if name not in skeleton.joint_names]
    if missing:
        raise RigMismatch(f"the skeleton lacks the public joints {', '.join(missing)}")
    public = set(PUBLIC_JOINT_NAMES)
    for name, parent in zip(PUBLIC_JOINT_NAMES, PUBLIC_PARENTS, strict=True):
        ancestor = int(skeleton.parent_indices[skeleton.index(name)])
        while ancestor >= 0 and skeleton.joint_names[ancestor] not in public:
            ancestor = int(skeleton.parent_indices[ancestor])
        found = skeleton.joint_names[ancestor] if ancestor >= 0 else None
        expected = PUBLIC_JOINT_NAMES[parent] if parent >= 0 else None
        if found != expected:
            raise RigMismatch(f"the parent of {name} is {found}, expected {expected}")


def _check_sidecar(sidecar: TwistSidecar, skeleton: Skeleton) -> None:
    if sidecar.public_joint_names != PUBLIC_JOINT_NAMES:
        raise RigMismatch("main_joint_names of the twist table are not the 78 public joints in their order")
    for segment in sidecar.twist.segments:
        for helper in segment.twist_joints:
            if helper not in skeleton.joint_names:
                raise RigMismatch(f"twist joint {helper} of the twist table is not in the skeleton")
            parent = skeleton.parent_indices[skeleton.index(helper)]
            if parent < 0 or skeleton.joint_names[parent] not in PUBLIC_JOINT_NAMES:
                raise RigMismatch(f"twist joint {helper} does not hang on a public joint")
