"""The skeleton of a glTF 2.0 character (``.glb``, ``.gltf``, ``.vrm``): nodes and their transforms, nothing else.

Only the JSON part is read; buffers, images and extensions are never touched, so that no further file is opened.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected
from soma_isaac.formats.character_skeleton import CharacterSkeleton, parents_first, world_matrices
from soma_isaac.formats.guard import read_source
from soma_isaac.formats.limits import DEFAULT_LIMITS, MEBIBYTE, ReadLimits
from soma_isaac.math.so3 import matrix_from_quat_xyzw

MAX_JSON_BYTES = 64 * MEBIBYTE
MAX_NODES = 65_536
_MAGIC, _JSON = 0x46546C67, 0x4E4F534A
_LARGEST = 1e9


def read_gltf_character(path: Path, limits: ReadLimits = DEFAULT_LIMITS) -> CharacterSkeleton:
    """Read the joints of the skin with the most of them (all nodes where there is no skin), as the nodes stand.

    Args:
        path: ``.glb``, ``.vrm`` or ``.gltf``.
        limits: Budgets.

    Raises:
        InputRejected: Not glTF 2.0, over a budget, or nodes that are not sound.
    """
    source = read_source(path, limits)
    try:
        return _skeleton(_document(source.data))
    except InputRejected as error:
        raise InputRejected(error.reason, str(path)) from error


def _document(data: bytes) -> dict[str, Any]:
    if data[:4] == struct.pack("<I", _MAGIC):
        if len(data) < 20:
            raise InputRejected("ends inside its header: the file is incomplete")
        version, _, size, kind = struct.unpack("<4I", data[4:20])
        if version != 2 or kind != _JSON or len(data) < 20 + size:
            raise InputRejected("is no complete binary glTF 2.0")
        data = data[20 : 20 + size]
    if len(data) > MAX_JSON_BYTES:
        raise InputRejected(f"has more than {MAX_JSON_BYTES} bytes of JSON")
    try:
        document = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise InputRejected(f"is no glTF: its JSON cannot be read ({str(error)[:80]})") from error
    asset = document.get("asset") if isinstance(document, dict) else None
    if not isinstance(asset, dict) or not str(asset.get("version", "")).startswith("2"):
        raise InputRejected("is no glTF 2.0: there is no asset.version 2")
    return document


def _list(owner: dict[str, Any], key: str) -> list[Any]:
    value = owner.get(key, [])
    if not isinstance(value, list):
        raise InputRejected(f"has {key} that is no list")
    return value


def _skeleton(document: dict[str, Any]) -> CharacterSkeleton:
    nodes = _list(document, "nodes")
    if not nodes or len(nodes) > MAX_NODES or not all(isinstance(node, dict) for node in nodes):
        raise InputRejected(f"has {len(nodes)} nodes, expected 1 to {MAX_NODES} objects")
    parents = np.full(len(nodes), -1)
    for index, node in enumerate(nodes):
        for child in _indices(_list(node, "children"), len(nodes), "children"):
            if parents[child] >= 0 or child == index:
                raise InputRejected(f"has node {child} below two others or itself")
            parents[child] = index
    world = world_matrices(np.array([_local(node, index) for index, node in enumerate(nodes)]), parents)
    skins = [skin for skin in _list(document, "skins") if isinstance(skin, dict)]
    joints = max((_indices(_list(skin, "joints"), len(nodes), "joints") for skin in skins), key=len, default=[])
    # Ends of chains (head top, toe tips) deform nothing and are often left out of the skin.
    chosen = _with_descendants(joints, parents) if joints else list(range(len(nodes)))
    place = {node: joint for joint, node in enumerate(chosen)}
    return CharacterSkeleton(
        tuple(str(nodes[node].get("name", f"node {node}"))[:256] for node in chosen),
        np.array([place.get(int(parents[node]), -1) for node in chosen]),
        world[chosen, :3, 3],
        1.0,
        "node transforms",
    )


def _with_descendants(joints: list[int], parents: np.ndarray) -> list[int]:
    inside = np.zeros(len(parents), dtype=bool)
    inside[joints] = True
    for joint in parents_first(parents):
        inside[joint] |= parents[joint] >= 0 and inside[parents[joint]]
    return np.flatnonzero(inside).tolist()


def _indices(values: list[Any], count: int, what: str) -> list[int]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < count:
            raise InputRejected(f"has {what} that point at no node: {str(value)[:40]}")
    return values


def _numbers(node: dict[str, Any], key: str, default: tuple[float, ...], index: int) -> np.ndarray:
    value = node.get(key, default)
    sound = isinstance(value, list | tuple) and len(value) == len(default)
    if not sound or not all(isinstance(entry, int | float) and abs(entry) <= _LARGEST for entry in value):
        raise InputRejected(f"has a {key} of node {index} that is not {len(default)} numbers")
    return np.array(value, dtype=np.float64)


def _local(node: dict[str, Any], index: int) -> np.ndarray:
    """Transform [4, 4] of a node against its parent, column vectors."""
    if "matrix" in node:
        return _numbers(node, "matrix", (0.0,) * 16, index).reshape(4, 4).T
    quat_xyzw = _numbers(node, "rotation", (0.0, 0.0, 0.0, 1.0), index)
    length = float(np.linalg.norm(quat_xyzw))
    if not 0.5 < length < 2.0:
        raise InputRejected(f"has a rotation of node {index} that is no unit quaternion")
    matrix = np.eye(4)
    matrix[:3, :3] = matrix_from_quat_xyzw(quat_xyzw / length) * _numbers(node, "scale", (1.0, 1.0, 1.0), index)
    matrix[:3, 3] = _numbers(node, "translation", (0.0, 0.0, 0.0), index)
    return matrix
